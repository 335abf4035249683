//! The constraint controller: what references leave to be done after a commit.
//!
//! `pending` confirms blockades and asks what became of expired ones; `deleting` brings the deletions of this deployment
//! to their end; `subscribed` does what follows here from the deletions of others, which `hear` listens to; `fences` sweeps.
//! All of it is idempotent, found again from rows, and conditional where it writes: two processes may do the same, and
//! one may stop anywhere. `consequence` and `commit` are what they share.

mod commit;
mod consequence;
mod deleting;
mod fences;
mod hear;
mod interested;
mod pending;
mod subscribed;

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_control::{Controller, Parts, Report, Status, Trouble, lease, run};
use bowline_node::DeploymentId;
use bowline_store::ring::Shards;
use tokio::sync::watch;

use super::suggest;
use crate::engine::{Deployment, Engine};

/// Longest wait for the answer of another deployment.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Rows read at once.
const PAGE: usize = 256;

/// Starts the controllers of all deployments; they end with the engine.
pub(crate) fn start(engine: &Arc<Engine>) {
    for deployment in engine.deployments.iter().filter(|d| !d.kinds().is_empty()) {
        let here = Here::of(engine, deployment);
        let shards = lease::follow(&deployment.incarnation, &engine.seams);
        let heard = Arc::new(hear::Heard::default());
        start_one(engine, deployment, &shards, pending::Pending(here.clone()));
        start_one(engine, deployment, &shards, deleting::Deleting(here.clone()));
        let referred = referred(deployment);
        if !referred.is_empty() {
            let subscribed = subscribed::Subscribed { here: here.clone(), heard: heard.clone() };
            start_one(engine, deployment, &shards, subscribed);
            hear::start(engine, deployment, here.clone(), heard, referred);
        }
        suggest::start(deployment, here.clone(), &engine.seams);
        fences::start(engine, deployment, here, shards);
    }
}

fn start_one<C: Controller>(
    engine: &Engine,
    deployment: &Deployment,
    shards: &watch::Receiver<Shards>,
    controller: C,
) {
    let parts = Parts {
        seams: engine.seams.clone(),
        bell: deployment.bell(),
        shards: shards.clone(),
        board: deployment.board.clone(),
    };
    let life = run(Arc::new(controller), parts);
    engine.seams.tasks.spawn("controller", Box::pin(life));
}

/// The services whose types the deployment's types can refer to.
fn referred(deployment: &Deployment) -> BTreeSet<String> {
    let kinds = deployment.shapes.values().flat_map(|shape| shape.references.kinds());
    kinds.filter_map(|kind| kind.split_once('/')).map(|(service, _)| service.to_owned()).collect()
}

/// Where a controller is. Does not keep anything alive.
#[derive(Clone)]
pub(in crate::engine::graph) struct Here {
    engine: Weak<Engine>,
    deployment: Weak<Deployment>,
    pub(in crate::engine::graph) me: DeploymentId,
}

impl Here {
    fn of(engine: &Arc<Engine>, deployment: &Arc<Deployment>) -> Self {
        let me = engine.me(&deployment.service);
        Self { engine: Arc::downgrade(engine), deployment: Arc::downgrade(deployment), me }
    }

    pub(in crate::engine::graph) fn get(&self) -> Result<(Arc<Engine>, Arc<Deployment>), Trouble> {
        self.engine.upgrade().zip(self.deployment.upgrade()).ok_or(Trouble::Over)
    }
}

impl Engine {
    /// How it stands with the controllers of this process, by service.
    pub fn controllers(&self) -> Vec<(Arc<str>, Vec<Status>)> {
        let boards = self.deployments.iter();
        boards.map(|deployment| (deployment.service.clone(), deployment.board.read())).collect()
    }

    /// The same, controller by controller: also those that have nothing to do.
    pub(in crate::engine) fn reports(&self) -> Vec<(Arc<str>, Vec<Report>)> {
        let boards = self.deployments.iter();
        boards.map(|deployment| (deployment.service.clone(), deployment.board.reports())).collect()
    }
}

#[cfg(test)]
mod tests;
