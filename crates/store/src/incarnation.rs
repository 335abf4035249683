//! Server processes: each has a row that all its commits rely on, so that a process which was given up cannot write.
//!
//! A process registers under a new name, puts [`Turn`]s around what it saves, and renews its row now and then. Others
//! remove the row once it has not moved for long; from then on none of its commits succeeds, however late it is sent.
//! The row also tells the *mark*: a position before which the process has no save under way ([`low_water`]).
//!
//! No clock of one process is compared with that of another: what counts is how long the observer saw nothing move.
//! What a process promises to keep up on every write is in [`crate::upkeep`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_base::Seams;
use tokio::sync::watch;

use crate::contract::{
    Backend, Batch, CommitError, Condition, Extract, Key, NameRange, NamedRow, Position, Row,
    Snapshot, StoreError, Table, Value, Version, Write,
};
use crate::layout;
use crate::ring::Shards;
use crate::upkeep::{self, Keeps};

/// How often [`Incarnation::tick`] is to be called.
pub const PERIOD: Duration = Duration::from_secs(3);
/// A process whose row did not move for so long, and for [`GONE_AFTER_LOOKS`] looks at it, is taken for dead.
pub const GONE_AFTER: Duration = Duration::from_secs(30);
/// See [`GONE_AFTER`]: an observer that slept itself has not looked.
pub const GONE_AFTER_LOOKS: u32 = 5;
/// A commit that nobody waited for to its end holds back the mark no longer than this.
const ABANDONED_MAX: Duration = Duration::from_secs(60);
/// Processes that are looked at; more on one database would be another design.
const PROCESSES_MAX: usize = 4_096;
const REGISTRATION_ATTEMPTS_MAX: usize = 32;

const ALIVE: &str = "alive";
const BEAT: &str = "beat";
const MARK: &str = "mark";

/// This process, as one database knows it. Not registered before the first [`Turn`] or tick.
#[derive(Debug)]
pub struct Incarnation {
    backend: Arc<dyn Backend>,
    seams: Seams,
    keeps: Keeps,
    head: watch::Receiver<Position>,
    state: Mutex<State>,
    /// Held while registering or renewing: one at a time.
    changing: tokio::sync::Mutex<Observed>,
}

#[derive(Debug, Default)]
struct State {
    row: Option<Registered>,
    /// Where the saves that are under way began, and how many at each place.
    under_way: BTreeMap<Position, usize>,
    /// Where the commits began whose end nobody saw, and since when.
    abandoned: BTreeMap<Position, Duration>,
    is_closed: bool,
}

/// Our row as we last wrote it.
#[derive(Clone, Debug)]
struct Registered {
    key: Key,
    version: Version,
    /// Where our own last commit was: nothing but a later one makes it worth while to renew.
    written_at: Position,
}

/// The other processes by name: the beat that was seen, since when, how often.
type Observed = BTreeMap<Arc<str>, Seen>;

#[derive(Debug)]
struct Seen {
    beat: Value,
    since: Duration,
    looks: u32,
}

/// Why a [`Turn`] did not commit.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// This process was taken for dead. Nothing was written; begin anew, from the reading on.
    #[error("this process was taken for dead meanwhile")]
    Lost,
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<StoreError> for TurnError {
    fn from(error: StoreError) -> Self {
        Self::Commit(error.into())
    }
}

impl Incarnation {
    /// A process that keeps up `keeps` with everything it writes to `backend`.
    pub fn new(backend: Arc<dyn Backend>, seams: Seams, keeps: Keeps) -> Arc<Self> {
        let head = backend.head();
        let (state, changing) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { backend, seams, keeps, head, state, changing })
    }

    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub fn keeps(&self) -> &Keeps {
        &self.keeps
    }

    /// Begins a save: everything that it decides on is to be read after this. Registers the process if need be.
    ///
    /// Cost: a lock; a commit the first time, and after the process was taken for dead.
    ///
    /// # Errors
    /// [`StoreError::Closed`] after [`Incarnation::close`]; what registering fails with.
    pub async fn begin(self: &Arc<Self>) -> Result<Turn, CommitError> {
        if let Some(turn) = self.begin_registered()? {
            return Ok(turn);
        }
        let mut observed = self.changing.lock().await;
        if let Some(turn) = self.begin_registered()? {
            return Ok(turn);
        }
        self.register(&mut observed, None).await?;
        drop(observed);
        self.begin_registered()?.ok_or(CommitError::Store(StoreError::Closed))
    }

    /// Looks after the rows: renews our own if anybody or anything needs it, removes those of the dead.
    ///
    /// Costs no commit while this process is alone and idle.
    ///
    /// # Errors
    /// What reading or committing fails with; the next tick tries again.
    pub async fn tick(self: &Arc<Self>) -> Result<(), CommitError> {
        if self.lock().is_closed {
            return Ok(());
        }
        let mut observed = self.changing.lock().await;
        let rows = processes(self.backend.snapshot().await?.as_mut()).await?;
        let own = self.lock().row.clone();
        let is_there = own.as_ref().is_some_and(|own| rows.iter().any(|(n, _)| *n == own.key.name));
        let Some(own) = own.filter(|_| is_there) else {
            return self.register(&mut observed, None).await;
        };
        if self.has_abandoned_long() {
            // What nobody waited for may still commit, but not for an incarnation that is no more.
            return self.register(&mut observed, Some(own.key)).await;
        }
        if rows.len() > 1 || *self.head.borrow() > own.written_at {
            self.renew(own, &rows).await?;
        }
        let dead = self.observe(&mut observed, &rows);
        self.remove(dead).await
    }

    /// This process's part of the ring, by its place among the rows of all processes. Registers the process if need be;
    /// [`Shards::NONE`] if it was taken for dead at this very moment.
    ///
    /// Cost: a snapshot and a scan of the processes.
    ///
    /// # Errors
    /// As [`Incarnation::begin`], and what reading fails with.
    pub async fn shards(self: &Arc<Self>) -> Result<Shards, CommitError> {
        let own = self.begin().await?.key.name.clone();
        let rows = processes(self.backend.snapshot().await?.as_mut()).await?;
        let rank = rows.iter().position(|(name, _)| *name == own);
        Ok(rank.map_or(Shards::NONE, |rank| Shards::part(rank, rows.len())))
    }

    /// Gives up the row. Saves that are under way fail.
    pub async fn close(&self) {
        let row = {
            let mut state = self.lock();
            state.is_closed = true;
            state.row.take()
        };
        let Some(row) = row else { return };
        let batch = Batch { conditions: Vec::new(), writes: vec![Write::Remove { key: row.key }] };
        if let Err(error) = self.backend.commit(batch).await {
            // Others will find that it does not move.
            tracing::debug!(error = %bowline_base::chain(&error), "remove the row of this process");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_registered(self: &Arc<Self>) -> Result<Option<Turn>, CommitError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(CommitError::Store(StoreError::Closed));
        }
        let Some(row) = &state.row else { return Ok(None) };
        let key = row.key.clone();
        let began = *self.head.borrow();
        *state.under_way.entry(began).or_default() += 1;
        Ok(Some(Turn { incarnation: self.clone(), key, began, is_sent: false }))
    }

    /// Puts a row under a new name, in place of `old`, and takes back what other processes may no longer rely on.
    async fn register(&self, observed: &mut Observed, old: Option<Key>) -> Result<(), CommitError> {
        for _ in 0..REGISTRATION_ATTEMPTS_MAX {
            let mut snapshot = self.backend.snapshot().await?;
            let uid = self.seams.new_uid().simple().to_string();
            let key = Key { table: table(), name: uid.into() };
            let mut batch = upkeep::registration(snapshot.as_mut(), &self.keeps).await?;
            let mark = snapshot.position();
            drop(snapshot);
            batch.conditions.push(Condition::RowAbsent { key: key.clone() });
            batch.writes.push(Write::put(key.clone(), self.row(1, mark)));
            batch.writes.extend(old.clone().map(|key| Write::Remove { key }));
            let written_at = match self.backend.commit(batch).await {
                Ok(position) => position,
                Err(CommitError::ConditionFailed { .. }) => continue,
                Err(error) => return Err(error),
            };
            let mut state = self.lock();
            // Saves that began under the old name cannot commit any more, so they hold back nothing.
            state.abandoned.clear();
            state.row = Some(Registered { key, version: 1, written_at });
            observed.clear();
            return Ok(());
        }
        Err(CommitError::Store(StoreError::Unavailable("many processes register at once".into())))
    }

    fn row(&self, version: Version, mark: Position) -> Row {
        let extract = Extract::builder()
            .field(ALIVE, Value::number(1))
            .field(BEAT, Value::number(version))
            .field(MARK, Value::numbers(&[mark.era, mark.sequence]));
        // Beside, where no commit that only asks whether the process is alive has to look.
        Row { extract: extract.build(), aside: self.keeps.promises(), ..Row::new(version, "") }
    }

    async fn renew(&self, own: Registered, rows: &[NamedRow]) -> Result<(), CommitError> {
        let mark = {
            let state = self.lock();
            let starts =
                state.under_way.keys().next().into_iter().chain(state.abandoned.keys().next());
            starts.copied().min().unwrap_or_else(|| *self.head.borrow())
        };
        // A mark never goes back: what begins later begins at a head that is not before it.
        let told =
            rows.iter().find(|(name, _)| *name == own.key.name).and_then(|(_, row)| mark_of(row));
        let row = self.row(own.version + 1, mark.max(told.unwrap_or_default()));
        let batch = Batch {
            conditions: vec![Condition::RowAt { key: own.key.clone(), version: own.version }],
            writes: vec![Write::put(own.key.clone(), row)],
        };
        match self.backend.commit(batch).await {
            Ok(written_at) => {
                let renewed = Registered { version: own.version + 1, written_at, ..own };
                self.replace_row(&renewed.key.clone(), Some(renewed));
                Ok(())
            }
            // Somebody took us for dead between the reading and the commit.
            Err(CommitError::ConditionFailed { .. }) => {
                self.replace_row(&own.key, None);
                Ok(())
            }
            Err(error) => {
                // It may have been written all the same, at a version that we do not know: begin anew next time.
                self.replace_row(&own.key, None);
                Err(error)
            }
        }
    }

    fn replace_row(&self, old: &Key, new: Option<Registered>) {
        let mut state = self.lock();
        if state.row.as_ref().is_some_and(|row| row.key == *old) {
            state.row = new;
        }
    }

    fn has_abandoned_long(&self) -> bool {
        let now = self.seams.clock.monotonic();
        self.lock().abandoned.values().any(|since| now.saturating_sub(*since) >= ABANDONED_MAX)
    }

    /// Notes what moved; the rows that have not for too long.
    fn observe(&self, observed: &mut Observed, rows: &[NamedRow]) -> Vec<(Key, Version)> {
        let own = self.lock().row.as_ref().map(|row| row.key.name.clone());
        let others: Vec<_> = rows.iter().filter(|(name, _)| Some(name) != own.as_ref()).collect();
        observed.retain(|name, _| others.iter().any(|(other, _)| other == name));
        let now = self.seams.clock.monotonic();
        let is_dead = |(name, row): &&&NamedRow| {
            let beat = row.extract.field(BEAT).unwrap_or_default();
            let fresh = || Seen { beat: beat.clone(), since: now, looks: 0 };
            let seen = observed.entry(name.clone()).or_insert_with(fresh);
            if seen.beat != beat {
                *seen = fresh();
            }
            seen.looks += 1;
            seen.looks > GONE_AFTER_LOOKS && now.saturating_sub(seen.since) >= GONE_AFTER
        };
        let dead = others.iter().filter(is_dead);
        dead.map(|(name, row)| (Key { table: table(), name: name.clone() }, row.version)).collect()
    }

    /// Removes rows that are still as they were seen.
    async fn remove(self: &Arc<Self>, dead: Vec<(Key, Version)>) -> Result<(), CommitError> {
        for (key, version) in dead {
            let Some(turn) = self.begin_registered()? else { return Ok(()) };
            let name = key.name.clone();
            let conditions = vec![Condition::RowAt { key: key.clone(), version }];
            let batch = Batch { conditions, writes: vec![Write::Remove { key }] };
            match turn.commit(batch).await {
                Ok(_) => {
                    tracing::warn!(process = %name, "a server process is gone; its row was removed")
                }
                Err(TurnError::Lost | TurnError::Commit(CommitError::ConditionFailed { .. })) => {}
                Err(TurnError::Commit(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A save that is under way. Dropping it is giving it up.
#[derive(Debug)]
pub struct Turn {
    incarnation: Arc<Incarnation>,
    key: Key,
    began: Position,
    is_sent: bool,
}

impl Turn {
    /// Where the log ended when the save began, as this process knew it.
    pub fn began(&self) -> Position {
        self.began
    }

    /// Commits `batch` on the condition that this process still counts.
    ///
    /// # Errors
    /// [`TurnError::Lost`] if it does not; otherwise as [`Backend::commit`]. Conditions are counted as in `batch`.
    pub async fn commit(mut self, mut batch: Batch) -> Result<Position, TurnError> {
        let own = batch.conditions.len();
        batch.conditions.push(Condition::FieldIs {
            key: self.key.clone(),
            field: ALIVE.into(),
            value: Value::number(1),
        });
        self.is_sent = true;
        let outcome = self.incarnation.backend.commit(batch).await;
        // Without an answer nobody knows whether the batch is still on its way.
        self.is_sent = matches!(outcome, Err(CommitError::Store(StoreError::Unavailable(_))));
        match outcome {
            Err(CommitError::ConditionFailed { condition }) if condition == own => {
                self.incarnation.replace_row(&self.key, None);
                Err(TurnError::Lost)
            }
            outcome => Ok(outcome?),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.incarnation.lock();
        if let Some(saves) = state.under_way.get_mut(&self.began) {
            *saves -= 1;
            if *saves == 0 {
                state.under_way.remove(&self.began);
            }
        }
        let is_ours = state.row.as_ref().is_some_and(|row| row.key == self.key);
        if self.is_sent && is_ours {
            let now = self.incarnation.seams.clock.monotonic();
            state.abandoned.entry(self.began).or_insert(now);
        }
    }
}

/// The position before which no process has a save under way.
///
/// # Errors
/// What reading fails with.
pub async fn low_water(snapshot: &mut dyn Snapshot) -> Result<Position, StoreError> {
    let rows = processes(snapshot).await?;
    let marks = rows.iter().map(|(_, row)| mark_of(row).unwrap_or_default());
    Ok(marks.min().unwrap_or_else(|| snapshot.position()))
}

/// The rows of all processes.
pub(crate) async fn processes(snapshot: &mut dyn Snapshot) -> Result<Vec<NamedRow>, StoreError> {
    snapshot.scan(&NameRange::all(table()), PROCESSES_MAX, false).await
}

fn mark_of(row: &Row) -> Option<Position> {
    let mark = row.extract.field(MARK)?;
    let (era, sequence) = mark.as_bytes().split_at_checked(8)?;
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    Some(Position { era: number(era)?, sequence: number(sequence)? })
}

fn table() -> Table {
    layout::common("~incarnation")
}

#[cfg(test)]
mod tests;
