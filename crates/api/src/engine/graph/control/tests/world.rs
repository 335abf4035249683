//! Three services in one engine: nodes; apps that refer to nodes; widgets of a third service that refer to apps and nodes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::{Seams, Status};
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_store::{
    Backend, Batch, Changes, CommitError, Key, Memory, NameRange, NamedRow, Position, Row,
    Snapshot, StoreError, Table,
};
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::engine::{Deployment, Engine, Parts};
use crate::handler::Context;
use crate::limits::Limits;

pub(super) const BASE: &str = "base.test";
pub(super) const USERS: &str = "users.test";
pub(super) const OUTER: &str = "outer.test";
pub(super) const SERVICES: [&str; 3] = [BASE, USERS, OUTER];
/// Nothing under test takes that long.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

const BASE_PROTO: &str = r#"
syntax = "proto3";
package base.v1;
import "bowline/annotations.proto";
import "google/api/resource.proto";
import "goten/types/meta.proto";

message Node {
  option (google.api.resource) = { type: "base.test/Node" pattern: "nodes/{node}" singular: "node" plural: "nodes" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string cascade = 3 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: CASCADE mode: ASYNC }];
}
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
  string cascade = 3 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: CASCADE mode: ASYNC }];
  repeated string unset = 4 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: UNSET mode: ASYNC }];
  string blocked = 5 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: BLOCK }];
}
"#;

const OUTER_PROTO: &str = r#"
syntax = "proto3";
package outer.v1;
import "bowline/annotations.proto";
import "google/api/resource.proto";
import "goten/types/meta.proto";

message Widget {
  option (google.api.resource) = { type: "outer.test/Widget" pattern: "widgets/{widget}" singular: "widget" plural: "widgets" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string cascade = 3 [(google.api.resource_reference).type = "users.test/App", (bowline.reference) = { on_target_delete: CASCADE mode: ASYNC }];
  string blocked = 4 [(google.api.resource_reference).type = "users.test/App", (bowline.reference) = { on_target_delete: BLOCK }];
  string node = 5 [(google.api.resource_reference).type = "base.test/Node", (bowline.reference) = { on_target_delete: CASCADE mode: ASYNC }];
}
"#;

fn registry() -> Arc<Registry> {
    let source = |name: &str, proto: &str, rest: &str| Source::Files {
        service_yaml: Some(format!("name: {name}\nversions:\n  v1: {{ {rest} }}\n")),
        files: vec![("v1/all.proto".to_owned(), proto.to_owned())],
    };
    let loaded = load(&[
        source(BASE, BASE_PROTO, "package: base.v1"),
        source(USERS, USERS_PROTO, "package: users.v1, imports: { base.test: v1 }"),
        source(OUTER, OUTER_PROTO, "package: outer.v1, imports: { base.test: v1, users.test: v1 }"),
    ]);
    assert_eq!(loaded.registry.services.len(), 3, "{:#?}", loaded.diagnostics);
    Arc::new(loaded.registry)
}

/// A store in memory that can fall silent, so that reads do not come back before it speaks again, or fail.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) inner: Memory,
    is_mute: AtomicBool,
    fails: AtomicBool,
    spoke: tokio::sync::Notify,
    /// Fall silent, or fail, with the commit that brings a deletion to this store.
    pub(super) mutes: OnceLock<Arc<Store>>,
    pub(super) breaks: OnceLock<Arc<Store>>,
}

impl Store {
    pub(super) fn speak(&self) {
        self.is_mute.store(false, Ordering::SeqCst);
        self.fails.store(false, Ordering::SeqCst);
        self.spoke.notify_waiters();
    }

    async fn listen(&self) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("broken by the test".into()));
        }
        loop {
            let spoke = self.spoke.notified();
            if !self.is_mute.load(Ordering::SeqCst) {
                return Ok(());
            }
            spoke.await;
        }
    }
}

#[async_trait]
impl Backend for Store {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.listen().await?;
        self.inner.snapshot().await
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.listen().await?;
        self.inner.get(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        let is_deletion = batch
            .writes
            .iter()
            .filter_map(bowline_store::batch::key_of)
            .any(|key| &*key.table.namespace == bowline_graph::deletion::NAMESPACE);
        let committed = self.inner.commit(batch).await;
        if let (true, Some(other)) = (is_deletion, self.mutes.get()) {
            other.is_mute.store(true, Ordering::SeqCst);
        }
        if let (true, Some(other)) = (is_deletion, self.breaks.get()) {
            other.fails.store(true, Ordering::SeqCst);
        }
        committed
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        self.inner.changes(after, limit).await
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        self.inner.start_at(position).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.inner.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}

/// One process; others can be started over the same stores.
pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    pub(super) stores: HashMap<&'static str, Arc<Store>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::over(SERVICES.map(|service| (service, Arc::default())).into())
    }

    pub(super) fn over(stores: HashMap<&'static str, Arc<Store>>) -> Self {
        let backend = |(service, store): (&&str, &Arc<Store>)| {
            let backend: Arc<dyn Backend> = store.clone();
            ((*service).to_owned(), backend)
        };
        let parts = Parts {
            registry: registry(),
            limits: Limits::default(),
            seams: Seams::real(),
            backends: stores.iter().map(backend).collect(),
            actions: HashMap::new(),
            hooks: HashMap::new(),
            routing: None,
            callers: None,
        };
        Self { engine: Engine::start(parts).unwrap(), stores }
    }

    pub(super) fn another(&self) -> Self {
        Self::over(self.stores.clone())
    }

    pub(super) fn deployment(&self, service: &str) -> &Arc<Deployment> {
        self.engine.deployments.iter().find(|d| *d.service == *service).unwrap()
    }

    /// `method` is `users.v1.AppService/CreateApp`.
    async fn call(&self, method: &str, request: Value) -> Result<Value, Status> {
        let path = format!("/{method}");
        let input = self.engine.registry().methods[&path].descriptor.input();
        let text = request.to_string();
        let mut json = serde_json::Deserializer::from_str(&text);
        let message = DynamicMessage::deserialize(input, &mut json)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let answer = self.engine.call_unary(&path, message, Context::default()).await?;
        let options = SerializeOptions::new();
        Ok(answer.serialize_with_options(serde_json::value::Serializer, &options).unwrap())
    }

    pub(super) async fn node(&self, id: &str, node: Value) -> Result<Value, Status> {
        self.call("base.v1.NodeService/CreateNode", json!({ "nodeId": id, "node": node })).await
    }

    pub(super) async fn app(&self, id: &str, app: Value) -> Result<Value, Status> {
        self.call("users.v1.AppService/CreateApp", json!({ "appId": id, "app": app })).await
    }

    pub(super) async fn widget(&self, id: &str, widget: Value) -> Result<Value, Status> {
        let request = json!({ "widgetId": id, "widget": widget });
        self.call("outer.v1.WidgetService/CreateWidget", request).await
    }

    /// `nodes/n`, `apps/a`, `widgets/w`.
    pub(super) async fn get(&self, name: &str) -> Option<Value> {
        let got = self.call(&method("Get", name), json!({ "name": name })).await;
        got.ok()
    }

    pub(super) async fn delete(&self, name: &str) -> Result<Value, Status> {
        self.call(&method("Delete", name), json!({ "name": name })).await
    }

    pub(super) async fn is_gone(&self, name: &str) {
        let gone = || async { self.get(name).await.is_none().then_some(()) };
        let found =
            bowline_testkit::eventually(&format!("{name} to be gone"), PATIENCE, gone).await;
        self.unless_told(found).await;
    }

    /// Rows of a service that are there only as long as something is to be done.
    pub(super) async fn unfinished(&self, service: &str) -> Vec<String> {
        let mut left = Vec::new();
        for table in self.tables(service).await {
            let is_unfinished = &*table.namespace == "deletions"
                || table.namespace.starts_with("~alias")
                || &*table.kind == "~task";
            if is_unfinished {
                let rows = self.rows(service, &table).await;
                left.extend(rows.iter().map(|(name, _)| format!("{} {name}", table.kind)));
            }
        }
        left
    }

    pub(super) async fn rows(&self, service: &str, table: &Table) -> Vec<NamedRow> {
        let mut snapshot = self.stores[service].inner.snapshot().await.unwrap();
        snapshot.scan(&NameRange::all(table.clone()), 10_000, false).await.unwrap()
    }

    pub(super) async fn tables(&self, service: &str) -> Vec<Table> {
        self.stores[service].inner.snapshot().await.unwrap().tables().await.unwrap()
    }

    /// Waits until nothing is left to be done anywhere.
    pub(super) async fn is_finished(&self) {
        let finished = || async {
            for service in SERVICES {
                if !self.unfinished(service).await.is_empty() {
                    return None;
                }
            }
            Some(())
        };
        let found = bowline_testkit::eventually("all to be finished", PATIENCE, finished).await;
        self.unless_told(found).await;
    }

    /// Waits until the controllers tell something that contains this.
    pub(super) async fn tells(&self, text: &str) {
        let told = || async { self.status().contains(text).then_some(()) };
        let found = bowline_testkit::eventually(&format!("told: {text}"), PATIENCE, told).await;
        self.unless_told(found).await;
    }

    pub(super) fn status(&self) -> String {
        let all = self.engine.controllers().into_iter();
        let lines = all.flat_map(|(service, queues)| {
            queues.into_iter().map(move |status| format!("{service}: {status}\n"))
        });
        lines.collect()
    }

    async fn unless_told(&self, found: Result<(), bowline_testkit::TimedOut>) {
        if let Err(error) = found {
            let mut left = Vec::new();
            for service in SERVICES {
                left.extend(self.unfinished(service).await);
            }
            panic!("{error}\n{}{left:#?}", self.status());
        }
    }
}

fn method(verb: &str, name: &str) -> String {
    match name.split_once('/') {
        Some(("nodes", _)) => format!("base.v1.NodeService/{verb}Node"),
        Some(("apps", _)) => format!("users.v1.AppService/{verb}App"),
        _ => format!("outer.v1.WidgetService/{verb}Widget"),
    }
}
