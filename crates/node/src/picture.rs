//! What a deployment knows of all others: regions, services, resource types and deployments, as the meta service has them.
//!
//! A picture is immutable; `environment` makes a new one when something changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bowline_base::{Reason, Status};

use crate::id::DeploymentId;
use crate::policy::Policy;

/// Domain name of the service that keeps the registry; it is deployed in every region.
pub const META: &str = "meta.goten.com";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Where deployments are possible.
    pub regions: BTreeSet<Arc<str>>,
    /// By domain name.
    pub services: BTreeMap<Arc<str>, Arc<ServiceInfo>>,
    pub deployments: BTreeMap<DeploymentId, Arc<DeploymentInfo>>,
    /// Whether every meta deployment has told which deployments there are since this process began. Until then the
    /// picture can be an old one, of the configuration or of the disk, and what is not in it may exist nevertheless.
    pub is_whole: bool,
}

/// A service as it is registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceInfo {
    /// Newest first.
    pub versions: Vec<Arc<str>>,
    /// Decides for resources that are below no policy holder.
    pub policy: Policy,
    /// Services that it has references to.
    pub imports: BTreeSet<Arc<str>>,
    /// Services that it only calls.
    pub uses: BTreeSet<Arc<str>>,
    /// `(version of this service, imported service)` to the version of the latter.
    pub imported_versions: BTreeMap<(Arc<str>, Arc<str>), Arc<str>>,
    /// Its types, by their ids (`Device`).
    pub resources: BTreeMap<Arc<str>, ResourceInfo>,
    /// Of the configuration that it was registered by.
    pub generation: i32,
}

/// A resource type as it is registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceInfo {
    /// `Devices`.
    pub plural: Arc<str>,
    /// Newest first.
    pub versions: Vec<Arc<str>>,
    /// Those of `versions` in which names have a region.
    pub regional: BTreeSet<Arc<str>>,
}

/// A deployment as it is registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentInfo {
    /// `host:port` for everybody.
    pub public_address: Arc<str>,
    /// `host:port` within the same region and local network; may be empty.
    pub private_address: Arc<str>,
    pub local_network: Arc<str>,
    /// API version that its database is in.
    pub current_version: Arc<str>,
    /// Nothing is routed there.
    pub is_disabled: bool,
    /// Raised when the deployment is declared gone; a call from an older one is refused.
    pub generation: u64,
    /// Of the configuration that it was registered by.
    pub config_generation: i32,
}

impl Picture {
    /// The regions in which a service is deployed, in order.
    pub fn regions_of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        self.deployments.keys().filter(move |id| &*id.service == service).map(|id| &id.region)
    }

    /// Whether `to` listens to `caller`, which has proved to be that deployment at `generation`.
    ///
    /// The meta service listens to deployments that nobody knows yet: that is how they get known.
    ///
    /// # Errors
    /// `CALLER_REFUSED` if the caller is not registered, or was declared gone.
    pub fn admits(
        &self,
        caller: &DeploymentId,
        generation: u64,
        to: &DeploymentId,
    ) -> Result<(), Status> {
        let refused = |message: String| Err(Status::new(Reason::CallerRefused, message));
        match self.deployments.get(caller) {
            None if &*to.service == META => Ok(()),
            None => refused(format!("{caller} is not known to {to}")),
            Some(info) if generation < info.generation => refused(format!(
                "{caller} is at generation {generation}, registered is {}",
                info.generation
            )),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        let info = DeploymentInfo { generation: 4, ..DeploymentInfo::default() };
        let id = DeploymentId::new("devices.test", "eu");
        Picture { deployments: [(id, Arc::new(info))].into(), ..Picture::default() }
    }

    #[test]
    fn a_caller_of_an_older_generation_is_refused() {
        let (caller, to) =
            (DeploymentId::new("devices.test", "eu"), DeploymentId::new("iam.test", "eu"));
        let status = picture().admits(&caller, 3, &to).unwrap_err();
        assert_eq!(
            status.to_string(),
            "PERMISSION_DENIED (CALLER_REFUSED): devices.test@eu is at generation 3, registered is 4"
        );
        assert_eq!(picture().admits(&caller, 4, &to), Ok(()));
        assert_eq!(picture().admits(&caller, 5, &to), Ok(()));
    }

    #[test]
    fn only_the_meta_service_listens_to_unknown_callers() {
        let caller = DeploymentId::new("devices.test", "us");
        assert_eq!(picture().admits(&caller, 1, &DeploymentId::new(META, "eu")), Ok(()));
        let status =
            picture().admits(&caller, 1, &DeploymentId::new("iam.test", "eu")).unwrap_err();
        assert_eq!(status.reason, Reason::CallerRefused);
    }
}
