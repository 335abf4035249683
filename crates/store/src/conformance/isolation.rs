//! What concurrent commits and readers may see of each other: the classical anomalies, each tried on purpose.

use std::sync::Arc;

use bowline_base::seams::BoxFuture;

use super::build::{Building, batch, key, range, row, succeeds, table, version_of};
use super::stage::Stage;
use super::{Factory, Failure, LogLength, Verdict, ensure, ensure_same, together};
use crate::contract::{Backend, Batch, NameRange, Version};

pub(super) async fn what_was_acknowledged_is_read(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    for version in 1..50 {
        // Read before as well, so that whatever remembers reads has something to forget.
        version_of(&*store, "a").await?;
        let position = store.commit(batch().put("a", version)).await?;
        let (found, at) = store.get(&key("a")).await?;
        ensure_same("get after a commit", found, Some(row(version)))?;
        ensure_same("position of that get", at, position)?;
        ensure_same("head after a commit", *store.head().borrow(), position)?;
        let mut snapshot = store.snapshot().await?;
        ensure_same("snapshot after a commit", snapshot.position(), position)?;
        let found = snapshot.batch_get(&[key("a")]).await?;
        ensure_same("row in that snapshot", found, vec![Some(row(version))])?;
        if let Some(cached) = store.cached(&table("Device"), "a") {
            ensure_same("cached row", cached, row(version))?;
        }
    }
    store.commit(batch().remove("a")).await?;
    ensure_same("cached row after removing", store.cached(&table("Device"), "a"), None)?;
    ensure_same("get after removing", version_of(&*store, "a").await?, None)
}

/// Reads and writes until `times` conditional increments succeeded.
async fn increment(store: Arc<dyn Backend>, times: usize) -> Verdict {
    const TRIES_MAX: usize = 100_000;
    let (mut done, mut tries) = (0, 0);
    while done < times {
        tries += 1;
        ensure(tries < TRIES_MAX, || "increments hardly ever succeed".to_owned())?;
        let Some(version) = version_of(&*store, "counter").await? else {
            return Err(Failure::new("the counter is gone"));
        };
        let next = batch().at("counter", version).put("counter", version + 1);
        if succeeds(&*store, next).await? {
            done += 1;
        }
    }
    Ok(())
}

pub(super) async fn no_update_is_lost(factory: Arc<dyn Factory>) -> Verdict {
    const WRITERS: usize = 8;
    const TIMES: usize = 10;
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().put("counter", 0)).await?;
    let parts = (0..WRITERS).map(|_| -> BoxFuture<_> { Box::pin(increment(store.clone(), TIMES)) });
    for verdict in together(&factory.seams(), parts).await? {
        verdict?;
    }
    let expected = Some((WRITERS * TIMES) as Version);
    ensure_same("increments", version_of(&*store, "counter").await?, expected)
}

/// How many of `batches`, committed at the same time, succeed. Another one is the first in every round.
pub(super) async fn successes(
    factory: &Arc<dyn Factory>,
    store: &Arc<dyn Backend>,
    round: u64,
    mut batches: Vec<Batch>,
) -> Result<usize, Failure> {
    let first = round as usize % batches.len();
    batches.rotate_left(first);
    let parts = batches.into_iter().map(|batch| -> BoxFuture<_> {
        let store = store.clone();
        Box::pin(async move { succeeds(&*store, batch).await })
    });
    let outcomes: Result<Vec<bool>, Failure> =
        together(&factory.seams(), parts).await?.into_iter().collect();
    Ok(outcomes?.into_iter().filter(|succeeded| *succeeded).count())
}

pub(super) const ROUNDS: u64 = 20;

/// Each batch reads both rows and writes one of them; both together would break what each has seen.
pub(super) async fn write_skew_is_refused(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    for round in 1..ROUNDS {
        store.commit(batch().put("x", round * 10).put("y", round * 10)).await?;
        let both = || batch().at("x", round * 10).at("y", round * 10);
        let batches = vec![both().put("x", round * 10 + 1), both().put("y", round * 10 + 1)];
        let n = successes(&factory, &store, round, batches).await?;
        ensure_same("batches that needed both rows unchanged and changed one", n, 1)?;
    }
    Ok(())
}

/// One batch removes a parent if it has no children, others add children if the parent is there.
pub(super) async fn no_phantom_slips_in(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    for round in 1..ROUNDS {
        let parent = format!("p{round}");
        let (from, to) = (format!("{parent}/"), format!("{parent}0"));
        store.commit(batch().put(&parent, round)).await?;
        let child = |n| batch().at(&parent, round).put(&format!("{parent}/{n}"), round);
        let leave = batch().none_in(&from, Some(&to)).remove(&parent);
        successes(&factory, &store, round, vec![child(1), leave, child(2)]).await?;
        let is_parent = version_of(&*store, &parent).await?.is_some();
        let children =
            store.snapshot().await?.scan(&range(&from, Some(&to)), 10, false).await?.len();
        let expected = if is_parent { 2 } else { 0 };
        ensure_same(&format!("children, parent there: {is_parent}"), children, expected)?;
    }
    Ok(())
}

const ROWS: u64 = 10;

/// Rewrites all rows together, again and again.
async fn rewrite(store: Arc<dyn Backend>, stage: Arc<Stage>) -> Verdict {
    let mut rounds = stage.rounds(60);
    while let Some(round) = rounds.next().await {
        let all = (0..ROWS).fold(batch(), |batch, n| batch.put(&format!("r{n}"), round + 1));
        store.commit(all).await?;
    }
    Ok(())
}

/// Looks at all rows in two steps: all must be of one version.
async fn observe_whole(store: Arc<dyn Backend>, stage: Arc<Stage>) -> Verdict {
    let keys: Vec<_> = (0..ROWS).map(|n| key(&format!("r{n}"))).collect();
    let mut looks = stage.looks();
    while looks.again().await {
        let mut snapshot = store.snapshot().await?;
        let half = keys.len() / 2;
        let mut rows = snapshot.batch_get(&keys[..half]).await?;
        stage.moved_on(&*store, snapshot.position()).await;
        let scanned = snapshot.scan(&NameRange::all(table("Device")), 1000, true).await?;
        rows.extend(snapshot.batch_get(&keys[half..]).await?);
        rows.extend(scanned.into_iter().map(|(_, row)| Some(row)));
        let is_one = rows.windows(2).all(|pair| pair[0] == pair[1]);
        ensure(is_one, || format!("one snapshot saw parts of batches: {rows:?}"))?;
    }
    Ok(())
}

pub(super) async fn a_snapshot_sees_a_batch_wholly_or_not(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let all = (0..ROWS).fold(batch(), |batch, n| batch.put(&format!("r{n}"), 1));
    store.commit(all).await?;
    let stage = Stage::new();
    let parts: [BoxFuture<Verdict>; 3] = [
        Box::pin(rewrite(store.clone(), stage.clone())),
        Box::pin(observe_whole(store.clone(), stage.clone())),
        Box::pin(observe_whole(store, stage)),
    ];
    together(&factory.seams(), parts).await?.into_iter().collect()
}

/// All are submitted before any is waited for, so they end in few groups; a third fails.
pub(super) async fn batches_of_one_group_fail_alone(factory: Arc<dyn Factory>) -> Verdict {
    const BATCHES: usize = 300;
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().put("taken", 1)).await?;
    let commits = (0..BATCHES).map(|n| {
        let name = format!("n{n}");
        let condition = if n % 3 == 0 { "taken" } else { name.as_str() };
        let create = batch().absent(condition).put(&name, 1).put(&format!("{name}+"), 1);
        let store = store.clone();
        async move { succeeds(&*store, create).await }
    });
    let outcomes = futures::future::join_all(commits).await;
    let mut snapshot = store.snapshot().await?;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        ensure_same(&format!("batch {n} succeeded"), outcome?, n % 3 != 0)?;
        let names = [key(&format!("n{n}")), key(&format!("n{n}+"))];
        let there = snapshot.batch_get(&names).await?;
        let there: Vec<bool> = there.iter().map(Option::is_some).collect();
        ensure_same(&format!("rows of batch {n}"), there, vec![n % 3 != 0; 2])?;
    }
    Ok(())
}

/// Moves all rows on one by one, in rounds.
async fn advance(store: Arc<dyn Backend>, stage: Arc<Stage>) -> Verdict {
    let mut rounds = stage.rounds(80);
    while let Some(version) = rounds.next().await {
        for n in 0..3 {
            store.commit(batch().put(&format!("r{n}"), version)).await?;
            let seen = version_of(&*store, &format!("r{n}")).await?;
            ensure_same("what the writer reads", seen, Some(version))?;
        }
    }
    Ok(())
}

async fn observe_order(store: Arc<dyn Backend>, stage: Arc<Stage>) -> Verdict {
    let (mut seen, mut looks) = ([0; 3], stage.looks());
    while looks.again().await {
        for (n, seen) in seen.iter_mut().enumerate() {
            let name = format!("r{n}");
            let version = match store.cached(&table("Device"), &name) {
                Some(row) => row.version,
                None => version_of(&*store, &name).await?.unwrap_or(0),
            };
            ensure(version >= *seen, || format!("{name} went from {seen} back to {version}"))?;
            *seen = version;
        }
    }
    Ok(())
}

pub(super) async fn versions_that_a_reader_sees_never_go_back(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let stage = Stage::new();
    let parts: [BoxFuture<Verdict>; 4] = [
        Box::pin(advance(store.clone(), stage.clone())),
        Box::pin(observe_order(store.clone(), stage.clone())),
        Box::pin(observe_order(store.clone(), stage.clone())),
        Box::pin(observe_order(store, stage)),
    ];
    together(&factory.seams(), parts).await?.into_iter().collect()
}
