//! Proto3 JSON of messages, in an order that does not change from run to run.

use prost_reflect::{
    DeserializeOptions, DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _,
    SerializeOptions,
};
use serde_json::{Map, Value};

use super::error::Error;

/// How deep a mistake is looked for.
const DEPTH_MAX: usize = 64;

/// The message as proto3 JSON: fields by number, map entries by key, defaults left out.
pub(crate) fn to_value(message: &DynamicMessage) -> Result<Value, Error> {
    let mut value = message
        .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
        .map_err(|error| Error::Answer { problem: format!("cannot be shown as JSON: {error}") })?;
    sort_maps(&mut value, &message.descriptor());
    Ok(value)
}

/// The message that proto3 JSON stands for; fields that it does not have are refused. `Err` names the field.
pub(crate) fn from_value(
    descriptor: &MessageDescriptor,
    value: Value,
) -> Result<DynamicMessage, String> {
    read(descriptor, &value)
        .map_err(|problem| locate(descriptor, &value, DEPTH_MAX).unwrap_or(problem))
}

fn read(descriptor: &MessageDescriptor, value: &Value) -> Result<DynamicMessage, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(descriptor.clone(), value, &options)
        .map_err(|error| error.to_string())
}

/// Where a value that cannot be read goes wrong: the first field that cannot be read by itself, and why.
fn locate(descriptor: &MessageDescriptor, value: &Value, depth: usize) -> Option<String> {
    let fields = value.as_object().filter(|_| depth > 0 && !is_well_known(descriptor))?;
    for (name, value) in fields {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        let Err(problem) = read(descriptor, &Value::Object(alone)) else { continue };
        let field = descriptor
            .get_field_by_json_name(name)
            .or_else(|| descriptor.get_field_by_name(name))?;
        let inner = match field.kind() {
            Kind::Message(inner) if !field.is_list() && !field.is_map() => {
                locate(&inner, value, depth - 1)
            }
            _ => None,
        };
        return Some(match inner {
            Some(inner) => format!("{}.{inner}", field.name()),
            None => format!("{}: {problem}", field.name()),
        });
    }
    None
}

/// Messages with a JSON form of their own, taken as a whole wherever fields are looked at one by one.
pub(crate) fn is_well_known(descriptor: &MessageDescriptor) -> bool {
    descriptor.package_name() == "google.protobuf"
}

/// Sorts the entries of map fields. Nesting is bounded by what the decoder accepts.
fn sort_maps(value: &mut Value, descriptor: &MessageDescriptor) {
    if is_well_known(descriptor) {
        return sort_all(value);
    }
    let Value::Object(fields) = value else { return };
    for (key, child) in fields {
        let Some(field) = descriptor.get_field_by_json_name(key) else { continue };
        let Kind::Message(inner) = field.kind() else { continue };
        match child {
            Value::Object(entries) if field.is_map() => {
                if let Kind::Message(inner) = inner.map_entry_value_field().kind() {
                    entries.values_mut().for_each(|entry| sort_maps(entry, &inner));
                }
                sort_keys(entries);
            }
            Value::Array(items) => items.iter_mut().for_each(|item| sort_maps(item, &inner)),
            _ => sort_maps(child, &inner),
        }
    }
}

fn sort_all(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.values_mut().for_each(sort_all);
            sort_keys(entries);
        }
        Value::Array(items) => items.iter_mut().for_each(sort_all),
        _ => {}
    }
}

fn sort_keys(entries: &mut Map<String, Value>) {
    let mut sorted: Vec<_> = std::mem::take(entries).into_iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    entries.extend(sorted);
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::super::testing::device_type;
    use super::*;

    fn problem(value: Value) -> String {
        from_value(&device_type().message, value).unwrap_err()
    }

    #[test]
    fn a_mistake_is_named_with_its_field() {
        expect!["spec.port: invalid digit found in string"]
            .assert_eq(&problem(json!({"name": "x", "spec": {"model": "m", "port": "many"}})));
        expect!["spec.tags: invalid type: integer `1`, expected a string"]
            .assert_eq(&problem(json!({"spec": {"tags": [1]}})));
        expect!["display_name: invalid type: integer `7`, expected a string"]
            .assert_eq(&problem(json!({"displayName": 7})));
        expect!["status.phase: unrecognized enum value 'PHASE_ODD'"]
            .assert_eq(&problem(json!({"status": {"phase": "PHASE_ODD"}})));
    }
}
