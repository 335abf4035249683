//! The `memory` backend: ordered maps with several versions per row while snapshots need them. Nothing survives the process.
//!
//! It is the model that other backends are compared with. Every operation is done when its future is first polled.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::batch;
use crate::contract::{
    Backend, Batch, Change, Changes, CommitError, Key, NameRange, NamedRow, Position, Row,
    Snapshot, StoreError, Table, Version,
};
use crate::observe::{Changed, CommitObserver, Observable, Observers};
use crate::plan::{Effect, View, plan};
use crate::tail::{Found, Tail, TailLimits};

/// How much history [`Memory`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// Changes kept in the log.
    pub log_changes_max: usize,
    /// Bytes of changes kept in the log.
    pub log_bytes_max: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { log_changes_max: 1_000_000, log_bytes_max: 256 * 1024 * 1024 }
    }
}

/// A store in memory.
#[derive(Debug)]
pub struct Memory {
    shared: Arc<Shared>,
    observers: Observers,
    /// Held for the whole of a commit: one at a time.
    writer: Mutex<()>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    /// How many snapshots look at each sequence. Taken while `state` is locked, so that none appears during a commit.
    viewed: Mutex<BTreeMap<u64, usize>>,
    tail: Tail,
}

#[derive(Debug, Default)]
struct State {
    head: Position,
    tables: BTreeMap<Table, BTreeMap<Arc<str>, History>>,
    /// Keys that had old versions when they were written at a sequence, to be looked at when no snapshot needs those.
    stale: VecDeque<(u64, Key)>,
}

/// The versions of one row: sequence of the commit, and what it left. Ascending, never empty.
type History = Vec<(u64, Option<Row>)>;

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty store with default limits.
    pub fn new() -> Self {
        Self::with_options(MemoryOptions::default())
    }

    pub fn with_options(options: MemoryOptions) -> Self {
        let limits =
            TailLimits { changes_max: options.log_changes_max, bytes_max: options.log_bytes_max };
        let shared = Shared {
            state: RwLock::default(),
            viewed: Mutex::default(),
            tail: Tail::new(Position::default(), limits),
        };
        Self {
            shared: Arc::new(shared),
            observers: Observers::default(),
            writer: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    fn check_open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// Makes the effects of one batch visible and answers its position.
    fn apply(&self, effects: Vec<Effect>) -> Position {
        let changed: Vec<_> = effects.iter().map(changed).collect();
        let observers = self.observers.current();
        observers.iter().for_each(|o| o.before_visible(&changed));
        let mut state = self.shared.write();
        let oldest_viewed = self.shared.viewed().keys().next().copied();
        let position = Position { sequence: state.head.sequence + 1, ..state.head };
        state.head = position;
        for Changed { key, after } in changed.iter().cloned() {
            state.put(key, after, oldest_viewed);
        }
        state.clean(oldest_viewed.unwrap_or(position.sequence));
        drop(state);
        let logged = effects.into_iter().filter_map(|effect| change(effect, position));
        self.shared.tail.push(logged.collect(), position);
        observers.iter().for_each(|o| o.after_visible(&changed, true));
        position
    }
}

fn changed(effect: &Effect) -> Changed {
    match effect {
        Effect::Logged { key, after, .. } | Effect::Internal { key, after } => {
            Changed { key: key.clone(), after: after.clone() }
        }
    }
}

fn change(effect: Effect, position: Position) -> Option<Arc<Change>> {
    match effect {
        Effect::Logged { key, before, after } => {
            Some(Arc::new(Change { position, key, before, after }))
        }
        Effect::Internal { .. } => None,
    }
}

impl Shared {
    /// The state that the next batch is judged on.
    fn newest(&self) -> Newest<'_> {
        Newest { state: self.read(), tail: &self.tail }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn viewed(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.viewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn row(&self, key: &Key, sequence: u64) -> Option<&Row> {
        visible(self.tables.get(&key.table)?.get(&key.name)?, sequence)
    }

    fn scan(
        &self,
        range: &NameRange,
        sequence: u64,
        limit: usize,
        descending: bool,
    ) -> Vec<NamedRow> {
        let Some(table) = self.tables.get(&range.table) else { return Vec::new() };
        if range.is_void() {
            return Vec::new();
        }
        let to = range.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = table.range::<str, _>((Bound::Included(range.from.as_str()), to));
        let named = |(name, history): (&Arc<str>, &History)| {
            visible(history, sequence).map(|row| (name.clone(), row.clone()))
        };
        match descending {
            true => rows.rev().filter_map(named).take(limit).collect(),
            false => rows.filter_map(named).take(limit).collect(),
        }
    }

    fn put(&mut self, key: Key, after: Option<Row>, oldest_viewed: Option<u64>) {
        let sequence = self.head.sequence;
        let table = self.tables.entry(key.table.clone()).or_default();
        let history = table.entry(key.name.clone()).or_default();
        history.push((sequence, after));
        let is_settled = settle(history, oldest_viewed.unwrap_or(sequence));
        if is_settled && history.last().is_some_and(|(_, row)| row.is_none()) {
            table.remove(&key.name);
        } else if !is_settled {
            self.stale.push_back((sequence, key));
        }
    }

    /// Drops versions that only snapshots before `oldest_viewed` could see.
    fn clean(&mut self, oldest_viewed: u64) {
        while let Some((_, key)) = self.stale.pop_front_if(|(written, _)| *written <= oldest_viewed)
        {
            let Some(table) = self.tables.get_mut(&key.table) else { continue };
            let Some(history) = table.get_mut(&key.name) else { continue };
            if settle(history, oldest_viewed) && history.iter().all(|(_, row)| row.is_none()) {
                table.remove(&key.name);
            }
        }
    }
}

/// The row that a snapshot at `sequence` sees.
fn visible(history: &History, sequence: u64) -> Option<&Row> {
    history.iter().rev().find(|(written, _)| *written <= sequence)?.1.as_ref()
}

/// Drops the versions that nobody at or after `oldest_viewed` can see; whether only one is left.
fn settle(history: &mut History, oldest_viewed: u64) -> bool {
    let seen = history.partition_point(|(written, _)| *written <= oldest_viewed);
    history.drain(..seen.saturating_sub(1));
    history.len() == 1
}

/// The newest state, for judging a batch. The writer lock keeps it from moving.
struct Newest<'s> {
    state: RwLockReadGuard<'s, State>,
    tail: &'s Tail,
}

impl View for Newest<'_> {
    fn row(&mut self, key: &Key) -> Result<Option<Row>, StoreError> {
        Ok(self.state.row(key, self.state.head.sequence).cloned())
    }

    fn removed_since(&mut self, key: &Key, since: Position) -> bool {
        self.tail.removed_since(key, since)
    }

    fn version(&mut self, key: &Key) -> Result<Option<Version>, StoreError> {
        Ok(self.state.row(key, self.state.head.sequence).map(|row| row.version))
    }

    fn names(&mut self, range: &NameRange, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        let rows = self.state.scan(range, self.state.head.sequence, limit, false);
        Ok(rows.into_iter().map(|(name, _)| name).collect())
    }
}

#[async_trait]
impl Backend for Memory {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.check_open()?;
        let state = self.shared.read();
        *self.shared.viewed().entry(state.head.sequence).or_default() += 1;
        let position = state.head;
        drop(state);
        Ok(Box::new(MemorySnapshot { shared: self.shared.clone(), position }))
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.check_open()?;
        let state = self.shared.read();
        Ok((state.row(key, state.head.sequence).cloned(), state.head))
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        batch::check(&batch)?;
        let _one_at_a_time = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        let effects = plan(&batch, &mut self.shared.newest())?.effects;
        if effects.is_empty() {
            return Ok(self.shared.tail.position());
        }
        Ok(self.apply(effects))
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        self.check_open()?;
        if after.era != self.shared.tail.position().era {
            return Ok(Changes::TooOld { oldest: self.shared.tail.oldest() });
        }
        Ok(match self.shared.tail.page(after, limit) {
            Found::Page(page) => page,
            Found::Older { oldest } => Changes::TooOld { oldest },
            // A snapshot can be ahead of the tail for the moment in which a commit is being published.
            Found::Ahead if after <= self.shared.read().head => {
                Changes::Page { changes: Vec::new(), next: after, at_head: true }
            }
            Found::Ahead => Changes::TooOld { oldest: self.shared.tail.oldest() },
        })
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.shared.tail.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        let _no_commit = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

impl Observable for Memory {
    fn observe(&self, observer: Arc<dyn CommitObserver>) {
        self.observers.add(observer);
    }
}

struct MemorySnapshot {
    shared: Arc<Shared>,
    position: Position,
}

#[async_trait]
impl Snapshot for MemorySnapshot {
    fn position(&self) -> Position {
        self.position
    }

    async fn batch_get(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        let state = self.shared.read();
        Ok(keys.iter().map(|key| state.row(key, self.position.sequence).cloned()).collect())
    }

    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError> {
        Ok(self.shared.read().scan(range, self.position.sequence, limit, descending))
    }
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        let mut viewed = self.shared.viewed();
        if let Some(viewers) = viewed.get_mut(&self.position.sequence) {
            *viewers -= 1;
            if *viewers == 0 {
                viewed.remove(&self.position.sequence);
            }
        }
    }
}

#[cfg(test)]
mod tests;
