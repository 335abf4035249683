//! Conditions on fields: what they mean, that they are shared, and that they hold on internal rows as on any other.

use std::sync::Arc;

use bowline_base::seams::BoxFuture;

use super::build::{
    Building, all_changes, batch, hostile_values, indexed, key, key_in, row, succeeds, table,
    with_field,
};
use super::{Factory, Failure, LogLength, Verdict, ensure, ensure_same, together};
use crate::contract::{
    Backend, Batch, Condition, Extract, IndexRange, Key, NameRange, Position, Range, Row, Value,
};

pub(super) async fn field_is_holds_only_for_exactly_that_value(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let holds = async |name: &str, value: &Value| {
        succeeds(&*store, batch().field_is(name, "f", value.clone())).await
    };
    let values = hostile_values();
    store.commit(batch().put_row("other", with_field(1, "g", Value::default()))).await?;
    store.commit(batch().put_row("entry", indexed(1, &[("f", "")]))).await?;
    for name in ["absent", "other", "entry"] {
        let held = holds(name, &Value::default()).await?;
        ensure_same(&format!("an empty value and the row {name:?}"), held, false)?;
    }
    for (n, put) in values.iter().enumerate() {
        let update = batch().put_row("a", with_field(n as u64 + 1, "f", put.clone()));
        store.commit(update).await?;
        for value in &values {
            let what = format!("field {put:?}, condition {value:?}");
            ensure_same(&what, holds("a", value).await?, put == value)?;
        }
    }
    let (before, after) = (values[values.len() - 1].clone(), Value::text("z"));
    let update = || batch().field_is("a", "f", before.clone());
    let update = || update().put_row("a", with_field(99, "f", after.clone()));
    ensure_same("the batch that changes it", succeeds(&*store, update()).await?, true)?;
    ensure_same("that batch again", succeeds(&*store, update()).await?, false)?;
    store.commit(batch().remove("a")).await?;
    ensure_same("the row removed", holds("a", &after).await?, false)
}

pub(super) async fn field_at_most_compares_numbers_and_tuples(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let holds = async |name: &str, value: Value| {
        succeeds(&*store, batch().field_at_most(name, "n", value)).await
    };
    store.commit(batch().put_row("other", with_field(1, "m", Value::number(9)))).await?;
    for name in ["absent", "other"] {
        let held = holds(name, Value::number(0)).await?;
        ensure_same(&format!("at most 0 and the row {name:?}"), held, true)?;
    }
    let numbers = [0, 1, 5, 127, 128, 255, 256, u64::MAX / 2 + 1, u64::MAX];
    let numbers = numbers.map(|number| vec![number]);
    let tuples = [[0, 0, 9], [0, 1, 0], [1, 0, 0], [1, 9, 9], [256, 0, 0]].map(Vec::from);
    let mut version = 1;
    for group in [&numbers[..], &tuples[..]] {
        for put in group {
            version += 1;
            let update = with_field(version, "n", Value::numbers(put));
            store.commit(batch().put_row("a", update)).await?;
            for bound in group {
                let held = holds("a", Value::numbers(bound)).await?;
                ensure_same(&format!("{put:?} is at most {bound:?}"), held, put <= bound)?;
            }
        }
    }
    let raise = || batch().field_at_most("b", "n", Value::number(7));
    let raise = || raise().put_row("b", with_field(1, "n", Value::number(8)));
    ensure_same("the batch that passes the bound", succeeds(&*store, raise()).await?, true)?;
    ensure_same("that batch again", succeeds(&*store, raise()).await?, false)
}

/// A row that all conditions can look at.
fn full(version: u64) -> Row {
    let extract = Extract::builder()
        .field("f", Value::text("x"))
        .field("n", Value::number(5))
        .entry("by", Value::text("x"));
    Row { extract: extract.build(), ..row(version) }
}

/// Conditions on a row like [`full`] that is alone in its table, and whether they hold.
fn judged(key: &Key) -> Vec<(Condition, bool)> {
    let (key, field) = (|| key.clone(), |name: &str| -> Arc<str> { name.into() });
    let at = |version| Condition::RowAt { key: key(), version };
    let is = |text| Condition::FieldIs { key: key(), field: field("f"), value: Value::text(text) };
    let at_most = |number| {
        let value = Value::number(number);
        Condition::FieldAtMost { key: key(), field: field("n"), value }
    };
    let names = |prefix| {
        let range = NameRange::prefix(key().table, prefix);
        Condition::NoRowInRange { range: Range::Names(range) }
    };
    let entries = |value| {
        let index = super::build::index_in(&key().table.namespace, "by");
        let range = IndexRange::exactly(index, Value::text(value));
        Condition::NoRowInRange { range: Range::Index(range) }
    };
    vec![
        (at(1), true),
        (at(2), false),
        (Condition::RowAbsent { key: key() }, false),
        (is("x"), true),
        (is("y"), false),
        (at_most(5), true),
        (at_most(4), false),
        (names("b"), true),
        (names("a"), false),
        (entries("y"), true),
        (entries("x"), false),
        (Condition::NotRemovedSince { key: key(), since: Position::default() }, false),
    ]
}

pub(super) async fn conditions_are_judged_on_internal_rows_too(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    for (namespace, kind) in [("v1", "~kind"), ("~", "~kind"), ("~alias/v1", "Device")] {
        let key = key_in(namespace, kind, "a");
        let position = store.commit(batch().put_at(key.clone(), full(1))).await?;
        for (condition, expected) in judged(&key) {
            let held = succeeds(&*store, batch().when(condition.clone())).await?;
            ensure_same(&format!("{condition:?}"), held, expected)?;
        }
        let since = Condition::NotRemovedSince { key: key.clone(), since: position };
        let held = succeeds(&*store, batch().when(since)).await?;
        ensure_same("the log tells of an internal row", held, false)?;
        store.commit(batch().remove_at(key.clone())).await?;
        let absent = batch().when(Condition::RowAbsent { key });
        ensure_same("absent after removing", succeeds(&*store, absent).await?, true)?;
    }
    Ok(())
}

fn gate(version: u64, epoch: u64, state: &str) -> Row {
    let extract =
        Extract::builder().field("state", Value::text(state)).field("epoch", Value::number(epoch));
    Row { extract: extract.build(), ..row(version) }
}

/// Requires that the gate is open, and not a later one.
fn through(name: &str, epoch: u64) -> Batch {
    let open = batch().field_is("gate", "state", Value::text("open"));
    open.field_at_most("gate", "epoch", Value::number(epoch)).put(name, 1)
}

/// Commits all at the same time, each once; which of them succeeded.
async fn all_at_once(
    factory: &Arc<dyn Factory>,
    store: &Arc<dyn Backend>,
    batches: Vec<Batch>,
) -> Result<Vec<bool>, Failure> {
    let parts = batches.into_iter().map(|batch| -> BoxFuture<_> {
        let store = store.clone();
        Box::pin(async move { succeeds(&*store, batch).await })
    });
    together(&factory.seams(), parts).await?.into_iter().collect()
}

pub(super) async fn shared_conditions_do_not_disturb_each_other(
    factory: Arc<dyn Factory>,
) -> Verdict {
    const COMMITS: usize = 64;
    let store = factory.fresh(LogLength::Long).await;
    let opened = store.commit(batch().put_row("gate", gate(1, 1, "open"))).await?;
    let batches = (0..COMMITS).map(|n| through(&format!("r{n}"), 1)).collect();
    let succeeded = all_at_once(&factory, &store, batches).await?;
    ensure_same("commits that succeeded", succeeded, vec![true; COMMITS])?;
    ensure_same("the gate", store.get(&key("gate")).await?.0, Some(gate(1, 1, "open")))?;
    let (changes, end) = all_changes(&*store, opened, 100).await?;
    let of_gate = changes.iter().filter(|change| &*change.key.name == "gate").count();
    ensure_same("changes, those of the gate", (changes.len(), of_gate), (COMMITS, 0))?;
    ensure_same("positions taken", end.sequence - opened.sequence, COMMITS as u64)
}

pub(super) async fn a_field_that_changes_fails_exactly_what_comes_later(
    factory: Arc<dyn Factory>,
) -> Verdict {
    const COMMITS: usize = 24;
    let store = factory.fresh(LogLength::Long).await;
    for round in 1..8 {
        let opened = store.commit(batch().put_row("gate", gate(round * 2, round, "open"))).await?;
        let name = |n| format!("r{round}/{n}");
        let mut batches: Vec<_> = (0..COMMITS).map(|n| through(&name(n), round)).collect();
        // It closes, or another epoch begins: one of the two conditions of the others fails.
        let (epoch, state) = if round % 2 == 0 { (round, "closed") } else { (round + 1, "open") };
        let change = batch().at("gate", round * 2);
        let change = change.put_row("gate", gate(round * 2 + 1, epoch, state));
        batches.insert(COMMITS / 2, change);
        let mut succeeded = all_at_once(&factory, &store, batches).await?;
        ensure(succeeded.remove(COMMITS / 2), || "the gate could not be changed".to_owned())?;
        let (changes, _) = all_changes(&*store, opened, 100).await?;
        let is_gate = |change: &crate::Change| &*change.key.name == "gate";
        let before = changes.iter().take_while(|change| !is_gate(change)).count();
        ensure_same("commits after the gate changed", changes.len(), before + 1)?;
        let names = changes.iter().take(before).map(|change| change.key.name.to_string());
        let mut names: Vec<_> = names.collect();
        let passed = (0..COMMITS).filter(|n| succeeded[*n]).map(name);
        let mut passed: Vec<_> = passed.collect();
        names.sort();
        passed.sort();
        ensure_same("commits before the gate changed", names, passed)?;
        let range = NameRange::prefix(table("Device"), &format!("r{round}/"));
        let there = store.snapshot().await?.scan(&range, 100, false).await?.len();
        ensure_same("rows that passed the gate", there, before)?;
    }
    Ok(())
}
