//! Scans against a model, and snapshots that stay as they were while the store moves on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{Building, batch, key, range, row};
use super::random::Choices;
use super::{Factory, LogLength, Verdict, ensure_same};
use crate::contract::{Batch, NameRange, NamedRow, Row, Snapshot};

/// What a table should hold.
type Model = BTreeMap<String, Row>;

const ROUNDS: u64 = 60;
const SCANS_PER_ROUND: usize = 8;

/// Few letters and lengths, so that names are prefixes of each other and are hit again.
fn name(choices: &mut Choices) -> String {
    let length = choices.below(4);
    (0..length).map(|_| *choices.of(&["a", "b", "/", "\0", "é"])).collect()
}

/// Some writes to different names, done to the model as well.
fn step(choices: &mut Choices, model: &mut Model, version: u64) -> Batch {
    let mut names: Vec<_> = (0..=choices.below(6)).map(|_| name(choices)).collect();
    names.sort();
    names.dedup();
    names.iter().fold(batch(), |batch, name| {
        if choices.one_in(3) {
            model.remove(name);
            batch.remove(name)
        } else {
            model.insert(name.clone(), row(version));
            batch.put(name, version)
        }
    })
}

fn random_range(choices: &mut Choices) -> NameRange {
    let (a, b) = (name(choices), name(choices));
    match choices.below(4) {
        0 => range(&a, None),
        1 => NameRange::prefix(super::build::table("Device"), &a),
        // Sometimes from the wrong end, which is an empty range.
        _ => range(&a, Some(&b)),
    }
}

fn expected(model: &Model, range: &NameRange, limit: usize, descending: bool) -> Vec<NamedRow> {
    let mut rows: Vec<NamedRow> = model
        .iter()
        .filter(|(name, _)| range.contains(&key(name)))
        .map(|(name, row)| (name.as_str().into(), row.clone()))
        .collect();
    if descending {
        rows.reverse();
    }
    rows.truncate(limit);
    rows
}

async fn compare(snapshot: &mut dyn Snapshot, model: &Model, choices: &mut Choices) -> Verdict {
    for _ in 0..SCANS_PER_ROUND {
        let (range, descending) = (random_range(choices), choices.one_in(2));
        let limit = *choices.of(&[0, 1, 2, 5, 1000]);
        let found = snapshot.scan(&range, limit, descending).await?;
        let what = format!("scan of {range:?}, limit {limit}, descending {descending}");
        ensure_same(&what, found, expected(model, &range, limit, descending))?;
    }
    let keys: Vec<_> = (0..5).map(|_| key(&name(choices))).collect();
    let found = snapshot.batch_get(&keys).await?;
    let expected = keys.iter().map(|key| model.get(&*key.name).cloned()).collect();
    ensure_same(&format!("batch get of {keys:?}"), found, expected)
}

pub(super) async fn scans_agree_with_a_model(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let (mut choices, mut model) = (Choices::new(1), Model::new());
    for version in 1..ROUNDS {
        let position = store.commit(step(&mut choices, &mut model, version)).await?;
        let mut snapshot = store.snapshot().await?;
        ensure_same("position of a snapshot", snapshot.position(), position)?;
        compare(&mut *snapshot, &model, &mut choices).await?;
    }
    Ok(())
}

pub(super) async fn a_snapshot_stays_as_it_was(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let (mut choices, mut model) = (Choices::new(2), Model::new());
    let mut held = Vec::new();
    for version in 1..ROUNDS {
        let position = store.commit(step(&mut choices, &mut model, version)).await?;
        if version % 15 == 1 {
            held.push((store.snapshot().await?, model.clone(), position));
        }
        for (snapshot, model, position) in &mut held {
            ensure_same("position of a held snapshot", snapshot.position(), *position)?;
            compare(&mut **snapshot, model, &mut choices).await?;
        }
        if choices.one_in(20) && !held.is_empty() {
            held.remove(0);
        }
    }
    let mut last = store.snapshot().await?;
    compare(&mut *last, &model, &mut choices).await
}
