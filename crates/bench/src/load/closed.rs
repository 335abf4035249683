//! A closed loop: so many workers, each with one call open at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::{Outcome, histogram, record};
use crate::error::Error;

/// Runs `call(worker, number)` in a loop in each of `workers` tasks for `time`; `next` gives the numbers.
///
/// # Errors
/// The first error of a call: a rate of failures is no rate.
pub(crate) async fn closed<C, F>(
    workers: usize,
    time: Duration,
    next: &Arc<AtomicU64>,
    call: C,
) -> Result<Outcome, Error>
where
    C: Fn(usize, u64) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        tasks.spawn(work(worker, start + time, next.clone(), call.clone()));
    }
    let mut total = Outcome { done: 0, elapsed: Duration::ZERO, latency: histogram() };
    while let Some(joined) = tasks.join_next().await {
        let latency = joined.expect("a worker does not panic and is not cancelled")?;
        total.done += latency.len();
        total.latency += latency;
    }
    total.elapsed = start.elapsed();
    Ok(total)
}

async fn work<C, F>(
    worker: usize,
    end: Instant,
    next: Arc<AtomicU64>,
    call: C,
) -> Result<Histogram<u64>, Error>
where
    C: Fn(usize, u64) -> F,
    F: Future<Output = Result<(), Error>>,
{
    let mut latency = histogram();
    let mut before = Instant::now();
    while before < end {
        call(worker, next.fetch_add(1, Ordering::Relaxed)).await?;
        let after = Instant::now();
        record(&mut latency, after - before);
        before = after;
    }
    Ok(latency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_call_has_its_own_number() {
        let next = Arc::new(AtomicU64::new(0));
        let outcome = closed(4, Duration::from_millis(20), &next, |_, _| async {
            tokio::task::yield_now().await;
            Ok(())
        });
        let outcome = outcome.await.expect("no call fails");
        assert_eq!(outcome.done, next.load(Ordering::Relaxed));
        assert!(outcome.done > 0);
    }

    #[tokio::test]
    async fn one_failure_fails_the_loop() {
        let next = Arc::new(AtomicU64::new(0));
        let outcome = closed(2, Duration::from_secs(60), &next, |_, n| async move {
            tokio::task::yield_now().await;
            if n == 100 { Err(Error::Interrupted) } else { Ok(()) }
        });
        assert!(outcome.await.is_err());
    }
}
