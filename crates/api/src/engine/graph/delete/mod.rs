//! Deletions: read, decide, ask those who may refer to the resource, and commit once, on the condition that what was read
//! and answered still holds.
//!
//! What nobody refers to costs one read and one commit: the first attempt assumes so, and its conditions tell if it was
//! wrong. Only then is more read. What is decided is in `graph::plan_delete`; `gather` reads, `question` asks, `blocked` and
//! `pending` word refusals, `rule` deletes what follows from another deletion, `mark` is what becomes of resources that are
//! deleted and not gone yet.

mod blocked;
mod dry;
mod gather;
mod mark;
mod pending;
mod question;
pub(crate) mod rule;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_base::Status;
use bowline_graph::plan_delete::{Answers, Attempt, Doomed, Facts, Plan, Trace, Verdict, plan};
use bowline_graph::{Epoch, TargetName, inbound, index};
use bowline_store::incarnation::{Turn, TurnError};
use bowline_store::{Batch, CommitError, Condition, Key, Position, Row, RowId, Write};
use bytes::Bytes;

use crate::engine::idempotency::{Idempotent, Outcome};
use crate::engine::ownership::Guard;
use crate::engine::request::Request;
use crate::engine::save::etag_matches;
use crate::engine::select::decode;
use crate::engine::shape::Shape;
use crate::engine::{Deployment, Engine, Route, errors, respond};
use gather::{Gathered, Identified};
use rule::Cause;

/// A deletion that somebody wants.
pub(crate) struct Wish<'w> {
    pub(crate) deployment: &'w Arc<Deployment>,
    pub(crate) shape: &'w Arc<Shape>,
    /// As the type's version has it.
    pub(crate) name: &'w str,
    /// Children that block because they are children go too.
    pub(crate) force: bool,
    /// When it is to be finished, as monotonic time.
    pub(crate) until: Duration,
    pub(crate) why: Why<'w>,
}

/// Where a deletion comes from.
pub(crate) enum Why<'w> {
    Asked(Asked<'w>),
    Rule(&'w Cause),
}

/// A request to delete.
pub(crate) struct Asked<'w> {
    pub(crate) route: &'w Arc<Route>,
    pub(crate) request: &'w Request<'w>,
    /// Empty: whatever its state.
    pub(crate) etag: String,
    pub(crate) idempotent: Option<Idempotent>,
}

/// How one attempt ended.
enum Step {
    Done(Bytes),
    /// By rule, and the reason is gone: nothing has happened.
    Unfounded,
    /// Its sources are to be asked first.
    Ask(Box<Gathered>, Vec<Attempt>),
    /// Something changed meanwhile.
    Again,
}

/// What sources have answered so far, by target.
type Asking = BTreeMap<RowId, Answers>;

impl<'w> Wish<'w> {
    fn by_rule(
        deployment: &'w Arc<Deployment>,
        shape: &'w Arc<Shape>,
        name: &'w str,
        cause: &'w Cause,
        until: Duration,
    ) -> Self {
        Self { deployment, shape, name, force: false, until, why: Why::Rule(cause) }
    }

    pub(crate) fn key(&self) -> Key {
        self.shape.key(self.name)
    }

    /// Whether there still is a reason to delete what is in the row.
    ///
    /// # Errors
    /// `CONFLICT` for another etag.
    fn check(&self, row: &Row) -> Result<bool, Status> {
        let ty = &self.shape.ty;
        match &self.why {
            Why::Asked(Asked { etag, .. }) if !etag.is_empty() => {
                match etag_matches(&decode(ty, self.name, row)?, etag) {
                    true => Ok(true),
                    false => Err(errors::conflict(ty, self.name, "has another etag now")),
                }
            }
            Why::Asked(_) => Ok(true),
            Why::Rule(cause) => Ok(cause.holds(row)),
        }
    }

    fn trace(&self, now: jiff::Timestamp) -> Trace {
        let (root_cause, actor) = match &self.why {
            // Nobody proves yet who they are.
            Why::Asked(_) => (format!("{} {}", self.shape.ty.kind, self.name), String::new()),
            Why::Rule(cause) => (cause.root_cause.clone(), cause.actor.clone()),
        };
        Trace { root_cause, actor, delete_millis: now.as_millisecond() }
    }

    fn answer(&self, engine: &Engine, row: &Row) -> Bytes {
        match &self.why {
            Why::Asked(Asked { route, .. }) => {
                let (ty, response) = (&self.shape.ty, &route.binding.response);
                respond::deleted(response, ty, &row.body, &engine.seams)
            }
            Why::Rule(_) => Bytes::new(),
        }
    }
}

impl Engine {
    /// Deletes a resource, and what goes with it in the same commit. Answers what the request's method answers; `None` if it
    /// was to be deleted by a rule whose reason is gone.
    ///
    /// # Errors
    /// `RESOURCE_NOT_FOUND`, also for what is being deleted already; `DELETION_BLOCKED` naming what blocks; `UNAVAILABLE`
    /// naming a deployment that cannot be asked; `NOT_OWNED`; `CONFLICT`. Nothing has happened then.
    pub(crate) async fn carry_out_deletion(
        self: &Arc<Self>,
        wish: &Wish<'_>,
    ) -> Result<Option<Bytes>, Status> {
        let mut asking = Asking::new();
        let mut holding_off = Vec::new();
        for attempt in 0..self.limits.write_attempts_max {
            match self.try_deletion(wish, &asking, attempt == 0).await? {
                Step::Done(answer) => return Ok(Some(answer)),
                Step::Unfounded => return Ok(None),
                Step::Again => {}
                Step::Ask(gathered, attempts) => {
                    // Ours of the attempt before would make us wait for ourselves.
                    drop(std::mem::take(&mut holding_off));
                    let asked = self.ask_sources(wish, &gathered, &attempts).await?;
                    holding_off = asked.holding_off;
                    asking.extend(asked.answers);
                }
            }
        }
        drop(holding_off);
        Err(errors::conflict(&wish.shape.ty, wish.name, "is written by many at once"))
    }

    /// One attempt. `is_first`: on the assumption that nothing refers to it.
    async fn try_deletion(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        asking: &Asking,
        is_first: bool,
    ) -> Result<Step, Status> {
        let guard = self.guard_of(wish.deployment, wish.shape, wish.name, None).await?;
        let turn = wish.deployment.begin().await?;
        let found = wish.deployment.backend.get(&wish.key()).await;
        let (row, position) = found.map_err(|error| errors::store(&error))?;
        let Some(row) = row else {
            let answer = self.absent(wish).await?;
            return Ok(answer.map_or(Step::Unfounded, Step::Done));
        };
        if !wish.check(&row)? {
            return Ok(Step::Unfounded);
        }
        if index::is_marked(&row) {
            return self.marked_already(wish, &row).await.map(Step::Done);
        }
        let facts = self.no_facts(wish, position);
        let mut gathered = Gathered::alone(facts, position);
        gathered
            .doom(self, wish, (wish.shape, Identified::of_row(wish.shape, wish.key(), &row)), guard)
            .await?;
        if !is_first {
            self.gather(wish, &mut gathered, asking).await?;
        }
        match plan(&gathered.facts) {
            Plan::NeedsAttempt(attempts) => Ok(Step::Ask(Box::new(gathered), attempts)),
            Plan::Blocked(blocked) => {
                if let Why::Rule(cause) = &wish.why {
                    // Whoever frees one of them wakes the controller.
                    let uids = gathered.held.iter().map(|(uid, _)| *uid);
                    wish.deployment.waits.wait(cause.target, uids);
                }
                Err(self.blocked(wish, &gathered, blocked).await)
            }
            Plan::Verdict(verdict) => {
                let answer = wish.answer(self, verdict.row_of(&wish.key()).unwrap_or(&row));
                let outcome = self.commit_verdict(wish, turn, &gathered, verdict, &answer).await?;
                match outcome {
                    Outcome::Committed => Ok(Step::Done(answer)),
                    Outcome::Answered(answer) => Ok(Step::Done(answer)),
                    Outcome::Lost => {
                        self.refresh_all(wish.deployment, &gathered.guards).await?;
                        Ok(Step::Again)
                    }
                }
            }
        }
    }

    /// What deleting comes to where there is nothing; `None` by rule.
    async fn absent(&self, wish: &Wish<'_>) -> Result<Option<Bytes>, Status> {
        let ty = &wish.shape.ty;
        let Why::Asked(Asked { route, request, idempotent, .. }) = &wish.why else {
            return Ok(None);
        };
        // It may be gone because this very request was carried out meanwhile, by another call.
        if let Some(answer) = self.answer_before(route, idempotent.as_ref()).await? {
            return Ok(Some(answer));
        }
        if request.flag(&request.fields.allow_missing) {
            return Ok(Some(respond::written(&route.binding.response, ty, None, &self.seams)));
        }
        Err(errors::not_found(ty, wish.name))
    }

    async fn commit_verdict(
        &self,
        wish: &Wish<'_>,
        turn: Turn,
        gathered: &Gathered,
        verdict: Verdict,
        answer: &Bytes,
    ) -> Result<Outcome, Status> {
        let Verdict { mut conditions, writes, purges, kept, .. } = verdict;
        conditions.extend(gathered.conditions.iter().cloned());
        let outcome = match &wish.why {
            Why::Asked(Asked { route, idempotent, .. }) => {
                self.commit(route, turn, conditions, writes, idempotent.as_ref(), answer).await?
            }
            Why::Rule(_) => commit_by_rule(wish.deployment, turn, conditions, writes).await?,
        };
        if matches!(outcome, Outcome::Committed) {
            // What is kept holds what it held until it is purged.
            for (uid, held) in gathered.held.iter().filter(|(uid, _)| !kept.contains(uid)) {
                wish.deployment.removed(*uid, held);
            }
            if !purges {
                wish.deployment.ring();
            }
        }
        Ok(outcome)
    }

    /// Reads the rows of their places anew: a commit that required them was lost, maybe because of one.
    async fn refresh_all(
        &self,
        deployment: &Deployment,
        guards: &[Option<Guard>],
    ) -> Result<(), Status> {
        for guard in guards {
            self.refresh_of(deployment, guard.as_ref()).await?;
        }
        Ok(())
    }

    /// A resource that is to go, as far as its row tells.
    async fn doomed(
        &self,
        deployment: &Deployment,
        shape: &Shape,
        row: Identified,
        fresh: Epoch,
    ) -> Result<Doomed, Status> {
        let Identified { key, version, uid, whole, .. } = row;
        let policy = self.kept_policy(deployment, shape, &key).await?;
        let left_behind = self.leave_behind(deployment, shape, &key.name).await?;
        let mark = whole.map(|row| self.mark(deployment, shape, &key, &row)).transpose()?;
        let name = name_of(&key);
        let names = if shape.has_shadows() { self.stored_names(&name).await? } else { Vec::new() };
        Ok(Doomed {
            version,
            uid,
            names,
            name,
            key,
            inbound: None,
            fresh,
            referrers: Vec::new(),
            has_more_blockers: false,
            has_more: false,
            answers: None,
            mark,
            policy,
            left_behind,
        })
    }

    /// All facts but those about single resources.
    fn no_facts(&self, wish: &Wish<'_>, position: Position) -> Facts {
        Facts {
            doomed: Vec::new(),
            unsets: Vec::new(),
            spaces: wish.deployment.namespaces().into_iter().collect(),
            sequence: position.sequence,
            trace: wish.trace(self.seams.clock.now()),
        }
    }
}

async fn commit_by_rule(
    deployment: &Deployment,
    turn: Turn,
    conditions: Vec<Condition>,
    writes: Vec<Write>,
) -> Result<Outcome, Status> {
    match turn.commit(Batch { conditions, writes }).await {
        Ok(position) => {
            deployment.note_commit(position);
            Ok(Outcome::Committed)
        }
        Err(TurnError::Lost | TurnError::Commit(CommitError::ConditionFailed { .. })) => {
            Ok(Outcome::Lost)
        }
        Err(TurnError::Commit(error)) => Err(errors::commit(&error)),
    }
}

/// The epoch of an inbound part that is made at `position`.
fn fresh_epoch(guard: Option<&Guard>, position: Position) -> Epoch {
    let ownership = guard.map_or(0, Guard::epoch);
    Epoch::default().raised(ownership, position.era, position.sequence)
}

/// Where the inbound part of a resource is.
fn inbound_key(key: &Key, uid: RowId) -> Key {
    inbound::key(&key.table.kind, uid)
}

/// A resource as the stored version has it.
fn name_of(key: &Key) -> TargetName {
    TargetName::new(key.table.kind.clone(), key.table.namespace.clone(), key.name.clone())
}
