//! Our backends under load, in this process: no gRPC, no API, only the contract.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bowline_base::Seams;
use bowline_store::{Backend, Batch, CacheOptions, Cached, Position, Sqlite, SqliteOptions};

use crate::error::Error;
use crate::item;
use crate::load::closed;
use crate::rows;

/// The embedded store as `bowline up` runs it, with its row cache.
pub(crate) fn open_sqlite(path: &Path, options: SqliteOptions) -> Result<Arc<dyn Backend>, Error> {
    let store = Sqlite::open(path, options, Seams::real()).map_err(Error::Raw)?;
    Ok(Arc::new(Cached::new(store, CacheOptions::default())))
}

/// The batch with a number, after a position, with a readable document or without: [`rows::create`].
pub(crate) type MakeBatch = fn(u64, Position, bool) -> Batch;

/// Commits per second of so many clients, each of which waits for its commit before the next.
///
/// Numbers begin at 0, so the store must be new.
pub(crate) async fn commit_rate(
    store: &Arc<dyn Backend>,
    make: MakeBatch,
    clients: usize,
    [warm_up, time]: [Duration; 2],
) -> Result<f64, Error> {
    let next = Arc::new(AtomicU64::new(0));
    let (head, is_readable) = (store.head(), store.wants_readable());
    let store = store.clone();
    let create = move |_, number| {
        let batch = make(number, *head.borrow(), is_readable);
        let store = store.clone();
        async move { store.commit(batch).await.map(drop).map_err(Error::Commit) }
    };
    closed(clients, warm_up, &next, create.clone()).await?;
    Ok(closed(clients, time, &next, create).await?.per_second())
}

/// Creates rows `numbers`, so that pages are as full as they are after creates in any order, but faster.
///
/// In large batches by name, since names in any order would write three pages per row; in three passes, since one alone
/// would leave pages without room, which the next creates would have to split.
pub(crate) async fn fill(
    store: &Arc<dyn Backend>,
    numbers: std::ops::Range<u64>,
) -> Result<(), Error> {
    const PASSES: usize = 3;
    let numbers: Vec<u64> = numbers.collect();
    for pass in numbers.chunks(numbers.len().div_ceil(PASSES).max(1)) {
        let mut pass = pass.to_vec();
        pass.sort_by_cached_key(|number| item::spread(*number));
        fill_in_order(store, &pass).await?;
    }
    Ok(())
}

async fn fill_in_order(store: &Arc<dyn Backend>, numbers: &[u64]) -> Result<(), Error> {
    const ROWS: usize = 2_048;
    let is_readable = store.wants_readable();
    for numbers in numbers.chunks(ROWS) {
        let head = *store.head().borrow();
        let creates = numbers.iter().map(|number| rows::create(*number, head, is_readable));
        store.commit(rows::together(creates)).await.map_err(Error::Commit)?;
    }
    Ok(())
}
