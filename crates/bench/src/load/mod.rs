//! Load: closed loops find the highest rate, open loops find the latency at a given one.

mod closed;
mod open;

use std::time::Duration;

use hdrhistogram::Histogram;

pub(crate) use closed::closed;
pub(crate) use open::{Schedule, open};

/// The longest latency that is told apart, one minute in nanoseconds; longer ones count as it.
const NANOS_MAX: u64 = 60_000_000_000;

/// What a loop did and how long each call took.
pub(crate) struct Outcome {
    pub(crate) done: u64,
    pub(crate) elapsed: Duration,
    latency: Histogram<u64>,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64()
    }

    /// In milliseconds; `share` of the calls took no longer.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        quantile_ms(&self.latency, share)
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.latency.max() as f64 / 1e6
    }
}

/// An empty histogram of nanoseconds, three digits exact.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, NANOS_MAX, 3).expect("the bounds are right")
}

pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
}

pub(crate) fn quantile_ms(histogram: &Histogram<u64>, share: f64) -> f64 {
    histogram.value_at_quantile(share) as f64 / 1e6
}
