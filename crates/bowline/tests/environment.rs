//! Deployments among each other over real sockets, each started by itself as `bowline serve` does: what goes on while the
//! meta service is away, and how soon its news arrive once it is back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bowline::{Config, Context, DynamicMessage, Fleet, ReflectMessage, Status};
use bowline_api::handler::{Handler, Reply};
use bowline_node::environment::Patience;
use bowline_node::{DeploymentId, Picture};
use bowline_wire::meta::SERVICE as META;
use serde_json::{Value, json};
use tempfile::TempDir;

const THINGS: &str = "things.test";

/// How long anything may take here. Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

const SERVICE: &str = "name: things.test\nversions:\n  v1: { package: things.v1 }\n";

const PROTO: &str = r#"
syntax = "proto3";
package things.v1;
import "google/api/resource.proto";
import "goten/types/meta.proto";

message Widget {
  option (google.api.resource) = {
    type: "things.test/Widget" singular: "widget" plural: "widgets"
    pattern: "regions/{region}/widgets/{widget}"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
  string title = 3;
}
"#;

/// A fleet of two regions and one service, in a folder of its own. Nothing of it runs by itself.
struct World {
    folder: TempDir,
    config: Config,
    silent_regions: Duration,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let proto = folder.path().join("things/v1");
        std::fs::create_dir_all(&proto).unwrap();
        std::fs::write(folder.path().join("things/service.yaml"), SERVICE).unwrap();
        std::fs::write(proto.join("widget.proto"), PROTO).unwrap();
        let [eu, us, a, b, c, d] = free_ports();
        let text = format!(
            "regions:\n  eu: {{ listen: 127.0.0.1:{eu} }}\n  us: {{ listen: 127.0.0.1:{us} }}\n\
             store: ./data\nidentity: ./keys\n\
             meta:\n  deployments:\n    eu: {{ listen: 127.0.0.1:{a} }}\n    us: {{ listen: 127.0.0.1:{b} }}\n\
             services:\n  - folder: things\n    deployments:\n      eu: {{ listen: 127.0.0.1:{c} }}\n      us: {{ listen: 127.0.0.1:{d} }}\n"
        );
        let config = parse(folder.path(), &text);
        Self { folder, config, silent_regions: PATIENCE }
    }

    async fn start(&self, service: &str, region: &str) -> Fleet {
        let builder = Fleet::builder(self.config.clone()).only(DeploymentId::new(service, region));
        let patience = Patience {
            look: Duration::from_millis(50),
            silent_regions: self.silent_regions,
            ..Patience::default()
        };
        let start = tokio::time::timeout(PATIENCE, builder.patience(patience).start()).await;
        start
            .unwrap_or_else(|_| panic!("{service}@{region} does not start in {:?}", self.folder))
            .unwrap_or_else(|error| panic!("{service}@{region}: {error:?}"))
    }
}

fn parse(folder: &Path, text: &str) -> Config {
    Config::parse("bowline.yaml", folder, text, |_| None).unwrap_or_else(|error| panic!("{error}"))
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Calls a method of the fleet's one site as a user would.
async fn call(fleet: &Fleet, path: &str, request: Value) -> Result<Value, Status> {
    let site = fleet.sites().next().unwrap();
    let method = fleet.registry().methods.get(path).unwrap_or_else(|| panic!("no {path}"));
    let request = DynamicMessage::deserialize(method.descriptor.input(), request).unwrap();
    let context = Context { deadline: Some(Duration::from_secs(10)), ..Context::default() };
    match site.engine().call(method, request, context).await? {
        Reply::Unary(bytes) => {
            let answer = DynamicMessage::decode(method.descriptor.output(), bytes).unwrap();
            assert!(answer.descriptor() == method.descriptor.output());
            Ok(serde_json::to_value(&answer).unwrap())
        }
        Reply::Stream(_) => panic!("{path} streams"),
    }
}

async fn create(fleet: &Fleet, region: &str, id: &str) -> Result<Value, Status> {
    let name = format!("regions/{region}/widgets/{id}");
    let request = json!({ "widget": { "name": name, "title": id } });
    call(fleet, "/things.v1.WidgetService/CreateWidget", request).await
}

async fn title(fleet: &Fleet, region: &str, id: &str) -> Result<String, Status> {
    let name = format!("regions/{region}/widgets/{id}");
    let widget = call(fleet, "/things.v1.WidgetService/GetWidget", json!({ "name": name })).await?;
    Ok(widget["title"].as_str().unwrap_or_default().to_owned())
}

async fn until_picture(fleet: &Fleet, within: Duration, done: impl Fn(&Picture) -> bool) {
    let mut picture = fleet.sites().next().unwrap().environment().picture();
    let wait = picture.wait_for(|picture: &Arc<Picture>| done(picture));
    let waited = tokio::time::timeout(within, wait).await;
    assert!(waited.is_ok(), "the picture is not as it should be after {within:?}");
}

fn has_region(region: &'static str) -> impl Fn(&Picture) -> bool {
    move |picture| picture.regions.contains(region)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_meta_service_everything_else_goes_on_and_its_news_arrive_when_it_is_back() {
    let world = World::new();
    let (meta_eu, meta_us, eu, us) = tokio::join!(
        world.start(META, "eu"),
        world.start(META, "us"),
        world.start(THINGS, "eu"),
        world.start(THINGS, "us"),
    );
    for fleet in [&eu, &us] {
        until_picture(fleet, PATIENCE, |picture| picture.deployments.len() == 4).await;
    }
    create(&us, "us", "one").await.unwrap();

    meta_eu.stop().await;
    meta_us.stop().await;
    drop((meta_eu, meta_us));
    // Local and forwarded, there and back.
    create(&us, "us", "two").await.unwrap();
    create(&us, "eu", "three").await.unwrap();
    assert_eq!(title(&eu, "us", "two").await.unwrap(), "two");
    assert_eq!(title(&us, "eu", "three").await.unwrap(), "three");

    // A restart, with what was kept on disk.
    us.stop().await;
    drop(us);
    let us = world.start(THINGS, "us").await;
    assert_eq!(title(&us, "us", "one").await.unwrap(), "one");
    create(&us, "eu", "four").await.unwrap();
    assert_eq!(title(&eu, "eu", "four").await.unwrap(), "four");

    let (meta_eu, meta_us) = tokio::join!(world.start(META, "eu"), world.start(META, "us"));
    let request = json!({ "region": { "name": "regions/ap" } });
    call(&meta_us, "/goten.meta.v1.RegionService/CreateRegion", request).await.unwrap();
    let second = Duration::from_secs(1);
    tokio::join!(
        until_picture(&eu, second, has_region("ap")),
        until_picture(&us, second, has_region("ap")),
    );
    for fleet in [us, eu, meta_us, meta_eu] {
        fleet.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_needs_no_meta_deployment_outside_the_control_region() {
    let mut world = World::new();
    world.silent_regions = Duration::from_millis(200);
    let (meta, eu) = tokio::join!(world.start(META, "eu"), world.start(THINGS, "eu"));
    create(&eu, "eu", "one").await.unwrap();
    assert_eq!(title(&eu, "eu", "one").await.unwrap(), "one");
    // What comes later is heard of, and reached.
    let (meta_us, us) = tokio::join!(world.start(META, "us"), world.start(THINGS, "us"));
    until_picture(&eu, PATIENCE, |picture| picture.deployments.len() == 4).await;
    create(&eu, "us", "two").await.unwrap();
    assert_eq!(title(&us, "us", "two").await.unwrap(), "two");
    for fleet in [us, eu, meta_us, meta] {
        fleet.stop().await;
    }
}
