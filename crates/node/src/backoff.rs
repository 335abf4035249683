//! Waiting between attempts: longer each time up to a limit, and never in step with others.

use std::time::Duration;

use bowline_base::Seams;

/// The wait after the first failure, before jitter.
const FIRST: Duration = Duration::from_millis(50);

/// The longest wait. Short, because a peer that is back is to be heard of within a second.
const LONGEST: Duration = Duration::from_millis(700);

/// Counts failures in a row, and knows how long to wait after each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next attempt: between half and the whole of what the number of failures asks for.
    pub(crate) fn next(&mut self, seams: &Seams) -> Duration {
        let whole = FIRST.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let mut byte = [0u8; 1];
        seams.random.fill(&mut byte);
        whole / 2 + (whole / 2).mul_f64(f64::from(byte[0]) / f64::from(u8::MAX))
    }

    /// Something worked: the next failure is the first again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_start_over_after_a_success() {
        let seams = Seams::real();
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..100).map(|_| backoff.next(&seams)).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2);
        assert!(waits[10..].iter().all(|wait| *wait >= LONGEST / 2 && *wait <= LONGEST));
        backoff.reset();
        assert!(backoff.next(&seams) <= FIRST);
    }
}
