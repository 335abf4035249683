//! What the messages of one source's watch add up to: cuts that are applied whole, and the token to resume from. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::method::{Change, Message};
use super::{Decode, DecodeError};

/// Where a watch stands.
pub(super) struct Follow<T> {
    /// To resume from; empty: from the beginning.
    token: String,
    /// The next cut is all that the source has, and replaces what it said before.
    replaces: bool,
    /// Came since the last cut, by name; `None`: removed.
    pending: BTreeMap<Arc<str>, Option<T>>,
    /// Came since the last cut and could not be read; they stay as they were before.
    unread: BTreeSet<Arc<str>>,
}

/// A consistent state of the source, as the difference to its previous one, or whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut<T> {
    /// What is not in `changes`, nor in `unread`, is no more.
    pub(super) replaces: bool,
    pub(super) changes: BTreeMap<Arc<str>, Option<T>>,
    pub(super) unread: BTreeSet<Arc<str>>,
}

/// What follows from a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<T> {
    /// The cut is not complete yet.
    More,
    Apply(Cut<T>),
    /// The source says how many resources it has told of.
    Check(u64),
}

/// A resource that could not be read.
pub(super) struct Unread {
    pub(super) name: Arc<str>,
    pub(super) error: DecodeError,
}

impl<T> Follow<T> {
    pub(super) fn new() -> Self {
        Self {
            token: String::new(),
            replaces: true,
            pending: BTreeMap::new(),
            unread: BTreeSet::new(),
        }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// A new stream begins, with [`Follow::token`]: what came since the last cut will come again.
    pub(super) fn open(&mut self) {
        self.drop_pending();
        self.replaces = self.token.is_empty();
    }

    /// Nothing that the source said can be built upon: the next stream starts from the beginning.
    pub(super) fn start_over(&mut self) {
        self.token.clear();
        self.open();
    }

    /// Takes a message; at most `max` names wait for their cut. Calls `report` for what cannot be read.
    pub(super) fn take(
        &mut self,
        message: Message,
        decode: &Decode<T>,
        max: usize,
        mut report: impl FnMut(Unread),
    ) -> Step<T> {
        if message.is_hard_reset {
            self.start_over();
        } else if message.is_soft_reset {
            self.drop_pending();
        }
        for change in message.changes {
            self.collect(change, decode, max, &mut report);
        }
        if message.is_current {
            self.token = message.resume_token;
            return Step::Apply(self.cut());
        }
        message.size.map_or(Step::More, Step::Check)
    }

    fn collect(
        &mut self,
        change: Change,
        decode: &Decode<T>,
        max: usize,
        report: &mut impl FnMut(Unread),
    ) {
        let (name, value) = match change {
            Change::Removed { name } => (name, None),
            Change::Set { name, body } => match decode(&name, &body) {
                Ok(value) => (name, Some(value)),
                Err(error) => {
                    // An earlier change of the same cut is not what the source has now either.
                    self.pending.remove(&name);
                    if self.unread.len() < max {
                        self.unread.insert(name.clone());
                    }
                    return report(Unread { name, error });
                }
            },
        };
        self.unread.remove(&name);
        // Those beyond the limit could not be kept anyway, except removals, which make room.
        if self.pending.len() < max || value.is_none() || self.pending.contains_key(&name) {
            self.pending.insert(name, value);
        }
    }

    fn cut(&mut self) -> Cut<T> {
        Cut {
            replaces: std::mem::take(&mut self.replaces),
            changes: std::mem::take(&mut self.pending),
            unread: std::mem::take(&mut self.unread),
        }
    }

    fn drop_pending(&mut self) {
        self.pending.clear();
        self.unread.clear();
    }
}
