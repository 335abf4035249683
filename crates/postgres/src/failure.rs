//! What went wrong: opening errors, and what an error of the driver says about the server and the statement.

use std::path::PathBuf;
use std::sync::Arc;

use bowline_store::StoreError;
use tokio_postgres::error::SqlState;

/// Why a schema could not be opened as a store. None of it shows the password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the URL of the database {hint}")]
    Url { hint: &'static str },
    #[error("the name of a schema is empty or longer than 63 bytes")]
    SchemaName,
    #[error("cannot set up TLS{}", path.as_ref().map_or(String::new(), |p| format!(" with {}", p.display())))]
    Tls {
        path: Option<PathBuf>,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "schema {schema} needs a program that knows format {needed}, and this one knows {known}"
    )]
    NewerFormat { schema: String, needed: i32, known: i32 },
    #[error("schema {schema} holds tables of something else")]
    NotAStore { schema: String },
    #[error("cannot open schema {schema} as a store")]
    Store {
        schema: String,
        #[source]
        source: StoreError,
    },
}

/// What one exchange with the server can end in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("a statement failed")]
    Sql(#[source] tokio_postgres::Error),
    #[error("no answer in time")]
    Late,
    #[error("no connection")]
    NoConnection(#[source] Arc<Failure>),
    #[error("statement was not sent")]
    NotSent,
    #[error("the database has lost commits that were acknowledged")]
    LostCommits,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl Failure {
    fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Sql(error) => error.code(),
            Self::NoConnection(why) => why.code(),
            Self::Late | Self::NotSent | Self::LostCommits | Self::Store(_) => None,
        }
    }

    /// The connection is of no use any more, or was made to the wrong server: another one may do better.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Late => true,
            Self::NoConnection(why) => why.is_lost(),
            Self::NotSent | Self::LostCommits | Self::Store(_) => false,
            Self::Sql(error) => match error.code() {
                Some(code) => {
                    // 57P: shut down, crashed, starting. 08: connection. 53300: too many connections.
                    let code = code.code();
                    ["57P", "08", "53300"].iter().any(|class| code.starts_with(class))
                        || *code == *SqlState::READ_ONLY_SQL_TRANSACTION.code()
                        || *code == *SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT.code()
                }
                None => is_of_connection(error),
            },
        }
    }

    /// The same again may well succeed on the same connection.
    pub(crate) fn is_conflict(&self) -> bool {
        if matches!(self, Self::LostCommits) {
            return true;
        }
        self.code().is_some_and(|code| {
            // 40: serialization failure, deadlock. 55P03: lock not available in time.
            code.code().starts_with("40") || *code == SqlState::LOCK_NOT_AVAILABLE
        })
    }

    /// The server has said no to the statement, and is still there.
    pub(crate) fn is_refusal(&self) -> bool {
        self.code().is_some() && !self.is_lost()
    }

    /// The server does not like a value: it is worth trying which one.
    pub(crate) fn is_about_values(&self) -> bool {
        self.code().is_some_and(|code| {
            let code = code.code();
            // Data exceptions, limits of the program, constraints.
            ["22", "54", "23"].iter().any(|class| code.starts_with(class))
        })
    }

    pub(crate) fn is_code(&self, code: &SqlState) -> bool {
        self.code() == Some(code)
    }

    pub(crate) fn into_store_error(self) -> StoreError {
        let (lost, conflict) = (self.is_lost(), self.is_conflict());
        match self {
            Self::Store(error) => error,
            failure if failure.is_code(&SqlState::DISK_FULL) => StoreError::Full,
            failure if lost || conflict => StoreError::Unavailable(Box::new(failure)),
            Self::Sql(error) if is_damage(&error) => StoreError::Corrupt(error.to_string()),
            failure => StoreError::Failed(Box::new(failure)),
        }
    }
}

/// Whether an error without a code comes from the way to the server, and not from what was to be sent over it.
fn is_of_connection(error: &tokio_postgres::Error) -> bool {
    // The driver tells its kinds of errors apart in words only.
    const STARTS: [&str; 4] =
        ["error communicating", "error connecting", "unexpected message", "timeout"];
    let text = error.to_string();
    error.is_closed() || STARTS.iter().any(|start| text.starts_with(start))
}

fn is_damage(error: &tokio_postgres::Error) -> bool {
    let damaged = [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED];
    error.code().is_some_and(|code| damaged.contains(code))
}

/// A column that does not hold what we write into it.
pub(crate) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}
