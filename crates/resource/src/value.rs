//! Comparing dynamic values: deep equality, fingerprints, and the well-known types that behave like scalars.

use std::borrow::Cow;
use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};
use xxhash_rust::xxh3::Xxh3;

/// Messages that stand for one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WellKnown {
    Timestamp,
    Duration,
    /// `google.protobuf.StringValue` and its kin: a scalar that can be absent.
    Wrapper,
}

/// What a message stands for, if it is one of the well-known ones.
pub(crate) fn well_known(message: &MessageDescriptor) -> Option<WellKnown> {
    match message.full_name().strip_prefix("google.protobuf.")? {
        "Timestamp" => Some(WellKnown::Timestamp),
        "Duration" => Some(WellKnown::Duration),
        "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
        | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => Some(WellKnown::Wrapper),
        _ => None,
    }
}

/// The kind inside a wrapper; any other kind as it is.
pub(crate) fn unwrapped_kind(kind: &Kind) -> Kind {
    match kind {
        Kind::Message(m) if well_known(m) == Some(WellKnown::Wrapper) => {
            m.get_field_by_name("value").map_or_else(|| kind.clone(), |field| field.kind())
        }
        _ => kind.clone(),
    }
}

/// The value inside a wrapper; any other value as it is.
pub(crate) fn unwrapped(value: &Value) -> Cow<'_, Value> {
    match value {
        Value::Message(m) if well_known(&m.descriptor()) == Some(WellKnown::Wrapper) => {
            m.get_field_by_number(1).unwrap_or(Cow::Borrowed(value))
        }
        _ => Cow::Borrowed(value),
    }
}

/// Nanoseconds of a `Timestamp` or `Duration`; none for any other value.
pub(crate) fn nanoseconds(value: &Value) -> Option<i128> {
    let message = value.as_message()?;
    let seconds = message.get_field_by_number(1)?.as_i64()?;
    let nanos = message.get_field_by_number(2)?.as_i32()?;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// Whether two messages say the same. A field at its default is the same as an unset one where protobuf cannot tell
/// them apart, the order of maps does not count, and a float that is not a number is the same as itself.
///
/// Unknown fields are not looked at.
pub fn same(a: &DynamicMessage, b: &DynamicMessage) -> bool {
    let mut left = a.fields();
    let mut right = b.fields();
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some((x, v)), Some((y, w))) if x.number() == y.number() && same_value(v, w) => {}
            _ => return false,
        }
    }
}

/// [`same`] for single values.
pub fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Message(a), Value::Message(b)) => same(a, b),
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_value(a, b)))
        }
        (Value::F32(a), Value::F32(b)) => a == b || (a.is_nan() && b.is_nan()),
        (Value::F64(a), Value::F64(b)) => a == b || (a.is_nan() && b.is_nan()),
        (a, b) => a == b,
    }
}

/// A hash of what a message says: equal for messages that are [`same`], whatever the order of their maps.
///
/// For telling whether a repeated request has the same content, not against forgery.
pub fn fingerprint(message: &DynamicMessage) -> u64 {
    let mut hash = Xxh3::new();
    hash_message(message, &mut hash);
    hash.digest()
}

fn hash_message(message: &DynamicMessage, hash: &mut Xxh3) {
    for (field, value) in message.fields() {
        hash.update(&field.number().to_be_bytes());
        hash_value(value, hash);
    }
    // No field has the number 0, so this ends the message unmistakably.
    hash.update(&0u32.to_be_bytes());
}

fn hash_value(value: &Value, hash: &mut Xxh3) {
    match value {
        Value::Bool(v) => hash.update(&[u8::from(*v)]),
        Value::I32(v) | Value::EnumNumber(v) => hash.update(&v.to_be_bytes()),
        Value::I64(v) => hash.update(&v.to_be_bytes()),
        Value::U32(v) => hash.update(&v.to_be_bytes()),
        Value::U64(v) => hash.update(&v.to_be_bytes()),
        Value::F32(v) => hash.update(&canonical(f64::from(*v)).to_be_bytes()),
        Value::F64(v) => hash.update(&canonical(*v).to_be_bytes()),
        Value::String(v) => hash_bytes(v.as_bytes(), hash),
        Value::Bytes(v) => hash_bytes(v, hash),
        Value::Message(v) => hash_message(v, hash),
        Value::List(items) => {
            hash.update(&(items.len() as u64).to_be_bytes());
            items.iter().for_each(|item| hash_value(item, hash));
        }
        Value::Map(entries) => {
            hash.update(&(entries.len() as u64).to_be_bytes());
            for (key, value) in entries.iter().collect::<BTreeMap<&MapKey, &Value>>() {
                hash_bytes(key_text(key).as_bytes(), hash);
                hash_value(value, hash);
            }
        }
    }
}

fn hash_bytes(bytes: &[u8], hash: &mut Xxh3) {
    hash.update(&(bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

/// One bit pattern for both zeros and one for everything that is not a number.
pub(crate) fn canonical(number: f64) -> u64 {
    if number.is_nan() {
        f64::NAN.to_bits()
    } else if number == 0.0 {
        0
    } else {
        number.to_bits()
    }
}

/// A map key as text, as it stands in paths.
pub(crate) fn key_text(key: &MapKey) -> Cow<'_, str> {
    match key {
        MapKey::String(text) => Cow::Borrowed(text),
        MapKey::Bool(v) => Cow::Owned(v.to_string()),
        MapKey::I32(v) => Cow::Owned(v.to_string()),
        MapKey::I64(v) => Cow::Owned(v.to_string()),
        MapKey::U32(v) => Cow::Owned(v.to_string()),
        MapKey::U64(v) => Cow::Owned(v.to_string()),
    }
}

/// The map key of this kind that `text` stands for.
pub(crate) fn key_from_text(kind: &Kind, text: &str) -> Option<MapKey> {
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

/// The first field that the descriptor does not know, at any depth: path of the message it is in, and its number.
pub fn unknown_field(message: &DynamicMessage) -> Option<(String, u32)> {
    if let Some(unknown) = message.unknown_fields().next() {
        return Some((String::new(), unknown.number()));
    }
    message.fields().find_map(|(field, value)| {
        let (below, number) = unknown_below(value)?;
        let dot = if below.is_empty() || below.starts_with('[') { "" } else { "." };
        Some((format!("{}{dot}{below}", field.name()), number))
    })
}

fn unknown_below(value: &Value) -> Option<(String, u32)> {
    let indexed = |index: &str, value: &Value| {
        let (below, number) = unknown_below(value)?;
        let dot = if below.is_empty() || below.starts_with('[') { "" } else { "." };
        Some((format!("[{index}]{dot}{below}"), number))
    };
    match value {
        Value::Message(message) => unknown_field(message),
        Value::List(items) => {
            items.iter().enumerate().find_map(|(i, item)| indexed(&i.to_string(), item))
        }
        Value::Map(entries) => {
            let sorted: BTreeMap<_, _> = entries.iter().collect();
            sorted.into_iter().find_map(|(key, value)| indexed(&key_text(key), value))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{device, device_type};

    #[test]
    fn the_order_of_maps_does_not_count() {
        let a = device(r#"{"attributes": {"a": "1", "b": "2", "c": "3"}}"#).body;
        let b = device(r#"{"attributes": {"c": "3", "b": "2", "a": "1"}}"#).body;
        assert!(same(&a, &b));
        assert_eq!(fingerprint(&a), fingerprint(&b));
    }

    #[test]
    fn a_default_is_the_same_as_nothing_unless_presence_tells() {
        let empty = device("{}").body;
        let mut zero = empty.clone();
        zero.set_field_by_name("count", Value::I32(0));
        assert!(same(&empty, &zero));
        assert_eq!(fingerprint(&empty), fingerprint(&zero));
        let present = device(r#"{"priority": 0}"#).body;
        assert!(!same(&empty, &present));
        assert_ne!(fingerprint(&empty), fingerprint(&present));
    }

    #[test]
    fn fingerprints_tell_values_apart() {
        let one = |json: &str| fingerprint(&device(json).body);
        let all = [
            one("{}"),
            one(r#"{"tags": ["ab"]}"#),
            one(r#"{"tags": ["a", "b"]}"#),
            one(r#"{"spec": {"model": "x"}}"#),
            one(r#"{"spec": {"model": "x"}, "count": 1}"#),
            one(r#"{"spec": {"serialNumber": "x"}}"#),
            one(r#"{"weight": "NaN"}"#),
            one(r#"{"weight": 1}"#),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn unknown_fields_are_found_at_any_depth() {
        use prost::Message as _;
        let field = |number: u32, inside: &[u8]| {
            let mut bytes = Vec::new();
            prost::encoding::encode_key(
                number,
                prost::encoding::WireType::LengthDelimited,
                &mut bytes,
            );
            prost::encoding::encode_varint(inside.len() as u64, &mut bytes);
            bytes.extend(inside);
            bytes
        };
        let decode =
            |bytes: &[u8]| DynamicMessage::decode(device_type().message.clone(), bytes).unwrap();
        assert_eq!(unknown_field(&decode(&field(999, b"x"))), Some((String::new(), 999)));
        // spec (4), second of its interfaces (4), unknown 77.
        let spec = [field(4, b""), field(4, &field(77, b"x"))].concat();
        let found = unknown_field(&decode(&field(4, &spec)));
        assert_eq!(found, Some(("spec.interfaces[1]".to_owned(), 77)));
        assert_eq!(unknown_field(&decode(&device("{\"count\": 1}").body.encode_to_vec())), None);
    }
}
