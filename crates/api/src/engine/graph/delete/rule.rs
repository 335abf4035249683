//! Deletions that nobody asked for: a target is gone, and what refers to it goes too, because the schema says so.
//!
//! Each is conditional on its reason: the version of the row that was read, in which the reference to that very target is
//! still held. Those that nothing refers to are deleted many in one commit ([`Engine::delete_simple`]); the others go the
//! way of any deletion ([`Engine::delete_by_rule`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_graph::{Behaviour, Held, index};
use bowline_store::incarnation::TurnError;
use bowline_store::{Batch, CommitError, Condition, IndexRange, Key, Range, Row, RowId, Write};

use super::{Wish, inbound_key, name_of};
use crate::engine::graph::kept::{finalizers, has_any};
use crate::engine::ownership::Guard;
use crate::engine::shape::{Shape, aside_of};
use crate::engine::{Deployment, Engine, errors};
use crate::handler::Context;

/// Most resources that one commit deletes by [`Engine::delete_simple`].
pub(crate) const SIMPLE_MAX: usize = 512;

/// Why a resource is deleted that nobody asked to delete.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    /// `KIND NAME` of what was deleted first.
    pub(crate) root_cause: String,
    /// Who asked for that.
    pub(crate) actor: String,
    /// The deleted target: the resource must still hold a reference to it that cascades.
    pub(crate) target: RowId,
}

impl Cause {
    /// Whether the resource in `row` is still to go.
    pub(crate) fn holds(&self, row: &Row) -> bool {
        self.is_held(&aside_of(row).references)
    }

    /// Whether a resource that holds these is still to go.
    fn is_held(&self, held: &[Held]) -> bool {
        held.iter().any(|held| held.uid == self.target && held.behaviour == Behaviour::Cascade)
    }
}

/// What a deletion by rule came to.
#[derive(Debug)]
pub(crate) enum ByRule {
    /// Its deletion has committed; what refers to it follows.
    Deleted,
    /// It is not there any more, or does not refer to the target any more: nothing happened.
    Unfounded,
    /// It stays as long as something stands in the way, or holds what is being deleted already, which the status names;
    /// worth trying again.
    Blocked(Status),
}

/// A resource that refers to a deleted target, as an index led to it.
#[derive(Clone)]
pub(crate) struct Referring {
    pub(crate) shape: Arc<Shape>,
    pub(crate) key: Key,
    pub(crate) row: Row,
    /// What the row holds.
    pub(crate) held: Vec<Held>,
}

impl Referring {
    pub(crate) fn of(shape: Arc<Shape>, key: Key, row: Row) -> Self {
        let held = aside_of(&row).references;
        Self { shape, key, row, held }
    }
}

impl Referring {
    /// Whether, as far as its row tells, it can be gone without leaving anything.
    fn may_be_simple(&self) -> bool {
        let Self { shape, key, row, .. } = self;
        let is_held = || match shape.ty.async_deletion {
            // One that does not decode is found to be so by its own deletion.
            true => finalizers(shape, &key.name, row).map_or(true, |all| !all.is_empty()),
            false => false,
        };
        !shape.leaves_behind() && !index::is_marked(row) && !is_held()
    }
}

impl Engine {
    /// Deletes one resource by rule, as any deletion: it asks deployments that may refer to it, and takes along what
    /// goes in the same commit.
    ///
    /// # Errors
    /// `UNAVAILABLE` naming a deployment that cannot be asked; `NOT_OWNED` if the resource is not owned here (any more);
    /// `CONFLICT` if it is written by many at once. Nothing has happened then.
    pub(crate) async fn delete_by_rule(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        shape: &Arc<Shape>,
        name: &str,
        cause: &Cause,
    ) -> Result<ByRule, Status> {
        let until = self.until(&Context::default());
        let wish = Wish::by_rule(deployment, shape, name, cause, until);
        match self.carry_out_deletion(&wish).await {
            Ok(Some(_)) => Ok(ByRule::Deleted),
            Ok(None) => Ok(ByRule::Unfounded),
            Err(status) if status.reason == Reason::DeletionBlocked => Ok(ByRule::Blocked(status)),
            // It is marked already.
            Err(status) if status.reason == Reason::DeletionPending => Ok(ByRule::Blocked(status)),
            Err(status) => Err(status),
        }
    }

    /// Deletes, in one commit, those of `referring` (at most [`SIMPLE_MAX`]) that nothing refers to and nothing ever
    /// referred to from elsewhere. Gives those that are left for [`Engine::delete_by_rule`], in no particular order; what does
    /// not refer to the target any more is left alone, and is not among them.
    ///
    /// Cost: one commit; where some are not simple, a look at each and a second commit.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn delete_simple(
        &self,
        deployment: &Arc<Deployment>,
        cause: &Cause,
        mut referring: Vec<Referring>,
    ) -> Result<Vec<Referring>, Status> {
        let mut later = referring.split_off(referring.len().min(SIMPLE_MAX));
        let (mut simple, mut left) = (Vec::with_capacity(referring.len()), Vec::new());
        for referrer in referring.into_iter().filter(|referrer| cause.is_held(&referrer.held)) {
            if referrer.may_be_simple() { &mut simple } else { &mut left }.push(referrer);
        }
        for _ in 0..self.limits.write_attempts_max {
            let together = self.together(deployment, simple).await;
            left.extend(together.unowned);
            simple = together.simple;
            if simple.is_empty() {
                break;
            }
            let turn = deployment.begin().await?;
            match turn.commit(together.batch).await {
                Ok(position) => {
                    deployment.note_commit(position);
                    for referrer in simple.drain(..) {
                        deployment.removed(referrer.row.id, &referrer.held);
                    }
                }
                Err(TurnError::Lost | TurnError::Commit(CommitError::ConditionFailed { .. })) => {
                    self.refresh_all(deployment, &together.guards).await?;
                    simple = self.sift(deployment, cause, simple, &mut left).await?;
                }
                Err(TurnError::Commit(error)) => return Err(errors::commit(&error)),
            }
        }
        left.extend(simple);
        left.append(&mut later);
        Ok(left)
    }

    /// The commit that deletes those of `referring` that are owned here.
    async fn together(&self, deployment: &Deployment, referring: Vec<Referring>) -> Together {
        let spaces = deployment.namespaces();
        let mut together = Together::default();
        let mut places = Vec::new();
        for referrer in referring {
            let Referring { shape, key, row, .. } = &referrer;
            let guard = self.guard_of(deployment, shape, &key.name, None).await;
            let ranges = self.reference_ranges(&spaces, shape, key, row.id).await;
            let (Ok(guard), Ok(ranges)) = (guard, ranges) else {
                together.unowned.push(referrer);
                continue;
            };
            let place = self.ownership_conditions(guard.as_ref());
            if let Some(place) = place.filter(|place| !places.contains(place)) {
                places.push(place);
                together.guards.push(guard);
            }
            let Batch { conditions, writes } = &mut together.batch;
            conditions.push(Condition::RowAt { key: key.clone(), version: row.version });
            if shape.has_shadows() {
                conditions.push(Condition::RowAbsent { key: inbound_key(key, row.id) });
            }
            let none = |range| Condition::NoRowInRange { range: Range::Index(range) };
            conditions.extend(ranges.into_iter().map(none));
            writes.push(Write::Remove { key: key.clone() });
            together.simple.push(referrer);
        }
        together.batch.conditions.extend(places);
        together
    }

    /// Looks at each anew: which are still simple, which never were (`left`), which have no reason to go any more.
    async fn sift(
        &self,
        deployment: &Deployment,
        cause: &Cause,
        referring: Vec<Referring>,
        left: &mut Vec<Referring>,
    ) -> Result<Vec<Referring>, Status> {
        let (spaces, mut simple) = (deployment.namespaces(), Vec::new());
        let mut looked = Vec::with_capacity(referring.len());
        for referrer in referring {
            let ranges = {
                let Referring { shape, key, row, .. } = &referrer;
                self.reference_ranges(&spaces, shape, key, row.id).await?
            };
            looked.push((referrer, ranges));
        }
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        for (referrer, ranges) in looked {
            let inbound = inbound_key(&referrer.key, referrer.row.id);
            let rows = snapshot.batch_get(&[referrer.key.clone(), inbound]).await;
            let mut rows = rows.map_err(|error| errors::store(&error))?.into_iter();
            let Some(row) = rows.next().flatten() else { continue };
            let now = Referring::of(referrer.shape, referrer.key, row);
            if !cause.is_held(&now.held) {
                continue;
            }
            let has_inbound = rows.next().flatten().is_some();
            let is_referred_to = has_any(snapshot.as_mut(), &ranges).await;
            let is_referred_to = is_referred_to.map_err(|error| errors::store(&error))?;
            let is_free = !has_inbound && !is_referred_to;
            let is_simple = is_free && now.may_be_simple();
            if is_simple { &mut simple } else { &mut *left }.push(now);
        }
        Ok(simple)
    }

    /// Where all lies that refers to the resource under `key`.
    async fn reference_ranges(
        &self,
        spaces: &BTreeSet<Arc<str>>,
        shape: &Shape,
        key: &Key,
        uid: RowId,
    ) -> Result<Vec<IndexRange>, Status> {
        if !shape.has_shadows() {
            return Ok(Vec::new());
        }
        let names = self.stored_names(&name_of(key)).await?;
        let in_space = |space| names.iter().map(move |name| index::range_to(space, name, uid));
        Ok(spaces.iter().flat_map(in_space).collect())
    }
}

/// See [`Engine::together`].
#[derive(Default)]
struct Together {
    batch: Batch,
    simple: Vec<Referring>,
    unowned: Vec<Referring>,
    /// One for each place.
    guards: Vec<Option<Guard>>,
}
