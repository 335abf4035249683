//! A kind of policy holders: how one of them is read and watched, and where its policy is in its bytes.

use std::sync::Arc;

use bowline_base::chain;
use bowline_schema::model::{Binding, Method, Registry, ResourceType, Role, Verb};
use prost_reflect::prost::{DecodeError, Message as _};
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};

use crate::mirror::WatchMethod;
use crate::place::Places;
use crate::policy::{Policy, PolicyField};

pub(super) struct HolderKind {
    pub(super) service: Arc<str>,
    /// Of the holders themselves.
    pub(super) places: Places,
    pub(super) watch: Option<WatchMethod>,
    /// Reads what the watch brings.
    pub(super) watched: Reader,
    get: Arc<Method>,
    binding: Arc<Binding>,
    got: Reader,
}

/// Finds the policy in an encoded holder.
#[derive(Clone)]
pub(super) struct Reader {
    message: MessageDescriptor,
    field: PolicyField,
}

impl HolderKind {
    /// `None` if resources of the kind cannot be read one by one, or have no policy; that is logged.
    pub(super) fn of(registry: &Registry, kind: &str) -> Option<Self> {
        let types = registry.types.get(kind)?;
        let (ty, get, binding) = types.iter().rev().find_map(|ty| {
            let (method, binding) = getter(registry, ty)?;
            Some((ty, method, binding))
        })?;
        let got = Reader::of(ty)?;
        let (watch, watched) = match WatchMethod::of(registry, kind) {
            Ok(method) => {
                let watched = watched_type(registry, method.path()).and_then(|ty| Reader::of(&ty));
                (Some(method), watched.unwrap_or_else(|| got.clone()))
            }
            Err(error) => {
                tracing::warn!(kind, error = %chain(&error), "policies are read whenever they are needed");
                (None, got.clone())
            }
        };
        let places = Places::of_type(registry, ty);
        Some(Self {
            service: ty.service.as_str().into(),
            places,
            watch,
            watched,
            get,
            binding,
            got,
        })
    }

    pub(super) fn get_path(&self) -> &str {
        &self.get.path
    }

    /// The API version in which holders are read one by one.
    pub(super) fn version(&self) -> &str {
        &self.binding.resource.version
    }

    /// The request for one holder.
    pub(super) fn get_request(&self, name: &str) -> Vec<u8> {
        let mut request = DynamicMessage::new(self.get.descriptor.input());
        if let Some(field) = &self.binding.request.name {
            request.set_field(field, Value::String(name.to_owned()));
        }
        request.encode_to_vec()
    }

    /// The policy in what the get answered; an empty one if the holder says none.
    pub(super) fn decode(&self, body: &[u8]) -> Result<Policy, DecodeError> {
        self.got.decode(body)
    }
}

impl Reader {
    fn of(ty: &ResourceType) -> Option<Self> {
        Some(Self { message: ty.message.clone(), field: PolicyField::of(&ty.message)? })
    }

    pub(super) fn path(&self) -> String {
        self.field.path()
    }

    pub(super) fn decode(&self, body: &[u8]) -> Result<Policy, DecodeError> {
        let holder = DynamicMessage::decode(self.message.clone(), body)?;
        Ok(self.field.read(&holder).unwrap_or_default())
    }
}

fn getter(registry: &Registry, ty: &ResourceType) -> Option<(Arc<Method>, Arc<Binding>)> {
    // By path, so that the choice does not depend on the order of a hash map.
    let mut found: Vec<_> = registry
        .methods
        .values()
        .filter_map(|method| match &method.role {
            Role::Standard(binding)
                if binding.verb == Verb::Get
                    && binding.resource.kind == ty.kind
                    && binding.resource.version == ty.version =>
            {
                Some((method.clone(), binding.clone()))
            }
            _ => None,
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    found.into_iter().next()
}

fn watched_type(registry: &Registry, path: &str) -> Option<Arc<ResourceType>> {
    match &registry.methods.get(path)?.role {
        Role::Standard(binding) => Some(binding.resource.clone()),
        Role::Action { .. } => None,
    }
}
