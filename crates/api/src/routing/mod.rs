//! Routing: which deployment answers a request, and how answers of several become one.
//!
//! Any region takes any request. What has one owner goes to it, in at most one hop; what can be in several regions is
//! asked of all of them and merged. Without [`Routing`] an engine is alone, and nothing here runs.

use std::fmt;
use std::sync::Arc;

use bowline_node::{DeploymentId, Owners, Peers, Picture};
use tokio::sync::watch;

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
    pub picture: watch::Receiver<Arc<Picture>>,
}

impl Routing {
    /// This engine's deployment of `service`.
    pub fn me(&self, service: &str) -> DeploymentId {
        DeploymentId::new(service, self.region.clone())
    }
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routing").field("region", &self.region).finish_non_exhaustive()
    }
}
