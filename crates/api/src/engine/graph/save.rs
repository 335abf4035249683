//! The references of a save: what is new among them is looked up here, or established where it is owned, and the commit
//! gets its conditions.
//!
//! All of it happens within the save's turn, after which fences are kept: a grant counts for the turn in which it was
//! asked for and for no other, so a save that starts over asks anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_graph::plan_save::{self, Diff, Footing, SavePlan, Saved};
use bowline_graph::{Behaviour, Entry, Epoch, Held, TargetName, fence};
use bowline_node::DeploymentId;
use bowline_resource::document::Document;
use bowline_store::{Condition, Key, RowId, Write, layout};

use super::establish::{Establishing, Round};
use super::refused::{Problem, Why, refusal};
use crate::engine::shape::Shape;
use crate::engine::{Deployment, Engine, errors};

/// Up to so many rows are read singly, through the cache; more in one go.
const SINGLE_READS_MAX: usize = 8;

/// A save whose references are to be settled.
pub(crate) struct Saving<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) shape: &'a Shape,
    pub(crate) name: &'a str,
    pub(crate) id: RowId,
    /// Its deletion has committed: it gains no references.
    pub(crate) is_marked: bool,
    /// Until when, as monotonic time.
    pub(crate) until: Duration,
    /// Nothing is to be committed: others are asked what they would grant, and grant nothing.
    pub(crate) is_dry: bool,
}

/// A resource as it is stored before a save; nothing, if it is made.
#[derive(Default)]
pub(crate) struct Before<'a> {
    pub(crate) document: Option<&'a Document>,
    pub(crate) held: &'a [Held],
}

/// What a commit needs so that all references of a document hold.
#[derive(Default)]
pub(crate) struct Settled {
    plan: SavePlan,
    footings: BTreeMap<TargetName, Footing>,
}

/// Where the targets of new references are owned.
#[derive(Default)]
struct Whereabouts {
    here: BTreeSet<TargetName>,
    elsewhere: BTreeMap<DeploymentId, Vec<TargetName>>,
    /// Nobody can own it: what it would lie in does not exist.
    nowhere: Vec<TargetName>,
}

impl Settled {
    /// All that the resource then holds.
    pub(crate) fn references(&self) -> Vec<Held> {
        self.plan.references.clone()
    }

    pub(crate) fn conditions(&self) -> impl Iterator<Item = Condition> {
        self.plan.conditions.iter().cloned()
    }

    /// The task that confirms blockades after the commit.
    pub(crate) fn task(&self) -> Option<Write> {
        self.plan.task_write()
    }

    /// What new references rest on.
    pub(crate) fn footings(&self) -> &BTreeMap<TargetName, Footing> {
        &self.footings
    }

    /// The commit has happened: whoever confirms blockades is told that there is work, and whoever waits for what was let
    /// go of.
    pub(crate) fn committed(&self, deployment: &Deployment) {
        if self.plan.task.is_some() {
            deployment.ring();
        }
        deployment.let_go(&self.plan.dropped);
    }
}

impl Saving<'_> {
    fn own(&self) -> TargetName {
        let ty = &self.shape.ty;
        TargetName::new(&*ty.kind, &*ty.version, self.name)
    }
}

/// The row that keeps the name of a resource taken whose deletion has not finished.
pub(crate) fn alias_key(shape: &Shape, name: &str) -> Key {
    let table = layout::aliases(&shape.ty.version, &shape.ty.kind);
    Key { table, name: name.into() }
}

impl Engine {
    /// What the commit of `document` needs, instead of what was there before.
    ///
    /// Cost: nothing if it can hold none; a walk over its reference fields if none is new; one read of all local targets
    /// that are not in the cache; one call to each other deployment that owns a new target.
    ///
    /// # Errors
    /// `REFERENCE_NOT_FOUND` and `REFERENCE_REFUSED` naming fields and targets; `CONFLICT` if a target's deletion is being
    /// decided for long; `UNAVAILABLE` naming the deployment that does not answer. Nothing is left behind then.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        saving: &Saving<'_>,
        document: &Document,
        before: &Before<'_>,
    ) -> Result<Settled, Status> {
        let held = before.held;
        if saving.shape.references.is_empty() {
            return Ok(Settled::default());
        }
        let entries = saving.shape.references.of_document(document);
        let max = self.limits.references_max;
        if entries.len() > max {
            return Err(errors::limit(
                "the number of references",
                entries.len(),
                max,
                "references",
            ));
        }
        if saving.is_marked {
            let said = before.document.map(|before| saving.shape.references.of_document(before));
            let left = plan_save::remaining(held, &said.unwrap_or_default(), &entries);
            let references = left.map_err(|gained| refused_to_marked(saving, gained))?;
            let dropped = plan_save::diff(held, &entries).dropped;
            let plan = SavePlan { references, dropped, ..SavePlan::default() };
            return Ok(Settled { plan, footings: BTreeMap::new() });
        }
        let diff = plan_save::diff(held, &entries);
        let own = saving.own();
        let wanted = diff.wanted(&own);
        let footings = if wanted.is_empty() {
            BTreeMap::new()
        } else {
            // Most saves have nothing new, so theirs is not the future that is as large as this.
            Box::pin(self.footings(saving, &diff, &wanted)).await?
        };
        if saving.is_dry {
            // An owner that does not know of dry questions has granted, and is given back what it did.
            return Ok(Settled { footings, ..Settled::default() });
        }
        self.plan_references(saving, &own, diff, footings)
    }

    fn plan_references(
        &self,
        saving: &Saving<'_>,
        own: &TargetName,
        diff: Diff,
        footings: BTreeMap<TargetName, Footing>,
    ) -> Result<Settled, Status> {
        let task_id = self.seams.new_uid().into_bytes();
        let now_millis = self.seams.clock.now().as_millisecond();
        let saved = Saved { own, uid: saving.id, task_id, now_millis };
        let plan = plan_save::plan(&saved, diff, &footings).map_err(|error| {
            tracing::error!(%error, "plan of a save");
            Status::new(Reason::Internal, "the references of the resource could not be settled")
        })?;
        if !plan.conditions.is_empty() {
            tracing::trace!(name = saving.name, %plan, "references of a save");
        }
        Ok(Settled { plan, footings })
    }

    /// Finds out what each wanted target offers. What one round could not settle, another may: a target has moved, or
    /// its deletion is being decided.
    async fn footings(
        self: &Arc<Self>,
        saving: &Saving<'_>,
        diff: &Diff,
        wanted: &BTreeMap<TargetName, Behaviour>,
    ) -> Result<BTreeMap<TargetName, Footing>, Status> {
        let me = self.me(&saving.deployment.service);
        let mut establishing = Establishing::new(me.clone(), saving.until, saving.is_dry);
        let mut footings = BTreeMap::new();
        loop {
            let open: Vec<_> = wanted.keys().filter(|t| !footings.contains_key(*t)).collect();
            let round = self.round(saving, diff, wanted, &open, &mut establishing, &mut footings);
            match round.await {
                Ok(Round::Settled) => return Ok(footings),
                Ok(Round::Again) => {}
                Err(status) => {
                    self.withdraw(&me, &footings);
                    return Err(status);
                }
            }
        }
    }

    async fn round(
        self: &Arc<Self>,
        saving: &Saving<'_>,
        diff: &Diff,
        wanted: &BTreeMap<TargetName, Behaviour>,
        open: &[&TargetName],
        establishing: &mut Establishing,
        footings: &mut BTreeMap<TargetName, Footing>,
    ) -> Result<Round, Status> {
        let at = self.whereabouts(&establishing.me, open).await?;
        let (uids, fences) = self.look_up_targets(saving.deployment, &at).await?;
        let mut problems: Vec<_> =
            at.nowhere.iter().map(|target| (target.clone(), Why::NotFound)).collect();
        for target in &at.here {
            let found = match uids.get(target) {
                Some(uid) => Ok(*uid),
                None => self.look_again(saving.deployment, target).await?,
            };
            match found {
                Ok(uid) => {
                    footings.insert(target.clone(), Footing::Local { uid });
                }
                Err(why) => problems.push((target.clone(), why)),
            }
        }
        let mut round = Round::Settled;
        if problems.is_empty() {
            let asked = at.elsewhere.into_iter().map(|(owner, targets)| {
                let wants = targets.into_iter().map(|target| {
                    let (behaviour, fence) = (wanted[&target], fences.get(&target).copied());
                    (target, behaviour, fence)
                });
                (owner, wants.collect())
            });
            let answers = self.establish(establishing, asked.collect()).await;
            footings.extend(answers.granted.into_iter().map(|(t, g)| (t, Footing::Granted(g))));
            problems.extend(answers.problems);
            round = match answers.failure {
                Some(status) => return Err(status),
                None if problems.is_empty() => {
                    self.before_next(establishing, answers.moved, answers.wait).await?
                }
                None => Round::Settled,
            };
        }
        match refusal(&saving.shape.ty, saving.name, &problems_of(diff, problems)) {
            Some(status) => Err(status),
            None => Ok(round),
        }
    }

    async fn whereabouts(
        &self,
        me: &DeploymentId,
        targets: &[&TargetName],
    ) -> Result<Whereabouts, Status> {
        let mut at = Whereabouts::default();
        for target in targets.iter().copied() {
            match self.locate(target).await {
                Ok(owner) if owner == *me => {
                    at.here.insert(target.clone());
                }
                Ok(owner) => at.elsewhere.entry(owner).or_default().push(target.clone()),
                Err(status) if status.reason == Reason::ResourceNotFound => {
                    at.nowhere.push(target.clone());
                }
                Err(status) => return Err(status),
            }
        }
        Ok(at)
    }

    /// Which targets may be referred to here, and the fences at this source for those elsewhere: one read at most.
    async fn look_up_targets(
        &self,
        deployment: &Deployment,
        at: &Whereabouts,
    ) -> Result<(BTreeMap<TargetName, RowId>, BTreeMap<TargetName, Epoch>), Status> {
        let backend = &deployment.backend;
        let (mut uids, mut fences) = (BTreeMap::new(), BTreeMap::new());
        let mut unknown = Vec::new();
        for target in &at.here {
            let key = plan_save::key(target);
            match backend.cached(&key.table, &key.name) {
                Some(row) if plan_save::may_be_referred_to(&row) => {
                    uids.insert(target.clone(), row.id);
                }
                _ => unknown.push((target, key)),
            }
        }
        let fenced = at.elsewhere.values().flatten();
        unknown.extend(fenced.map(|target| (target, fence::key(target))));
        let keys: Vec<_> = unknown.iter().map(|(_, key)| key.clone()).collect();
        let rows = self.read_rows(deployment, &keys).await?;
        for ((target, _), row) in unknown.into_iter().zip(rows) {
            let Some(row) = row else { continue };
            if !at.here.contains(target) {
                fences.extend(fence::Fence::of_row(&row).map(|f| (target.clone(), f.epoch)));
            } else if plan_save::may_be_referred_to(&row) {
                uids.insert(target.clone(), row.id);
            }
        }
        Ok((uids, fences))
    }

    async fn read_rows(
        &self,
        deployment: &Deployment,
        keys: &[Key],
    ) -> Result<Vec<Option<bowline_store::Row>>, Status> {
        let backend = &deployment.backend;
        let rows = if keys.len() <= SINGLE_READS_MAX {
            // One by one, since that is how rows come into the cache; also that one is not there.
            let reads = keys.iter().map(async |key| Ok(backend.get(key).await?.0));
            futures::future::try_join_all(reads).await
        } else {
            match backend.snapshot().await {
                Ok(mut snapshot) => snapshot.batch_get(keys).await,
                Err(error) => Err(error),
            }
        };
        rows.map_err(|error| errors::store(&error))
    }

    /// Why a target was not found that this deployment owns: it was never there, or its deletion has not finished. Its
    /// uid if it has been made in the meantime.
    async fn look_again(
        &self,
        deployment: &Deployment,
        target: &TargetName,
    ) -> Result<Result<RowId, Why>, Status> {
        let alias = layout::aliases(&target.version, &target.kind);
        let alias = Key { table: alias, name: target.name.clone() };
        let rows = self.read_rows(deployment, &[plan_save::key(target), alias]).await?;
        Ok(match rows.first().and_then(Option::as_ref) {
            Some(row) if plan_save::may_be_referred_to(row) => Ok(row.id),
            _ if rows.iter().any(Option::is_some) => Err(Why::Deleting),
            _ => Err(Why::NotFound),
        })
    }
}

/// The refusal of references that a resource would gain which is being deleted.
fn refused_to_marked(saving: &Saving<'_>, gained: Vec<Entry>) -> Status {
    let ty = &saving.shape.ty;
    let problem = |Entry { path, target, .. }| {
        let why =
            Why::Refused(format!("the {} is being deleted and gains no references", ty.singular));
        Problem { path, target, why }
    };
    let problems: Vec<_> = gained.into_iter().map(problem).collect();
    refusal(ty, saving.name, &problems)
        .unwrap_or_else(|| Status::new(Reason::Internal, "nothing was refused"))
}

/// One problem for each field that leads to a target which cannot be referred to.
fn problems_of(diff: &Diff, problems: Vec<(TargetName, Why)>) -> Vec<Problem> {
    let problems: BTreeMap<TargetName, Why> = problems.into_iter().collect();
    let fields = diff.new.iter().filter_map(|Entry { path, target, .. }| {
        let why = problems.get(target)?.clone();
        Some(Problem { path: path.clone(), target: target.clone(), why })
    });
    fields.collect()
}
