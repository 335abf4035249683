//! Two services in one engine: nodes that refer to each other in every way, and apps of another service that refer to nodes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_api::engine::{Engine, Parts};
use bowline_api::handler::Context;
use bowline_api::limits::Limits;
use bowline_base::{Seams, Status};
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_store::Backend;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Value, json};

use super::gate::Gate;

pub const BASE: &str = "base.test";
pub const USERS: &str = "users.test";

const BASE_PROTO: &str = r#"
syntax = "proto3";
package base.v1;
import "bowline/annotations.proto";
import "google/api/resource.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "goten/types/meta.proto";

message Node {
  option (google.api.resource) = { type: "base.test/Node" pattern: "nodes/{node}" singular: "node" plural: "nodes" };
  string name = 1;
  goten.types.Meta metadata = 2;
  repeated string blocked = 3 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: BLOCK }];
  string cascade = 4 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: CASCADE mode: ASYNC }];
  string cascade_now = 5 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: CASCADE mode: SYNC }];
  string unset = 6 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: UNSET mode: ASYNC }];
  repeated string unset_now = 7 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: UNSET mode: SYNC }];
  string title = 8;
}

message Leaf {
  option (google.api.resource) = { type: "base.test/Leaf" pattern: "nodes/{node}/leaves/{leaf}" singular: "leaf" plural: "leaves" };
  option (bowline.resource) = { on_parent_delete: BLOCK };
  string name = 1;
  goten.types.Meta metadata = 2;
}

service NodeService {
  rpc CreateNode(CreateNodeRequest) returns (Node);
  rpc GetNode(GetNodeRequest) returns (Node);
  rpc UpdateNode(UpdateNodeRequest) returns (Node);
  rpc DeleteNode(DeleteNodeRequest) returns (google.protobuf.Empty);
}

message CreateNodeRequest { string node_id = 1; Node node = 2; }
message GetNodeRequest { string name = 1; }
message UpdateNodeRequest { Node node = 1; google.protobuf.FieldMask update_mask = 2; }
message DeleteNodeRequest { string name = 1; string etag = 2; bool force = 3; bool allow_missing = 4; bool validate_only = 5; }
"#;

const USERS_PROTO: &str = r#"
syntax = "proto3";
package users.v1;
import "bowline/annotations.proto";
import "google/api/resource.proto";
import "goten/types/meta.proto";

message App {
  option (google.api.resource) = { type: "users.test/App" pattern: "apps/{app}" singular: "app" plural: "apps" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string blocked = 3 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: BLOCK }];
  string cascade = 4 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: CASCADE mode: ASYNC }];
  string unset = 5 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: UNSET mode: ASYNC }];
}
"#;

fn registry() -> Arc<Registry> {
    let source = |name: &str, file: &str, proto: &str, rest: &str| Source::Files {
        service_yaml: Some(format!("name: {name}\nversions:\n  v1: {{ {rest} }}\n")),
        files: vec![(file.to_owned(), proto.to_owned())],
    };
    let base = source(BASE, "v1/base.proto", BASE_PROTO, "package: base.v1");
    let imports = "package: users.v1, imports: { base.test: v1 }";
    let users = source(USERS, "v1/users.proto", USERS_PROTO, imports);
    let loaded = load(&[base, users]);
    assert_eq!(loaded.registry.services.len(), 2, "{:#?}", loaded.diagnostics);
    Arc::new(loaded.registry)
}

/// One process, or several over the same stores.
#[derive(Clone)]
pub struct World {
    pub engine: Arc<Engine>,
    pub base: Arc<dyn Backend>,
    pub users: Arc<dyn Backend>,
}

impl World {
    /// With gates in front of the stores of both services.
    pub fn gated() -> (Self, Arc<Gate>, Arc<Gate>) {
        let (base, users) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        (Self::over(base.clone(), users.clone()), base, users)
    }

    pub fn over(base: Arc<dyn Backend>, users: Arc<dyn Backend>) -> Self {
        let backends = [(BASE.to_owned(), base.clone()), (USERS.to_owned(), users.clone())];
        let parts = Parts {
            registry: registry(),
            limits: Limits::default(),
            seams: Seams::real(),
            backends: HashMap::from(backends),
            actions: HashMap::new(),
            hooks: HashMap::new(),
            routing: None,
            callers: None,
        };
        Self { engine: Engine::start(parts).unwrap(), base, users }
    }

    /// Another process over the same stores.
    pub fn another(&self) -> Self {
        Self::over(self.base.clone(), self.users.clone())
    }

    /// `method` is `base.v1.NodeService/CreateNode`.
    pub async fn call(&self, method: &str, request: Value) -> Result<Value, Status> {
        self.call_in(method, request, Context::default()).await
    }

    pub async fn call_in(
        &self,
        method: &str,
        request: Value,
        context: Context,
    ) -> Result<Value, Status> {
        let path = format!("/{method}");
        let found = self.engine.registry().methods.get(&path);
        let input = found.unwrap_or_else(|| panic!("no method {path}")).descriptor.input();
        let text = request.to_string();
        let mut json = serde_json::Deserializer::from_str(&text);
        let message = DynamicMessage::deserialize(input, &mut json)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let answer = self.engine.call_unary(&path, message, context).await?;
        let options = SerializeOptions::new();
        Ok(answer.serialize_with_options(serde_json::value::Serializer, &options).unwrap())
    }

    pub async fn node(&self, id: &str, node: Value) -> Result<Value, Status> {
        let request = json!({ "nodeId": id, "node": node });
        self.call("base.v1.NodeService/CreateNode", request).await
    }

    pub async fn get_node(&self, id: &str) -> Result<Value, Status> {
        let request = json!({ "name": format!("nodes/{id}") });
        self.call("base.v1.NodeService/GetNode", request).await
    }

    pub async fn leaf(&self, node: &str, id: &str) -> Result<Value, Status> {
        let request = json!({ "parent": format!("nodes/{node}"), "leafId": id, "leaf": {} });
        self.call("base.v1.LeafService/CreateLeaf", request).await
    }

    pub async fn app(&self, id: &str, app: Value) -> Result<Value, Status> {
        let request = json!({ "appId": id, "app": app });
        self.call("users.v1.AppService/CreateApp", request).await
    }

    pub async fn get_app(&self, id: &str) -> Result<Value, Status> {
        let request = json!({ "name": format!("apps/{id}") });
        self.call("users.v1.AppService/GetApp", request).await
    }

    pub async fn delete_app(&self, id: &str) -> Result<Value, Status> {
        let request = json!({ "name": format!("apps/{id}") });
        self.call("users.v1.AppService/DeleteApp", request).await
    }

    pub async fn delete(&self, id: &str) -> Result<Value, Status> {
        self.delete_with(id, json!({})).await
    }

    /// By a client that has this much time.
    pub async fn delete_within(&self, id: &str, deadline: Duration) -> Result<Value, Status> {
        let context = Context { deadline: Some(deadline), ..Context::default() };
        let request = json!({ "name": format!("nodes/{id}") });
        self.call_in("base.v1.NodeService/DeleteNode", request, context).await
    }

    pub async fn delete_with(&self, id: &str, mut request: Value) -> Result<Value, Status> {
        request["name"] = json!(format!("nodes/{id}"));
        self.call("base.v1.NodeService/DeleteNode", request).await
    }
}
