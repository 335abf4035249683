//! What a deployment knows of all others: regions, services, resource types and deployments, as the meta service has them.
//!
//! A picture is immutable; `environment` makes a new one when something changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::DeploymentId;
use crate::policy::Policy;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Where deployments are possible.
    pub regions: BTreeSet<Arc<str>>,
    /// By domain name.
    pub services: BTreeMap<Arc<str>, Arc<ServiceInfo>>,
    pub deployments: BTreeMap<DeploymentId, Arc<DeploymentInfo>>,
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
    /// Newest first.
    pub versions: Vec<Arc<str>>,
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
}

impl Picture {
    /// The regions in which a service is deployed, in order.
    pub fn regions_of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        self.deployments.keys().filter(move |id| &*id.service == service).map(|id| &id.region)
    }
}
