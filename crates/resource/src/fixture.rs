//! Types and documents for this crate's tests: a device with metadata inside, a secret with metadata beside, a network.
//!
//! They are loaded as any service is, so that the tests see paths, rules and patterns as the schema crate makes them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bowline_schema::load::load;
use bowline_schema::model::{Registry, ResourceType};
use bowline_schema::{Source, diagnostic};
use prost_reflect::DynamicMessage;

use crate::document::Document;
use crate::filter::Filter;

/// A copy that knows a field which we do not.
const META: &str = r#"
syntax = "proto3";
package goten.types;
import "google/protobuf/timestamp.proto";
message Meta {
  google.protobuf.Timestamp create_time = 1;
  google.protobuf.Timestamp update_time = 2;
  string uuid = 3;
  repeated string tags = 4;
  map<string, string> labels = 5;
  map<string, string> annotations = 6;
  int64 generation = 7;
  string resource_version = 8;
  // Of a release that is newer than ours.
  string mood = 900;
}
"#;

const THINGS: &str = r#"
syntax = "proto3";
package things.v1;
import "google/api/field_behavior.proto";
import "google/api/resource.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "goten/types/meta.proto";

message Device {
  option (google.api.resource) = {
    type: "things.test/Device" singular: "device" plural: "devices"
    pattern: "projects/{project}/devices/{device}"
    pattern: "projects/{project}/regions/{region}/devices/{device}"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
  string display_name = 3 [(google.api.field_behavior) = REQUIRED];
  Spec spec = 4;
  Status status = 5 [(google.api.field_behavior) = OUTPUT_ONLY];
  bool enabled = 6;
  optional int32 priority = 7;
  double weight = 8;
  google.protobuf.Timestamp installed = 9;
  google.protobuf.Duration lease = 10;
  State state = 11;
  bytes payload = 12;
  int64 big = 13;
  uint64 huge = 14;
  google.protobuf.StringValue nickname = 15;
  map<string, string> attributes = 16;
  map<int32, Interface> slots = 17;
  repeated string tags = 18;
  float ratio = 19;
  int32 count = 20;
  string network = 21 [(google.api.resource_reference).type = "things.test/Network"];
}
message Spec {
  string model = 1 [(google.api.field_behavior) = REQUIRED];
  string serial_number = 2 [(google.api.field_behavior) = IMMUTABLE];
  repeated int32 ports = 3;
  repeated Interface interfaces = 4;
  oneof link {
    Wired wired = 5;
    Wireless wireless = 6;
  }
  string secret_input = 7 [(google.api.field_behavior) = INPUT_ONLY];
}
message Wired { string plug = 1; string plug_serial = 2 [(google.api.field_behavior) = IMMUTABLE]; }
message Wireless { string ssid = 1; }
message Interface {
  string network = 1 [
    (google.api.field_behavior) = REQUIRED,
    (google.api.resource_reference).type = "things.test/Network"
  ];
  string mac = 2;
  string state = 3 [(google.api.field_behavior) = OUTPUT_ONLY];
}
message Status { string phase = 1; }
enum State { STATE_UNSPECIFIED = 0; ACTIVE = 1; RETIRED = 2; }

message Secret {
  option (google.api.resource) = {
    type: "things.test/Secret" pattern: "projects/{project}/secrets/{secret}"
  };
  string name = 1;
  google.protobuf.Timestamp create_time = 2;
  map<string, string> labels = 3;
  string etag = 4;
  string uid = 5;
  string value = 6;
}

message Network {
  option (google.api.resource) = {
    type: "things.test/Network" pattern: "projects/{project}/networks/{network}"
  };
  string name = 1;
  string title = 2;
}
"#;

/// Loads a service of these files, which must have no errors.
fn loaded(files: &[(&str, &str)]) -> Registry {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let loaded = load(&[Source::Files { service_yaml: None, files: files.collect() }]);
    let errors = diagnostic::render(&loaded.diagnostics);
    assert!(!loaded.registry.types.is_empty(), "{errors}");
    loaded.registry
}

fn things() -> Registry {
    loaded(&[("goten/types/meta.proto", META), ("things/v1/things.proto", THINGS)])
}

pub(crate) fn registry() -> &'static Registry {
    static THINGS_TEST: LazyLock<Registry> = LazyLock::new(things);
    &THINGS_TEST
}

fn of_kind(kind: &str) -> Arc<ResourceType> {
    Arc::clone(&registry().types[kind][0])
}

/// The device type: two patterns, references, rules of every sort.
pub(crate) fn device_type() -> Arc<ResourceType> {
    of_kind("things.test/Device")
}

/// The device type with something that its annotations do not say.
pub(crate) fn device_type_with(change: impl FnOnce(&mut ResourceType)) -> Arc<ResourceType> {
    let mut ty = Arc::clone(&things().types["things.test/Device"][0]);
    change(Arc::get_mut(&mut ty).expect("the registry that shared it is gone"));
    ty
}

pub(crate) fn secret_type() -> Arc<ResourceType> {
    of_kind("things.test/Secret")
}

/// A type with these patterns and metadata as we ship it.
pub(crate) fn type_of(patterns: &[&str]) -> Arc<ResourceType> {
    let patterns: Vec<_> = patterns.iter().map(|text| format!("pattern: \"{text}\"")).collect();
    let text = format!(
        r#"syntax = "proto3";
        package thing.v1;
        import "google/api/resource.proto";
        import "goten/types/meta.proto";
        message Network {{
          option (google.api.resource) = {{ type: "things.test/Network" {} }};
          string name = 1;
          goten.types.Meta metadata = 2;
        }}"#,
        patterns.join(" ")
    );
    let registry = loaded(&[("thing/v1/thing.proto", &text)]);
    Arc::clone(&registry.types["things.test/Network"][0])
}

/// A message of the type from its JSON form.
pub(crate) fn message(ty: &ResourceType, json: &str) -> DynamicMessage {
    let mut json = serde_json::Deserializer::from_str(json);
    DynamicMessage::deserialize(ty.message.clone(), &mut json).unwrap()
}

/// A device from its JSON form.
pub(crate) fn device(json: &str) -> Document {
    Document::new(device_type(), message(&device_type(), json))
}

/// The JSON form of a message, with sorted keys.
pub(crate) fn json(message: &DynamicMessage) -> String {
    sorted(serde_json::to_value(message).unwrap()).to_string()
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(fields) => {
            let fields: BTreeMap<_, _> =
                fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.into_iter().collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(sorted).collect(),
        value => value,
    }
}

pub(crate) fn device_filter(text: &str) -> Filter {
    Filter::parse(text, &device_type()).unwrap_or_else(|error| panic!("{}", error.render()))
}
