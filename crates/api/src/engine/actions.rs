//! Actions: methods that are not standard, served by code of the embedding program.

use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::{Reason, Status};
use bowline_schema::model::Method;
use bytes::Bytes;
use prost::Message;
use prost_reflect::DynamicMessage;

use super::Engine;
use crate::handler::{Context, Handler, Reply};

/// A call of an action.
pub struct ActionRequest {
    pub message: DynamicMessage,
    pub method: Arc<Method>,
    pub context: Context,
    engine: Arc<Engine>,
}

impl ActionRequest {
    pub(crate) fn new(
        engine: Arc<Engine>,
        method: Arc<Method>,
        message: DynamicMessage,
        context: Context,
    ) -> Self {
        Self { message, method, context, engine }
    }

    /// An empty answer, to be filled in.
    pub fn reply(&self) -> DynamicMessage {
        DynamicMessage::new(self.method.descriptor.output())
    }

    /// An empty request for a method of this node, to be filled in for [`ActionRequest::call`].
    pub fn request_for(&self, path: &str) -> Option<DynamicMessage> {
        let method = self.engine.registry.methods.get(path)?;
        Some(DynamicMessage::new(method.descriptor.input()))
    }

    /// Calls another method of this node, as a client would, without the network.
    ///
    /// # Errors
    /// What that method answers; `METHOD_NOT_FOUND` if there is none of that path, or it streams.
    pub async fn call(
        &self,
        path: &str,
        request: DynamicMessage,
    ) -> Result<DynamicMessage, Status> {
        self.engine.call_unary(path, request, self.context.clone()).await
    }
}

impl Engine {
    /// Calls a unary method by its path, without the network.
    ///
    /// # Errors
    /// What the method answers; `METHOD_NOT_FOUND` if there is none of that path, or it streams.
    pub async fn call_unary(
        self: &Arc<Self>,
        path: &str,
        request: DynamicMessage,
        context: Context,
    ) -> Result<DynamicMessage, Status> {
        let missing = || Status::new(Reason::MethodNotFound, format!("no unary method {path}"));
        let method = self.registry.methods.get(path).ok_or_else(missing)?.clone();
        match self.call(&method, request, context).await? {
            Reply::Unary(bytes) => decode(&method, &bytes),
            Reply::Stream(_) => Err(missing()),
        }
    }
}

fn decode(method: &Method, bytes: &Bytes) -> Result<DynamicMessage, Status> {
    DynamicMessage::decode(method.descriptor.output(), bytes.as_ref()).map_err(|error| {
        tracing::error!(method = %method.path, %error, "own answer does not decode");
        Status::new(Reason::Internal, "an answer of this server does not decode")
    })
}

/// Serves one method that is not standard.
#[async_trait]
pub trait Action: Send + Sync + 'static {
    /// # Errors
    /// The status that the client gets.
    async fn call(&self, request: ActionRequest) -> Result<Reply, Status>;
}

#[async_trait]
impl<F, R> Action for F
where
    F: Fn(ActionRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<DynamicMessage, Status>> + Send + 'static,
{
    async fn call(&self, request: ActionRequest) -> Result<Reply, Status> {
        let answer = self(request).await?;
        Ok(Reply::Unary(answer.encode_to_vec().into()))
    }
}
