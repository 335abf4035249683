//! Rows are found by id, and an id belongs to one row of a table.

use std::sync::Arc;

use bowline_base::seams::BoxFuture;

use super::build::{
    Building, batch, identified, key, key_in, row, rows_of, table, table_in, version_of,
};
use super::{Factory, Failure, LogLength, Verdict, ensure, ensure_same, together};
use crate::contract::{Backend, CommitError, NamedRow, RowId, Table};

/// Ids whose bytes break signs, byte orders and text forms of UUIDs.
const IDS: [u128; 6] =
    [1, 0xff, 1 << 64, 1 << 127, u128::MAX, 0x0192_f0c1_2345_7abc_8def_0123_4567_89ab];

async fn by_id(
    store: &dyn Backend,
    table: &Table,
    ids: &[u128],
) -> Result<Vec<Option<NamedRow>>, Failure> {
    let ids: Vec<_> = ids.iter().copied().map(RowId).collect();
    Ok(store.snapshot().await?.batch_get_by_id(table, &ids).await?)
}

pub(super) async fn rows_are_found_by_id(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let devices = table("Device");
    let internal = table_in("~alias/v1", "Device");
    let mut all = batch().put("nobody", 1).put("nobody else", 1);
    for (n, id) in IDS.into_iter().enumerate() {
        all = all.put_row(&format!("r{n}"), identified(1, id));
    }
    store.commit(all.put_at(key_in("~alias/v1", "Device", "x"), identified(9, 5))).await?;
    let named = |n: usize, version| Some((format!("r{n}").into(), identified(version, IDS[n])));
    let found = by_id(&*store, &devices, &[IDS[4], 0, 77, IDS[0], IDS[4], 5]).await?;
    let expected = vec![named(4, 1), None, None, named(0, 1), named(4, 1), None];
    ensure_same("rows by id, in the order asked", found, expected)?;
    let all: Vec<_> = (0..IDS.len()).map(|n| named(n, 1)).collect();
    ensure_same("all ids", by_id(&*store, &devices, &IDS).await?, all.clone())?;
    let found = by_id(&*store, &internal, &[5, IDS[0]]).await?;
    ensure_same("internal rows", found, vec![Some(("x".into(), identified(9, 5))), None])?;
    ensure_same("no ids", by_id(&*store, &devices, &[]).await?, vec![])?;

    let mut held = store.snapshot().await?;
    let update = batch().at("r1", 1).put_row("r1", identified(2, IDS[1])).remove("r2");
    store.commit(update).await?;
    let found = by_id(&*store, &devices, &[IDS[1], IDS[2]]).await?;
    ensure_same("updated and removed", found, vec![named(1, 2), None])?;
    let ids = IDS.map(RowId);
    let found = held.batch_get_by_id(&devices, &ids).await?;
    ensure_same("in a snapshot from before", found, all)?;
    store.commit(batch().put_row("r2 again", identified(3, IDS[2] + 1))).await?;
    let found = by_id(&*store, &devices, &[IDS[2], IDS[2] + 1]).await?;
    let again = Some(("r2 again".into(), identified(3, IDS[2] + 1)));
    ensure_same("a new row beside the removed one", found, vec![None, again])
}

pub(super) async fn an_id_belongs_to_one_row_of_a_table(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().put_row("a", identified(1, 7))).await?;
    let taken = async |what: &str, batch, write: usize| {
        let outcome = store.commit(batch).await;
        let is_taken = matches!(&outcome, Err(CommitError::IdTaken { write: w }) if *w == write);
        ensure(is_taken, || format!("{what}: found {outcome:?}, expected that write {write} fails"))
    };
    let second = batch().put("q", 1).put_row("b", identified(1, 7));
    taken("an id of another row", second, 1).await?;
    let twins = batch().put_row("b", identified(1, 8)).remove("q").put_row("c", identified(1, 8));
    taken("one id twice in a batch", twins, 2).await?;
    store.commit(batch().put("c", 1)).await?;
    let update = batch().put_row("c", identified(2, 7));
    taken("a row without id gets one that is taken", update, 0).await?;
    for (name, expected) in [("a", Some(1)), ("b", None), ("q", None), ("c", Some(1))] {
        ensure_same(name, version_of(&*store, name).await?, expected)?;
    }
    let elsewhere = batch()
        .put_at(key_in("v1", "Model", "m"), identified(1, 7))
        .put_at(key_in("v2", "Device", "d"), identified(1, 7))
        .put_at(key_in("~alias/v1", "Device", "d"), identified(1, 7))
        .put_row("a", identified(2, 7));
    store.commit(elsewhere).await?;
    for (namespace, kind, name) in [("v1", "Model", "m"), ("v2", "Device", "d")] {
        let found = by_id(&*store, &table_in(namespace, kind), &[7]).await?;
        let expected = Some((name.into(), identified(1, 7)));
        ensure_same("the same id in another table", found, vec![expected])?;
    }
    let nobodies = (0..5).fold(batch(), |batch, n| batch.put_row(&format!("n{n}"), row(1)));
    store.commit(nobodies).await?;
    ensure_same("rows", rows_of(&*store, &table("Device")).await?.len(), 7)?;
    store.commit(batch().put_row("c", identified(3, 9))).await?;
    let found = by_id(&*store, &table("Device"), &[9]).await?;
    ensure_same("a row that got its id later", found, vec![Some(("c".into(), identified(3, 9)))])
}

/// All at once, so that many are judged in one group; exactly one may have the id.
pub(super) async fn an_id_is_given_once_under_concurrent_writers(
    factory: Arc<dyn Factory>,
) -> Verdict {
    const WRITERS: usize = 16;
    let store = factory.fresh(LogLength::Long).await;
    for round in 1..6 {
        let parts = (0..WRITERS).map(|n| -> BoxFuture<_> {
            let name = format!("r{round}/{n}");
            let create = batch().absent(&name).put_row(&name, identified(1, round));
            let store = store.clone();
            Box::pin(async move { store.commit(create).await })
        });
        let outcomes = together(&factory.seams(), parts).await?;
        let mut given = Vec::new();
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(_) => given.push(format!("r{round}/{n}")),
                Err(CommitError::IdTaken { write: 0 }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        ensure_same("writers who got the id", given.len(), 1)?;
        let found = by_id(&*store, &table("Device"), &[round]).await?;
        let expected = Some((given[0].as_str().into(), identified(1, round)));
        ensure_same("the row with the id", found, vec![expected])?;
        let (row, _) = store.get(&key(&given[0])).await?;
        ensure_same("its row by name", row, Some(identified(1, round)))?;
    }
    Ok(())
}
