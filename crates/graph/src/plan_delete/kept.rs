//! Which of the doomed stay for now: those of types with asynchronous deletion that have something to wait for. Their
//! rows are marked, and what they refer to is referred to as before.

use std::collections::BTreeSet;

use bowline_store::Key;

use super::{Doomed, Facts};

/// Those whose rows are kept. A source that was not asked yet is taken for one that holds nothing.
///
/// One that stays keeps its references, so what it refers to may have to stay as well. Cost: all referrers once, and once
/// more for each link of the longest such chain.
pub(super) fn kept(facts: &Facts) -> BTreeSet<&Key> {
    let mut kept = BTreeSet::new();
    if facts.doomed.iter().all(|doomed| doomed.mark.is_none()) {
        return kept;
    }
    let doomed = facts.doomed.iter().map(|doomed| &doomed.key);
    let goes: BTreeSet<_> = doomed.chain(facts.unsets.iter().map(|unset| &unset.key)).collect();
    loop {
        let stays = |doomed: &&Doomed| {
            !kept.contains(&doomed.key)
                && doomed.is_waiting(|key| !goes.contains(key) || kept.contains(key))
        };
        let more: Vec<_> = facts.doomed.iter().filter(stays).map(|doomed| &doomed.key).collect();
        if more.is_empty() {
            return kept;
        }
        kept.extend(more);
    }
}

impl Doomed {
    /// Whether it has a row to keep and something to keep it for; `is_left` says which referrers will still be there.
    fn is_waiting(&self, is_left: impl Fn(&Key) -> bool) -> bool {
        let Some(mark) = &self.mark else { return false };
        let has_sources =
            self.valid_answers().is_some() && !self.inbound_after().sources.is_empty();
        !mark.finalizers.is_empty() || has_sources || self.is_referred_to(is_left)
    }

    /// Whether anything here but itself refers to it, of what `is_left`.
    pub(super) fn is_referred_to(&self, is_left: impl Fn(&Key) -> bool) -> bool {
        // What refers to itself goes with what it refers to, whenever that is.
        let is_other = |key: &Key| *key != self.key && is_left(key);
        self.has_more || self.referrers.iter().any(|referrer| is_other(&referrer.key))
    }
}
