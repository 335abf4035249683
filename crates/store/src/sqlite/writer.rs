//! The one writer: takes groups of batches, judges and writes each, and makes the group durable with one flush.
//!
//! A batch is judged on what the batches before it in the group have written, and writes nothing before all its
//! conditions hold; so no savepoint is needed. When the group fails as a whole, each batch is tried again alone.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::checkpoint::Checkpoints;
use super::executor::Worker;
use super::failure::{GroupFailure, commit_failure};
use super::format::FileLock;
use super::log::{self, LogLimits};
use super::row::State;
use super::spaces;
use super::writing::{Group, Writing};
use super::{Shared, SqliteOptions};
use crate::batch;
use crate::contract::{Batch, CommitError, Position, StoreError};
use crate::plan::{Plan, View, plan, plan_unread};

/// What is to be done, and who waits for it.
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) weight: usize,
    pub(super) reply: oneshot::Sender<Outcome>,
}

pub(super) enum Task {
    Commit(Batch),
    /// See [`crate::contract::Backend::start_at`].
    StartAt(Position),
}

impl Task {
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Commit(batch) => batch::weight(batch),
            // Whatever the limits: it ends its group, so that it is always the last of one.
            Self::StartAt(_) => usize::MAX / 2,
        }
    }
}

pub(super) type Outcome = Result<Position, CommitError>;

/// Lines of the log that are removed at most per group and per line that the group may add.
const CUT_LINES_MIN: usize = 64;

pub(super) struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    /// As of the newest commit of this connection.
    state: State,
    /// Whether there may be a dropped space to free.
    has_dropped: bool,
    limits: LogLimits,
    checkpoints: Checkpoints,
    /// A group of so many batches is a full one.
    group_jobs_max: usize,
    /// The last to be dropped: nobody else may open the file before the connection is closed.
    _lock: FileLock,
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
            // Perhaps one was being freed when the file was closed.
            has_dropped: true,
            limits: options.log_limits(),
            checkpoints: Checkpoints::new(options.checkpoint_pages),
            group_jobs_max: options.group_limits().jobs_max,
            _lock: lock,
        }
    }

    /// Commits what can be committed of `jobs`; one outcome for each.
    fn commit_group(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, GroupFailure> {
        let batches = jobs.iter().filter_map(|job| match &job.task {
            Task::Commit(batch) => Some(batch),
            Task::StartAt(_) => None,
        });
        self.shared.names.add_missing(&self.connection, batches.clone())?;
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        match self.fill(batches) {
            Ok((group, outcomes)) if group.changed.is_empty() => {
                self.roll_back();
                Ok(outcomes)
            }
            Ok((group, outcomes)) => self.finish_group(group).map(|()| outcomes),
            Err(failure) => {
                self.roll_back();
                Err(failure)
            }
        }
    }

    /// Writes the group within the open transaction.
    fn fill<'b>(
        &self,
        batches: impl Iterator<Item = &'b Batch>,
    ) -> Result<(Group, Vec<Outcome>), GroupFailure> {
        let mut group = Group::new(self.state, self.shared.names.spaces());
        let mut outcomes = Vec::new();
        let mut writing = Writing::new(&self.connection, &self.shared)?;
        for batch in batches {
            let outcome = match judge(batch, &mut writing.view(&group)) {
                Ok(plan) => writing.write(&mut group, plan)?,
                Err(CommitError::Store(error)) => return Err(error.into()),
                Err(refused) => Err(refused),
            };
            outcomes.push(outcome);
        }
        drop(writing);
        if !group.changed.is_empty() {
            let lines_max = CUT_LINES_MIN + 2 * group.logged.len();
            log::cut(&self.connection, &mut group.state, self.limits, lines_max)?;
            group.state.generation = group.spaces.generation();
            group.state.write(&self.connection)?;
        }
        Ok((group, outcomes))
    }

    /// Makes a filled group durable and visible.
    fn finish_group(&mut self, group: Group) -> Result<(), GroupFailure> {
        let observers = self.shared.observers.current();
        observers.iter().for_each(|o| o.before_visible(&group.changed));
        let committed = self.commit_transaction();
        if committed.is_ok() {
            self.state = group.state;
            self.has_dropped |= group.has_dropped;
            self.shared.names.set_spaces(group.spaces);
            self.shared.tail.push(group.logged, group.state.position);
        }
        observers.iter().for_each(|o| o.after_visible(&group.changed, committed.is_ok()));
        committed
    }

    fn start_at(&mut self, position: Position) -> Result<(), CommitError> {
        if position < self.state.position {
            return Err(CommitError::Malformed("it starts at a position that is past"));
        }
        if position.sequence > log::SEQUENCE_MAX || i64::try_from(position.era).is_err() {
            return Err(CommitError::Malformed(
                "it starts at a position beyond what can be counted",
            ));
        }
        let state = self.write_start(position).map_err(GroupFailure::into_store_error)?;
        self.state = state;
        self.shared.tail.restart(position);
        Ok(())
    }

    fn write_start(&self, position: Position) -> Result<State, GroupFailure> {
        let mut state = self.state;
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        if let Err(error) = log::start_at(&self.connection, &mut state, position) {
            self.roll_back();
            return Err(error.into());
        }
        self.commit_transaction().map(|()| state)
    }

    /// Frees a slice of a dropped space. Whether there may be more.
    fn free_slice(&self) -> Result<bool, GroupFailure> {
        let Some(space) = spaces::next_dropped(&self.connection)? else { return Ok(false) };
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        if let Err(error) = spaces::free_slice(&self.connection, space) {
            self.roll_back();
            return Err(error.into());
        }
        self.commit_transaction().map(|()| true)
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

    fn run(&mut self, mut jobs: Vec<Job>) {
        let is_full = jobs.len() >= self.group_jobs_max;
        let last = jobs.pop_if(|job| matches!(job.task, Task::StartAt(_)));
        if !jobs.is_empty() {
            self.run_batches(jobs);
        }
        if let Some(Job { task: Task::StartAt(position), reply, .. }) = last {
            // Whoever dropped the future does not want to know.
            let _ = reply.send(self.start_at(position).map(|()| position));
        }
        self.checkpoints.after_group(&self.connection, is_full);
    }

    fn rest(&mut self) -> bool {
        if !self.has_dropped {
            return false;
        }
        match self.free_slice() {
            Ok(is_more) => {
                self.has_dropped = is_more;
                self.checkpoints.after_group(&self.connection, false);
                is_more
            }
            Err(failure) => {
                // Tried again after the next group.
                let error = failure.into_store_error();
                tracing::warn!(error = %bowline_base::chain(&error), "cannot free a dropped namespace");
                false
            }
        }
    }

    fn finish(self) {
        self.checkpoints.at_end(&self.connection);
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(error = %bowline_base::chain(&error), "store did not close cleanly");
        }
    }
}

/// What `batch` comes to on `view`; a row that it creates is found out by inserting it.
fn judge(batch: &Batch, view: &mut impl View) -> Result<Plan, CommitError> {
    match plan_unread(batch, view) {
        // A failed condition comes before a taken id, and one condition was not looked at.
        Err(CommitError::IdTaken { .. }) => plan(batch, view),
        planned => planned,
    }
}

impl Writer {
    fn run_batches(&mut self, jobs: Vec<Job>) {
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
    }
}

fn answer(job: Job, outcome: Outcome) {
    // Whoever dropped the future does not want to know.
    let _ = job.reply.send(outcome);
}
