//! What goes to standard error beside the result: failures of single things, and notes.

use std::io::{IsTerminal as _, Write as _};

use super::error::Error;
use super::report;

/// Whether standard error is a terminal that wants colours.
fn color() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

pub(crate) fn failure(error: &Error) {
    line(&report::render(error, color()));
}

/// A failure of one of several documents.
pub(crate) fn failure_at(place: &str, error: &Error) {
    match error {
        // It says its place itself.
        Error::BadDocument { .. } => failure(error),
        _ => line(&format!("{place}: {}", report::render(error, color()))),
    }
}

pub(crate) fn note(text: &str) {
    line(&format!("note: {text}"));
}

pub(crate) fn line(text: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}
