//! What a fleet's configuration says to the environment registry: where the meta service is, and what registers. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bowline_node::environment::{Bootstrap, Registration, service_info};
use bowline_node::picture::{DeploymentInfo, ServiceInfo};
use bowline_node::{DeploymentId, Policy};
use bowline_schema::model::{Registry, Service};
use bowline_wire::meta::SERVICE as META;

use crate::config::{DeploymentPlan, Plan};

/// Where the meta deployments are; `None` if the registry lacks the meta service.
pub fn bootstrap(plan: &Plan, registry: &Registry) -> Option<Bootstrap> {
    let meta = service(registry, META)?;
    let deployments = plan.deployments.iter().filter(|(id, _)| *id.service == *META);
    let deployments: BTreeMap<Arc<str>, DeploymentInfo> = deployments
        .map(|(id, one)| (id.region.clone(), deployed(plan, registry, id, one)))
        .collect();
    Some(Bootstrap::new(meta, deployments, &plan.control_region))
}

/// What a deployment registers; `None` if it is not planned, or its service not loaded.
pub fn registration(plan: &Plan, registry: &Registry, id: &DeploymentId) -> Option<Registration> {
    let service = service(registry, &id.service)?;
    let deployment = plan.deployments.get(id)?;
    let info = registered(plan, registry, service);
    Some(Registration::new(id.clone(), info, deployed(plan, registry, id, deployment)))
}

fn service<'r>(registry: &'r Registry, name: &str) -> Option<&'r Service> {
    registry.services.iter().map(|service| &**service).find(|service| service.name == name)
}

/// What is not loaded is external: references into it are shown and never enforced, so nothing has to be deployed.
fn registered(plan: &Plan, registry: &Registry, service: &Service) -> ServiceInfo {
    let is_loaded = |name: &Arc<str>| self::service(registry, name).is_some();
    let mut info = service_info(service, policy(plan, &service.name), plan.generation);
    info.imports.retain(is_loaded);
    info.imported_versions.retain(|(_, imported), _| is_loaded(imported));
    info
}

/// Everywhere where the service is. Where it is not in the fleet's control region, its first region has control.
fn policy(plan: &Plan, service: &str) -> Policy {
    let regions: BTreeSet<&Arc<str>> = plan.regions_of(service).collect();
    let first = plan.regions.iter().find(|region| regions.contains(region));
    let control = match regions.contains(&plan.control_region) {
        true => Some(&plan.control_region),
        false => first,
    };
    Policy::new(control.map_or("", |region| region), regions.iter().map(|region| &***region))
}

fn deployed(
    plan: &Plan,
    registry: &Registry,
    id: &DeploymentId,
    deployment: &DeploymentPlan,
) -> DeploymentInfo {
    let newest = service(registry, &id.service).and_then(|service| service.versions.last());
    let newest = newest.map(|version| version.version.clone());
    let version = deployment.start_version.clone().or(newest).unwrap_or_default();
    DeploymentInfo {
        public_address: deployment.address.as_str().into(),
        current_version: version.into(),
        generation: deployment.generation,
        config_generation: plan.generation,
        ..DeploymentInfo::default()
    }
}
