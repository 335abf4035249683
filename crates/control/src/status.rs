//! How it stands with controllers: queue by queue, for people and for the engine.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_store::ring::Shards;

/// One queue of one controller in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `owned_pending`.
    pub controller: Arc<str>,
    /// What the queue is about: a peer (`iam.example.com@eu`) or a kind of work.
    pub queue: Arc<str>,
    /// The part of the ring that this process works on.
    pub shards: Shards,
    /// Items that were there when the controller last looked.
    pub pending: usize,
    /// When the oldest of them was made, in milliseconds since 1970.
    pub oldest_millis: Option<i64>,
    /// Why it did not go on the last time; `None` once it went on.
    pub last_error: Option<Arc<str>>,
    /// Attempts that failed since the process began.
    pub failures: u64,
    /// What items wait for, the first by id: that is no failure.
    pub waits_for: Option<Arc<str>>,
    /// When it is tried again, in monotonic time of this process; `None`: as soon as there is something.
    pub next_try: Option<Duration>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {} pending", self.controller, self.queue, self.shards, self.pending)?;
        if let Some(error) = &self.last_error {
            write!(f, ", failed {} times: {error}", self.failures)?;
        }
        if let Some(waits) = &self.waits_for {
            write!(f, ", waits: {waits}")?;
        }
        Ok(())
    }
}

/// What one controller tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// `owned_pending`.
    pub controller: Arc<str>,
    /// The part of the ring that this process works on.
    pub shards: Shards,
    /// When it last looked for work, in milliseconds since 1970.
    pub run_millis: i64,
    /// Those that have something to do, or failed.
    pub queues: Vec<Status>,
}

/// The controllers of one deployment, as they last told of themselves.
#[derive(Debug, Default)]
pub struct Board {
    /// By what tells.
    told: Mutex<BTreeMap<Arc<str>, Report>>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Report>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All queues, by controller. Those that have nothing to do and never failed are not shown.
    pub fn read(&self) -> Vec<Status> {
        self.lock().values().flat_map(|report| &report.queues).cloned().collect()
    }

    /// All controllers.
    pub fn reports(&self) -> Vec<Report> {
        self.lock().values().cloned().collect()
    }

    /// Puts what `who` tells in the place of what it told before.
    pub fn tell(&self, who: &Arc<str>, report: Report) {
        self.lock().insert(who.clone(), report);
    }

    /// There is nothing to tell of `who` any more.
    pub fn forget(&self, who: &str) {
        self.lock().remove(who);
    }
}
