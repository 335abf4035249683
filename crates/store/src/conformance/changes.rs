//! The change log: nothing missing, nothing twice, in order, whole commits, and a clear end at the old side.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::build::{
    Building, all_changes, batch, identified, key, key_in, logged, row, rows_of, table,
};
use super::random::Choices;
use super::{Factory, Failure, LogLength, SHORT_LOG_CHANGES_MAX, Verdict, ensure, ensure_same};
use crate::contract::{Batch, Change, Changes, Extract, Position, Row, Value};

pub(super) async fn a_change_tells_before_and_after(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let extract = || Extract::builder().field("f", Value::text("x")).entry("by", Value::text("x"));
    let first = Row { extract: extract().build(), ..identified(1, 8) };
    let aside = Bytes::from_static(b"aside");
    let second = Row { aside, extract: extract().build(), ..identified(2, 8) };
    let positions = [
        store.commit(batch().put_row("a", first.clone())).await?,
        store.commit(batch().put_row("a", second.clone())).await?,
        store.commit(batch().remove("a")).await?,
    ];
    let (first, second) = (Some(logged(first)), Some(logged(second)));
    let sides = [(None, first.clone()), (first, second.clone()), (second, None)];
    let expected: Vec<_> = positions
        .into_iter()
        .zip(sides)
        .map(|(position, (before, after))| Change { position, key: key("a"), before, after })
        .collect();
    let found = all_changes(&*store, Position::default(), 100).await?;
    ensure_same("changes", found, (expected, positions[2]))
}

pub(super) async fn a_page_holds_whole_commits(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let sizes = [1, 5, 1, 3, 40, 2];
    for (version, size) in sizes.into_iter().enumerate() {
        let all = (0..size).fold(batch(), |b, n| b.put(&format!("r{n:02}"), version as u64 + 1));
        store.commit(all).await?;
    }
    for limit in [0, 1, 2, 4, 7, 1000] {
        let mut from = Position::default();
        let mut found = Vec::new();
        while let Changes::Page { changes, next, at_head } = store.changes(from, limit).await? {
            let pages: BTreeMap<u64, usize> = changes.iter().fold(BTreeMap::new(), |mut n, c| {
                *n.entry(c.position.sequence).or_default() += 1;
                n
            });
            found.extend(pages.into_values());
            ensure(at_head || !changes.is_empty(), || "an empty page before the head".into())?;
            from = next;
            if at_head {
                break;
            }
        }
        ensure_same(&format!("changes per commit, limit {limit}"), found, sizes.to_vec())?;
        ensure_same("where the pages end", from, *store.head().borrow())?;
    }
    Ok(())
}

/// A table as a map.
type Rows = BTreeMap<Arc<str>, Row>;

async fn state(store: &dyn crate::Backend) -> Result<Rows, Failure> {
    Ok(rows_of(store, &table("Device")).await?.into_iter().collect())
}

fn random_batch(choices: &mut Choices, version: u64) -> Batch {
    (0..6).fold(batch(), |batch, n| match choices.below(4) {
        0 => batch.put(&format!("r{n}"), version),
        1 => batch.remove(&format!("r{n}")),
        _ => batch,
    })
}

pub(super) async fn changes_from_any_position_lead_to_the_state(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let mut choices = Choices::new(3);
    let mut states = vec![(Position::default(), Rows::new())];
    for version in 1..40 {
        let position = store.commit(random_batch(&mut choices, version)).await?;
        states.push((position, state(&*store).await?));
    }
    let last = state(&*store).await?;
    for (position, mut rows) in states {
        for change in all_changes(&*store, position, 1 + choices.below(9)).await?.0 {
            let found = match change.after {
                Some(row) => rows.insert(change.key.name, row),
                None => rows.remove(&change.key.name),
            };
            ensure_same("what a change says was before", change.before, found)?;
        }
        ensure(rows == last, || format!("changes after {position:?} lead elsewhere"))?;
    }
    Ok(())
}

pub(super) async fn internal_rows_are_not_in_the_log(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    for (n, (namespace, kind)) in
        [("v1", "~index"), ("~", "~index"), ("~alias/v1", "Device")].into_iter().enumerate()
    {
        let internal = || key_in(namespace, kind, "i");
        let start = *store.head().borrow();
        let first = store.commit(batch().put_at(internal(), row(1))).await?;
        ensure(first > start, || "an internal write has no position".to_owned())?;
        let page = store.changes(start, 10).await?;
        let nothing = Changes::Page { changes: vec![], next: first, at_head: true };
        ensure_same("changes after an internal write", page, nothing)?;
        let both = batch().put_at(internal(), row(2)).put("a", n as u64);
        let second = store.commit(both).await?;
        let (changes, end) = all_changes(&*store, first, 10).await?;
        let names: Vec<_> = changes.iter().map(|change| &*change.key.name).collect();
        ensure_same("names in the log", (names, end), (vec!["a"], second))?;
        ensure_same("the internal row", store.get(&internal()).await?.0, Some(row(2)))?;
        store.commit(batch().remove_at(internal())).await?;
        ensure_same("the internal row, removed", store.get(&internal()).await?.0, None)?;
    }
    Ok(())
}

pub(super) async fn removing_nothing_is_no_change(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().remove("a").put("b", 1).remove("c")).await?;
    store.commit(batch().remove("a")).await?;
    let (changes, _) = all_changes(&*store, Position::default(), 10).await?;
    let names: Vec<_> = changes.iter().map(|change| &*change.key.name).collect();
    ensure_same("names in the log", names, vec!["b"])
}

pub(super) async fn a_position_that_is_no_longer_kept_is_too_old(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Short).await;
    let commits = 10 * SHORT_LOG_CHANGES_MAX as u64;
    for version in 1..=commits {
        store.commit(batch().put("a", version).put("b", version)).await?;
    }
    let Changes::TooOld { oldest } = store.changes(Position::default(), 10).await? else {
        return Err(Failure::new("the beginning of a short log is not too old"));
    };
    let head = *store.head().borrow();
    ensure(oldest < head, || format!("nothing is kept: oldest is {oldest:?}"))?;
    let (changes, end) = all_changes(&*store, oldest, 3).await?;
    ensure_same("the end of what is kept", end, head)?;
    ensure_same("the newest change", changes.last().map(|change| change.position), Some(head))?;
    let first = changes.first().map(|change| change.position.sequence);
    ensure_same("the oldest change", first, Some(oldest.sequence + 1))?;
    let kept = (head.sequence - oldest.sequence) * 2;
    ensure_same("changes kept", changes.len() as u64, kept)?;
    let older = Position { sequence: oldest.sequence - 1, ..oldest };
    let is_too_old = matches!(store.changes(older, 10).await?, Changes::TooOld { .. });
    ensure(is_too_old, || format!("{older:?} is before {oldest:?} and can be read"))
}

pub(super) async fn a_position_that_never_was_is_too_old(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let head = store.commit(batch().put("a", 1)).await?;
    let wrong = [
        Position { sequence: head.sequence + 1, ..head },
        Position { sequence: u64::MAX, ..head },
        Position { era: head.era + 1, ..head },
        Position { era: head.era + 1, sequence: 0 },
    ];
    for position in wrong {
        let is_too_old = matches!(store.changes(position, 10).await?, Changes::TooOld { .. });
        ensure(is_too_old, || format!("{position:?} is accepted, the head is {head:?}"))?;
    }
    Ok(())
}
