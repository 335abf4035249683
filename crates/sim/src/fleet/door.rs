//! How calls between deployments get into a process, and how it knows who calls.

use std::sync::Arc;

use async_trait::async_trait;
use bowline_api::engine::Engine;
use bowline_api::inward;
use bowline_base::{Reason, Status};
use bowline_node::{Answer, Call, Callers, DeploymentId, Identified};

use crate::network::Deliver;

/// The way from the network into an engine: what a socket would do.
pub(super) struct Door {
    pub(super) engine: Arc<Engine>,
}

#[async_trait]
impl Deliver for Door {
    async fn deliver(
        &self,
        from: DeploymentId,
        to: DeploymentId,
        call: Call,
    ) -> Result<Answer, Status> {
        inward::serve(&self.engine, &from, &to, call).await
    }
}

/// In this world nobody lies about who they are: the proof is the claim itself.
pub(super) fn proof(from: &DeploymentId, to: &DeploymentId) -> String {
    format!("{from} {to}")
}

/// Believes whoever calls a deployment of its region.
pub(super) struct Served {
    pub(super) region: String,
}

#[async_trait]
impl Callers for Served {
    async fn identify(&self, token: &str) -> Result<Identified, Status> {
        let both = token.split_once(' ').and_then(|(from, to)| {
            Some(Identified { from: from.parse().ok()?, to: to.parse().ok()? })
        });
        let refused = || Status::new(Reason::CallerNotIdentified, "this proves nothing");
        both.filter(|identified| *identified.to.region == *self.region).ok_or_else(refused)
    }
}
