//! Commits: a group of batches is judged and written in one transaction, two round trips, behind the lock of `state`.
//!
//! The first flight begins the transaction, claims the next number of this writer, locks the row of `state` and reads.
//! That lock makes all committers of all processes take turns, from judging to `COMMIT`: sequences are given in the order
//! in which commits become visible, and what is read after it is the newest state. The second flight writes and commits.
//!
//! When the connection breaks after `COMMIT` was sent, the number tells whether the group is there (see
//! [`Writer::resolve`]).

use std::sync::Arc;
use std::time::Duration;

use bowline_store::{Batch, CommitError, StoreError, Write};
use tokio_postgres::Row as SqlRow;
use uuid::Uuid;

use crate::connect::{Purpose, Session};
use crate::failure::{Failure, corrupt};
use crate::feed::Stretch;
use crate::flight::{Answer, Flight, Value};
use crate::gather::{self, Reads};
use crate::group::{Group, Outcome};
use crate::needs::{Base, Needs};
use crate::net;
use crate::numbers::Names;
use crate::row::{State, column};
use crate::schema::Schema;

const REGISTER: &str = "INSERT INTO writers (id, number, used_at) VALUES ($1, $2, now()) \
    ON CONFLICT (id) DO NOTHING";
const CLAIM: &str = "UPDATE writers SET number = $2, used_at = now() WHERE id = $1 AND number = $3";
const NUMBER: &str = "SELECT number FROM writers WHERE id = $1 FOR UPDATE";
const SET_NUMBER: &str = "UPDATE writers SET number = $2 WHERE id = $1";
const UNREGISTER: &str = "DELETE FROM writers WHERE id = $1";
const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// Reads of what was not foretold, for one group.
const READS_MAX: usize = 64;

/// Pause after a conflict with something else that works on the tables.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);

/// One of the connections that commit.
pub(crate) struct Writer {
    schema: Arc<Schema>,
    session: Option<Session>,
    id: Uuid,
    /// Of the last group that this writer has committed.
    number: i64,
}

/// A group that was judged.
struct Done {
    outcomes: Vec<Outcome>,
    stretch: Option<Stretch>,
}

/// How an attempt can fail.
enum Trouble {
    /// Nothing of it happened, and never will.
    Undone(Failure),
    /// The database does not know this writer, or at another number.
    Stranger,
    /// It may have happened.
    Unknown(Failure, Done),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Undone(failure)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Undone(error.into())
    }
}

impl Writer {
    pub(crate) fn new(schema: Arc<Schema>) -> Self {
        let id = schema.connector.seams().new_uid();
        Self { schema, session: None, id, number: 0 }
    }

    /// Commits what can be committed of `batches`; one outcome for each.
    pub(crate) async fn run(&mut self, mut batches: Vec<Batch>) -> Vec<Outcome> {
        match Box::pin(self.commit(&batches)).await {
            Ok(outcomes) => outcomes,
            Err(failure) if failure.is_lost() || failure.is_conflict() => {
                unavailable(&failure, batches.len())
            }
            Err(failure) if batches.len() > 1 => {
                tracing::debug!(error = %bowline_base::chain(&failure), "a group failed, trying each alone");
                let mut outcomes = Vec::new();
                for batch in batches {
                    outcomes.extend(Box::pin(self.run(vec![batch])).await);
                }
                outcomes
            }
            Err(failure) if failure.is_about_values() && batches.iter_mut().any(strip) => {
                tracing::warn!(error = %bowline_base::chain(&failure), "a document is kept without its readable form");
                Box::pin(self.run(batches)).await
            }
            Err(failure) => vec![Err(failure.into_store_error().into())],
        }
    }

    /// The group, tried until it is there, or refused, or no server has answered for too long.
    async fn commit(&mut self, batches: &[Batch]) -> Result<Vec<Outcome>, Failure> {
        let since = self.schema.connector.now();
        loop {
            let failure = match self.attempt(batches, since).await {
                Ok(done) => return Ok(self.finish(done)),
                Err(Trouble::Stranger) => {
                    self.id = self.schema.connector.seams().new_uid();
                    self.number = 0;
                    self.session = None;
                    continue;
                }
                Err(Trouble::Unknown(failure, done)) => {
                    self.session = None;
                    tracing::info!(error = %bowline_base::chain(&failure), "a commit was not answered, asking for it");
                    if Box::pin(self.resolve(since)).await? {
                        return Ok(self.finish(done));
                    }
                    failure
                }
                Err(Trouble::Undone(failure)) => failure,
            };
            // Whatever is open on it ends with it.
            self.session = None;
            let may_try_again = failure.is_lost() || failure.is_conflict();
            if !may_try_again || self.schema.connector.left(since).is_zero() {
                return Err(failure);
            }
            tracing::debug!(error = %bowline_base::chain(&failure), "a group is tried again");
            self.schema.connector.seams().clock.sleep(CONFLICT_PAUSE).await;
        }
    }

    /// Tells the feed before anybody is told that his batch is there.
    fn finish(&self, done: Done) -> Vec<Outcome> {
        if let Some(stretch) = done.stretch {
            self.schema.feed.offer(stretch);
        }
        done.outcomes
    }

    /// The connection, made ready.
    async fn ready(&mut self, since: Duration) -> Result<(), Failure> {
        if self.session.as_ref().is_some_and(|session| !session.is_closed()) {
            return Ok(());
        }
        let session = self.schema.connector.connect(Purpose::Commit, since).await?;
        let mut statements = vec![CLAIM, State::LOCK];
        statements.extend(self.schema.channel.as_ref().map(|_| NOTIFY));
        statements.extend(gather::STATEMENTS);
        statements.extend(net::STATEMENTS);
        session.prepare_all(&statements).await?;
        let register = session.statement(REGISTER).await?;
        session.client.execute(&register, &[&self.id, &self.number]).await?;
        self.session = Some(session);
        Ok(())
    }

    async fn attempt(&mut self, batches: &[Batch], since: Duration) -> Result<Done, Trouble> {
        self.ready(since).await?;
        let schema = self.schema.clone();
        let session = self.session.as_ref().ok_or(StoreError::Closed)?;
        let names = Names::of(batches);
        let limit = schema.connector.flight_limit(since);
        let made = schema.connector.within(limit, schema.numbers.ensure(session, &names)).await?;
        if made {
            schema.upkeep.notify_one();
        }
        let Some(mut base) = self.begin(session, batches, since).await? else {
            return Err(Trouble::Stranger);
        };
        self.check(session, &base).await?;
        let mut group = Group::default();
        let mut reads = 0;
        while let Err(missing) = group.judge(batches, &base) {
            reads += 1;
            if reads > READS_MAX {
                return Err(corrupt("a group never has what it needs").into());
            }
            self.read_more(session, *missing, &mut base, since).await?;
        }
        if group.is_without_effect() {
            session.client.batch_execute("ROLLBACK").await.map_err(Failure::Sql)?;
            return Ok(Done { outcomes: group.outcomes, stretch: None });
        }
        let is_moved = !group.moves.is_empty();
        let done = self.write(session, group, &base, since).await?;
        self.number += 1;
        if is_moved {
            schema.upkeep.notify_one();
        }
        self.notify(session, &done).await;
        Ok(done)
    }

    /// The first flight; `None` if the database does not know this writer.
    async fn begin(
        &self,
        session: &Session,
        batches: &[Batch],
        since: Duration,
    ) -> Result<Option<Base>, Failure> {
        let mut flight = Flight::new(session);
        flight.plain("BEGIN");
        let values: Vec<Value<'_>> =
            vec![Box::new(self.id), Box::new(self.number + 1), Box::new(self.number)];
        flight.execute(session.statement(CLAIM).await?, values);
        flight.query(session.statement(State::LOCK).await?, Vec::new());
        let needs = Needs::foretell(batches);
        let reads = Reads::ask(needs, &self.schema.numbers, session, &mut flight).await?;
        let mut answers = self.fly(flight, since).await?.into_iter();
        // `BEGIN`, then the claim.
        let claimed = answers.by_ref().nth(1).map_or(0, |answer| answer.count());
        let locked = answers.next().map(Answer::rows).unwrap_or_default();
        let mut base = Base::new(State::read(&locked)?);
        reads.take(&mut answers, &mut base)?;
        Ok((claimed == 1).then_some(base))
    }

    /// Whether this program may commit here at all.
    async fn check(&self, session: &Session, base: &Base) -> Result<(), Failure> {
        let needed = base.state.min_compatible;
        if needed > self.schema.format {
            let error = format!("the schema needs a program that knows format {needed}");
            return Err(StoreError::Failed(error.into()).into());
        }
        let seen = self.schema.feed.position();
        if base.state.position.era == seen.era && base.state.position < seen {
            session.client.batch_execute("ROLLBACK").await?;
            self.schema.raise_era(seen).await?;
            return Err(Failure::LostCommits);
        }
        Ok(())
    }

    async fn read_more(
        &self,
        session: &Session,
        missing: Needs,
        base: &mut Base,
        since: Duration,
    ) -> Result<(), Failure> {
        let mut flight = Flight::new(session);
        let reads = Reads::ask(missing, &self.schema.numbers, session, &mut flight).await?;
        let mut answers = self.fly(flight, since).await?.into_iter();
        Ok(reads.take(&mut answers, base)?)
    }

    /// Answers of all statements, or the first failure.
    async fn fly(&self, flight: Flight<'_>, since: Duration) -> Result<Vec<Answer>, Failure> {
        let connector = &self.schema.connector;
        let answers =
            connector.within(connector.flight_limit(since), async { Ok(flight.run().await) });
        answers.await?.into_iter().collect()
    }

    /// The second flight.
    async fn write(
        &self,
        session: &Session,
        group: Group,
        base: &Base,
        since: Duration,
    ) -> Result<Done, Trouble> {
        let schema = &self.schema;
        let mut flight = Flight::new(session);
        net::write(&group, base, &schema.numbers, schema.limits, session, &mut flight).await?;
        flight.plain("COMMIT");
        let (after, end) = (base.state.position, group.end(base));
        let Group { outcomes, changes, .. } = group;
        let done = Done { outcomes, stretch: Some(Stretch { after, end, changes }) };
        let connector = &schema.connector;
        let answers =
            connector.within(connector.flight_limit(since), async { Ok(flight.run().await) });
        let mut answers = match answers.await {
            Ok(answers) => answers,
            Err(late) => return Err(Trouble::Unknown(late, done)),
        };
        let committed = answers.pop().unwrap_or(Err(Failure::NotSent));
        // A statement that the server refused takes the transaction with it, and `COMMIT` then rolls back.
        for answer in answers {
            match answer {
                Err(failure) if failure.is_refusal() || matches!(failure, Failure::NotSent) => {
                    return Err(Trouble::Undone(failure));
                }
                Err(failure) => match committed {
                    Err(Failure::NotSent) => return Err(Trouble::Undone(failure)),
                    _ => return Err(Trouble::Unknown(failure, done)),
                },
                Ok(_) => {}
            }
        }
        match committed {
            Ok(_) => Ok(done),
            Err(Failure::NotSent) => Err(Trouble::Undone(Failure::NotSent)),
            Err(failure) => Err(Trouble::Unknown(failure, done)),
        }
    }

    /// Wakes the other processes. After the commit and not in it, since PostgreSQL lets only one transaction at a time,
    /// of all databases, commit with a notification. Nobody waits for the answer.
    async fn notify(&self, session: &Session, done: &Done) {
        let (Some(channel), Some(stretch)) = (&self.schema.channel, &done.stretch) else { return };
        let Ok(statement) = session.statement(NOTIFY).await else { return };
        let sequence = stretch.end.sequence.to_string();
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [channel, &sequence];
        let sent = std::pin::pin!(session.client.execute(&statement, &values));
        // Polled once, it is sent; that others are not woken costs them one poll interval.
        let _ = futures::poll!(sent);
    }

    /// Whether the group whose number was claimed last is in the database; if not, it never will be.
    ///
    /// The transaction that claimed the number holds the writer's row until it ends, so whoever has the row locked knows
    /// the end. It is written to in either case: with synchronous replication the answer then waits for the replica,
    /// and with it for all commits before it.
    async fn resolve(&mut self, since: Duration) -> Result<bool, Failure> {
        let claimed = self.number + 1;
        loop {
            let connector = &self.schema.connector;
            let ask = Box::pin(self.ask(claimed, since));
            let asked = connector.within(connector.left(since), ask).await;
            match asked {
                Ok(is_there) => {
                    self.number = if is_there { claimed } else { claimed + 1 };
                    return Ok(is_there);
                }
                Err(failure) if connector.left(since).is_zero() => {
                    // The outcome stays unknown, and the number is not ours to claim any more.
                    self.id = connector.seams().new_uid();
                    self.number = 0;
                    return Err(match failure.is_lost() || failure.is_conflict() {
                        true => failure,
                        false => Failure::Late,
                    });
                }
                Err(failure) => {
                    tracing::debug!(error = %bowline_base::chain(&failure), "a commit is still unresolved");
                    connector.seams().clock.sleep(CONFLICT_PAUSE).await;
                }
            }
        }
    }

    async fn ask(&self, claimed: i64, since: Duration) -> Result<bool, Failure> {
        let session = self.schema.connector.connect(Purpose::Commit, since).await?;
        session.client.batch_execute("BEGIN").await?;
        let found = session.client.query(&session.statement(NUMBER).await?, &[&self.id]).await?;
        let number: Option<i64> = found.first().map(|row: &SqlRow| column(row, 0)).transpose()?;
        let is_there = number == Some(claimed);
        // Above the claimed one: should this answer be lost in its turn, nobody takes it for the group's.
        let number = if is_there { claimed } else { claimed + 1 };
        let set = session.statement(SET_NUMBER).await?;
        session.client.execute(&set, &[&self.id, &number]).await?;
        session.client.batch_execute("COMMIT").await?;
        Ok(is_there)
    }

    /// Leaves nothing behind.
    pub(crate) async fn end(self) {
        let Some(session) = self.session else { return };
        let Ok(statement) = session.statement(UNREGISTER).await else { return };
        // Rows that stay are removed in time.
        let _ = session.client.execute(&statement, &[&self.id]).await;
    }
}

/// Takes the readable forms out; whether there were any.
fn strip(batch: &mut Batch) -> bool {
    let mut any = false;
    for write in &mut batch.writes {
        if let Write::Put { readable, .. } | Write::Reindex { readable, .. } = write {
            any |= readable.take().is_some();
        }
    }
    any
}

/// The same for all who wait.
fn unavailable(failure: &Failure, batches: usize) -> Vec<Outcome> {
    let text = bowline_base::chain(failure).to_string();
    let error = || CommitError::Store(StoreError::Unavailable(text.clone().into()));
    (0..batches).map(|_| Err(error())).collect()
}
