//! One resource as a dynamic value, with its metadata wherever the type keeps it.
//!
//! What a write does to a document is in [`crate::update`]; reading single fields by path in [`crate::path`].

use std::borrow::Cow;
use std::sync::Arc;

use bowline_schema::model::{MetadataPlace, ResourceType};
use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _, Value};

use crate::metadata::{self, Meta};
use crate::path::{Leaf, Path};

/// A resource of a type: its message, and metadata beside it if the message has no place for it.
#[derive(Clone, Debug)]
pub struct Document {
    pub ty: Arc<ResourceType>,
    /// The resource; the metadata is in here if the type has a field for it.
    pub body: DynamicMessage,
    /// Metadata of types that keep it beside.
    beside: Option<DynamicMessage>,
}

/// Stored bytes are not what the type says.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DocumentError {
    #[error("stored {kind} cannot be decoded")]
    Body {
        kind: String,
        #[source]
        source: prost::DecodeError,
    },
    #[error("stored metadata of a {kind} cannot be decoded")]
    Aside {
        kind: String,
        #[source]
        source: prost::DecodeError,
    },
}

impl Document {
    /// A document of `body`, which is of the type's message; metadata beside it is empty.
    pub fn new(ty: Arc<ResourceType>, body: DynamicMessage) -> Self {
        let beside = matches!(ty.metadata, MetadataPlace::Beside)
            .then(|| DynamicMessage::new(metadata::descriptor().clone()));
        Self { ty, body, beside }
    }

    /// Reads what [`Document::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are not protobuf of the type's message.
    pub fn decode(ty: Arc<ResourceType>, body: &[u8], aside: &[u8]) -> Result<Self, DocumentError> {
        let decoded = DynamicMessage::decode(ty.message.clone(), body)
            .map_err(|source| DocumentError::Body { kind: ty.kind.clone(), source })?;
        let mut document = Self::new(ty, decoded);
        if let Some(beside) = &mut document.beside {
            *beside = DynamicMessage::decode(metadata::descriptor().clone(), aside).map_err(
                |source| DocumentError::Aside { kind: document.ty.kind.clone(), source },
            )?;
        }
        Ok(document)
    }

    /// The bytes of the resource, and of what is kept beside it (often empty).
    ///
    /// Maps come in no particular order, so equal documents may have different bytes: see [`crate::value::same`].
    pub fn encode(&self) -> (Bytes, Bytes) {
        let aside = self.beside.as_ref().map(|beside| beside.encode_to_vec().into());
        (self.body.encode_to_vec().into(), aside.unwrap_or_default())
    }

    /// The resource's name; empty if it has none yet.
    pub fn name(&self) -> &str {
        name_of(&self.ty, &self.body)
    }

    pub fn set_name(&mut self, name: impl Into<String>) {
        let _ = self.body.try_set_field(&self.ty.name_field, Value::String(name.into()));
    }

    /// The metadata that is kept beside the resource, for types that keep it so.
    pub(crate) fn beside(&self) -> Option<&DynamicMessage> {
        self.beside.as_ref()
    }

    /// The metadata, typed; empty for types without. Cost: a few hundred bytes are encoded and decoded.
    ///
    /// A type that brings a `goten.types.Meta` of another shape than ours reads as empty.
    pub fn meta(&self) -> Meta {
        let dynamic = match &self.ty.metadata {
            MetadataPlace::Inside(field) => message_in(&self.body, field),
            MetadataPlace::Beside => self.beside.as_ref(),
            MetadataPlace::None => None,
        };
        dynamic.and_then(|meta| meta.transcode_to().ok()).unwrap_or_default()
    }

    /// Replaces the metadata and fills the standard fields that follow from it (`uid`, `etag`, times).
    ///
    /// Fields of a newer `goten.types.Meta` that we do not know stay as they are.
    pub fn set_meta(&mut self, meta: &Meta) {
        self.write_meta(meta);
        if !matches!(self.ty.metadata, MetadataPlace::None) {
            metadata::fill_standard(&self.ty, &mut self.body, meta);
        }
    }

    /// Replaces the metadata and nothing else.
    pub(crate) fn write_meta(&mut self, meta: &Meta) {
        match &self.ty.metadata {
            MetadataPlace::Inside(field) => write_inside(&mut self.body, field, meta),
            MetadataPlace::Beside => {
                if let Some(beside) = &mut self.beside {
                    write_over(beside, meta);
                }
            }
            MetadataPlace::None => {}
        }
    }

    /// The etag of AIP-154 for the version that the metadata has.
    pub fn etag(&self) -> String {
        metadata::etag_of(&self.meta())
    }

    /// The first value at `path`; `None` if something on the way, or the value itself, is absent.
    pub fn get_path(&self, path: &Path) -> Option<Cow<'_, Value>> {
        let mut found = None;
        path.walk(self, &mut |leaf| {
            found = match leaf {
                Leaf::Present(value) => Some(Cow::Borrowed(value)),
                Leaf::Default => path.default_value().map(Cow::Owned),
                Leaf::Absent => None,
            };
            true
        });
        found
    }
}

/// The name in a message of the type; empty if there is none.
pub fn name_of<'a>(ty: &ResourceType, body: &'a DynamicMessage) -> &'a str {
    match body.get_field(&ty.name_field) {
        Cow::Borrowed(Value::String(name)) => name,
        _ => "",
    }
}

/// The message in a singular field, if it is set.
pub(crate) fn message_in<'a>(
    message: &'a DynamicMessage,
    field: &FieldDescriptor,
) -> Option<&'a DynamicMessage> {
    match message.get_field(field) {
        Cow::Borrowed(value) => value.as_message(),
        Cow::Owned(_) => None,
    }
}

fn write_inside(body: &mut DynamicMessage, field: &FieldDescriptor, meta: &Meta) {
    let present = body.has_field(field);
    let Some(inside) = body.get_field_mut(field).as_message_mut() else { return };
    if present {
        return write_over(inside, meta);
    }
    // Nothing is there that could be lost, so the bytes are simply read.
    if let Ok(read) = DynamicMessage::decode(inside.descriptor(), meta.encode_to_vec().as_slice()) {
        *inside = read;
    }
}

/// Sets the fields that we know and that changed, so that what we do not know survives in the others.
fn write_over(target: &mut DynamicMessage, meta: &Meta) {
    let read = |meta: &Meta| {
        DynamicMessage::decode(target.descriptor(), meta.encode_to_vec().as_slice()).ok()
    };
    let old = target.transcode_to::<Meta>().ok().and_then(|meta| read(&meta));
    let (Some(old), Some(new)) = (old, read(meta)) else { return };
    for known in metadata::descriptor().fields() {
        let Some(field) = target.descriptor().get_field(known.number()) else { continue };
        if !new.has_field(&field) {
            target.clear_field(&field);
        } else if !old.has_field(&field) || old.get_field(&field) != new.get_field(&field) {
            target.set_field(&field, new.get_field(&field).into_owned());
        }
    }
}
