//! Tests of the environment: `pure` what is decided, `live` what happens.

mod live;
mod pure;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Bootstrap, Registration, service_info};
use crate::id::DeploymentId;
use crate::mirror::testing::registry;
use crate::picture::{DeploymentInfo, META, ResourceInfo, ServiceInfo};
use crate::policy::Policy;

fn texts<C: FromIterator<Arc<str>>>(texts: &[&str]) -> C {
    texts.iter().map(|text| Arc::from(*text)).collect()
}

/// `eu` is the control region.
fn bootstrap(regions: &[&str]) -> Bootstrap {
    let info = |region: &&str| {
        let address = format!("meta.{region}:1");
        let info = DeploymentInfo {
            public_address: address.as_str().into(),
            current_version: "v1".into(),
            ..DeploymentInfo::default()
        };
        (Arc::from(*region), info)
    };
    let deployments: BTreeMap<_, _> = regions.iter().map(info).collect();
    Bootstrap::new(registry().service(META).unwrap(), deployments, "eu")
}

/// A service with one type, in `v1` and `v1alpha2`, which imports `imports` at `v1`.
fn service(regions: &[&str], imports: &[&str]) -> ServiceInfo {
    let versions: Vec<Arc<str>> = texts(&["v1", "v1alpha2"]);
    let resource = ResourceInfo {
        plural: "Things".into(),
        versions: versions.clone(),
        regional: texts(&["v1"]),
    };
    let imported = imports.iter().map(|name| (("v1".into(), Arc::from(*name)), "v1".into()));
    ServiceInfo {
        versions,
        policy: Policy::new("eu", regions.iter().copied()),
        imports: texts::<BTreeSet<_>>(imports),
        imported_versions: imported.collect(),
        resources: [("Thing".into(), resource)].into(),
        ..ServiceInfo::default()
    }
}

fn registration(id: &str, service: ServiceInfo) -> Registration {
    let deployment: DeploymentId = id.parse().unwrap();
    let info = DeploymentInfo {
        public_address: format!("{}:1", deployment.region).as_str().into(),
        generation: 1,
        ..DeploymentInfo::default()
    };
    Registration::new(deployment, service, info)
}

/// The registration of the meta deployment itself.
fn meta_registration(bootstrap: &Bootstrap, region: &str) -> Registration {
    let policy = bootstrap.service.policy.clone();
    let service = service_info(registry().service(META).unwrap(), policy, 0);
    let info = bootstrap.meta[region].clone();
    Registration::new(DeploymentId::new(META, region), service, info)
}

fn things_id() -> DeploymentId {
    DeploymentId::new("things.test", "eu")
}
