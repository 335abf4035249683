//! What each condition means, and what a batch does that fails one.

use std::sync::Arc;

use super::build::{Building, all_changes, batch, is_refused, key, succeeds, version_of};
use super::{Factory, LogLength, Verdict, ensure, ensure_same};
use crate::contract::{Batch, CommitError, Position};

pub(super) async fn row_at_holds_only_at_that_version(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let absent = succeeds(&*store, batch().at("a", 0).put("a", 1)).await?;
    ensure_same("row absent, condition at 0", absent, false)?;
    store.commit(batch().put("a", 5)).await?;
    for (version, expected) in [(4, false), (6, false), (5, true)] {
        let held = succeeds(&*store, batch().at("a", version).put("b", 1)).await?;
        ensure_same(&format!("row at 5, condition at {version}"), held, expected)?;
    }
    store.commit(batch().remove("a")).await?;
    let removed = succeeds(&*store, batch().at("a", 5).put("b", 2)).await?;
    ensure_same("row removed, condition at 5", removed, false)
}

pub(super) async fn row_absent_holds_only_without_a_row(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let create = || batch().absent("a").put("a", 1);
    ensure_same("first create", succeeds(&*store, create()).await?, true)?;
    ensure_same("second create", succeeds(&*store, create()).await?, false)?;
    store.commit(batch().remove("a")).await?;
    ensure_same("create after remove", succeeds(&*store, create()).await?, true)?;
    let elsewhere = succeeds(&*store, batch().absent("a").put("b", 1)).await?;
    ensure_same("a row that the batch does not write", elsewhere, false)
}

pub(super) async fn a_range_condition_is_judged_on_what_the_batch_leaves(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let judge = |batch: Batch| {
        let store = store.clone();
        async move { succeeds(&*store, batch.none_in("p/", Some("p0"))).await }
    };
    ensure_same("empty range", judge(batch().put("q", 1)).await?, true)?;
    ensure_same("a put of the batch is in it", judge(batch().put("p/1", 1)).await?, false)?;
    ensure_same("that put did not happen", version_of(&*store, "p/1").await?, None)?;
    store.commit(batch().put("p/1", 1).put("p/2", 1)).await?;
    ensure_same("two rows, none removed", judge(batch().put("q", 2)).await?, false)?;
    ensure_same("one of them removed", judge(batch().remove("p/1")).await?, false)?;
    ensure_same("the other removed", judge(batch().remove("p/2")).await?, false)?;
    let replaced = judge(batch().remove("p/1").put("p/2", 2)).await?;
    ensure_same("one removed, one replaced", replaced, false)?;
    let both = judge(batch().remove("p/1").remove("p/2")).await?;
    ensure_same("both removed", both, true)
}

pub(super) async fn a_range_includes_its_start_and_not_its_end(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().put("b", 1).put("d", 1)).await?;
    let ranges = [
        ("a", Some("b"), true),
        ("b", Some("c"), false),
        ("c", Some("d"), true),
        ("c", Some("d\0"), false),
        ("d\0", None, true),
        ("d", None, false),
        ("", None, false),
        ("e", Some("a"), true),
        ("b", Some("b"), true),
    ];
    for (from, to, expected) in ranges {
        let held = succeeds(&*store, batch().none_in(from, to)).await?;
        ensure_same(&format!("rows b and d, range {from:?} to {to:?}"), held, expected)?;
    }
    Ok(())
}

pub(super) async fn the_first_failed_condition_is_told_and_nothing_is_written(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().put("a", 1).put("c", 1)).await?;
    let before = *store.head().borrow();
    let bad = batch().at("a", 1).absent("c").at("a", 9).put("a", 2).put("b", 2).remove("c");
    match store.commit(bad).await {
        Err(CommitError::ConditionFailed { condition: 1 }) => {}
        other => return ensure(false, || format!("condition 1 fails first, found {other:?}")),
    }
    for (name, expected) in [("a", Some(1)), ("b", None), ("c", Some(1))] {
        ensure_same(name, version_of(&*store, name).await?, expected)?;
    }
    ensure_same("changes", all_changes(&*store, before, 10).await?.0, vec![])
}

pub(super) async fn a_version_of_a_removed_row_never_holds_again(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    store.commit(batch().put("a", 1)).await?;
    store.commit(batch().remove("a")).await?;
    store.commit(batch().put("a", 2)).await?;
    ensure_same("old version", succeeds(&*store, batch().at("a", 1).put("a", 3)).await?, false)?;
    ensure_same("new version", succeeds(&*store, batch().at("a", 2).put("a", 3)).await?, true)
}

/// Alone, and together with the removal in one group of commits.
pub(super) async fn a_removal_since_a_position_is_remembered(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let before = store.commit(batch().put("a", 1)).await?;
    let create = |since| batch().absent("a").not_removed_since("a", since).put("a", 9);
    let (removed, created) =
        futures::join!(store.commit(batch().remove("a")), succeeds(&*store, create(before)));
    ensure_same("create beside a removal", created?, false)?;
    ensure_same("create after a removal", succeeds(&*store, create(before)).await?, false)?;
    ensure_same("create that knows of it", succeeds(&*store, create(removed?)).await?, true)?;
    let now = *store.head().borrow();
    let other = batch().not_removed_since("b", now).put("b", 1);
    ensure_same("a row that was not removed", succeeds(&*store, other).await?, true)
}

pub(super) async fn a_batch_that_contradicts_itself_is_refused(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let twice = [
        batch().put("a", 1).put("a", 2),
        batch().put("a", 1).remove("a"),
        batch().remove("a").put("b", 1).put("a", 1),
    ];
    for contradiction in twice {
        is_refused(&*store, "two writes to one key", contradiction).await?;
    }
    ensure_same("row", store.get(&key("a")).await?.0, None)
}

pub(super) async fn a_batch_without_effect_takes_no_position(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    ensure_same("on a new store", store.commit(batch()).await?, Position::default())?;
    let position = store.commit(batch().put("a", 1)).await?;
    ensure_same("conditions only", store.commit(batch().at("a", 1)).await?, position)?;
    ensure_same("removes nothing", store.commit(batch().remove("b")).await?, position)?;
    let failed = succeeds(&*store, batch().at("a", 2)).await?;
    ensure_same("a failed one", failed, false)?;
    let next = store.commit(batch().put("a", 2)).await?;
    ensure_same("the next position", next.sequence, position.sequence + 1)
}
