//! Closing and opening again. What survives a kill is tested beside each backend.

use std::sync::Arc;

use super::build::{
    Building, all_changes, batch, hits_of, identified, index_in, key, key_in, next, rows_of,
    succeeds, table_in,
};
use super::{Factory, Failure, LogLength, Verdict, ensure, ensure_same};
use crate::contract::{
    Backend, Changes, CommitError, Extract, Hit, NamedRow, Position, Row, RowId, StoreError, Value,
};

async fn reopened(
    factory: &Arc<dyn Factory>,
    store: Arc<dyn Backend>,
) -> Result<Option<Arc<dyn Backend>>, StoreError> {
    store.close().await?;
    Ok(factory.reopen(store).await)
}

/// A row that brings everything a row can bring.
fn full(version: u64, id: u128) -> Row {
    let extract = Extract::builder()
        .field("f", Value::number(version))
        .entry("by", Value::number(version))
        .entry("by", Value::number(1000 + version));
    Row { aside: "aside".into(), extract: extract.build(), ..identified(version, id) }
}

/// All that can be read of a namespace.
async fn all_of(
    store: &dyn Backend,
    namespace: &str,
) -> Result<(Vec<NamedRow>, Vec<Hit>, Vec<Option<NamedRow>>), Failure> {
    let table = table_in(namespace, "Device");
    let ids: Vec<_> = (1..40).map(RowId).collect();
    let by_id = store.snapshot().await?.batch_get_by_id(&table, &ids).await?;
    Ok((rows_of(store, &table).await?, hits_of(store, index_in(namespace, "by")).await?, by_id))
}

pub(super) async fn everything_is_there_after_reopening(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    for version in 1..30 {
        let (again, new) = (version % 7, version);
        let again = (format!("r{again}"), full(version, 31 + u128::from(again)));
        let new = (format!("s{new}"), full(version, u128::from(new)));
        store.commit(batch().put_row(&again.0, again.1).put_row(&new.0, new.1)).await?;
    }
    store.commit(batch().remove("s3").remove("r2")).await?;
    store.commit(batch().put_at(key_in("~", "~kind", "i"), full(9, 9))).await?;
    let last = store.commit(batch().reindex("s4", 4, full(99, 0).extract)).await?;
    let all = all_of(&*store, "v1").await?;
    let tables = store.snapshot().await?.tables().await?;
    let changes = all_changes(&*store, Position::default(), 10).await?;
    let Some(store) = reopened(&factory, store).await? else { return Ok(()) };
    ensure_same("head after reopening", *store.head().borrow(), last)?;
    let found = all_of(&*store, "v1").await?;
    ensure_same("rows after reopening", found.0, all.0)?;
    ensure_same("entries after reopening", found.1, all.1)?;
    ensure_same("rows by id after reopening", found.2, all.2)?;
    ensure_same("tables after reopening", store.snapshot().await?.tables().await?, tables)?;
    let internal = store.get(&key_in("~", "~kind", "i")).await?.0;
    ensure_same("an internal row after reopening", internal, Some(full(9, 9)))?;
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

pub(super) async fn moved_namespaces_stay_moved_after_reopening(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let put = |namespace, n: u64| {
        let key = key_in(namespace, "Device", &format!("{namespace}/{n}"));
        batch().put_at(key, full(n, u128::from(n)))
    };
    for n in 1..6 {
        for namespace in ["v1", "v2", "v3"] {
            store.commit(put(namespace, n)).await?;
        }
    }
    let v1 = all_of(&*store, "v1").await?;
    let v2 = all_of(&*store, "v2").await?;
    store.commit(batch().drop_all("v3")).await?;
    store.commit(put("v3", 7)).await?;
    store.commit(batch().swap("v1", "v2")).await?;
    let Some(store) = reopened(&factory, store).await? else { return Ok(()) };
    let in_table = |namespace, n: u64| {
        let name = format!("{namespace}/{n}");
        (key_in(namespace, "Device", &name), Some(full(n, u128::from(n))))
    };
    ensure_same("rows of v1", all_of(&*store, "v1").await?.0, v2.0)?;
    ensure_same("rows of v2 by id", all_of(&*store, "v2").await?.2, v1.2)?;
    let (key, row) = in_table("v3", 7);
    ensure_same("a row put after a drop", store.get(&key).await?.0, row)?;
    ensure_same("rows after a drop", rows_of(&*store, &key.table).await?.len(), 1)?;
    ensure_same("entries after a drop", hits_of(&*store, index_in("v3", "by")).await?.len(), 2)?;
    // Whatever is left to free is freed now, and must be the right rows.
    for n in 10..30 {
        store.commit(put("v3", n)).await?;
        store.commit(put("v1", n)).await?;
    }
    ensure_same("rows of v3", rows_of(&*store, &key.table).await?.len(), 21)?;
    ensure_same("rows of v1", rows_of(&*store, &table_in("v1", "Device")).await?.len(), 25)?;
    ensure_same("entries of v1", hits_of(&*store, index_in("v1", "by")).await?.len(), 50)
}

pub(super) async fn a_new_start_survives_reopening(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let old = store.commit(batch().put("a", 1)).await?;
    let start = Position { era: old.era + 3, sequence: 1 };
    store.start_at(start).await?;
    let Some(store) = reopened(&factory, store).await? else { return Ok(()) };
    ensure_same("head after reopening", *store.head().borrow(), start)?;
    let is_too_old =
        matches!(store.changes(old, 10).await?, Changes::TooOld { oldest } if oldest == start);
    ensure(is_too_old, || format!("{old:?} can be read after a start at {start:?}"))?;
    let after = store.commit(batch().at("a", 1).put("a", 2)).await?;
    ensure_same("the next commit", after, next(start))?;
    ensure_same("changes since", all_changes(&*store, start, 10).await?.0.len(), 1)
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
    let start = store.start_at(Position { era: 9, sequence: 9 }).await;
    let is_refused = matches!(start, Err(CommitError::Store(StoreError::Closed)));
    ensure(is_refused, || format!("start at: found {start:?}"))?;
    let snapshot = store.snapshot().await.err();
    let is_refused = matches!(snapshot, Some(StoreError::Closed));
    ensure(is_refused, || format!("snapshot: found {snapshot:?}"))
}
