//! Watches over several regions.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bytes::Bytes;
use futures::stream::BoxStream;
use prost_reflect::DynamicMessage;

use super::forward::Outgoing;
use super::plan::Plan;
use crate::engine::{Engine, Route};
use crate::handler::Reply;

impl Engine {
    pub(crate) async fn watch_routed(
        self: &Arc<Self>,
        out: &Outgoing,
        route: &Arc<Route>,
        message: DynamicMessage,
        plan: Plan,
        _scope: &bowline_node::Scope,
    ) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        if let Plan::Merge(_) = plan {
            let why = "a watch over several regions is not there yet; watch a parent of one region";
            return Err(Status::new(Reason::MethodNotImplemented, why));
        }
        match self.call_here(route, message, out.context.clone()).await? {
            Reply::Stream(messages) => Ok(messages),
            Reply::Unary(_) => Err(Status::new(Reason::Internal, "a watch does not stream")),
        }
    }
}
