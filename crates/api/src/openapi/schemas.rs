//! JSON schemas of messages and fields, as proto3 JSON has them.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::errors;
use super::options::{Behaviour, Comments};

/// The component schemas of one document, collected while operations name them.
pub(super) struct Schemas<'a> {
    package: String,
    pub(super) comments: &'a Comments,
    done: BTreeMap<String, Value>,
    waiting: Vec<Named>,
    known: BTreeSet<String>,
}

enum Named {
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
}

impl<'a> Schemas<'a> {
    pub(super) fn new(package: &str, comments: &'a Comments) -> Self {
        Self {
            package: package.to_owned(),
            comments,
            done: BTreeMap::new(),
            waiting: Vec::new(),
            known: BTreeSet::new(),
        }
    }

    /// Adds a component that no descriptor stands behind.
    pub(super) fn insert(&mut self, name: &str, schema: Value) {
        self.done.insert(name.to_owned(), schema);
    }

    /// All components, with all that they name.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        // A list of what is waiting, not recursion: types may be nested and recursive without bound.
        while let Some(next) = self.waiting.pop() {
            let (name, schema) = match next {
                Named::Message(message) => {
                    (self.component(message.full_name()), self.message_schema(&message))
                }
                Named::Enum(e) => (self.component(e.full_name()), self.enum_schema(&e)),
            };
            self.done.insert(name, schema);
        }
        self.done.into_iter().collect()
    }

    /// The schema of a message where it is used: a reference, or the form of a well-known type.
    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = self.well_known(message) {
            return schema;
        }
        let name = message.full_name().to_owned();
        if self.known.insert(name.clone()) {
            self.waiting.push(Named::Message(message.clone()));
        }
        self.reference(&name)
    }

    /// The schema of a field, with what its options and comments say.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = self.field_type(field);
        let behaviour = Behaviour::of(field);
        let map = schema.as_object_mut().expect("every schema here is a map");
        if let Some(text) = self.description(field, behaviour) {
            map.insert("description".to_owned(), json!(text));
        }
        if behaviour.output_only {
            map.insert("readOnly".to_owned(), json!(true));
        }
        if behaviour.input_only {
            map.insert("writeOnly".to_owned(), json!(true));
        }
        if is_deprecated(field) {
            map.insert("deprecated".to_owned(), json!(true));
        }
        schema
    }

    /// The type of a field: of its elements and keys too.
    pub(super) fn field_type(&mut self, field: &FieldDescriptor) -> Value {
        let kind = field.kind();
        if field.is_map() {
            return self.map_schema(&kind);
        }
        let one = self.kind(&kind);
        if field.is_list() { json!({"type": "array", "items": one}) } else { one }
    }

    fn map_schema(&mut self, kind: &Kind) -> Value {
        let Some(entry) = kind.as_message() else { return json!({"type": "object"}) };
        let values = self.field_type(&entry.map_entry_value_field());
        let keys = match entry.map_entry_key_field().kind() {
            Kind::String => return json!({"type": "object", "additionalProperties": values}),
            Kind::Bool => "^(true|false)$",
            Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => "^[0-9]+$",
            _ => "^-?[0-9]+$",
        };
        json!({"type": "object", "propertyNames": {"pattern": keys}, "additionalProperties": values})
    }

    pub(super) fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(e) if e.full_name() == "google.protobuf.NullValue" => {
                json!({"type": "null"})
            }
            Kind::Enum(e) => {
                if self.known.insert(e.full_name().to_owned()) {
                    self.waiting.push(Named::Enum(e.clone()));
                }
                self.reference(e.full_name())
            }
            scalar => scalar_schema(scalar),
        }
    }

    fn message_schema(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields() {
            properties.insert(field.json_name().to_owned(), self.field(&field));
        }
        let mut schema =
            json!({"type": "object", "properties": properties, "additionalProperties": false});
        let comment = self.comments.of(&message.parent_file(), message.path());
        let groups = message.oneofs().filter(|oneof| !oneof.is_synthetic()).map(|oneof| {
            let fields = oneof.fields().map(|f| format!("`{}`", f.json_name())).collect::<Vec<_>>();
            format!("At most one of {} is set.", fields.join(", "))
        });
        let text: Vec<_> = comment.into_iter().chain(groups).collect();
        if !text.is_empty() {
            schema["description"] = json!(text.join("\n\n"));
        }
        schema
    }

    fn enum_schema(&self, e: &EnumDescriptor) -> Value {
        let names: Vec<_> = e.values().map(|value| value.name().to_owned()).collect();
        let mut schema = json!({"type": "string", "enum": names});
        let value_text = |value: prost_reflect::EnumValueDescriptor| {
            let text = self.comments.of(&value.parent_file(), value.path())?;
            Some(format!("- `{}`: {}", value.name(), text.replace('\n', " ")))
        };
        let values: Vec<_> = e.values().filter_map(value_text).collect();
        let values = (!values.is_empty()).then(|| values.join("\n"));
        let comment = self.comments.of(&e.parent_file(), e.path());
        let text: Vec<_> = comment.into_iter().chain(values).collect();
        if !text.is_empty() {
            schema["description"] = json!(text.join("\n\n"));
        }
        schema
    }

    fn description(&self, field: &FieldDescriptor, behaviour: Behaviour) -> Option<String> {
        let comment = self.comments.of(&field.parent_file(), field.path());
        let notes = [
            (behaviour.required, "Required."),
            (behaviour.immutable, "Cannot be changed once set."),
        ];
        let said = |text: &Option<String>, note: &str| {
            text.as_ref().is_some_and(|text| text.starts_with(note))
        };
        let notes = notes.iter().filter(|(set, note)| *set && !said(&comment, note));
        let notes: Vec<_> = notes.map(|(_, note)| (*note).to_owned()).collect();
        let text = comment.into_iter().chain(notes).collect::<Vec<_>>().join(" ");
        (!text.is_empty()).then_some(text)
    }

    fn reference(&self, full_name: &str) -> Value {
        json!({"$ref": format!("#/components/schemas/{}", self.component(full_name))})
    }

    /// The name of a component: without the package, if that is the document's own.
    fn component(&self, full_name: &str) -> String {
        let own = full_name.strip_prefix(&self.package).and_then(|rest| rest.strip_prefix('.'));
        match own {
            Some(errors::COMPONENT) | None => full_name.to_owned(),
            Some(name) => name.to_owned(),
        }
    }

    fn well_known(&mut self, message: &MessageDescriptor) -> Option<Value> {
        let name = message.full_name();
        if name == "google.api.HttpBody" {
            return Some(json!({"type": "string", "format": "binary"}));
        }
        Some(match name.strip_prefix("google.protobuf.")? {
            "Timestamp" => json!({"type": "string", "format": "date-time"}),
            "Duration" => json!({"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"}),
            "FieldMask" => {
                json!({"type": "string", "description": "Field paths, separated by commas."})
            }
            "Any" => json!({
                "type": "object",
                "properties": {"@type": {"type": "string", "description": "The URL of a message type."}},
                "additionalProperties": true,
            }),
            "Struct" => json!({"type": "object", "additionalProperties": true}),
            "ListValue" => json!({"type": "array", "items": {}}),
            "Value" => json!({"description": "Any JSON value."}),
            "Empty" => json!({"type": "object", "additionalProperties": false}),
            wrapper if wrapper.ends_with("Value") => {
                self.kind(&message.get_field_by_name("value")?.kind())
            }
            _ => return None,
        })
    }
}

fn is_deprecated(field: &FieldDescriptor) -> bool {
    field.field_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated())
}

/// Scalars as proto3 JSON writes them: whole numbers of 64 bits are strings.
fn scalar_schema(kind: &Kind) -> Value {
    match kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::String => json!({"type": "string"}),
        Kind::Bytes => json!({"type": "string", "format": "byte", "contentEncoding": "base64"}),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            json!({"type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX})
        }
        Kind::Uint32 | Kind::Fixed32 => {
            json!({"type": "integer", "format": "uint32", "minimum": 0, "maximum": u32::MAX})
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"})
        }
        Kind::Uint64 | Kind::Fixed64 => {
            json!({"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"})
        }
        Kind::Double | Kind::Float => json!({"anyOf": [
            {"type": "number", "format": if *kind == Kind::Double { "double" } else { "float" }},
            {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
        ]}),
        // Messages and enums have references; `Schemas::kind` is the way to them.
        Kind::Message(_) | Kind::Enum(_) => json!({}),
    }
}
