//! Query parameters: request fields by dotted path, and the few system parameters.

use bowline_base::{Reason, Status};
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde::de::IntoDeserializer;

use super::json_read::{find_field, has_own_form, mask_from_text, unknown_field};
use super::json_write::WriteOptions;
use super::scalar::{scalar_form, scalar_from_text};

/// Most parameters that a query may have.
pub(super) const PARAMETERS_MAX: usize = 1_000;

/// Deepest field path of a parameter, in segments.
const PATH_DEPTH_MAX: usize = 16;

/// Parameters that Google's clients send and that mean nothing here.
const IGNORED: [&str; 4] = ["key", "quotaUser", "$.xgafv", "$prettyPrint.xgafv"];

/// The parameters of a query, decoded, in order.
#[derive(Debug, Default)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

/// What the system parameters of a query ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct System {
    pub(super) write: WriteOptions,
    /// `alt=sse`: a stream as server-sent events.
    pub(super) events: bool,
}

impl Query {
    /// Cuts and decodes `text`, the part after `?`.
    ///
    /// # Errors
    /// If it has too many parameters, or is not UTF-8 after decoding.
    pub(super) fn parse(text: &str) -> Result<Self, Status> {
        let mut pairs = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            if pairs.len() == PARAMETERS_MAX {
                let text = format!("the query has more than {PARAMETERS_MAX} parameters");
                return Err(Status::new(Reason::LimitExceeded, text));
            }
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            pairs.push((decoded(key)?, decoded(value)?));
        }
        Ok(Self { pairs })
    }

    /// Takes out the system parameters, except for those that are fields of `input`.
    ///
    /// # Errors
    /// If one asks for what is not there: another format, or partial responses.
    pub(super) fn take_system(
        &mut self,
        input: Option<&MessageDescriptor>,
    ) -> Result<System, Status> {
        let mut system = System::default();
        let mut failed = None;
        self.pairs.retain(|(key, value)| {
            if input.is_some_and(|input| find_field(input, key).is_some()) {
                return true;
            }
            match system.take(key, value) {
                Ok(taken) => !taken,
                Err(status) => {
                    failed.get_or_insert(status);
                    false
                }
            }
        });
        failed.map_or(Ok(system), Err)
    }

    /// Whether a parameter sets `field`, a field of the request itself.
    pub(super) fn names(&self, field: &FieldDescriptor) -> bool {
        self.pairs.iter().any(|(key, _)| key == field.name() || key == field.json_name())
    }

    /// Sets the fields that the parameters name. `taken` are fields (or their beginnings) that the path or the
    /// body already gives; `*` in it means all.
    ///
    /// # Errors
    /// `INVALID_FIELD` naming the parameter.
    pub(super) fn apply(&self, message: &mut DynamicMessage, taken: &[&str]) -> Result<(), Status> {
        let mut set: Vec<Vec<FieldDescriptor>> = Vec::new();
        for (key, text) in &self.pairs {
            let bad = |why: String| {
                let shown: String = key.chars().take(200).collect();
                Status::bad_field(Reason::InvalidField, shown, why)
            };
            let path =
                resolve(&prost_reflect::ReflectMessage::descriptor(message), key).map_err(bad)?;
            check_free(&path, taken).map_err(bad)?;
            let leaf = path.last().ok_or_else(|| bad("is empty".to_owned()))?;
            if !leaf.is_list() {
                check_once(&path, &set).map_err(bad)?;
            }
            let value = leaf_value(leaf, text).map_err(bad)?;
            put(message, &path, value);
            set.push(path);
        }
        Ok(())
    }
}

impl System {
    /// Whether `key` is a system parameter; then what it says is taken.
    fn take(&mut self, key: &str, value: &str) -> Result<bool, Status> {
        let refuse = |why: &str| Err(Status::bad_field(Reason::InvalidField, key, why));
        match key {
            "alt" | "$alt" => match value {
                "" | "json" => {}
                "json;enum-encoding=int" => self.write.enum_numbers = true,
                "sse" => self.events = true,
                _ => return refuse("only json, json;enum-encoding=int and sse are served"),
            },
            "prettyPrint" | "$prettyPrint" | "pp" => match value {
                "" | "true" | "1" => self.write.pretty = true,
                "false" | "0" => self.write.pretty = false,
                _ => return refuse("expected true or false"),
            },
            "fields" | "$fields" => {
                return refuse("partial responses are asked for with a field mask of the method");
            }
            key => return Ok(IGNORED.contains(&key)),
        }
        Ok(true)
    }

    /// As [`System`], with what the header `Accept` adds.
    pub(super) fn with_accept(mut self, accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = accept.split(',').filter_map(|part| part.split(';').next());
        self.events |= media.map(str::trim).any(|m| m.eq_ignore_ascii_case("text/event-stream"));
        self
    }
}

fn decoded(text: &str) -> Result<String, Status> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned()).map_err(|_| {
        Status::new(Reason::InvalidField, "the query is not UTF-8 after percent-decoding")
    })
}

/// The fields along a dotted path.
fn resolve(input: &MessageDescriptor, key: &str) -> Result<Vec<FieldDescriptor>, String> {
    let mut path: Vec<FieldDescriptor> = Vec::new();
    let mut descriptor = input.clone();
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        if path.len() == PATH_DEPTH_MAX {
            return Err(format!("the path is deeper than {PATH_DEPTH_MAX}"));
        }
        let field =
            find_field(&descriptor, part).ok_or_else(|| unknown_field(&descriptor, part))?;
        if parts.peek().is_some() {
            descriptor = match field.kind() {
                Kind::Message(inner)
                    if !field.is_list() && !field.is_map() && !has_own_form(inner.full_name()) =>
                {
                    inner
                }
                _ => return Err(format!("`{part}` has no fields that a query could set")),
            };
        }
        path.push(field);
    }
    Ok(path)
}

/// Refuses what the path or the body of the request gives.
fn check_free(path: &[FieldDescriptor], taken: &[&str]) -> Result<(), String> {
    let names: Vec<_> = path.iter().map(|field| field.name()).collect();
    let name = names.join(".");
    let starts = |whole: &str, part: &str| {
        whole == part || whole.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'))
    };
    if taken.contains(&"*") {
        return Err("this method takes its fields from the body".to_owned());
    }
    match taken.iter().find(|given| starts(&name, given)) {
        Some(given) => Err(format!("`{given}` is given by the path or the body")),
        None => Ok(()),
    }
}

/// A singular field may be given once, and of a oneof one field.
fn check_once(path: &[FieldDescriptor], set: &[Vec<FieldDescriptor>]) -> Result<(), String> {
    if set.iter().any(|other| other == path) {
        return Err("is given twice".to_owned());
    }
    for (at, field) in path.iter().enumerate() {
        let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) else {
            continue;
        };
        let rival = set.iter().filter(|other| other.get(..at) == path.get(..at)).find(|other| {
            other
                .get(at)
                .is_some_and(|o| o != field && o.containing_oneof().as_ref() == Some(&oneof))
        });
        if rival.is_some() {
            return Err(format!("only one of the fields of `{}` may be given", oneof.name()));
        }
    }
    Ok(())
}

/// The value of the last field of a path: one element, if that is a list.
fn leaf_value(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    if field.is_map() {
        return Err("is a map, which a query cannot hold".to_owned());
    }
    let kind = field.kind();
    value_from_text(&kind, text).ok_or_else(|| match &kind {
        Kind::Message(m) if m.full_name() == "google.protobuf.Timestamp" => {
            "expected a time like 2026-01-31T12:00:00Z".to_owned()
        }
        Kind::Message(m) if m.full_name() == "google.protobuf.Duration" => {
            "expected seconds like 1.5s".to_owned()
        }
        Kind::Message(m) => match m.get_field_by_name("value") {
            Some(inner) if is_wrapper(m) => format!("expected {}", scalar_form(&inner.kind())),
            _ => "is a message: name one of its fields".to_owned(),
        },
        kind => format!("expected {}", scalar_form(kind)),
    })
}

/// A scalar or a well-known type from text, for queries and path variables.
pub(super) fn value_from_text(kind: &Kind, text: &str) -> Option<Value> {
    let Kind::Message(descriptor) = kind else { return scalar_from_text(kind, text) };
    match descriptor.full_name() {
        "google.protobuf.FieldMask" => Some(Value::Message(mask_from_text(descriptor, text))),
        "google.protobuf.Timestamp" | "google.protobuf.Duration" => {
            let source: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
                text.into_deserializer();
            DynamicMessage::deserialize(descriptor.clone(), source).ok().map(Value::Message)
        }
        _ if is_wrapper(descriptor) => {
            let field = descriptor.get_field_by_name("value")?;
            let mut wrapper = DynamicMessage::new(descriptor.clone());
            wrapper.set_field(&field, scalar_from_text(&field.kind(), text)?);
            Some(Value::Message(wrapper))
        }
        _ => None,
    }
}

/// `google.protobuf.Int32Value` and its like.
pub(super) fn is_wrapper(descriptor: &MessageDescriptor) -> bool {
    let name = descriptor.full_name().strip_prefix("google.protobuf.");
    name.is_some_and(|name| name.ends_with("Value") && name != "Value" && name != "ListValue")
}

/// Sets the field at the end of `path`, or appends to it.
pub(super) fn put(message: &mut DynamicMessage, path: &[FieldDescriptor], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        if !first.is_list() {
            message.set_field(first, value);
        } else if let Value::List(items) = message.get_field_mut(first) {
            items.push(value);
        }
    } else if let Value::Message(inner) = message.get_field_mut(first) {
        put(inner, rest, value);
    }
}
