//! Tests of paths: spellings, keys, places of errors, and that what is printed parses.

use expect_test::expect;
use proptest::prelude::*;
use prost_reflect::Value;

use super::*;
use crate::document::Document;
use crate::fixture::{device, device_type, secret_type};

fn parse(text: &str) -> String {
    match Path::parse(text, &device_type()) {
        Ok(path) => path.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn names_are_taken_in_three_spellings() {
    for text in ["spec.serial_number", "spec.serialNumber", "spec.serial-number"] {
        assert_eq!(parse(text), "spec.serial_number");
    }
}

#[test]
fn keys_may_have_dots_if_escaped_or_quoted() {
    assert_eq!(parse(r"metadata.labels.a\.b"), "metadata.labels.`a.b`");
    assert_eq!(parse("metadata.labels.`a.b`"), "metadata.labels.`a.b`");
    assert_eq!(parse("metadata.labels.`a``b`"), "metadata.labels.`a``b`");
    assert_eq!(parse("slots.-3.mac"), "slots.-3.mac");
}

#[test]
fn errors_have_the_place_and_the_nearest_field() {
    let all = [
        "",
        "spec.",
        "spec..model",
        "spec.models",
        "spec.model.x",
        "slots.x",
        "a`b",
        "`a`b",
        "`open",
    ]
    .map(|text| format!("{text}: {}", parse(text)))
    .join("\n");
    expect![[r#"
        : empty segment at byte 0 of the path
        spec.: empty segment at byte 5 of the path
        spec..model: empty segment at byte 5 of the path
        spec.models: Spec has no field "models" (did you mean "model"?) at byte 5 of the path
        spec.model.x: "model" is of type string, which has no fields at byte 11 of the path
        slots.x: "x" is not a key of a map with int32 keys at byte 6 of the path
        a`b: Device has no field "a`b" at byte 0 of the path
        `a`b: text after a closing quote at byte 3 of the path
        `open: quote without end at byte 0 of the path"#]]
    .assert_eq(&all);
}

#[test]
fn long_paths_are_refused() {
    let many = vec!["a"; PATH_SEGMENTS_MAX + 1].join(".");
    assert_eq!(parse_segments(&many).unwrap_err().problem, PathProblem::TooLong);
    let long = "a".repeat(PATH_BYTES_MAX + 1);
    assert_eq!(parse_segments(&long).unwrap_err().problem, PathProblem::TooLong);
}

#[test]
fn a_document_is_read_by_path() {
    let device =
        device(r#"{"spec": {"model": "m"}, "slots": {"1": {"mac": "aa"}}, "priority": 0}"#);
    let get = |text: &str| {
        let path = Path::parse(text, &device.ty).unwrap();
        device.get_path(&path).map(|value| value.into_owned())
    };
    assert_eq!(get("spec.model"), Some(Value::String("m".into())));
    assert_eq!(get("spec.serial_number"), Some(Value::String(String::new())));
    assert_eq!(get("slots.1.mac"), Some(Value::String("aa".into())));
    assert_eq!(get("slots.2.mac"), None);
    assert_eq!(get("priority"), Some(Value::I32(0)));
    assert_eq!(get("status.phase"), None);
    assert_eq!(get("spec.interfaces.mac"), None);
}

#[test]
fn metadata_is_a_path_even_where_it_is_kept_beside() {
    let ty = secret_type();
    let path = Path::parse("metadata.resourceVersion", &ty).unwrap();
    assert_eq!(path.to_string(), "metadata.resource_version");
    let empty = Document::new(ty.clone(), prost_reflect::DynamicMessage::new(ty.message.clone()));
    assert_eq!(empty.get_path(&path).unwrap().as_str(), Some(""));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = Path::parse(&text, &device_type());
    }

    #[test]
    fn any_key_survives_printing(key in "\\PC{0,12}") {
        let segments = ["metadata", "labels", key.as_str()].map(|text| Segment {
            text: text.to_owned(), offset: 0, quoted: true,
        });
        let path = Path::resolve(&segments, &device_type()).unwrap();
        prop_assert_eq!(Path::parse(&path.to_string(), &device_type()).unwrap(), path);
    }
}
