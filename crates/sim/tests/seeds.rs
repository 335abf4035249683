//! Random runs. More of them: `./x sim --seeds 1000`.
#![allow(clippy::unwrap_used, reason = "tests")]

use bowline_sim::run::run;

/// Seeds that each test run tries; always the same, so that a test run tells of the change and not of its luck.
const SEEDS: u64 = 30;

#[test]
fn random_runs_hold() {
    for seed in 0..SEEDS {
        let report = run(seed, None);
        assert!(
            report.failure.is_none(),
            "seed {seed}: {}\n{}\n{}",
            report.failure.as_ref().unwrap(),
            report.plan,
            report.tail(80)
        );
    }
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 100..103 {
        let first = run(seed, None);
        let again: Vec<u64> = (0..4).map(|_| run(seed, None).hash).collect();
        assert!(again.iter().all(|hash| *hash == first.hash), "seed {seed}: {again:?}");
    }
}
