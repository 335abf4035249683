//! The `memory` backend: ordered maps with several versions per row while snapshots need them. Nothing survives the process.
//!
//! It is the model that other backends are compared with. Every operation is done when its future is first polled.
//! `state` holds the maps; here is how commits and snapshots go about them.

mod state;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use tokio::sync::watch;

use self::state::{State, Tick};
use crate::batch;
use crate::contract::{
    Backend, Batch, Changes, CommitError, Hit, IndexCursor, IndexRange, Key, NameRange, NamedRow,
    Position, Range, Row, RowId, Snapshot, StoreError, Table,
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
    /// How many snapshots look at each tick. Taken while `state` is locked, so that none appears during a commit.
    viewed: Mutex<BTreeMap<Tick, usize>>,
    tail: Tail,
}

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

    fn lock_writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the effects of one batch visible and answers its position.
    fn apply(&self, effects: Vec<Effect>) -> Position {
        let changed: Vec<_> = effects.iter().flat_map(changed).collect();
        let observers = self.observers.current();
        observers.iter().for_each(|o| o.before_visible(&changed));
        let mut state = self.shared.write();
        let oldest_viewed = self.shared.viewed().keys().next().copied();
        let position = state.next_position();
        let logged = effects.iter().filter_map(|effect| match effect {
            Effect::Row(row) => row.change(position).map(Arc::new),
            Effect::Swap { .. } | Effect::Drop { .. } => None,
        });
        let logged = logged.collect();
        state.apply(effects, position, oldest_viewed);
        drop(state);
        self.shared.tail.push(logged, position);
        observers.iter().for_each(|o| o.after_visible(&changed, true));
        position
    }
}

fn changed(effect: &Effect) -> Vec<Changed> {
    match effect {
        Effect::Row(row) => vec![Changed::Row { key: row.key.clone(), after: row.after.clone() }],
        Effect::Swap { a, b } => {
            vec![Changed::Namespace(a.clone()), Changed::Namespace(b.clone())]
        }
        Effect::Drop { namespace } => vec![Changed::Namespace(namespace.clone())],
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

    fn viewed(&self) -> MutexGuard<'_, BTreeMap<Tick, usize>> {
        self.viewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest state, for judging a batch. The writer lock keeps it from moving.
struct Newest<'s> {
    state: RwLockReadGuard<'s, State>,
    tail: &'s Tail,
}

impl View for Newest<'_> {
    fn row(&mut self, key: &Key) -> Result<Option<Row>, StoreError> {
        Ok(self.state.row(key, self.state.tick()).cloned())
    }

    fn name_of(&mut self, table: &Table, id: RowId) -> Result<Option<Arc<str>>, StoreError> {
        let found = self.state.row_by_id(table, id, self.state.tick());
        Ok(found.map(|(name, _)| name))
    }

    fn removed_since(&mut self, key: &Key, since: Position) -> Result<bool, StoreError> {
        Ok(self.tail.removed_since(key, since))
    }

    fn keys_in(&mut self, range: &Range, limit: usize) -> Result<Vec<Key>, StoreError> {
        let tick = self.state.tick();
        Ok(match range {
            Range::Names(names) => {
                let rows = self.state.scan(names, tick, limit, false);
                let key = |(name, _)| Key { table: names.table.clone(), name };
                rows.into_iter().map(key).collect()
            }
            Range::Index(entries) => {
                let mut keys = Vec::new();
                self.state.each_hit(entries, None, tick, false, |hit| {
                    if !keys.contains(&hit.key) {
                        keys.push(hit.key);
                    }
                    keys.len() < limit
                });
                keys
            }
        })
    }
}

#[async_trait]
impl Backend for Memory {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.check_open()?;
        let state = self.shared.read();
        let (position, tick) = (state.head(), state.tick());
        *self.shared.viewed().entry(tick).or_default() += 1;
        drop(state);
        Ok(Box::new(MemorySnapshot { shared: self.shared.clone(), position, tick }))
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.check_open()?;
        let state = self.shared.read();
        Ok((state.row(key, state.tick()).cloned(), state.head()))
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        batch::check(&batch)?;
        let _one_at_a_time = self.lock_writer();
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
            Found::Ahead if after <= self.shared.read().head() => {
                Changes::Page { changes: Vec::new(), next: after, at_head: true }
            }
            Found::Ahead => Changes::TooOld { oldest: self.shared.tail.oldest() },
        })
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        let _no_commit = self.lock_writer();
        self.check_open()?;
        let mut state = self.shared.write();
        if position < state.head() {
            return Err(CommitError::Malformed("the position is before the present one"));
        }
        state.start_at(position);
        drop(state);
        self.shared.tail.restart(position);
        Ok(())
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.shared.tail.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        let _no_commit = self.lock_writer();
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
    tick: Tick,
}

#[async_trait]
impl Snapshot for MemorySnapshot {
    fn position(&self) -> Position {
        self.position
    }

    async fn batch_get(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        let state = self.shared.read();
        Ok(keys.iter().map(|key| state.row(key, self.tick).cloned()).collect())
    }

    async fn batch_get_by_id(
        &mut self,
        table: &Table,
        ids: &[RowId],
    ) -> Result<Vec<Option<NamedRow>>, StoreError> {
        let state = self.shared.read();
        Ok(ids.iter().map(|id| state.row_by_id(table, *id, self.tick)).collect())
    }

    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError> {
        Ok(self.shared.read().scan(range, self.tick, limit, descending))
    }

    async fn scan_index(
        &mut self,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<Hit>, StoreError> {
        let mut hits = Vec::new();
        if limit > 0 {
            let state = self.shared.read();
            state.each_hit(range, after, self.tick, descending, |hit| {
                hits.push(hit);
                hits.len() < limit
            });
        }
        Ok(hits)
    }

    async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        Ok(self.shared.read().tables(self.tick))
    }
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        let mut viewed = self.shared.viewed();
        if let Some(viewers) = viewed.get_mut(&self.tick) {
            *viewers -= 1;
            if *viewers == 0 {
                viewed.remove(&self.tick);
            }
        }
    }
}

#[cfg(test)]
mod tests;
