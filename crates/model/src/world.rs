//! How large a world is, and what can happen in it.

use crate::mistake::Mistake;

/// The bounds of a world. Whatever is not bounded here happens as often as it likes.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Source deployments besides the owner's own: up to [`crate::state::SOURCES`].
    pub sources: u8,
    /// Resources that may refer to the target, per source deployment.
    pub referrers: u8,
    /// Saves under way at once, per source deployment.
    pub saves: u8,
    /// The owner's own deployment has a referrer.
    pub local: bool,
    /// New epochs (attempts, clearings, expiries together); `None`: any number. Epochs are then known by their order only.
    pub raises: Option<u8>,
    /// Targets of the name, one after the other; `None`: any number.
    pub creations: Option<u8>,
    /// Changes of the owner. Only where raises are counted.
    pub moves: u8,
    /// Questions under way beyond which no further epoch is raised.
    pub questions: u8,
    /// Sources are cleared.
    pub clearing: bool,
    /// Blockades are kept, withdrawn, confirmed, and expire. Without them nothing else is different: they are courtesy.
    pub blockades: bool,
    /// Referrers are saved without a change of their references.
    pub touch: bool,
    /// Fences are dropped when no save needs them.
    pub fences_dropped: bool,
    /// A source's answer is read in one step and committed in another. Otherwise both are one.
    pub slow_answers: bool,
    /// A grant that changes nothing writes nothing.
    pub read_only_grants: bool,
    /// States that lead to the same are taken for one. Without, the world is larger and says the same.
    pub reduced: bool,
    pub mistake: Option<Mistake>,
}

impl World {
    /// One source with one referrer and one save at a time, nothing else: the smallest in which a target can be deleted.
    pub const SMALL: World = World {
        sources: 1,
        referrers: 1,
        saves: 1,
        local: false,
        raises: Some(2),
        creations: Some(2),
        moves: 0,
        questions: 8,
        clearing: false,
        blockades: false,
        touch: false,
        fences_dropped: true,
        slow_answers: false,
        read_only_grants: true,
        reduced: true,
        mistake: None,
    };

    pub(crate) fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Epochs are renamed by rank, and former targets are all alike.
    pub(crate) fn renames(&self) -> bool {
        self.reduced && self.raises.is_none()
    }
}
