//! The owner's side of references: `EstablishReferences`, `ConfirmBlockades`, `WithdrawBlockades`.
//!
//! A source is granted all that it wants, or nothing. One that is known already costs one read here and no commit; so does
//! one that asks for a save which is only tried (`is_dry`).

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_graph::grant::{Answer, BlockadeId, Change, Granted};
use bowline_graph::{Epoch, Inbound, TargetName, inbound, plan_save};
use bowline_node::DeploymentId;
use bowline_resource::name;
use bowline_store::{Key, Row, RowId, Snapshot, layout};
use bowline_wire::bowline::mixin::v1::establish_references_response::{
    Granted as WireGranted, Refused,
};
use bowline_wire::bowline::mixin::v1::{
    BlockadesRequest, BlockadesResponse, EstablishReferencesRequest, EstablishReferencesResponse,
    Refusal,
};
use futures::future::join_all;

use super::{damaged, relation, wire};
use crate::engine::hooks::SaveKind;
use crate::engine::shape::{Shape, document_of};
use crate::engine::{Deployment, Engine, errors, shape_key_of};
use crate::handler::Context;

/// After this it is worth asking again for what is about to be deleted, at the latest.
const RETRY_MAX: Duration = Duration::from_millis(50);

/// A target that somebody wants to refer to.
struct Wanted {
    /// As the caller names it.
    target: TargetName,
    fence: Option<Epoch>,
    blockade: BlockadeId,
}

/// A wanted target that is there.
struct Found {
    /// As it is stored.
    target: TargetName,
    uid: RowId,
    inbound: Option<Inbound>,
}

/// Why one of them is refused.
struct No {
    why: Refusal,
    message: String,
    retry: Duration,
    region: String,
}

impl No {
    fn new(why: Refusal, message: String) -> Self {
        Self { why, message, retry: Duration::ZERO, region: String::new() }
    }
}

/// Somebody who asks, and the deployment that is asked.
struct Asking<'a> {
    deployment: &'a Arc<Deployment>,
    caller: &'a DeploymentId,
}

impl Engine {
    /// Answers `EstablishReferences`.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` unless a deployment asks; what is wrong with the request; `UNAVAILABLE` if it cannot be said
    /// whether a target is owned here. What a target is refused for is in the answer.
    pub(crate) async fn establish_references(
        self: &Arc<Self>,
        request: &EstablishReferencesRequest,
        context: &Context,
    ) -> Result<EstablishReferencesResponse, Status> {
        let (deployment, caller) = self.asked(context)?;
        let asking = Asking { deployment, caller };
        if *caller == self.me(&deployment.service) {
            let message = format!("{caller} sees its own resources, and needs no grant for them");
            return Err(Status::new(Reason::CallerRefused, message));
        }
        let wanted = wanted(request)?;
        let found = self.find_all(&asking, &wanted).await?;
        let found: Vec<Found> = match all(found) {
            Ok(found) => found,
            Err(refused) => return Ok(refused),
        };
        if request.is_dry {
            return Ok(self.grant_none(&asking, &wanted, &found));
        }
        self.grant_all(&asking, &wanted, &found).await
    }

    /// What a request for nothing but an answer is told: what it would be granted, or refused.
    fn grant_none(
        &self,
        asking: &Asking<'_>,
        wanted: &[Wanted],
        found: &[Found],
    ) -> EstablishReferencesResponse {
        let each = wanted.iter().zip(found).map(|(wanted, found)| {
            let is_settled = found.inbound.as_ref().is_some_and(|inbound| {
                inbound.grant_by_reading(asking.caller, wanted.fence, &wanted.blockade).is_some()
            });
            match self.being_deleted(asking, wanted, found) {
                Some(no) if !is_settled => Err(no),
                _ => Ok(found),
            }
        });
        let granted = match all(each.collect()) {
            Ok(granted) => granted,
            Err(refused) => return refused,
        };
        let granted = granted.into_iter().map(|found| WireGranted {
            epoch: Some(found.inbound.as_ref().map(|i| i.epoch).unwrap_or_default().into()),
            uid: found.uid.0.to_be_bytes().to_vec(),
            has_blockade: false,
        });
        EstablishReferencesResponse { granted: granted.collect(), refused: Vec::new() }
    }

    /// Why nothing is granted on a target at the moment: somebody is about to delete it.
    fn being_deleted(&self, asking: &Asking<'_>, wanted: &Wanted, found: &Found) -> Option<No> {
        let held_off = self.held_off(asking.deployment, &found.target.kind, found.uid);
        if held_off.is_zero() {
            return None;
        }
        let message = format!("\"{}\" is about to be deleted", wanted.target.name);
        let no = No::new(Refusal::DeletionInProgress, message);
        Some(No { retry: held_off.min(RETRY_MAX), ..no })
    }

    async fn grant_all(
        self: &Arc<Self>,
        asking: &Asking<'_>,
        wanted: &[Wanted],
        found: &[Found],
    ) -> Result<EstablishReferencesResponse, Status> {
        let each = wanted.iter().zip(found);
        let grants = each.clone().map(|(wanted, found)| self.grant(asking, wanted, found));
        let answers: Result<Vec<_>, Status> = join_all(grants).await.into_iter().collect();
        let granted = match answers.map(all) {
            Ok(Ok(granted)) => granted,
            outcome => {
                // Nothing of it is granted, so nobody will confirm or withdraw it.
                let withdrawals = each.map(|(wanted, found)| self.take_back(asking, wanted, found));
                join_all(withdrawals).await;
                return outcome.map(|refused| refused.err().unwrap_or_default());
            }
        };
        let granted = granted.into_iter().zip(found).map(|(granted, found)| WireGranted {
            epoch: Some(granted.epoch.into()),
            uid: found.uid.0.to_be_bytes().to_vec(),
            has_blockade: granted.has_blockade,
        });
        Ok(EstablishReferencesResponse { granted: granted.collect(), refused: Vec::new() })
    }

    async fn grant(
        self: &Arc<Self>,
        asking: &Asking<'_>,
        wanted: &Wanted,
        found: &Found,
    ) -> Result<Result<Granted, No>, Status> {
        let Asking { deployment, caller } = asking;
        let by_reading = found
            .inbound
            .as_ref()
            .and_then(|inbound| inbound.grant_by_reading(caller, wanted.fence, &wanted.blockade));
        if let Some(granted) = by_reading {
            return Ok(Ok(granted));
        }
        if let Some(no) = self.being_deleted(asking, wanted, found) {
            return Ok(Err(no));
        }
        let by = (*caller).clone();
        let change = Change::Grant { by, fence: wanted.fence, blockade: wanted.blockade };
        match self.change_inbound(deployment, &found.target, found.uid, change).await {
            Ok(Answer::Granted(granted)) => Ok(Ok(granted)),
            Ok(_) => Ok(Err(deleting(&wanted.target))),
            // It may have changed hands since it was looked for.
            Err(status) => no_owner(&wanted.target, status).map(Err),
        }
    }

    /// Drops the blockade that a target was granted, if it was.
    async fn take_back(self: &Arc<Self>, asking: &Asking<'_>, wanted: &Wanted, found: &Found) {
        let Asking { deployment, caller } = asking;
        let change = Change::Withdraw { by: (*caller).clone(), blockade: wanted.blockade };
        let outcome = self.change_inbound(deployment, &found.target, found.uid, change).await;
        if let Err(status) = outcome {
            tracing::debug!(target = %found.target, %status, "a blockade is left to expire");
        }
    }

    /// Looks for all targets in one view of the store.
    async fn find_all(
        &self,
        asking: &Asking<'_>,
        wanted: &[Wanted],
    ) -> Result<Vec<Result<Found, No>>, Status> {
        let mut places = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            places.push(self.place_of(asking, &wanted.target).await?);
        }
        let snapshot = asking.deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let found = self.look_up(asking, snapshot.as_mut(), places).await?;
        with_inbound(snapshot.as_mut(), found).await
    }

    /// Where a target would be stored, if the caller may refer to it and it is owned here.
    async fn place_of(
        &self,
        asking: &Asking<'_>,
        target: &TargetName,
    ) -> Result<Result<Vec<TargetName>, No>, Status> {
        let Asking { deployment, caller } = asking;
        let unknown = || No::new(Refusal::TypeUnknown, format!("{target} is of no type here"));
        let shape = self.shapes.get(&shape_key_of(&target.kind, &target.version));
        let is_here = target.service() == &*deployment.service;
        let Some(shape) = shape.filter(|shape| is_here && shape.has_shadows()) else {
            return Ok(Err(unknown()));
        };
        if !self.may_refer(caller, &deployment.service)? {
            let (from, to) = (&caller.service, &deployment.service);
            let message = format!("{from} imports no version of {to} that is served here");
            return Ok(Err(No::new(Refusal::NotAllowed, message)));
        }
        let Ok(parsed) = name::parse(&shape.ty, &target.name) else {
            return Ok(Err(not_found(target)));
        };
        let target = TargetName { name: parsed.text.into(), ..target.clone() };
        // As for a save: what only waits to follow its policy holder is referred to no more.
        let save = Some(SaveKind::Update);
        if let Err(status) = self.guard_of(deployment, shape, &target.name, save).await {
            return no_owner(&target, status).map(Err);
        }
        self.stored_names(&target).await.map(Ok)
    }

    async fn look_up(
        &self,
        asking: &Asking<'_>,
        snapshot: &mut dyn Snapshot,
        places: Vec<Result<Vec<TargetName>, No>>,
    ) -> Result<Vec<Result<Found, No>>, Status> {
        let names = places.iter().flatten().flatten();
        let keys: Vec<Key> =
            names.flat_map(|name| [plan_save::key(name), alias_key(name)]).collect();
        let rows = snapshot.batch_get(&keys).await.map_err(|error| errors::store(&error))?;
        let mut rows = rows.into_iter();
        let found = places.into_iter().map(|place| {
            let names = place?;
            let mut rows = rows.by_ref().take(2 * names.len());
            let mut found = Err(not_found(&names[0]));
            for name in names {
                let (row, alias) = (rows.next().flatten(), rows.next().flatten());
                match row.filter(plan_save::may_be_referred_to) {
                    Some(row) if found.is_err() => {
                        found = self.is_allowed(asking, &name, &row).map(|()| Found {
                            target: name,
                            uid: row.id,
                            inbound: None,
                        });
                    }
                    // Names of what is being deleted stay taken until that is finished.
                    None if found.is_err() && alias.is_some() => found = Err(deleting(&name)),
                    _ => {}
                }
            }
            found
        });
        Ok(found.collect())
    }

    fn is_allowed(&self, asking: &Asking<'_>, target: &TargetName, row: &Row) -> Result<(), No> {
        let Asking { deployment, caller } = asking;
        // Nothing needs to be decoded for the own service, which is always allowed.
        if caller.service == deployment.service {
            return Ok(());
        }
        let shape = self.shapes.get(&shape_key_of(&target.kind, &target.version));
        let allows = |shape: &Arc<Shape>| match document_of(&shape.ty, row) {
            Ok(document) => relation::allows(&document.meta(), &shape.ty, &caller.service),
            Err(error) => {
                tracing::error!(%target, %error, "stored resource does not decode");
                false
            }
        };
        if shape.is_some_and(allows) {
            return Ok(());
        }
        let message = format!("\"{}\" allows no references of {}", target.name, caller.service);
        Err(No::new(Refusal::NotAllowed, message))
    }

    /// Answers `ConfirmBlockades`.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` unless a deployment asks; what is wrong with the request; the store's. What was done by then
    /// stays done, and does no harm a second time.
    pub(crate) async fn confirm_blockades(
        self: &Arc<Self>,
        request: &BlockadesRequest,
        context: &Context,
    ) -> Result<BlockadesResponse, Status> {
        self.drop_blockades(request, context, |by, blockade| Change::Confirm { by, blockade }).await
    }

    /// Answers `WithdrawBlockades`.
    ///
    /// # Errors
    /// As [`Engine::confirm_blockades`].
    pub(crate) async fn withdraw_blockades(
        self: &Arc<Self>,
        request: &BlockadesRequest,
        context: &Context,
    ) -> Result<BlockadesResponse, Status> {
        let change = |by, blockade| Change::Withdraw { by, blockade };
        self.drop_blockades(request, context, change).await
    }

    async fn drop_blockades(
        self: &Arc<Self>,
        request: &BlockadesRequest,
        context: &Context,
        change: impl Fn(DeploymentId, BlockadeId) -> Change,
    ) -> Result<BlockadesResponse, Status> {
        let (deployment, caller) = self.asked(context)?;
        let blockades = &request.blockades;
        wire::check_count("blockades", blockades.len(), wire::ITEMS_MAX)?;
        let mut changes = Vec::with_capacity(blockades.len());
        for blockade in blockades {
            let target = wire::target(blockade.target.as_ref(), "blockades.target")?;
            let uid = wire::uid(&blockade.uid, "blockades.uid")?;
            let id = wire::id(&blockade.blockade_id, "blockades.blockade_id")?;
            changes.push((target, uid, change(caller.clone(), id)));
        }
        let all = changes
            .into_iter()
            .map(|(target, uid, change)| self.drop_one(deployment, target, uid, change));
        join_all(all).await.into_iter().collect::<Result<Vec<()>, Status>>()?;
        Ok(BlockadesResponse {})
    }

    async fn drop_one(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        target: TargetName,
        uid: RowId,
        change: Change,
    ) -> Result<(), Status> {
        for kind in self.stored_kinds(&target.kind, &target.version) {
            let stored = TargetName { kind, ..target.clone() };
            let answer = self.change_inbound(deployment, &stored, uid, change.clone()).await?;
            if answer != Answer::Unlisted {
                break;
            }
        }
        Ok(())
    }
}

fn wanted(request: &EstablishReferencesRequest) -> Result<Vec<Wanted>, Status> {
    wire::check_count("wanted", request.wanted.len(), wire::ITEMS_MAX)?;
    let wanted = request.wanted.iter().map(|wanted| {
        let fence = wanted.fence.map(|fence| wire::epoch(fence, "wanted.fence"));
        Ok(Wanted {
            target: wire::target(wanted.target.as_ref(), "wanted.target")?,
            fence: fence.transpose()?,
            blockade: wire::id(&wanted.blockade_id, "wanted.blockade_id")?,
        })
    });
    wanted.collect()
}

/// All of them, or the answer that refuses.
fn all<T>(each: Vec<Result<T, No>>) -> Result<Vec<T>, EstablishReferencesResponse> {
    let (mut good, mut refused) = (Vec::with_capacity(each.len()), Vec::new());
    for (at, one) in each.into_iter().enumerate() {
        match one {
            Ok(one) => good.push(one),
            Err(no) => refused.push(Refused {
                index: u32::try_from(at).unwrap_or(u32::MAX),
                why: no.why.into(),
                message: no.message,
                retry_millis: u32::try_from(no.retry.as_millis()).unwrap_or(u32::MAX),
                region: no.region,
            }),
        }
    }
    if refused.is_empty() {
        Ok(good)
    } else {
        Err(EstablishReferencesResponse { granted: Vec::new(), refused })
    }
}

/// Reads the inbound parts of what was found.
async fn with_inbound(
    snapshot: &mut dyn Snapshot,
    mut found: Vec<Result<Found, No>>,
) -> Result<Vec<Result<Found, No>>, Status> {
    let there = found.iter().flatten();
    let keys: Vec<Key> = there.map(|found| inbound::key(&found.target.kind, found.uid)).collect();
    let rows = snapshot.batch_get(&keys).await.map_err(|error| errors::store(&error))?;
    for (found, row) in found.iter_mut().flatten().zip(rows) {
        let inbound = row.as_ref().map(Inbound::of_row).transpose();
        found.inbound = inbound.map_err(|error| damaged(&error))?;
    }
    Ok(found)
}

fn alias_key(target: &TargetName) -> Key {
    let table = layout::aliases(&target.version, &target.kind);
    Key { table, name: target.name.clone() }
}

fn not_found(target: &TargetName) -> No {
    No::new(Refusal::NotFound, format!("\"{}\" does not exist", target.name))
}

fn deleting(target: &TargetName) -> No {
    No::new(Refusal::Deleting, format!("\"{}\" is being deleted", target.name))
}

/// What it means that a target's ownership is not as it should be.
fn no_owner(target: &TargetName, status: Status) -> Result<No, Status> {
    match status.reason {
        Reason::NotOwned => {
            let region = status.metadata.get("region").cloned().unwrap_or_default();
            let no = No::new(Refusal::NotOwned, status.message);
            Ok(No { region, ..no })
        }
        // Its policy holder does not exist, so nothing is below it.
        Reason::ResourceNotFound => Ok(not_found(target)),
        _ => Err(status),
    }
}
