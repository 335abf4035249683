//! Two services in one engine: things on shelves, which refer to each other, and to the people of the other service.

use std::collections::HashMap;
use std::sync::Arc;

use bowline_api::engine::{Engine, Parts};
use bowline_api::handler::Context;
use bowline_api::limits::Limits;
use bowline_base::{Detail, Seams, Status};
use bowline_graph::{Aside, Held, Inbound};
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_store::{Backend, Key, NameRange, Row, RowId, Table, layout};
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Value, json};

use super::gate::Gate;

const PEOPLE: &str = r#"
syntax = "proto3";
package people.v1;
import "google/api/resource.proto";
import "goten/types/meta.proto";

message User {
  option (google.api.resource) = { type: "people.test/User" pattern: "users/{user}" singular: "user" plural: "users" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string title = 3;
}
"#;

const THINGS: &str = r#"
syntax = "proto3";
package things.v1;
import "bowline/annotations.proto";
import "google/api/resource.proto";
import "goten/types/meta.proto";

message Shelf {
  option (google.api.resource) = { type: "things.test/Shelf" pattern: "shelves/{shelf}" singular: "shelf" plural: "shelves" };
  string name = 1;
  goten.types.Meta metadata = 2;
}

message Thing {
  option (google.api.resource) = { type: "things.test/Thing" pattern: "shelves/{shelf}/things/{thing}" singular: "thing" plural: "things" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string title = 3;
  string neighbour = 4 [(google.api.resource_reference).type = "things.test/Thing", (bowline.reference) = { on_target_delete: BLOCK }];
  repeated string owners = 5 [(google.api.resource_reference).type = "people.test/User", (bowline.reference) = { on_target_delete: BLOCK }];
  repeated string watchers = 6 [(google.api.resource_reference).type = "people.test/User", (bowline.reference) = { on_target_delete: UNSET mode: ASYNC }];
  string reader = 7 [(google.api.resource_reference).type = "people.test/User", (bowline.reference) = { on_target_delete: UNSET mode: ASYNC }];
}
"#;

fn registry() -> Arc<Registry> {
    let source = |name: &str, file: &str, proto: &str, rest: &str| Source::Files {
        service_yaml: Some(format!("name: {name}\nversions:\n  v1: {{ {rest} }}\n")),
        files: vec![(file.to_owned(), proto.to_owned())],
    };
    let people = source("people.test", "v1/people.proto", PEOPLE, "package: people.v1");
    let imports = "package: things.v1, imports: { people.test: v1 }";
    let things = source("things.test", "v1/things.proto", THINGS, imports);
    let loaded = load(&[people, things]);
    assert_eq!(loaded.registry.services.len(), 2, "{:#?}", loaded.diagnostics);
    Arc::new(loaded.registry)
}

pub struct World {
    pub engine: Arc<Engine>,
    pub people: Arc<Gate>,
    pub things: Arc<Gate>,
}

impl World {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        let (people, things) = (Arc::<Gate>::default(), Arc::<Gate>::default());
        let backends: [(String, Arc<dyn Backend>); 2] =
            [("people.test".into(), people.clone()), ("things.test".into(), things.clone())];
        let parts = Parts {
            registry: registry(),
            limits,
            seams: Seams::real(),
            backends: HashMap::from(backends),
            actions: HashMap::new(),
            hooks: HashMap::new(),
            routing: None,
            callers: None,
        };
        Self { engine: Engine::start(parts).unwrap(), people, things }
    }

    /// With one shelf, `shelves/s`, and users `a` and `b`.
    pub async fn furnished() -> Self {
        let world = Self::new();
        let shelf = json!({ "shelfId": "s", "shelf": {} });
        world.call("things.v1.ShelfService/CreateShelf", shelf).await.unwrap();
        for id in ["a", "b"] {
            world.user(id).await.unwrap();
        }
        world
    }

    /// `method` is `things.v1.ThingService/CreateThing`.
    pub async fn call(&self, method: &str, request: Value) -> Result<Value, Status> {
        call(&self.engine, method, request).await
    }

    pub async fn user(&self, id: &str) -> Result<Value, Status> {
        self.call("people.v1.UserService/CreateUser", json!({ "userId": id, "user": {} })).await
    }

    pub async fn delete_user(&self, id: &str) -> Result<Value, Status> {
        let request = json!({ "name": format!("users/{id}") });
        self.call("people.v1.UserService/DeleteUser", request).await
    }

    pub async fn thing(&self, id: &str, thing: Value) -> Result<Value, Status> {
        let request = json!({ "parent": "shelves/s", "thingId": id, "thing": thing });
        self.call("things.v1.ThingService/CreateThing", request).await
    }

    pub async fn update(&self, id: &str, thing: Value) -> Result<Value, Status> {
        let paths: Vec<_> = thing.as_object().unwrap().keys().cloned().collect();
        let mut thing = thing;
        thing["name"] = format!("shelves/s/things/{id}").into();
        let request = json!({ "thing": thing, "updateMask": paths.join(",") });
        self.call("things.v1.ThingService/UpdateThing", request).await
    }

    pub async fn delete_thing(&self, id: &str) -> Result<Value, Status> {
        let request = json!({ "name": format!("shelves/s/things/{id}") });
        self.call("things.v1.ThingService/DeleteThing", request).await
    }

    async fn thing_row(&self, id: &str) -> Option<Row> {
        let table = layout::resources("v1", "things.test/Thing");
        let key = Key { table, name: format!("shelves/s/things/{id}").into() };
        self.things.get(&key).await.unwrap().0
    }

    /// What a thing holds, as its row says.
    pub async fn held(&self, id: &str) -> Vec<Held> {
        let row = self.thing_row(id).await.expect("the thing is there");
        Aside::decode(&row.aside).unwrap().references
    }

    /// The same as lines of field and target.
    pub async fn held_lines(&self, id: &str) -> String {
        let line = |held: &Held| {
            let region = held.region.as_deref().unwrap_or("here");
            format!("{:?} {} {region}", held.path, held.target.name)
        };
        self.held(id).await.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    pub async fn has_thing(&self, id: &str) -> bool {
        self.thing_row(id).await.is_some()
    }

    /// The uid of a resource, as it is shown.
    pub fn uid(resource: &Value) -> RowId {
        let uuid = resource["metadata"]["uuid"].as_str().unwrap().replace('-', "");
        RowId(u128::from_str_radix(&uuid, 16).unwrap())
    }

    /// Who may refer to a user.
    pub async fn inbound(&self, user: &Value) -> Option<Inbound> {
        let key = bowline_graph::inbound::key("people.test/User", Self::uid(user));
        let row = self.people.get(&key).await.unwrap().0?;
        Some(Inbound::of_row(&row).unwrap())
    }

    /// How many rows of a table a store has.
    pub async fn rows(store: &Gate, table: Table) -> usize {
        let mut snapshot = store.snapshot().await.unwrap();
        snapshot.scan(&NameRange::all(table), 1_000, false).await.unwrap().len()
    }
}

pub async fn call(engine: &Arc<Engine>, method: &str, request: Value) -> Result<Value, Status> {
    let path = format!("/{method}");
    let found = engine.registry().methods.get(&path);
    let input = found.unwrap_or_else(|| panic!("no method {path}")).descriptor.input();
    let text = request.to_string();
    let mut json = serde_json::Deserializer::from_str(&text);
    let message = DynamicMessage::deserialize(input, &mut json)
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    let answer = engine.call_unary(&path, message, Context::default()).await?;
    let options = SerializeOptions::new();
    Ok(answer.serialize_with_options(serde_json::value::Serializer, &options).unwrap())
}

/// A refusal with all that it names.
pub fn told(status: &Status) -> String {
    let mut lines = vec![format!("{}: {}", status.reason.name(), status.message)];
    for detail in &status.details {
        let Detail::Precondition(violations) = detail else { continue };
        lines.extend(
            violations.iter().map(|v| format!("{} {}: {}", v.kind, v.subject, v.description)),
        );
    }
    lines.join("\n")
}
