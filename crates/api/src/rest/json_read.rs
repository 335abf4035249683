//! JSON text to messages: proto3 JSON, strict, with the place of every mistake.
//!
//! The walk over message fields, lists, maps and scalars is here, so that an error knows its field and a
//! patch knows what its body mentions; well-known types with a form of their own are left to `prost-reflect`.
//! Depth is bounded twice: JSON by `serde_json` (128), messages by [`NESTING_MAX`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use bowline_base::{Reason, Status};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::scalar::{float, integer, scalar_form, scalar_from_text};
use super::suggest::nearest;

/// Deepest nesting of messages in a request. The protobuf decoder stops at 100; a resource that was
/// accepted must still decode inside list and watch messages.
pub const NESTING_MAX: usize = 90;

/// What a body said, beside its message.
pub(super) struct ReadJson {
    pub(super) message: DynamicMessage,
    /// Proto paths that the text mentions, down to leaves, in the order of the text; also those set
    /// to `null` or to a default, which the message itself cannot show.
    pub(super) mentioned: Vec<String>,
}

/// Reads `text` as a message of type `descriptor`. `place` is the request field that it fills, for errors.
///
/// # Errors
/// `MALFORMED_BODY` with the field, line and column.
pub(super) fn read_message(
    descriptor: &MessageDescriptor,
    text: &[u8],
    place: &str,
) -> Result<ReadJson, Status> {
    let reader = Reader::new(place);
    let mut source = serde_json::Deserializer::from_slice(text);
    let read = MessageSeed { reader: &reader, descriptor }.deserialize(&mut source);
    let read = read.and_then(|message| source.end().map(|()| message));
    let message = read.map_err(|error| reader.status(&error))?;
    check_nesting(&message, place)?;
    Ok(ReadJson { message, mentioned: reader.mentioned.into_inner() })
}

/// Reads `text` as the value of one field, which may be a list, a map or a scalar.
pub(super) fn read_field(field: &FieldDescriptor, text: &[u8]) -> Result<Option<Value>, Status> {
    let reader = Reader::new(field.name());
    let mut source = serde_json::Deserializer::from_slice(text);
    let read = FieldSeed { reader: &reader, field }.deserialize(&mut source);
    let read = read.and_then(|value| source.end().map(|()| value));
    let value = read.map_err(|error| reader.status(&error))?;
    if let Some(value) = &value {
        check_value_nesting(value, field.name())?;
    }
    Ok(value)
}

/// Refuses a message whose messages are nested more than [`NESTING_MAX`] deep.
///
/// # Errors
/// `LIMIT_EXCEEDED` naming `place`. Cost: linear in the message.
pub fn check_nesting(message: &DynamicMessage, place: &str) -> Result<(), Status> {
    if message_fits(message, NESTING_MAX) { Ok(()) } else { Err(too_deep(place)) }
}

fn check_value_nesting(value: &Value, place: &str) -> Result<(), Status> {
    if value_fits(value, NESTING_MAX) { Ok(()) } else { Err(too_deep(place)) }
}

fn too_deep(place: &str) -> Status {
    let text = format!("messages are nested more than {NESTING_MAX} deep");
    Status::bad_field(Reason::LimitExceeded, place, text)
}

fn message_fits(message: &DynamicMessage, levels: usize) -> bool {
    message.fields().all(|(_, value)| value_fits(value, levels))
}

fn value_fits(value: &Value, levels: usize) -> bool {
    match value {
        Value::Message(inner) => levels > 0 && message_fits(inner, levels - 1),
        Value::List(items) => items.iter().all(|item| value_fits(item, levels)),
        // A map entry is a message of its own on the wire.
        Value::Map(entries) => levels > 0 && entries.values().all(|v| value_fits(v, levels - 1)),
        _ => true,
    }
}

/// Where the walk is. On an error the path stays as it was at the mistake.
struct Reader {
    place: String,
    path: RefCell<Vec<String>>,
    mentioned: RefCell<Vec<String>>,
    mention_prefix: RefCell<Vec<String>>,
    /// Inside lists and maps nothing is mentioned: masks do not reach there.
    below_leaf: RefCell<usize>,
}

impl Reader {
    fn new(place: &str) -> Self {
        Self {
            place: place.to_owned(),
            path: RefCell::default(),
            mentioned: RefCell::default(),
            mention_prefix: RefCell::default(),
            below_leaf: RefCell::default(),
        }
    }

    /// Runs `read` one step further down; the step is undone only on success.
    fn within<T, E>(&self, step: String, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.path.borrow_mut().push(step);
        let value = read()?;
        self.path.borrow_mut().pop();
        Ok(value)
    }

    fn mention(&self) {
        if *self.below_leaf.borrow() == 0 {
            let path = self.mention_prefix.borrow().join(".");
            self.mentioned.borrow_mut().push(path);
        }
    }

    fn status(&self, error: &serde_json::Error) -> Status {
        let mut field = self.place.clone();
        for step in self.path.borrow().iter() {
            if !field.is_empty() && !step.starts_with('[') {
                field.push('.');
            }
            field.push_str(step);
        }
        Status::bad_field(Reason::MalformedBody, field, error.to_string())
            .with_metadata("line", error.line().to_string())
            .with_metadata("column", error.column().to_string())
    }
}

struct MessageSeed<'a> {
    reader: &'a Reader,
    descriptor: &'a MessageDescriptor,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = DynamicMessage;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<DynamicMessage, D::Error> {
        match self.descriptor.full_name() {
            "google.protobuf.FieldMask" => read_mask(self.descriptor, source),
            name if has_own_form(name) => {
                DynamicMessage::deserialize(self.descriptor.clone(), source)
            }
            _ => source.deserialize_any(self),
        }
    }
}

/// Messages whose JSON is not a map of their fields (and `Any`, which brings its own type).
pub(super) fn has_own_form(full_name: &str) -> bool {
    let Some(name) = full_name.strip_prefix("google.protobuf.") else { return false };
    name.ends_with("Value")
        || matches!(name, "Any" | "Timestamp" | "Duration" | "FieldMask" | "Struct")
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = DynamicMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a JSON map with the fields of {}", self.descriptor.full_name())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DynamicMessage, A::Error> {
        let mut message = DynamicMessage::new(self.descriptor.clone());
        let mut seen: Vec<u32> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let field = find_field(self.descriptor, &key)
                .ok_or_else(|| Error::custom(unknown_field(self.descriptor, &key)))?;
            self.reader.within(key, || {
                check_first(&field, &mut seen, self.descriptor).map_err(Error::custom)?;
                let seed = FieldSeed { reader: self.reader, field: &field };
                if let Some(value) = map.next_value_seed(seed)? {
                    message.set_field(&field, value);
                }
                Ok(())
            })?;
        }
        if seen.is_empty() && !self.reader.mention_prefix.borrow().is_empty() {
            self.reader.mention();
        }
        Ok(message)
    }
}

/// A field by its JSON name or its proto name.
pub(super) fn find_field(descriptor: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_json_name(key).or_else(|| descriptor.get_field_by_name(key))
}

/// What to say about a key that is no field: with the nearest one that is.
pub(super) fn unknown_field(descriptor: &MessageDescriptor, key: &str) -> String {
    let fields: Vec<_> = descriptor.fields().collect();
    let names = fields.iter().flat_map(|f| [f.json_name(), f.name()]);
    let shown: String = key.chars().take(80).collect();
    match nearest(key, names) {
        Some(near) => {
            format!("{} has no field `{shown}`; did you mean `{near}`?", descriptor.full_name())
        }
        None => format!("{} has no field `{shown}`", descriptor.full_name()),
    }
}

/// A field may stand in a message once, and of a oneof only one field.
fn check_first(
    field: &FieldDescriptor,
    seen: &mut Vec<u32>,
    descriptor: &MessageDescriptor,
) -> Result<(), String> {
    if seen.contains(&field.number()) {
        return Err("the field stands here twice".to_owned());
    }
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    if let Some(oneof) = oneof {
        let other = oneof.fields().find(|f| seen.contains(&f.number()));
        if let Some(other) = other {
            let (name, other) = (oneof.name(), other.json_name().to_owned());
            return Err(format!("only one of the fields of `{name}` may be set, and `{other}` is"));
        }
    }
    debug_assert_eq!(field.parent_message(), descriptor);
    seen.push(field.number());
    Ok(())
}

/// The value of a field; `null` is no value.
struct FieldSeed<'a> {
    reader: &'a Reader,
    field: &'a FieldDescriptor,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Option<Value>, D::Error> {
        source.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of the field `{}`", self.field.json_name())
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Value>, E> {
        self.visit_none()
    }

    fn visit_none<E: Error>(self) -> Result<Option<Value>, E> {
        self.reader.mention_prefix.borrow_mut().push(self.field.name().to_owned());
        self.reader.mention();
        self.reader.mention_prefix.borrow_mut().pop();
        null_value(self.field)
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Option<Value>, D::Error> {
        let reader = self.reader;
        reader.mention_prefix.borrow_mut().push(self.field.name().to_owned());
        let kind = self.field.kind();
        let is_plain_message = !self.field.is_list()
            && !self.field.is_map()
            && kind.as_message().is_some_and(|m| !has_own_form(m.full_name()));
        if !is_plain_message {
            reader.mention();
            *reader.below_leaf.borrow_mut() += 1;
        }
        let value = if self.field.is_map() {
            source.deserialize_map(MapVisitor { reader, field: self.field })?
        } else if self.field.is_list() {
            source.deserialize_seq(ListVisitor { reader, kind: &kind })?
        } else {
            ValueSeed { reader, kind: &kind }.deserialize(source)?
        };
        if !is_plain_message {
            *reader.below_leaf.borrow_mut() -= 1;
        }
        reader.mention_prefix.borrow_mut().pop();
        Ok(Some(value))
    }
}

/// `null` is a value for `google.protobuf.Value` and `NullValue`, and no value for all others.
fn null_value<E: Error>(field: &FieldDescriptor) -> Result<Option<Value>, E> {
    if field.is_list() || field.is_map() {
        return Ok(None);
    }
    match field.kind() {
        Kind::Enum(e) if e.full_name() == "google.protobuf.NullValue" => {
            Ok(Some(Value::EnumNumber(0)))
        }
        Kind::Message(m) if m.full_name() == "google.protobuf.Value" => {
            let unit = serde::de::value::UnitDeserializer::<E>::new();
            Ok(Some(Value::Message(DynamicMessage::deserialize(m, unit)?)))
        }
        _ => Ok(None),
    }
}

struct ListVisitor<'a> {
    reader: &'a Reader,
    kind: &'a Kind,
}

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let step = format!("[{}]", values.len());
            let seed = ValueSeed { reader: self.reader, kind: self.kind };
            let next = self.reader.within(step, || list.next_element_seed(seed))?;
            let Some(value) = next else { return Ok(Value::List(values)) };
            values.push(value);
        }
    }
}

struct MapVisitor<'a> {
    reader: &'a Reader,
    field: &'a FieldDescriptor,
}

impl<'de> Visitor<'de> for MapVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Kind::Message(entry) = self.field.kind() else {
            return Err(Error::custom("the map has no entry type"));
        };
        let (key_kind, kind) =
            (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let mut values = HashMap::new();
        while let Some(text) = map.next_key::<String>()? {
            let key = map_key(&key_kind, &text);
            self.reader.within(format!("[{text:?}]"), || {
                let key = key.ok_or_else(|| Error::custom("the key has the wrong type"))?;
                let value = map.next_value_seed(ValueSeed { reader: self.reader, kind: &kind })?;
                if values.insert(key, value).is_some() {
                    return Err(Error::custom("the key stands here twice"));
                }
                Ok(())
            })?;
        }
        Ok(Value::Map(values))
    }
}

fn map_key(kind: &Kind, text: &str) -> Option<MapKey> {
    match kind {
        Kind::String => Some(MapKey::String(text.to_owned())),
        Kind::Bool => text.parse().ok().map(MapKey::Bool),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => text.parse().ok().map(MapKey::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => text.parse().ok().map(MapKey::I64),
        Kind::Uint32 | Kind::Fixed32 => text.parse().ok().map(MapKey::U32),
        Kind::Uint64 | Kind::Fixed64 => text.parse().ok().map(MapKey::U64),
        _ => None,
    }
}

/// One value: a singular field, a list element, a map value.
struct ValueSeed<'a> {
    reader: &'a Reader,
    kind: &'a Kind,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        match self.kind {
            Kind::Message(descriptor) => {
                let seed = MessageSeed { reader: self.reader, descriptor };
                Ok(Value::Message(seed.deserialize(source)?))
            }
            kind => source.deserialize_any(ScalarVisitor { kind }),
        }
    }
}

struct ScalarVisitor<'a> {
    kind: &'a Kind,
}

impl Visitor<'_> for ScalarVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&scalar_form(self.kind))
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Value, E> {
        match self.kind {
            Kind::Bool => Ok(Value::Bool(v)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(v), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        match self.kind {
            Kind::Enum(e) if e.full_name() == "google.protobuf.NullValue" => {
                Ok(Value::EnumNumber(0))
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Unit, &self)),
        }
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Value, E> {
        let refused = E::invalid_value(serde::de::Unexpected::Signed(v), &self);
        integer(self.kind, i128::from(v)).ok_or(refused)
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Value, E> {
        let refused = E::invalid_value(serde::de::Unexpected::Unsigned(v), &self);
        integer(self.kind, i128::from(v)).ok_or(refused)
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        let refused = E::invalid_value(serde::de::Unexpected::Float(v), &self);
        float(self.kind, v).ok_or(refused)
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Value, E> {
        // A quoted boolean is no boolean in JSON; elsewhere text is read as in a query.
        if matches!(self.kind, Kind::Bool) {
            return Err(E::invalid_type(serde::de::Unexpected::Str(v), &self));
        }
        let shown: String = v.chars().take(80).collect();
        scalar_from_text(self.kind, v)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(&shown), &self))
    }
}

/// A mask as text: paths between commas, in lowerCamel or snake case, as they are. What they mean is
/// checked where they are used, against the resource.
pub(super) fn mask_from_text(descriptor: &MessageDescriptor, text: &str) -> DynamicMessage {
    let paths = text.split(',').map(str::trim).filter(|path| !path.is_empty());
    let mut mask = DynamicMessage::new(descriptor.clone());
    let paths = paths.map(|path| Value::String(path.to_owned())).collect();
    // A pool may hold a file that only claims to be the well-known one; then the mask stays empty.
    let _ = mask.try_set_field_by_name("paths", Value::List(paths));
    mask
}

fn read_mask<'de, D: Deserializer<'de>>(
    descriptor: &MessageDescriptor,
    source: D,
) -> Result<DynamicMessage, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("field paths in one string, separated by commas")
        }
        fn visit_str<E: Error>(self, v: &str) -> Result<String, E> {
            Ok(v.to_owned())
        }
    }
    source.deserialize_str(Text).map(|text| mask_from_text(descriptor, &text))
}
