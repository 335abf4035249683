//! What a world is like at a moment: the owner with its database, the sources with theirs, and what is under way.
//!
//! What can happen to it is in `action`, and what happens then in `owner` and `source`.

use crate::epoch::Epoch;

/// Source deployments in the largest world, besides the owner's own.
pub(crate) const SOURCES: usize = 2;
/// Resources that may refer to the target, per source deployment.
pub(crate) const REFERRERS: usize = 2;
/// Saves that a source can have under way at once.
pub(crate) const SAVES: usize = 2;

/// What happens to a referrer when its target is deleted. The later one is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Behaviour {
    /// Worked off after the deletion: a cascade or an unset, which both remove the reference.
    Async,
    /// The target cannot be deleted.
    Block,
}

/// A committed reference to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Which of all that ever had the name.
    pub uid: u8,
    pub behaviour: Behaviour,
}

/// What the target is at its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Life {
    /// Never made, or purged: there is no shadow.
    Absent,
    Active,
    /// The verdict has committed; the shadow is still there.
    Deleting,
}

/// How a deployment stands among the sources of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listing {
    No,
    Listed,
    /// Marked by a commit that raised the epoch to this one; asked at it.
    Leaving(Epoch),
}

/// Whose blockade it is: of a save under way, or of one that is over, whatever became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blockade {
    Of(u8),
    Over,
}

impl Blockade {
    pub(crate) fn place(self) -> usize {
        match self {
            Blockade::Of(slot) => usize::from(slot),
            Blockade::Over => SAVES,
        }
    }
}

/// The inbound row of the target. Its count of grants is not here: [`Deleter::undisturbed`] says all that is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inbound {
    pub epoch: Epoch,
    /// An attempt to delete the target marked the row, and no grant or new epoch has ended that.
    pub open: bool,
    pub sources: [Listing; SOURCES],
    /// The epochs of the tentative blockades, by source.
    pub blockades: [[Option<Epoch>; SAVES + 1]; SOURCES],
}

/// What a source has said to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// It was no source when the attempt began.
    NotAsked,
    Awaited,
    /// It holds no BLOCK reference; whether it holds others.
    Free {
        holds: bool,
    },
    Blocked,
}

/// A process that tries to delete the target.
///
/// There is at most one, since the epoch of an attempt is a condition of its verdict: the next one ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deleter {
    pub uid: u8,
    pub epoch: Epoch,
    /// The row's count of grants is the number that the attempt wrote.
    pub undisturbed: bool,
    pub answers: [Answer; SOURCES],
    /// What the own deployment said, for those who ask it: whether it holds a BLOCK reference.
    pub own: Option<bool>,
    /// The row as the attempt left it, for those who compare it by value.
    pub seen: Option<Inbound>,
}

/// The deployment that owns the target, with its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The ownership epoch of the place.
    pub ownership: u8,
    /// The highest number that the present owner has made an epoch of. A real sequence is never below it.
    pub sequence: u8,
    pub life: Life,
    /// Of the target, or of the last one that there was.
    pub uid: u8,
    pub inbound: Option<Inbound>,
    /// The referrer in the own deployment.
    pub local: Option<Reference>,
    pub deleter: Option<Deleter>,
    /// What a reader once saw of the row, for those who grant from old pictures: source, uid, epoch.
    pub picture: Option<(u8, u8, Epoch)>,
}

/// How far a save is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// `EstablishReferences` is under way.
    Asked,
    Granted {
        uid: u8,
        epoch: Epoch,
    },
    /// Nothing was new when the referrer was read.
    NothingNew {
        uid: u8,
    },
}

/// A save of a referrer between its read and its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Save {
    pub referrer: u8,
    pub behaviour: Behaviour,
    pub stage: Stage,
    /// The referrer still is at the version that was read.
    pub fresh: bool,
    /// It began before the fence that there is was written.
    pub before_fence: bool,
    /// It read the referrer at the first version. Followed only where versions return.
    pub read_first: bool,
}

/// A deployment that refers to the target, with its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    pub referrers: [Option<Reference>; REFERRERS],
    /// The referrer is at its first version. Followed only where versions return.
    pub first: [bool; REFERRERS],
    pub fence: Option<Epoch>,
    pub saves: [Option<Save>; SAVES],
    /// A question whose answer has been read and not committed.
    pub answering: Option<Answering>,
    /// The saves that were under way when somebody looked, for those who answer from old views.
    pub view: Option<[bool; SAVES]>,
}

/// A question to a source between its read and its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Answering {
    pub about: About,
    pub epoch: Epoch,
    /// What the source held when it was read.
    pub holds: bool,
    /// The saves that were under way then, and still are: the fence is kept for them, and for no others.
    pub open: [bool; SAVES],
}

/// What a source is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    /// `CheckIfResourceIsBlocked`
    Blockers,
    /// `CheckIfResourceHasDeletionSubscriber`
    Referrers,
}

/// What is said between deployments. Each names the source that sends or receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// `EstablishReferences`, with the source's own fence.
    Establish {
        source: u8,
        blockade: Blockade,
        fence: Option<Epoch>,
    },
    Granted {
        source: u8,
        slot: u8,
        uid: u8,
        epoch: Epoch,
    },
    /// `ConfirmBlockades`.
    Confirm {
        source: u8,
    },
    /// `WithdrawBlockades`.
    Withdraw {
        source: u8,
    },
    /// `CheckIfResourceIsBlocked`.
    IsBlocked {
        source: u8,
        epoch: Epoch,
    },
    Blocked {
        source: u8,
        epoch: Epoch,
    },
    NotBlocked {
        source: u8,
        epoch: Epoch,
        holds: bool,
    },
    /// `CheckIfResourceHasDeletionSubscriber`.
    HasSubscriber {
        source: u8,
        epoch: Epoch,
    },
    Holds {
        source: u8,
        epoch: Epoch,
        any: bool,
    },
    /// What `WatchImportedServiceDeletions` says.
    Deleted {
        source: u8,
        uid: u8,
    },
}

/// How often things may still happen that make the world larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    pub raises: u8,
    pub creations: u8,
    pub moves: u8,
}

/// What must not happen, noted at the step at which it did; no state shows it afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// A new reference was committed to what is being deleted, or is gone.
    TieToTheDying,
    /// A reference was removed as if its target were being deleted, and that is another one.
    ConsequenceWithoutReason,
}

/// A world at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub owner: Owner,
    pub sources: [Source; SOURCES],
    /// Everything that was said and can still make a difference, sorted. It may arrive in any order, never, or again and again.
    pub network: Vec<Message>,
    pub left: Left,
    pub breach: Option<Breach>,
}

impl State {
    pub(crate) fn send(&mut self, message: Message) {
        if let Err(at) = self.network.binary_search(&message) {
            self.network.insert(at, message);
        }
    }

    /// Whether this is the uid of the target as it is, and it is not being deleted.
    pub(crate) fn is_active(&self, uid: u8) -> bool {
        self.owner.life == Life::Active && self.owner.uid == uid
    }
}

impl Message {
    pub(crate) fn source_mut(&mut self) -> &mut u8 {
        match self {
            Message::Establish { source, .. }
            | Message::Granted { source, .. }
            | Message::Confirm { source }
            | Message::Withdraw { source }
            | Message::IsBlocked { source, .. }
            | Message::Blocked { source, .. }
            | Message::NotBlocked { source, .. }
            | Message::HasSubscriber { source, .. }
            | Message::Holds { source, .. }
            | Message::Deleted { source, .. } => source,
        }
    }
}

impl Source {
    pub(crate) fn holds(&self, behaviour: Option<Behaviour>) -> bool {
        let asked = |r: &Reference| behaviour.is_none_or(|b| r.behaviour == b);
        self.referrers.iter().flatten().any(asked)
    }
}
