//! The bytes of a watch: the request, and messages of the response, by the field numbers of the method's binding.
//!
//! Resources are cut out of messages as they are; what they mean is the business of who reads them.

use std::sync::Arc;

use bowline_schema::model::{Binding, Method, Registry, Response, Role, Verb, WatchResponse};
use bytes::{Buf, Bytes};
use prost_reflect::prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, skip_field,
};
use prost_reflect::prost::{DecodeError, Message as _};
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, Value};

/// How resources of a kind are watched.
#[derive(Clone, Debug)]
pub struct WatchMethod {
    method: Arc<Method>,
    binding: Arc<Binding>,
    response: Numbers,
    stateless: i32,
}

/// Why a kind cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    #[error("no loaded service has the kind {kind}")]
    UnknownKind { kind: String },
    #[error("{kind} has no method that streams changes of a collection")]
    NoMethod { kind: String },
    /// A field that a resumable watch needs is missing, such as `resume_token`.
    #[error("{path} cannot be resumed: no field {field}")]
    NotResumable { path: String, field: &'static str },
}

/// Bytes that are no message of a watch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    #[error("malformed protobuf")]
    Malformed(#[from] DecodeError),
    #[error("a field is longer than its message")]
    TooLong,
    #[error("a text is not UTF-8")]
    NotUtf8,
}

/// A message of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) changes: Vec<Change>,
    pub(super) is_current: bool,
    pub(super) resume_token: String,
    /// How many resources the source has told of; `None` where it says nothing about it.
    pub(super) size: Option<u64>,
    pub(super) is_soft_reset: bool,
    pub(super) is_hard_reset: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Set { name: Arc<str>, body: Bytes },
    Removed { name: Arc<str> },
}

/// Field numbers of the response and of its change message; 0 where there is no such field.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    changes: u32,
    is_current: u32,
    resume_token: u32,
    snapshot_size: u32,
    is_soft_reset: u32,
    is_hard_reset: u32,
    /// `added`, `modified`, `current`, each with the number of the resource in it.
    set: [(u32, u32); 3],
    removed: u32,
    removed_name: u32,
    /// Of the name in the resource.
    name: u32,
}

impl WatchMethod {
    /// The watch of collections of `kind`, in the newest version that has one.
    ///
    /// # Errors
    /// A [`MethodError`]; for a registry that was loaded without errors only opted-out types have any.
    pub fn of(registry: &Registry, kind: &str) -> Result<Self, MethodError> {
        let types = registry
            .types
            .get(kind)
            .ok_or_else(|| MethodError::UnknownKind { kind: kind.to_owned() })?;
        let found = types.iter().rev().find_map(|ty| find(registry, kind, &ty.version));
        let (method, binding) =
            found.ok_or_else(|| MethodError::NoMethod { kind: kind.to_owned() })?;
        let missing = |field| MethodError::NotResumable { path: method.path.clone(), field };
        let Response::Watch(response) = &binding.response else {
            return Err(MethodError::NoMethod { kind: kind.to_owned() });
        };
        let stateless = binding.request.watch.kind.as_ref().and_then(stateless);
        let stateless = stateless.ok_or_else(|| missing("type"))?;
        if binding.request.watch.resume_token.is_none() || response.resume_token.is_none() {
            return Err(missing("resume_token"));
        }
        if response.is_current.is_none() {
            return Err(missing("is_current"));
        }
        let response = Numbers::of(&binding, response);
        Ok(Self { method, binding, response, stateless })
    }

    /// `/package.Service/Method`.
    pub fn path(&self) -> &str {
        &self.method.path
    }

    /// `domain/Type`.
    pub fn kind(&self) -> &str {
        &self.binding.resource.kind
    }

    /// Domain name of the service whose deployments have the resources.
    pub fn service(&self) -> &str {
        &self.method.service
    }

    /// The request for everything, from `token` on.
    pub(super) fn request(&self, token: &str, fields: &[String]) -> Bytes {
        let mut message = DynamicMessage::new(self.method.descriptor.input());
        let watch = &self.binding.request.watch;
        if let Some(field) = &watch.kind {
            message.set_field(field, Value::EnumNumber(self.stateless));
        }
        if let Some(field) = &watch.resume_token {
            message.set_field(field, Value::String(token.to_owned()));
        }
        if let (Some(field), false) = (&self.binding.request.field_mask, fields.is_empty()) {
            self.set_mask(&mut message, field, fields);
        }
        message.encode_to_vec().into()
    }

    fn set_mask(&self, message: &mut DynamicMessage, field: &FieldDescriptor, fields: &[String]) {
        let Kind::Message(mask) = field.kind() else { return };
        let mut mask = DynamicMessage::new(mask);
        let name = self.binding.resource.name_field.name().to_owned();
        let paths = std::iter::once(name).chain(fields.iter().cloned()).map(Value::String);
        mask.set_field_by_name("paths", Value::List(paths.collect()));
        message.set_field(field, Value::Message(mask));
    }

    /// Takes a message of the stream apart.
    ///
    /// # Errors
    /// If it is not a message of this method. Unknown fields are passed over.
    pub(super) fn message(&self, bytes: &Bytes) -> Result<Message, ReadError> {
        let n = &self.response;
        let mut message = Message::default();
        scan(bytes, |tag, field| {
            match field {
                Field::Bytes(part) if tag == n.changes => {
                    message.changes.extend(n.change(&part)?);
                }
                Field::Bytes(part) if tag == n.resume_token => message.resume_token = text(&part)?,
                Field::Number(number) if tag == n.is_current => message.is_current = number != 0,
                Field::Number(number) if tag == n.is_soft_reset => {
                    message.is_soft_reset = number != 0;
                }
                Field::Number(number) if tag == n.is_hard_reset => {
                    message.is_hard_reset = number != 0;
                }
                // Negative numbers say nothing.
                Field::Number(number) if tag == n.snapshot_size => {
                    message.size = u64::try_from(number.cast_signed()).ok();
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(message)
    }
}

impl Numbers {
    fn of(binding: &Binding, response: &WatchResponse) -> Self {
        let number = |field: &Option<FieldDescriptor>| field.as_ref().map_or(0, |f| f.number());
        let ty = &binding.resource;
        let change = response.changes.kind();
        let case =
            |name: &str| change.as_message().and_then(|change| change.get_field_by_name(name));
        let set = ["added", "modified", "current"].map(|name| {
            let Some(field) = case(name) else { return (0, 0) };
            let kind = field.kind();
            let body = kind.as_message().and_then(|message| {
                message.fields().find(|f| f.kind().as_message() == Some(&ty.message))
            });
            (field.number(), number(&body))
        });
        let removed = case("removed");
        let removed_name = removed.as_ref().and_then(|field| {
            field.kind().as_message().and_then(|message| message.get_field_by_name("name"))
        });
        Self {
            changes: response.changes.number(),
            is_current: number(&response.is_current),
            resume_token: number(&response.resume_token),
            snapshot_size: number(&response.snapshot_size),
            is_soft_reset: number(&response.is_soft_reset),
            is_hard_reset: number(&response.is_hard_reset),
            set,
            removed: number(&removed),
            removed_name: number(&removed_name),
            name: ty.name_field.number(),
        }
    }

    /// `None` for a kind of change that is not known here.
    fn change(&self, bytes: &Bytes) -> Result<Option<Change>, ReadError> {
        let mut found = None;
        scan(bytes, |tag, field| {
            let Field::Bytes(case) = field else { return Ok(()) };
            if tag == self.removed {
                let name = only(&case, self.removed_name)?.unwrap_or_default();
                found = Some(Change::Removed { name: text(&name)?.into() });
            } else if let Some((_, body)) = self.set.iter().find(|(number, _)| *number == tag) {
                let body = only(&case, *body)?.unwrap_or_default();
                let name = only(&body, self.name)?.unwrap_or_default();
                found = Some(Change::Set { name: text(&name)?.into(), body });
            }
            Ok(())
        })?;
        Ok(found)
    }
}

fn find(registry: &Registry, kind: &str, version: &str) -> Option<(Arc<Method>, Arc<Binding>)> {
    let fits = |method: &&Arc<Method>| {
        matches!(&method.role, Role::Standard(binding)
            if binding.verb == Verb::Watch
                && binding.resource.kind == kind
                && binding.resource.version == version)
    };
    // The map has no order; of several methods the same one has to be taken every time.
    let method = registry.methods.values().filter(fits).min_by_key(|method| &method.path)?;
    match &method.role {
        Role::Standard(binding) => Some((method.clone(), binding.clone())),
        Role::Action { .. } => None,
    }
}

/// The number of `STATELESS`, whatever prefix its enum gives it.
fn stateless(field: &FieldDescriptor) -> Option<i32> {
    let kind = field.kind();
    let values: &EnumDescriptor = kind.as_enum()?;
    values.values().find(|value| value.name().ends_with("STATELESS")).map(|value| value.number())
}

/// A field of a message, as far as watches have them.
enum Field {
    Number(u64),
    Bytes(Bytes),
}

/// Calls `take` for each field of an encoded message, without copying; fixed-width fields are passed over.
fn scan(
    message: &Bytes,
    mut take: impl FnMut(u32, Field) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut rest = message.clone();
    while rest.has_remaining() {
        let (tag, wire_type) = decode_key(&mut rest)?;
        match wire_type {
            WireType::Varint => take(tag, Field::Number(decode_varint(&mut rest)?))?,
            WireType::LengthDelimited => {
                let len = decode_varint(&mut rest)?;
                let len = usize::try_from(len).ok().filter(|len| *len <= rest.remaining());
                let len = len.ok_or(ReadError::TooLong)?;
                take(tag, Field::Bytes(rest.split_to(len)))?;
            }
            other => skip_field(other, tag, &mut rest, DecodeContext::default())?,
        }
    }
    Ok(())
}

/// The last length-delimited field `wanted` of a message.
fn only(message: &Bytes, wanted: u32) -> Result<Option<Bytes>, ReadError> {
    let mut found = None;
    scan(message, |tag, field| {
        if let (true, Field::Bytes(bytes)) = (tag == wanted, field) {
            found = Some(bytes);
        }
        Ok(())
    })?;
    Ok(found)
}

fn text(bytes: &Bytes) -> Result<String, ReadError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ReadError::NotUtf8)
}
