//! What writers, readers and the database say, compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Errors;
use super::reader::Feed;
use super::writer::Ledger;

/// All that is known after a run.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) ledgers: Vec<Ledger>,
    pub(crate) feeds: Vec<Feed>,
    /// Version by name, for each kind.
    pub(crate) state: [BTreeMap<String, u64>; 2],
}

impl Verdict {
    /// Fails unless everything fits together.
    pub(crate) fn check(&self) {
        let [first, second] = &self.state;
        assert_eq!(first, second, "half of a commit is there");
        for ledger in &self.ledgers {
            self.check_rows(ledger);
            self.feeds.iter().for_each(|feed| check_acknowledged(feed, ledger));
        }
        self.feeds.iter().for_each(|feed| self.check_feed(feed));
    }

    /// What a writer was told is what is there.
    fn check_rows(&self, ledger: &Ledger) {
        for (name, known) in &ledger.known {
            let found = self.state[0].get(name);
            assert_eq!(found, known.as_ref(), "{name} is not what was acknowledged");
        }
    }

    /// The feed adds up to the state, and tells of nothing that nobody did.
    fn check_feed(&self, feed: &Feed) {
        for (state, fed) in self.state.iter().zip(&feed.state) {
            let fed: BTreeMap<_, _> =
                fed.iter().map(|(name, row)| (name.clone(), row.version)).collect();
            assert_eq!(state, &fed, "the feed does not add up to the state");
        }
        let mut acknowledged = BTreeMap::new();
        self.ledgers.iter().for_each(|ledger| acknowledged.extend(&ledger.acknowledged));
        for (position, commit) in &feed.commits {
            let lost = || self.ledgers.iter().any(|ledger| ledger.lost.contains(commit));
            assert!(acknowledged.contains_key(position) || lost(), "nobody did {commit:?}");
        }
    }

    pub(crate) fn errors(&self) -> Errors {
        let all =
            self.ledgers.iter().map(|l| &l.errors).chain(self.feeds.iter().map(|f| &f.errors));
        let mut sum = Errors::new();
        for (kind, count) in all.flatten() {
            *sum.entry(kind.clone()).or_default() += count;
        }
        sum
    }

    /// How many commits ended in an error.
    pub(crate) fn lost(&self) -> usize {
        self.ledgers.iter().map(|l| l.lost.len()).sum()
    }

    /// What happened, for people.
    pub(crate) fn summary(&self) -> String {
        let acknowledged: usize = self.ledgers.iter().map(|l| l.acknowledged.len()).sum();
        let lost = self.lost();
        let done: u64 = self.ledgers.iter().map(|l| l.lost_and_done).sum();
        let mut text = format!(
            "{acknowledged} commits acknowledged, {lost} answers lost ({done} of them had happened), {} readers",
            self.feeds.len()
        );
        for (kind, count) in self.errors() {
            // Writing to a string does not fail.
            let _ = write!(text, "\n  {count} x {kind}");
        }
        text
    }
}

fn check_acknowledged(feed: &Feed, ledger: &Ledger) {
    for (position, commit) in &ledger.acknowledged {
        assert_eq!(
            feed.commits.get(position),
            Some(commit),
            "acknowledged at {position:?}, not in the feed"
        );
    }
}
