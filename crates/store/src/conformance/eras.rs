//! Starting anew at a higher position: how a restored or moved database tells that its history is another one.

use std::collections::BTreeSet;
use std::sync::Arc;

use bowline_base::seams::BoxFuture;

use super::build::{Building, all_changes, batch, key, next, row, rows_of, succeeds, table};
use super::{Factory, LogLength, Verdict, ensure, ensure_same, together};
use crate::contract::{Backend, Changes, CommitError, Position};

/// Fails unless `position` is too old, and `oldest` is where reading can start.
async fn is_too_old(store: &dyn Backend, position: Position, oldest: Position) -> Verdict {
    let found = store.changes(position, 10).await?;
    ensure_same(&format!("changes after {position:?}"), found, Changes::TooOld { oldest })
}

pub(super) async fn a_new_start_raises_the_position_and_empties_the_log(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let first = store.commit(batch().put("a", 1)).await?;
    let second = store.commit(batch().put("b", 1)).await?;
    let starts = [
        Position { era: second.era, sequence: second.sequence + 1000 },
        Position { era: second.era + 1, sequence: second.sequence + 5000 },
        // A higher era is later, whatever its sequence.
        Position { era: second.era + 2, sequence: 7 },
        Position { era: second.era + 9, sequence: 0 },
    ];
    let (mut last, mut version) = (second, 1);
    for start in starts {
        let mut head = store.head();
        head.borrow_and_update();
        let mut held = store.snapshot().await?;
        store.start_at(start).await?;
        ensure(head.has_changed().unwrap_or(false), || "the head did not wake".to_owned())?;
        ensure_same("head", *head.borrow(), start)?;
        ensure_same("a snapshot", store.snapshot().await?.position(), start)?;
        ensure_same("a snapshot from before", held.position(), last)?;
        ensure_same("a row in it", held.batch_get(&[key("a")]).await?, vec![Some(row(version))])?;
        let (found, at) = store.get(&key("a")).await?;
        ensure_same("a row", (found, at), (Some(row(version)), start))?;
        for old in [Position::default(), first, second, last] {
            is_too_old(&*store, old, start).await?;
        }
        let nothing = Changes::Page { changes: vec![], next: start, at_head: true };
        ensure_same("changes since", store.changes(start, 10).await?, nothing)?;
        let since = |since| batch().not_removed_since("z", since);
        ensure_same("removals before", succeeds(&*store, since(last)).await?, false)?;
        ensure_same("removals since", succeeds(&*store, since(start)).await?, true)?;
        version += 1;
        let update = batch().at("a", version - 1).put("a", version);
        last = store.commit(update).await?;
        ensure_same("the next commit", last, next(start))?;
        let (changes, end) = all_changes(&*store, start, 10).await?;
        let before: Vec<_> = changes.into_iter().map(|change| change.before).collect();
        ensure_same("its change", (before, end), (vec![Some(row(version - 1))], last))?;
        ensure_same("the newer row", store.get(&key("a")).await?, (Some(row(version)), last))?;
        let found = held.batch_get(&[key("a")]).await?;
        ensure_same("in the old snapshot", found, vec![Some(row(version - 1))])?;
    }
    Ok(())
}

pub(super) async fn a_new_start_never_goes_back(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let present = Position { era: 2, sequence: 50 };
    store.start_at(present).await?;
    let last = store.commit(batch().put("a", 1)).await?;
    for earlier in [
        present,
        Position::default(),
        Position { sequence: 0, ..present },
        Position { era: 1, sequence: 51 },
        Position { era: 1, sequence: u64::MAX / 4 },
    ] {
        let outcome = store.start_at(earlier).await;
        let is_refused = matches!(outcome, Err(CommitError::Malformed(_)));
        ensure(is_refused, || format!("{earlier:?} after {last:?}: found {outcome:?}"))?;
    }
    ensure_same("head", *store.head().borrow(), last)?;
    ensure_same("changes", all_changes(&*store, present, 10).await?.0.len(), 1)?;
    // Where it is already: nothing goes back, but what was before is too old now.
    store.start_at(last).await?;
    is_too_old(&*store, present, last).await?;
    let after = store.commit(batch().at("a", 1).put("a", 2)).await?;
    ensure_same("the next commit", after, next(last))
}

pub(super) async fn positions_of_another_era_are_too_old(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let start = Position { era: 5, sequence: 10 };
    store.start_at(start).await?;
    for version in 1..4 {
        store.commit(batch().put("a", version)).await?;
    }
    for (era, sequence) in [(0, 0), (4, 11), (4, 1000), (6, 0), (6, 11), (u64::MAX / 4, 0), (5, 9)]
    {
        is_too_old(&*store, Position { era, sequence }, start).await?;
        let since = batch().not_removed_since("z", Position { era, sequence });
        let is_earlier = (era, sequence) < (5, 10);
        if is_earlier {
            ensure_same("removals before the era", succeeds(&*store, since).await?, false)?;
        }
    }
    ensure_same("changes of this era", all_changes(&*store, start, 10).await?.0.len(), 3)
}

pub(super) async fn commits_around_a_new_start_are_kept(factory: Arc<dyn Factory>) -> Verdict {
    const WRITERS: usize = 8;
    const WRITES: usize = 12;
    let store = factory.fresh(LogLength::Long).await;
    let start = Position { era: 1, sequence: 1_000_000 };
    let mut parts: Vec<BoxFuture<Result<Vec<Position>, super::Failure>>> = Vec::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        parts.push(Box::pin(async move {
            let mut positions = Vec::new();
            for n in 0..WRITES {
                positions.push(store.commit(batch().put(&format!("w{writer}/{n}"), 1)).await?);
            }
            Ok(positions)
        }));
    }
    let restarted = store.clone();
    parts.push(Box::pin(async move {
        let mut head = restarted.head();
        let begun = head.wait_for(|head| head.sequence > 20).await.map(|_| ());
        ensure(begun.is_ok(), || "the head of an open store is gone".to_owned())?;
        restarted.start_at(start).await?;
        Ok(Vec::new())
    }));
    let mut all = Vec::new();
    for positions in together(&factory.seams(), parts).await? {
        let positions = positions?;
        let is_rising = positions.windows(2).all(|pair| pair[0] < pair[1]);
        ensure(is_rising, || format!("positions of a writer do not rise: {positions:?}"))?;
        all.extend(positions);
    }
    let distinct: BTreeSet<_> = all.iter().collect();
    ensure_same("distinct positions", distinct.len(), WRITERS * WRITES)?;
    let after = all.iter().filter(|position| position.era == start.era).count();
    let (changes, end) = all_changes(&*store, start, 5).await?;
    ensure_same("changes since the start", changes.len(), after)?;
    ensure_same("the end", end.sequence, start.sequence + after as u64)?;
    let rows = rows_of(&*store, &table("Device")).await?;
    ensure_same("rows", rows.len(), WRITERS * WRITES)
}
