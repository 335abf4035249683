//! Index scans against a model: every range, direction, cursor and limit; entries that live exactly as long as their row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::build::{
    Building, batch, found, hits_of, index, indexed, key, key_in, pairs, row, rows_of, table,
};
use super::random::Choices;
use super::{Factory, LogLength, Verdict, ensure, ensure_same};
use crate::contract::{Batch, Extract, Hit, IndexCursor, IndexRange, Key, Row, Snapshot, Value};

/// What a namespace should hold.
type Model = BTreeMap<Key, Row>;

const ROUNDS: u64 = 50;
const SCANS_PER_ROUND: usize = 10;
const INDEXES: &[&str] = &["by", "b", "by\0"];

/// Few bytes and lengths, so that values are prefixes of each other, and equal for several rows.
fn value(choices: &mut Choices) -> Value {
    let length = choices.below(4);
    (0..length).map(|_| *choices.of(&[0x00, 0x01, b'a', 0xff])).collect::<Vec<_>>().into()
}

fn index_name(choices: &mut Choices) -> &'static str {
    INDEXES[choices.below(INDEXES.len())]
}

fn random_key(choices: &mut Choices) -> Key {
    let kind = *choices.of(&["Device", "Model", "~kind"]);
    let name = *choices.of(&["", "a", "a\0", "b", "\u{10ffff}", "é"]);
    key_in("v1", kind, name)
}

fn random_row(choices: &mut Choices, version: u64) -> Row {
    let mut extract = Extract::builder().field("by", value(choices));
    for _ in 0..choices.below(5) {
        extract = extract.entry(index_name(choices), value(choices));
    }
    Row { extract: extract.build(), ..row(version) }
}

/// Some writes to different keys, done to the model as well.
fn step(choices: &mut Choices, model: &mut Model, version: u64) -> Batch {
    let mut keys: Vec<_> = (0..=choices.below(5)).map(|_| random_key(choices)).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().fold(batch(), |batch, key| {
        if choices.one_in(4) {
            model.remove(&key);
            return batch.remove_at(key);
        }
        let row = random_row(choices, version);
        model.insert(key.clone(), row.clone());
        batch.put_at(key, row)
    })
}

fn random_range(choices: &mut Choices) -> IndexRange {
    let index = index(index_name(choices));
    let (from, to) = (value(choices), value(choices));
    match choices.below(6) {
        0 => IndexRange::all(index),
        1 => IndexRange { index, from, to: None },
        2 => IndexRange::prefix(index, from),
        3 => IndexRange::exactly(index, from),
        // Sometimes from the wrong end, which is an empty range.
        _ => IndexRange { index, from, to: Some(to) },
    }
}

/// Sometimes a place where there is an entry, sometimes one where there need not be any.
fn random_cursor(choices: &mut Choices) -> Option<IndexCursor> {
    let Key { table, name } = random_key(choices);
    let cursor = IndexCursor { value: value(choices), kind: table.kind, name };
    (!choices.one_in(3)).then_some(cursor)
}

fn expected(
    model: &Model,
    range: &IndexRange,
    after: Option<&IndexCursor>,
    limit: usize,
    descending: bool,
) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (key, row) in model {
        let of_index = row.extract.entries().filter(|entry| entry.index == &*range.index.name);
        let in_range = of_index.map(|entry| entry.value).filter(|value| range.contains(value));
        hits.extend(in_range.map(|value| Hit { value, key: key.clone(), row: row.clone() }));
    }
    hits.sort_by_key(IndexCursor::at);
    if descending {
        hits.reverse();
    }
    hits.retain(|hit| match after {
        Some(after) if descending => IndexCursor::at(hit) < *after,
        Some(after) => IndexCursor::at(hit) > *after,
        None => true,
    });
    hits.truncate(limit);
    hits
}

async fn compare(snapshot: &mut dyn Snapshot, model: &Model, choices: &mut Choices) -> Verdict {
    for _ in 0..SCANS_PER_ROUND {
        let (range, after) = (random_range(choices), random_cursor(choices));
        let (limit, descending) = (*choices.of(&[0, 1, 2, 5, 1000]), choices.one_in(2));
        let found = snapshot.scan_index(&range, after.as_ref(), limit, descending).await?;
        let what =
            format!("scan of {range:?} after {after:?}, limit {limit}, descending {descending}");
        ensure_same(&what, found, expected(model, &range, after.as_ref(), limit, descending))?;
        compare_keys(snapshot, model, &range, limit).await?;
    }
    Ok(())
}

async fn compare_keys(
    snapshot: &mut dyn Snapshot,
    model: &Model,
    range: &IndexRange,
    limit: usize,
) -> Verdict {
    let all = expected(model, range, None, usize::MAX, false);
    let all: BTreeSet<_> = all.into_iter().map(|hit| hit.key).collect();
    let found = snapshot.index_keys(range, limit).await?;
    let what = format!("{limit} keys of {range:?}");
    ensure_same(&format!("number of {what}"), found.len(), limit.min(all.len()))?;
    let found: BTreeSet<_> = found.into_iter().collect();
    ensure_same(&format!("different ones of {what}"), found.len(), limit.min(all.len()))?;
    ensure(found.is_subset(&all), || format!("{what}: not all of {found:?} are in {all:?}"))
}

pub(super) async fn index_scans_agree_with_a_model(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let (mut choices, mut model) = (Choices::new(11), Model::new());
    for version in 1..ROUNDS {
        store.commit(step(&mut choices, &mut model, version)).await?;
        let mut snapshot = store.snapshot().await?;
        compare(&mut *snapshot, &model, &mut choices).await?;
    }
    Ok(())
}

pub(super) async fn a_snapshot_keeps_its_index_entries(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let (mut choices, mut model) = (Choices::new(12), Model::new());
    let mut held = Vec::new();
    for version in 1..ROUNDS {
        store.commit(step(&mut choices, &mut model, version)).await?;
        if version % 12 == 1 {
            held.push((store.snapshot().await?, model.clone()));
        }
        for (snapshot, model) in &mut held {
            compare(&mut **snapshot, model, &mut choices).await?;
        }
        if choices.one_in(16) && !held.is_empty() {
            held.remove(0);
        }
    }
    Ok(())
}

/// Reads a range in pages and gives all hits.
async fn in_pages(
    snapshot: &mut dyn Snapshot,
    range: &IndexRange,
    limit: usize,
    descending: bool,
) -> Result<Vec<Hit>, super::Failure> {
    let (mut all, mut after) = (Vec::<Hit>::new(), None);
    loop {
        let page = snapshot.scan_index(range, after.as_ref(), limit, descending).await?;
        let is_end = page.len() < limit;
        after = page.last().map(IndexCursor::at).or(after);
        all.extend(page);
        if is_end {
            return Ok(all);
        }
        ensure(all.len() < 10_000, || "pages of an index never end".to_owned())?;
    }
}

pub(super) async fn index_pages_join_without_gap_or_repeat(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let (mut choices, mut model) = (Choices::new(13), Model::new());
    for version in 1..12 {
        store.commit(step(&mut choices, &mut model, version)).await?;
    }
    // Many rows with one value, and one row with many: cursors have to tell both apart.
    let same = (0..9).fold(batch(), |all, n| {
        let row = indexed(50, &[("by", "same"), ("by", ["s", "t", "u"][n % 3])]);
        let (name, kind) = (format!("s{n}"), ["Device", "Model"][n % 2]);
        model.insert(key_in("v1", kind, &name), row.clone());
        all.put_at(key_in("v1", kind, &name), row)
    });
    store.commit(same).await?;
    let mut snapshot = store.snapshot().await?;
    for by in INDEXES {
        for range in [
            IndexRange::all(index(by)),
            IndexRange::exactly(index(by), Value::text("same")),
            IndexRange::prefix(index(by), Value::text("s")),
        ] {
            for descending in [false, true] {
                let all = expected(&model, &range, None, usize::MAX, descending);
                for limit in [1, 2, 3, 7] {
                    let found = in_pages(&mut *snapshot, &range, limit, descending).await?;
                    let what = format!("{range:?}, pages of {limit}, descending {descending}");
                    ensure_same(&what, found, all.clone())?;
                }
            }
        }
    }
    Ok(())
}

pub(super) async fn an_index_entry_never_outlives_its_row(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let left = async |what: &str, expected: &[(&str, &str)]| {
        let hits = hits_of(&*store, index("by")).await?;
        ensure_same(what, found(&hits), pairs(expected))?;
        for hit in hits {
            let row = store.get(&hit.key).await?.0;
            ensure_same("the row of an entry", Some(hit.row), row)?;
        }
        Ok::<_, super::Failure>(())
    };
    store.commit(batch().put_row("a", indexed(1, &[("by", "1"), ("by", "2")]))).await?;
    left("a new row", &[("1", "a"), ("2", "a")]).await?;
    store.commit(batch().put_row("a", indexed(2, &[("by", "2"), ("by", "3")]))).await?;
    left("an update that moves an entry", &[("2", "a"), ("3", "a")]).await?;
    store.commit(batch().put_row("a", indexed(3, &[("by", "2"), ("by", "3")]))).await?;
    left("an update that keeps all entries", &[("2", "a"), ("3", "a")]).await?;
    store.commit(batch().put("a", 4)).await?;
    left("an update that takes all entries away", &[]).await?;
    store.commit(batch().put_row("a", indexed(5, &[("by", "5")]))).await?;
    store.commit(batch().remove("a")).await?;
    left("the row removed", &[]).await?;
    store.commit(batch().put("a", 6)).await?;
    left("the row made anew without entries", &[]).await?;
    // Both in one group, if there are groups: the second must see what the first has left.
    let (first, second) = futures::join!(
        store.commit(batch().put_row("b", indexed(1, &[("by", "x")]))),
        store.commit(batch().put_row("b", indexed(2, &[("by", "y")]))),
    );
    first?;
    second?;
    let (row, _) = store.get(&key("b")).await?;
    let is_second = row.is_some_and(|row| row.version == 2);
    let last = if is_second { ("y", "b") } else { ("x", "b") };
    left("one row written twice at once", &[last]).await?;
    store.commit(batch().remove("b")).await?;
    left("that row removed", &[]).await?;
    ensure_same("rows", rows_of(&*store, &table("Device")).await?.len(), 1)
}
