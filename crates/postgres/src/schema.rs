//! What the tasks of one store share, and how they learn of other processes' commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bowline_store::{Changes, Position, StoreError};
use tokio::sync::{Notify, watch};

use crate::connect::{Connector, Purpose, Session, quoted};
use crate::failure::Failure;
use crate::feed::Feed;
use crate::flight::Flight;
use crate::net::LogLimits;
use crate::numbers::Numbers;
use crate::pool::Shared;
use crate::row::{State, to_sql};
use crate::{log, read};

/// One schema, as this process sees it.
pub(crate) struct Schema {
    pub(crate) connector: Arc<Connector>,
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) feed: Feed,
    pub(crate) reads: Shared,
    pub(crate) limits: LogLimits,
    /// The newest format that this program knows.
    pub(crate) format: i32,
    /// The channel on which processes wake each other, if they do.
    pub(crate) channel: Option<String>,
    pub(crate) poll_interval: std::time::Duration,
    pub(crate) readable: bool,
    /// Wakes the task that frees dropped spaces and makes views.
    pub(crate) upkeep: Notify,
    pub(crate) is_closed: AtomicBool,
}

/// Ends when the store is closed or dropped.
pub(crate) type Stop = watch::Receiver<bool>;

/// Changes read from the log at a time, to catch up.
const CATCH_UP_CHANGES: usize = 1_000;

const BEGIN_ERA: &str = "UPDATE state SET era = $1, sequence = $2, log_oldest = $2, log_changes = 0, \
    log_bytes = 0 WHERE id = 1";
const EMPTY_LOG: &str = "DELETE FROM log";

impl Schema {
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.is_closed.load(Ordering::Acquire) { Err(StoreError::Closed) } else { Ok(()) }
    }

    pub(crate) async fn read_log(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        let numbers = &self.numbers;
        let read =
            |session: Arc<Session>| async move { log::read(&session, numbers, after, limit).await };
        self.reads.run(read).await.map_err(Failure::into_store_error)
    }

    /// Reads what others have committed since.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreError> {
        loop {
            let after = self.feed.position();
            match self.read_log(after, CATCH_UP_CHANGES).await? {
                Changes::Page { changes, next, at_head } => {
                    self.feed.add_page(after, next, changes);
                    if at_head {
                        return Ok(());
                    }
                }
                Changes::TooOld { .. } => return self.start_over(after).await,
            }
        }
    }

    /// The log does not go on from where we are: it was begun anew, it was cut before we read it, or the database lost
    /// its last commits.
    async fn start_over(&self, after: Position) -> Result<(), StoreError> {
        let read = |session: Arc<Session>| async move { read::position(&session).await };
        let position = self.reads.run(read).await.map_err(Failure::into_store_error)?;
        if position.era == after.era && position < after {
            return self.raise_era(after).await;
        }
        self.feed.restart(position);
        Ok(())
    }

    /// Makes the commits that come now tell from those that were lost: the server that took over does not have all that
    /// clients were told, because it followed without being waited for.
    pub(crate) async fn raise_era(&self, seen: Position) -> Result<(), StoreError> {
        let begun = self.begin_era(|state| {
            let is_behind = state.era == seen.era && state < seen;
            Ok(is_behind.then_some(Position { era: state.era + 1, ..state }))
        });
        let position = begun.await.map_err(Failure::into_store_error)?;
        tracing::error!(
            seen = seen.sequence,
            found = position.sequence,
            "the database has lost commits that were acknowledged; a new era begins"
        );
        self.feed.restart(position);
        Ok(())
    }

    /// Moves the database to the position that `choose` makes of the present one, with an empty log; `None` leaves it.
    pub(crate) async fn begin_era(
        &self,
        choose: impl FnOnce(Position) -> Result<Option<Position>, StoreError>,
    ) -> Result<Position, Failure> {
        let session = self.connector.connect(Purpose::Commit, self.connector.now()).await?;
        session.client.batch_execute("BEGIN").await?;
        let locked = session.client.query(&session.statement(State::LOCK).await?, &[]).await?;
        let present = State::read(&locked)?.position;
        let Some(position) = choose(present)? else {
            return Ok(present);
        };
        let mut flight = Flight::new(&session);
        let values: Vec<crate::flight::Value<'_>> =
            vec![Box::new(to_sql(position.era)), Box::new(to_sql(position.sequence))];
        flight.execute(session.statement(BEGIN_ERA).await?, values);
        flight.execute(session.statement(EMPTY_LOG).await?, Vec::new());
        flight.plain("COMMIT");
        for answer in flight.run().await {
            answer?;
        }
        Ok(position)
    }

    /// Reads the log whenever somebody says that there is something new, and now and then in case nobody does.
    pub(crate) async fn follow(self: Arc<Self>, mut stop: Stop) {
        loop {
            let wake = self.feed.wake.clone();
            let interval = self.connector.seams().clock.sleep(self.poll_interval);
            tokio::select! {
                () = wake.notified() => {}
                () = interval => {}
                _ = stop.changed() => return,
            }
            if let Err(error) = self.catch_up().await {
                tracing::warn!(error = %bowline_base::chain(&error), "the change log cannot be read");
            }
        }
    }

    /// Keeps a connection that is told of commits of other processes.
    pub(crate) async fn listen(self: Arc<Self>, mut stop: Stop) {
        let Some(channel) = &self.channel else { return };
        let sql = format!("LISTEN {}", quoted(channel));
        loop {
            let session = self.connector.listen(self.feed.wake.clone()).await;
            let listening = match session {
                Ok(session) => {
                    session.client.batch_execute(&sql).await.map(|()| session).map_err(Failure::Sql)
                }
                Err(failure) => Err(failure),
            };
            match listening {
                Ok(session) => {
                    // What came before we listened.
                    self.feed.wake.notify_one();
                    if self.until_closed(&session, &mut stop).await {
                        return;
                    }
                }
                Err(failure) => {
                    tracing::debug!(error = %bowline_base::chain(&failure), "cannot listen");
                    let pause = self.connector.seams().clock.sleep(self.poll_interval);
                    tokio::select! {
                        () = pause => {}
                        _ = stop.changed() => return,
                    }
                }
            }
        }
    }

    /// Waits for the end of a connection, or of the store: then true.
    async fn until_closed(&self, session: &Session, stop: &mut Stop) -> bool {
        loop {
            let pause = self.connector.seams().clock.sleep(self.poll_interval);
            tokio::select! {
                () = pause => {}
                _ = stop.changed() => return true,
            }
            if session.is_closed() {
                return false;
            }
        }
    }
}
