//! Keeps the picture true: a mirror for each kind of the meta service, assembled anew whenever one of them changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bowline_schema::model::Registry;
use bowline_wire::goten::meta::v1 as wire;
use bowline_wire::meta::kind;
use futures::FutureExt;
use futures::future::select_all;
use prost::Message;
use tokio::sync::watch;

use super::assemble::{Complete, Known, assemble};
use super::{EnvironmentParts, Shared, convert};
use crate::mirror::{
    Decode, DecodeError, ENTRIES_MAX, MethodError, Mirror, MirrorParts, SourceHealth, SourceState,
    WatchMethod,
};
use crate::picture::{DeploymentInfo, META, ResourceInfo, ServiceInfo};

/// What the meta service says, live.
pub(super) struct Mirrors {
    regions: Mirror<()>,
    services: Mirror<ServiceInfo>,
    resources: Mirror<ResourceInfo>,
    deployments: Mirror<DeploymentInfo>,
}

impl Mirrors {
    pub(super) fn start(
        parts: &EnvironmentParts,
        picture: &watch::Receiver<Arc<crate::Picture>>,
    ) -> Result<Self, MethodError> {
        let starter = Starter { parts, picture };
        Ok(Self {
            regions: starter.start(kind::REGION, &["title"], |_: &wire::Region| ())?,
            services: starter.start(
                kind::SERVICE,
                &convert::SERVICE_FIELDS,
                convert::service_info,
            )?,
            resources: starter.start(
                kind::RESOURCE,
                &convert::RESOURCE_FIELDS,
                convert::resource_info,
            )?,
            deployments: starter.start(
                kind::DEPLOYMENT,
                &convert::DEPLOYMENT_FIELDS,
                convert::deployment_info,
            )?,
        })
    }

    fn heard(&self) -> Known {
        let names = self.regions.all();
        let services = self.services.all().into_iter();
        let resources = self.resources.all().into_iter();
        let deployments = self.deployments.all().into_iter();
        Known {
            regions: names.keys().filter_map(|name| convert::region_of(name)).collect(),
            services: services
                .filter_map(|(name, info)| Some((convert::service_of(&name)?, info)))
                .collect(),
            resources: resources
                .filter_map(|(name, info)| Some((convert::resource_of(&name)?, info)))
                .collect(),
            deployments: deployments
                .filter_map(|(name, info)| Some((convert::deployment_of(&name)?, info)))
                .collect(),
        }
    }

    fn complete(&self) -> Complete {
        Complete {
            regions: self.regions.is_complete(),
            services: self.services.is_complete(),
            resources: self.resources.is_complete(),
            deployments: self.deployments.is_complete(),
        }
    }

    /// How it stands with each meta deployment, for each kind.
    pub(super) fn health(&self) -> Vec<(&'static str, Vec<SourceHealth>)> {
        vec![
            (kind::REGION, self.regions.health()),
            (kind::SERVICE, self.services.health()),
            (kind::RESOURCE, self.resources.health()),
            (kind::DEPLOYMENT, self.deployments.health()),
        ]
    }

    fn changes(&self) -> [watch::Receiver<u64>; 4] {
        [
            self.regions.changes(),
            self.services.changes(),
            self.resources.changes(),
            self.deployments.changes(),
        ]
    }
}

struct Starter<'a> {
    parts: &'a EnvironmentParts,
    picture: &'a watch::Receiver<Arc<crate::Picture>>,
}

impl Starter<'_> {
    fn start<R, T>(
        &self,
        kind: &str,
        fields: &[&str],
        of: impl Fn(&R) -> T + Send + Sync + 'static,
    ) -> Result<Mirror<T>, MethodError>
    where
        R: Message + Default,
        T: PartialEq + Send + Sync + 'static,
    {
        let registry: &Registry = &self.parts.registry;
        let decode: Decode<T> = Arc::new(move |_, bytes| {
            R::decode(bytes).map(|resource| of(&resource)).map_err(DecodeError::from)
        });
        Ok(Mirror::start(MirrorParts {
            me: self.parts.me.clone(),
            method: WatchMethod::of(registry, kind)?,
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            picture: self.picture.clone(),
            peers: self.parts.peers.clone(),
            seams: self.parts.seams.clone(),
            entries_max: ENTRIES_MAX,
            decode,
        }))
    }
}

/// Follows the mirrors for ever.
pub(super) async fn run(shared: Arc<Shared>, mut before: Known) {
    let mut changes = shared.mirrors.changes();
    loop {
        for change in &mut changes {
            change.mark_unchanged();
        }
        // Completeness first: what comes after it was looked at is in what is heard as well, never the other way round.
        let complete = shared.mirrors.complete();
        let heard = shared.mirrors.heard();
        before.forget(&heard, complete);
        publish(&shared, &before, &heard, complete.deployments);
        look_at_sources(&shared, complete);
        let any = changes.iter_mut().map(|change| change.changed().boxed());
        // The mirrors live as long as `shared`.
        let _ = select_all(any).await;
    }
}

fn publish(shared: &Shared, before: &Known, heard: &Known, is_whole: bool) {
    let is_changed = shared.picture.send_if_modified(|picture| {
        let next = assemble(&shared.bootstrap, before, heard, is_whole, picture);
        let is_changed = next != **picture;
        if is_changed {
            *picture = Arc::new(next);
        }
        is_changed
    });
    if is_changed {
        shared.look_for_own_generations();
    }
}

/// Says which meta deployments have not told everything yet.
fn look_at_sources(shared: &Shared, complete: Complete) {
    let Complete { regions, services, resources, deployments } = complete;
    let is_whole = regions && services && resources && deployments;
    let control = shared.control_region();
    let kinds = shared.mirrors.health();
    let has_told = |source: &SourceHealth| source.source.region == control && source.is_complete;
    let is_control_whole = kinds.iter().all(|(_, sources)| sources.iter().any(has_told));
    let silent = kinds.iter().flat_map(|(_, sources)| sources).filter(|one| !one.is_complete);
    let mut missing: BTreeSet<String> = silent.map(in_words).collect();
    if missing.is_empty() && !is_whole {
        missing.insert(META.to_owned());
    }
    shared.heard.send_if_modified(|now| {
        let next = super::Heard { is_whole, is_control_whole, missing };
        let is_changed = *now != next;
        *now = next;
        is_changed
    });
}

fn in_words(source: &SourceHealth) -> String {
    match &source.state {
        SourceState::Unreachable { status, .. } => {
            format!("{}: {}", source.source, status.message)
        }
        SourceState::Starting | SourceState::Current => source.source.to_string(),
    }
}
