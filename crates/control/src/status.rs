//! How it stands with controllers: queue by queue, for people and for the engine.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
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

/// The controllers of one deployment, as they last told of themselves.
#[derive(Debug, Default)]
pub struct Board {
    /// By controller and queue.
    told: Mutex<BTreeMap<Arc<str>, Vec<Status>>>,
}

impl Board {
    /// Everything, by controller and queue. Queues that have nothing to do and never failed are not shown.
    pub fn read(&self) -> Vec<Status> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.values().flatten().cloned().collect()
    }

    /// Puts what a controller tells in the place of what it told before.
    pub fn tell(&self, controller: &Arc<str>, queues: Vec<Status>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(controller.clone(), queues);
    }
}
