//! Why a bench cannot be run, or why its figures would be worthless.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{what}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("no program {}; build it first: cargo build --release -p bowline", .0.display())]
    NoProgram(PathBuf),
    #[error("{what} ended before it served; it wrote: {log}")]
    EndedEarly { what: String, log: String },
    #[error("{what} did not happen within {within:?}")]
    TooLate { what: String, within: Duration },
    #[error("connect to {url}")]
    Connect {
        url: String,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("call {path}")]
    Call {
        path: &'static str,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("decode an answer of {path}")]
    Answer {
        path: &'static str,
        #[source]
        source: prost::DecodeError,
    },
    /// What is measured is not what was meant to be measured.
    #[error("the figures would be wrong: {0}")]
    Wrong(String),
    #[error("commit to a store")]
    Commit(#[source] bowline_store::CommitError),
    #[error("read a store")]
    Store(#[source] bowline_store::StoreError),
    #[error("ask SQLite")]
    Sqlite(#[source] rusqlite::Error),
    #[error("ask PostgreSQL")]
    Postgres(#[source] tokio_postgres::Error),
    #[error("run a PostgreSQL server")]
    PostgresServer(#[source] bowline_testkit::postgres::PostgresError),
    #[error("open a store on PostgreSQL")]
    PostgresStore(#[source] bowline_postgres::OpenError),
    #[error("open a store")]
    Raw(#[source] bowline_store::OpenError),
    #[error("no bench {name:?}; there are: {known}")]
    NoBench { name: String, known: String },
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// For `map_err`: what was tried when the system refused.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::Io { what: what.into(), source }
    }

    pub(crate) fn call(path: &'static str) -> impl FnOnce(tonic::Status) -> Self {
        move |source| Self::Call { path, source: Box::new(source) }
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
