//! The condition that no row is in a range of an index: judged on what a batch leaves, and proof against phantoms.

use std::sync::Arc;

use super::build::{
    Building, batch, hits_of, hostile_values, index, index_in, indexed, key, key_in, row, succeeds,
    version_of, with_field,
};
use super::isolation::successes;
use super::{Factory, LogLength, Verdict, ensure_same};
use crate::contract::{Batch, Extract, IndexRange, Row, Value};

fn by(value: &str) -> IndexRange {
    IndexRange::exactly(index("by"), Value::text(value))
}

/// A row with a single entry.
fn at(version: u64, value: &str) -> Row {
    indexed(version, &[("by", value)])
}

pub(super) async fn an_index_range_is_judged_on_what_the_batch_leaves(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let judge = async |what: &str, batch: Batch, expected: bool| {
        let held = succeeds(&*store, batch.none_indexed(by("x"))).await?;
        ensure_same(what, held, expected)
    };
    judge("an empty index", batch().put("q", 1), true).await?;
    judge("a put of the batch is in it", batch().put_row("p1", at(1, "x")), false).await?;
    ensure_same("that put did not happen", version_of(&*store, "p1").await?, None)?;
    judge("a put of the batch is beside it", batch().put_row("p1", at(1, "w")), true).await?;
    judge("an update brings the row into it", batch().put_row("p1", at(2, "x")), false).await?;
    ensure_same("that update did not happen", version_of(&*store, "p1").await?, Some(1))?;

    // The first row is in the range under several values, so one that is removed must not hide another.
    let many = ["x", "x\0", "x1", "x2", "x3"].map(|value| ("by", value));
    store.commit(batch().put_row("p1", indexed(3, &many)).put_row("p2", at(1, "x9"))).await?;
    let judge_all = async |what: &str, batch: Batch, expected: bool| {
        let all = IndexRange::prefix(index("by"), Value::text("x"));
        ensure_same(what, succeeds(&*store, batch.none_indexed(all)).await?, expected)
    };
    judge_all("two rows, none removed", batch().put("q", 2), false).await?;
    judge_all("the one with many entries removed", batch().remove("p1"), false).await?;
    judge_all("the other one removed", batch().remove("p2"), false).await?;
    let updated = batch().remove("p1").put_row("p2", at(2, "x8"));
    judge_all("one removed, one moved within the range", updated, false).await?;
    let updated = batch().remove("p1").put_row("p2", at(2, "w"));
    judge_all("one removed, one moved out of the range", updated, true).await?;
    store.commit(batch().put_row("p1", at(4, "x")).put_row("p2", at(3, "x"))).await?;
    let both = batch().put_row("p1", row(5)).put("p2", 4);
    judge("both updated to have no entry", both, true).await?;
    ensure_same("what is left in the index", hits_of(&*store, index("by")).await?, vec![])
}

pub(super) async fn an_index_range_spans_the_kinds_of_its_namespace_only(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let x = || Value::text("x");
    let put =
        |namespace: &str, kind: &str| batch().put_at(key_in(namespace, kind, "a"), at(1, "x"));
    store.commit(put("v2", "Device")).await?;
    store.commit(put("", "Device")).await?;
    store.commit(batch().put_row("other index", indexed(1, &[("by2", "x"), ("b", "x")]))).await?;
    store.commit(batch().put_row("field", with_field(1, "by", x()))).await?;
    let held = succeeds(&*store, batch().none_indexed(by("x"))).await?;
    ensure_same("nothing but other namespaces and indexes", held, true)?;
    let beside = batch().put_at(key_in("v2", "Device", "b"), at(1, "x")).none_indexed(by("x"));
    let held = succeeds(&*store, beside).await?;
    ensure_same("a put of the batch into another namespace", held, true)?;
    for kind in ["Device", "Model", "~kind"] {
        store.commit(put("v1", kind)).await?;
        let held = succeeds(&*store, batch().none_indexed(by("x"))).await?;
        ensure_same(&format!("a row of kind {kind}"), held, false)?;
        let leave = batch().remove_at(key_in("v1", kind, "a")).none_indexed(by("x"));
        ensure_same("the batch that removes it", succeeds(&*store, leave).await?, true)?;
    }
    // Same name, two kinds: removing one must not count for the other.
    store.commit(put("v1", "Device")).await?;
    store.commit(put("v1", "Model")).await?;
    let leave = batch().remove_at(key_in("v1", "Device", "a")).none_indexed(by("x"));
    ensure_same("the name left in another kind", succeeds(&*store, leave).await?, false)?;
    let elsewhere = IndexRange::exactly(index_in("v9", "by"), x());
    let held = succeeds(&*store, batch().none_indexed(elsewhere)).await?;
    ensure_same("a namespace of nobody", held, true)
}

pub(super) async fn an_index_range_includes_its_start_and_not_its_end(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let values = hostile_values();
    for (n, put) in values.iter().enumerate() {
        let extract = Extract::builder().entry("by", put.clone()).build();
        store.commit(batch().put_row("a", Row { extract, ..row(n as u64 + 1) })).await?;
        for value in &values {
            let ranges = [
                IndexRange { index: index("by"), from: value.clone(), to: None },
                IndexRange { index: index("by"), from: Value::default(), to: Some(value.clone()) },
                IndexRange { index: index("by"), from: put.clone(), to: Some(value.clone()) },
                IndexRange::exactly(index("by"), value.clone()),
                IndexRange::prefix(index("by"), value.clone()),
            ];
            for range in ranges {
                let expected = !range.contains(put);
                let what = format!("entry {put:?}, range {:?} to {:?}", range.from, range.to);
                let held = succeeds(&*store, batch().none_indexed(range)).await?;
                ensure_same(&what, held, expected)?;
            }
        }
    }
    Ok(())
}

/// One batch removes a target to which nothing refers, others refer to it if it is there: how references are kept.
pub(super) async fn no_phantom_slips_into_an_index(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    for round in 1..20 {
        let target = format!("t{round}");
        let ready = || Value::text("ready");
        store.commit(batch().put_row(&target, with_field(round, "state", ready()))).await?;
        let refer = |kind: &str, n: u64| {
            let referring = key_in("v1", kind, &format!("{target}/{n}"));
            let row = indexed(round, &[("by", target.as_str())]);
            batch().field_is(&target, "state", ready()).put_at(referring, row)
        };
        let leave = batch().none_indexed(by(&target)).remove(&target);
        let batches = vec![refer("Device", 1), refer("Model", 1), leave, refer("Device", 2)];
        let n = successes(&factory, &store, round, batches).await?;
        let is_there = store.get(&key(&target)).await?.0.is_some();
        let mut snapshot = store.snapshot().await?;
        let referrers = snapshot.scan_index(&by(&target), None, 10, false).await?.len();
        let expected = if is_there { (3, 3) } else { (0, 1) };
        let what = format!("referrers and successes, target there: {is_there}");
        ensure_same(&what, (referrers, n), expected)?;
    }
    Ok(())
}
