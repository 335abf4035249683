//! More anomalies of concurrent commits: write skew by every kind of condition, dirty reads, torn views, given-up commits.

use std::sync::Arc;

use bowline_base::seams::BoxFuture;
use futures::FutureExt;

use super::build::{
    Building, all_changes, batch, index, key, row, succeeds, table, version_of, with_field,
};
use super::isolation::{ROUNDS, successes};
use super::stage::Stage;
use super::{Factory, LogLength, Verdict, ensure, ensure_same, together};
use crate::contract::{
    Backend, Batch, Extract, IndexRange, NameRange, Position, Row, RowId, Value, Version,
};

/// Two doctors are on call; each leaves if both are: by fields of rows that the batch does not write.
pub(super) async fn write_skew_by_fields_is_refused(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let duty = |version, duty: &str| with_field(version, "duty", Value::text(duty));
    for round in 1..ROUNDS {
        let on = || duty(round * 2, "on");
        store.commit(batch().put_row("x", on()).put_row("y", on())).await?;
        let both = || {
            let on = || Value::text("on");
            batch().field_is("x", "duty", on()).field_is("y", "duty", on())
        };
        let off = || duty(round * 2 + 1, "off");
        let batches = vec![both().put_row("x", off()), both().put_row("y", off())];
        let n = successes(&factory, &store, round, batches).await?;
        ensure_same("batches that needed both fields and changed one", n, 1)?;
    }
    Ok(())
}

/// Each batch needs that the other's range is empty, and puts into its own.
pub(super) async fn write_skew_by_name_ranges_is_refused(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    for round in 1..ROUNDS {
        let (x, y) = (format!("x{round}/"), format!("y{round}/"));
        let (x_end, y_end) = (format!("x{round}0"), format!("y{round}0"));
        let batches = vec![
            batch().none_in(&x, Some(&x_end)).put(&format!("{y}1"), round),
            batch().none_in(&y, Some(&y_end)).put(&format!("{x}1"), round),
            batch().none_in(&y, Some(&y_end)).put(&format!("{x}2"), round),
        ];
        let n = successes(&factory, &store, round, batches).await?;
        let mut there = [false; 2];
        for (there, prefix) in there.iter_mut().zip([&x, &y]) {
            let range = NameRange::prefix(table("Device"), prefix);
            *there = !store.snapshot().await?.scan(&range, 9, false).await?.is_empty();
        }
        let is_one = there[0] != there[1] && n == if there[0] { 2 } else { 1 };
        ensure(is_one, || format!("{n} succeeded, rows of x: {}, of y: {}", there[0], there[1]))?;
    }
    Ok(())
}

pub(super) async fn write_skew_by_index_ranges_is_refused(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    for round in 1..ROUNDS {
        let value = |side: &str| Value::text(&format!("{side}{round}"));
        let none = |side| batch().none_indexed(IndexRange::exactly(index("by"), value(side)));
        let put = |batch: Batch, side, n: u64| {
            let extract = Extract::builder().entry("by", value(side)).build();
            batch.put_row(&format!("{side}{round}/{n}"), Row { extract, ..row(round) })
        };
        let batches = vec![put(none("x"), "y", 1), put(none("y"), "x", 1), put(none("y"), "x", 2)];
        let n = successes(&factory, &store, round, batches).await?;
        let mut snapshot = store.snapshot().await?;
        let mut found = [0; 2];
        for (found, side) in found.iter_mut().zip(["x", "y"]) {
            let range = IndexRange::exactly(index("by"), value(side));
            *found = snapshot.scan_index(&range, None, 9, false).await?.len();
        }
        let is_one = (found == [2, 0] && n == 2) || (found == [0, 1] && n == 1);
        ensure(is_one, || format!("{n} succeeded, entries of x and y: {found:?}"))?;
    }
    Ok(())
}

const NEVER: Version = 1_000_000;

/// Commits batches that would write what must never be seen, and fail at their last condition.
async fn fail(store: Arc<dyn Backend>, stage: Arc<Stage>) -> Verdict {
    let mut rounds = stage.rounds(60);
    while let Some(n) = rounds.next().await {
        let never = Row {
            id: RowId(99),
            extract: Extract::builder().entry("by", Value::text("never")).build(),
            ..row(NEVER + n)
        };
        let bad = batch().at("a", 1).absent("never").at("a", 2);
        let bad = bad.put_row("a", never.clone()).put_row("never", never).remove("b");
        let is_taken = matches!(
            store.commit(bad).await,
            Err(crate::CommitError::ConditionFailed { condition: 2 })
        );
        ensure(is_taken, || "a batch did not fail at its last condition".to_owned())?;
    }
    Ok(())
}

/// Commits beside the failing ones, so that they share groups.
async fn succeed(store: Arc<dyn Backend>) -> Verdict {
    for version in 1..60 {
        store.commit(batch().put("c", version)).await?;
    }
    Ok(())
}

async fn look_for_never(store: Arc<dyn Backend>, stage: Arc<Stage>) -> Verdict {
    let mut looks = stage.looks();
    while looks.again().await {
        ensure_same("get of a row", version_of(&*store, "a").await?, Some(1))?;
        ensure_same("get of no row", version_of(&*store, "never").await?, None)?;
        if let Some(cached) = store.cached(&table("Device"), "a") {
            ensure_same("the cached row", cached.version, 1)?;
        }
        let mut snapshot = store.snapshot().await?;
        let rows = snapshot.scan(&NameRange::all(table("Device")), 99, false).await?;
        let is_clean = rows.iter().all(|(_, row)| row.version < NEVER);
        ensure(is_clean, || format!("a scan saw what failed: {rows:?}"))?;
        ensure(rows.iter().any(|(name, _)| &**name == "b"), || "a removed row".to_owned())?;
        let all = IndexRange::all(index("by"));
        ensure_same("entries", snapshot.scan_index(&all, None, 9, false).await?, vec![])?;
        let by_id = snapshot.batch_get_by_id(&table("Device"), &[RowId(99)]).await?;
        ensure_same("by id", by_id, vec![None])?;
    }
    let (changes, _) = all_changes(&*store, Position::default(), 50).await?;
    let is_clean = changes.iter().all(|change| &*change.key.name != "never");
    ensure(is_clean, || "the log tells what failed".to_owned())
}

pub(super) async fn what_a_failed_batch_wanted_is_never_seen(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().put("a", 1).put("b", 1)).await?;
    let stage = Stage::new();
    let parts: [BoxFuture<Verdict>; 5] = [
        Box::pin(fail(store.clone(), stage.clone())),
        Box::pin(fail(store.clone(), stage.clone())),
        Box::pin(succeed(store.clone())),
        Box::pin(look_for_never(store.clone(), stage.clone())),
        Box::pin(look_for_never(store, stage)),
    ];
    together(&factory.seams(), parts).await?.into_iter().collect()
}

const MOVED: u128 = 8;

/// Each row has a second entry, this much above its version.
const AGAIN: u64 = 1_000_000;

/// Moves all rows to another index value and another version together, again and again.
async fn move_all(store: Arc<dyn Backend>, stage: Arc<Stage>) -> Verdict {
    let mut rounds = stage.rounds(50);
    while let Some(version) = rounds.next().await {
        let all = (1..=MOVED).fold(batch(), |all, n| {
            let extract = Extract::builder()
                .entry("by", Value::number(version))
                .entry("by", Value::number(version + AGAIN))
                .field("version", Value::number(version));
            let row = Row { id: RowId(n), extract: extract.build(), ..row(version) };
            // Some rows come and go, so that ids and names are not always there.
            match n == MOVED && version % 2 == 1 {
                true => all.remove(&format!("r{n}")),
                false => all.put_row(&format!("r{n}"), row),
            }
        });
        store.commit(all).await?;
    }
    Ok(())
}

/// Looks by id, then by index, then by name, in one view: all of one version, and the same rows.
async fn look_all_ways(store: Arc<dyn Backend>, stage: Arc<Stage>) -> Verdict {
    let mut looks = stage.looks();
    while looks.again().await {
        let mut snapshot = store.snapshot().await?;
        let ids: Vec<_> = (1..=MOVED).map(RowId).collect();
        let by_id = snapshot.batch_get_by_id(&table("Device"), &ids).await?;
        let by_id: Vec<_> = by_id.into_iter().flatten().collect();
        stage.moved_on(&*store, snapshot.position()).await;
        let all = IndexRange::all(index("by"));
        let hits = snapshot.scan_index(&all, None, 99, false).await?;
        let scanned = snapshot.scan(&NameRange::all(table("Device")), 99, false).await?;
        ensure_same("rows by id and by name", &by_id, &scanned)?;
        let half = scanned.len();
        let by_index: Vec<_> =
            hits.iter().map(|hit| (hit.key.name.clone(), hit.row.clone())).collect();
        let is_same = by_index.len() == 2 * half
            && by_index[..half] == scanned[..]
            && by_index[half..] == scanned[..];
        ensure(is_same, || format!("rows {scanned:?}, by index {by_index:?}"))?;
        let is_one = scanned.windows(2).all(|pair| pair[0].1.version == pair[1].1.version);
        ensure(is_one, || format!("one view saw parts of batches: {scanned:?}"))?;
        let told = hits
            .iter()
            .all(|hit| hit.value.as_number().is_some_and(|value| value % AGAIN == hit.row.version));
        ensure(told, || format!("entries of other versions than their rows: {hits:?}"))?;
    }
    Ok(())
}

pub(super) async fn a_snapshot_sees_rows_ids_and_entries_alike(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let stage = Stage::new();
    let parts: [BoxFuture<Verdict>; 3] = [
        Box::pin(move_all(store.clone(), stage.clone())),
        Box::pin(look_all_ways(store.clone(), stage.clone())),
        Box::pin(look_all_ways(store, stage)),
    ];
    together(&factory.seams(), parts).await?.into_iter().collect()
}

/// Futures that are dropped after one poll, or while others are in the same group.
pub(super) async fn a_commit_that_is_given_up_happens_wholly_or_not(
    factory: Arc<dyn Factory>,
) -> Verdict {
    const COMMITS: usize = 60;
    let store = factory.fresh(LogLength::Long).await;
    let names = |n: usize| [format!("g{n}"), format!("g{n}+")];
    for n in 0..COMMITS {
        let [one, two] = names(n);
        let both = batch().absent(&one).put(&one, 1).put(&two, 1);
        let outcome = store.commit(both).now_or_never();
        if n % 7 == 0 {
            store.commit(batch().put("kept", n as u64 + 1)).await?;
        }
        if let Some(outcome) = outcome {
            outcome?;
        }
    }
    let last = store.commit(batch().put("last", 1)).await?;
    let mut snapshot = store.snapshot().await?;
    let (mut there, mut positions) = (0, Vec::new());
    for n in 0..COMMITS {
        let rows = snapshot.batch_get(&names(n).map(|name| key(&name))).await?;
        ensure(rows[0].is_some() == rows[1].is_some(), || format!("half of commit {n}"))?;
        there += usize::from(rows[0].is_some());
    }
    // One that was still on its way may come after that view; whatever the log tells is whole as well.
    let (changes, _) = all_changes(&*store, Position::default(), 9).await?;
    let given_up = |change: &&crate::Change| change.key.name.starts_with('g');
    positions.extend(changes.iter().filter(given_up).map(|change| change.position));
    ensure(positions.len() % 2 == 0 && positions.len() >= 2 * there, || {
        format!("{there} commits that were given up are there, {} changes", positions.len())
    })?;
    let is_paired = positions.chunks(2).all(|pair| pair[0] == pair[1]);
    ensure(is_paired, || "a commit that was given up is two commits".to_owned())?;
    ensure(snapshot.position() >= last, || "the last commit is not in the view".to_owned())?;
    ensure_same("a commit that was kept", version_of(&*store, "kept").await?, Some(57))?;
    let again = batch().absent("after").put("after", 1);
    ensure_same("a commit afterwards", succeeds(&*store, again).await?, true)
}
