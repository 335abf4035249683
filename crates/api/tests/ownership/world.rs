//! A fleet for these tests: two services and the meta service in three regions, with real policy stores, joined without sockets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use bowline_api::engine::{Engine, Parts};
use bowline_api::handler::Context;
use bowline_api::inward;
use bowline_api::limits::Limits;
use bowline_api::routing::Routing;
use bowline_base::{Seams, Status};
use bowline_node::peers::{headers, unreachable};
use bowline_node::picture::ServiceInfo;
use bowline_node::{
    Answer, Call, Callers, DeploymentId, Identified, Owner, Owners, Ownership, Peers, Picture,
    Place, Policy, PolicyStore, PolicyStoreParts, Scope,
};
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_store::Backend;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::sneaky::Sneaky;

pub const REGIONS: [&str; 3] = ["ap", "eu", "us"];
pub const IAM: &str = "iam.test";
pub const DEVICES: &str = "devices.test";
pub const META: &str = "meta.goten.com";
const SERVICES: [&str; 3] = [IAM, DEVICES, META];

const IAM_PROTO: &str = r#"
syntax = "proto3";
package iam.v1;
import "google/api/resource.proto";
import "goten/types/meta.proto";
import "goten/types/multi_region_policy.proto";

message Project {
  option (google.api.resource) = {
    type: "iam.test/Project" pattern: "projects/{project}" singular: "project" plural: "projects"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
  string title = 3;
  goten.types.MultiRegionPolicy multi_region_policy = 4;
}

message Binding {
  option (google.api.resource) = {
    type: "iam.test/Binding" pattern: "projects/{project}/bindings/{binding}"
    singular: "binding" plural: "bindings"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
}
"#;

const DEVICES_PROTO: &str = r#"
syntax = "proto3";
package devices.v1;
import "bowline/annotations.proto";
import "google/api/resource.proto";
import "goten/types/meta.proto";

message Device {
  option (google.api.resource) = {
    type: "devices.test/Device" pattern: "projects/{project}/regions/{region}/devices/{device}"
    singular: "device" plural: "devices"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
  string title = 3;
  string seen = 4 [
    (google.api.resource_reference).type = "iam.test/Project",
    (bowline.reference) = { on_target_delete: UNSET mode: ASYNC }
  ];
  string bound = 5 [
    (google.api.resource_reference).type = "iam.test/Project",
    (bowline.reference) = { on_target_delete: BLOCK }
  ];
  string uplink = 6 [
    (google.api.resource_reference).type = "devices.test/Device",
    (bowline.reference) = { on_target_delete: BLOCK }
  ];
}

message Campaign {
  option (google.api.resource) = {
    type: "devices.test/Campaign" pattern: "projects/{project}/campaigns/{campaign}"
    singular: "campaign" plural: "campaigns"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
  string title = 3;
}

message Note {
  option (google.api.resource) = {
    type: "devices.test/Note" pattern: "projects/{project}/notes/{note}"
    singular: "note" plural: "notes"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
}

message Model {
  option (google.api.resource) = {
    type: "devices.test/Model" pattern: "models/{model}" singular: "model" plural: "models"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
}
"#;

/// Notes go their own ways: they are left behind when their project is deleted.
const DEVICES_MANIFEST: &str = "\
name: devices.test
versions:
  v1: { package: devices.v1, imports: { iam.test: v1 } }
resources:
  Note: { opt_outs: { constraints: true } }
";

pub fn registry() -> Arc<Registry> {
    let source = |yaml: &str, name: &str, text: &str| Source::Files {
        service_yaml: Some(yaml.to_owned()),
        files: vec![(name.to_owned(), text.to_owned())],
    };
    let loaded = load(&[
        source(
            "name: iam.test\nversions:\n  v1: { package: iam.v1 }\n",
            "iam/v1/iam.proto",
            IAM_PROTO,
        ),
        source(DEVICES_MANIFEST, "devices/v1/devices.proto", DEVICES_PROTO),
        bowline_wire::meta::source(),
    ]);
    assert_eq!(loaded.registry.services.len(), SERVICES.len(), "{:#?}", loaded.diagnostics);
    Arc::new(loaded.registry)
}

pub struct Fleet {
    pub registry: Arc<Registry>,
    pub engines: BTreeMap<&'static str, Arc<Engine>>,
    pub backends: BTreeMap<(&'static str, &'static str), Arc<Sneaky>>,
    pub network: Arc<Network>,
    pub picture: watch::Sender<Arc<Picture>>,
}

impl Fleet {
    pub fn new() -> Self {
        let registry = registry();
        let network = Arc::new(Network::default());
        let picture = watch::Sender::new(Arc::new(picture()));
        let (mut engines, mut backends) = (BTreeMap::new(), BTreeMap::new());
        for region in REGIONS {
            for service in SERVICES {
                backends.insert((region, service), Arc::<Sneaky>::default());
            }
        }
        let mut fleet = Self { registry, engines: BTreeMap::new(), backends, network, picture };
        for region in REGIONS {
            let engine = fleet.start(region, fleet.store(region));
            assert!(fleet.network.slot(region).set(engine.clone()).is_ok());
            engines.insert(region, engine);
        }
        fleet.engines = engines;
        fleet
    }

    pub fn store(&self, region: &'static str) -> Arc<PolicyStore> {
        PolicyStore::start(PolicyStoreParts {
            region: region.into(),
            services: SERVICES.map(Arc::from).to_vec(),
            registry: self.registry.clone(),
            picture: self.picture.subscribe(),
            peers: self.network.clone(),
            seams: Seams::real(),
        })
    }

    /// One more process of a region's deployments.
    pub fn start(&self, region: &'static str, owners: Arc<dyn Owners>) -> Arc<Engine> {
        let of = |service: &'static str| {
            let backend: Arc<dyn Backend> = self.backends[&(region, service)].clone();
            (service.to_owned(), backend)
        };
        let routing = Routing {
            region: region.into(),
            owners,
            peers: self.network.clone(),
            picture: self.picture.subscribe(),
        };
        Engine::start(Parts {
            registry: self.registry.clone(),
            limits: Limits::default(),
            seams: Seams::real(),
            backends: SERVICES.map(of).into(),
            actions: HashMap::new(),
            hooks: HashMap::new(),
            routing: Some(Arc::new(routing)),
            callers: Some(Arc::new(Trusting)),
        })
        .unwrap()
    }

    /// `method` is `devices.v1.DeviceService/CreateDevice`; `request` is proto3 JSON.
    pub async fn call(&self, region: &str, method: &str, request: Value) -> Result<Value, Status> {
        call(&self.engines[region], method, request).await
    }

    pub async fn project(
        &self,
        id: &str,
        control: &str,
        enabled: &[&str],
    ) -> Result<Value, Status> {
        let project = json!({ "multiRegionPolicy": policy(control, enabled) });
        let request = json!({ "projectId": id, "project": project });
        self.call("eu", "iam.v1.ProjectService/CreateProject", request).await
    }

    pub async fn set_policy(&self, id: &str, policy: Value) -> Result<Value, Status> {
        let project = json!({ "name": format!("projects/{id}"), "multiRegionPolicy": policy });
        let request = json!({ "project": project, "updateMask": "multiRegionPolicy" });
        self.call("eu", "iam.v1.ProjectService/UpdateProject", request).await
    }

    pub async fn campaign(&self, at: &str, project: &str, id: &str) -> Result<Value, Status> {
        let request =
            json!({ "parent": format!("projects/{project}"), "campaignId": id, "campaign": {} });
        self.call(at, "devices.v1.CampaignService/CreateCampaign", request).await
    }

    pub async fn note(&self, at: &str, project: &str, id: &str) -> Result<Value, Status> {
        let request = json!({ "parent": format!("projects/{project}"), "noteId": id, "note": {} });
        self.call(at, "devices.v1.NoteService/CreateNote", request).await
    }

    pub async fn device(
        &self,
        at: &str,
        project: &str,
        region: &str,
        id: &str,
    ) -> Result<Value, Status> {
        let parent = format!("projects/{project}/regions/{region}");
        let request = json!({ "parent": parent, "deviceId": id, "device": {} });
        self.call(at, "devices.v1.DeviceService/CreateDevice", request).await
    }

    /// What the picture says of a service's policy from now on; here nobody keeps it true.
    pub fn picture_policy(&self, service: &str, policy: &Policy) {
        self.picture.send_modify(|picture| {
            let picture = Arc::make_mut(picture);
            let info = picture.services.get_mut(service).unwrap();
            Arc::make_mut(info).policy = policy.clone();
        });
    }

    /// Retries what is refused only because not everybody knows of a change yet.
    pub async fn eventually(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<Value, Status>,
    ) -> Result<Value, Status> {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            match attempt().await {
                Err(status)
                    if status.code() == bowline_base::Code::Aborted
                        && tokio::time::Instant::now() < deadline =>
                {
                    tokio::task::yield_now().await;
                }
                answer => return answer,
            }
        }
    }
}

pub fn policy(control: &str, enabled: &[&str]) -> Value {
    json!({ "defaultControlRegion": control, "enabledRegions": enabled })
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

fn picture() -> Picture {
    let mut picture = Picture { is_whole: true, ..Picture::default() };
    for region in REGIONS {
        picture.regions.insert(region.into());
        for service in SERVICES {
            picture.deployments.insert(DeploymentId::new(service, region), Arc::default());
        }
    }
    for (service, imports) in [(IAM, None), (DEVICES, Some(IAM)), (META, None)] {
        let info = ServiceInfo {
            policy: Policy::new("eu", REGIONS),
            imports: imports.into_iter().map(Arc::from).collect(),
            ..ServiceInfo::default()
        };
        picture.services.insert(service.into(), Arc::new(info));
    }
    picture
}

/// The ways between regions.
#[derive(Default)]
pub struct Network {
    engines: Mutex<BTreeMap<String, Arc<OnceLock<Arc<Engine>>>>>,
    cut: Mutex<BTreeSet<String>>,
    pub calls: Mutex<Vec<String>>,
}

impl Network {
    fn slot(&self, region: &str) -> Arc<OnceLock<Arc<Engine>>> {
        self.engines.lock().unwrap().entry(region.to_owned()).or_default().clone()
    }

    /// No call reaches the region any more; streams that are open stay so.
    pub fn cut(&self, region: &str) {
        self.cut.lock().unwrap().insert(region.to_owned());
    }

    pub fn heal(&self, region: &str) {
        self.cut.lock().unwrap().remove(region);
    }
}

#[async_trait]
impl Peers for Network {
    async fn call(
        &self,
        from: &DeploymentId,
        to: &DeploymentId,
        call: Call,
    ) -> Result<Answer, Status> {
        let is_cut = self.cut.lock().unwrap().contains(&*to.region) && from.region != to.region;
        let engine = self.slot(&to.region).get().cloned();
        let Some(engine) = engine.filter(|_| !is_cut) else {
            return Err(unreachable(to, "cut off"));
        };
        let method = call.path.rsplit('/').next().unwrap_or_default();
        self.calls.lock().unwrap().push(format!("{from}>{to} {method}"));
        let call = call.with_header(headers::CALLER, format!("{from} {to}"));
        inward::serve(&engine, from, to, call).await
    }
}

struct Trusting;

#[async_trait]
impl Callers for Trusting {
    async fn identify(&self, token: &str) -> Result<Identified, Status> {
        let (from, to) = token.split_once(' ').unwrap();
        Ok(Identified { from: from.parse().unwrap(), to: to.parse().unwrap() })
    }
}

/// Believes in one owner, and has read nothing since it was told of a change.
pub struct Unread {
    pub owner: Owner,
    pub is_told: AtomicBool,
}

#[async_trait]
impl Owners for Unread {
    async fn owner(&self, _: &str, _: &Place) -> Result<Owner, Status> {
        Ok(self.owner.clone())
    }

    async fn regions(&self, _: &str, _: &Scope) -> Result<BTreeSet<Arc<str>>, Status> {
        Ok(BTreeSet::from([self.owner.region.clone()]))
    }

    fn released(&self, place: &Place) {
        self.is_told.fetch_or(place.holder.is_some(), Ordering::SeqCst);
    }

    fn is_settled(&self, _: &Place) -> bool {
        !self.is_told.load(Ordering::SeqCst)
    }

    fn doubt(&self, _: &str, _: &Place) {}
}

/// What somebody thinks who was asleep for long: the same answers for ever, whatever rows say.
pub struct Asleep(pub Owner);

#[async_trait]
impl Owners for Asleep {
    async fn owner(&self, _: &str, _: &Place) -> Result<Owner, Status> {
        Ok(self.0.clone())
    }

    async fn regions(&self, _: &str, _: &Scope) -> Result<BTreeSet<Arc<str>>, Status> {
        Ok(BTreeSet::from([self.0.region.clone()]))
    }

    fn attach(&self, _: &str, _: Arc<Ownership>) {}

    fn doubt(&self, _: &str, _: &Place) {}
}
