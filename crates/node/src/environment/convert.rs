//! Between the meta service's resources and what a picture has of them. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use bowline_wire::goten::meta::v1 as wire;
use bowline_wire::goten::meta::v1::resource::VersionedInfo;
use bowline_wire::goten::meta::v1::service::ImportedVersions;
use bowline_wire::goten::types::MultiRegionPolicy;

use crate::id::DeploymentId;
use crate::picture::{DeploymentInfo, ResourceInfo, ServiceInfo};
use crate::policy::Policy;

/// Fields of `Service` that a picture has.
pub(super) const SERVICE_FIELDS: [&str; 6] = [
    "multi_region_policy",
    "all_versions",
    "imported_services",
    "used_services",
    "imported_versions",
    "env_registry_generation",
];
/// Fields of `Resource` that a picture has.
pub(super) const RESOURCE_FIELDS: [&str; 3] = ["plural_name", "versions", "versioned_infos"];
/// Fields of `Deployment` that a picture has.
pub(super) const DEPLOYMENT_FIELDS: [&str; 7] = [
    "public_domain",
    "private_domain",
    "local_network_id",
    "is_disabled",
    "env_registry_generation",
    "current_version",
    "generation",
];

pub(super) fn region_name(region: &str) -> String {
    format!("regions/{region}")
}

pub(super) fn service_name(service: &str) -> String {
    format!("services/{service}")
}

pub(super) fn resource_name(service: &str, resource: &str) -> String {
    format!("services/{service}/resources/{resource}")
}

pub(super) fn deployment_name(id: &DeploymentId) -> String {
    format!("services/{}/deployments/{}", id.service, id.region)
}

/// `eu-west` of `regions/eu-west`.
pub(super) fn region_of(name: &str) -> Option<Arc<str>> {
    name.strip_prefix("regions/").map(Arc::from)
}

/// `iam.test` of `services/iam.test`.
pub(super) fn service_of(name: &str) -> Option<Arc<str>> {
    name.strip_prefix("services/").filter(|rest| !rest.contains('/')).map(Arc::from)
}

/// `(iam.test, User)` of `services/iam.test/resources/User`.
pub(super) fn resource_of(name: &str) -> Option<(Arc<str>, Arc<str>)> {
    let (service, id) = name.strip_prefix("services/")?.split_once("/resources/")?;
    Some((service.into(), id.into()))
}

/// `iam.test@eu-west` of `services/iam.test/deployments/eu-west`.
pub(super) fn deployment_of(name: &str) -> Option<DeploymentId> {
    let (service, region) = name.strip_prefix("services/")?.split_once("/deployments/")?;
    Some(DeploymentId::new(service, region))
}

/// Everything but the service's types, which are resources of their own.
pub(super) fn service_info(service: &wire::Service) -> ServiceInfo {
    let imported = |one: &ImportedVersions| {
        let target = service_of(&one.target_service)?;
        let key = (one.current_service_version.as_str().into(), target);
        Some((key, one.target_service_version.as_str().into()))
    };
    let names = |names: &[String]| names.iter().filter_map(|name| service_of(name)).collect();
    ServiceInfo {
        versions: texts(&service.all_versions),
        policy: service.multi_region_policy.as_ref().map(Policy::from).unwrap_or_default(),
        imports: names(&service.imported_services),
        uses: names(&service.used_services),
        imported_versions: service.imported_versions.iter().filter_map(imported).collect(),
        resources: std::collections::BTreeMap::new(),
        generation: service.env_registry_generation,
    }
}

pub(super) fn resource_info(resource: &wire::Resource) -> ResourceInfo {
    let regional = resource.versioned_infos.iter().filter(|info| info.is_regional);
    ResourceInfo {
        plural: resource.plural_name.as_str().into(),
        versions: texts(&resource.versions),
        regional: regional.map(|info| info.version.as_str().into()).collect(),
    }
}

pub(super) fn deployment_info(deployment: &wire::Deployment) -> DeploymentInfo {
    DeploymentInfo {
        public_address: deployment.public_domain.as_str().into(),
        private_address: deployment.private_domain.as_str().into(),
        local_network: deployment.local_network_id.as_str().into(),
        current_version: deployment.current_version.as_str().into(),
        is_disabled: deployment.is_disabled,
        generation: u64::try_from(deployment.generation).unwrap_or(0),
        config_generation: deployment.env_registry_generation,
    }
}

pub(super) fn region(region: &str) -> wire::Region {
    wire::Region { name: region_name(region), ..wire::Region::default() }
}

pub(super) fn service(name: &str, info: &ServiceInfo) -> wire::Service {
    let imported = |((version, target), at): (&(Arc<str>, Arc<str>), &Arc<str>)| ImportedVersions {
        target_service: service_name(target),
        target_service_version: at.to_string(),
        current_service_version: version.to_string(),
    };
    let names = |names: &BTreeSet<Arc<str>>| names.iter().map(|name| service_name(name)).collect();
    wire::Service {
        name: service_name(name),
        multi_region_policy: Some(MultiRegionPolicy::from(&info.policy)),
        display_name: display_name(name),
        all_versions: strings(&info.versions),
        imported_services: names(&info.imports),
        used_services: names(&info.uses),
        imported_versions: info.imported_versions.iter().map(imported).collect(),
        env_registry_generation: info.generation,
        ..wire::Service::default()
    }
}

pub(super) fn resource(service: &str, id: &str, info: &ResourceInfo) -> wire::Resource {
    let versioned = |version: &Arc<str>| VersionedInfo {
        version: version.to_string(),
        is_regional: info.regional.contains(version),
    };
    wire::Resource {
        name: resource_name(service, id),
        plural_name: info.plural.to_string(),
        versions: strings(&info.versions),
        versioned_infos: info.versions.iter().map(versioned).collect(),
        ..wire::Resource::default()
    }
}

pub(super) fn deployment(id: &DeploymentId, info: &DeploymentInfo) -> wire::Deployment {
    wire::Deployment {
        name: deployment_name(id),
        service_name: display_name(&id.service),
        region: region_name(&id.region),
        public_domain: info.public_address.to_string(),
        private_domain: info.private_address.to_string(),
        local_network_id: info.local_network.to_string(),
        is_disabled: info.is_disabled,
        env_registry_generation: info.config_generation,
        current_version: info.current_version.to_string(),
        generation: i64::try_from(info.generation).unwrap_or(i64::MAX),
        ..wire::Deployment::default()
    }
}

/// `devicePlans` of `device-plans.example.com`.
fn display_name(service: &str) -> String {
    let label = service.split('.').next().unwrap_or(service);
    let mut name = String::with_capacity(label.len());
    for (index, word) in label.split('-').filter(|word| !word.is_empty()).enumerate() {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if index > 0 => {
                name.extend(first.to_uppercase());
                name.push_str(letters.as_str());
            }
            _ => name.push_str(word),
        }
    }
    name
}

fn texts(texts: &[String]) -> Vec<Arc<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

fn strings(texts: &[Arc<str>]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}
