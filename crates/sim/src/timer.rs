//! Timers of a world: who is to be woken when.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::world::World;

/// When, and a number that makes timers of one moment differ.
pub(crate) type TimerKey = (Duration, u64);

#[derive(Default)]
pub(crate) struct Timers {
    waiting: BTreeMap<TimerKey, Waker>,
    next: u64,
}

impl Timers {
    fn set(&mut self, key: Option<TimerKey>, at: Duration, waker: Waker) -> TimerKey {
        let key = key.unwrap_or_else(|| {
            self.next += 1;
            (at, self.next)
        });
        self.waiting.insert(key, waker);
        key
    }

    fn cancel(&mut self, key: TimerKey) -> Option<Waker> {
        self.waiting.remove(&key)
    }

    /// When the next timer ends.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }

    /// Takes those that end at `now` or before.
    pub(crate) fn take_due(&mut self, now: Duration) -> Vec<Waker> {
        let later = self.waiting.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.waiting, later).into_values().collect()
    }
}

/// Completes at a moment of the world.
pub(crate) struct Sleep {
    world: World,
    at: Duration,
    key: Option<TimerKey>,
}

impl Sleep {
    pub(crate) fn until(world: &World, at: Duration) -> Self {
        Self { world: world.clone(), at, key: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.world.now() >= self.at {
            return Poll::Ready(());
        }
        let (key, at, waker) = (self.key, self.at, context.waker().clone());
        let key = self.world.with_timers(|timers| timers.set(key, at, waker));
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.world.with_timers(|timers| timers.cancel(key));
            drop(waker);
        }
    }
}
