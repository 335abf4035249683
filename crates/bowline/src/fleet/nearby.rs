//! Calls between deployments of one process: the protocol without the socket.
//!
//! The caller signs and the callee verifies here as over the network. Whatever is not in this process is asked over the
//! way behind.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use async_trait::async_trait;
use bowline_api::engine::Engine;
use bowline_api::inward;
use bowline_base::{Seams, Status};
use bowline_node::identity::Signers;
use bowline_node::peers::{span, unreachable};
use bowline_node::{Answer, Call, DeploymentId, Peers};
use tracing::Instrument as _;

/// Reaches the deployments of this process directly, and others over what is behind.
pub struct Nearby {
    signers: Arc<Signers>,
    seams: Seams,
    /// Engines are not kept alive by those who may call them.
    engines: RwLock<BTreeMap<DeploymentId, Weak<Engine>>>,
    beyond: Option<Arc<dyn Peers>>,
}

impl Nearby {
    /// `beyond` reaches what is not in this process; `None`: nothing else is there.
    pub fn new(signers: Arc<Signers>, seams: Seams, beyond: Option<Arc<dyn Peers>>) -> Self {
        Self { signers, seams, engines: RwLock::default(), beyond }
    }

    /// From now on `engine` answers for these deployments.
    pub fn put(&self, deployments: &[DeploymentId], engine: &Arc<Engine>) {
        let mut engines = self.engines.write().unwrap_or_else(PoisonError::into_inner);
        for id in deployments {
            engines.insert(id.clone(), Arc::downgrade(engine));
        }
    }

    /// From now on nothing answers for these deployments, as if their process had ended.
    pub fn remove(&self, deployments: &[DeploymentId]) {
        let mut engines = self.engines.write().unwrap_or_else(PoisonError::into_inner);
        deployments.iter().for_each(|id| drop(engines.remove(id)));
    }

    fn engine(&self, id: &DeploymentId) -> Option<Arc<Engine>> {
        let engines = self.engines.read().unwrap_or_else(PoisonError::into_inner);
        engines.get(id)?.upgrade()
    }
}

#[async_trait]
impl Peers for Nearby {
    async fn call(
        &self,
        from: &DeploymentId,
        to: &DeploymentId,
        mut call: Call,
    ) -> Result<Answer, Status> {
        let Some(engine) = self.engine(to) else {
            return match &self.beyond {
                Some(beyond) => beyond.call(from, to, call).await,
                None => Err(unreachable(to, "it is not started")),
            };
        };
        let span = span(from, to, &call);
        self.signers.sign(from, to, &mut call)?;
        // The engine keeps the deadline of what has one answer; of a stream it knows none.
        let deadline = call.streams.then_some(call.deadline).flatten();
        // Boxed, since it is a whole request within a request.
        let work = Box::pin(inward::serve(&engine, from, to, call).instrument(span));
        match deadline {
            None => work.await,
            Some(deadline) => tokio::select! {
                biased;
                answer = work => answer,
                () = self.seams.clock.sleep(deadline) => Err(unreachable(to, "no answer in time")),
            },
        }
    }
}
