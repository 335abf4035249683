//! The standard methods of one type, and requests for them: fields are set where the binding found them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_api::engine::Engine;
use bowline_api::handler::{Context, Handler, Reply};
use bowline_base::{Code, Status};
use bowline_schema::model::{Binding, Method, RequestFields, ResourceType, Response, Role, Verb};
use bytes::Bytes;
use futures::stream::BoxStream;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};

/// Why a step did not go as it must.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{verb:?} was refused: {status}")]
    Refused { verb: Verb, status: Status },
    #[error("{0}")]
    Wrong(String),
}

/// A method with its binding.
#[derive(Clone)]
pub struct Bound {
    pub method: Arc<Method>,
    pub binding: Arc<Binding>,
}

/// The methods of one type, by verb.
pub struct Calls {
    engine: Arc<Engine>,
    by_verb: BTreeMap<Verb, Bound>,
}

pub type Messages = BoxStream<'static, Result<Bytes, Status>>;

impl Calls {
    pub fn of(engine: &Arc<Engine>, ty: &Arc<ResourceType>) -> Self {
        let mut by_verb = BTreeMap::new();
        let versions = engine.registry().services.iter().flat_map(|service| &service.versions);
        for method in versions.flat_map(|version| &version.methods) {
            let Role::Standard(binding) = &method.role else { continue };
            if binding.resource.kind == ty.kind && binding.resource.version == ty.version {
                let bound = Bound { method: method.clone(), binding: binding.clone() };
                by_verb.entry(binding.verb).or_insert(bound);
            }
        }
        Self { engine: engine.clone(), by_verb }
    }

    pub fn get(&self, verb: Verb) -> Option<Bound> {
        self.by_verb.get(&verb).cloned()
    }

    pub fn verbs(&self) -> impl Iterator<Item = Verb> + '_ {
        self.by_verb.keys().copied()
    }

    /// Calls a unary method.
    pub async fn unary(
        &self,
        bound: &Bound,
        request: DynamicMessage,
    ) -> Result<DynamicMessage, Failure> {
        let verb = bound.binding.verb;
        let reply = self.engine.call(&bound.method, request, Context::default()).await;
        match reply.map_err(|status| Failure::Refused { verb, status })? {
            Reply::Unary(bytes) => decode(bound, &bytes),
            Reply::Stream(_) => Err(Failure::Wrong(format!("{verb:?} answered with a stream"))),
        }
    }

    /// Opens a watch.
    pub async fn stream(
        &self,
        bound: &Bound,
        request: DynamicMessage,
    ) -> Result<Messages, Failure> {
        let verb = bound.binding.verb;
        let reply = self.engine.call(&bound.method, request, Context::default()).await;
        match reply.map_err(|status| Failure::Refused { verb, status })? {
            Reply::Stream(messages) => Ok(messages),
            Reply::Unary(_) => Err(Failure::Wrong(format!("{verb:?} answered without a stream"))),
        }
    }
}

impl Bound {
    pub fn request(&self) -> DynamicMessage {
        DynamicMessage::new(self.method.descriptor.input())
    }

    pub fn fields(&self) -> &RequestFields {
        &self.binding.request
    }

    /// The resource in an answer of a write; `None` where the answer has no place for it.
    pub fn resource_in(&self, answer: &DynamicMessage) -> Result<Option<DynamicMessage>, Failure> {
        match &self.binding.response {
            Response::Resource => Ok(Some(answer.clone())),
            Response::Operation { .. } => self.finished(answer),
            _ => Ok(None),
        }
    }

    /// What a finished operation holds.
    fn finished(&self, operation: &DynamicMessage) -> Result<Option<DynamicMessage>, Failure> {
        let field = |name: &str| operation.get_field_by_name(name).map(|value| value.into_owned());
        let wrong = |what: &str| Failure::Wrong(format!("{:?}: {what}", self.binding.verb));
        if field("done").and_then(|done| done.as_bool()) != Some(true) {
            return Err(wrong("the operation is not done"));
        }
        let response = field("response").and_then(|value| value.as_message().cloned());
        let response = response.ok_or_else(|| wrong("the operation has no response"))?;
        let url = text(&response, "type_url").unwrap_or_default();
        let resource = &self.binding.resource.message;
        if url.rsplit('/').next() != Some(resource.full_name()) {
            return Ok(None);
        }
        let value = response.get_field_by_name("value").and_then(|v| v.as_bytes().cloned());
        let decoded = DynamicMessage::decode(resource.clone(), value.unwrap_or_default());
        decoded.map(Some).map_err(|error| wrong(&format!("the operation's response: {error}")))
    }
}

/// Sets a string field that the binding found; nothing happens where it found none.
pub fn set_text(request: &mut DynamicMessage, field: &Option<FieldDescriptor>, text: &str) {
    let Some(field) = field else { return };
    let value = Value::String(text.to_owned());
    request.set_field(field, if field.is_list() { Value::List(vec![value]) } else { value });
}

/// Sets a field of any type that the binding found.
pub fn set(request: &mut DynamicMessage, field: &Option<FieldDescriptor>, value: Value) {
    if let Some(field) = field {
        request.set_field(field, value);
    }
}

/// Sets a whole number, wrapped or not.
pub fn set_number(request: &mut DynamicMessage, field: &Option<FieldDescriptor>, number: i32) {
    let Some(descriptor) = field else { return };
    let value = match descriptor.kind() {
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::from(number)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number.unsigned_abs()),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::from(number.unsigned_abs())),
        Kind::Message(wrapper) => {
            let mut wrapped = DynamicMessage::new(wrapper.clone());
            let inner = wrapper.get_field_by_name("value");
            set_number(&mut wrapped, &inner, number);
            Value::Message(wrapped)
        }
        _ => Value::I32(number),
    };
    request.set_field(descriptor, value);
}

/// Sets the paths of a `google.protobuf.FieldMask`.
pub fn set_mask(request: &mut DynamicMessage, field: &Option<FieldDescriptor>, paths: &[&str]) {
    let Some(descriptor) = field else { return };
    let kind = descriptor.kind();
    let Some(message) = kind.as_message() else { return };
    let mut mask = DynamicMessage::new(message.clone());
    if let Some(field) = message.get_field_by_name("paths") {
        let paths = paths.iter().map(|path| Value::String((*path).to_owned())).collect();
        mask.set_field(&field, Value::List(paths));
    }
    request.set_field(descriptor, Value::Message(mask));
}

/// Puts the resource where the request has it: in a field, or as the whole request.
pub fn set_resource(bound: &Bound, request: &mut DynamicMessage, resource: DynamicMessage) {
    if bound.fields().request_is_resource {
        *request = resource;
    } else {
        set(request, &bound.fields().resource, Value::Message(resource));
    }
}

/// A string field by name.
pub fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    message.get_field_by_name(field)?.as_str().map(str::to_owned)
}

/// The messages of a repeated field.
pub fn items(answer: &DynamicMessage, field: &FieldDescriptor) -> Vec<DynamicMessage> {
    let value = answer.get_field(field);
    let list = value.as_list().unwrap_or_default();
    list.iter().filter_map(|item| item.as_message().cloned()).collect()
}

pub fn expect_code(
    result: Result<DynamicMessage, Failure>,
    verb: Verb,
    code: Code,
) -> Result<(), Failure> {
    match result {
        Err(Failure::Refused { status, .. }) if status.code() == code => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            Err(Failure::Wrong(format!("{verb:?} succeeded where {} was expected", code.name())))
        }
    }
}

fn decode(bound: &Bound, bytes: &Bytes) -> Result<DynamicMessage, Failure> {
    let output = bound.method.descriptor.output();
    let message = DynamicMessage::decode(output, bytes.as_ref()).map_err(|error| {
        Failure::Wrong(format!("{:?}: the answer does not decode: {error}", bound.binding.verb))
    })?;
    if message.unknown_fields().next().is_some() {
        let name = message.descriptor().full_name().to_owned();
        return Err(Failure::Wrong(format!(
            "{:?}: {name} came with unknown fields",
            bound.binding.verb
        )));
    }
    Ok(message)
}
