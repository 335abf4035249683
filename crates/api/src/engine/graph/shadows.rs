//! `GetResourceShadow`, `ListResourceShadows`: all that this deployment knows of its resources beside their documents, for
//! the deployments of the same service.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_graph::{Held, Inbound, TargetName, deletion, inbound, plan_save};
use bowline_resource::page::query_hash;
use bowline_store::{Key, NameRange, Row, Snapshot, layout};
use bowline_wire::bowline::mixin::v1::resource_shadow::{Reference, Source};
use bowline_wire::bowline::mixin::v1::{
    Deletion, GetResourceShadowRequest, ListResourceShadowsRequest, ListResourceShadowsResponse,
    ResourceShadow,
};

use super::referrers::{bad_token, page_size, position_of, token_at};
use super::{damaged, wire};
use crate::engine::shape::{Shape, aside_of};
use crate::engine::{Deployment, Engine, errors, shape_key_of};
use crate::handler::Context;

/// In front of a resource's name, this names its shadow.
pub(super) const COLLECTION: &str = "resourceShadows/";

const ACTIVE: &str = "ACTIVE";
const DELETING: &str = "DELETING";

impl Engine {
    /// Answers `GetResourceShadow`. A resource that is being deleted has one until that is finished.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` unless a deployment asks, `CALLER_REFUSED` unless it is one of the same service;
    /// `RESOURCE_NOT_FOUND`.
    pub(crate) async fn get_resource_shadow(
        &self,
        request: &GetResourceShadowRequest,
        context: &Context,
    ) -> Result<ResourceShadow, Status> {
        let (deployment, shape) = self.asked_for(&request.kind, &request.version, context)?;
        let Some(name) = request.name.strip_prefix(COLLECTION) else {
            return Err(wire::bad("name", "does not begin with \"resourceShadows/\""));
        };
        let target = TargetName::new(&*request.kind, &*request.version, name);
        wire::target(Some(&(&target).into()), "name")?;
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let alias = Key {
            table: layout::aliases(&target.version, &target.kind),
            name: target.name.clone(),
        };
        let keys = [plan_save::key(&target), alias];
        let rows = snapshot.batch_get(&keys).await.map_err(|error| errors::store(&error))?;
        let mut rows = rows.into_iter().flatten();
        let Some(row) = rows.next() else { return Err(errors::not_found(&shape.ty, name)) };
        let all = shadows(snapshot.as_mut(), vec![(target, row)]).await?;
        all.into_iter().next().ok_or_else(|| errors::not_found(&shape.ty, name))
    }

    /// Answers `ListResourceShadows`: those of resources that are there, by name.
    ///
    /// # Errors
    /// As [`Engine::get_resource_shadow`]; `INVALID_PAGE_TOKEN`.
    pub(crate) async fn list_resource_shadows(
        &self,
        request: &ListResourceShadowsRequest,
        context: &Context,
    ) -> Result<ListResourceShadowsResponse, Status> {
        let (deployment, shape) = self.asked_for(&request.kind, &request.version, context)?;
        let size = page_size(request.page_size)?;
        let query = query_hash(&["shadows", &request.kind, &request.version]);
        let mut range = NameRange::all(shape.table.clone());
        if let Some(after) = position_of(&request.page_token, query)? {
            let after = String::from_utf8(after).map_err(|error| bad_token(&error))?;
            range.from = after + "\0";
        }
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let rows = snapshot.scan(&range, size, false).await;
        let rows = rows.map_err(|error| errors::store(&error))?;
        let next = rows.last().filter(|_| rows.len() == size);
        let next_page_token =
            next.map(|(name, _)| token_at(name.as_bytes().to_vec(), query)).unwrap_or_default();
        let named = rows
            .into_iter()
            .map(|(name, row)| (TargetName::new(&*request.kind, &*request.version, name), row));
        let resource_shadows = shadows(snapshot.as_mut(), named.collect()).await?;
        Ok(ListResourceShadowsResponse { resource_shadows, next_page_token })
    }

    /// The deployment that was meant, if one of the same service asks.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED`, `CALLER_REFUSED`.
    pub(super) fn asked_by_own(&self, context: &Context) -> Result<&Arc<Deployment>, Status> {
        let (deployment, caller) = self.asked(context)?;
        if caller.service != deployment.service {
            let message = format!("{caller} is no deployment of {}", deployment.service);
            return Err(Status::new(Reason::CallerRefused, message));
        }
        Ok(deployment)
    }

    fn asked_for(
        &self,
        kind: &str,
        version: &str,
        context: &Context,
    ) -> Result<(&Arc<Deployment>, &Arc<Shape>), Status> {
        let deployment = self.asked_by_own(context)?;
        let shape = self.shapes.get(&shape_key_of(kind, version));
        let is_here = |shape: &&Arc<Shape>| {
            shape.has_shadows() && deployment.shapes.contains_key(&shape.table)
        };
        let shape = shape.filter(is_here);
        let shape = shape.ok_or_else(|| wire::bad("kind", "has no shadows here"))?;
        Ok((deployment, shape))
    }
}

/// The shadows of resources, or of what an alias row stands for.
pub(super) async fn shadows(
    snapshot: &mut dyn Snapshot,
    rows: Vec<(TargetName, Row)>,
) -> Result<Vec<ResourceShadow>, Status> {
    let keys = rows.iter().flat_map(|(target, row)| {
        [inbound::key(&target.kind, row.id), deletion::key(&target.kind, row.id)]
    });
    let keys: Vec<_> = keys.collect();
    let beside = snapshot.batch_get(&keys).await.map_err(|error| errors::store(&error))?;
    let mut beside = beside.into_iter();
    let all = rows.into_iter().map(|(target, row)| {
        let (inbound, deletion) = (beside.next().flatten(), beside.next().flatten());
        let inbound = inbound.as_ref().map(Inbound::of_row).transpose();
        let inbound = inbound.map_err(|error| damaged(&error))?;
        let deletion = deletion.as_ref().map(deletion::of_row).transpose();
        let deletion = deletion.map_err(|error| damaged(&error))?;
        Ok(shadow(&target, &row, inbound, deletion))
    });
    all.collect()
}

/// Whether a shadow says that its resource was deleted.
pub(super) fn is_deleting(shadow: &ResourceShadow) -> bool {
    shadow.lifecycle == DELETING
}

/// Says of a shadow that its resource was deleted.
pub(super) fn mark_deleting(shadow: &mut ResourceShadow, deletion: Deletion) {
    shadow.lifecycle = DELETING.to_owned();
    shadow.root_cause = deletion.root_cause;
    shadow.actor = deletion.actor;
    shadow.delete_millis = deletion.delete_millis;
}

fn shadow(
    target: &TargetName,
    row: &Row,
    inbound: Option<Inbound>,
    deletion: Option<Deletion>,
) -> ResourceShadow {
    let is_deleting = deletion.is_some() || inbound.as_ref().is_some_and(|i| i.is_deleting);
    let sources = inbound.iter().flat_map(|inbound| &inbound.sources);
    let sources = sources.map(|source| Source {
        service: source.deployment.service.to_string(),
        region: source.deployment.region.to_string(),
        is_leaving: source.leaving.is_some(),
    });
    let blockades = inbound.as_ref().map_or(0, |inbound| inbound.blockades.len());
    let mut shadow = ResourceShadow {
        name: format!("{COLLECTION}{}", target.name),
        kind: target.kind.to_string(),
        version: target.version.to_string(),
        uid: row.id.0.to_be_bytes().to_vec(),
        lifecycle: ACTIVE.to_owned(),
        references: aside_of(row).references.iter().map(reference).collect(),
        epoch: inbound.as_ref().map(|inbound| inbound.epoch.into()),
        back_reference_sources: sources.collect(),
        tentative_blockades: u32::try_from(blockades).unwrap_or(u32::MAX),
        ..ResourceShadow::default()
    };
    if is_deleting {
        mark_deleting(&mut shadow, deletion.unwrap_or_default());
    }
    shadow
}

fn reference(held: &Held) -> Reference {
    Reference {
        path: held.path.clone(),
        target: Some((&held.target).into()),
        target_uid: held.uid.0.to_be_bytes().to_vec(),
        region: held.region.as_deref().unwrap_or_default().to_owned(),
        behaviour: bowline_wire::bowline::mixin::v1::Behaviour::from(held.behaviour).into(),
    }
}
