//! A read-through cache over a backend, always right: no reader sees an older row after a newer one could be seen.
//!
//! How: before a commit becomes visible its keys are removed and marked; while they are marked they are read from the
//! backend; a row that was read is kept only if nothing in its shard was marked since before the read (module `shard`). So a
//! hit is the row of every position from the moment it was read until now. A swap or drop of a namespace marks everything.

mod shard;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::shard::{Lookup, MissTicket, Place, Shard};
use crate::contract::{
    Backend, Batch, Changes, CommitError, Key, Position, Row, Snapshot, StoreError, Table,
};
use crate::observe::{Changed, CommitObserver, Observable};

/// Settings of [`Cached`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// Bytes of rows and names to keep, about.
    pub bytes_max: usize,
    /// Makes it hard to choose names that all fall into one shard; any number that clients do not know.
    pub seed: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { bytes_max: 64 * 1024 * 1024, seed: 0x6b6e_6f74 }
    }
}

/// Changes in one shard keep what is being read in it from being kept: enough shards make that rare.
const SHARDS: usize = 128;

/// `B` with a read cache: [`Backend::get`] and [`Backend::cached`] use it, all else goes through.
#[derive(Debug)]
pub struct Cached<B> {
    backend: B,
    shards: Arc<Shards>,
    head: watch::Receiver<Position>,
    is_closed: AtomicBool,
}

impl<B: Observable> Cached<B> {
    pub fn new(backend: B, options: CacheOptions) -> Self {
        let shards = Arc::new(Shards::new(options));
        backend.observe(shards.clone());
        let head = backend.head();
        Self { backend, shards, head, is_closed: AtomicBool::new(false) }
    }
}

/// A row with a position whose view has it, or how to keep what the backend answers.
enum Found {
    Row(Option<Row>, Position),
    Nothing(Option<MissTicket>),
}

/// Lookups before the backend is asked although there was a hit: commits were published during each of them.
const LOOKUPS_MAX: usize = 3;

impl<B: Observable> Cached<B> {
    /// A hit counts only if the head stood still around it: else its row could be newer than the position.
    fn look_up(&self, place: Place<'_>) -> Found {
        for _ in 0..LOOKUPS_MAX {
            let position = *self.head.borrow();
            let lookup = self.shards.shard(place.hash).look_up(place);
            match lookup {
                Lookup::Miss(ticket) => return Found::Nothing(Some(ticket)),
                Lookup::Hit(row) if *self.head.borrow() == position => {
                    return Found::Row(row, position);
                }
                Lookup::Hit(_) => {}
            }
        }
        Found::Nothing(None)
    }
}

#[derive(Debug)]
struct Shards {
    shards: Vec<Mutex<Shard>>,
    seed: u64,
}

impl Shards {
    fn new(options: CacheOptions) -> Self {
        let bytes_max = options.bytes_max / SHARDS;
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new(bytes_max))).collect();
        Self { shards, seed: options.seed }
    }

    fn place<'k>(&self, table: &'k Table, name: &'k str) -> Place<'k> {
        let hash = xxh3_64_with_seed(name.as_bytes(), self.seed);
        let hash = xxh3_64_with_seed(table.kind.as_bytes(), hash);
        let hash = xxh3_64_with_seed(table.namespace.as_bytes(), hash);
        Place { hash, table, name }
    }

    fn place_of<'k>(&self, key: &'k Key) -> Place<'k> {
        self.place(&key.table, &key.name)
    }

    fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The map within a shard uses the highest and the lowest bits of the hash, so these are from between.
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let shard = usize::try_from((hash >> 32) & 0xffff).unwrap_or(0) % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether some namespace gets other rows: which ones are cached is not known by namespace, so everything is forgotten.
fn moves_a_namespace(changed: &[Changed]) -> bool {
    changed.iter().any(|changed| matches!(changed, Changed::Namespace(_)))
}

impl CommitObserver for Shards {
    fn before_visible(&self, changed: &[Changed]) {
        if moves_a_namespace(changed) {
            self.all().for_each(|mut shard| shard.announce_all());
        }
        for changed in changed {
            let Changed::Row { key, .. } = changed else { continue };
            let place = self.place_of(key);
            self.shard(place.hash).announce(place);
        }
    }

    fn after_visible(&self, changed: &[Changed], committed: bool) {
        // Rows before all else: until everything is settled none is kept, and the group may have moved them afterwards.
        for changed in changed {
            let Changed::Row { key, after } = changed else { continue };
            let hash = self.place_of(key).hash;
            self.shard(hash).settle(hash, key, committed.then_some(after));
        }
        if moves_a_namespace(changed) {
            self.all().for_each(|mut shard| shard.settle_all());
        }
    }
}

#[async_trait]
impl<B: Observable> Backend for Cached<B> {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.backend.snapshot().await
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let place = self.shards.place_of(key);
        let ticket = match self.look_up(place) {
            Found::Row(row, position) => return Ok((row, position)),
            Found::Nothing(ticket) => ticket,
        };
        let (row, position) = self.backend.get(key).await?;
        if let Some(ticket) = ticket {
            self.shards.shard(place.hash).insert(ticket, place.hash, key, row.clone());
        }
        Ok((row, position))
    }

    fn cached(&self, table: &Table, name: &str) -> Option<Row> {
        if self.is_closed.load(Ordering::Acquire) {
            return None;
        }
        let place = self.shards.place(table, name);
        match self.shards.shard(place.hash).look_up(place) {
            Lookup::Hit(row) => row,
            Lookup::Miss(_) => None,
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        self.backend.commit(batch).await
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        self.backend.changes(after, limit).await
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        self.backend.start_at(position).await
    }

    fn wants_readable(&self) -> bool {
        self.backend.wants_readable()
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.backend.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.is_closed.store(true, Ordering::Release);
        self.backend.close().await
    }
}

impl<B: Observable> Observable for Cached<B> {
    fn observe(&self, observer: Arc<dyn CommitObserver>) {
        self.backend.observe(observer);
    }
}

#[cfg(test)]
mod tests;
