//! References of documents: what is followed and what is not.

use bowline_schema::diagnostic;
use bowline_schema::load::load;
use bowline_schema::source::Source;
use expect_test::expect;
use prost_reflect::{DeserializeOptions, DynamicMessage};

use super::*;

const IAM: &str = r#"
syntax = "proto3";
package iam.v1;
import "google/api/resource.proto";
message Project {
  option (google.api.resource) = { type: "iam.test/Project" pattern: "projects/{project}" };
  string name = 1;
}
"#;

const DEVICES: &str = r#"
syntax = "proto3";
package devices.v1;
import "google/api/resource.proto";
import "bowline/annotations.proto";
message Device {
  option (google.api.resource) = {
    type: "devices.test/Device"
    pattern: "projects/{project}/devices/{device}"
    pattern: "projects/{project}/regions/{region}/devices/{device}"
  };
  string name = 1;
  string model = 2 [(google.api.resource_reference).type = "devices.test/Model"];
  repeated string uplinks = 3 [
    (google.api.resource_reference).type = "devices.test/Device",
    (bowline.reference) = { on_target_delete: UNSET mode: SYNC }
  ];
  map<string, string> seen = 4 [
    (google.api.resource_reference).type = "devices.test/Device",
    (bowline.reference) = { on_target_delete: ALLOW_DANGLING }
  ];
  string owner = 5 [(google.api.resource_reference).type = "elsewhere.test/User"];
  string any = 6 [(google.api.resource_reference).type = "*"];
}
message Model {
  option (google.api.resource) = { type: "devices.test/Model" pattern: "models/{model}" };
  string name = 1;
}
"#;

fn registry() -> Registry {
    let source = |yaml: &str, path: &str, text: &str| Source::Files {
        service_yaml: Some(yaml.to_owned()),
        files: vec![(path.to_owned(), text.to_owned())],
    };
    let loaded = load(&[
        source("name: iam.test\nversions:\n  v1: { package: iam.v1 }\n", "v1/iam.proto", IAM),
        source(
            "name: devices.test\nversions:\n  v1: { package: devices.v1, imports: { iam.test: v1 } }\n",
            "v1/devices.proto",
            DEVICES,
        ),
    ]);
    assert_eq!(loaded.registry.services.len(), 2, "{}", diagnostic::render(&loaded.diagnostics));
    loaded.registry
}

fn document(registry: &Registry, json: &str) -> Document {
    let ty = registry.resource_type("devices.test/Device", "v1").unwrap();
    let mut json = serde_json::Deserializer::from_str(json);
    let options = DeserializeOptions::new();
    let body =
        DynamicMessage::deserialize_with_options(ty.message.clone(), &mut json, &options).unwrap();
    Document::new(ty.clone(), body)
}

fn held(json: &str) -> String {
    let registry = registry();
    let document = document(&registry, json);
    let entries = References::of_type(&registry, &document.ty).of_document(&document);
    let line = |entry: &Entry| {
        let Entry { path, target, behaviour, is_sync } = entry;
        format!("{path:?} {behaviour:?}{} {target}", if *is_sync { " sync" } else { "" })
    };
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn references_are_those_of_fields_and_the_parent() {
    expect![[r#"
        "" Cascade iam.test/Project projects/p (v1)
        "any" Block iam.test/Project projects/q (v1)
        "model" Block sync devices.test/Model models/m (v1)
        "uplinks" Unset sync devices.test/Device projects/p/devices/a (v1)
        "uplinks" Unset sync devices.test/Device projects/p/devices/b (v1)"#]]
    .assert_eq(&held(
        r#"{"name": "projects/p/devices/d", "model": "models/m", "any": "//iam.test/projects/q",
            "uplinks": ["projects/p/devices/b", "//devices.test/projects/p/devices/a", "projects/p/devices/b"]}"#,
    ));
}

#[test]
fn the_parent_of_what_is_in_a_region_is_above_the_region() {
    expect![[r#""" Cascade iam.test/Project projects/p (v1)"#]]
        .assert_eq(&held(r#"{"name": "projects/p/regions/eu/devices/d"}"#));
}

#[test]
fn nothing_follows_from_dangling_external_empty_or_malformed_ones() {
    expect![[r#""" Cascade iam.test/Project projects/p (v1)"#]].assert_eq(&held(
        r#"{"name": "projects/p/devices/d", "owner": "users/u", "model": "", "uplinks": ["x"],
            "seen": {"a": "projects/p/devices/a"}}"#,
    ));
}

#[test]
fn the_stricter_behaviour_is_the_smaller() {
    assert!(Behaviour::Block < Behaviour::Cascade && Behaviour::Cascade < Behaviour::Unset);
    assert_eq!(Behaviour::of_number(Behaviour::Unset as u32), Some(Behaviour::Unset));
    assert_eq!(Behaviour::of_number(9), None);
}

#[test]
fn unsetting_takes_out_the_target_and_what_is_left_is_what_the_document_then_holds() {
    let registry = registry();
    let mut device = document(
        &registry,
        r#"{"name": "projects/p/devices/d", "model": "models/m", "any": "//devices.test/projects/p/devices/b",
            "uplinks": ["projects/p/devices/b", "//devices.test/projects/p/devices/a", "//devices.test/projects/p/devices/b"]}"#,
    );
    let references = References::of_type(&registry, &device.ty);
    let held = |document: &Document| -> Vec<Held> {
        let entries = references.of_document(document);
        entries.iter().map(|entry| Held::of(entry, bowline_store::RowId(1), None)).collect()
    };
    let gone = TargetName::new("devices.test/Device", "v1", "projects/p/devices/b");
    let before = held(&device);
    let left = references.unset(&mut device, &before, &[gone]);
    assert_eq!(left, held(&device));
    assert_eq!(before.len() - left.len(), 1, "what blocks stays: {left:?}");
    let left = serde_json::to_string(&device.body).unwrap();
    expect![[r#"{"name":"projects/p/devices/d","model":"models/m","uplinks":["//devices.test/projects/p/devices/a"],"any":"//devices.test/projects/p/devices/b"}"#]]
        .assert_eq(&left);
}

#[test]
fn a_reference_that_the_schema_no_longer_has_is_unset_by_name() {
    let registry = registry();
    let mut device = document(&registry, r#"{"seen": {"a": "projects/p/devices/a", "b": "x"}}"#);
    let references = References::of_type(&registry, &device.ty);
    let target = TargetName::new("devices.test/Device", "v1", "projects/p/devices/a");
    let held = Held {
        path: "seen".to_owned(),
        target: target.clone(),
        behaviour: Behaviour::Unset,
        is_sync: false,
        uid: bowline_store::RowId(1),
        region: None,
    };
    assert_eq!(references.unset(&mut device, &[held], &[target]), []);
    assert_eq!(serde_json::to_string(&device.body).unwrap(), r#"{"seen":{"b":"x"}}"#);
}

#[test]
fn what_is_not_imported_is_not_followed() {
    let file = |path: &str, text: &str| Source::Files {
        service_yaml: None,
        files: vec![(path.to_owned(), text.to_owned())],
    };
    let text = DEVICES.replace("message Model", "message Note {\n  option (google.api.resource) = { type: \"devices.test/Note\" pattern: \"models/{model}/notes/{note}\" };\n  string name = 1;\n  string project = 2 [(google.api.resource_reference).type = \"iam.test/Project\"];\n}\nmessage Model");
    let loaded = load(&[file("iam/v1/iam.proto", IAM), file("devices/v1/devices.proto", &text)]);
    let registry = loaded.registry;
    let ty = registry.resource_type("devices.test/Note", "v1").unwrap();
    let kinds: Vec<_> =
        References::of_type(&registry, ty).kinds().into_iter().map(str::to_owned).collect();
    assert_eq!(kinds, ["devices.test/Model"], "{}", diagnostic::render(&loaded.diagnostics));
}
