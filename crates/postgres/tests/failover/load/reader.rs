//! A reader: follows the change feed from the start, rebuilds the state from it, and fails at the first gap, repetition or
//! torn commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_store::{Backend, Change, Changes, Position, Row, Version};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Errors, KINDS, PATIENCE, allow};

/// Looks again after this time even if nothing wakes it, so that a lost wake-up is slow and not deadly.
const LOOK: Duration = Duration::from_millis(100);

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// The name that each commit wrote or removed.
    pub(crate) commits: BTreeMap<Position, (String, Option<Version>)>,
    /// What the rows are if the feed tells the truth.
    pub(crate) state: [BTreeMap<String, Row>; 2],
    pub(crate) errors: Errors,
}

/// A reader at work.
pub(crate) struct Reader {
    goal: watch::Sender<Option<Position>>,
    task: JoinHandle<Feed>,
}

impl Reader {
    pub(crate) fn start(backend: Arc<dyn Backend>, after: Position) -> Self {
        let (goal, end) = watch::channel(None);
        Self { goal, task: tokio::spawn(follow(backend, after, end)) }
    }

    /// Reads on up to `goal` and no further.
    pub(crate) async fn read_to(self, goal: Position) -> Feed {
        self.goal.send_replace(Some(goal));
        tokio::time::timeout(PATIENCE, self.task).await.expect("the feed stands still").unwrap()
    }
}

async fn follow(
    backend: Arc<dyn Backend>,
    mut after: Position,
    goal: watch::Receiver<Option<Position>>,
) -> Feed {
    let (mut feed, mut head) = (Feed::default(), backend.head());
    while goal.borrow().is_none_or(|goal| after < goal) {
        match backend.changes(after, 100).await {
            Ok(Changes::Page { changes, next, at_head }) => {
                feed.take(&changes, after, next);
                after = next;
                if at_head {
                    // Late is as good as woken: it looks again.
                    let _ = tokio::time::timeout(LOOK, head.wait_for(|head| *head > after)).await;
                }
            }
            Ok(Changes::TooOld { oldest }) => panic!("{after:?} is too old, oldest is {oldest:?}"),
            Err(error) => {
                allow(&mut feed.errors, &error);
                let _ = tokio::time::timeout(LOOK, head.changed()).await;
            }
        }
    }
    feed
}

impl Feed {
    /// Takes a page of whole commits after `after`.
    fn take(&mut self, changes: &[Arc<Change>], after: Position, next: Position) {
        let mut last = after;
        for commit in changes.chunk_by(|a, b| a.position == b.position) {
            let position = commit[0].position;
            assert!(position > last, "{position:?} comes after {last:?}");
            last = position;
            self.take_commit(commit);
        }
        assert!(next >= last, "a page up to {last:?} goes on after {next:?}");
    }

    fn take_commit(&mut self, commit: &[Arc<Change>]) {
        let position = commit[0].position;
        let name = commit[0].key.name.to_string();
        let kinds: Vec<_> = commit.iter().map(|change| &*change.key.table.kind).collect();
        let is_whole = kinds == KINDS && commit.iter().all(|change| *change.key.name == *name);
        assert!(is_whole, "a torn commit at {position:?}: {kinds:?}");
        for (change, state) in commit.iter().zip(&mut self.state) {
            let before = match &change.after {
                Some(row) => state.insert(name.clone(), row.clone()),
                None => state.remove(&name),
            };
            assert_eq!(before, change.before, "a gap before {position:?}");
        }
        let version = commit[0].after.as_ref().map(|row| row.version);
        self.commits.insert(position, (name, version));
    }
}
