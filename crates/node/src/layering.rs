//! Whether a service fits below and above the others: imports without cycles, in regions where what is imported is, in
//! versions that exist. Pure; checked by whoever registers, before it does.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bowline_base::{Detail, PreconditionViolation, Reason, Status};

use crate::id::DeploymentId;
use crate::picture::{DeploymentInfo, Picture, ServiceInfo};

/// Why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Each imports the next one, the last one the first.
    Cycle { services: Vec<Arc<str>> },
    /// Deployments are not possible there.
    UnknownRegion { deployment: DeploymentId, known: Vec<Arc<str>> },
    /// What a service imports or uses is not deployed in a region where the service is.
    NotDeployed { service: Arc<str>, needs: Arc<str>, is_import: bool, region: Arc<str> },
    /// An imported service does not have the version that is imported.
    NoSuchImport { service: Arc<str>, version: Arc<str>, imported: ServiceAt, has: Vec<Arc<str>> },
    /// A deployment is to start in a version that its service does not have.
    NoSuchVersion { deployment: DeploymentId, version: Arc<str>, has: Vec<Arc<str>> },
    /// A version is taken away that a registered service with deployments imports.
    StillImported { removed: ServiceAt, by: ServiceAt },
    /// A version is taken away that the database of a registered deployment is in.
    StillCurrent { version: Arc<str>, deployment: DeploymentId },
}

/// A service in one of its versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceAt {
    pub service: Arc<str>,
    pub version: Arc<str>,
}

impl Fault {
    /// Whether it goes away by itself when other services that are starting now get registered.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NotDeployed { .. } | Self::NoSuchImport { .. })
    }
}

/// What is wrong with registering `service` as the service of `deployment`, beside what `picture` has; empty if nothing is.
pub fn check(
    picture: &Picture,
    deployment: &DeploymentId,
    service: &ServiceInfo,
    info: &DeploymentInfo,
) -> Vec<Fault> {
    let candidate = Candidate { picture, deployment, service, info };
    let mut faults = Vec::new();
    faults.extend(candidate.cycle());
    faults.extend(candidate.unknown_region());
    faults.extend(candidate.start_version());
    faults.extend(candidate.not_deployed());
    faults.extend(candidate.imported_versions());
    faults.extend(candidate.removed_versions());
    faults.sort();
    faults
}

/// The refusal that names the faults.
pub fn refusal(faults: &[Fault]) -> Status {
    let message: Vec<String> = faults.iter().map(Fault::to_string).collect();
    let violations = faults.iter().map(|fault| PreconditionViolation {
        kind: "REGISTRATION".to_owned(),
        subject: fault.subject(),
        description: fault.to_string(),
    });
    Status::new(Reason::RegistrationRefused, message.join("; "))
        .with(Detail::Precondition(violations.collect()))
}

struct Candidate<'a> {
    picture: &'a Picture,
    deployment: &'a DeploymentId,
    service: &'a ServiceInfo,
    info: &'a DeploymentInfo,
}

impl Candidate<'_> {
    fn name(&self) -> &Arc<str> {
        &self.deployment.service
    }

    /// A cycle that goes through the candidate, the first one found in the order of names.
    ///
    /// Every service is looked at once, so it takes time in proportion to all imports.
    fn cycle(&self) -> Option<Fault> {
        let below = |service: &ServiceInfo| -> Vec<Arc<str>> {
            // Backwards, since the last one is taken first.
            service.imports.iter().chain(&service.uses).rev().cloned().collect()
        };
        let mut seen = BTreeSet::new();
        // For each service on the path: itself, and what is below it and was not followed yet.
        let mut path = vec![(self.name().clone(), below(self.service))];
        while let Some((_, open)) = path.last_mut() {
            let Some(next) = open.pop() else {
                path.pop();
                continue;
            };
            if next == *self.name() {
                let services = path.into_iter().map(|(service, _)| service).collect();
                return Some(Fault::Cycle { services });
            }
            let info = self.picture.services.get(&next);
            if let (Some(info), true) = (info, seen.insert(next.clone())) {
                path.push((next, below(info)));
            }
        }
        None
    }

    fn unknown_region(&self) -> Option<Fault> {
        let known = &self.picture.regions;
        (!known.contains(&self.deployment.region)).then(|| Fault::UnknownRegion {
            deployment: self.deployment.clone(),
            known: known.iter().cloned().collect(),
        })
    }

    fn start_version(&self) -> Option<Fault> {
        // Once registered, the database's version is what is registered, whatever the configuration says.
        let version = match self.picture.deployments.get(self.deployment) {
            Some(registered) => &registered.current_version,
            None => &self.info.current_version,
        };
        let is_new = !self.picture.deployments.contains_key(self.deployment);
        (is_new && !self.service.versions.contains(version)).then(|| Fault::NoSuchVersion {
            deployment: self.deployment.clone(),
            version: version.clone(),
            has: self.service.versions.clone(),
        })
    }

    fn not_deployed(&self) -> Vec<Fault> {
        let needs = self.service.imports.iter().map(|name| (name, true));
        let uses = self.service.uses.iter().map(|name| (name, false));
        let regions: BTreeSet<&Arc<str>> =
            self.picture.regions_of(self.name()).chain([&self.deployment.region]).collect();
        let mut faults = Vec::new();
        for (needed, is_import) in needs.chain(uses).filter(|(needed, _)| *needed != self.name()) {
            for region in &regions {
                let id = DeploymentId::new(needed.clone(), Arc::clone(region));
                if !self.picture.deployments.contains_key(&id) {
                    faults.push(Fault::NotDeployed {
                        service: self.name().clone(),
                        needs: needed.clone(),
                        is_import,
                        region: Arc::clone(region),
                    });
                }
            }
        }
        faults
    }

    fn imported_versions(&self) -> Vec<Fault> {
        let wrong = |((version, imported), wanted): (&(Arc<str>, Arc<str>), &Arc<str>)| {
            let has = &self.picture.services.get(imported)?.versions;
            (!has.contains(wanted)).then(|| Fault::NoSuchImport {
                service: self.name().clone(),
                version: version.clone(),
                imported: ServiceAt { service: imported.clone(), version: wanted.clone() },
                has: has.clone(),
            })
        };
        self.service.imported_versions.iter().filter_map(wrong).collect()
    }

    fn removed_versions(&self) -> Vec<Fault> {
        let Some(registered) = self.picture.services.get(self.name()) else { return Vec::new() };
        let removed =
            registered.versions.iter().filter(|version| !self.service.versions.contains(version));
        removed.flat_map(|version| self.users_of(version)).collect()
    }

    /// Who keeps `version` of the candidate from being taken away.
    fn users_of(&self, version: &Arc<str>) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (name, info) in &self.picture.services {
            if name == self.name() || self.picture.regions_of(name).next().is_none() {
                continue;
            }
            for ((by, imported), wanted) in &info.imported_versions {
                if imported == self.name() && wanted == version {
                    faults.push(Fault::StillImported {
                        removed: ServiceAt {
                            service: self.name().clone(),
                            version: version.clone(),
                        },
                        by: ServiceAt { service: name.clone(), version: by.clone() },
                    });
                }
            }
        }
        for (id, info) in &self.picture.deployments {
            if id.service == *self.name() && info.current_version == *version {
                faults
                    .push(Fault::StillCurrent { version: version.clone(), deployment: id.clone() });
            }
        }
        faults
    }
}

impl Fault {
    /// The service or deployment that it is about.
    fn subject(&self) -> String {
        match self {
            Self::Cycle { services } => {
                services.first().map(ToString::to_string).unwrap_or_default()
            }
            Self::UnknownRegion { deployment, .. }
            | Self::NoSuchVersion { deployment, .. }
            | Self::StillCurrent { deployment, .. } => deployment.to_string(),
            Self::NotDeployed { service, .. } | Self::NoSuchImport { service, .. } => {
                service.to_string()
            }
            Self::StillImported { removed, .. } => removed.service.to_string(),
        }
    }
}

impl fmt::Display for ServiceAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.version)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle { services } => {
                let first = services.first().map_or("", |name| name);
                write!(f, "imports form a cycle: {} -> {first}", services.join(" -> "))
            }
            Self::UnknownRegion { deployment, known } => {
                write!(f, "{deployment} is in no region that is known: {}", known.join(", "))
            }
            Self::NotDeployed { service, needs, is_import, region } => {
                let verb = if *is_import { "imports" } else { "uses" };
                write!(f, "{service} {verb} {needs}, which is not deployed in {region}")
            }
            Self::NoSuchImport { service, version, imported, has } => {
                let has = has.join(", ");
                write!(
                    f,
                    "{service} {version} imports {imported}, which does not exist, only {has}"
                )
            }
            Self::NoSuchVersion { deployment, version, has } => {
                let has = has.join(", ");
                write!(f, "{deployment} is to start in {version}, which does not exist, only {has}")
            }
            Self::StillImported { removed, by } => {
                write!(f, "{removed} cannot be taken away: {by} imports it")
            }
            Self::StillCurrent { version, deployment } => {
                write!(f, "{version} cannot be taken away: the database of {deployment} is in it")
            }
        }
    }
}

#[cfg(test)]
mod tests;
