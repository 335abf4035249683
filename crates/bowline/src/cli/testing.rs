//! The schema that unit tests of the command line share: three small services, one in two versions.

use std::sync::{Arc, LazyLock};

use bowline_schema::model::ResourceType;
use bowline_schema::{Source, load};

use super::catalog::Catalog;

const DEVICES: &str = r#"
syntax = "proto3";
package example.devices.v1;
import "google/api/resource.proto";
import "google/api/field_behavior.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "goten/types/meta.proto";

message Project {
  option (google.api.resource) = {
    type: "devices.example.com/Project" pattern: "projects/{project}"
    singular: "project" plural: "projects"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
}

// A thing in the field.
message Device {
  option (google.api.resource) = {
    type: "devices.example.com/Device" pattern: "projects/{project}/devices/{device}"
    singular: "device" plural: "devices"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
  string display_name = 3;
  string description = 4;
  // What is wanted.
  Spec spec = 5;
  Status status = 6 [(google.api.field_behavior) = OUTPUT_ONLY];
  google.protobuf.Struct extra = 7;
}

message Spec {
  string model = 1 [(google.api.field_behavior) = REQUIRED];
  int32 port = 2;
  bool enabled = 3;
  double ratio = 4;
  repeated string tags = 5;
  google.protobuf.Duration ttl = 6;
  string secret = 7 [(google.api.resource_reference).type = "secrets.example.com/Secret"];
  string password = 8;
}

message Status {
  enum Phase {
    PHASE_UNSPECIFIED = 0;
    PHASE_READY = 1;
    PHASE_BROKEN = 2;
  }
  Phase phase = 1;
  int64 uptime_seconds = 2;
}
"#;

const IAM: &str = r#"
syntax = "proto3";
package example.iam.v1;
import "google/api/resource.proto";
import "goten/types/meta.proto";

message Project {
  option (google.api.resource) = {
    type: "iam.example.com/Project" pattern: "projects/{project}"
    singular: "project" plural: "projects"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
}

message ServiceAccount {
  option (google.api.resource) = {
    type: "iam.example.com/ServiceAccount"
    pattern: "projects/{project}/serviceAccounts/{service_account}"
    singular: "serviceAccount" plural: "serviceAccounts"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
}
"#;

fn secrets(version: &str) -> String {
    format!(
        r#"
syntax = "proto3";
package example.secrets.{version};
import "google/api/resource.proto";
import "goten/types/meta.proto";

message Secret {{
  option (google.api.resource) = {{
    type: "secrets.example.com/Secret" pattern: "projects/{{project}}/secrets/{{secret}}"
    singular: "secret" plural: "secrets"
  }};
  string name = 1;
  goten.types.Meta metadata = 2;
  bytes data = 3;
}}
"#
    )
}

/// A service of the given files, with a manifest that names its versions.
fn service(name: &str, package: &str, imports: &str, versions: &[(&str, String)]) -> Source {
    let mut manifest = format!("name: {name}\nversions:\n");
    let mut files = Vec::new();
    for (version, text) in versions {
        let entry =
            format!("  {version}: {{ package: {package}.{version}, imports: {{ {imports} }} }}\n");
        manifest.push_str(&entry);
        files.push((format!("{version}/types.proto"), text.clone()));
    }
    Source::Files { service_yaml: Some(manifest), files }
}

/// Loaded once: compiling it for every case of a property test would take most of the time.
pub(crate) fn catalog() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(load_catalog);
    &CATALOG
}

fn load_catalog() -> Catalog {
    let loaded = load(&[
        service(
            "devices.example.com",
            "example.devices",
            "secrets.example.com: v1",
            &[("v1", DEVICES.to_owned())],
        ),
        service("iam.example.com", "example.iam", "", &[("v1", IAM.to_owned())]),
        service(
            "secrets.example.com",
            "example.secrets",
            "",
            &[("v1alpha2", secrets("v1alpha2")), ("v1", secrets("v1"))],
        ),
    ]);
    let registry = loaded.registry;
    assert!(
        registry.services.len() == 3,
        "{}",
        bowline_schema::diagnostic::render(&loaded.diagnostics)
    );
    Catalog::new(registry, None)
}

pub(crate) fn device_type() -> Arc<ResourceType> {
    catalog().resolve_type("devices.example.com/Device", None).expect("the schema has devices")
}
