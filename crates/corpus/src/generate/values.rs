//! Values of fields: a whole resource filled from its descriptor, with required fields, references, oneofs and maps.
//!
//! Depth and size are bounded: below [`DEPTH_FULL`] only what is required is filled, since messages may contain themselves.

use std::collections::HashMap;

use bytes::Bytes;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value,
};

use super::{Plan, names};

/// Down to this depth every field is filled.
const DEPTH_FULL: usize = 3;
/// Nothing is filled below this depth.
const DEPTH_MAX: usize = 12;
/// Most fields of one resource; beyond it only what is required is filled.
const FIELDS_MAX: usize = 1_500;
/// Some second in November 2023, in range for every reader.
const SECOND: i64 = 1_700_000_000;

/// Fills a resource of the plan's type; other `seed`s give other values in every field, and other cases of oneofs.
///
/// The name and what the server sets by itself stay empty.
pub fn resource(plan: &Plan<'_>, seed: usize) -> DynamicMessage {
    Filler { plan, seed, budget: FIELDS_MAX }.message(&plan.ty.message, "", 0)
}

/// Another valid value of the same kind for a singular scalar or labels; `None` if there is none.
pub fn changed(field: &FieldDescriptor, value: &Value) -> Option<Value> {
    Some(match value {
        Value::String(text) => Value::String(format!("{text}-changed")),
        Value::Bool(flag) => Value::Bool(!flag),
        Value::I32(n) => Value::I32(n.wrapping_add(1)),
        Value::I64(n) => Value::I64(n.wrapping_add(1)),
        Value::U32(n) => Value::U32(n.wrapping_add(1)),
        Value::U64(n) => Value::U64(n.wrapping_add(1)),
        Value::F32(n) => Value::F32(n + 1.0),
        Value::F64(n) => Value::F64(n + 1.0),
        Value::Bytes(bytes) => Value::Bytes([bytes.as_ref(), b"!"].concat().into()),
        Value::EnumNumber(number) => {
            let kind = field.kind();
            let other =
                kind.as_enum()?.values().map(|v| v.number()).find(|n| n != number && *n != 0);
            Value::EnumNumber(other?)
        }
        Value::Map(entries) => {
            let mut entries = entries.clone();
            entries.insert(MapKey::String("changed".to_owned()), Value::String("yes".to_owned()));
            Value::Map(entries)
        }
        Value::List(items) => {
            let mut items = items.clone();
            items.push(Value::String("changed".to_owned()));
            Value::List(items)
        }
        Value::Message(message) => Value::Message(changed_message(message)?),
    })
}

/// Times and wrapped scalars; other messages are changed by their fields.
fn changed_message(message: &DynamicMessage) -> Option<DynamicMessage> {
    let descriptor = message.descriptor();
    let name = descriptor.full_name().strip_prefix("google.protobuf.")?;
    let field = match name {
        "Timestamp" | "Duration" => "seconds",
        _ if name.ends_with("Value") && descriptor.fields().len() == 1 => "value",
        _ => return None,
    };
    let field = descriptor.get_field_by_name(field)?;
    let value = changed(&field, &message.get_field(&field))?;
    let mut message = message.clone();
    message.set_field(&field, value);
    Some(message)
}

struct Filler<'a> {
    plan: &'a Plan<'a>,
    seed: usize,
    budget: usize,
}

impl Filler<'_> {
    fn message(
        &mut self,
        descriptor: &MessageDescriptor,
        path: &str,
        depth: usize,
    ) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        if self.well_known(&mut message) {
            return message;
        }
        for field in descriptor.fields() {
            let is_case = field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic());
            if !is_case {
                self.field(&mut message, &field, path, depth);
            }
        }
        for oneof in descriptor.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let cases: Vec<_> = oneof.fields().collect();
            // The seed picks the case; another one steps in where that case is not for clients.
            for at in 0..cases.len() {
                let case = &cases[(at + self.seed) % cases.len()];
                if self.field(&mut message, case, path, depth) {
                    break;
                }
            }
        }
        message
    }

    /// Sets the field if it is for clients to set; tells whether it did.
    fn field(
        &mut self,
        message: &mut DynamicMessage,
        field: &FieldDescriptor,
        above: &str,
        depth: usize,
    ) -> bool {
        let path = join(above, field.name());
        let managed = self.plan.is_managed(&path) || self.plan.is_output_only(&path);
        let required = field.is_required() || self.plan.is_required(&path);
        let wanted = required || (depth < DEPTH_FULL && self.budget > 0);
        if managed || !wanted || depth >= DEPTH_MAX {
            return false;
        }
        let Some(value) = self.value(field, &path, depth) else { return false };
        self.budget = self.budget.saturating_sub(1);
        message.set_field(field, value);
        true
    }

    fn value(&mut self, field: &FieldDescriptor, path: &str, depth: usize) -> Option<Value> {
        if field.is_map() {
            return self.map(field, path, depth);
        }
        let value = self.single(&field.kind(), field.name(), path, depth)?;
        Some(if field.is_list() { Value::List(vec![value]) } else { value })
    }

    fn map(&mut self, field: &FieldDescriptor, path: &str, depth: usize) -> Option<Value> {
        let kind = field.kind();
        let entry = kind.as_message()?;
        let key = match entry.map_entry_key_field().kind() {
            Kind::String => MapKey::String("env".to_owned()),
            Kind::Bool => MapKey::Bool(true),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(7),
            Kind::Uint32 | Kind::Fixed32 => MapKey::U32(7),
            Kind::Uint64 | Kind::Fixed64 => MapKey::U64(7),
            _ => MapKey::I32(7),
        };
        let value =
            self.single(&entry.map_entry_value_field().kind(), field.name(), path, depth)?;
        Some(Value::Map(HashMap::from([(key, value)])))
    }

    /// One value; `None` where no value says anything (an enum with the value 0 only).
    fn single(&mut self, kind: &Kind, name: &str, path: &str, depth: usize) -> Option<Value> {
        let number = 7 + u32::try_from(self.seed).unwrap_or(0);
        Some(match kind {
            Kind::String => Value::String(self.text(name, path)),
            Kind::Bool => Value::Bool(true),
            Kind::Bytes => Value::Bytes(Bytes::from(format!("bytes {number}"))),
            Kind::Double => Value::F64(f64::from(number) + 0.5),
            Kind::Float => Value::F32(7.5),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                Value::I32(i32::try_from(number).unwrap_or(7))
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::from(number)),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(number),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::from(number)),
            Kind::Enum(descriptor) => Value::EnumNumber(self.enum_number(descriptor)?),
            Kind::Message(descriptor) => self.nested(descriptor, path, depth)?,
        })
    }

    fn nested(
        &mut self,
        descriptor: &MessageDescriptor,
        path: &str,
        depth: usize,
    ) -> Option<Value> {
        // What an `Any` holds must be known to whoever reads it as JSON; nothing generated could be.
        if descriptor.full_name() == "google.protobuf.Any" && !self.plan.is_required(path) {
            return None;
        }
        Some(Value::Message(self.message(descriptor, path, depth + 1)))
    }

    fn text(&self, name: &str, path: &str) -> String {
        match self.plan.reference(path) {
            Some(target) => names::reference(self.plan.registry, target),
            None => format!("{name} {}", self.seed),
        }
    }

    fn enum_number(&self, descriptor: &EnumDescriptor) -> Option<i32> {
        let numbers: Vec<i32> =
            descriptor.values().map(|v| v.number()).filter(|n| *n != 0).collect();
        numbers.get(self.seed % numbers.len().max(1)).copied()
    }

    /// Messages whose fields have rules of their own.
    fn well_known(&self, message: &mut DynamicMessage) -> bool {
        let later = i64::try_from(self.seed).unwrap_or(0);
        let descriptor = message.descriptor();
        match descriptor.full_name() {
            "google.protobuf.Timestamp" => set(message, "seconds", Value::I64(SECOND + later)),
            "google.protobuf.Duration" => set(message, "seconds", Value::I64(60 + later)),
            "google.protobuf.FieldMask" => {
                let paths = vec![Value::String("name".to_owned())];
                set(message, "paths", Value::List(paths));
            }
            "google.protobuf.Any" => {
                let url = "type.googleapis.com/google.protobuf.Empty".to_owned();
                set(message, "type_url", Value::String(url));
            }
            "google.protobuf.Value" => {
                set(message, "string_value", Value::String("value".to_owned()))
            }
            "google.protobuf.Struct" => {
                if let Some(value) = struct_entry(message) {
                    let entries = HashMap::from([(MapKey::String("key".to_owned()), value)]);
                    set(message, "fields", Value::Map(entries));
                }
            }
            "google.protobuf.ListValue" | "google.protobuf.Empty" => {}
            _ => return false,
        }
        true
    }
}

/// A string as a value of a `google.protobuf.Struct`.
fn struct_entry(message: &DynamicMessage) -> Option<Value> {
    let kind = message.descriptor().get_field_by_name("fields")?.kind();
    let entry = kind.as_message()?.map_entry_value_field().kind();
    let mut value = DynamicMessage::new(entry.as_message()?.clone());
    set(&mut value, "string_value", Value::String("value".to_owned()));
    Some(Value::Message(value))
}

/// Sets a field if the message, which only bears a well-known name, has it with that type.
fn set(message: &mut DynamicMessage, field: &str, value: Value) {
    // A look-alike of a well-known type keeps its default; the server then judges it as it is.
    let _ = message.try_set_field_by_name(field, value);
}

pub(super) fn join(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") }
}
