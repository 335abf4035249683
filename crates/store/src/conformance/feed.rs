//! The change log read while it grows: under many concurrent writers, no reader misses, repeats or reorders a change.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_base::Seams;
use bowline_base::seams::BoxFuture;

use super::build::{Building, all_changes, batch, key, key_in, row, rows_of, succeeds, table};
use super::{Factory, Failure, Verdict, ensure, ensure_same, together};
use crate::contract::{Backend, Change, Changes, Position, Row};

/// How much is written while others read.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) writers: u64,
    /// Commits of each writer.
    pub(super) commits: u64,
}

impl Load {
    /// The sequence at which all of it is written to a new store.
    fn end(self) -> u64 {
        self.writers * self.commits
    }
}

/// One writer's part: rows of its own, rows that all write, and a quarter of commits that the log does not show.
async fn write(store: Arc<dyn Backend>, writer: u64, load: Load) -> Verdict {
    for n in 0..load.commits {
        let version = writer * 1_000 + n + 1;
        let name = |side| format!("w{writer}/{n}{side}");
        let commit = match (writer + n) % 4 {
            0 => batch().put_at(key_in("~", "~noise", &name("i")), row(version)),
            1 => batch().put(&name("a"), version).put(&format!("hot{}", n % 5), version),
            2 => batch()
                .put(&name("a"), version)
                .remove(&format!("hot{}", n % 5))
                .put("hot", version),
            _ => batch().put(&name("a"), version).put(&name("b"), version),
        };
        store.commit(commit).await?;
        if n % 3 == 0 {
            let refused = batch().at("never", 1).put(&name("never"), version);
            ensure_same("a commit that fails", succeeds(&*store, refused).await?, false)?;
        }
    }
    Ok(())
}

/// Follows the log from `from` until `end`, in pages of `limit`.
async fn follow(
    store: Arc<dyn Backend>,
    mut from: Position,
    end: u64,
    limit: usize,
) -> Result<Vec<Change>, Failure> {
    let (mut seen, mut head) = (Vec::<Change>::new(), store.head());
    while from.sequence < end {
        let Changes::Page { changes, next, at_head } = store.changes(from, limit).await? else {
            return Err(Failure::new("a follower near the head is told that it is too old"));
        };
        ensure(next >= from, || format!("from {from:?} the log goes on at {next:?}"))?;
        for change in changes {
            let is_in_page = change.position > from && change.position <= next;
            ensure(is_in_page, || format!("{change:?} in a page from {from:?} to {next:?}"))?;
            let last = seen.last().map_or(from, |last| last.position);
            ensure(change.position >= last, || format!("{change:?} comes after {last:?}"))?;
            seen.push(Change::clone(&change));
        }
        from = next;
        if at_head && from.sequence < end {
            let moved = head.wait_for(|head| *head > from).await.map(|_| ());
            ensure(moved.is_ok(), || "the head of an open store is gone".to_owned())?;
        }
    }
    Ok(seen)
}

type Rows = BTreeMap<Arc<str>, Row>;

async fn state(store: &dyn Backend) -> Result<Rows, Failure> {
    Ok(rows_of(store, &table("Device")).await?.into_iter().collect())
}

/// Does what changes say; fails where what they say was before is not there.
fn replay(rows: &mut Rows, changes: &[Change]) -> Verdict {
    for change in changes {
        let name = change.key.name.clone();
        let found = match change.after.clone() {
            Some(row) => rows.insert(name, row),
            None => rows.remove(&name),
        };
        ensure_same(&format!("what was before {change:?}"), found, change.before.clone())?;
    }
    Ok(())
}

/// Reads all rows at some moment, then follows what comes after: how every watch begins.
async fn look_and_follow(store: Arc<dyn Backend>, end: u64) -> Result<Rows, Failure> {
    let mut head = store.head();
    let begun = head.wait_for(|head| head.sequence > end / 3).await.map(|_| ());
    ensure(begun.is_ok(), || "the head of an open store is gone".to_owned())?;
    let mut snapshot = store.snapshot().await?;
    let all = crate::NameRange::all(table("Device"));
    let mut rows: Rows = snapshot.scan(&all, usize::MAX, false).await?.into_iter().collect();
    let position = snapshot.position();
    drop(snapshot);
    replay(&mut rows, &follow(store, position, end, 7).await?)?;
    Ok(rows)
}

/// Writes through `stores` while followers read all of them, and compares what each has seen with what is there.
pub(super) async fn check(seams: &Seams, stores: &[Arc<dyn Backend>], load: Load) -> Verdict {
    let end = load.end();
    let store = |n: usize| stores[n % stores.len()].clone();
    let followers = [1, 3, 10, 1000].into_iter().enumerate().map(|(n, limit)| -> BoxFuture<_> {
        let store = store(n);
        Box::pin(async move { follow(store, Position::default(), end, limit).await })
    });
    let watches = (0..2).map(|n| -> BoxFuture<_> { Box::pin(look_and_follow(store(n), end)) });
    let writers = (0..load.writers)
        .map(|writer| -> BoxFuture<_> { Box::pin(write(store(writer as usize), writer, load)) });
    let (followed, watched, written) = futures::try_join!(
        together(seams, followers),
        together(seams, watches),
        together(seams, writers),
    )?;
    written.into_iter().collect::<Verdict>()?;
    let (all, last) = all_changes(&*store(0), Position::default(), 1000).await?;
    ensure_same("the end of the log", last.sequence, end)?;
    for seen in followed {
        let seen = seen?;
        let differs = seen.iter().zip(&all).find(|(seen, all)| seen != all);
        ensure(seen == all, || {
            let (seen, all) = (seen.len(), all.len());
            format!("a follower saw {seen} changes, the log has {all}, first other: {differs:?}")
        })?;
    }
    let (mut rows, last) = (Rows::new(), state(&*store(0)).await?);
    replay(&mut rows, &all)?;
    ensure(rows == last, || "the log leads to other rows than there are".to_owned())?;
    for rows in watched {
        ensure(rows? == last, || "a watch led to other rows than there are".to_owned())?;
    }
    ensure_same("a row of a failed commit", store(0).get(&key("w1/0never")).await?.0, None)
}

pub(super) async fn no_change_is_missed_under_concurrent_writers(
    factory: Arc<dyn Factory>,
) -> Verdict {
    let store = factory.slow().await;
    check(&factory.seams(), &[store], Load { writers: 64, commits: 8 }).await
}
