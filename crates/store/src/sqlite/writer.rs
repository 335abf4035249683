//! The one writer: takes groups of batches, judges and writes each, and makes the group durable with one flush.
//!
//! A batch is judged on what the batches before it in the group have written, and writes nothing before all its
//! conditions hold; so no savepoint is needed. When the group fails as a whole, each batch is tried again alone.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, params};
use tokio::sync::oneshot;

use super::checkpoint::Checkpoints;
use super::executor::Worker;
use super::failure::{GroupFailure, commit_failure};
use super::format::FileLock;
use super::log::{self, Append, LogLimits};
use super::query::Reading;
use super::row::{State, version_to_sql};
use super::{Shared, SqliteOptions};
use crate::contract::{
    Batch, Change, CommitError, Key, NameRange, Position, Row, StoreError, Version,
};
use crate::observe::Changed;
use crate::plan::{Effect, Plan, Unread, View, plan_unread};
use crate::tail::{self, Tail};

/// A batch and who waits for it.
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) weight: usize,
    pub(super) reply: oneshot::Sender<Outcome>,
}

pub(super) type Outcome = Result<Position, CommitError>;

/// Lines of the log that are removed at most per group and per line that the group may add.
const CUT_LINES_MIN: usize = 64;

pub(super) struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    /// As of the newest commit of this connection.
    state: State,
    limits: LogLimits,
    checkpoints: Checkpoints,
    /// A group of so many batches is a full one.
    group_jobs_max: usize,
    /// The last to be dropped: nobody else may open the file before the connection is closed.
    _lock: FileLock,
}

/// What a group has written so far, before it is committed.
struct Group {
    outcomes: Vec<Outcome>,
    state: State,
    /// Rows of all tables, for observers.
    changed: Vec<Changed>,
    /// Changes of tables that are in the log.
    logged: Vec<Arc<Change>>,
    /// Those of them that removed a row.
    removals: Vec<Arc<Change>>,
}

impl Writer {
    /// A writer that goes on after `state`, which is what `connection` sees now.
    pub(super) fn new(
        connection: Connection,
        lock: FileLock,
        shared: Arc<Shared>,
        state: State,
        options: &SqliteOptions,
    ) -> Self {
        Self {
            connection,
            shared,
            state,
            limits: options.log_limits(),
            checkpoints: Checkpoints::new(options.checkpoint_pages),
            group_jobs_max: options.group_limits().jobs_max,
            _lock: lock,
        }
    }

    /// Commits what can be committed of `jobs`; one outcome for each.
    fn commit_group(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, GroupFailure> {
        let batches = jobs.iter().map(|job| &job.batch);
        self.shared.tables.add_missing(&self.connection, batches.clone())?;
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        match self.fill(batches) {
            Ok(group) if group.changed.is_empty() => {
                self.roll_back();
                Ok(group.outcomes)
            }
            Ok(group) => self.finish_group(group),
            Err(failure) => {
                self.roll_back();
                Err(failure)
            }
        }
    }

    /// Writes the group within the open transaction.
    fn fill<'b>(&self, batches: impl Iterator<Item = &'b Batch>) -> Result<Group, GroupFailure> {
        let mut group = Group {
            outcomes: Vec::new(),
            state: self.state,
            changed: Vec::new(),
            logged: Vec::new(),
            removals: Vec::new(),
        };
        let mut writing = Writing::new(&self.connection, &self.shared)?;
        for batch in batches {
            let outcome = match plan_unread(batch, &mut writing.view(&group.removals)) {
                Ok(plan) => writing.write(&mut group, plan)?,
                Err(CommitError::Store(error)) => return Err(error.into()),
                Err(refused) => Err(refused),
            };
            group.outcomes.push(outcome);
        }
        drop(writing);
        if !group.changed.is_empty() {
            let lines_max = CUT_LINES_MIN + 2 * group.logged.len();
            log::cut(&self.connection, &mut group.state, self.limits, lines_max)?;
            group.state.write(&self.connection)?;
        }
        Ok(group)
    }

    /// Makes a filled group durable and visible.
    fn finish_group(&mut self, group: Group) -> Result<Vec<Outcome>, GroupFailure> {
        let observers = self.shared.observers.current();
        observers.iter().for_each(|o| o.before_visible(&group.changed));
        let committed = self.commit_transaction();
        if committed.is_ok() {
            self.state = group.state;
            self.shared.tail.push(group.logged, group.state.position);
        }
        observers.iter().for_each(|o| o.after_visible(&group.changed, committed.is_ok()));
        committed.map(|()| group.outcomes)
    }

    fn commit_transaction(&self) -> Result<(), GroupFailure> {
        let result = self.connection.prepare_cached("COMMIT").and_then(|mut sql| sql.execute([]));
        result.map(drop).map_err(|error| {
            self.roll_back();
            commit_failure(error)
        })
    }

    fn roll_back(&self) {
        // SQLite itself rolls back on some errors; then there is nothing to do.
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            tracing::error!(error = %bowline_base::chain(&error), "store cannot roll back");
        }
    }

    /// Each job as a group of its own, since together they failed.
    fn run_one_by_one(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            let outcome = match self.commit_group(std::slice::from_ref(&job)) {
                Ok(mut outcomes) => outcomes.pop().unwrap_or(Err(StoreError::Closed.into())),
                Err(failure) => Err(failure.into_store_error().into()),
            };
            answer(job, outcome);
        }
    }
}

impl Worker for Writer {
    type Job = Job;

    fn weight(job: &Job) -> usize {
        job.weight
    }

    fn run(&mut self, jobs: Vec<Job>) {
        let is_full = jobs.len() >= self.group_jobs_max;
        match self.commit_group(&jobs) {
            Ok(outcomes) => jobs.into_iter().zip(outcomes).for_each(|(j, o)| answer(j, o)),
            Err(GroupFailure::Undone(error)) if jobs.len() > 1 => {
                tracing::debug!(error = %bowline_base::chain(&error), "a group failed, trying each alone");
                self.run_one_by_one(jobs);
            }
            Err(GroupFailure::Unknown(error)) => {
                tracing::error!(error = %bowline_base::chain(&error), "a commit has an unknown outcome");
                for job in jobs {
                    let failure = GroupFailure::Unknown(error.clone());
                    answer(job, Err(failure.into_store_error().into()));
                }
            }
            Err(failure) => {
                let mut failure = Some(failure);
                for job in jobs {
                    let error = failure.take().map_or(StoreError::Closed, |f| f.into_store_error());
                    answer(job, Err(error.into()));
                }
            }
        }
        self.checkpoints.after_group(&self.connection, is_full);
    }

    fn finish(self) {
        self.checkpoints.at_end(&self.connection);
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(error = %bowline_base::chain(&error), "store did not close cleanly");
        }
    }
}

fn answer(job: Job, outcome: Outcome) {
    // Whoever dropped the future does not want to know.
    let _ = job.reply.send(outcome);
}

/// The state within a group: the open transaction, and the removals that are not in the tail yet.
struct GroupView<'c, 'g> {
    reading: Reading<'c>,
    tail: &'c Tail,
    removals: &'g [Arc<Change>],
}

impl View for GroupView<'_, '_> {
    fn row(&mut self, key: &Key) -> Result<Option<Row>, StoreError> {
        self.reading.row(key)
    }

    fn version(&mut self, key: &Key) -> Result<Option<Version>, StoreError> {
        self.reading.version(key)
    }

    fn removed_since(&mut self, key: &Key, since: Position) -> bool {
        tail::is_removed_since(self.removals.iter(), key, since)
            || self.tail.removed_since(key, since)
    }

    fn names(&mut self, range: &NameRange, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        self.reading.names(range, limit)
    }
}

/// The statements that write, prepared once per group.
struct Writing<'c> {
    connection: &'c Connection,
    shared: &'c Shared,
    insert: CachedStatement<'c>,
    /// The same, but does nothing if the row is there.
    insert_new: CachedStatement<'c>,
    upsert: CachedStatement<'c>,
    remove: CachedStatement<'c>,
    append: Append<'c>,
}

impl<'c> Writing<'c> {
    fn new(connection: &'c Connection, shared: &'c Shared) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            shared,
            insert: connection.prepare_cached("INSERT INTO rows VALUES (?1, ?2, ?3, ?4, ?5)")?,
            insert_new: connection
                .prepare_cached("INSERT OR IGNORE INTO rows VALUES (?1, ?2, ?3, ?4, ?5)")?,
            upsert: connection.prepare_cached("REPLACE INTO rows VALUES (?1, ?2, ?3, ?4, ?5)")?,
            remove: connection
                .prepare_cached("DELETE FROM rows WHERE table_id = ?1 AND name = ?2")?,
            append: Append::new(connection)?,
        })
    }

    /// What the batches before have left, `removals` among them.
    fn view<'g>(&self, removals: &'g [Arc<Change>]) -> GroupView<'c, 'g> {
        let reading = Reading { connection: self.connection, tables: &self.shared.tables };
        GroupView { reading, tail: &self.shared.tail, removals }
    }

    /// Writes one batch as the next commit of `group`; without effects it is none.
    fn write(&mut self, group: &mut Group, plan: Plan) -> Result<Outcome, GroupFailure> {
        let Plan { effects, unread } = plan;
        if let Some(Unread { effect, condition }) = unread
            && !self.insert_unread(&effects[effect])?
        {
            return Ok(Err(CommitError::ConditionFailed { condition }));
        }
        if effects.is_empty() {
            return Ok(Ok(group.state.position));
        }
        group.state.position.sequence += 1;
        for (index, effect) in effects.into_iter().enumerate() {
            let is_written = unread.is_some_and(|unread| unread.effect == index);
            self.write_effect(group, index, effect, is_written)?;
        }
        Ok(Ok(group.state.position))
    }

    /// Inserts the row that must be absent; false if it is there, and then nothing was written.
    fn insert_unread(&mut self, effect: &Effect) -> Result<bool, GroupFailure> {
        let (Effect::Logged { key, after, .. } | Effect::Internal { key, after }) = effect;
        let (Some(id), Some(row)) = (self.shared.tables.id(&key.table), after) else {
            return Err(StoreError::Corrupt("a written table has no number".into()).into());
        };
        let version = version_to_sql(row.version);
        let row = params![id, &*key.name, version, &*row.body, &*row.aside];
        Ok(self.insert_new.execute(row)? > 0)
    }

    fn write_effect(
        &mut self,
        group: &mut Group,
        index: usize,
        effect: Effect,
        is_written: bool,
    ) -> Result<(), GroupFailure> {
        match effect {
            Effect::Internal { key, after } => {
                self.write_row(&key, after.as_ref(), true)?;
                group.changed.push(Changed { key, after });
                Ok(())
            }
            Effect::Logged { key, before, after } => {
                if !is_written {
                    self.write_row(&key, after.as_ref(), before.is_some())?;
                }
                group.changed.push(Changed { key: key.clone(), after: after.clone() });
                let position = group.state.position;
                self.write_line(group, index, Change { position, key, before, after })
            }
        }
    }

    /// `may_exist`: a row may be there already.
    fn write_row(
        &mut self,
        key: &Key,
        after: Option<&Row>,
        may_exist: bool,
    ) -> Result<(), GroupFailure> {
        let Some(id) = self.shared.tables.id(&key.table) else {
            // Only a table that nothing was ever put into has no number, so there is nothing to remove.
            return Ok(());
        };
        match after {
            None => self.remove.execute(params![id, &*key.name])?,
            Some(row) => {
                let statement = if may_exist { &mut self.upsert } else { &mut self.insert };
                let version = version_to_sql(row.version);
                statement.execute(params![id, &*key.name, version, &*row.body, &*row.aside])?
            }
        };
        Ok(())
    }

    fn write_line(
        &mut self,
        group: &mut Group,
        index: usize,
        change: Change,
    ) -> Result<(), GroupFailure> {
        let table = self.shared.tables.id(&change.key.table);
        let id =
            table.ok_or_else(|| StoreError::Corrupt("a written table has no number".into()))?;
        self.append.line(&mut group.state, index, id, &change)?;
        let change = Arc::new(change);
        if change.after.is_none() {
            group.removals.push(change.clone());
        }
        group.logged.push(change);
        Ok(())
    }
}
