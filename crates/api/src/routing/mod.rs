//! Routing: which deployment answers a request, and how answers of several become one.
//!
//! Any region takes any request. What has one owner goes to it, in at most one hop; what can be in several regions is
//! asked of all of them and merged. Without [`Routing`] an engine is alone, and nothing here runs.

mod action;
mod batch;
mod call;
mod consistency;
mod forward;
pub(crate) mod hop;
mod list;
pub(crate) mod merge;
mod part;
mod plan;
mod sources;
mod target;
pub(crate) mod token;
mod watch;
mod watch_stateful;
mod watch_stateless;

use std::fmt;
use std::sync::Arc;

use bowline_node::{DeploymentId, Owners, Peers, Picture};
use tokio::sync::watch::Receiver;

/// What an engine needs to know of other deployments.
#[derive(Clone)]
pub struct Routing {
    /// The region of this engine's deployments.
    pub region: Arc<str>,
    /// Who owns what.
    pub owners: Arc<dyn Owners>,
    /// The way to other deployments.
    pub peers: Arc<dyn Peers>,
    /// Which deployments there are.
    pub picture: Receiver<Arc<Picture>>,
}

impl Routing {
    /// This engine's deployment of `service`.
    pub fn me(&self, service: &str) -> DeploymentId {
        DeploymentId::new(service, self.region.clone())
    }

    /// Whether the service is deployed in the region, or may be: one that was not heard of in a picture that may be an
    /// old one is asked, and found to be out of reach. Better than to answer that nothing is there.
    pub(crate) fn is_deployed(&self, service: &str, region: &str) -> bool {
        let picture = self.picture.borrow();
        *region == *self.region
            || !picture.is_whole
            || picture.deployments.contains_key(&DeploymentId::new(service, region))
    }

    /// Whether nothing is to be sent to a deployment.
    pub(crate) fn is_disabled(&self, id: &DeploymentId) -> bool {
        self.picture.borrow().deployments.get(id).is_some_and(|info| info.is_disabled)
    }
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routing").field("region", &self.region).finish_non_exhaustive()
    }
}
