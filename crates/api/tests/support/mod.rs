//! A world for API tests: an engine over an inline schema, and requests written as JSON.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "each test binary uses its own part"
)]

pub mod meddler;
pub mod regions;
pub mod wait;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bowline_api::engine::explain::Explain;
use bowline_api::engine::{Engine, Parts};
use bowline_api::handler::{Context, Handler, Reply};
use bowline_api::limits::Limits;
use bowline_base::{Code, Seams, Status};
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_store::{Backend, Memory};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;

pub const SERVICE: &str = "example.test.v1";

const PROTO: &str = r#"
syntax = "proto3";
package example.test.v1;
import "google/api/field_behavior.proto";
import "google/api/resource.proto";
import "goten/types/meta.proto";

message Project {
  option (google.api.resource) = { type: "test.example.com/Project" pattern: "projects/{project}" singular: "project" plural: "projects" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string title = 3;
}

message Item {
  option (google.api.resource) = { type: "test.example.com/Item" pattern: "projects/{project}/items/{item}" singular: "item" plural: "items" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string display_name = 3;
  int64 size = 4;
  string color = 5;
  string state = 6 [(google.api.field_behavior) = OUTPUT_ONLY];
  string serial = 7 [(google.api.field_behavior) = IMMUTABLE];
  string friend = 8 [(google.api.resource_reference) = { type: "test.example.com/Item" }];
  repeated string notes = 9;
}
"#;

const MANIFEST: &str = "name: test.example.com\nversions:\n  v1: { package: example.test.v1 }\n";

/// An engine with one service in memory.
pub struct World {
    pub engine: Arc<Engine>,
    /// Projects that are there because something was saved below them; `None`: nobody asks for them.
    projects: Option<tokio::sync::Mutex<BTreeSet<String>>>,
}

pub fn registry() -> Arc<Registry> {
    let files = vec![("v1/test.proto".to_owned(), PROTO.to_owned())];
    let loaded = load(&[Source::Files { service_yaml: Some(MANIFEST.to_owned()), files }]);
    assert!(!loaded.registry.services.is_empty(), "{:#?}", loaded.diagnostics);
    Arc::new(loaded.registry)
}

impl World {
    pub fn new() -> Self {
        Self::with(Arc::new(Memory::new()), Limits::default())
    }

    pub fn with(backend: Arc<dyn Backend>, limits: Limits) -> Self {
        Self::of(registry(), backend, limits)
    }

    /// A world of the one service of `registry`.
    pub fn of(registry: Arc<Registry>, backend: Arc<dyn Backend>, limits: Limits) -> Self {
        let parts = Parts {
            registry,
            limits,
            seams: Seams::real(),
            backends: HashMap::from([("test.example.com".to_owned(), backend)]),
            actions: HashMap::new(),
            hooks: HashMap::new(),
            routing: None,
            callers: None,
        };
        Self::around(Engine::start(parts).unwrap())
    }

    pub fn around(engine: Arc<Engine>) -> Self {
        Self { engine, projects: Some(tokio::sync::Mutex::default()) }
    }

    /// A world whose schema has no constraints, so that parents need not be there.
    pub fn without_parents(engine: Arc<Engine>) -> Self {
        Self { engine, projects: None }
    }

    /// Makes the project that an item is saved below: a parent has to be there.
    async fn make_parent(&self, method: &str, request: &Value) {
        let below = match method {
            "ItemService/CreateItem" => request["parent"].as_str(),
            "ItemService/UpdateItem" => request["item"]["name"].as_str(),
            _ => None,
        };
        let mut parts = below.unwrap_or_default().split('/');
        let (Some("projects"), Some(id)) = (parts.next(), parts.next()) else { return };
        let create = format!("/{SERVICE}.ProjectService/CreateProject");
        let is_known = self.engine.registry().methods.contains_key(&create);
        let Some(projects) = self.projects.as_ref().filter(|_| is_known) else { return };
        let mut projects = projects.lock().await;
        if projects.insert(id.to_owned()) {
            let request = serde_json::json!({ "projectId": id, "project": {} });
            let (path, message) = self.request("ProjectService/CreateProject", request);
            match self.engine.call_unary(&path, message, Context::default()).await {
                // Another process may have made it.
                Err(status) if status.code() != Code::AlreadyExists => panic!("{status}"),
                _ => {}
            }
        }
    }

    /// `method` is `ItemService/CreateItem`; `request` is proto3 JSON.
    pub async fn call(&self, method: &str, request: Value) -> Result<Value, Status> {
        self.make_parent(method, &request).await;
        let (path, message) = self.request(method, request);
        let answer = self.engine.call_unary(&path, message, Context::default()).await?;
        Ok(to_json(&answer))
    }

    /// The answer, and how it was read.
    pub async fn call_explained(
        &self,
        method: &str,
        request: Value,
    ) -> (Result<Value, Status>, Value) {
        let (path, message) = self.request(method, request);
        let context = Context { explain: Explain::of_header(Some("true")), ..Context::default() };
        let answer = self.engine.call_unary(&path, message, context.clone()).await;
        let explained = context.explain.header().unwrap_or("null");
        (answer.map(|answer| to_json(&answer)), serde_json::from_str(explained).unwrap())
    }

    pub async fn stream(&self, method: &str, request: Value) -> Result<Messages, Status> {
        let (path, message) = self.request(method, request);
        let method = self.engine.registry().methods[&path].clone();
        match self.engine.call(&method, message, Context::default()).await? {
            Reply::Stream(stream) => {
                let (output, opened) = (method.descriptor.output(), tokio::time::Instant::now());
                Ok(Messages { stream, output, opened })
            }
            Reply::Unary(_) => panic!("{path} does not stream"),
        }
    }

    fn request(&self, method: &str, request: Value) -> (String, DynamicMessage) {
        let path = format!("/{SERVICE}.{method}");
        let found = self.engine.registry().methods.get(&path);
        let input = found.unwrap_or_else(|| panic!("no method {path}")).descriptor.input();
        let text = request.to_string();
        let mut json = serde_json::Deserializer::from_str(&text);
        let message = DynamicMessage::deserialize(input, &mut json)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        (path, message)
    }

    pub async fn create_item(&self, id: &str, item: Value) -> Result<Value, Status> {
        let request = serde_json::json!({ "parent": "projects/p", "itemId": id, "item": item });
        self.call("ItemService/CreateItem", request).await
    }

    pub async fn list(&self, request: Value) -> Result<Value, Status> {
        self.call("ItemService/ListItems", request).await
    }
}

pub fn to_json(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new();
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// A stream of watch messages, as JSON.
pub struct Messages {
    stream: BoxStream<'static, Result<Bytes, Status>>,
    output: prost_reflect::MessageDescriptor,
    opened: tokio::time::Instant,
}

/// Longest life of a stream under test: one that never gets where it should fails, it does not hang.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

impl Messages {
    /// The next message; fails the test once the stream is older than its longest life.
    pub async fn next(&mut self) -> Option<Result<Value, Status>> {
        let next = tokio::time::timeout_at(self.opened + PATIENCE, self.stream.next()).await;
        let next = next.expect("the stream gets in time to where it should")?;
        Some(
            next.map(|bytes| to_json(&DynamicMessage::decode(self.output.clone(), bytes).unwrap())),
        )
    }

    /// The next message, which must be there and no error.
    pub async fn expect(&mut self) -> Value {
        self.next().await.expect("the stream goes on").expect("no error")
    }
}

/// Names in a list response.
pub fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["name"].as_str().unwrap_or_default().to_owned()).collect()
}
