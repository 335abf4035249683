//! An open loop: calls begin on schedule whether or not earlier ones have ended, as those of many clients do.
//!
//! A call's latency counts from when it should have begun, so that a server (or a generator) that stalls cannot hide it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Outcome, histogram, record};
use crate::error::Error;

/// Calls that may be open at once; a server that is this far behind has failed the bench.
const OPEN_MAX: usize = 20_000;
/// The generator wakes up no more often, so that it takes little of the CPU that it shares with the server.
const NAP_MIN: Duration = Duration::from_micros(500);

/// Which calls to make, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Calls per second.
    pub(crate) rate: f64,
    /// Calls at the beginning that are made but not counted.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

impl Schedule {
    /// All calls; their numbers begin at 0.
    pub(crate) fn calls(&self) -> u64 {
        (self.rate * (self.warm_up + self.time).as_secs_f64()) as u64
    }

    /// The number of the first call that counts.
    pub(crate) fn warm_up_calls(&self) -> u64 {
        (self.rate * self.warm_up.as_secs_f64()) as u64
    }

    fn begin(&self, start: Instant, n: u64) -> Instant {
        start + Duration::from_secs_f64(n as f64 / self.rate)
    }
}

/// Makes the calls `call(number)` of `schedule`, from a thread of its own.
///
/// # Errors
/// The first error of a call, or that too many were open at once.
pub(crate) async fn open<C, F>(schedule: Schedule, call: C) -> Result<Outcome, Error>
where
    C: Fn(u64) -> F + Send + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Handle::current();
    let start = Instant::now();
    std::thread::spawn(move || pace(schedule, start, &runtime, &sender, &call));
    let counts_from = start + schedule.warm_up;
    let mut outcome = Outcome { done: 0, elapsed: Duration::ZERO, latency: histogram() };
    while let Some(ended) = receiver.recv().await {
        let (begin, latency): (Instant, Duration) = ended?;
        if begin >= counts_from {
            outcome.done += 1;
            record(&mut outcome.latency, latency);
        }
    }
    outcome.elapsed = start.elapsed().saturating_sub(schedule.warm_up);
    Ok(outcome)
}

type Ended = Result<(Instant, Duration), Error>;

/// Begins each call when its time has come; stops early when nobody listens any more.
fn pace<C, F>(
    schedule: Schedule,
    start: Instant,
    runtime: &tokio::runtime::Handle,
    ended: &mpsc::UnboundedSender<Ended>,
    call: &C,
) where
    C: Fn(u64) -> F,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(OPEN_MAX));
    for n in 0..schedule.calls() {
        let begin = schedule.begin(start, n);
        let early = begin.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::sleep(early.max(NAP_MIN));
        }
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            let why = format!("{OPEN_MAX} calls were open at once at {:.0}/s", schedule.rate);
            // The receiver is gone if a call failed; that is told already.
            let _ = ended.send(Err(Error::Wrong(why)));
            return;
        };
        if ended.is_closed() {
            return;
        }
        runtime.spawn(run(call(n), begin, slot, ended.clone()));
    }
}

async fn run(
    call: impl Future<Output = Result<(), Error>>,
    begin: Instant,
    slot: OwnedSemaphorePermit,
    ended: mpsc::UnboundedSender<Ended>,
) {
    let result = call.await;
    drop(slot);
    // The receiver is gone if another call failed.
    let _ = ended.send(result.map(|()| (begin, begin.elapsed())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: f64) -> Schedule {
        let warm_up = Duration::from_millis(20);
        Schedule { rate, warm_up, time: Duration::from_millis(80) }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn calls_of_the_warm_up_are_made_but_not_counted() {
        let outcome = open(schedule(1_000.0), |_| async { Ok(()) }).await.expect("no call fails");
        assert_eq!(outcome.done, 80);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_stall_shows_in_the_latency_of_all_calls_that_it_held_up() {
        // The only worker of the runtime is blocked for a while by one call.
        let outcome = open(schedule(1_000.0), |n| async move {
            if n == 30 {
                std::thread::sleep(Duration::from_millis(30));
            }
            Ok(())
        });
        let outcome = outcome.await.expect("no call fails");
        assert!(outcome.max_ms() >= 30.0, "{}", outcome.max_ms());
        assert!(outcome.quantile_ms(0.9) >= 10.0, "{}", outcome.quantile_ms(0.9));
    }
}
