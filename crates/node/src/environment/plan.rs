//! What has to be written so that a deployment is registered, from what is registered already. Pure, printable.
//!
//! A service and its types are written by the newest configuration: one with a lower generation than what is stored changes
//! nothing. Of a deployment, what belongs to operators and upgrades (`current_version`, `is_disabled`,
//! `available_upgrade`, `upgrade_state`, `data_update_statuses`) is written when it is created and never again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bowline_wire::goten::meta::v1 as wire;
use bowline_wire::goten::types::MultiRegionPolicy;
use bowline_wire::meta::MetaResource;

use super::convert;
use super::registration::Registration;
use crate::picture::ResourceInfo;
use crate::policy::Policy;

/// What the meta service has, as far as it concerns one registration.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// Those of the wished regions that exist, by name.
    pub(super) regions: Vec<String>,
    pub(super) service: Option<wire::Service>,
    pub(super) resources: BTreeMap<String, wire::Resource>,
    pub(super) deployment: Option<wire::Deployment>,
}

/// What to write. Parts of one stage do not depend on each other; each stage needs the one before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) regions: Vec<wire::Region>,
    pub(super) service: Option<Write<wire::Service>>,
    pub(super) resources: Vec<Write<wire::Resource>>,
    pub(super) deployment: Option<Write<wire::Deployment>>,
    /// What is stored is of a newer configuration, this number; it stays as it is.
    pub(super) newer: Option<i32>,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write<R> {
    Create(R),
    /// The stored resource with some fields changed, to be written if it is still as it was read.
    Update(R, Vec<&'static str>),
}

/// The deployment was declared gone: its registered generation is above its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeclaredGone {
    pub(super) registered: u64,
    pub(super) ours: u64,
}

/// What makes `stored` say what `registration` says; `regions` are those that are to exist.
///
/// # Errors
/// [`DeclaredGone`].
pub(super) fn plan<'a>(
    registration: &Registration,
    regions: impl IntoIterator<Item = &'a str>,
    stored: &Stored,
) -> Result<Plan, DeclaredGone> {
    let deployment = deployment(registration, stored.deployment.as_ref())?;
    let missing = regions.into_iter().map(convert::region);
    let regions = missing.filter(|region| !stored.regions.contains(&region.name)).collect();
    let mut plan = Plan { regions, deployment, ..Plan::default() };
    let ours = registration.service.generation;
    match &stored.service {
        Some(service) if service.env_registry_generation > ours => {
            plan.newer = Some(service.env_registry_generation);
        }
        service => {
            plan.service = self::service(registration, service.as_ref());
            plan.resources = resources(registration, &stored.resources);
        }
    }
    Ok(plan)
}

fn service(
    registration: &Registration,
    stored: Option<&wire::Service>,
) -> Option<Write<wire::Service>> {
    let wanted = convert::service(&registration.deployment.service, &registration.service);
    let Some(stored) = stored else { return Some(Write::Create(wanted)) };
    let policy = merged_policy(registration, stored);
    let mut next = stored.clone();
    let mut mask = Vec::new();
    set(&mut next.multi_region_policy, Some(policy), "multi_region_policy", &mut mask);
    set(&mut next.display_name, wanted.display_name, "display_name", &mut mask);
    set(&mut next.all_versions, wanted.all_versions, "all_versions", &mut mask);
    set(&mut next.imported_services, wanted.imported_services, "imported_services", &mut mask);
    set(&mut next.used_services, wanted.used_services, "used_services", &mut mask);
    set(&mut next.imported_versions, wanted.imported_versions, "imported_versions", &mut mask);
    let generation = wanted.env_registry_generation;
    set(&mut next.env_registry_generation, generation, "env_registry_generation", &mut mask);
    update(next, mask)
}

/// The policy belongs to operators once it is there: the same configuration only adds regions that are missing, a newer
/// one replaces it.
fn merged_policy(registration: &Registration, stored: &wire::Service) -> MultiRegionPolicy {
    let wanted = &registration.service.policy;
    match &stored.multi_region_policy {
        Some(policy) if stored.env_registry_generation == registration.service.generation => {
            let current = Policy::from(policy);
            if wanted.enabled_regions.iter().all(|region| current.enabled_regions.contains(region))
            {
                return policy.clone();
            }
            let regions = current.enabled_regions.iter().chain(&wanted.enabled_regions);
            let widened = Policy {
                disabled_sync: current.disabled_sync.clone(),
                ..Policy::new(&current.control_region, regions.map(AsRef::as_ref))
            };
            MultiRegionPolicy::from(&widened)
        }
        _ => MultiRegionPolicy::from(wanted),
    }
}

/// Types that the service no longer has stay registered: others may refer to them.
fn resources(
    registration: &Registration,
    stored: &BTreeMap<String, wire::Resource>,
) -> Vec<Write<wire::Resource>> {
    let service = &registration.deployment.service;
    let one = |(id, info): (&Arc<str>, &ResourceInfo)| {
        let wanted = convert::resource(service, id, info);
        let Some(stored) = stored.get(&wanted.name) else { return Some(Write::Create(wanted)) };
        let mut next = stored.clone();
        let mut mask = Vec::new();
        set(&mut next.plural_name, wanted.plural_name, "plural_name", &mut mask);
        set(&mut next.versions, wanted.versions, "versions", &mut mask);
        set(&mut next.versioned_infos, wanted.versioned_infos, "versioned_infos", &mut mask);
        update(next, mask)
    };
    registration.service.resources.iter().filter_map(one).collect()
}

fn deployment(
    registration: &Registration,
    stored: Option<&wire::Deployment>,
) -> Result<Option<Write<wire::Deployment>>, DeclaredGone> {
    let wanted = convert::deployment(&registration.deployment, &registration.info);
    let Some(stored) = stored else { return Ok(Some(Write::Create(wanted))) };
    let (registered, ours) =
        (convert::deployment_info(stored).generation, registration.info.generation);
    if registered > ours {
        return Err(DeclaredGone { registered, ours });
    }
    if stored.env_registry_generation > wanted.env_registry_generation {
        return Ok(None);
    }
    let mut next = stored.clone();
    let mut mask = Vec::new();
    set(&mut next.service_name, wanted.service_name, "service_name", &mut mask);
    set(&mut next.region, wanted.region, "region", &mut mask);
    set(&mut next.public_domain, wanted.public_domain, "public_domain", &mut mask);
    set(&mut next.private_domain, wanted.private_domain, "private_domain", &mut mask);
    set(&mut next.local_network_id, wanted.local_network_id, "local_network_id", &mut mask);
    let generation = wanted.env_registry_generation;
    set(&mut next.env_registry_generation, generation, "env_registry_generation", &mut mask);
    set(&mut next.generation, wanted.generation, "generation", &mut mask);
    Ok(update(next, mask))
}

fn set<T: PartialEq>(field: &mut T, value: T, path: &'static str, mask: &mut Vec<&'static str>) {
    if *field != value {
        *field = value;
        mask.push(path);
    }
}

fn update<R>(resource: R, mask: Vec<&'static str>) -> Option<Write<R>> {
    (!mask.is_empty()).then_some(Write::Update(resource, mask))
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.regions.is_empty()
            && self.service.is_none()
            && self.resources.is_empty()
            && self.deployment.is_none()
    }
}

impl<R: MetaResource> fmt::Display for Write<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(resource) => write!(f, "create {}", resource.name()),
            Self::Update(resource, mask) => {
                write!(f, "update {}: {}", resource.name(), mask.join(", "))
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for region in &self.regions {
            writeln!(f, "create {}", region.name)?;
        }
        if let Some(newer) = self.newer {
            writeln!(f, "keep the service of the newer configuration {newer}")?;
        }
        if let Some(write) = &self.service {
            writeln!(f, "{write}")?;
        }
        for write in &self.resources {
            writeln!(f, "{write}")?;
        }
        if let Some(write) = &self.deployment {
            writeln!(f, "{write}")?;
        }
        Ok(())
    }
}
