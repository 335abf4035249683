//! What follows from a deletion for the resources of one deployment: those whose reference cascades are deleted, those
//! whose reference unsets lose it. The same for targets here and elsewhere.
//!
//! Referrers are read from the reverse index page by page, so that memory does not depend on their number. What cannot be
//! done is passed over, and told; every look begins anew, so that nothing is forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_control::Fate;
use bowline_graph::TargetName;
use bowline_graph::index::{self, Rule};
use bowline_store::{Condition, Hit, IndexCursor, IndexRange, RowId};
use bowline_wire::bowline::mixin::v1 as wire;
use futures::StreamExt;

use super::commit::Piece;
use crate::engine::graph::delete::rule::{ByRule, Cause, Referring, SIMPLE_MAX};
use crate::engine::graph::kept::has_any;
use crate::engine::{Deployment, Engine, errors};

/// Referrers that are unset in one commit.
const UNSETS_MAX: usize = 256;
/// Deletions by rule that are under way at the same time.
const DELETIONS_MAX: usize = 8;
/// Then others have their turn.
const SLICE: Duration = Duration::from_secs(10);
/// Obstacles that are told.
const TOLD_MAX: usize = 3;

/// A resource whose deletion has committed, here or elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) uid: RowId,
    /// In each version in which it had a name.
    pub(super) names: Vec<TargetName>,
    pub(super) cause: Cause,
    pub(super) millis: i64,
}

impl Gone {
    /// `None` if it says not what was deleted.
    pub(super) fn of(deletion: &wire::Deletion) -> Option<Self> {
        let uid: [u8; 16] = deletion.uid.as_slice().try_into().ok()?;
        let uid = RowId(u128::from_be_bytes(uid));
        let names = deletion.names.iter().filter(|name| !name.name.is_empty());
        let (root_cause, actor) = (deletion.root_cause.clone(), deletion.actor.clone());
        Some(Self {
            uid,
            names: names.map(TargetName::from).collect(),
            cause: Cause { root_cause, actor, target: uid },
            millis: deletion.delete_millis,
        })
    }

    /// Where its referrers of one rule are.
    fn ranges(&self, deployment: &Deployment, rule: Rule) -> Vec<IndexRange> {
        let of = |space: Arc<str>| {
            let range = |name| index::range_by(&space, name, self.uid, rule);
            self.names.iter().map(range).collect::<Vec<_>>()
        };
        deployment.namespaces().into_iter().flat_map(of).collect()
    }
}

/// Referrers that are worked off in one go.
struct Work<'a> {
    deployment: &'a Arc<Deployment>,
    gone: &'a Gone,
    rule: Rule,
    range: IndexRange,
    until: Duration,
}

/// What stands in the way of referrers.
#[derive(Debug, Default)]
struct Obstacles {
    told: Vec<String>,
    count: usize,
}

impl Obstacles {
    fn add(&mut self, name: &str, why: &Status) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(format!("{name}: {}", why.message));
        }
    }

    fn fate(self) -> Fate {
        match self.count {
            0 => Fate::Done,
            count => Fate::Waits(format!("{count} referrers stay: {}", self.told.join("; "))),
        }
    }
}

impl Engine {
    /// Whether anything here refers to it.
    ///
    /// Cost: a look-up in the index for each rule, name and stored version.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn is_referred_to(
        &self,
        deployment: &Deployment,
        gone: &Gone,
    ) -> Result<bool, Status> {
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let of_rule = |rule| gone.ranges(deployment, rule);
        let ranges: Vec<_> = Rule::ALL.into_iter().flat_map(of_rule).collect();
        has_any(snapshot.as_mut(), &ranges).await.map_err(|error| errors::store(&error))
    }

    /// Works off the referrers that `deployment` has.
    ///
    /// # Errors
    /// The store's; what concerns single referrers is in the fate.
    pub(super) async fn follow_deletion(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        gone: &Gone,
    ) -> Result<Fate, Status> {
        let until = self.seams.clock.monotonic() + SLICE;
        let mut obstacles = Obstacles::default();
        let rules = [Rule::CascadeSync, Rule::CascadeAsync, Rule::UnsetSync, Rule::UnsetAsync];
        for rule in rules {
            for range in gone.ranges(deployment, rule) {
                let work = Work { deployment, gone, rule, range, until };
                if !self.follow_range(&work, &mut obstacles).await? {
                    return Ok(Fate::Again);
                }
            }
        }
        self.look_for_blockers(deployment, gone, &mut obstacles).await?;
        Ok(obstacles.fate())
    }

    /// Works off one range of the index, reading each page while the one before is committed. `false`: its time is up.
    async fn follow_range(
        self: &Arc<Self>,
        work: &Work<'_>,
        obstacles: &mut Obstacles,
    ) -> Result<bool, Status> {
        let Work { deployment, gone, rule, range, until } = work;
        let size = page_size(*rule);
        let mut hits = page(deployment, range, None, size).await?;
        loop {
            let after = hits.last().map(IndexCursor::at).filter(|_| hits.len() == size);
            let referring = referring(deployment, hits);
            let working = async {
                match rule {
                    Rule::CascadeSync | Rule::CascadeAsync => {
                        self.cascade_to(deployment, gone, referring, obstacles).await
                    }
                    _ => self.unset_in(deployment, gone, referring, obstacles).await,
                }
            };
            let Some(after) = after else { return working.await.map(|()| true) };
            let (worked, next) =
                futures::join!(working, page(deployment, range, Some(&after), size));
            worked?;
            hits = next?;
            if self.seams.clock.monotonic() > *until && obstacles.count == 0 {
                return Ok(false);
            }
        }
    }

    async fn cascade_to(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        gone: &Gone,
        referring: Vec<Referring>,
        obstacles: &mut Obstacles,
    ) -> Result<(), Status> {
        if referring.is_empty() {
            return Ok(());
        }
        let left = self.delete_simple(deployment, &gone.cause, referring).await?;
        let each = futures::stream::iter(left).map(|referrer| async move {
            let Referring { shape, key, .. } = referrer;
            // A deletion can lead to another engine in this process and back, so its future has no size of its own.
            let deletion = self.delete_by_rule(deployment, &shape, &key.name, &gone.cause);
            let outcome = Box::pin(deletion).await;
            (key, outcome)
        });
        let mut each = std::pin::pin!(each.buffer_unordered(DELETIONS_MAX));
        while let Some((key, outcome)) = each.next().await {
            match outcome {
                Ok(ByRule::Deleted | ByRule::Unfounded) => {}
                Ok(ByRule::Blocked(why)) | Err(why) => obstacles.add(&key.name, &why),
            }
        }
        Ok(())
    }

    async fn unset_in(
        &self,
        deployment: &Arc<Deployment>,
        gone: &Gone,
        referring: Vec<Referring>,
        obstacles: &mut Obstacles,
    ) -> Result<(), Status> {
        let (mut pieces, mut names) = (Vec::new(), Vec::new());
        let mut dropped = BTreeSet::new();
        for Referring { shape, key, row, held } in referring {
            let guard = match self.guard_of(deployment, &shape, &key.name, None).await {
                Ok(guard) => guard,
                Err(why) => {
                    obstacles.add(&key.name, &why);
                    continue;
                }
            };
            let unset = match self.prepare_unset(deployment, &shape, &row, &gone.names) {
                Ok(unset) => unset,
                Err(why) => {
                    obstacles.add(&key.name, &why);
                    continue;
                }
            };
            names.push(key.name.clone());
            dropped.extend(held.into_iter().filter(|held| held.uid == gone.uid));
            // The version says that the reference is still there: every save of the resource changes it.
            let conditions = vec![Condition::RowAt { key: key.clone(), version: row.version }];
            pieces.push(Piece { conditions, writes: vec![unset.prepared.put(key)], guard });
        }
        for lost in self.commit_pieces(deployment, &pieces).await? {
            let why = Status::new(Reason::Conflict, "was written at the same time");
            obstacles.add(&names[lost], &why);
        }
        // One that stays is found by whoever makes a suggestion of it.
        deployment.let_go(&dropped);
        Ok(())
    }

    /// No verdict commits while a reference blocks, so there is none; if there is, it must not be passed over.
    async fn look_for_blockers(
        &self,
        deployment: &Deployment,
        gone: &Gone,
        obstacles: &mut Obstacles,
    ) -> Result<(), Status> {
        for range in gone.ranges(deployment, Rule::Block) {
            for hit in page(deployment, &range, None, TOLD_MAX).await? {
                let target = gone.names.first().map(ToString::to_string).unwrap_or_default();
                tracing::error!(
                    referrer = %hit.key.name, target,
                    "a resource refers to one that was deleted, by a reference that blocks that"
                );
                let why =
                    Status::new(Reason::Internal, "holds a reference that should have blocked");
                obstacles.add(&hit.key.name, &why);
            }
        }
        Ok(())
    }
}

fn page_size(rule: Rule) -> usize {
    match rule {
        Rule::CascadeSync | Rule::CascadeAsync => SIMPLE_MAX,
        _ => UNSETS_MAX,
    }
}

async fn page(
    deployment: &Deployment,
    range: &IndexRange,
    after: Option<&IndexCursor>,
    limit: usize,
) -> Result<Vec<Hit>, Status> {
    let read =
        async { deployment.backend.snapshot().await?.scan_index(range, after, limit, false).await };
    read.await.map_err(|error| errors::store(&error))
}

/// The resources of types that are known here, each once.
fn referring(deployment: &Deployment, hits: Vec<Hit>) -> Vec<Referring> {
    let mut seen = BTreeSet::new();
    let referring = |Hit { key, row, .. }: Hit| {
        let shape = deployment.shapes.get(&key.table)?.clone();
        seen.insert(key.clone()).then(|| Referring::of(shape, key, row))
    };
    hits.into_iter().filter_map(referring).collect()
}
