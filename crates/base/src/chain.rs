//! Printing an error together with its causes, once, where it is handled.

use std::error::Error;
use std::fmt;

/// Displays `error` and all its sources on one line: `read config: open file: not found`.
///
/// Errors in this project do not repeat their cause in their own text, so nothing is said twice. Those of libraries
/// sometimes do: a cause that says the same as what it caused is left out.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl fmt::Display + 'a {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if text != said {
                write!(f, ": {text}")?;
            }
            said = text;
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

    #[test]
    fn a_cause_that_says_the_same_is_left_out() {
        let error = Outer(std::io::Error::other(Outer(std::io::Error::other("disk is gone"))));
        assert_eq!(chain(&error).to_string(), "read manifest: disk is gone");
    }
}
