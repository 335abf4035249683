//! What is known before the meta service answers: what the configuration says. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bowline_schema::model::Service;

use crate::id::DeploymentId;
use crate::picture::{DeploymentInfo, META, Picture, ResourceInfo, ServiceInfo};
use crate::policy::Policy;

/// Where the meta service is. Whoever knows this finds all else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// The meta deployments, by region: where deployments are possible, and how the one of each region is reached.
    /// These addresses count for as long as the process runs, whatever is registered: without them nothing can be mended.
    pub meta: BTreeMap<Arc<str>, DeploymentInfo>,
    /// The meta service as it is registered the first time.
    pub service: ServiceInfo,
}

impl Bootstrap {
    /// `control_region` owns the registry as long as the registered policy of the meta service does not say otherwise.
    pub fn new(
        meta: &Service,
        deployments: BTreeMap<Arc<str>, DeploymentInfo>,
        control_region: &str,
    ) -> Self {
        let policy = Policy::new(control_region, deployments.keys().map(AsRef::as_ref));
        Self { service: service_info(meta, policy, 0), meta: deployments }
    }

    /// The picture to begin with: it is enough to reach the meta service.
    pub fn picture(&self) -> Picture {
        let deployment = |(region, info): (&Arc<str>, &DeploymentInfo)| {
            (DeploymentId::new(META, region.clone()), Arc::new(info.clone()))
        };
        Picture {
            regions: self.regions(),
            services: BTreeMap::from([(META.into(), Arc::new(self.service.clone()))]),
            deployments: self.meta.iter().map(deployment).collect(),
            is_whole: false,
        }
    }

    pub(super) fn regions(&self) -> BTreeSet<Arc<str>> {
        self.meta.keys().cloned().collect()
    }
}

/// What the registry has to know of a loaded service.
pub fn service_info(service: &Service, policy: Policy, generation: i32) -> ServiceInfo {
    let newest_first = || service.versions.iter().rev();
    let mut info = ServiceInfo {
        versions: newest_first().map(|version| version.version.as_str().into()).collect(),
        policy,
        uses: service.uses.iter().map(|name| name.as_str().into()).collect(),
        generation,
        ..ServiceInfo::default()
    };
    for version in newest_first() {
        let of: Arc<str> = version.version.as_str().into();
        for (imported, at) in &version.imports {
            info.imports.insert(imported.as_str().into());
            info.imported_versions
                .insert((of.clone(), imported.as_str().into()), at.as_str().into());
        }
        for ty in &version.types {
            let id = ty.kind.rsplit('/').next().unwrap_or(&ty.kind);
            let resource: &mut ResourceInfo = info.resources.entry(id.into()).or_default();
            // The first one is the newest.
            if resource.versions.is_empty() {
                resource.plural = ty.plural.as_str().into();
            }
            resource.versions.push(of.clone());
            if ty.regional {
                resource.regional.insert(of.clone());
            }
        }
    }
    // What is referred to is called as well; that says nothing new.
    info.uses.retain(|name| !info.imports.contains(name));
    info
}
