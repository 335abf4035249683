//! Actions: methods that are not standard, served by code of the embedding program.

use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::{Reason, Status};
use bowline_schema::model::{Method, Verb};
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Value};

use super::Engine;
use super::request::{Edit, Request};
use crate::handler::{Context, Handler, Reply};
use crate::routing::hop::begun_anew;

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

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
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
        self.engine.call_unary(path, request, begun_anew(&self.context)).await
    }

    /// Changes a resource that this node owns, in code: reads it, lets `edit` change it, and writes it; starts over if
    /// somebody else was faster, so `edit` may run several times. Output-only fields can be written, name and metadata cannot.
    ///
    /// `update` is the path of the type's update method. Gives the resource as it is then.
    ///
    /// # Errors
    /// What `edit` or the update answers; `METHOD_NOT_FOUND` if `update` is no path of an update method.
    pub async fn edit(
        &self,
        update: &str,
        name: &str,
        edit: impl Fn(&mut DynamicMessage) -> Result<(), Status> + Send + Sync,
    ) -> Result<DynamicMessage, Status> {
        self.engine.edit(update, name, &edit).await
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

    /// See [`ActionRequest::edit`].
    async fn edit(
        self: &Arc<Self>,
        path: &str,
        name: &str,
        edit: &Edit<'_>,
    ) -> Result<DynamicMessage, Status> {
        let missing = || Status::new(Reason::MethodNotFound, format!("no update method {path}"));
        let route = self.routes.get(path).ok_or_else(missing)?;
        let method = self.registry.methods.get(path).ok_or_else(missing)?;
        let fields = &route.binding.request;
        let (Verb::Update, Some(resource), Some(mask)) =
            (route.binding.verb, &fields.resource, &fields.update_mask)
        else {
            return Err(missing());
        };
        let ty = &route.resource.ty;
        let mut named = DynamicMessage::new(ty.message.clone());
        named.set_field(&ty.name_field, Value::String(name.to_owned()));
        let mut message = DynamicMessage::new(method.descriptor.input());
        message.set_field(resource, Value::Message(named));
        // A mask of the name alone changes nothing: the edit is the whole change.
        message.set_field(mask, Value::Message(mask_of_one(mask, ty.name_field.name())?));
        let request = Request::new(&route.binding, message).with_edit(edit);
        let until = self.until(&Context::default());
        decode(method, &self.update(route, request, until).await?)
    }
}

/// A field mask with one path.
fn mask_of_one(field: &FieldDescriptor, path: &str) -> Result<DynamicMessage, Status> {
    let kind = field.kind();
    let message = kind.as_message().ok_or_else(|| {
        Status::new(Reason::Internal, format!("{} is no field mask", field.full_name()))
    })?;
    let mut mask = DynamicMessage::new(message.clone());
    mask.set_field_by_name("paths", Value::List(vec![Value::String(path.to_owned())]));
    Ok(mask)
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
