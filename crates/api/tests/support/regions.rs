//! A world of several regions: an engine with a store in memory in each, joined without sockets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use bowline_api::engine::{Action, ActionRequest, Engine, Parts};
use bowline_api::handler::{Context, Handler, Reply};
use bowline_api::inward;
use bowline_api::limits::Limits;
use bowline_api::routing::Routing;
use bowline_base::{Reason, Seams, Status};
use bowline_node::peers::{headers, unreachable};
use bowline_node::{
    Answer, Call, Callers, DeploymentId, Holders, Identified, Owner, Owners, Part,
    Parts as ScopeParts, Peers, Picture, Place, Policy, Scope,
};
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_store::{Backend, Memory};
use futures::StreamExt;
use prost_reflect::DynamicMessage;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{World, to_json};

pub const REGIONS: [&str; 3] = ["ap", "eu", "us"];
pub const SERVICE: &str = "test.example.com";

const PROTO: &str = r#"
syntax = "proto3";
package example.test.v1;
import "google/api/resource.proto";
import "goten/types/meta.proto";
import "goten/types/multi_region_policy.proto";

message Project {
  option (google.api.resource) = { type: "test.example.com/Project" pattern: "projects/{project}" singular: "project" plural: "projects" };
  string name = 1;
  goten.types.Meta metadata = 2;
  goten.types.MultiRegionPolicy multi_region_policy = 3;
}

message PingRequest { string name = 1; }
message PingResponse { string region = 1; }
service Operations { rpc Ping(PingRequest) returns (PingResponse); }

message Item {
  option (google.api.resource) = {
    type: "test.example.com/Item"
    pattern: "projects/{project}/items/{item}"
    pattern: "projects/{project}/regions/{region}/items/{item}"
    singular: "item" plural: "items"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
  string display_name = 3;
  int64 size = 4;
  string color = 5;
}
"#;

/// Without references: who owns what is made up here, and holders of policies are not there.
const MANIFEST: &str = "\
name: test.example.com
versions:
  v1: { package: example.test.v1 }
resources:
  Project: { opt_outs: { constraints: true } }
  Item: { opt_outs: { constraints: true } }
";

pub fn registry() -> Arc<Registry> {
    let files = vec![("v1/test.proto".to_owned(), PROTO.to_owned())];
    let loaded = load(&[Source::Files { service_yaml: Some(MANIFEST.to_owned()), files }]);
    assert!(!loaded.registry.services.is_empty(), "{:#?}", loaded.diagnostics);
    Arc::new(loaded.registry)
}

pub const PING: &str = "/example.test.v1.Operations/Ping";

/// Says where it runs.
struct Ping(&'static str);

#[async_trait]
impl Action for Ping {
    async fn call(&self, request: ActionRequest) -> Result<Reply, Status> {
        let mut reply = request.reply();
        reply.set_field_by_name("region", prost_reflect::Value::String(self.0.to_owned()));
        Ok(Reply::Unary(prost::Message::encode_to_vec(&reply).into()))
    }
}

/// Engines that reach each other, unless they are cut off.
pub struct Regions {
    pub worlds: BTreeMap<&'static str, World>,
    pub backends: BTreeMap<&'static str, Arc<dyn Backend>>,
    pub network: Arc<Network>,
    pub owners: Arc<Table>,
}

impl Regions {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        let registry = registry();
        let network = Arc::new(Network::default());
        let owners = Arc::new(Table::default());
        let picture = Arc::new(picture());
        let (mut worlds, mut backends) = (BTreeMap::new(), BTreeMap::new());
        for region in REGIONS {
            let backend: Arc<dyn Backend> = Arc::new(Memory::new());
            let routing = Routing {
                region: region.into(),
                owners: Arc::new(Of { region, table: owners.clone() }),
                peers: network.clone(),
                picture: watch::channel(picture.clone()).1,
            };
            let parts = Parts {
                registry: registry.clone(),
                limits: limits.clone(),
                seams: Seams::real(),
                backends: HashMap::from([(SERVICE.to_owned(), backend.clone())]),
                actions: HashMap::from([(
                    PING.to_owned(),
                    Arc::new(Ping(region)) as Arc<dyn Action>,
                )]),
                hooks: HashMap::new(),
                routing: Some(Arc::new(routing)),
                callers: Some(Arc::new(Trusting)),
            };
            let engine = Engine::start(parts).unwrap();
            assert!(network.engine(region).set(engine.clone()).is_ok());
            backends.insert(region, backend);
            worlds.insert(region, World::without_parents(engine));
        }
        Self { worlds, backends, network, owners }
    }

    pub fn at(&self, region: &str) -> &World {
        &self.worlds[region]
    }

    /// A request with headers, and the headers of its answer.
    pub async fn call_with(
        &self,
        region: &str,
        method: &str,
        request: Value,
        context: &Context,
    ) -> Result<Value, Status> {
        let world = self.at(region);
        let (path, message) = world.request(method, request);
        let answer = world.engine.call_unary(&path, message, context.clone()).await?;
        Ok(to_json(&answer))
    }

    /// Names of the items in one region's own store.
    pub async fn stored(&self, region: &str) -> Vec<String> {
        let mut context =
            Context { caller: Some(DeploymentId::new(SERVICE, "eu")), ..Context::default() };
        context.headers.push((headers::LOCAL.to_owned(), "1".to_owned()));
        let request = serde_json::json!({ "parent": "", "pageSize": 1000 });
        let list = self.call_with(region, "ItemService/ListItems", request, &context).await;
        super::names(&list.unwrap())
    }

    pub async fn create(
        &self,
        at: &str,
        parent: &str,
        id: &str,
        item: Value,
    ) -> Result<Value, Status> {
        let request = serde_json::json!({ "parent": parent, "itemId": id, "item": item });
        self.at(at).call("ItemService/CreateItem", request).await
    }
}

fn picture() -> Picture {
    let mut picture = Picture { is_whole: true, ..Picture::default() };
    for region in REGIONS {
        picture.regions.insert(region.into());
        picture.deployments.insert(DeploymentId::new(SERVICE, region), Arc::default());
    }
    picture
}

/// Header values that are answered or sent.
pub fn context(headers: &[(&str, &str)]) -> Context {
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Context { headers, ..Context::default() }
}

pub fn answer_header(context: &Context, name: &str) -> Option<String> {
    context.answer_headers.all().into_iter().find(|(n, _)| n == name).map(|(_, v)| v)
}

/// The ways between regions.
#[derive(Default)]
pub struct Network {
    engines: Mutex<BTreeMap<String, Arc<OnceLock<Arc<Engine>>>>>,
    /// Regions that nobody reaches.
    cut: Mutex<BTreeMap<String, CancellationToken>>,
    /// Regions that take calls and never answer.
    mute: Mutex<BTreeSet<String>>,
    /// Every call, as `from>to path headers`.
    pub calls: Mutex<Vec<String>>,
}

impl Network {
    fn engine(&self, region: &str) -> Arc<OnceLock<Arc<Engine>>> {
        self.engines.lock().unwrap().entry(region.to_owned()).or_default().clone()
    }

    /// Breaks all ways to `region`, also those in use.
    pub fn cut(&self, region: &str) {
        let mut cut = self.cut.lock().unwrap();
        cut.entry(region.to_owned()).or_default().cancel();
    }

    pub fn heal(&self, region: &str) {
        self.cut.lock().unwrap().remove(region);
    }

    /// Lets calls to `region` go unanswered.
    pub fn mute(&self, region: &str) {
        self.mute.lock().unwrap().insert(region.to_owned());
    }

    fn cut_of(&self, region: &str) -> CancellationToken {
        self.cut.lock().unwrap().entry(region.to_owned()).or_default().clone()
    }

    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
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
        let (cut, away) = (self.cut_of(&to.region), unreachable(to, "cut off"));
        if cut.is_cancelled() {
            return Err(away);
        }
        if self.mute.lock().unwrap().contains(&*to.region) {
            std::future::pending::<()>().await;
        }
        let ours = [headers::FORWARDED, headers::LOCAL, headers::PART];
        let said = ours.iter().filter(|name| call.header(name).is_some());
        let said: Vec<_> = said.map(|name| name.trim_start_matches("bowline-")).collect();
        let method = call.path.rsplit('/').next().unwrap_or_default().to_owned();
        let line = format!("{}>{} {method} {}", from.region, to.region, said.join(","));
        self.calls.lock().unwrap().push(line);
        let call = call.with_header(headers::CALLER, format!("{from} {to}"));
        let engine = self.engine(&to.region).get().unwrap().clone();
        match inward::serve(&engine, from, to, call).await? {
            Answer::Stream(messages) => {
                let messages = messages.map(Some).chain(futures::stream::iter([None]));
                let broken = futures::stream::once(async move {
                    cut.cancelled().await;
                    Some(Err(away))
                });
                let both = futures::stream::select(messages, broken.boxed());
                let ended = both.scan(false, |over, message| {
                    let message = message.filter(|_| !*over);
                    *over = message.as_ref().is_none_or(Result::is_err);
                    futures::future::ready(message)
                });
                Ok(Answer::Stream(ended.boxed()))
            }
            unary => Ok(unary),
        }
    }
}

/// Believes everybody.
struct Trusting;

#[async_trait]
impl Callers for Trusting {
    async fn identify(&self, token: &str) -> Result<Identified, Status> {
        let (from, to) = token.split_once(' ').unwrap();
        Ok(Identified { from: from.parse().unwrap(), to: to.parse().unwrap() })
    }
}

/// Who owns what, as everybody knows it, with what single regions wrongly think.
#[derive(Default)]
pub struct Table {
    /// By the id of the project: the control region of what is below it; `eu` unless it is here.
    pub projects: Mutex<BTreeMap<String, &'static str>>,
    /// `(region, project)`: what that region thinks until it doubts.
    pub mistaken: Mutex<BTreeMap<(String, String), &'static str>>,
    /// Regions in which lists look, if not in all.
    pub enabled: Mutex<Option<BTreeSet<Arc<str>>>>,
}

struct Of {
    region: &'static str,
    table: Arc<Table>,
}

impl Of {
    fn key(&self, place: &Place) -> (String, String) {
        (self.region.to_owned(), place.holder.as_ref().map_or("", |h| &h.name).to_owned())
    }

    fn region_of(&self, place: &Place) -> Arc<str> {
        if let Part::Region(region) = &place.part {
            return region.clone();
        }
        let key = self.key(place);
        let mistaken = self.table.mistaken.lock().unwrap().get(&key).copied();
        let known = self.table.projects.lock().unwrap().get(&key.1).copied();
        mistaken.or(known).unwrap_or("eu").into()
    }
}

#[async_trait]
impl Owners for Of {
    async fn owner(&self, _: &str, place: &Place) -> Result<Owner, Status> {
        if place.holder.as_ref().is_some_and(|h| &*h.name == "projects/nowhere") {
            return Err(Status::new(Reason::ResourceNotFound, "no project projects/nowhere"));
        }
        let policy = Policy {
            enabled_regions: REGIONS.map(Arc::from).to_vec(),
            control_region: "eu".into(),
            ..Policy::default()
        };
        Ok(Owner {
            region: self.region_of(place),
            epoch: 1,
            policy: Arc::new(policy),
            is_deleting: false,
        })
    }

    async fn regions(&self, service: &str, scope: &Scope) -> Result<BTreeSet<Arc<str>>, Status> {
        match (&scope.holders, &scope.parts) {
            (Holders::One(holder), ScopeParts::One(part)) => {
                let place = Place { holder: Some(holder.clone()), part: part.clone() };
                Ok(BTreeSet::from([self.owner(service, &place).await?.region]))
            }
            (_, ScopeParts::One(Part::Region(region))) => Ok(BTreeSet::from([region.clone()])),
            _ => {
                let enabled = self.table.enabled.lock().unwrap().clone();
                Ok(enabled.unwrap_or_else(|| REGIONS.map(Arc::from).into()))
            }
        }
    }

    fn doubt(&self, _: &str, place: &Place) {
        self.table.mistaken.lock().unwrap().remove(&self.key(place));
    }
}

/// Opens a stream and gives its context, for the headers of the answer.
pub async fn stream_with(
    world: &World,
    method: &str,
    request: Value,
) -> Result<(super::Messages, Context), Status> {
    let (path, message): (String, DynamicMessage) = world.request(method, request);
    let method = world.engine.registry().methods[&path].clone();
    let context = Context::default();
    match world.engine.call(&method, message, context.clone()).await? {
        Reply::Stream(stream) => {
            let (output, opened) = (method.descriptor.output(), tokio::time::Instant::now());
            Ok((super::Messages { stream, output, opened }, context))
        }
        Reply::Unary(_) => panic!("{path} does not stream"),
    }
}
