//! Connections: how they are made and set up, and the statements that each has prepared.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline_base::Seams;
use futures::future::{Either, join_all, select};
use tokio::sync::oneshot;
use tokio_postgres::{AsyncMessage, Client, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::Address;
use crate::failure::{Failure, OpenError};
use crate::options::PostgresOptions;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Commit,
    Read,
    Snapshot,
    Listen,
}

/// Makes connections to whichever server of the address takes writes at the moment.
pub(crate) struct Connector {
    address: Address,
    tls: MakeRustlsConnect,
    seams: Seams,
    /// Quoted.
    pub(crate) schema: String,
    stall_timeout: Duration,
    snapshot_timeout: Duration,
    answer_deadline: Duration,
    flight_timeout: Duration,
}

/// Wait between two tries to connect: doubled each time up to the maximum.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// What a try to connect is given at least, beyond the deadline if need be. On a busy machine a connection takes longer
/// than a tight deadline, and whoever always gives up would never have one.
const CONNECT_MIN: Duration = Duration::from_secs(1);

/// Settings of PostgreSQL's planner, for those engines that have them. Every statement here finds its rows by key, a
/// handful at a time; a planner that has never seen the tables full would read all of them instead. The last is
/// CockroachDB's: migrations are transactions.
const PLANNER: &str = "SELECT set_config(v.name, v.setting, false) FROM (VALUES \
    ('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), \
    ('enable_bitmapscan', 'off'), ('enable_material', 'off'), ('enable_memoize', 'off'), \
    ('jit', 'off'), ('plan_cache_mode', 'force_generic_plan'), \
    ('autocommit_before_ddl', 'off')) AS v(name, setting) \
    WHERE EXISTS (SELECT 1 FROM pg_settings p WHERE p.name = v.name)";

/// A commit that was answered is on the disk, whatever the server's default.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') IN ('off', 'local')";

impl Connector {
    pub(crate) fn new(options: &PostgresOptions, seams: Seams) -> Result<Self, OpenError> {
        let address = Address::parse(options)?;
        if options.schema.is_empty() || options.schema.len() > 63 || options.schema.contains('\0') {
            return Err(OpenError::SchemaName);
        }
        Ok(Self {
            tls: crate::tls::connector(&address)?,
            address,
            seams,
            schema: quoted(&options.schema),
            stall_timeout: options.stall_timeout,
            snapshot_timeout: options.snapshot_timeout,
            answer_deadline: options.answer_deadline,
            flight_timeout: options.flight_timeout,
        })
    }

    /// A connection, by the deadline counted from `since` (see [`Connector::now`]); tries again while no server answers.
    pub(crate) async fn connect(
        &self,
        purpose: Purpose,
        since: Duration,
    ) -> Result<Session, Failure> {
        let mut backoff = BACKOFF_MIN;
        loop {
            let limit = self.left(since).max(CONNECT_MIN);
            let tried = self.within(limit, self.connect_once(purpose, None)).await;
            match tried {
                Err(failure) if failure.is_lost() && self.left(since) > backoff => {
                    tracing::debug!(error = %bowline_base::chain(&failure), "no connection yet");
                    self.seams.clock.sleep(backoff).await;
                    backoff = (2 * backoff).min(BACKOFF_MAX);
                }
                tried => return tried,
            }
        }
    }

    /// A connection whose notifications are sent to `notified`.
    pub(crate) async fn listen(
        &self,
        notified: Arc<tokio::sync::Notify>,
    ) -> Result<Session, Failure> {
        self.connect_once(Purpose::Listen, Some(notified)).await
    }

    async fn connect_once(
        &self,
        purpose: Purpose,
        notified: Option<Arc<tokio::sync::Notify>>,
    ) -> Result<Session, Failure> {
        let (client, mut connection) = self.address.config.connect(self.tls.clone()).await?;
        let (end, ended) = oneshot::channel::<()>();
        let drive = async move {
            let messages = futures::future::poll_fn(move |context| {
                while let std::task::Poll::Ready(message) = connection.poll_message(context) {
                    match (message, &notified) {
                        (Some(Ok(AsyncMessage::Notification(_))), Some(notified)) => {
                            notified.notify_one();
                        }
                        (Some(Ok(_)), _) => {}
                        (Some(Err(error)), _) => return std::task::Poll::Ready(Some(error)),
                        (None, _) => return std::task::Poll::Ready(None),
                    }
                }
                std::task::Poll::Pending
            });
            // The session's end closes the socket at once, whatever the server still has to say.
            if let Either::Left((Some(error), _)) = select(messages, ended).await {
                tracing::debug!(error = %bowline_base::chain(&error), "a connection broke");
            }
        };
        self.seams.tasks.spawn("postgres connection", Box::pin(drive));
        let session = Session { client, statements: Mutex::default(), _end: end };
        session.client.batch_execute(&self.settings(purpose)).await?;
        Ok(session)
    }

    fn settings(&self, purpose: Purpose) -> String {
        let stall = match purpose {
            Purpose::Commit | Purpose::Listen => self.stall_timeout,
            Purpose::Read | Purpose::Snapshot => self.snapshot_timeout,
        };
        // A commit that waits for a replica must not be cut short by a timeout: it would be there and not be safe.
        format!(
            "SET search_path TO {}; SET statement_timeout = 0; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = {}; \
             SET default_transaction_isolation = 'read committed'; \
             SET bytea_output = 'hex'; {PLANNER}; {DURABLE}",
            self.schema,
            self.stall_timeout.as_millis().max(1),
            stall.as_millis().max(1),
        )
    }

    /// For [`Connector::left`].
    pub(crate) fn now(&self) -> Duration {
        self.seams.clock.monotonic()
    }

    /// What is left of the deadline for work that began at `since`.
    pub(crate) fn left(&self, since: Duration) -> Duration {
        self.answer_deadline.saturating_sub(self.now().saturating_sub(since))
    }

    /// How long the next exchange may take.
    pub(crate) fn flight_limit(&self, since: Duration) -> Duration {
        self.left(since).min(self.flight_timeout)
    }

    /// `work`, or [`Failure::Late`] after `limit`.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let late = self.seams.clock.sleep(limit);
        match select(std::pin::pin!(work), late).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(Failure::Late),
        }
    }

    pub(crate) fn seams(&self) -> &Seams {
        &self.seams
    }
}

/// An identifier for SQL text.
pub(crate) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// One connection. Dropping it closes the socket at once: the server rolls back whatever was open.
pub(crate) struct Session {
    pub(crate) client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    _end: oneshot::Sender<()>,
}

impl Session {
    /// The prepared statement for `sql`. Cost: a round trip the first time.
    pub(crate) async fn statement(&self, sql: &'static str) -> Result<Statement, Failure> {
        let known = self.statements().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements().insert(sql, statement.clone());
        Ok(statement)
    }

    /// Prepares many statements in one round trip, before somebody waits for them.
    pub(crate) async fn prepare_all(&self, all: &[&'static str]) -> Result<(), Failure> {
        join_all(all.iter().map(|sql| self.statement(sql)))
            .await
            .into_iter()
            .try_for_each(|s| s.map(drop))
    }

    fn statements(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}
