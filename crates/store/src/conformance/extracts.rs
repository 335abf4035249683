//! Fields and index entries come back with their rows, have limits, and can be replaced without touching the row.

use std::sync::Arc;

use super::build::{
    Building, all_changes, batch, found, hits_of, hostile_values, index, is_refused, key, pairs,
    row, succeeds, table,
};
use super::{Factory, LogLength, Verdict, ensure, ensure_same};
use crate::contract::{
    Backend, EXTRACT_BYTES_MAX, Extract, INDEX_NAME_BYTES_MAX, NameRange, Row, RowId,
    VALUE_BYTES_MAX, Value, Write,
};

/// A row as every way of reading gives it.
async fn read_all_ways(store: &dyn Backend, name: &str, expected: &Row) -> Verdict {
    let some = || Some(expected.clone());
    ensure_same("get", store.get(&key(name)).await?.0, some())?;
    let mut snapshot = store.snapshot().await?;
    let got = snapshot.batch_get(&[key(name)]).await?;
    ensure_same("batch get", got, vec![some()])?;
    let named = || (Arc::from(name), expected.clone());
    let by_id = snapshot.batch_get_by_id(&table("Device"), &[expected.id]).await?;
    ensure_same("get by id", by_id, vec![Some(named())])?;
    let range = NameRange::prefix(table("Device"), name);
    ensure_same("scan", snapshot.scan(&range, 10, false).await?, vec![named()])?;
    let all = crate::IndexRange::all(index("by"));
    for hit in snapshot.scan_index(&all, None, 1000, false).await? {
        ensure_same("key of an entry", hit.key, key(name))?;
        ensure_same("row of an entry", hit.row, expected.clone())?;
    }
    Ok(())
}

pub(super) async fn an_extract_comes_back_as_it_was_put(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let values = hostile_values();
    let mut extracts = vec![Extract::default()];
    for value in &values {
        let fields = Extract::builder().field("f", value.clone()).field("", value.clone());
        extracts.push(fields.entry("by", value.clone()).entry("", value.clone()).build());
    }
    let add = |builder: crate::contract::ExtractBuilder, value: &Value| {
        builder.entry("by", value.clone()).entry("b\0y", value.clone())
    };
    extracts.push(values.iter().fold(Extract::builder(), add).build());
    extracts.push(Extract::default());
    for (n, extract) in extracts.into_iter().enumerate() {
        let row = Row { id: RowId(7), extract: extract.clone(), ..row(n as u64 + 1) };
        store.commit(batch().put_row("a", row.clone())).await?;
        read_all_ways(&*store, "a", &row).await?;
        for name in ["by", "b\0y", "", "none"] {
            let found = hits_of(&*store, index(name)).await?;
            let found: Vec<_> = found.into_iter().map(|hit| hit.value).collect();
            let entries = extract.entries().filter(|entry| entry.index == name);
            let expected: Vec<_> = entries.map(|entry| entry.value).collect();
            ensure_same(&format!("entries of the index {name:?}"), found, expected)?;
        }
    }
    Ok(())
}

/// Extracts at their limits, and just beyond.
fn at_limits() -> [(Extract, bool); 8] {
    let value = |bytes: usize| Value::from(vec![b'v'; bytes]);
    let name = |bytes: usize| "n".repeat(bytes);
    let (values, names) = (VALUE_BYTES_MAX, INDEX_NAME_BYTES_MAX);
    let field = |name: &str, value| Extract::builder().field(name, value).build();
    let entry = |name: &str, value| Extract::builder().entry(name, value).build();
    let too_many = (0..EXTRACT_BYTES_MAX / 1000).fold(Extract::builder(), |extract, n| {
        let value = [n.to_be_bytes().to_vec(), vec![0; VALUE_BYTES_MAX - 8]].concat();
        extract.entry(&name(INDEX_NAME_BYTES_MAX), value.into())
    });
    [
        (field("f", value(values)), true),
        (field("f", value(values + 1)), false),
        (entry("f", value(values)), true),
        (entry("f", value(values + 1)), false),
        (field(&name(names), value(1)), true),
        (field(&name(names + 1), value(1)), false),
        (entry(&name(names + 1), value(1)), false),
        (too_many.build(), false),
    ]
}

pub(super) async fn an_extract_beyond_its_limits_is_refused(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().put("there", 1)).await?;
    for (n, (extract, is_taken)) in at_limits().into_iter().enumerate() {
        let put = batch().put_row("a", Row { extract: extract.clone(), ..row(1) });
        let reindex = batch().reindex("there", 1, extract);
        if is_taken {
            store.commit(put).await?;
            store.commit(reindex).await?;
        } else {
            is_refused(&*store, &format!("put of extract {n}"), put).await?;
            is_refused(&*store, &format!("reindexing to extract {n}"), reindex).await?;
        }
    }
    let long = Value::from(vec![0; VALUE_BYTES_MAX + 1]);
    is_refused(&*store, "a long value", batch().field_is("a", "f", long.clone())).await?;
    is_refused(&*store, "a long bound", batch().field_at_most("a", "f", long)).await?;
    let many = (0..1000_u64).fold(Extract::builder(), |extract, n| {
        extract.entry("many", Value::number(n)).field(&n.to_string(), Value::number(n))
    });
    store.commit(batch().put_row("a", Row { extract: many.build(), ..row(2) })).await?;
    let hits = hits_of(&*store, index("many")).await?;
    let values: Vec<_> = hits.iter().filter_map(|hit| hit.value.as_number()).collect();
    ensure_same("entries of a row that has a thousand", values, (0..1000).collect())?;
    let last = batch().field_is("a", "999", Value::number(999));
    ensure_same("its last field", succeeds(&*store, last).await?, true)
}

fn state(state: &str, by: &[&str]) -> Extract {
    let extract = Extract::builder().field("state", Value::text(state));
    by.iter().fold(extract, |extract, value| extract.entry("by", Value::text(value))).build()
}

pub(super) async fn reindexing_changes_what_is_found_and_nothing_else(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let before = Row { id: RowId(3), extract: state("old", &["b", "c"]), ..row(4) };
    let put = store.commit(batch().put_row("a", before.clone())).await?;
    store.get(&key("a")).await?;
    let mut held = store.snapshot().await?;
    let reindexed = store.commit(batch().reindex("a", 4, state("new", &["a", "c"]))).await?;
    ensure(reindexed > put, || "reindexing has no position of its own".to_owned())?;
    let after = Row { extract: state("new", &["a", "c"]), ..before.clone() };
    read_all_ways(&*store, "a", &after).await?;
    if let Some(cached) = store.cached(&table("Device"), "a") {
        ensure_same("the cached row", cached, after.clone())?;
    }
    let hits = hits_of(&*store, index("by")).await?;
    ensure_same("entries", found(&hits), pairs(&[("a", "a"), ("c", "a")]))?;
    ensure_same("changes", all_changes(&*store, put, 10).await?, (vec![], reindexed))?;
    for (value, expected) in [("old", false), ("new", true)] {
        let is = batch().at("a", 4).field_is("a", "state", Value::text(value));
        ensure_same(value, succeeds(&*store, is).await?, expected)?;
    }
    let all = crate::IndexRange::all(index("by"));
    let old = held.scan_index(&all, None, 10, false).await?;
    ensure_same("entries seen before", found(&old), pairs(&[("b", "a"), ("c", "a")]))?;
    ensure(old.iter().all(|hit| hit.row == before), || "a snapshot saw the new fields".to_owned())
}

pub(super) async fn reindexing_another_version_does_nothing(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let before = Row { extract: state("old", &["b"]), ..row(4) };
    let put = store.commit(batch().put_row("a", before.clone())).await?;
    let other = || state("new", &["c"]);
    let nothing = batch().reindex("a", 3, other()).reindex("absent", 4, other());
    ensure_same("position", store.commit(nothing.clone()).await?, put)?;
    ensure_same("the row", store.get(&key("a")).await?.0, Some(before.clone()))?;
    ensure_same("the absent row", store.get(&key("absent")).await?.0, None)?;
    let entries = found(&hits_of(&*store, index("by")).await?);
    ensure_same("entries", entries, pairs(&[("b", "a")]))?;
    // The rest of such a batch happens, and the row of an earlier write of its group counts.
    let updated = Row { version: 5, ..before };
    let (update, rest) = futures::join!(
        store.commit(batch().put_row("a", updated.clone())),
        store.commit(nothing.put("q", 1).reindex("b", 1, other())),
    );
    update?;
    rest?;
    ensure_same("the updated row", store.get(&key("a")).await?.0, Some(updated))?;
    ensure_same("the rest of the batch", store.get(&key("q")).await?.0, Some(row(1)))?;
    let twice = batch().put("a", 6).reindex("a", 5, other());
    is_refused(&*store, "a row written and reindexed", twice).await?;
    let ranged = batch().none_in("x", None).write(Write::Reindex {
        key: key("a"),
        version: 5,
        extract: other(),
        readable: None,
    });
    is_refused(&*store, "a row reindexed and a range judged", ranged).await
}
