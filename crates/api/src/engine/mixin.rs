//! The mixin: methods that every deployment has beside those of its service, for other deployments only.
//!
//! They are there where there are other deployments. Reflection and OpenAPI do not show them, since no client may call them.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_schema::model::{Method, Registry, Role};
use bowline_wire::bowline::mixin::v1::{DESCRIPTORS, RELEASE_OWNERSHIP, ReleaseOwnershipRequest};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};

use super::Engine;
use crate::handler::{Context, Reply};

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
        let method = method(descriptor);
        all.methods.insert(method.path.clone(), Arc::new(method));
    }
    Arc::new(all)
}

fn method(descriptor: MethodDescriptor) -> Method {
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
    method.path == RELEASE_OWNERSHIP
}

impl Engine {
    /// Answers a method of the mixin.
    pub(super) async fn call_mixin(
        &self,
        request: &DynamicMessage,
        context: &Context,
    ) -> Result<Reply, Status> {
        let request: ReleaseOwnershipRequest = request.transcode_to().map_err(|error| {
            Status::bad_field(
                Reason::MalformedBody,
                "",
                format!("the request does not decode: {error}"),
            )
        })?;
        let answer = self.release_ownership(&request, context).await?;
        Ok(Reply::Unary(answer.encode_to_vec().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_mixin_is_one_that_is_answered() {
        let registry = with_methods(&Arc::default());
        assert!(registry.methods.contains_key(RELEASE_OWNERSHIP));
        assert!(registry.methods.values().all(|method| is_mixin(method)));
    }
}
