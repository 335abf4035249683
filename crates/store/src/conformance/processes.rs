//! Several processes on one database: each sees what the others did. Nothing to see where only one process may.

use std::sync::Arc;

use super::build::{
    Building, all_changes, batch, hits_of, identified, index, indexed, key, key_in, next, row,
    rows_of, succeeds, table, table_in,
};
use super::{Factory, LogLength, Verdict, ensure, ensure_same, feed};
use crate::contract::{Backend, Changes, CommitError, Position, Row};

/// Waits until a process knows of `position`.
async fn knows(store: &dyn Backend, position: Position) -> Verdict {
    let known = store.head().wait_for(|head| *head >= position).await.map(|_| ());
    ensure(known.is_ok(), || "the head of an open store is gone".to_owned())
}

pub(super) async fn processes_see_each_others_commits(factory: Arc<dyn Factory>) -> Verdict {
    let one = factory.fresh(LogLength::Long).await;
    one.commit(batch().put_row("a", identified(1, 7))).await?;
    let Some(two) = factory.second(&one).await else { return Ok(()) };
    ensure_same("a row from before", two.get(&key("a")).await?.0, Some(identified(1, 7)))?;
    for version in (2..20).step_by(2) {
        let mut last = version - 1;
        for (store, other) in [(&one, &two), (&two, &one)] {
            let (old, new) = (last, last + 1);
            let update = batch().at("a", old).put_row("a", identified(new, 7));
            let position = store.commit(update.clone()).await?;
            ensure_same("the update again", succeeds(&**other, update).await?, false)?;
            let (found, at) = other.get(&key("a")).await?;
            ensure_same("what the other process reads", found, Some(identified(new, 7)))?;
            ensure_same("where it reads it", at, position)?;
            if let Some(cached) = other.cached(&table("Device"), "a") {
                ensure_same("what it has cached", cached, identified(new, 7))?;
            }
            let snapshot = other.snapshot().await?.position();
            ensure_same("its snapshot", snapshot, position)?;
            last = new;
        }
    }
    let twin = two.commit(batch().put_row("b", identified(1, 7))).await;
    let is_taken = matches!(twin, Err(CommitError::IdTaken { write: 0 }));
    ensure(is_taken, || format!("an id taken through the other process: found {twin:?}"))?;
    // Tables and indexes that the other process has never heard of.
    let new = key_in("v7", "New", "n");
    two.commit(batch().put_at(new.clone(), indexed(1, &[("new", "x")]))).await?;
    ensure_same("a row of a new table", one.get(&new).await?.0.map(|row| row.version), Some(1))?;
    let hits = hits_of(&*one, super::build::index_in("v7", "new")).await?;
    ensure_same("entries of a new index", hits.len(), 1)
}

pub(super) async fn the_head_of_a_process_wakes_for_another(factory: Arc<dyn Factory>) -> Verdict {
    let one = factory.fresh(LogLength::Long).await;
    let Some(two) = factory.second(&one).await else { return Ok(()) };
    let mut from = Position::default();
    for version in 1..10 {
        let store = if version % 2 == 0 { &one } else { &two };
        let position = store.commit(batch().put("a", version)).await?;
        for reader in [&one, &two] {
            knows(&**reader, position).await?;
            let (changes, end) = all_changes(&**reader, from, 10).await?;
            let after: Vec<_> = changes.into_iter().map(|change| change.after).collect();
            ensure_same("changes", (after, end), (vec![Some(row(version))], position))?;
        }
        from = position;
    }
    Ok(())
}

pub(super) async fn no_change_is_missed_between_processes(factory: Arc<dyn Factory>) -> Verdict {
    let one = factory.slow().await;
    let Some(two) = factory.second(&one).await else { return Ok(()) };
    let load = feed::Load { writers: 16, commits: 12 };
    feed::check(&factory.seams(), &[one, two], load).await
}

pub(super) async fn a_move_by_one_process_is_seen_by_another(factory: Arc<dyn Factory>) -> Verdict {
    let one = factory.fresh(LogLength::Long).await;
    let Some(two) = factory.second(&one).await else { return Ok(()) };
    let at = |namespace| key_in(namespace, "Device", "a");
    let full = |version, entry| Row { id: crate::RowId(5), ..indexed(version, &[("by", entry)]) };
    one.commit(batch().put_at(at("v1"), full(1, "x")).put_at(at("v2"), full(2, "y"))).await?;
    // Both know where the namespaces are before they move.
    for (reader, namespace, version) in [(&one, "v1", 1), (&two, "v1", 1), (&two, "v2", 2)] {
        let found = reader.get(&at(namespace)).await?.0.map(|row| row.version);
        ensure_same("before the move", found, Some(version))?;
    }
    two.commit(batch().swap("v1", "v2")).await?;
    ensure_same("get after the swap", one.get(&at("v1")).await?.0, Some(full(2, "y")))?;
    let hits = hits_of(&*one, index("by")).await?;
    ensure_same("entries after the swap", hits.first().map(|h| h.row.clone()), Some(full(2, "y")))?;
    let update = batch().at("a", 2).put_at(at("v1"), full(3, "z"));
    ensure_same("update after the swap", succeeds(&*one, update).await?, true)?;
    ensure_same("that update", two.get(&at("v1")).await?.0, Some(full(3, "z")))?;
    ensure_same("the other side", two.get(&at("v2")).await?.0, Some(full(1, "x")))?;
    one.commit(batch().drop_all("v2")).await?;
    ensure_same("get after the drop", two.get(&at("v2")).await?.0, None)?;
    two.commit(batch().put_at(at("v2"), full(4, "w"))).await?;
    let rows = rows_of(&*one, &table_in("v2", "Device")).await?;
    ensure_same("rows after the drop", rows, vec![("a".into(), full(4, "w"))])
}

pub(super) async fn a_new_start_by_one_process_is_seen_by_another(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let one = factory.fresh(LogLength::Long).await;
    let Some(two) = factory.second(&one).await else { return Ok(()) };
    let old = one.commit(batch().put("a", 1)).await?;
    knows(&*two, old).await?;
    let start = Position { era: old.era + 1, sequence: 100 };
    one.start_at(start).await?;
    knows(&*two, start).await?;
    let changes = two.changes(old, 10).await?;
    ensure_same("an old position", changes, Changes::TooOld { oldest: start })?;
    let after = two.commit(batch().at("a", 1).put("a", 2)).await?;
    ensure_same("the next commit", after, next(start))?;
    knows(&*one, after).await?;
    ensure_same("changes since", all_changes(&*one, start, 10).await?.0.len(), 1)?;
    let back = two.start_at(old).await;
    ensure(matches!(back, Err(CommitError::Malformed(_))), || format!("back: found {back:?}"))
}
