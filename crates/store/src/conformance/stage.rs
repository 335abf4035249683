//! Some write while others look on: the writer goes on until it was looked at often enough, then the others stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::contract::{Backend, Position};

/// What a writer and the onlookers of a case know of each other.
#[derive(Debug, Default)]
pub(super) struct Stage {
    looks: AtomicUsize,
    is_over: AtomicBool,
}

/// Looks that make a case mean something.
const LOOKS_MIN: usize = 12;

/// Rounds after which a writer no longer waits for onlookers.
const ROUNDS_MAX: u64 = 20_000;

impl Stage {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The rounds of the writer: at least `min`, and more until it was looked at. All is over when this is dropped.
    pub(super) fn rounds(&self, min: u64) -> Rounds<'_> {
        Rounds { stage: self, min, round: 0 }
    }

    /// The looks of an onlooker: until all is over, and once more on what is left then.
    pub(super) fn looks(&self) -> Looks<'_> {
        Looks { stage: self, is_first: true, is_last: false }
    }

    /// Waits until something was committed after `position`, or nothing will be.
    pub(super) async fn moved_on(&self, store: &dyn Backend, position: Position) {
        let head = store.head();
        while *head.borrow() <= position && !self.is_over() {
            tokio::task::yield_now().await;
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

pub(super) struct Rounds<'s> {
    stage: &'s Stage,
    min: u64,
    round: u64,
}

impl Rounds<'_> {
    /// The number of the next round, from 1; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<u64> {
        // Onlookers get a turn where nothing of the round had to wait.
        tokio::task::yield_now().await;
        let is_enough = self.stage.looks.load(Ordering::Acquire) >= LOOKS_MIN;
        if self.round >= ROUNDS_MAX || (is_enough && self.round >= self.min) {
            return None;
        }
        self.round += 1;
        Some(self.round)
    }
}

impl Drop for Rounds<'_> {
    fn drop(&mut self) {
        self.stage.is_over.store(true, Ordering::Release);
    }
}

pub(super) struct Looks<'s> {
    stage: &'s Stage,
    is_first: bool,
    is_last: bool,
}

impl Looks<'_> {
    /// Whether to look once more.
    pub(super) async fn again(&mut self) -> bool {
        if !self.is_first {
            self.stage.looks.fetch_add(1, Ordering::AcqRel);
            tokio::task::yield_now().await;
        }
        if self.is_last {
            return false;
        }
        self.is_first = false;
        // Asked before looking, so that the final state is looked at as well.
        self.is_last = self.stage.is_over();
        true
    }
}

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        // Nobody waits for one who has seen enough, or something wrong.
        self.stage.looks.fetch_add(LOOKS_MIN, Ordering::AcqRel);
    }
}
