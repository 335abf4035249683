//! Two services in one engine: machines that are deleted asynchronously and what refers to and from them, and apps of
//! another service that refer to machines.

use std::collections::HashMap;
use std::sync::Arc;

use bowline_api::engine::{Engine, Parts};
use bowline_api::limits::Limits;
use bowline_base::{Seams, Status};
use bowline_schema::load::load;
use bowline_schema::source::Source;
use bowline_store::{Backend, Memory};
use serde_json::{Value, json};

use super::support;

const BASE_PROTO: &str = r#"
syntax = "proto3";
package example.test.v1;
import "bowline/annotations.proto";
import "google/api/resource.proto";
import "goten/types/meta.proto";

message Model {
  option (google.api.resource) = { type: "base.test/Model" pattern: "models/{model}" singular: "model" plural: "models" };
  string name = 1;
  goten.types.Meta metadata = 2;
}

message Rack {
  option (google.api.resource) = { type: "base.test/Rack" pattern: "racks/{rack}" singular: "rack" plural: "racks" };
  string name = 1;
  goten.types.Meta metadata = 2;
}

message Machine {
  option (google.api.resource) = { type: "base.test/Machine" pattern: "machines/{machine}" singular: "machine" plural: "machines" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string title = 3;
  string model = 4 [(google.api.resource_reference).type = "base.test/Model", (bowline.reference) = { on_target_delete: BLOCK }];
  string spare = 5 [(google.api.resource_reference).type = "base.test/Model", (bowline.reference) = { on_target_delete: UNSET mode: SYNC }];
  string rack = 6 [(google.api.resource_reference).type = "base.test/Rack", (bowline.reference) = { on_target_delete: CASCADE mode: SYNC }];
  string old_rack = 7 [(google.api.resource_reference).type = "base.test/Rack", (bowline.reference) = { on_target_delete: CASCADE mode: ASYNC }];
  string twin = 8 [(google.api.resource_reference).type = "base.test/Machine", (bowline.reference) = { on_target_delete: BLOCK }];
}

message Part {
  option (google.api.resource) = { type: "base.test/Part" pattern: "machines/{machine}/parts/{part}" singular: "part" plural: "parts" };
  string name = 1;
  goten.types.Meta metadata = 2;
}

message Lease {
  option (google.api.resource) = { type: "base.test/Lease" pattern: "leases/{lease}" singular: "lease" plural: "leases" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string machine = 3 [(google.api.resource_reference).type = "base.test/Machine", (bowline.reference) = { on_target_delete: BLOCK }];
  string part = 4 [(google.api.resource_reference).type = "base.test/Part", (bowline.reference) = { on_target_delete: BLOCK }];
}
"#;

const BASE_MANIFEST: &str = "
name: base.test
versions:
  v1: { package: example.test.v1 }
resources:
  Machine: { async_deletion: true }
";

const USERS_PROTO: &str = r#"
syntax = "proto3";
package example.test.v1.users;
import "bowline/annotations.proto";
import "google/api/resource.proto";
import "goten/types/meta.proto";

message App {
  option (google.api.resource) = { type: "users.test/App" pattern: "apps/{app}" singular: "app" plural: "apps" };
  option (bowline.resource) = { async_deletion: true };
  string name = 1;
  goten.types.Meta metadata = 2;
  string machine = 3 [(google.api.resource_reference).type = "base.test/Machine", (bowline.reference) = { on_target_delete: CASCADE mode: ASYNC }];
  string needs = 4 [(google.api.resource_reference).type = "base.test/Machine", (bowline.reference) = { on_target_delete: BLOCK }];
}
"#;

const USERS_MANIFEST: &str = "
name: users.test
versions:
  v1: { package: example.test.v1.users, imports: { base.test: v1 } }
";

/// An engine, and its requests.
pub struct World {
    pub world: support::World,
    pub base: Arc<dyn Backend>,
}

fn source(file: &str, manifest: &str, proto: &str) -> Source {
    let files = vec![(file.to_owned(), proto.to_owned())];
    Source::Files { service_yaml: Some(manifest.to_owned()), files }
}

impl World {
    pub fn new() -> Self {
        Self::over(Arc::new(Memory::new()))
    }

    /// With this store for all but apps.
    pub fn over(base: Arc<dyn Backend>) -> Self {
        let sources = [
            source("base/v1/base.proto", BASE_MANIFEST, BASE_PROTO),
            source("users/v1/users.proto", USERS_MANIFEST, USERS_PROTO),
        ];
        let loaded = load(&sources);
        assert_eq!(loaded.registry.services.len(), 2, "{:#?}", loaded.diagnostics);
        let users: Arc<dyn Backend> = Arc::new(Memory::new());
        let backends = [("base.test".to_owned(), base.clone()), ("users.test".to_owned(), users)];
        let parts = Parts {
            registry: Arc::new(loaded.registry),
            limits: Limits::default(),
            seams: Seams::real(),
            backends: HashMap::from(backends),
            actions: HashMap::new(),
            hooks: HashMap::new(),
            routing: None,
            callers: None,
        };
        Self { world: support::World::around(Engine::start(parts).unwrap()), base }
    }

    /// Makes `machines/m` from `("machine", "m")`.
    pub async fn make(&self, what: &str, id: &str, resource: Value) -> Result<Value, Status> {
        let mut request = json!({});
        request[format!("{what}Id")] = json!(id);
        request[what] = resource;
        self.call("Create", what, request).await
    }

    /// A part of `machines/m`.
    pub async fn make_part(&self, machine: &str, id: &str) -> Result<Value, Status> {
        let request = json!({ "parent": format!("machines/{machine}"), "partId": id, "part": {} });
        self.call("Create", "part", request).await
    }

    /// Changes the fields of `mask` in a machine.
    pub async fn update(&self, id: &str, mut machine: Value, mask: &str) -> Result<Value, Status> {
        machine["name"] = json!(format!("machines/{id}"));
        let request = json!({ "machine": machine, "updateMask": mask });
        self.call("Update", "machine", request).await
    }

    pub async fn finalize(&self, id: &str, finalizers: &[&str]) -> Result<Value, Status> {
        let machine = json!({ "metadata": { "finalizers": finalizers } });
        self.update(id, machine, "metadata.finalizers").await
    }

    pub async fn get(&self, name: &str) -> Result<Value, Status> {
        self.call("Get", singular(name), json!({ "name": name })).await
    }

    pub async fn delete(&self, name: &str) -> Result<Value, Status> {
        self.delete_with(name, json!({})).await
    }

    pub async fn delete_with(&self, name: &str, mut request: Value) -> Result<Value, Status> {
        request["name"] = json!(name);
        self.call("Delete", singular(name), request).await
    }

    async fn call(&self, verb: &str, what: &str, request: Value) -> Result<Value, Status> {
        let (first, rest) = what.split_at(1);
        let title = first.to_uppercase() + rest;
        let package = if what == "app" { "users." } else { "" };
        self.world.call(&format!("{package}{title}Service/{verb}{title}"), request).await
    }
}

/// `machine` of `machines/m`.
fn singular(name: &str) -> &str {
    let collection = name.rsplit('/').nth(1).unwrap();
    collection.strip_suffix('s').unwrap()
}
