//! Waiting until something is true, with a deadline. Tests never sleep for a guessed time.

use std::future::Future;
use std::time::Duration;

use bowline_base::Seams;

/// How long to pause between two looks. Short, because every test that waits pays it.
const PAUSE: Duration = Duration::from_millis(5);

/// What was waited for did not become true in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} did not become true within {within:?}")]
pub struct TimedOut {
    pub what: String,
    pub within: Duration,
}

/// Looks again and again until `look` gives something, at most for `within`.
///
/// # Errors
/// [`TimedOut`] with `what` was waited for. The last look happens after the deadline, so that a slow machine gets a fair chance.
pub async fn eventually<T, F>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T, TimedOut>
where
    F: Future<Output = Option<T>>,
{
    let clock = Seams::real().clock;
    let deadline = clock.monotonic() + within;
    loop {
        let late = clock.monotonic() >= deadline;
        if let Some(found) = look().await {
            return Ok(found);
        }
        if late {
            return Err(TimedOut { what: what.to_owned(), within });
        }
        clock.sleep(PAUSE).await;
    }
}

/// [`eventually`] for tests without an async runtime.
///
/// # Errors
/// As [`eventually`].
pub fn eventually_blocking<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, TimedOut> {
    let clock = Seams::real().clock;
    let deadline = clock.monotonic() + within;
    loop {
        let late = clock.monotonic() >= deadline;
        if let Some(found) = look() {
            return Ok(found);
        }
        if late {
            return Err(TimedOut { what: what.to_owned(), within });
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_true_is_given_back() {
        let mut looks = 0;
        let found = eventually_blocking("three looks", Duration::from_secs(10), || {
            looks += 1;
            (looks == 3).then_some("seen")
        });
        assert_eq!(found, Ok("seen"));
    }

    #[test]
    fn what_never_becomes_true_is_named() {
        let error = eventually_blocking("the sea to be dry", Duration::ZERO, || None::<()>);
        let error = error.expect_err("it cannot be found");
        assert_eq!(error.to_string(), "the sea to be dry did not become true within 0ns");
    }

    #[tokio::test]
    async fn there_is_a_look_even_without_time() {
        let found = eventually("at once", Duration::ZERO, || async { Some(7) }).await;
        assert_eq!(found, Ok(7));
    }
}
