//! What a create or update stores: the client's message, merged through its mask, with the server's fields kept.
//!
//! Follows AIP-134 and AIP-203: masked fields that are absent are cleared, output-only fields are ignored, changing an
//! immutable field is an error. Versions and times are stamped afterwards ([`crate::metadata`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bowline_schema::model::{MetadataPlace, ResourceType};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};

use crate::document::Document;
use crate::mask::{Mask, Tree};
use crate::metadata;
use crate::path::Shape;
use crate::rules::{self, Paths, join};
use crate::value::{fingerprint, same_value, well_known};

#[cfg(test)]
mod tests;

/// What an update without a mask changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmasked {
    /// Everything: what is absent is cleared (`PUT`, and methods whose protos have EdgeLQ's form).
    Replace,
    /// Only what is populated in the message (AIP-134, `PATCH`).
    Populated,
}

/// Why an update is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    #[error("\"{path}\" is immutable and cannot be changed")]
    Immutable { path: String },
    #[error("items of the list \"{path}\" cannot be changed one by one, only the list as a whole")]
    ThroughList { path: String },
}

impl Document {
    /// The resource that a client asks to be made: without what only the server sets.
    pub fn for_create(ty: Arc<ResourceType>, mut body: DynamicMessage) -> Self {
        rules::clear_output_only(&ty, &mut body);
        let mut document = Self::new(ty, body);
        document.keep_metadata_of(&metadata::Meta::default());
        document
    }

    /// This stored resource, changed as a client asks. Name and server fields stay as they are here.
    ///
    /// `client` is of the type's message, `mask` of a resource of the type; `unmasked` decides what the empty mask
    /// means, and `*` replaces everything.
    ///
    /// # Errors
    /// [`UpdateError`]; nothing is changed then.
    pub fn updated(
        &self,
        client: &DynamicMessage,
        mask: &Mask,
        unmasked: Unmasked,
    ) -> Result<Self, UpdateError> {
        if let Some(path) = list_in(&mask.resource, &self.ty.message, "") {
            return Err(UpdateError::ThroughList { path });
        }
        let implied;
        let tree = match (mask.is_empty(), unmasked) {
            (false, _) => &mask.resource,
            (true, Unmasked::Replace) => &Tree::All,
            (true, Unmasked::Populated) => {
                implied = populated(client);
                &implied
            }
        };
        let mut next = self.clone();
        Merge::new(&self.ty).message(&mut next.body, client, tree, "")?;
        next.keep_metadata_of(&self.meta());
        Ok(next)
    }

    /// Whether the specification differs: the field `spec` if the type has one, otherwise all but metadata, `status`
    /// and what only the server sets.
    pub fn spec_changed(&self, before: &Document) -> bool {
        let message = &self.ty.message;
        let mask = match message.get_field_by_name("spec") {
            Some(spec) => Mask::of_fields(message, [&spec]),
            None => {
                let fields: Vec<_> = message.fields().filter(|f| self.is_spec(f)).collect();
                Mask::of_fields(message, &fields)
            }
        };
        !mask.is_empty() && mask.changed(before, self)
    }

    fn is_spec(&self, field: &FieldDescriptor) -> bool {
        let is_metadata =
            matches!(&self.ty.metadata, MetadataPlace::Inside(inside) if inside == field);
        !is_metadata
            && field.name() != "status"
            && *field != self.ty.name_field
            && !rules::server_fields(&self.ty).any(|server| server == field)
            && !Paths(&self.ty.fields.output_only).has(field.name())
    }

    /// Takes the client's parts of the metadata from where clients write them, the rest from `stored`.
    fn keep_metadata_of(&mut self, stored: &metadata::Meta) {
        let mut client = self.meta();
        metadata::take_standard(&self.ty, &self.body, &mut client);
        self.write_meta(&stored.clone().with_writable_of(client));
    }
}

/// The first list of which the mask names parts of the items. Depth is that of the mask.
fn list_in(tree: &Tree, message: &MessageDescriptor, at: &str) -> Option<String> {
    let Tree::Message(fields) = tree else { return None };
    fields.iter().find_map(|(number, below)| {
        let field = message.get_field(*number)?;
        let path = join(at, field.name());
        match (below, Shape::of(&field)) {
            (Tree::Items(_), _) => Some(path),
            (Tree::Map { keys, each }, Shape::Map { value: Kind::Message(value), .. }) => {
                let mut values = keys.values().chain(each.as_deref());
                values.find_map(|tree| list_in(tree, &value, &path))
            }
            (below, Shape::One(Kind::Message(message))) => list_in(below, &message, &path),
            _ => None,
        }
    })
}

/// The paths of what is set in a message: as deep as singular messages go, lists and maps as a whole.
fn populated(message: &DynamicMessage) -> Tree {
    let below = |value: &Value| match value {
        Value::Message(m) if well_known(&m.descriptor()).is_none() => match populated(m) {
            tree if tree.is_nothing() => Tree::All,
            tree => tree,
        },
        _ => Tree::All,
    };
    let fields = message.fields().map(|(field, value)| (field.number(), below(value)));
    Tree::Message(fields.collect::<BTreeMap<_, _>>())
}

/// One merge; `at` in its methods is the dotted path of what they look at.
struct Merge<'a> {
    /// Paths that clients cannot write, sorted.
    server: Vec<String>,
    immutable: Paths<'a>,
}

impl<'a> Merge<'a> {
    fn new(ty: &'a ResourceType) -> Self {
        let standard = rules::server_fields(ty).map(|field| field.name().to_owned());
        let name = std::iter::once(ty.name_field.name().to_owned());
        let mut server: Vec<_> =
            ty.fields.output_only.iter().cloned().chain(standard).chain(name).collect();
        server.sort_unstable();
        Self { server, immutable: Paths(&ty.fields.immutable) }
    }

    fn server(&self) -> Paths<'_> {
        Paths(&self.server)
    }

    /// Whether something below `at` needs a look of its own.
    fn has_rules_below(&self, at: &str) -> bool {
        self.server().has_below(at) || self.immutable.has_below(at)
    }

    /// Depth is that of the mask, or of the deepest rule below it.
    fn message(
        &self,
        stored: &mut DynamicMessage,
        client: &DynamicMessage,
        tree: &Tree,
        at: &str,
    ) -> Result<(), UpdateError> {
        let descriptor = stored.descriptor();
        match tree {
            Tree::Message(fields) => {
                for (number, below) in fields {
                    if let Some(field) = descriptor.get_field(*number) {
                        self.field(stored, client, &field, below, at)?;
                    }
                }
            }
            _ => {
                for field in descriptor.fields() {
                    self.field(stored, client, &field, &Tree::All, at)?;
                }
            }
        }
        Ok(())
    }

    fn field(
        &self,
        stored: &mut DynamicMessage,
        client: &DynamicMessage,
        field: &FieldDescriptor,
        tree: &Tree,
        at: &str,
    ) -> Result<(), UpdateError> {
        let path = join(at, field.name());
        if self.server().has(&path) {
            return Ok(());
        }
        if self.immutable.has(&path) {
            return unchanged(stored, client, field, &path);
        }
        match tree {
            Tree::All if !self.has_rules_below(&path) => {
                replace(stored, client, field);
                Ok(())
            }
            _ if field.is_map() => self.map(stored, client, field, tree, &path),
            _ if field.is_list() => {
                self.items(stored, client, field, &path);
                Ok(())
            }
            _ => self.singular(stored, client, field, tree, &path),
        }
    }

    /// A message of which only parts are replaced.
    fn singular(
        &self,
        stored: &mut DynamicMessage,
        client: &DynamicMessage,
        field: &FieldDescriptor,
        tree: &Tree,
        path: &str,
    ) -> Result<(), UpdateError> {
        let given = client.has_field(field);
        let had = stored.has_field(field);
        if !given && (!had || sibling_is_set(client, field)) {
            stored.clear_field(field);
            return Ok(());
        }
        let value = client.get_field(field);
        let Some(from) = value.as_message() else { return Ok(()) };
        let Some(into) = stored.get_field_mut(field).as_message_mut() else { return Ok(()) };
        self.message(into, from, tree, path)?;
        if *tree == Tree::All && !given && into.fields().next().is_none() {
            stored.clear_field(field);
        }
        Ok(())
    }

    /// A map: the masked keys are set or removed, and fields of the server stay in values that stay.
    fn map(
        &self,
        stored: &mut DynamicMessage,
        client: &DynamicMessage,
        field: &FieldDescriptor,
        tree: &Tree,
        path: &str,
    ) -> Result<(), UpdateError> {
        let value = client.get_field(field);
        let Some(from) = value.as_map() else { return Ok(()) };
        let Some(into) = stored.get_field_mut(field).as_map_mut() else { return Ok(()) };
        let keys: Vec<_> = into.keys().chain(from.keys()).cloned().collect();
        for key in keys {
            let Some(below) = crate::mask::below_key(tree, &key) else { continue };
            match (into.get_mut(&key), from.get(&key)) {
                (_, None) => {
                    into.remove(&key);
                }
                (Some(Value::Message(into)), Some(Value::Message(from))) => {
                    self.message(into, from, below, path)?;
                }
                (_, Some(Value::Message(from))) => {
                    let mut made = DynamicMessage::new(from.descriptor());
                    self.message(&mut made, from, below, path)?;
                    into.insert(key, Value::Message(made));
                }
                (_, Some(from)) => {
                    into.insert(key, from.clone());
                }
            }
        }
        Ok(())
    }

    /// A list of messages with fields of the server. Items have no identity, so those fields stay in an item that is
    /// otherwise the same as a stored one, and are empty in others.
    fn items(
        &self,
        stored: &mut DynamicMessage,
        client: &DynamicMessage,
        field: &FieldDescriptor,
        path: &str,
    ) {
        let cleared = |item: &Value| {
            let mut item = item.clone();
            rules::for_each_message(&mut item, &mut |m| rules::clear(m, self.server(), path));
            item
        };
        let hash = |item: &Value| item.as_message().map_or(0, fingerprint);
        let old = stored.get_field(field).into_owned();
        let mut known: HashMap<u64, VecDeque<&Value>> = HashMap::new();
        for item in old.as_list().unwrap_or_default() {
            known.entry(hash(&cleared(item))).or_default().push_back(item);
        }
        let given = client.get_field(field);
        let merged = given.as_list().unwrap_or_default().iter().map(|item| {
            let item = cleared(item);
            let same = known.get_mut(&hash(&item)).and_then(VecDeque::pop_front);
            same.cloned().unwrap_or(item)
        });
        stored.set_field(field, Value::List(merged.collect()));
    }
}

/// An immutable field may be left out, or given as it is.
fn unchanged(
    stored: &DynamicMessage,
    client: &DynamicMessage,
    field: &FieldDescriptor,
    path: &str,
) -> Result<(), UpdateError> {
    let given = client.has_field(field);
    if !given || same_value(&stored.get_field(field), &client.get_field(field)) {
        return Ok(());
    }
    Err(UpdateError::Immutable { path: path.to_owned() })
}

fn replace(stored: &mut DynamicMessage, client: &DynamicMessage, field: &FieldDescriptor) {
    if client.has_field(field) {
        stored.set_field(field, client.get_field(field).into_owned());
    } else {
        stored.clear_field(field);
    }
}

/// Whether the message has another field of the same oneof.
fn sibling_is_set(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    let oneof = field.containing_oneof();
    oneof.is_some_and(|oneof| oneof.fields().any(|other| message.has_field(&other)))
}
