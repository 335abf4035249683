//! Messages as proto3 JSON. Never fails, and always gives the same text for the same message.
//!
//! The library's own serializer is not used: it follows the random order of its hash maps, refuses
//! what gRPC clients may have stored (a time out of range, an `Any` of an unknown type, a mask
//! path with a map key in it), and recurses without bound into `Any` inside `Any`. A response must
//! not fail for what a resource holds, so such values are written in the nearest form:
//! times and durations at the end of their range, an unreadable `Any` as `{"@type", "value": BASE64}`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// How deep `Any` may sit in `Any` before it is written as bytes.
const ANY_DEPTH_MAX: usize = 8;

/// The range of `google.protobuf.Timestamp` in seconds: years 1 to 9999.
const TIMESTAMP_SECONDS: (i64, i64) = (-62_135_596_800, 253_402_300_799);

/// The range of `google.protobuf.Duration` in seconds, both ways.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;

/// What a client may choose about the form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Enum values as numbers (`$alt=json;enum-encoding=int`), otherwise as names.
    pub enum_numbers: bool,
    /// Indented, with a line end at the end.
    pub pretty: bool,
}

/// `message` as JSON text. Cost: linear in the message.
pub fn message_to_json(message: &DynamicMessage, options: WriteOptions) -> Vec<u8> {
    to_text(
        &Json { value: message, cx: Cx { enum_numbers: options.enum_numbers, any_depth: 0 } },
        options,
    )
}

/// One field of `message` as JSON text, for `response_body`.
pub(super) fn field_to_json(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    options: WriteOptions,
) -> Vec<u8> {
    let cx = Cx { enum_numbers: options.enum_numbers, any_depth: 0 };
    let value = message.get_field(field);
    to_text(
        &Json { value: &FieldValue { value: value.as_ref(), kind: &field.kind() }, cx },
        options,
    )
}

/// Any serializable value as JSON text in the wished form.
pub(super) fn to_text(value: &impl Serialize, options: WriteOptions) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let written = if options.pretty {
        serde_json::to_writer_pretty(&mut out, value)
    } else {
        serde_json::to_writer(&mut out, value)
    };
    written.expect("memory takes all bytes, and keys are always text");
    if options.pretty {
        out.push(b'\n');
    }
    out
}

#[derive(Clone, Copy)]
struct Cx {
    enum_numbers: bool,
    any_depth: usize,
}

struct Json<'a, T> {
    value: &'a T,
    cx: Cx,
}

/// A value of one field, a list element or a map value.
struct FieldValue<'a> {
    value: &'a Value,
    kind: &'a Kind,
}

impl Serialize for Json<'_, DynamicMessage> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (message, cx) = (self.value, self.cx);
        match message.descriptor().full_name() {
            "google.protobuf.Any" => serialize_any(message, cx, serializer),
            "google.protobuf.Timestamp" => serializer.serialize_str(&timestamp_text(message)),
            "google.protobuf.Duration" => serializer.serialize_str(&duration_text(message)),
            "google.protobuf.FieldMask" => serializer.serialize_str(&mask_text(message)),
            "google.protobuf.DoubleValue"
            | "google.protobuf.FloatValue"
            | "google.protobuf.Int64Value"
            | "google.protobuf.UInt64Value"
            | "google.protobuf.Int32Value"
            | "google.protobuf.UInt32Value"
            | "google.protobuf.BoolValue"
            | "google.protobuf.StringValue"
            | "google.protobuf.BytesValue" => serialize_wrapper(message, cx, serializer),
            "google.protobuf.Struct" => {
                FreeForm(&transcoded::<prost_types::Struct>(message)).serialize(serializer)
            }
            "google.protobuf.ListValue" => {
                FreeForm(&transcoded::<prost_types::ListValue>(message)).serialize(serializer)
            }
            "google.protobuf.Value" => {
                FreeForm(&transcoded::<prost_types::Value>(message)).serialize(serializer)
            }
            _ => {
                let mut map = serializer.serialize_map(None)?;
                serialize_fields(message, cx, &mut map)?;
                map.end()
            }
        }
    }
}

fn serialize_fields<M: SerializeMap>(
    message: &DynamicMessage,
    cx: Cx,
    map: &mut M,
) -> Result<(), M::Error> {
    for (field, value) in message.fields() {
        let value = FieldValue { value, kind: &field.kind() };
        map.serialize_entry(field.json_name(), &Json { value: &value, cx })?;
    }
    for (extension, value) in message.extensions() {
        let value = FieldValue { value, kind: &extension.kind() };
        map.serialize_entry(extension.json_name(), &Json { value: &value, cx })?;
    }
    Ok(())
}

impl Serialize for Json<'_, FieldValue<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (FieldValue { value, kind }, cx) = (self.value, self.cx);
        match value {
            Value::Bool(v) => serializer.serialize_bool(*v),
            Value::I32(v) => serializer.serialize_i32(*v),
            Value::U32(v) => serializer.serialize_u32(*v),
            Value::I64(v) => serializer.collect_str(v),
            Value::U64(v) => serializer.collect_str(v),
            Value::F32(v) if v.is_finite() => serializer.serialize_f32(*v),
            Value::F32(v) => serializer.serialize_str(not_finite(f64::from(*v))),
            Value::F64(v) if v.is_finite() => serializer.serialize_f64(*v),
            Value::F64(v) => serializer.serialize_str(not_finite(*v)),
            Value::String(v) => serializer.serialize_str(v),
            Value::Bytes(v) => serializer.serialize_str(&STANDARD.encode(v)),
            Value::EnumNumber(v) => serialize_enum(*v, kind, cx, serializer),
            Value::Message(v) => Json { value: v, cx }.serialize(serializer),
            Value::List(values) => serializer.collect_seq(values.iter().map(|value| OwnedJson {
                value,
                kind: (*kind).clone(),
                cx,
            })),
            Value::Map(values) => {
                let kind = map_value_kind(kind);
                let sorted: BTreeMap<_, _> = values.iter().collect();
                serializer.collect_map(
                    sorted.iter().map(|(k, value)| {
                        (key_text(k), OwnedJson { value, kind: kind.clone(), cx })
                    }),
                )
            }
        }
    }
}

/// As [`Json`] of [`FieldValue`], owning its kind, for iterators.
struct OwnedJson<'a> {
    value: &'a Value,
    kind: Kind,
    cx: Cx,
}

impl Serialize for OwnedJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = FieldValue { value: self.value, kind: &self.kind };
        Json { value: &value, cx: self.cx }.serialize(serializer)
    }
}

fn map_value_kind(kind: &Kind) -> Kind {
    match kind {
        Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
        other => other.clone(),
    }
}

fn key_text(key: &prost_reflect::MapKey) -> String {
    use prost_reflect::MapKey;
    match key {
        MapKey::Bool(v) => v.to_string(),
        MapKey::I32(v) => v.to_string(),
        MapKey::I64(v) => v.to_string(),
        MapKey::U32(v) => v.to_string(),
        MapKey::U64(v) => v.to_string(),
        MapKey::String(v) => v.clone(),
    }
}

fn serialize_enum<S: Serializer>(
    number: i32,
    kind: &Kind,
    cx: Cx,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Some(descriptor) = kind.as_enum() else { return serializer.serialize_i32(number) };
    if descriptor.full_name() == "google.protobuf.NullValue" {
        return serializer.serialize_none();
    }
    match descriptor.get_value(number) {
        Some(value) if !cx.enum_numbers => serializer.serialize_str(value.name()),
        _ => serializer.serialize_i32(number),
    }
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn serialize_wrapper<S: Serializer>(
    message: &DynamicMessage,
    cx: Cx,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Some(field) = message.descriptor().get_field_by_name("value") else {
        return serializer.serialize_none();
    };
    let value = message.get_field(&field);
    Json { value: &FieldValue { value: value.as_ref(), kind: &field.kind() }, cx }
        .serialize(serializer)
}

fn serialize_any<S: Serializer>(
    message: &DynamicMessage,
    cx: Cx,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let any: prost_types::Any = transcoded(message);
    let mut map = serializer.serialize_map(None)?;
    if any.type_url.is_empty() && any.value.is_empty() {
        return map.end();
    }
    map.serialize_entry("@type", &any.type_url)?;
    let cx = Cx { any_depth: cx.any_depth + 1, ..cx };
    match any_payload(message, &any).filter(|_| cx.any_depth <= ANY_DEPTH_MAX) {
        None => map.serialize_entry("value", &STANDARD.encode(&any.value))?,
        Some(payload) if has_own_json(payload.descriptor().full_name()) => {
            map.serialize_entry("value", &Json { value: &payload, cx })?;
        }
        Some(payload) => serialize_fields(&payload, cx, &mut map)?,
    }
    map.end()
}

fn any_payload(message: &DynamicMessage, any: &prost_types::Any) -> Option<DynamicMessage> {
    let (_, name) = any.type_url.rsplit_once('/')?;
    let descriptor = message.descriptor().parent_pool().get_message_by_name(name)?;
    DynamicMessage::decode(descriptor, any.value.as_slice()).ok()
}

/// Types whose JSON form is not a map of their fields; inside `Any` they stand under `value`.
fn has_own_json(full_name: &str) -> bool {
    let Some(name) = full_name.strip_prefix("google.protobuf.") else { return false };
    name.ends_with("Value")
        || matches!(name, "Any" | "Timestamp" | "Duration" | "FieldMask" | "Struct" | "Empty")
}

/// The generated type of a well-known message; its default if the bytes do not fit it.
fn transcoded<T: prost::Message + Default>(message: &DynamicMessage) -> T {
    T::decode(message.encode_to_vec().as_slice()).unwrap_or_default()
}

fn timestamp_text(message: &DynamicMessage) -> String {
    let mut time = transcoded::<prost_types::Timestamp>(message).normalized();
    if time.seconds < TIMESTAMP_SECONDS.0 {
        time = prost_types::Timestamp { seconds: TIMESTAMP_SECONDS.0, nanos: 0 };
    } else if time.seconds > TIMESTAMP_SECONDS.1 {
        time = prost_types::Timestamp { seconds: TIMESTAMP_SECONDS.1, nanos: 999_999_999 };
    }
    time.to_string()
}

fn duration_text(message: &DynamicMessage) -> String {
    let mut duration = transcoded::<prost_types::Duration>(message).normalized();
    if duration.seconds.unsigned_abs() > DURATION_SECONDS_MAX.unsigned_abs() {
        let seconds = DURATION_SECONDS_MAX * duration.seconds.signum();
        duration = prost_types::Duration { seconds, nanos: 0 };
    }
    duration.to_string()
}

/// Paths in lowerCamelCase where that can be undone; a map key in a path may not survive it and stays as it is.
fn mask_text(message: &DynamicMessage) -> String {
    let mask: prost_types::FieldMask = transcoded(message);
    let camel = |path: &String| {
        path.split('.')
            .map(|part| camel_case(part).unwrap_or_else(|| part.to_owned()))
            .collect::<Vec<_>>()
            .join(".")
    };
    mask.paths.iter().map(camel).collect::<Vec<_>>().join(",")
}

/// `snake_case` as `snakeCase`; `None` if that could not be undone.
fn camel_case(part: &str) -> Option<String> {
    let mut out = String::with_capacity(part.len());
    let mut raise = false;
    for c in part.chars() {
        match c {
            'A'..='Z' => return None,
            '_' if raise => return None,
            '_' => raise = true,
            c if raise && !c.is_ascii_lowercase() => return None,
            c if raise => {
                out.push(c.to_ascii_uppercase());
                raise = false;
            }
            c => out.push(c),
        }
    }
    (!raise).then_some(out)
}

/// `google.protobuf.Struct` and its parts. Their depth is bounded by what the decoder accepts.
struct FreeForm<'a, T>(&'a T);

impl Serialize for FreeForm<'_, prost_types::Struct> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.fields.iter().map(|(k, v)| (k, FreeForm(v))))
    }
}

impl Serialize for FreeForm<'_, prost_types::ListValue> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.values.iter().map(FreeForm))
    }
}

impl Serialize for FreeForm<'_, prost_types::Value> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use prost_types::value::Kind;
        match &self.0.kind {
            None | Some(Kind::NullValue(_)) => serializer.serialize_none(),
            Some(Kind::BoolValue(v)) => serializer.serialize_bool(*v),
            Some(Kind::NumberValue(v)) if v.is_finite() => serializer.serialize_f64(*v),
            Some(Kind::NumberValue(v)) => serializer.serialize_str(not_finite(*v)),
            Some(Kind::StringValue(v)) => serializer.serialize_str(v),
            Some(Kind::ListValue(v)) => FreeForm(v).serialize(serializer),
            Some(Kind::StructValue(v)) => FreeForm(v).serialize(serializer),
        }
    }
}
