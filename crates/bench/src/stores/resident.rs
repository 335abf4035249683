//! A process of its own that opens an embedded store and does a bit of everything, to see how much memory that takes.
//!
//! It is this program with a hidden flag; what it measured is its only output, as JSON.

use std::path::Path;
use std::sync::Arc;

use bowline_store::{Backend, NameRange, SqliteOptions};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::ours;
use crate::error::Error;
use crate::process;
use crate::rows;

/// The hidden flag that makes this program that process.
pub(crate) const FLAG: &str = "--resident";

/// Gets of rows in random order, enough to fill the row cache.
const GETS: u64 = 300_000;
const CREATES: u64 = 20_000;
const AT_ONCE: usize = 64;
const PAGE: usize = 1_000;

/// Resident bytes of the process, one after the other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Resident {
    pub(crate) opened: u64,
    pub(crate) listed: u64,
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) rows: u64,
}

/// Opens the store at `path`, lists all, reads and writes, and prints what memory that took.
pub(crate) async fn run(path: &Path) -> Result<(), Error> {
    let resident = || process::resident("self");
    let store = ours::open_sqlite(path, SqliteOptions::default())?;
    let opened = resident()?;
    let rows = list(&store).await?;
    let listed = resident()?;
    let (store, reader) = (&store, &store);
    futures::stream::iter(0..GETS.min(rows))
        .map(|n| async move { get(reader, scattered(n, rows)).await })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let read = resident()?;
    // Beyond all numbers that the fill used.
    let first = u64::MAX / 4;
    futures::stream::iter(first..first + CREATES)
        .map(|n| async move {
            let batch = rows::create(n, *store.head().borrow(), false);
            store.commit(batch).await.map(drop).map_err(Error::Commit)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let resident = Resident { opened, listed, read, written: resident()?, rows };
    store.close().await.map_err(Error::Store)?;
    println!("{}", serde_json::to_string(&resident).expect("numbers are JSON"));
    Ok(())
}

async fn list(store: &Arc<dyn Backend>) -> Result<u64, Error> {
    let mut snapshot = store.snapshot().await.map_err(Error::Store)?;
    let (mut range, mut rows) = (NameRange::all(rows::table()), 0);
    loop {
        let page = snapshot.scan(&range, PAGE, false).await.map_err(Error::Store)?;
        rows += page.len() as u64;
        match page.last() {
            Some((name, _)) if page.len() == PAGE => range.from = format!("{name}\0"),
            _ => return Ok(rows),
        }
    }
}

async fn get(store: &Arc<dyn Backend>, number: u64) -> Result<(), Error> {
    let key = rows::key(rows::make(number, 1).name);
    store.get(&key).await.map(drop).map_err(Error::Store)
}

/// Different numbers below `count` for different `n` below it, far apart.
pub(crate) fn scattered(n: u64, count: u64) -> u64 {
    /// A prime, so that it has no factor in common with any smaller count.
    const STRIDE: u128 = 2_147_483_647;
    u64::try_from(u128::from(n) * STRIDE % u128::from(count.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_numbers_are_all_different() {
        let all: std::collections::BTreeSet<u64> =
            (0..10_000).map(|n| scattered(n, 10_000)).collect();
        assert_eq!(all.len(), 10_000);
    }
}
