//! Closing and opening again.

use std::sync::Arc;

use super::build::{Building, all_changes, batch, key, succeeds, table};
use super::{Factory, LogLength, Verdict, ensure, ensure_same};
use crate::contract::{Backend, CommitError, NameRange, Position, StoreError};

async fn reopened(
    factory: &Arc<dyn Factory>,
    store: Arc<dyn Backend>,
) -> Result<Option<Arc<dyn Backend>>, StoreError> {
    store.close().await?;
    Ok(factory.reopen(store).await)
}

pub(super) async fn everything_is_there_after_reopening(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    for version in 1..30 {
        let names = [format!("r{}", version % 7), format!("s{version}")];
        store.commit(batch().put(&names[0], version).put(&names[1], version)).await?;
    }
    store.commit(batch().remove("s3").remove("r2")).await?;
    let all = NameRange::all(table("Device"));
    let rows = store.snapshot().await?.scan(&all, 1000, false).await?;
    let changes = all_changes(&*store, Position::default(), 10).await?;
    let Some(store) = reopened(&factory, store).await? else { return Ok(()) };
    let found = store.snapshot().await?.scan(&all, 1000, false).await?;
    ensure_same("rows after reopening", found, rows)?;
    let found = all_changes(&*store, Position::default(), 10).await?;
    ensure_same("changes after reopening", found, changes)
}

pub(super) async fn positions_go_on_after_reopening(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().put("a", 1)).await?;
    let before = store.commit(batch().put("a", 2)).await?;
    let Some(store) = reopened(&factory, store).await? else { return Ok(()) };
    ensure_same("head after reopening", *store.head().borrow(), before)?;
    ensure_same("snapshot after reopening", store.snapshot().await?.position(), before)?;
    let held = succeeds(&*store, batch().at("a", 1).put("b", 1)).await?;
    ensure_same("an old version holds after reopening", held, false)?;
    let after = store.commit(batch().at("a", 2).put("a", 3)).await?;
    ensure(after > before, || format!("{after:?} was given after {before:?}"))?;
    let (changes, _) = all_changes(&*store, before, 10).await?;
    ensure_same("changes since", changes.len(), 1)
}

pub(super) async fn a_closed_store_refuses(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().put("a", 1)).await?;
    store.get(&key("a")).await?;
    store.close().await?;
    store.close().await?;
    let committed = store.commit(batch().put("a", 2)).await;
    let is_refused = matches!(committed, Err(CommitError::Store(StoreError::Closed)));
    ensure(is_refused, || format!("commit: found {committed:?}"))?;
    let read = store.get(&key("a")).await;
    ensure(matches!(read, Err(StoreError::Closed)), || format!("get: found {read:?}"))?;
    let changes = store.changes(Position::default(), 1).await;
    ensure(matches!(changes, Err(StoreError::Closed)), || format!("changes: found {changes:?}"))?;
    let snapshot = store.snapshot().await.err();
    let is_refused = matches!(snapshot, Some(StoreError::Closed));
    ensure(is_refused, || format!("snapshot: found {snapshot:?}"))
}
