//! When to try again: later each time up to a limit, and never in step with others. Pure.

use std::time::Duration;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait, before jitter.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Attempts in a row that came to nothing, and when the next is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    pub attempts: u32,
    /// Monotonic time.
    pub due: Duration,
}

impl Retry {
    /// After one more attempt that came to nothing at `now`: the wait is between half and the whole of what the number of
    /// attempts asks for, by `jitter` of 0 to 255.
    #[must_use]
    pub fn after(self, now: Duration, jitter: u8) -> Self {
        let whole = FIRST.saturating_mul(2_u32.saturating_pow(self.attempts)).min(LONGEST);
        let wait = whole / 2 + (whole / 2).mul_f64(f64::from(jitter) / f64::from(u8::MAX));
        Self { attempts: self.attempts.saturating_add(1), due: now + wait }
    }

    pub fn is_due(&self, now: Duration) -> bool {
        self.due <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit() {
        let mut retry = Retry::default();
        assert!(retry.is_due(Duration::ZERO));
        let mut waits = Vec::new();
        for _ in 0..64 {
            let now = retry.due;
            retry = retry.after(now, u8::MAX);
            waits.push(retry.due - now);
        }
        assert_eq!(waits[..3], [1, 2, 4].map(|times| FIRST * times));
        assert!(waits.is_sorted() && waits[20..].iter().all(|wait| *wait == LONGEST));
        assert_eq!(Retry::default().after(Duration::ZERO, 0).due, FIRST / 2);
    }
}
