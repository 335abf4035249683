//! Everything that can go wrong in a command: what is said about it, and with which exit code it ends.
//!
//! How a failed request is printed with its details is in [`super::report`].

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use bowline_store::backup::{BackupError, Deployment, RestoreError};
use tonic_types::StatusExt as _;

/// Exit codes, stable: scripts depend on them.
pub(crate) mod exit {
    pub(crate) const OK: u8 = 0;
    pub(crate) const ERROR: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    /// The server refused because of the state that something is in.
    pub(crate) const BLOCKED: u8 = 3;
    /// Some of several things were done, others not.
    pub(crate) const PARTIAL: u8 = 4;
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no type is called \"{text}\"")]
    UnknownType { text: String, near: Vec<String> },
    #[error("\"{text}\" may be any of several types")]
    AmbiguousType { text: String, candidates: Vec<String> },
    #[error("{kind} has no version {version}")]
    UnknownVersion { kind: String, version: String, known: Vec<String> },
    #[error("\"{name}\" is not the name of a resource of any type")]
    UnknownName { name: String, near: Vec<String> },
    #[error("\"{name}\" may be the name of several types")]
    AmbiguousName { name: String, candidates: Vec<String> },
    #[error("\"{name}\" is not a name of {kind}")]
    NameOfOtherType { name: String, kind: String, patterns: Vec<String> },
    #[error("{kind} has no method to {verb} it")]
    NoMethod { kind: String, verb: &'static str },
    #[error("the method to {verb} {kind} does not take {flag}")]
    FlagNotTaken { kind: String, verb: &'static str, flag: &'static str },
    #[error("{problem}")]
    Usage { problem: String },
    #[error("--set {argument}: {problem}")]
    BadSet { argument: String, problem: String },
    #[error("{place}: {problem}")]
    BadDocument { place: String, problem: String },
    /// The single documents were reported before.
    #[error("{bad} of {total} documents are wrong; nothing was applied")]
    BadDocuments { bad: usize, total: usize },
    #[error("read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("--server {server} is not an address of a server: {problem}")]
    BadServer { server: String, problem: &'static str },
    #[error("{server} has no meta service, so it knows of no regions and no other deployments")]
    NoMeta { server: String },
    #[error("connect to {server}")]
    Connect {
        server: String,
        #[source]
        source: tonic::transport::Error,
    },
    /// The server answered a request with a failure.
    #[error("{}", .0.message())]
    Server(Box<tonic::Status>),
    /// The server's answer does not fit what it told about itself.
    #[error("the server's answer makes no sense: {problem}")]
    Answer { problem: String },
    /// The server gave no schema that can be used.
    #[error("the schema of the server cannot be read:\n{diagnostics}")]
    ServerSchema { diagnostics: String },
    /// The diagnostics were printed before.
    #[error("the schema has {errors} error(s) and {warnings} warning(s)")]
    SchemaProblems { errors: usize, warnings: usize },
    #[error(transparent)]
    Start(#[from] bowline::StartError),
    #[error(transparent)]
    Fleet(#[from] bowline::FleetError),
    #[error(transparent)]
    Config(#[from] bowline::ConfigError),
    #[error("{problem}; it must join anew, with an empty store")]
    Gone { problem: String },
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
    #[error("listen for signals")]
    Signals(#[source] io::Error),
    /// The single failures were printed before.
    #[error("{failed} of {total} failed")]
    Partly { failed: usize, total: usize, worst: u8 },
    /// A backup cannot be written, or what was given is none that can be read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("restore {deployment}")]
    Restore {
        deployment: Deployment,
        #[source]
        source: RestoreError,
    },
    #[error(transparent)]
    Store(#[from] bowline::storage::OpenError),
    #[error("{path} is there already")]
    Exists { path: PathBuf },
    #[error("another process is writing {path}")]
    Busy { path: PathBuf },
    #[error("no service has data there")]
    NoStores,
    #[error("{service} has no data there")]
    NoStore { service: String },
    #[error("interrupted; nothing was left behind")]
    Interrupted,
    /// What was written to a database stays, with a mark that keeps it from being served.
    #[error("interrupted; what was restored so far is marked as unfinished and is not served")]
    RestoreInterrupted,
    /// The diagnostics, if there are any, were printed before.
    #[error("there is no service in what was given")]
    NoServices,
    #[error("write the output")]
    Output(#[source] io::Error),
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Server(Box::new(status))
    }
}

/// Only for writing to the output; files have their own variants.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownType { .. }
            | Self::AmbiguousType { .. }
            | Self::UnknownVersion { .. }
            | Self::UnknownName { .. }
            | Self::AmbiguousName { .. }
            | Self::NameOfOtherType { .. }
            | Self::NoMethod { .. }
            | Self::FlagNotTaken { .. }
            | Self::Usage { .. }
            | Self::BadSet { .. }
            | Self::BadServer { .. } => exit::USAGE,
            Self::Server(status) => match status.code() {
                tonic::Code::FailedPrecondition | tonic::Code::Aborted => exit::BLOCKED,
                _ => exit::ERROR,
            },
            Self::Partly { failed, total, .. } if failed < total => exit::PARTIAL,
            Self::Partly { worst, .. } => *worst,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
            Self::Fleet(bowline::FleetError::NoDeployment { .. }) => exit::USAGE,
            Self::BadDocument { .. }
            | Self::BadDocuments { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Connect { .. }
            | Self::NoMeta { .. }
            | Self::Answer { .. }
            | Self::ServerSchema { .. }
            | Self::SchemaProblems { .. }
            | Self::Start(_)
            | Self::Fleet(_)
            | Self::Config(_)
            | Self::Gone { .. }
            | Self::Runtime(_)
            | Self::Signals(_)
            | Self::Backup(_)
            | Self::Store(_)
            | Self::Busy { .. }
            | Self::NoStores
            | Self::NoStore { .. }
            | Self::Interrupted
            | Self::RestoreInterrupted
            | Self::NoServices
            | Self::Output(_) => exit::ERROR,
            Self::Exists { .. } | Self::Restore { source: RestoreError::NotEmpty { .. }, .. } => {
                exit::BLOCKED
            }
            Self::Restore { .. } => exit::ERROR,
        }
    }

    /// The reader of our output went away, as `| head` does: no reason to say anything.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The server said that the resource is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Server(status) if status.code() == tonic::Code::NotFound)
    }

    /// The server said that what is referred to is not there, and names nothing but some of `names` (`//SERVICE/NAME`).
    pub(crate) fn misses_only(&self, names: &BTreeSet<String>) -> bool {
        let Self::Server(status) = self else { return false };
        let details = status.get_error_details();
        let is_missing = details
            .error_info()
            .is_some_and(|info| info.reason == bowline::Reason::ReferenceNotFound.name());
        let Some(failure) = details.precondition_failure().filter(|_| is_missing) else {
            return false;
        };
        failure.violations.iter().all(|violation| names.contains(&violation.subject))
    }

    /// The server said that the resource is there already.
    pub(crate) fn is_already_exists(&self) -> bool {
        matches!(self, Self::Server(status) if status.code() == tonic::Code::AlreadyExists)
    }
}

/// Counts what became of several things that are done one after another, so that one failure does not end the rest.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    total: usize,
    failed: Vec<u8>,
}

impl Tally {
    pub(crate) fn done(&mut self) {
        self.total += 1;
    }

    /// `error` has been printed and must not be again.
    pub(crate) fn failed(&mut self, error: &Error) {
        self.total += 1;
        self.failed.push(error.exit_code());
    }

    /// Fails if anything did: with what it failed with if nothing succeeded, else as partly done.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.failed.iter().max() {
            None => Ok(()),
            Some(&worst) => {
                Err(Error::Partly { failed: self.failed.len(), total: self.total, worst })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: tonic::Code) -> Error {
        tonic::Status::new(code, "x").into()
    }

    #[test]
    fn a_refusal_because_of_state_is_not_an_ordinary_error() {
        assert_eq!(server(tonic::Code::FailedPrecondition).exit_code(), exit::BLOCKED);
        assert_eq!(server(tonic::Code::Aborted).exit_code(), exit::BLOCKED);
        assert_eq!(server(tonic::Code::NotFound).exit_code(), exit::ERROR);
    }

    #[test]
    fn partly_done_is_told_from_not_done() {
        let mut tally = Tally::default();
        tally.failed(&server(tonic::Code::FailedPrecondition));
        tally.done();
        assert_eq!(tally.finish().unwrap_err().exit_code(), exit::PARTIAL);

        let mut tally = Tally::default();
        tally.failed(&server(tonic::Code::NotFound));
        tally.failed(&server(tonic::Code::FailedPrecondition));
        assert_eq!(tally.finish().unwrap_err().exit_code(), exit::BLOCKED);

        let mut tally = Tally::default();
        tally.done();
        assert!(tally.finish().is_ok());
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let error = Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(error.is_broken_pipe());
        assert_eq!(error.exit_code(), exit::OK);
    }
}
