//! What the fuzz targets share: one resource type with every kind of field.

use std::sync::{Arc, LazyLock};

use bowline_schema::load::load;
use bowline_schema::source::Source;
use bowline_schema::model::{Registry, ResourceType};

const PROTO: &str = r#"
syntax = "proto3";
package fuzz.v1;
import "google/api/resource.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "goten/types/meta.proto";
message Thing {
  option (google.api.resource) = {
    type: "fuzz.example.com/Thing"
    pattern: "projects/{project}/things/{thing}"
    pattern: "projects/{project}/regions/{region}/things/{a}~{b}"
    plural: "things" singular: "thing"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
  enum State { STATE_UNSPECIFIED = 0; ACTIVE = 1; }
  State state = 3;
  repeated string tags = 4;
  map<string, int64> counts = 5;
  oneof choice { double weight = 6; bytes raw = 7; Thing inner = 8; }
  google.protobuf.Struct extra = 9;
  google.protobuf.Timestamp at = 10;
  google.protobuf.BoolValue maybe = 11;
}
"#;

/// The registry of one service with one type.
pub fn registry() -> &'static Arc<Registry> {
    static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| {
        let files = vec![("v1/thing.proto".to_owned(), PROTO.to_owned())];
        let service_yaml =
            Some("name: fuzz.example.com\nversions:\n  v1: { package: fuzz.v1 }\n".to_owned());
        Arc::new(load(&[Source::Files { service_yaml, files }]).registry)
    });
    &REGISTRY
}

/// The type `fuzz.example.com/Thing`.
pub fn thing() -> &'static Arc<ResourceType> {
    registry().resource_type("fuzz.example.com/Thing", "v1").expect("the schema above loads")
}
