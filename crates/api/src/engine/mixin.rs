//! The mixin: methods that every deployment has beside those of its service, for other deployments only.
//!
//! Reflection and OpenAPI do not show them, since no client may call them. Deployments of one process call them without a
//! socket; an engine that is alone asks itself ([`Engine::answer_mixin`]).

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_schema::model::{Method, Registry, Role};
use bowline_wire::bowline::mixin::v1::{DESCRIPTORS, method};
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};

use super::{Deployment, Engine};
use crate::handler::{Context, Reply};

const PREFIX: &str = "/bowline.mixin.v1.ResourceShadowService/";

/// The registry with the mixin's methods. They belong to no service of it: whoever calls says which deployment is meant.
pub(super) fn with_methods(registry: &Arc<Registry>) -> Arc<Registry> {
    let mut all = Registry {
        services: registry.services.clone(),
        methods: registry.methods.clone(),
        types: registry.types.clone(),
    };
    let pool = DescriptorPool::decode(DESCRIPTORS);
    let pool = pool.expect("the descriptors were made by the compiler of this build");
    for descriptor in pool.services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
        let method = as_method(descriptor);
        all.methods.insert(method.path.clone(), Arc::new(method));
    }
    Arc::new(all)
}

fn as_method(descriptor: MethodDescriptor) -> Method {
    Method {
        path: format!("/{}/{}", descriptor.parent_service().full_name(), descriptor.name()),
        descriptor,
        service: String::new(),
        version: String::new(),
        synthesised: false,
        http: Vec::new(),
        role: Role::Action { unbound: None },
    }
}

/// Whether the method is one of the mixin's.
pub(super) fn is_mixin(method: &Method) -> bool {
    method.path.starts_with(PREFIX)
}

impl Engine {
    /// Answers a method of the mixin.
    pub(super) async fn call_mixin(
        self: &Arc<Self>,
        method: &Method,
        request: &DynamicMessage,
        context: &Context,
    ) -> Result<Reply, Status> {
        let request = request.encode_to_vec().into();
        if method.descriptor.is_server_streaming() {
            return self.answer_mixin(&method.path, request, context).await;
        }
        self.within_deadline(context, self.answer_mixin(&method.path, request, context)).await
    }

    /// The same, with the request as it came.
    pub(super) async fn answer_mixin(
        self: &Arc<Self>,
        path: &str,
        request: Bytes,
        context: &Context,
    ) -> Result<Reply, Status> {
        match path {
            method::RELEASE_OWNERSHIP => {
                unary(self.release_ownership(&read(request)?, context).await)
            }
            method::ESTABLISH_REFERENCES => {
                unary(self.establish_references(&read(request)?, context).await)
            }
            method::CONFIRM_BLOCKADES => {
                unary(self.confirm_blockades(&read(request)?, context).await)
            }
            method::WITHDRAW_BLOCKADES => {
                unary(self.withdraw_blockades(&read(request)?, context).await)
            }
            method::CHECK_IF_RESOURCE_IS_BLOCKED => {
                unary(self.check_blocked(&read(request)?, context).await)
            }
            method::CHECK_IF_RESOURCE_HAS_DELETION_SUBSCRIBER => {
                unary(self.check_subscribers(&read(request)?, context).await)
            }
            method::SUGGEST_QUESTIONS => {
                unary(self.suggest_questions(&read(request)?, context).await)
            }
            method::GET_DELETION => unary(self.get_deletion(&read(request)?, context).await),
            method::LIST_REFERRERS => unary(self.list_referrers(&read(request)?, context).await),
            method::GET_RESOURCE_SHADOW => {
                unary(self.get_resource_shadow(&read(request)?, context).await)
            }
            method::LIST_RESOURCE_SHADOWS => {
                unary(self.list_resource_shadows(&read(request)?, context).await)
            }
            method::WATCH_RESOURCE_SHADOWS => self.watch_resource_shadows(&read(request)?, context),
            method::WATCH_IMPORTED_SERVICE_DELETIONS => {
                self.watch_deletions(&read(request)?, context)
            }
            _ => {
                let message = format!("{path} is not a method of this deployment");
                Err(Status::new(Reason::MethodNotFound, message))
            }
        }
    }

    /// The deployment that was meant, and who asks.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` unless a deployment asks.
    pub(super) fn asked<'a>(
        &self,
        context: &'a Context,
    ) -> Result<(&Arc<Deployment>, &'a bowline_node::DeploymentId), Status> {
        let (Some(caller), Some(callee)) = (&context.caller, &context.callee) else {
            let message = "only deployments ask each other about references and ownership";
            return Err(Status::new(Reason::CallerNotIdentified, message));
        };
        let here = self.deployments.iter().find(|deployment| deployment.service == callee.service);
        let here = here.ok_or_else(|| {
            Status::new(Reason::MethodNotFound, format!("{callee} is not served here"))
        })?;
        Ok((here, caller))
    }
}

fn read<M: Message + Default>(request: Bytes) -> Result<M, Status> {
    M::decode(request).map_err(|error| {
        let message = format!("the request does not decode: {error}");
        Status::bad_field(Reason::MalformedBody, "", message)
    })
}

fn unary<M: Message>(answer: Result<M, Status>) -> Result<Reply, Status> {
    answer.map(|answer| Reply::Unary(answer.encode_to_vec().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_of_the_mixin_are_known_as_such() {
        let registry = with_methods(&Arc::default());
        assert!(registry.methods.contains_key(method::RELEASE_OWNERSHIP));
        assert!(registry.methods.values().all(|method| is_mixin(method)));
    }
}
