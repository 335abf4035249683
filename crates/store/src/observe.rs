//! The hook by which a layer over a backend learns of commits at the moment they become visible.
//!
//! Only backends that see every write to their rows can offer it; a database that others write to as well cannot.

use std::fmt;
use std::sync::Arc;

use crate::contract::{Backend, Key, Row};

/// Told around the point at which commits become visible to readers.
///
/// Called by the thread that commits, with its locks held: answer fast and never call back into the backend.
pub trait CommitObserver: Send + Sync + fmt::Debug {
    /// These keys are about to change. Until [`CommitObserver::after_visible`], a reader may see the old or the new row.
    ///
    /// The same may be listed more than once; [`CommitObserver::after_visible`] then lists it as often.
    fn before_visible(&self, changed: &[Changed]);

    /// Every reader that starts now sees what was announced, or, if the commit failed, what was there before.
    ///
    /// `committed` tells which; the rows of `changed` are meaningful only if it is true.
    fn after_visible(&self, changed: &[Changed], committed: bool);
}

/// What a commit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// A key and the row it gets; `None` when it is removed.
    Row { key: Key, after: Option<Row> },
    /// Every row of a namespace may be another one or gone: it was swapped or dropped.
    Namespace(Arc<str>),
}

/// A backend that tells of every change of its rows before anybody can see it.
pub trait Observable: Backend {
    /// Adds `observer` for all commits from now on.
    fn observe(&self, observer: Arc<dyn CommitObserver>);
}

/// The observers of one backend.
#[derive(Debug, Default)]
pub(crate) struct Observers(std::sync::RwLock<Vec<Arc<dyn CommitObserver>>>);

impl Observers {
    pub(crate) fn add(&self, observer: Arc<dyn CommitObserver>) {
        self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner).push(observer);
    }

    /// The observers to tell of one commit: the same ones before and after it.
    pub(crate) fn current(&self) -> Vec<Arc<dyn CommitObserver>> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
