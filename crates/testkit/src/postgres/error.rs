//! Why there is no PostgreSQL for a test, in words that say what to do about it.

use std::path::PathBuf;
use std::process::ExitStatus;

use crate::wait::TimedOut;

/// Most of a log that a message repeats, in bytes from its end.
const LOG_TAIL: usize = 4_000;

#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "PostgreSQL's server programs are missing; `./x setup` installs them, or `apt-get install postgresql` \
         (looked for initdb in PATH and /usr/lib/postgresql/*/bin)"
    )]
    Missing,
    #[error("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")]
    NoAccount,
    #[error("{} cannot be used", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("start {}", program.display())]
    Start {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{program} failed ({status}): {output}")]
    Program { program: String, status: ExitStatus, output: String },
    #[error("PostgreSQL ended while it was starting; it wrote: {log}")]
    EndedEarly { log: String },
    #[error("no free port was found between {} and {}", range.start, range.end)]
    NoPort { range: std::ops::Range<u16> },
    #[error("signal a process of the server")]
    Process(#[source] rustix::io::Errno),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

/// The end of a log.
pub(super) fn tail(log: &str) -> &str {
    let start = log.len().saturating_sub(LOG_TAIL);
    &log[log.ceil_char_boundary(start)..]
}
