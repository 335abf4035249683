//! A picture out of what the configuration says, what the meta service says, and what was known before a restart. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bootstrap::Bootstrap;
use crate::id::DeploymentId;
use crate::picture::{DeploymentInfo, META, Picture, ResourceInfo, ServiceInfo};

/// Resources of the meta service, by what they are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) regions: BTreeSet<Arc<str>>,
    /// Without their types.
    pub(super) services: BTreeMap<Arc<str>, Arc<ServiceInfo>>,
    /// By service and id.
    pub(super) resources: BTreeMap<(Arc<str>, Arc<str>), Arc<ResourceInfo>>,
    pub(super) deployments: BTreeMap<DeploymentId, Arc<DeploymentInfo>>,
}

/// Of which kinds everything was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) regions: bool,
    pub(super) services: bool,
    pub(super) resources: bool,
    pub(super) deployments: bool,
}

impl Known {
    /// What a picture was made of.
    pub(super) fn of(picture: &Picture) -> Self {
        let mut known = Self {
            regions: picture.regions.clone(),
            deployments: picture.deployments.clone(),
            ..Self::default()
        };
        for (name, info) in &picture.services {
            for (id, resource) in &info.resources {
                known.resources.insert((name.clone(), id.clone()), Arc::new(resource.clone()));
            }
            let bare = ServiceInfo { resources: BTreeMap::new(), ..(**info).clone() };
            known.services.insert(name.clone(), Arc::new(bare));
        }
        known
    }

    /// Drops what was `heard` anew, and whole kinds once all of them was heard: the rest nobody has spoken about yet.
    pub(super) fn forget(&mut self, heard: &Self, complete: Complete) {
        self.regions.retain(|key| !complete.regions && !heard.regions.contains(key));
        self.services.retain(|key, _| !complete.services && !heard.services.contains_key(key));
        self.resources.retain(|key, _| !complete.resources && !heard.resources.contains_key(key));
        self.deployments
            .retain(|key, _| !complete.deployments && !heard.deployments.contains_key(key));
    }
}

/// The picture. `heard` is what the meta service says, `before` what was known and nobody has spoken about yet.
///
/// Parts that are as in `last` are shared with it, so that whoever compares pointers sees what changed.
pub(super) fn assemble(
    bootstrap: &Bootstrap,
    before: &Known,
    heard: &Known,
    is_whole: bool,
    last: &Picture,
) -> Picture {
    let mut picture = Picture { is_whole, ..bootstrap.picture() };
    let mut services = picture.services.clone();
    for known in [before, heard] {
        picture.regions.extend(known.regions.iter().cloned());
        let of = |(name, info): (&Arc<str>, &Arc<ServiceInfo>)| (name.clone(), info.clone());
        services.extend(known.services.iter().map(of));
        for (id, info) in &known.deployments {
            picture.deployments.insert(id.clone(), reachable(bootstrap, id, info));
        }
    }
    picture.services = services
        .into_iter()
        .map(|(name, info)| (name.clone(), with_resources(&name, &info, before, heard)))
        .collect();
    share(&mut picture.services, &last.services);
    share(&mut picture.deployments, &last.deployments);
    picture
}

/// A meta deployment is reached where the configuration says.
fn reachable(
    bootstrap: &Bootstrap,
    id: &DeploymentId,
    info: &Arc<DeploymentInfo>,
) -> Arc<DeploymentInfo> {
    match bootstrap.meta.get(&id.region).filter(|_| &*id.service == META) {
        Some(configured) => Arc::new(DeploymentInfo {
            public_address: configured.public_address.clone(),
            private_address: configured.private_address.clone(),
            local_network: configured.local_network.clone(),
            ..(**info).clone()
        }),
        None => info.clone(),
    }
}

fn with_resources(
    name: &Arc<str>,
    info: &ServiceInfo,
    before: &Known,
    heard: &Known,
) -> Arc<ServiceInfo> {
    let mut info = info.clone();
    for known in [before, heard] {
        let from = (name.clone(), Arc::from(""));
        let of_service =
            known.resources.range(from..).take_while(|((service, _), _)| service == name);
        for ((_, id), resource) in of_service {
            info.resources.insert(id.clone(), (**resource).clone());
        }
    }
    Arc::new(info)
}

fn share<K: Ord, V: PartialEq>(now: &mut BTreeMap<K, Arc<V>>, last: &BTreeMap<K, Arc<V>>) {
    for (key, value) in now {
        if let Some(same) = last.get(key).filter(|same| *same == value) {
            *value = same.clone();
        }
    }
}
