//! What happened in a world: a hash of everything, and the last events for people.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Events that are kept for a report.
const EVENTS_KEPT_MAX: usize = 10_000;

/// Tells two runs apart: equal hashes mean that the same tasks ran in the same order and told the same events.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    steps: u64,
    events: VecDeque<(Duration, String)>,
}

impl Trace {
    /// One poll of a task.
    pub(crate) fn step(&mut self, now: Duration, task: u64) {
        self.steps += 1;
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&nanos.to_le_bytes());
        bytes[8..].copy_from_slice(&task.to_le_bytes());
        self.hash = xxh3_64_with_seed(&bytes, self.hash);
    }

    /// Something that a reader of the report wants to know of.
    pub(crate) fn event(&mut self, now: Duration, text: String) {
        self.hash = xxh3_64_with_seed(text.as_bytes(), self.hash);
        if self.events.len() == EVENTS_KEPT_MAX {
            self.events.pop_front();
        }
        self.events.push_back((now, text));
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Polls of tasks until now.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The last `n` events, one a line, with the seconds at which they happened.
    pub fn tail(&self, n: usize) -> String {
        let mut text = String::new();
        let skipped = self.events.len().saturating_sub(n);
        for (at, event) in self.events.iter().skip(skipped) {
            let _ = writeln!(text, "{:>12.6}  {event}", at.as_secs_f64());
        }
        text
    }
}
