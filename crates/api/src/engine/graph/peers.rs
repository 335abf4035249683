//! Other deployments, as the graph sees them: where a target is owned, and the way to ask.
//!
//! An engine that is alone has a deployment of each service all the same, in no region, and asks itself.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_graph::TargetName;
use bowline_node::peers::unreachable;
use bowline_node::{Answer, Call, DeploymentId};
use bytes::Bytes;
use futures::future::{Either, select};
use prost::Message;

use crate::engine::{Engine, shape_key_of};
use crate::handler::{Context, Reply};

impl Engine {
    /// This engine's deployment of `service`.
    pub(crate) fn me(&self, service: &str) -> DeploymentId {
        let region = self.routing.as_ref().map_or_else(|| "".into(), |r| r.region.clone());
        DeploymentId::new(service, region)
    }

    /// The deployment that owns a target, or would.
    ///
    /// # Errors
    /// `RESOURCE_NOT_FOUND` if the target's policy holder does not exist; `UNAVAILABLE` naming the region that has to say.
    pub(crate) async fn locate(&self, target: &TargetName) -> Result<DeploymentId, Status> {
        let service = target.service();
        let shape = self.shapes.get(&shape_key_of(&target.kind, &target.version));
        let places = shape.and_then(|shape| shape.places.as_ref());
        let place = places.and_then(|places| places.of(&target.name));
        match (&self.routing, place) {
            (Some(routing), Some(place)) => {
                let owner = routing.owners.owner(service, &place).await?;
                Ok(DeploymentId::new(service, owner.region))
            }
            _ => Ok(self.me(service)),
        }
    }

    /// Asks a method of the mixin of another deployment, on behalf of one of this engine's.
    ///
    /// # Errors
    /// What it answered; `UNAVAILABLE` naming it if it cannot be reached, which says nothing about what it did.
    pub(crate) async fn ask<A: Message + Default>(
        self: &Arc<Self>,
        from: &DeploymentId,
        to: &DeploymentId,
        path: &'static str,
        request: &impl Message,
        deadline: Duration,
    ) -> Result<A, Status> {
        let call = Call::unary(path, request.encode_to_vec()).within(Some(deadline));
        let answer = self.call_peer(from, to, call).await?.unary()?;
        A::decode(answer).map_err(|error| {
            tracing::warn!(%to, path, %error, "answer does not decode");
            Status::new(Reason::Internal, format!("{to} answered something else"))
        })
    }

    /// The same for any call.
    pub(crate) async fn call_peer(
        self: &Arc<Self>,
        from: &DeploymentId,
        to: &DeploymentId,
        call: Call,
    ) -> Result<Answer, Status> {
        match &self.routing {
            Some(routing) => routing.peers.call(from, to, call).await,
            None => self.call_self(from, to, call).await,
        }
    }

    async fn call_self(
        self: &Arc<Self>,
        from: &DeploymentId,
        to: &DeploymentId,
        call: Call,
    ) -> Result<Answer, Status> {
        let context = Context {
            deadline: call.deadline,
            caller: Some(from.clone()),
            callee: Some(to.clone()),
            ..Context::default()
        };
        let message: Bytes = call.message;
        // Answering may ask again, so the future has no size of its own.
        let answer = Box::pin(self.answer_mixin(&call.path, message, &context));
        let answer = match call.deadline {
            None => answer.await?,
            Some(deadline) => match select(answer, self.seams.clock.sleep(deadline)).await {
                Either::Left((answer, _)) => answer?,
                Either::Right(_) => {
                    let why = format!("no answer within {} ms", deadline.as_millis());
                    return Err(unreachable(to, why));
                }
            },
        };
        Ok(match answer {
            Reply::Unary(message) => Answer::Unary { message, headers: Vec::new() },
            Reply::Stream(messages) => Answer::Stream(messages),
        })
    }
}
