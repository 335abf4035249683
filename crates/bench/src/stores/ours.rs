//! Our backends under load, in this process: no gRPC, no API, only the contract.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bowline_base::Seams;
use bowline_store::{Backend, CacheOptions, Cached, Sqlite, SqliteOptions};

use crate::error::Error;
use crate::load::closed;
use crate::rows;

/// The embedded store as `bowline up` runs it, with its row cache.
pub(crate) fn open_sqlite(path: &Path, options: SqliteOptions) -> Result<Arc<dyn Backend>, Error> {
    let store = Sqlite::open(path, options, Seams::real()).map_err(Error::Raw)?;
    Ok(Arc::new(Cached::new(store, CacheOptions::default())))
}

/// Creates per second of so many clients, each of which waits for its commit before the next.
///
/// Numbers of rows begin at 0, so the store must be new.
pub(crate) async fn create_rate(
    store: &Arc<dyn Backend>,
    clients: usize,
    warm_up: Duration,
    time: Duration,
) -> Result<f64, Error> {
    let next = Arc::new(AtomicU64::new(0));
    let (head, is_readable) = (store.head(), store.wants_readable());
    let store = store.clone();
    let create = move |_, number| {
        let batch = rows::create(number, *head.borrow(), is_readable);
        let store = store.clone();
        async move { store.commit(batch).await.map(drop).map_err(Error::Commit) }
    };
    closed(clients, warm_up, &next, create.clone()).await?;
    Ok(closed(clients, time, &next, create).await?.per_second())
}

/// Creates rows `numbers` in large batches, for benches that need many.
pub(crate) async fn fill(
    store: &Arc<dyn Backend>,
    numbers: std::ops::Range<u64>,
) -> Result<(), Error> {
    const ROWS: u64 = 2_048;
    let is_readable = store.wants_readable();
    let mut from = numbers.start;
    while from < numbers.end {
        let to = (from + ROWS).min(numbers.end);
        let head = *store.head().borrow();
        let batch = rows::together((from..to).map(|n| rows::create(n, head, is_readable)));
        store.commit(batch).await.map_err(Error::Commit)?;
        from = to;
    }
    Ok(())
}
