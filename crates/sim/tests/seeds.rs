//! Random runs. More of them: `./x sim --seeds 1000`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicU64, Ordering};

use bowline_sim::run::run;

/// Seeds that each test run tries; always the same, so that a test run tells of the change and not of its luck.
const SEEDS: u64 = 200;

#[test]
fn random_runs_hold() {
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|s| *s < SEEDS)
            {
                holds(seed);
            }
        };
        (0..workers).for_each(|_| drop(scope.spawn(work)));
    });
}

fn holds(seed: u64) {
    let report = run(seed, None);
    let told = report.failure.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(report.failure.is_none(), "seed {seed}: {told}\n{}\n{}", report.plan, report.tail(80));
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 100..103 {
        let first = run(seed, None);
        let again: Vec<u64> = (0..4).map(|_| run(seed, None).hash).collect();
        assert!(again.iter().all(|hash| *hash == first.hash), "seed {seed}: {again:?}");
    }
}
