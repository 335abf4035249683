//! Much of everything: writes in a batch, tables and indexes, the longest names and values, and what is too much.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::build::{
    Building, all_changes, batch, hits_of, index, index_in, is_refused, key, key_in, next, row,
    rows_of, succeeds, table, table_in,
};
use super::random::Choices;
use super::{Factory, LogLength, Verdict, ensure, ensure_same};
use crate::contract::{
    BATCH_WRITES_MAX, Extract, INDEX_NAME_BYTES_MAX, Index, IndexRange, NAME_BYTES_MAX, Position,
    ROW_BYTES_MAX, Row, RowId, VALUE_BYTES_MAX, Value,
};

pub(super) async fn a_batch_of_thousands_of_writes_is_one_commit(
    factory: Arc<dyn Factory>,
) -> Verdict {
    const WRITES: u64 = 5_000;
    let store = factory.fresh(LogLength::Long).await;
    let name = |n| format!("r{n:05}");
    let full = |n: u64, version| {
        let extract = Extract::builder().entry("by", Value::number(n)).build();
        Row { id: RowId(u128::from(n) + 1), extract, ..row(version) }
    };
    let create =
        (0..WRITES).fold(batch(), |all, n| all.absent(&name(n)).put_row(&name(n), full(n, 1)));
    let created = store.commit(create.clone()).await?;
    let (changes, end) = all_changes(&*store, Position::default(), 100).await?;
    ensure_same("changes, their end", (changes.len() as u64, end), (WRITES, created))?;
    let is_one = changes.iter().all(|change| change.position == created);
    ensure(is_one, || "the changes of one batch have several positions".to_owned())?;
    ensure_same("creating again", succeeds(&*store, create).await?, false)?;
    let update = (0..WRITES).filter(|n| n % 3 != 0).fold(batch(), |all, n| {
        let all = all.at(&name(n), 1);
        if n % 3 == 1 { all.put_row(&name(n), full(n, 2)) } else { all.remove(&name(n)) }
    });
    ensure_same("position of an update", store.commit(update).await?, next(created))?;
    let left: Vec<_> = (0..WRITES).filter(|n| n % 3 != 2).collect();
    let version = |n: u64| if n % 3 == 1 { 2 } else { 1 };
    let expected: Vec<_> =
        left.iter().map(|n| (Arc::from(name(*n)), full(*n, version(*n)))).collect();
    let rows = rows_of(&*store, &table("Device")).await?;
    ensure(rows == expected, || format!("{} rows are left, or others", rows.len()))?;
    let hits = hits_of(&*store, index("by")).await?;
    let values: Vec<_> = hits.iter().filter_map(|hit| hit.value.as_number()).collect();
    ensure_same("entries", values, left)
}

pub(super) async fn many_namespaces_kinds_and_indexes_stay_apart(
    factory: Arc<dyn Factory>,
) -> Verdict {
    const EACH: usize = 12;
    let store = factory.fresh(LogLength::Long).await;
    let names = |what: &str| -> Vec<String> { (0..EACH).map(|n| format!("{what}{n}")).collect() };
    let mut all = batch();
    let mut version = 0;
    for namespace in names("v") {
        for kind in names("K") {
            version += 1;
            // Each kind has an index of its own, and one that all share.
            let extract = Extract::builder().entry("all", Value::text(&kind));
            let extract = extract.entry(&format!("of {kind}"), Value::number(version)).build();
            let key = key_in(&namespace, &kind, "a");
            all = all.put_at(key, Row { id: RowId(1), extract, ..row(version) });
        }
    }
    store.commit(all).await?;
    let mut snapshot = store.snapshot().await?;
    ensure_same("tables", snapshot.tables().await?.len(), EACH * EACH)?;
    version = 0;
    for namespace in names("v") {
        let kinds: BTreeSet<_> = names("K").into_iter().collect();
        let hits = snapshot
            .scan_index(&IndexRange::all(index_in(&namespace, "all")), None, 1000, false)
            .await?;
        let found: BTreeSet<_> = hits.iter().map(|hit| hit.key.table.kind.to_string()).collect();
        ensure_same("kinds in a shared index", (hits.len(), found), (EACH, kinds))?;
        for kind in names("K") {
            version += 1;
            let own = IndexRange::all(index_in(&namespace, &format!("of {kind}")));
            let hits = snapshot.scan_index(&own, None, 1000, false).await?;
            let found: Vec<_> = hits.iter().map(|hit| (&hit.key, hit.row.version)).collect();
            let expected = key_in(&namespace, &kind, "a");
            ensure_same("an index of one kind", found, vec![(&expected, version)])?;
            let by_id = snapshot.batch_get_by_id(&expected.table, &[RowId(1)]).await?;
            let found = by_id[0].as_ref().map(|(_, row)| row.version);
            ensure_same("the row with the id in one table", found, Some(version))?;
        }
    }
    Ok(())
}

/// Text that does not compress, so that its length is its length everywhere.
fn noise(choices: &mut Choices, bytes: usize) -> String {
    const LETTERS: &[char] = &['\0', '\u{1}', '"', '%', '\\', 'a', 'B', 'z', '~', '\u{7f}'];
    let letters = (0x20..0x7f).filter_map(char::from_u32).collect::<Vec<_>>();
    (0..bytes)
        .map(|_| if choices.one_in(9) { *choices.of(LETTERS) } else { *choices.of(&letters) })
        .collect()
}

fn noisy_value(choices: &mut Choices) -> Value {
    (0..VALUE_BYTES_MAX).map(|_| choices.below(256) as u8).collect::<Vec<_>>().into()
}

pub(super) async fn the_longest_names_and_values_are_kept(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let mut choices = Choices::new(7);
    let label = |choices: &mut Choices| noise(choices, INDEX_NAME_BYTES_MAX);
    let (namespace, kind) = (label(&mut choices), label(&mut choices));
    let by = Index { namespace: namespace.as_str().into(), name: label(&mut choices).into() };
    let mut rows = Vec::new();
    for version in 1..6 {
        let name = noise(&mut choices, NAME_BYTES_MAX);
        let values = [noisy_value(&mut choices), noisy_value(&mut choices)];
        let extract = values.iter().fold(Extract::builder(), |extract, value| {
            extract.entry(&by.name, value.clone()).field(&by.name, value.clone())
        });
        let row = Row { id: RowId(u128::from(version)), extract: extract.build(), ..row(version) };
        let put = batch().put_at(key_in(&namespace, &kind, &name), row.clone());
        store.commit(put).await?;
        rows.push((Arc::<str>::from(name), row));
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let table = table_in(&namespace, &kind);
    ensure_same("rows", rows_of(&*store, &table).await?, rows.clone())?;
    let mut snapshot = store.snapshot().await?;
    let mut expected: Vec<_> = rows
        .iter()
        .flat_map(|(name, row)| row.extract.entries().map(|entry| (entry.value, name.clone())))
        .collect();
    expected.sort();
    // One at a time, so that the longest cursors are used as well.
    let (mut after, mut found) = (None, Vec::new());
    while let Some(hit) =
        snapshot.scan_index(&IndexRange::all(by.clone()), after.as_ref(), 1, false).await?.pop()
    {
        found.push((hit.value.clone(), hit.key.name.clone()));
        let (kind, name) = (hit.key.table.kind, hit.key.name);
        after = Some(crate::IndexCursor { value: hit.value, kind, name });
    }
    ensure_same("entries", found, expected)?;
    let logged = all_changes(&*store, Position::default(), 2).await?.0;
    ensure_same("changes", logged.len(), rows.len())?;
    let is_same = logged.iter().all(|change| rows.iter().any(|(name, _)| *name == change.key.name));
    ensure(is_same, || "the log has other names".to_owned())
}

pub(super) async fn what_exceeds_a_limit_is_refused(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let long = "x".repeat(INDEX_NAME_BYTES_MAX + 1);
    let put = |namespace: &str, kind: &str| batch().put_at(key_in(namespace, kind, "a"), row(1));
    is_refused(&*store, "a long namespace", put(&long, "K")).await?;
    is_refused(&*store, "a long kind", put("v1", &long)).await?;
    is_refused(&*store, "a swap with a long namespace", batch().swap("v1", &long)).await?;
    is_refused(&*store, "a drop of a long namespace", batch().drop_all(&long)).await?;
    let many = (0..=BATCH_WRITES_MAX).fold(batch(), |all, n| all.remove(&n.to_string()));
    is_refused(&*store, "too many writes", many).await?;
    let body = vec![0; ROW_BYTES_MAX / 2];
    let aside = vec![0; ROW_BYTES_MAX / 2 + 1].into();
    let huge = Row { aside, ..Row::new(1, body) };
    is_refused(&*store, "a row that is too large", batch().put_row("a", huge)).await?;
    // A range has no limit: it is never stored.
    let far = "y".repeat(3 * NAME_BYTES_MAX);
    store.commit(batch().none_in(&far, None).none_in("y", Some(&far)).put("x", 1)).await?;
    let far = Value::from(vec![0xff; 5 * VALUE_BYTES_MAX]);
    let range = IndexRange { index: index("by"), from: far.clone(), to: None };
    let until = IndexRange { index: index("by"), from: Value::default(), to: Some(far) };
    store.commit(batch().none_indexed(range).none_indexed(until).put("x", 2)).await?;
    ensure_same("the row put meanwhile", store.get(&key("x")).await?.0, Some(row(2)))?;
    ensure_same("tables", store.snapshot().await?.tables().await?, vec![table("Device")])
}
