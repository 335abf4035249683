//! `--set path=value`: from text to a JSON document in the shape of a resource, and the paths that it sets.
//!
//! Values are read by the type of their field, so that no quoting is needed: `spec.serial=007` is a string if the field is one.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::error::Error;
use super::fields::{self, FieldPath};
use super::json::is_well_known;

/// Most parts of a path; messages are not nested deeper.
const SEGMENTS_MAX: usize = 64;

/// Writes all `assignments` into `document`, an object, in order; gives the paths that they set.
pub(crate) fn apply(
    descriptor: &MessageDescriptor,
    document: &mut Value,
    assignments: &[String],
) -> Result<Vec<FieldPath>, Error> {
    let mut paths: Vec<FieldPath> = Vec::new();
    for argument in assignments {
        let bad = |problem| Error::BadSet { argument: argument.clone(), problem };
        let (path, text) = split(argument).map_err(bad)?;
        // A list that this command line began is added to; one that a file gave is replaced.
        let appends = |path: &FieldPath| paths.contains(path);
        let set = assign(descriptor, document, &path, text, &appends).map_err(bad)?;
        if !paths.contains(&set) {
            paths.push(set);
        }
    }
    Ok(paths)
}

/// `a.b\.c=v` into the segments `a`, `b.c` and the text `v`.
fn split(argument: &str) -> Result<(Vec<String>, &str), String> {
    let mut segments = Vec::new();
    let mut current = String::new();
    let mut chars = argument.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '=' | '.' if current.is_empty() => return Err("a part of the path is empty".to_owned()),
            '=' => {
                segments.push(current);
                return Ok((segments, &argument[index + 1..]));
            }
            '.' if segments.len() + 1 == SEGMENTS_MAX => {
                return Err(format!("the path has more than {SEGMENTS_MAX} parts"));
            }
            '.' => segments.push(std::mem::take(&mut current)),
            '\\' => current.push(chars.next().ok_or("a backslash needs a character after it")?.1),
            c => current.push(c),
        }
    }
    Err("expected PATH=VALUE".to_owned())
}

fn assign(
    descriptor: &MessageDescriptor,
    document: &mut Value,
    path: &[String],
    text: &str,
    appends: &dyn Fn(&FieldPath) -> bool,
) -> Result<FieldPath, String> {
    let mut descriptor = descriptor.clone();
    let mut target = object(document);
    let mut names = Vec::new();
    let mut segments = path.iter();
    while let Some(segment) = segments.next() {
        let field = fields::find(&descriptor, segment)?;
        names.push(field.name().to_owned());
        // A file may have used the proto name; one field must not be there twice.
        if field.name() != field.json_name()
            && let Some(value) = target.shift_remove(field.name())
        {
            target.insert(field.json_name().to_owned(), value);
        }
        let slot = target.entry(field.json_name().to_owned()).or_insert(Value::Null);
        let rest = segments.as_slice();
        if rest.is_empty() {
            let set = FieldPath { fields: names, key: None };
            let appends = appends(&set);
            return place(&field, slot, text, appends).map(|()| set);
        }
        match field.kind() {
            _ if field.is_map() => return assign_entry(&field, slot, names, rest, text),
            Kind::Message(inner) if inner.full_name() == "google.protobuf.Struct" => {
                assign_free(slot, rest, text);
                return Ok(FieldPath { fields: names, key: None });
            }
            Kind::Message(inner) if !field.is_list() && !is_well_known(&inner) => {
                descriptor = inner;
                target = object(slot);
            }
            _ => return Err(format!("{} has no fields of its own", names.join("."))),
        }
    }
    Err("the path is empty".to_owned())
}

/// An entry of a map of scalars takes the whole rest of the path as its key, so that dots need no escape.
fn assign_entry(
    field: &FieldDescriptor,
    slot: &mut Value,
    names: Vec<String>,
    rest: &[String],
    text: &str,
) -> Result<FieldPath, String> {
    let Kind::Message(entry) = field.kind() else { return Err("not a map".to_owned()) };
    let value_field = entry.map_entry_value_field();
    let path = |key: String| FieldPath { fields: names, key: Some(key) };
    if let Kind::Message(inner) = value_field.kind() {
        let (key, inside) = rest.split_first().ok_or("a key is missing")?;
        let slot = object(slot).entry(key.clone()).or_insert(Value::Null);
        if inside.is_empty() {
            place(&value_field, slot, text, false)?;
        } else if is_well_known(&inner) {
            assign_free(slot, inside, text);
        } else {
            assign(&inner, slot, inside, text, &|_| false)?;
        }
        return Ok(path(key.clone()));
    }
    let key = rest.join(".");
    if text == "null" {
        object(slot).remove(&key);
    } else {
        object(slot).insert(key.clone(), read(&value_field, text)?);
    }
    Ok(path(key))
}

/// Inside of `google.protobuf.Struct` there are no types: JSON if it reads as JSON, else text.
fn assign_free(slot: &mut Value, path: &[String], text: &str) {
    let mut slot = slot;
    for segment in path {
        slot = object(slot).entry(segment.clone()).or_insert(Value::Null);
    }
    *slot = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
}

/// The object in `value`, which is made one if it is something else.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made an object")
}

fn place(
    field: &FieldDescriptor,
    slot: &mut Value,
    text: &str,
    appends: bool,
) -> Result<(), String> {
    let is_string = matches!(field.kind(), Kind::String | Kind::Bytes);
    if text == "null" && (!is_string || field.is_list() || field.is_map()) {
        *slot = Value::Null;
        return Ok(());
    }
    if field.is_map() {
        *slot = json_of(text, "a JSON object, or one entry as PATH.KEY=VALUE", Value::is_object)?;
    } else if field.is_list() && text.trim_start().starts_with('[') {
        *slot = json_of(text, "a JSON list", Value::is_array)?;
    } else if field.is_list() {
        let item = read(field, text)?;
        match slot {
            Value::Array(items) if appends => items.push(item),
            _ => *slot = Value::Array(vec![item]),
        }
    } else if text == "null" {
        *slot = Value::Null;
    } else {
        *slot = read(field, text)?;
    }
    Ok(())
}

/// One value of the field's type.
fn read(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    match field.kind() {
        Kind::String | Kind::Bytes => Ok(Value::String(text.to_owned())),
        Kind::Bool => {
            text.parse().map(Value::Bool).map_err(|_| "expected true or false".to_owned())
        }
        Kind::Float | Kind::Double => read_float(text),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => whole::<i32>(text),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => whole::<i64>(text),
        Kind::Uint32 | Kind::Fixed32 => whole::<u32>(text),
        Kind::Uint64 | Kind::Fixed64 => whole::<u64>(text),
        Kind::Enum(descriptor) => read_enum(&descriptor, text),
        Kind::Message(descriptor) => read_message(&descriptor, text),
    }
}

fn read_float(text: &str) -> Result<Value, String> {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return Ok(Value::String(text.to_owned()));
    }
    let number = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    number.map(Value::Number).ok_or_else(|| "expected a number".to_owned())
}

fn whole<T: std::str::FromStr + Into<Value>>(text: &str) -> Result<Value, String> {
    let bits = 8 * size_of::<T>();
    text.parse::<T>().map(Into::into).map_err(|_| format!("expected a whole number of {bits} bits"))
}

fn read_enum(descriptor: &EnumDescriptor, text: &str) -> Result<Value, String> {
    if let Ok(number) = text.parse::<i32>() {
        return Ok(number.into());
    }
    let value = descriptor.values().find(|value| value.name().eq_ignore_ascii_case(text));
    value.map(|value| Value::String(value.name().to_owned())).ok_or_else(|| {
        let names: Vec<_> = descriptor.values().map(|value| value.name().to_owned()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn read_message(descriptor: &MessageDescriptor, text: &str) -> Result<Value, String> {
    match descriptor.full_name() {
        "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask" => {
            Ok(Value::String(text.to_owned()))
        }
        "google.protobuf.StringValue" | "google.protobuf.BytesValue" => {
            Ok(Value::String(text.to_owned()))
        }
        "google.protobuf.Value" => {
            Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
        }
        "google.protobuf.ListValue" => json_of(text, "a JSON list", Value::is_array),
        name if name.starts_with("google.protobuf.") && name.ends_with("Value") => {
            serde_json::from_str(text).map_err(|_| "expected a number, true or false".to_owned())
        }
        _ => json_of(
            text,
            "a JSON object, or one of its fields as PATH.FIELD=VALUE",
            Value::is_object,
        ),
    }
}

fn json_of(text: &str, expected: &str, fits: fn(&Value) -> bool) -> Result<Value, String> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if fits(&value) => Ok(value),
        Ok(_) => Err(format!("expected {expected}")),
        Err(error) => Err(format!("expected {expected}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::super::testing::device_type;
    use super::*;

    fn set(assignments: &[&str]) -> Result<(String, String), String> {
        let assignments: Vec<_> = assignments.iter().map(|a| (*a).to_owned()).collect();
        let mut document = Value::Null;
        let paths = apply(&device_type().message, &mut document, &assignments)
            .map_err(|error| error.to_string())?;
        let masks: Vec<_> = paths.iter().map(FieldPath::mask).collect();
        // Whatever is accepted must be a device.
        super::super::json::from_value(&device_type().message, document.clone())?;
        Ok((document.to_string(), masks.join(",")))
    }

    #[test]
    fn values_are_read_by_the_type_of_their_field() {
        let (document, mask) = set(&[
            "display_name=007",
            "spec.port=8080",
            "spec.enabled=true",
            "spec.ratio=0.5",
            "status.phase=phase_ready",
            "spec.ttl=3.5s",
        ])
        .unwrap();
        expect![[r#"{"displayName":"007","spec":{"port":8080,"enabled":true,"ratio":0.5,"ttl":"3.5s"},"status":{"phase":"PHASE_READY"}}"#]].assert_eq(&document);
        expect!["display_name,spec.port,spec.enabled,spec.ratio,status.phase,spec.ttl"]
            .assert_eq(&mask);
    }

    #[test]
    fn a_list_is_given_whole_or_item_by_item() {
        assert_eq!(set(&[r#"spec.tags=["a","b"]"#]).unwrap().0, r#"{"spec":{"tags":["a","b"]}}"#);
        assert_eq!(
            set(&["spec.tags=a", "spec.tags=b"]).unwrap().0,
            r#"{"spec":{"tags":["a","b"]}}"#
        );
    }

    #[test]
    fn a_list_of_a_file_is_replaced() {
        let mut document = serde_json::json!({"spec": {"tags": ["old"]}});
        apply(&device_type().message, &mut document, &["spec.tags=new".to_owned()]).unwrap();
        assert_eq!(document, serde_json::json!({"spec": {"tags": ["new"]}}));
    }

    #[test]
    fn the_key_of_a_label_needs_no_escape() {
        let (document, mask) = set(&["metadata.labels.example.com/zone=a=b"]).unwrap();
        assert_eq!(document, r#"{"metadata":{"labels":{"example.com/zone":"a=b"}}}"#);
        assert_eq!(mask, r"metadata.labels.example\.com/zone");
    }

    #[test]
    fn null_clears() {
        assert_eq!(
            set(&["spec=null"]).unwrap(),
            (r#"{"spec":null}"#.to_owned(), "spec".to_owned())
        );
        assert_eq!(set(&["spec.port=null"]).unwrap().1, "spec.port");
    }

    #[test]
    fn a_proto_name_of_a_file_does_not_stay_beside_the_json_name() {
        let mut document = serde_json::json!({"display_name": "old"});
        apply(&device_type().message, &mut document, &["display-name=new".to_owned()]).unwrap();
        assert_eq!(document, serde_json::json!({"displayName": "new"}));
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        let problem = |argument: &str| set(&[argument]).unwrap_err();
        expect!["--set spec.port=x: expected a whole number of 32 bits"]
            .assert_eq(&problem("spec.port=x"));
        expect![
            "--set status.phase=up: expected one of PHASE_UNSPECIFIED, PHASE_READY, PHASE_BROKEN"
        ]
        .assert_eq(&problem("status.phase=up"));
        expect!["--set spec.modle=x: Spec has no field \"modle\"; did you mean model?"]
            .assert_eq(&problem("spec.modle=x"));
        expect!["--set spec: expected PATH=VALUE"].assert_eq(&problem("spec"));
        expect!["--set .=x: a part of the path is empty"].assert_eq(&problem(".=x"));
        expect!["--set display_name.x=1: display_name has no fields of its own"]
            .assert_eq(&problem("display_name.x=1"));
    }

    proptest! {
        #[test]
        fn no_argument_panics(argument in ".*", path in "[a-z_.]{0,20}", value in ".*") {
            let device = device_type();
            let _ = apply(&device.message, &mut Value::Null, &[argument]);
            let _ = apply(&device.message, &mut Value::Null, &[format!("spec.{path}={value}")]);
        }
    }
}
