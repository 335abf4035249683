//! The newest changes, in memory and in order, with the head of the log. Bounded in bytes and in number.
//!
//! For `memory` it is the whole change log; `sqlite` keeps the older part on disk.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::contract::{Change, Changes, Key, Position, Row};

/// How much to keep; whole commits are dropped, oldest first, when either is exceeded.
#[derive(Clone, Copy, Debug)]
pub struct TailLimits {
    pub changes_max: usize,
    pub bytes_max: usize,
}

#[derive(Debug)]
pub struct Tail {
    kept: RwLock<Kept>,
    head: watch::Sender<Position>,
    limits: TailLimits,
}

#[derive(Debug)]
struct Kept {
    changes: VecDeque<Arc<Change>>,
    /// Those of `changes` that removed a row.
    removals: VecDeque<Arc<Change>>,
    bytes: usize,
    /// Every change after this one is in `changes`.
    oldest: Position,
    head: Position,
}

/// What the tail knows of the changes after a position.
pub enum Found {
    Page(Changes),
    /// The position is before the oldest change that is kept here.
    Older {
        oldest: Position,
    },
    /// The position is after the head that is known here.
    Ahead,
}

impl Tail {
    /// An empty tail whose log ends at `head`.
    pub fn new(head: Position, limits: TailLimits) -> Self {
        Self { kept: RwLock::new(Kept::after(head)), head: watch::Sender::new(head), limits }
    }

    /// Appends the changes of one or more commits and wakes who waits. Positions only rise.
    pub fn push(&self, changes: Vec<Arc<Change>>, head: Position) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            kept.bytes += size(&change);
            if change.after.is_none() {
                kept.removals.push_back(change.clone());
            }
            kept.changes.push_back(change);
        }
        kept.head = head;
        kept.shrink(self.limits);
        drop(kept);
        self.head.send_replace(head);
    }

    /// Forgets all changes and goes on after `head`.
    pub fn restart(&self, head: Position) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        *kept = Kept::after(head);
        drop(kept);
        self.head.send_replace(head);
    }

    pub fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    pub fn position(&self) -> Position {
        *self.head.borrow()
    }

    /// Where reading can start at the earliest.
    pub fn oldest(&self) -> Position {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).oldest
    }

    /// Whether the row was removed after `since`; `true` also if the tail does not reach back that far.
    ///
    /// Cost: the removals since then, which are few for a position that was the head a moment ago.
    pub fn removed_since(&self, key: &Key, since: Position) -> bool {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        since < kept.oldest || is_removed_since(kept.removals.iter(), key, since)
    }

    /// Changes after `after`: about `limit`, whole commits, at least one commit if there is any.
    pub fn page(&self, after: Position, limit: usize) -> Found {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if after < kept.oldest {
            return Found::Older { oldest: kept.oldest };
        }
        if after > kept.head {
            return Found::Ahead;
        }
        let start = kept.changes.partition_point(|change| change.position <= after);
        let end = kept.end_of_page(start, limit.max(1));
        let changes: Vec<_> = kept.changes.range(start..end).cloned().collect();
        let at_head = end == kept.changes.len();
        let last = changes.last().map_or(after, |change| change.position);
        let next = if at_head { kept.head } else { last };
        Found::Page(Changes::Page { changes, next, at_head })
    }
}

impl Kept {
    fn after(head: Position) -> Self {
        let (changes, removals) = (VecDeque::new(), VecDeque::new());
        Self { changes, removals, bytes: 0, oldest: head, head }
    }

    /// Where a page from `start` ends, so that no commit is torn.
    fn end_of_page(&self, start: usize, limit: usize) -> usize {
        let mut end = start.saturating_add(limit).min(self.changes.len());
        while end > start
            && end < self.changes.len()
            && self.changes[end].position == self.changes[end - 1].position
        {
            end += 1;
        }
        end
    }

    fn shrink(&mut self, limits: TailLimits) {
        while self.bytes > limits.bytes_max || self.changes.len() > limits.changes_max {
            let Some(first) = self.changes.front() else { return };
            let dropped = first.position;
            while let Some(change) = self.changes.pop_front_if(|c| c.position == dropped) {
                self.bytes -= size(&change);
            }
            while self.removals.pop_front_if(|c| c.position == dropped).is_some() {}
            self.oldest = dropped;
        }
    }
}

/// Whether one of `removals`, changes in commit order, is of `key` and after `since`.
pub fn is_removed_since<'c>(
    removals: impl DoubleEndedIterator<Item = &'c Arc<Change>>,
    key: &Key,
    since: Position,
) -> bool {
    removals.rev().take_while(|change| change.position > since).any(|change| change.key == *key)
}

/// Bytes that a change holds in memory, about.
fn size(change: &Change) -> usize {
    const OVERHEAD: usize = 256;
    let row = |row: &Option<Row>| row.as_ref().map_or(0, |r| r.body.len() + r.aside.len());
    OVERHEAD + change.key.name.len() + row(&change.before) + row(&change.after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Table;

    fn at(sequence: u64) -> Position {
        Position { era: 0, sequence }
    }

    fn change(sequence: u64) -> Arc<Change> {
        let table = Table { namespace: "v1".into(), kind: "Device".into() };
        let key = Key { table, name: "d".into() };
        Arc::new(Change { position: at(sequence), key, before: None, after: None })
    }

    fn tail(changes_max: usize) -> Tail {
        Tail::new(at(0), TailLimits { changes_max, bytes_max: usize::MAX })
    }

    fn sequences(found: Found) -> Vec<u64> {
        match found {
            Found::Page(Changes::Page { changes, .. }) => {
                changes.iter().map(|c| c.position.sequence).collect()
            }
            _ => panic!("a page was expected"),
        }
    }

    #[test]
    fn a_page_never_ends_inside_a_commit() {
        let tail = tail(100);
        tail.push(vec![change(1), change(1), change(1), change(2)], at(2));
        assert_eq!(sequences(tail.page(at(0), 1)), [1, 1, 1]);
        assert_eq!(sequences(tail.page(at(0), 4)), [1, 1, 1, 2]);
        assert_eq!(sequences(tail.page(at(1), 1)), [2]);
    }

    #[test]
    fn shrinking_drops_whole_commits_and_moves_the_oldest_position() {
        let tail = tail(2);
        tail.push(vec![change(1), change(1), change(2)], at(2));
        assert!(matches!(tail.page(at(0), 9), Found::Older { oldest } if oldest == at(1)));
        assert_eq!(sequences(tail.page(at(1), 9)), [2]);
    }

    #[test]
    fn at_the_head_the_next_position_skips_commits_without_changes() {
        let tail = tail(9);
        tail.push(vec![change(1)], at(4));
        let Found::Page(page) = tail.page(at(0), 9) else { panic!("a page was expected") };
        assert!(matches!(page, Changes::Page { next, at_head: true, .. } if next == at(4)));
    }

    #[test]
    fn a_position_after_the_head_is_not_an_empty_page() {
        assert!(matches!(tail(9).page(at(1), 9), Found::Ahead));
    }
}
