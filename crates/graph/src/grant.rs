//! What can happen to the inbound part of a shadow: grants, confirmations, withdrawals, attempts of deletions, sources that are
//! asked to leave. Pure: a state and a [`Change`] give a state and an [`Answer`].
//!
//! Rules that hold whatever comes in whatever order: an epoch never goes down; `grants` grows by one with every grant that
//! is written and every new epoch, and with nothing else; a source goes only by its own word that it holds nothing; the
//! own deployment is never listed.
//!
//! *Read-only grants*: a source that is listed already, is not being asked to leave, and finds no deletion attempted, is
//! granted the present epoch and nothing is written. Safety rests on its being listed: every deletion asks it, and its
//! answer fences.

use std::collections::BTreeSet;
use std::fmt;

use bowline_node::DeploymentId;

use crate::epoch::Epoch;
use crate::inbound::{Blockade, Inbound, Source};
use crate::reference::TargetName;

#[cfg(test)]
mod tests;

/// How long a blockade counts that is neither confirmed nor withdrawn, in milliseconds of the owner's clock.
pub const BLOCKADE_MILLIS: i64 = 5 * 60 * 1_000;
/// Blockades of one target; a grant beyond that has none. They are courtesy, and a row is not to grow without end.
pub const BLOCKADES_MAX: usize = 256;

/// Chosen by the source, new for each attempt of each save.
pub type BlockadeId = [u8; 16];

/// Something that is to happen to the inbound part of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A source is about to commit references.
    Grant {
        by: DeploymentId,
        /// The fence that it has for the target.
        fence: Option<Epoch>,
        blockade: BlockadeId,
    },
    /// A source has committed: the blockade goes, the source stays.
    Confirm { by: DeploymentId, blockade: BlockadeId },
    /// A source gave up a save: the blockade goes, the source stays, for another save may rely on it.
    Withdraw { by: DeploymentId, blockade: BlockadeId },
    /// A deletion is about to ask all sources.
    Attempt,
    /// One source is about to be asked whether it still holds anything.
    Leave { source: DeploymentId },
    /// The source that was asked at this epoch holds nothing.
    Clear { source: DeploymentId, epoch: Epoch },
    /// The source that was asked at this epoch holds something; its blockades below it are fenced and go.
    Stay { source: DeploymentId, epoch: Epoch },
    /// Of a resource whose deletion has committed: the source holds nothing, and can get nothing any more.
    Release { source: DeploymentId },
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// [`Change::Grant`]
    Granted(Granted),
    /// [`Change::Attempt`]: the state that it left. Its epoch is what sources are asked at, and the verdict requires that
    /// epoch and `grants` are still these.
    Attempted(Inbound),
    /// [`Change::Leave`]: the epoch at which the source is to be asked.
    Leaving(Epoch),
    /// It is so now.
    Done,
    /// Nothing is known of such a source, or nobody ever referred to the resource: nothing to do.
    Unlisted,
    /// [`Change::Clear`] and [`Change::Stay`]: the source is not leaving at that epoch (any more).
    Overtaken,
    /// The deletion has committed.
    Deleting,
    /// The resource is not there any more; never answered by [`Change::apply`], which sees no resources.
    Gone,
    /// [`Change::Release`]: the deletion has not committed.
    Active,
}

/// A grant: what the source may commit with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The commit requires that no fence is above this.
    pub epoch: Epoch,
    /// The blockade was put, and is to be confirmed or withdrawn.
    pub has_blockade: bool,
}

/// When and where it happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Ownership epoch of the target's place.
    pub ownership: u64,
    /// Where the owner's database was when the state was read.
    pub era: u64,
    pub sequence: u64,
    /// Milliseconds since 1970 by the owner's clock.
    pub millis: i64,
}

impl Change {
    /// Applies itself to `state` (`None`: there is no row), which is that of `target`, a resource of a deployment `me`.
    ///
    /// The state changes only if the change comes to something: equal states need no commit.
    pub fn apply(
        &self,
        state: &mut Option<Inbound>,
        target: &TargetName,
        me: &DeploymentId,
        at: &Moment,
    ) -> Answer {
        if let Self::Grant { by, fence, blockade } = self {
            return match state {
                // Its own indexes are asked directly, so it needs no grant and is never listed.
                _ if by == me => Answer::Unlisted,
                Some(state) => state.grant(by, *fence, *blockade, at),
                None => {
                    let epoch = Epoch::default().raised(at.ownership, at.era, at.sequence);
                    let state = state.insert(Inbound::new(target.clone(), epoch));
                    state.grant(by, *fence, *blockade, at)
                }
            };
        }
        let Some(state) = state else { return Answer::Unlisted };
        match self {
            Self::Grant { .. } => Answer::Unlisted,
            Self::Confirm { by, blockade } => state.confirm(by, blockade),
            Self::Withdraw { by, blockade } => state.withdraw(by, blockade),
            Self::Attempt => state.attempted(at),
            Self::Leave { source } => state.leave(source, at),
            Self::Clear { source, epoch } => state.clear(source, *epoch),
            Self::Stay { source, epoch } => state.stay(source, *epoch),
            Self::Release { source } => state.release(source),
        }
    }

    /// Whether it may happen only as long as the resource is active: nobody is granted what is gone.
    pub fn needs_target(&self) -> bool {
        matches!(self, Self::Grant { .. })
    }
}

impl Inbound {
    /// What `by` is granted if nothing needs to be written for it.
    pub fn grant_by_reading(
        &self,
        by: &DeploymentId,
        fence: Option<Epoch>,
        blockade: &BlockadeId,
    ) -> Option<Granted> {
        let is_listed = self.source(by).is_some_and(|source| source.leaving.is_none());
        let is_above = fence.is_none_or(|fence| self.epoch >= fence);
        let is_quiet = !self.attempt && !self.is_deleting;
        // The same request once more: its answer may have been lost, and with it that there is something to confirm.
        let has_blockade = self.blockades.iter().any(|b| b.id == *blockade && b.deployment == *by);
        (is_listed && is_above && is_quiet).then_some(Granted { epoch: self.epoch, has_blockade })
    }

    fn grant(
        &mut self,
        by: &DeploymentId,
        fence: Option<Epoch>,
        blockade: BlockadeId,
        at: &Moment,
    ) -> Answer {
        if self.is_deleting {
            return Answer::Deleting;
        }
        if let Some(granted) = self.grant_by_reading(by, fence, &blockade) {
            return Answer::Granted(granted);
        }
        if let Some(fence) = fence.filter(|fence| *fence > self.epoch) {
            // At once above it, so that it does not stand in the way of the next grants either.
            self.epoch = fence.next();
        }
        self.list(by);
        self.attempt = false;
        self.grants += 1;
        let has_blockade = self.block(by, blockade, at);
        Answer::Granted(Granted { epoch: self.epoch, has_blockade })
    }

    /// Lists a source as one that is not leaving.
    fn list(&mut self, by: &DeploymentId) {
        match self.sources.binary_search_by(|source| source.deployment.cmp(by)) {
            Ok(at) => self.sources[at].leaving = None,
            Err(at) => self.sources.insert(at, Source { deployment: by.clone(), leaving: None }),
        }
    }

    fn block(&mut self, by: &DeploymentId, id: BlockadeId, at: &Moment) -> bool {
        let expires_millis = at.millis.saturating_add(BLOCKADE_MILLIS);
        let mut blockades = self.blockades.iter_mut();
        if let Some(known) = blockades.find(|b| b.id == id && b.deployment == *by) {
            (known.epoch, known.expires_millis) = (self.epoch, expires_millis);
            return true;
        }
        if self.blockades.len() >= BLOCKADES_MAX {
            return false;
        }
        let (deployment, epoch) = (by.clone(), self.epoch);
        self.blockades.push(Blockade { id, deployment, epoch, expires_millis });
        true
    }

    fn drop_blockade(&mut self, by: &DeploymentId, id: &BlockadeId) {
        self.blockades.retain(|blockade| blockade.id != *id || blockade.deployment != *by);
    }

    fn confirm(&mut self, by: &DeploymentId, id: &BlockadeId) -> Answer {
        if self.source(by).is_none() {
            return Answer::Unlisted;
        }
        // It has just committed a reference, so there is no use in asking whether it holds one.
        self.list(by);
        self.drop_blockade(by, id);
        Answer::Done
    }

    fn withdraw(&mut self, by: &DeploymentId, id: &BlockadeId) -> Answer {
        self.drop_blockade(by, id);
        Answer::Done
    }

    fn raise(&mut self, at: &Moment) {
        self.epoch = self.epoch.raised(at.ownership, at.era, at.sequence);
        self.grants += 1;
    }

    fn attempted(&mut self, at: &Moment) -> Answer {
        if self.is_deleting {
            return Answer::Deleting;
        }
        self.raise(at);
        self.attempt = true;
        Answer::Attempted(self.clone())
    }

    fn leave(&mut self, source: &DeploymentId, at: &Moment) -> Answer {
        if self.is_deleting {
            return Answer::Deleting;
        }
        match self.source(source) {
            None => return Answer::Unlisted,
            // The mark says that nothing was granted to it since: it can be asked at the same epoch once more.
            Some(Source { leaving: Some(epoch), .. }) => return Answer::Leaving(*epoch),
            Some(_) => self.raise(at),
        }
        let epoch = self.epoch;
        self.mark(source, Some(epoch));
        Answer::Leaving(epoch)
    }

    fn mark(&mut self, source: &DeploymentId, leaving: Option<Epoch>) {
        let mut sources = self.sources.iter_mut();
        if let Some(known) = sources.find(|known| known.deployment == *source) {
            known.leaving = leaving;
        }
    }

    fn is_leaving_at(&self, source: &DeploymentId, epoch: Epoch) -> bool {
        self.source(source).is_some_and(|source| source.leaving == Some(epoch))
    }

    fn clear(&mut self, source: &DeploymentId, epoch: Epoch) -> Answer {
        if !self.is_leaving_at(source, epoch) {
            return Answer::Overtaken;
        }
        self.sources.retain(|known| known.deployment != *source);
        self.drop_fenced(source, epoch);
        Answer::Done
    }

    fn stay(&mut self, source: &DeploymentId, epoch: Epoch) -> Answer {
        if !self.is_leaving_at(source, epoch) {
            return Answer::Overtaken;
        }
        self.mark(source, None);
        self.drop_fenced(source, epoch);
        Answer::Done
    }

    /// No save that was granted less than `epoch` can commit any more: its blockade protects nothing.
    fn drop_fenced(&mut self, source: &DeploymentId, epoch: Epoch) {
        self.blockades.retain(|blockade| blockade.deployment != *source || blockade.epoch >= epoch);
    }

    fn release(&mut self, source: &DeploymentId) -> Answer {
        if !self.is_deleting {
            return Answer::Active;
        }
        self.sources.retain(|known| known.deployment != *source);
        Answer::Done
    }

    /// The state after the deletion's verdict: `hold_nothing` are sources that said so at the attempt's epoch.
    ///
    /// What remains is what the purge waits for.
    #[must_use]
    pub fn verdict(mut self, hold_nothing: &BTreeSet<DeploymentId>) -> Self {
        self.is_deleting = true;
        self.attempt = false;
        // All of them were asked just now, and nothing can be granted any more: older questions are settled.
        self.sources.retain(|source| !hold_nothing.contains(&source.deployment));
        self.sources.iter_mut().for_each(|source| source.leaving = None);
        self.blockades.clear();
        self
    }

    /// Sources that have blockades which nobody confirmed or withdrew in time.
    pub fn expired(&self, millis: i64) -> BTreeSet<DeploymentId> {
        let expired = self.blockades.iter().filter(|blockade| blockade.expires_millis <= millis);
        expired.map(|blockade| blockade.deployment.clone()).collect()
    }

    /// Whether a save may be about to land, so that a deletion had better wait for a moment.
    pub fn has_unexpired(&self, millis: i64) -> bool {
        self.blockades.iter().any(|blockade| blockade.expires_millis > millis)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(Granted { epoch, has_blockade: true }) => {
                write!(f, "granted {epoch} with a blockade")
            }
            Self::Granted(granted) => write!(f, "granted {}", granted.epoch),
            Self::Attempted(state) => write!(f, "attempted at {}", state.epoch),
            Self::Leaving(epoch) => write!(f, "leaving at {epoch}"),
            Self::Done => f.write_str("done"),
            Self::Unlisted => f.write_str("unlisted"),
            Self::Overtaken => f.write_str("overtaken"),
            Self::Deleting => f.write_str("deleting"),
            Self::Gone => f.write_str("gone"),
            Self::Active => f.write_str("active"),
        }
    }
}
