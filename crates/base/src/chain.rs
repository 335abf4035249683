//! Printing an error together with its causes, once, where it is handled.

use std::error::Error;
use std::fmt;

/// Displays `error` and all its sources on one line: `read config: open file: not found`.
///
/// Errors in this project do not repeat their cause in their own text, so nothing is said twice.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl fmt::Display + 'a {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read manifest")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_cause_is_shown_once() {
        let error = Outer(std::io::Error::other("disk is gone"));
        assert_eq!(chain(&error).to_string(), "read manifest: disk is gone");
    }
}
