//! Namespaces that are swapped and dropped as a whole: rows, entries and ids move together, at once, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_base::seams::BoxFuture;

use super::build::{
    Building, all_changes, batch, hits_of, index_in, indexed, is_refused, key_in, next, row,
    rows_of, succeeds, table_in,
};
use super::stage::Stage;
use super::{Factory, Failure, LogLength, Verdict, ensure, ensure_same, together};
use crate::contract::{
    Backend, Batch, IndexRange, NameRange, Position, Row, RowId, Snapshot, Version,
};

/// Everything that a namespace holds, as `kind/name/version` from a source each: scan, index, ids, keys.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rows: Vec<String>,
    entries: Vec<String>,
    by_id: Vec<String>,
    by_key: Vec<String>,
    tables: Vec<String>,
}

impl Seen {
    /// What a namespace holds to which nothing was put but these, all by [`put`].
    fn exactly(rows: &[(&str, &str, Version)]) -> Self {
        let mut all: Vec<_> =
            rows.iter().map(|(kind, name, version)| format!("{kind}/{name}/{version}")).collect();
        all.sort();
        let mut tables: Vec<_> = rows.iter().map(|(kind, ..)| (*kind).to_owned()).collect();
        tables.sort();
        tables.dedup();
        let copy = || all.clone();
        Self { rows: copy(), entries: copy(), by_id: copy(), by_key: copy(), tables }
    }
}

const KINDS: [&str; 3] = ["Device", "Model", "~kind"];
const NAMES: [&str; 3] = ["a", "b", "c"];

fn id_of(name: &str) -> RowId {
    RowId(name.bytes().map(u128::from).sum())
}

/// A row whose entry and id tell which one it is.
fn full(name: &str, version: Version) -> Row {
    Row { id: id_of(name), ..indexed(version, &[("by", name)]) }
}

fn put(batch: Batch, namespace: &str, kind: &str, name: &str, version: Version) -> Batch {
    batch.put_at(key_in(namespace, kind, name), full(name, version))
}

async fn seen(snapshot: &mut dyn Snapshot, namespace: &str) -> Result<Seen, Failure> {
    let (mut rows, mut by_id, mut by_key) = (Vec::new(), Vec::new(), Vec::new());
    for kind in KINDS {
        let table = table_in(namespace, kind);
        let told = |name: &str, row: &Row| format!("{kind}/{name}/{}", row.version);
        let found = snapshot.scan(&NameRange::all(table.clone()), 1000, false).await?;
        rows.extend(found.iter().map(|(name, row)| told(name, row)));
        let found = snapshot.batch_get_by_id(&table, &NAMES.map(id_of)).await?;
        by_id.extend(found.iter().flatten().map(|(name, row)| told(name, row)));
        let found = snapshot.batch_get(&NAMES.map(|name| key_in(namespace, kind, name))).await?;
        let found = NAMES.iter().zip(&found);
        by_key.extend(found.filter_map(|(name, row)| Some(told(name, row.as_ref()?))));
    }
    let all = IndexRange::all(index_in(namespace, "by"));
    let hits = snapshot.scan_index(&all, None, 1000, false).await?;
    let told = hits.iter().map(|hit| {
        let (table, name) = (&hit.key.table, &hit.key.name);
        let is_here = &*table.namespace == namespace;
        let place = if is_here { "" } else { "in another namespace: " };
        format!("{place}{}/{name}/{}", table.kind, hit.row.version)
    });
    let mut entries: Vec<_> = told.collect();
    entries.sort();
    let tables = snapshot.tables().await?;
    let tables = tables.into_iter().filter(|table| &*table.namespace == namespace);
    let tables = tables.map(|table| table.kind.to_string()).collect();
    Ok(Seen { rows, entries, by_id, by_key, tables })
}

async fn holds(
    store: &dyn Backend,
    what: &str,
    namespace: &str,
    expected: &[(&str, &str, Version)],
) -> Verdict {
    let found = seen(&mut *store.snapshot().await?, namespace).await?;
    ensure_same(&format!("{what}: {namespace}"), found, Seen::exactly(expected))?;
    for kind in KINDS {
        for name in NAMES {
            let expected = expected.iter().find(|(k, n, _)| (*k, *n) == (kind, name));
            let key = key_in(namespace, kind, name);
            let found = store.get(&key).await?.0.map(|row| row.version);
            ensure_same(&format!("{what}: get {key:?}"), found, expected.map(|(.., v)| *v))?;
            if let Some(cached) = store.cached(&key.table, name) {
                ensure_same(&format!("{what}: cached {key:?}"), Some(cached.version), found)?;
            }
        }
    }
    Ok(())
}

const FIRST: &[(&str, &str, Version)] =
    &[("Device", "a", 1), ("Device", "b", 2), ("Model", "a", 3)];
const SECOND: &[(&str, &str, Version)] =
    &[("Device", "b", 4), ("Device", "c", 5), ("~kind", "a", 6)];

/// A store with `FIRST` in v1 and `SECOND` in v2, each put on its own; all of it was read before.
async fn two_namespaces(factory: &Arc<dyn Factory>) -> Result<Arc<dyn Backend>, Failure> {
    let store = factory.fresh(LogLength::Long).await;
    for (namespace, rows) in [("v1", FIRST), ("v2", SECOND)] {
        for (kind, name, version) in rows {
            store.commit(put(batch(), namespace, kind, name, *version)).await?;
        }
        holds(&*store, "at first", namespace, rows).await?;
    }
    Ok(store)
}

pub(super) async fn a_swap_exchanges_rows_entries_and_ids(factory: Arc<dyn Factory>) -> Verdict {
    let store = two_namespaces(&factory).await?;
    let before = *store.head().borrow();
    let swapped = store.commit(batch().swap("v1", "v2")).await?;
    ensure_same("the position of a swap", swapped, next(before))?;
    holds(&*store, "swapped", "v1", SECOND).await?;
    holds(&*store, "swapped", "v2", FIRST).await?;
    // Rows go to where their namespace is now, conditions look there, and ids are taken there.
    let key = key_in("v1", "Device", "b");
    let update = batch().when(crate::Condition::RowAt { key, version: 4 });
    store.commit(put(update, "v1", "Device", "b", 7)).await?;
    let twin = batch().put_at(key_in("v2", "Device", "new"), full("a", 8));
    let twin = store.commit(twin).await;
    let is_taken = matches!(twin, Err(crate::CommitError::IdTaken { .. }));
    ensure(is_taken, || format!("an id that came with a swap: found {twin:?}"))?;
    store.commit(batch().remove_at(key_in("v2", "Model", "a"))).await?;
    holds(&*store, "written", "v2", &FIRST[..2]).await?;
    store.commit(batch().swap("v2", "v1")).await?;
    holds(&*store, "swapped back", "v1", &FIRST[..2]).await?;
    let second = [("Device", "b", 7), SECOND[1], SECOND[2]];
    holds(&*store, "swapped back", "v2", &second).await
}

pub(super) async fn a_swap_happens_with_its_batch_or_not_at_all(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = two_namespaces(&factory).await?;
    let state = || key_in("~", "~state", "s");
    store.commit(batch().put_at(state(), row(1))).await?;
    let switch = |version| {
        let batch = batch().when(crate::Condition::RowAt { key: state(), version });
        batch.swap("v1", "v2").put_at(state(), row(version + 1)).drop_all("v3")
    };
    store.commit(put(batch(), "v3", "Device", "a", 9)).await?;
    ensure_same("a switch that is too late", succeeds(&*store, switch(0)).await?, false)?;
    holds(&*store, "not swapped", "v1", FIRST).await?;
    holds(&*store, "not dropped", "v3", &[("Device", "a", 9)]).await?;
    ensure_same("a switch", succeeds(&*store, switch(1)).await?, true)?;
    holds(&*store, "swapped", "v1", SECOND).await?;
    holds(&*store, "dropped", "v3", &[]).await?;
    ensure_same("the row of that batch", store.get(&state()).await?.0, Some(row(2)))?;
    // Conditions on rows of a namespace that the batch moves are judged on what was there before.
    let was = |version| {
        let key = key_in("v1", "Device", "b");
        batch().when(crate::Condition::RowAt { key, version }).swap("v2", "v1")
    };
    ensure_same("a condition on what comes", succeeds(&*store, was(2)).await?, false)?;
    ensure_same("a condition on what was", succeeds(&*store, was(4)).await?, true)?;
    // In one group with others, if there are groups, in the order in which they are submitted or another.
    let (swap, update) = futures::join!(
        store.commit(batch().swap("v1", "v2")),
        store.commit(put(batch(), "v1", "Model", "c", 8)),
    );
    swap?;
    update?;
    let found = seen(&mut *store.snapshot().await?, "v1").await?;
    let (came, stayed) =
        ([FIRST, &[("Model", "c", 8)]].concat(), [SECOND, &[("Model", "c", 8)]].concat());
    let is_one = [Seen::exactly(&stayed), Seen::exactly(SECOND)].contains(&found);
    ensure(is_one, || format!("a swap beside a put: v1 holds {found:?}"))?;
    let found_other = seen(&mut *store.snapshot().await?, "v2").await?;
    let has_it_gone = found == Seen::exactly(SECOND);
    let expected = Seen::exactly(if has_it_gone { &came } else { FIRST });
    ensure_same("the other side", found_other, expected)
}

pub(super) async fn a_namespace_can_be_swapped_with_nothing(factory: Arc<dyn Factory>) -> Verdict {
    let store = two_namespaces(&factory).await?;
    store.commit(batch().swap("v1", "new")).await?;
    holds(&*store, "swapped with nothing", "v1", &[]).await?;
    holds(&*store, "swapped with nothing", "new", FIRST).await?;
    // A copy is made in an internal namespace; what it is swapped with decides whether its changes are told.
    let before = store.commit(batch().swap("~copy", "new")).await?;
    holds(&*store, "swapped with an internal one", "~copy", FIRST).await?;
    store.commit(put(batch(), "~copy", "Device", "a", 11)).await?;
    store.commit(batch().swap("~copy", "new")).await?;
    store.commit(put(batch(), "new", "Device", "a", 1)).await?;
    holds(&*store, "swapped back", "new", FIRST).await?;
    let told = all_changes(&*store, before, 10).await?.0;
    let told: Vec<_> = told.into_iter().map(|c| c.before.map(|row| row.version)).collect();
    ensure_same("changes told of an internal namespace", told, vec![Some(11)])?;
    store.commit(batch().swap("nothing", "none")).await?;
    holds(&*store, "nothing with nothing", "none", &[]).await?;
    store.commit(put(batch(), "v1", "Device", "a", 10)).await?;
    holds(&*store, "used again", "v1", &[("Device", "a", 10)]).await?;
    store.commit(batch().swap("nothing", "v1").swap("new", "v2")).await?;
    holds(&*store, "two swaps in a batch", "nothing", &[("Device", "a", 10)]).await?;
    holds(&*store, "two swaps in a batch", "v1", &[]).await?;
    holds(&*store, "two swaps in a batch", "v2", FIRST).await?;
    holds(&*store, "two swaps in a batch", "new", SECOND).await
}

/// Writes a namespace again while others read it, and compares with what was written.
async fn write_again(store: &dyn Backend, round: u64) -> Verdict {
    let mut expected = BTreeMap::new();
    for n in 0..30 {
        let name = format!("r{}", (n * 7) % 100);
        let row =
            Row { id: RowId(u128::from(n) + 1), ..indexed(round * 100 + n, &[("by", &name)]) };
        store.commit(batch().put_at(key_in("v1", "Device", &name), row.clone())).await?;
        expected.insert(Arc::<str>::from(name), row);
        if n % 10 == 0 {
            let rows: BTreeMap<_, _> =
                rows_of(store, &table_in("v1", "Device")).await?.into_iter().collect();
            ensure_same("rows while others are freed", &rows, &expected)?;
            let hits = hits_of(store, index_in("v1", "by")).await?;
            ensure_same("entries while others are freed", hits.len(), expected.len())?;
        }
    }
    Ok(())
}

pub(super) async fn a_dropped_namespace_is_empty_at_once_and_can_be_used_again(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = two_namespaces(&factory).await?;
    let before = *store.head().borrow();
    let dropped = store.commit(batch().drop_all("v1")).await?;
    ensure_same("the position of a drop", dropped, next(before))?;
    holds(&*store, "dropped", "v1", &[]).await?;
    holds(&*store, "beside what was dropped", "v2", SECOND).await?;
    for round in 1..4 {
        // Enough that they are not freed in one go, under the names and ids that come again.
        let many = (0..1500_u64).fold(batch(), |all, n| {
            let name = format!("r{n}");
            let row = Row { id: RowId(u128::from(n) + 1), ..indexed(round, &[("by", &name)]) };
            all.put_at(key_in("v1", "Device", &name), row)
        });
        store.commit(many).await?;
        ensure_same("rows", rows_of(&*store, &table_in("v1", "Device")).await?.len(), 1500)?;
        store.commit(batch().drop_all("v1")).await?;
        holds(&*store, "dropped", "v1", &[]).await?;
        let empty = batch().when(crate::Condition::NoRowInRange {
            range: crate::Range::Names(NameRange::all(table_in("v1", "Device"))),
        });
        ensure_same("a range in it", succeeds(&*store, empty).await?, true)?;
        write_again(&*store, round).await?;
        store.commit(batch().drop_all("v1").drop_all("never was")).await?;
    }
    holds(&*store, "beside what was dropped", "v2", SECOND).await
}

pub(super) async fn snapshots_from_before_a_move_see_what_was(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = two_namespaces(&factory).await?;
    let mut held = store.snapshot().await?;
    store.commit(batch().swap("v1", "v2")).await?;
    let mut held_swapped = store.snapshot().await?;
    store.commit(batch().drop_all("v1")).await?;
    let mut held_dropped = store.snapshot().await?;
    for version in 20..30 {
        store.commit(put(batch(), "v1", "Device", "a", version)).await?;
        store.commit(put(batch(), "v2", "Model", "b", version)).await?;
    }
    let was = [
        (&mut held, FIRST, SECOND),
        (&mut held_swapped, SECOND, FIRST),
        (&mut held_dropped, &[][..], FIRST),
    ];
    for (n, (snapshot, v1, v2)) in was.into_iter().enumerate() {
        for (namespace, expected) in [("v1", v1), ("v2", v2)] {
            let found = seen(&mut **snapshot, namespace).await?;
            let what = format!("snapshot {n} of {namespace}");
            ensure_same(&what, found, Seen::exactly(expected))?;
        }
    }
    let now = [FIRST, &[("Model", "b", 29)]].concat();
    holds(&*store, "afterwards", "v1", &[("Device", "a", 29)]).await?;
    holds(&*store, "afterwards", "v2", &now).await
}

async fn swap_again_and_again(store: Arc<dyn Backend>, stage: Arc<Stage>) -> Verdict {
    let mut rounds = stage.rounds(30);
    while rounds.next().await.is_some() {
        store.commit(batch().swap("v1", "v2")).await?;
        store.commit(batch().swap("v2", "v1")).await?;
    }
    Ok(())
}

/// Looks at both namespaces in one view: one holds the first rows, the other the second ones.
async fn look_at_both(store: Arc<dyn Backend>, stage: Arc<Stage>) -> Verdict {
    let mut looks = stage.looks();
    while looks.again().await {
        let mut snapshot = store.snapshot().await?;
        let v1 = seen(&mut *snapshot, "v1").await?;
        stage.moved_on(&*store, snapshot.position()).await;
        let v2 = seen(&mut *snapshot, "v2").await?;
        drop(snapshot);
        let both = [Seen::exactly(FIRST), Seen::exactly(SECOND)];
        let is_whole = (v1 == both[0] && v2 == both[1]) || (v1 == both[1] && v2 == both[0]);
        ensure(is_whole, || format!("half a swap: v1 holds {v1:?}, v2 holds {v2:?}"))?;
        let found = store.get(&key_in("v1", "Device", "b")).await?.0.map(|row| row.version);
        ensure(matches!(found, Some(2 | 4)), || format!("get beside a swap: found {found:?}"))?;
    }
    Ok(())
}

pub(super) async fn readers_see_a_swap_wholly_or_not(factory: Arc<dyn Factory>) -> Verdict {
    let store = two_namespaces(&factory).await?;
    let stage = Stage::new();
    let parts: [BoxFuture<Verdict>; 3] = [
        Box::pin(swap_again_and_again(store.clone(), stage.clone())),
        Box::pin(look_at_both(store.clone(), stage.clone())),
        Box::pin(look_at_both(store.clone(), stage)),
    ];
    together(&factory.seams(), parts).await?.into_iter().collect::<Verdict>()?;
    holds(&*store, "swapped an even number of times", "v1", FIRST).await
}

pub(super) async fn the_log_keeps_the_names_from_before_a_swap(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let puts = [("v1", "a", 1), ("v2", "b", 2), ("v1", "c", 3), ("v3", "d", 4), ("v1", "e", 5)];
    for (n, (namespace, name, version)) in puts.into_iter().enumerate() {
        store.commit(batch().put_at(key_in(namespace, "Device", name), row(version))).await?;
        match n {
            1 => drop(store.commit(batch().swap("v1", "v2")).await?),
            4 => drop(store.commit(batch().swap("v3", "v1")).await?),
            3 => drop(store.commit(batch().drop_all("v3")).await?),
            _ => {}
        }
    }
    // This removes what a swap has brought here.
    store.commit(batch().remove_at(key_in("v3", "Device", "e"))).await?;
    let (changes, end) = all_changes(&*store, Position::default(), 2).await?;
    let told = changes.iter().map(|change| {
        let version = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.version);
        let (table, name) = (&change.key.table, &change.key.name);
        format!("{} {name} {}>{}", table.namespace, version(&change.before), version(&change.after))
    });
    let expected =
        ["v1 a 0>1", "v2 b 0>2", "v1 c 0>3", "v3 d 0>4", "v1 e 0>5", "v3 e 5>0"].map(String::from);
    ensure_same("the log", told.collect::<Vec<_>>(), expected.to_vec())?;
    ensure_same("its end", end, *store.head().borrow())?;
    // A removal counts for the name under which it happened.
    let since = |namespace| crate::Condition::NotRemovedSince {
        key: key_in(namespace, "Device", "e"),
        since: Position { sequence: end.sequence - 1, ..end },
    };
    for (namespace, expected) in [("v3", false), ("v1", true)] {
        let held = succeeds(&*store, batch().when(since(namespace))).await?;
        ensure_same(&format!("not removed from {namespace}"), held, expected)?;
    }
    Ok(())
}

pub(super) async fn a_namespace_is_not_moved_and_written_at_once(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = two_namespaces(&factory).await?;
    let before = *store.head().borrow();
    let names = |namespace: &str| crate::Condition::NoRowInRange {
        range: crate::Range::Names(NameRange::prefix(table_in(namespace, "Device"), "z")),
    };
    let entries = |namespace: &str| crate::Condition::NoRowInRange {
        range: crate::Range::Index(IndexRange::prefix(
            index_in(namespace, "by"),
            crate::Value::text("z"),
        )),
    };
    let reindex = batch().reindex("a", 1, crate::Extract::default());
    let refused = [
        ("swapped with itself", batch().swap("v1", "v1")),
        ("swapped twice", batch().swap("v1", "v2").swap("v2", "v3")),
        ("swapped and dropped", batch().swap("v1", "v2").drop_all("v2")),
        ("dropped twice", batch().drop_all("v1").drop_all("v1")),
        ("swapped and put to", put(batch().swap("v1", "v2"), "v2", "Device", "x", 9)),
        ("swapped and removed from", batch().remove("a").swap("v3", "v1")),
        ("dropped and put to", put(batch(), "v1", "Device", "x", 9).drop_all("v1")),
        ("dropped and reindexed", reindex.drop_all("v1")),
        ("swapped and judged by name", batch().when(names("v2")).swap("v1", "v2")),
        ("dropped and judged by index", batch().when(entries("v1")).drop_all("v1")),
    ];
    for (what, batch) in refused {
        is_refused(&*store, what, batch).await?;
    }
    ensure_same("head", *store.head().borrow(), before)?;
    holds(&*store, "untouched", "v1", FIRST).await?;
    let apart = put(batch().when(names("v3")), "v3", "Device", "x", 9).swap("v1", "v2");
    store.commit(apart).await?;
    holds(&*store, "swapped beside a put elsewhere", "v1", SECOND).await
}

pub(super) async fn tables_are_those_that_have_rows(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let are = async |what: &str, expected: &[(&str, &str)]| {
        let found = store.snapshot().await?.tables().await?;
        let expected: Vec<_> = expected.iter().map(|(n, k)| table_in(n, k)).collect();
        ensure_same(what, found, expected)
    };
    are("a new store", &[]).await?;
    let tables =
        [("v1", "b"), ("", ""), ("v1", "a"), ("~", "~x"), ("V2", "é"), ("v1", "~y"), ("v\0", "b")];
    for (namespace, kind) in tables {
        store.commit(batch().put_at(key_in(namespace, kind, "n"), row(1))).await?;
    }
    let mut all = vec![
        ("", ""),
        ("V2", "é"),
        ("v\0", "b"),
        ("v1", "a"),
        ("v1", "b"),
        ("v1", "~y"),
        ("~", "~x"),
    ];
    are("a row each, in order", &all).await?;
    let mut held = store.snapshot().await?;
    let more = batch().put_at(key_in("v1", "b", "m"), row(1)).remove_at(key_in("v1", "b", "n"));
    store.commit(more.remove_at(key_in("v1", "a", "n"))).await?;
    all.retain(|table| *table != ("v1", "a"));
    are("one row replaced, one table empty", &all).await?;
    store.commit(batch().swap("v1", "v9").drop_all("V2")).await?;
    let moved = [("", ""), ("v\0", "b"), ("v9", "b"), ("v9", "~y"), ("~", "~x")];
    are("swapped and dropped", &moved).await?;
    ensure_same("tables in a snapshot from before", held.tables().await?.len(), tables.len())
}
