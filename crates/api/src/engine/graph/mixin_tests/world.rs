//! An engine that is alone, with an owner (`iam.test`, two versions), a source (`devices.test`), and a stranger to both.
//! Rows are written as saves would write them.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bowline_base::{Reason, Seams, Status};
use bowline_graph::{Aside, Behaviour, Epoch, Held, Inbound, TargetName, inbound};
use bowline_node::peers::unreachable;
use bowline_node::{Call, DeploymentId, Owner, Owners, Peers, Picture, Place, Scope};
use bowline_resource::document::Document;
use bowline_resource::metadata::{Meta, ServicesInfo};
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_store::{
    Backend, Batch, Changes, CommitError, Key, Memory, Position, Row, RowId, Snapshot, StoreError,
    Write,
};
use bowline_wire::bowline::mixin::v1 as wire;
use prost::Message;
use prost_reflect::DynamicMessage;
use tokio::sync::watch;

use crate::engine::{Deployment, Engine, Parts, shape_key_of};
use crate::handler::{Context, Reply};
use crate::limits::Limits;
use crate::routing::Routing;

pub(super) const IAM: &str = "iam.test";
pub(super) const DEVICES: &str = "devices.test";
pub(super) const STRANGER: &str = "stranger.test";
const SERVICES: [&str; 3] = [IAM, DEVICES, STRANGER];

const IAM_V1: &str = r#"
syntax = "proto3";
package iam.v1;
import "google/api/resource.proto";
import "goten/types/meta.proto";
message Project {
  option (google.api.resource) = { type: "iam.test/Project" pattern: "projects/{project}" };
  string name = 1;
  goten.types.Meta metadata = 2;
}
message Key {
  option (google.api.resource) = { type: "iam.test/Key" pattern: "keys/{key}" };
  string name = 1;
}
message Note {
  option (google.api.resource) = { type: "iam.test/Note" pattern: "notes/{note}" };
  string name = 1;
}
"#;

const IAM_V2: &str = r#"
syntax = "proto3";
package iam.v2;
import "google/api/resource.proto";
import "goten/types/meta.proto";
message Tenant {
  option (google.api.resource) = { type: "iam.test/Tenant" pattern: "tenants/{tenant}" };
  string name = 1;
  goten.types.Meta metadata = 2;
}
message Key {
  option (google.api.resource) = { type: "iam.test/Key" pattern: "regions/{region}/keys/{key}" };
  string name = 1;
}
"#;

const UPGRADE: &str = "
types:
  Project:
    becomes: Tenant
    names:
      - { from: 'projects/{project}', to: 'tenants/{project}' }
  Key:
    names:
      - from: keys/{key}
        to: regions/{region}/keys/{key}
        with: { region: control_region }
removed: [Note]
";

const DEVICES_V1: &str = r#"
syntax = "proto3";
package devices.v1;
import "google/api/resource.proto";
import "goten/types/meta.proto";
message Device {
  option (google.api.resource) = { type: "devices.test/Device" pattern: "devices/{device}" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string project = 3 [(google.api.resource_reference).type = "iam.test/Project"];
}
"#;

const STRANGER_V1: &str = r#"
syntax = "proto3";
package stranger.v1;
import "google/api/resource.proto";
message Thing {
  option (google.api.resource) = { type: "stranger.test/Thing" pattern: "things/{thing}" };
  string name = 1;
}
"#;

fn registry() -> Registry {
    let source = |yaml: &str, files: &[(&str, &str)]| Source::Files {
        service_yaml: Some(yaml.to_owned()),
        files: files.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect(),
    };
    let loaded = load(&[
        source(
            "name: iam.test\nversions:\n  v1: { package: iam.v1 }\n  v2: { package: iam.v2 }\n",
            &[("v1/a.proto", IAM_V1), ("v2/a.proto", IAM_V2), ("upgrades/v1-v2.yaml", UPGRADE)],
        ),
        source(
            "name: devices.test\nversions:\n  v1: { package: devices.v1, imports: { iam.test: v1 } }\nresources: { Device: { async_deletion: true } }\n",
            &[("v1/d.proto", DEVICES_V1)],
        ),
        source(
            "name: stranger.test\nversions:\n  v1: { package: stranger.v1 }\n",
            &[("v1/s.proto", STRANGER_V1)],
        ),
    ]);
    assert_eq!(loaded.registry.services.len(), SERVICES.len(), "{:#?}", loaded.diagnostics);
    loaded.registry
}

/// A store in memory that counts commits of the graph's own rows, and lets something happen just before the next of them.
#[derive(Debug, Default)]
pub(super) struct Store {
    inner: Memory,
    commits: AtomicUsize,
    before: Mutex<Vec<Write>>,
}

impl Store {
    /// How many commits wrote inbound parts or fences since the last call.
    pub(super) fn take_commits(&self) -> usize {
        self.commits.swap(0, Ordering::SeqCst)
    }

    /// What somebody else writes just before the next such commit.
    pub(super) fn happens_before(&self, write: Write) {
        self.before.lock().unwrap().push(write);
    }

    pub(super) async fn write(&self, write: Write) {
        self.inner.commit(Batch { conditions: vec![], writes: vec![write] }).await.unwrap();
    }
}

fn is_of_graph(write: &Write) -> bool {
    let Write::Put { key, .. } = write else { return false };
    key.table.kind.starts_with("~inbound/") || &*key.table.kind == "~fence"
}

#[async_trait]
impl Backend for Store {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.snapshot().await
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.inner.get(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        if !batch.writes.iter().any(is_of_graph) {
            return self.inner.commit(batch).await;
        }
        let before = std::mem::take(&mut *self.before.lock().unwrap());
        for write in before {
            self.write(write).await;
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(batch).await
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

pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    /// Of the owner.
    pub(super) iam: Arc<Store>,
    /// Of the source.
    pub(super) devices: Arc<Store>,
}

/// Who owns projects, as far as anybody knows.
#[derive(Debug)]
pub(super) struct Owned(Mutex<Result<(&'static str, u64), Reason>>);

impl Owned {
    pub(super) fn set(&self, by: Result<(&'static str, u64), Reason>) {
        *self.0.lock().unwrap() = by;
    }
}

#[async_trait]
impl Owners for Owned {
    async fn owner(&self, _: &str, _: &Place) -> Result<Owner, Status> {
        match *self.0.lock().unwrap() {
            Ok((region, epoch)) => Ok(Owner {
                region: region.into(),
                epoch,
                policy: Arc::default(),
                is_deleting: false,
            }),
            Err(reason) => Err(Status::new(reason, "nobody knows")),
        }
    }

    async fn regions(&self, _: &str, _: &Scope) -> Result<BTreeSet<Arc<str>>, Status> {
        Ok(BTreeSet::new())
    }

    fn doubt(&self, _: &str, _: &Place) {}
}

/// Nobody can be reached.
struct Alone;

#[async_trait]
impl Peers for Alone {
    async fn call(
        &self,
        _: &DeploymentId,
        to: &DeploymentId,
        _: Call,
    ) -> Result<bowline_node::Answer, Status> {
        Err(unreachable(to, "there is nobody"))
    }
}

impl World {
    /// An engine that is alone.
    pub(super) fn new() -> Self {
        Self::with(None)
    }

    /// The engine of region `eu` among others.
    pub(super) fn routed(picture: Picture) -> (Self, Arc<Owned>) {
        let owners = Arc::new(Owned(Mutex::new(Ok(("eu", 5)))));
        let picture = watch::Sender::new(Arc::new(picture)).subscribe();
        let routing = Routing {
            region: "eu".into(),
            owners: owners.clone(),
            peers: Arc::new(Alone),
            picture,
        };
        (Self::with(Some(Arc::new(routing))), owners)
    }

    fn with(routing: Option<Arc<Routing>>) -> Self {
        let stores = SERVICES.map(|service| (service, Arc::<Store>::default()));
        let backends = stores
            .iter()
            .map(|(service, store)| ((*service).to_owned(), store.clone() as Arc<dyn Backend>));
        let parts = Parts {
            registry: Arc::new(registry()),
            limits: Limits::default(),
            seams: Seams::real(),
            backends: backends.collect(),
            actions: HashMap::new(),
            hooks: HashMap::new(),
            routing,
            callers: None,
        };
        let [(_, iam), (_, devices), _] = stores;
        Self { engine: Engine::start(parts).unwrap(), iam, devices }
    }

    pub(super) fn deployment(&self, service: &str) -> &Arc<Deployment> {
        self.engine.deployments.iter().find(|d| &*d.service == service).unwrap()
    }

    /// A row as a save writes it.
    pub(super) fn row(
        &self,
        target: &TargetName,
        uid: u128,
        meta: &Meta,
        held: Vec<Held>,
    ) -> Write {
        let shape = &self.engine.shapes[&shape_key_of(&target.kind, &target.version)];
        let body = DynamicMessage::new(shape.ty.message.clone());
        let mut document = Document::new(shape.ty.clone(), body);
        document.set_name(&*target.name);
        document.set_meta(meta);
        let extract = shape.extract(&document, RowId(uid), &held, meta.is_deleting());
        let (body, metadata) = document.encode();
        let aside = Aside { metadata, references: held }.encode();
        let row = Row { id: RowId(uid), aside, extract, ..Row::new(1, body) };
        Write::put(shape.key(&target.name), row)
    }

    /// A project that is there.
    pub(super) async fn project(&self, name: &str, uid: u128) {
        self.iam.write(self.row(&project(name), uid, &Meta::default(), vec![])).await;
    }

    /// A project that says which services may refer to it.
    pub(super) async fn project_allowing(&self, name: &str, uid: u128, services: &[&str]) {
        let allowed_services = services.iter().map(|s| (*s).to_owned()).collect();
        let services = ServicesInfo { owning_service: IAM.to_owned(), allowed_services };
        let meta = Meta { services: Some(services), ..Meta::default() };
        self.iam.write(self.row(&project(name), uid, &meta, vec![])).await;
    }

    /// A device that is being deleted and held by a finaliser.
    pub(super) fn marked_device(&self, name: &str, uid: u128, held: Vec<Held>) -> Write {
        let target = TargetName::new("devices.test/Device", "v1", format!("devices/{name}"));
        let meta = Meta { finalizers: vec!["f".to_owned()], ..Meta::default() };
        self.row(&target, uid, &meta.on_deletion(jiff::Timestamp::UNIX_EPOCH, 2), held)
    }

    /// A device that refers to a project of this uid.
    pub(super) fn device(&self, name: &str, uid: u128, held: Vec<Held>) -> Write {
        let target = TargetName::new("devices.test/Device", "v1", format!("devices/{name}"));
        self.row(&target, uid, &Meta::default(), held)
    }

    pub(super) async fn inbound(&self, uid: u128) -> Option<Inbound> {
        let key = inbound::key("iam.test/Project", RowId(uid));
        let (row, _) = self.iam.get(&key).await.unwrap();
        row.map(|row| Inbound::of_row(&row).unwrap())
    }

    pub(super) async fn set_inbound(&self, uid: u128, inbound: &Inbound) {
        let key = inbound::key("iam.test/Project", RowId(uid));
        self.iam.write(Write::put(key, inbound.row(99))).await;
    }

    /// Calls a method of the mixin of `callee` as `caller`.
    pub(super) async fn ask<A: Message + Default>(
        &self,
        caller: Option<&DeploymentId>,
        callee: &str,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Status> {
        let context = Context {
            caller: caller.cloned(),
            callee: Some(DeploymentId::new(callee, "")),
            ..Context::default()
        };
        let request = request.encode_to_vec().into();
        match self.engine.answer_mixin(path, request, &context).await? {
            Reply::Unary(message) => Ok(A::decode(message).unwrap()),
            Reply::Stream(_) => panic!("{path} streams"),
        }
    }

    /// What `caller` is answered by `iam.test`.
    pub(super) async fn establish(
        &self,
        caller: &DeploymentId,
        wanted: Vec<wire::establish_references_request::Wanted>,
    ) -> Result<wire::EstablishReferencesResponse, Status> {
        let request = wire::EstablishReferencesRequest { wanted, is_dry: false };
        self.ask(Some(caller), IAM, wire::method::ESTABLISH_REFERENCES, &request).await
    }

    /// What `iam.test` is answered by `devices.test`.
    pub(super) async fn check(
        &self,
        path: &str,
        questions: Vec<wire::check_request::Question>,
    ) -> Result<Vec<wire::check_response::Holding>, Status> {
        let request = wire::CheckRequest { questions };
        let iam = DeploymentId::new(IAM, "");
        let answer: Result<wire::CheckResponse, _> =
            self.ask(Some(&iam), DEVICES, path, &request).await;
        answer.map(|answer| answer.holdings)
    }
}

pub(super) fn project(name: &str) -> TargetName {
    TargetName::new("iam.test/Project", "v1", format!("projects/{name}"))
}

pub(super) fn devices() -> DeploymentId {
    DeploymentId::new(DEVICES, "")
}

pub(super) fn held(target: &TargetName, uid: u128, behaviour: Behaviour) -> Held {
    Held {
        path: "project".to_owned(),
        target: target.clone(),
        behaviour,
        is_sync: false,
        uid: RowId(uid),
        region: None,
    }
}

pub(super) fn want(
    target: &TargetName,
    blockade: u8,
) -> wire::establish_references_request::Wanted {
    wire::establish_references_request::Wanted {
        target: Some(target.into()),
        behaviour: wire::Behaviour::Block.into(),
        fence: None,
        blockade_id: vec![blockade; 16],
    }
}

pub(super) fn question(
    target: &TargetName,
    uid: u128,
    number: u64,
) -> wire::check_request::Question {
    let versioned = |version: &str, kind: &str, name: String| wire::VersionedName {
        version: version.to_owned(),
        kind: kind.to_owned(),
        name,
    };
    let tenant = target.name.replace("projects/", "tenants/");
    wire::check_request::Question {
        uid: uid.to_be_bytes().to_vec(),
        epoch: Some(Epoch { ownership: 1, era: 1, number }.into()),
        names: vec![target.into(), versioned("v2", "iam.test/Tenant", tenant)],
    }
}
