//! The newest changes of all processes, in memory and in order: what this process committed is put in directly, what
//! others did is read from the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_store::tail::{Found, Tail, TailLimits};
use bowline_store::{Change, Changes, Position};
use tokio::sync::Notify;

/// The changes of one group, which go on directly where another one ends.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) after: Position,
    pub(crate) end: Position,
    pub(crate) changes: Vec<Arc<Change>>,
}

#[derive(Debug)]
pub(crate) struct Feed {
    tail: Tail,
    /// Held while the tail is pushed to. Stretches by where they begin, that have nothing to go on from yet.
    waiting: Mutex<Waiting>,
    /// Wakes the task that reads the log.
    pub(crate) wake: Arc<Notify>,
}

#[derive(Debug)]
struct Waiting {
    stretches: BTreeMap<Position, Stretch>,
    /// The newest position that this process has told anybody.
    told: Position,
}

/// Groups that may wait for the one before them; more are read from the log again.
const WAITING_MAX: usize = 64;

impl Feed {
    pub(crate) fn new(head: Position, limits: TailLimits) -> Self {
        let waiting = Waiting { stretches: BTreeMap::new(), told: head };
        Self { tail: Tail::new(head, limits), waiting: Mutex::new(waiting), wake: Arc::default() }
    }

    pub(crate) fn head(&self) -> tokio::sync::watch::Receiver<Position> {
        self.tail.head()
    }

    pub(crate) fn position(&self) -> Position {
        self.tail.position()
    }

    /// Whether a commit of this process was acknowledged that cannot be read here yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.waiting().told > self.tail.position()
    }

    /// A page, if memory has it and nothing that this process was told is missing from it.
    pub(crate) fn page(&self, after: Position, limit: usize) -> Option<Changes> {
        if after.era != self.tail.position().era {
            return None;
        }
        match self.tail.page(after, limit) {
            Found::Page(Changes::Page { at_head: true, .. }) if self.is_behind() => None,
            Found::Page(page) => Some(page),
            Found::Older { .. } | Found::Ahead => None,
        }
    }

    /// Takes what this process has committed.
    pub(crate) fn offer(&self, stretch: Stretch) {
        let mut waiting = self.waiting();
        waiting.told = waiting.told.max(stretch.end);
        if stretch.end > self.tail.position() && waiting.stretches.len() < WAITING_MAX {
            waiting.stretches.insert(stretch.after, stretch);
        }
        self.drain(&mut waiting);
        if waiting.told > self.tail.position() {
            self.wake.notify_one();
        }
    }

    /// Takes a page that was read from the log; `after` is where it was asked to begin.
    pub(crate) fn add_page(&self, after: Position, next: Position, changes: Vec<Arc<Change>>) {
        let mut waiting = self.waiting();
        let head = self.tail.position();
        // Our own commits may have gone in while the page was under way.
        if after <= head && next > head {
            let new = changes.into_iter().filter(|change| change.position > head).collect();
            self.tail.push(new, next);
        }
        self.drain(&mut waiting);
    }

    /// Forgets all and goes on after `head`: the log was begun anew, or we have lost it.
    pub(crate) fn restart(&self, head: Position) {
        let mut waiting = self.waiting();
        waiting.stretches.clear();
        waiting.told = head;
        self.tail.restart(head);
    }

    fn drain(&self, waiting: &mut Waiting) {
        while let Some(first) = waiting.stretches.first_entry() {
            let head = self.tail.position();
            if first.get().after > head {
                break;
            }
            let stretch = first.remove();
            if stretch.after == head && stretch.end > head {
                self.tail.push(stretch.changes, stretch.end);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bowline_store::{Key, Row, Table};

    fn at(sequence: u64) -> Position {
        Position { era: 0, sequence }
    }

    fn change(sequence: u64) -> Arc<Change> {
        let table = Table { namespace: "v1".into(), kind: "Device".into() };
        let after = Some(Row::new(sequence, ""));
        Arc::new(Change {
            position: at(sequence),
            key: Key { table, name: "d".into() },
            before: None,
            after,
        })
    }

    fn feed() -> Feed {
        Feed::new(at(0), TailLimits { changes_max: 100, bytes_max: usize::MAX })
    }

    fn stretch(after: u64, end: u64) -> Stretch {
        let changes = (after + 1..=end).map(change).collect();
        Stretch { after: at(after), end: at(end), changes }
    }

    fn sequences(feed: &Feed) -> Vec<u64> {
        match feed.page(at(0), 100) {
            Some(Changes::Page { changes, .. }) => {
                changes.iter().map(|change| change.position.sequence).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn groups_that_end_in_the_wrong_order_are_told_in_the_right_one() {
        let feed = feed();
        feed.offer(stretch(2, 4));
        assert!(feed.is_behind());
        assert_eq!(feed.position(), at(0));
        feed.offer(stretch(0, 2));
        assert_eq!(sequences(&feed), [1, 2, 3, 4]);
    }

    #[test]
    fn a_page_that_overlaps_repeats_nothing() {
        let feed = feed();
        feed.offer(stretch(0, 2));
        feed.offer(stretch(5, 6));
        feed.add_page(at(1), at(5), (2..=5).map(change).collect());
        assert_eq!(sequences(&feed), [1, 2, 3, 4, 5, 6]);
        feed.add_page(at(1), at(5), (2..=5).map(change).collect());
        assert_eq!(sequences(&feed), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_was_acknowledged_is_not_missing_from_a_page_at_the_head() {
        let feed = feed();
        feed.offer(stretch(3, 4));
        assert_eq!(feed.page(at(0), 10), None);
        feed.add_page(at(0), at(3), (1..=3).map(change).collect());
        assert_eq!(sequences(&feed), [1, 2, 3, 4]);
    }

    proptest::proptest! {
        /// Two writers and a reader: whatever the interleaving, each change is told once and in order.
        #[test]
        fn every_change_is_told_once_and_in_order(
            ends in proptest::collection::btree_set(1_u64..60, 1..20),
            order in proptest::collection::vec((0_usize..20, proptest::bool::ANY), 0..60),
        ) {
            let feed = feed();
            let ends: Vec<u64> = ends.into_iter().collect();
            let last = *ends.last().unwrap();
            let mut groups: Vec<_> = ends
                .iter()
                .scan(0, |after, end| Some((std::mem::replace(after, *end), *end)))
                .collect();
            for (pick, is_page) in order {
                if is_page {
                    let from = feed.position().sequence;
                    let to = (from + pick as u64).min(last);
                    feed.add_page(at(from), at(to), (from + 1..=to).map(change).collect());
                } else if !groups.is_empty() {
                    let (after, end) = groups.remove(pick % groups.len());
                    feed.offer(stretch(after, end));
                }
                let head = feed.position().sequence;
                let found: Vec<u64> = match feed.tail.page(at(0), 1000) {
                    Found::Page(Changes::Page { changes, .. }) => {
                        changes.iter().map(|change| change.position.sequence).collect()
                    }
                    _ => Vec::new(),
                };
                proptest::prop_assert_eq!(found, (1..=head).collect::<Vec<_>>());
            }
        }
    }
}
