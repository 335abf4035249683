//! The fleet of this test, run by the real program, the real program as its client, and a look at shadows, which only
//! deployments may have.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bowline_base::Seams;
use bowline_node::DeploymentId;
use bowline_node::identity::{KeyFolder, Signers};
use bowline_node::network::BytesCodec;
use bowline_node::peers::headers;
use bowline_testkit::postgres::Port;
use bowline_testkit::{Server, World, eventually_blocking};
use bowline_wire::bowline::mixin::v1::method::GET_RESOURCE_SHADOW;
use bowline_wire::bowline::mixin::v1::{GetResourceShadowRequest, ResourceShadow};
use bytes::Bytes;
use prost::Message as _;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;

use crate::tap::Tap;

/// Generous, since other tests run at the same time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The first one owns what is in no project.
pub(crate) const REGIONS: [&str; 2] = ["eu", "us"];

/// The folder of the services.
const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/graph/services");

/// Which processes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One that knows no regions: the services of a folder.
    Alone,
    /// One.
    Together,
    /// One for each region; others reach it through its tap, clients directly.
    Regions,
}

/// A running fleet.
pub(crate) struct Fleet {
    world: World,
    shape: Shape,
    /// By region, or `all`.
    servers: BTreeMap<String, Server>,
    /// By region.
    pub(crate) taps: BTreeMap<&'static str, Tap>,
    /// Kept so that no other test takes them.
    _ports: Vec<Port>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The output of a command that must succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// What a command said that must not succeed for this reason.
    #[track_caller]
    pub(crate) fn fails(self, reason: &str) -> String {
        assert!(self.code != Some(0) && self.stderr.contains(reason), "{self:?}");
        self.stderr
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_bowline"))
}

/// The program, without what the developer's own environment says.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args).stdin(Stdio::null());
    for variable in ["BOWLINE_LISTEN", "BOWLINE_DATA", "BOWLINE_STORE", "BOWLINE_SERVER"] {
        command.env_remove(variable);
    }
    command
}

impl Fleet {
    /// Starts all processes at once and waits until all are ready. There is a project `projects/p` whose resources may be
    /// in both regions; `us` owns what has no region.
    pub(crate) fn start(test: &str, shape: Shape) -> Self {
        let world = World::new(test).expect("a folder");
        let (servers, taps) = (BTreeMap::new(), BTreeMap::new());
        let mut fleet = Self { world, shape, servers, taps, _ports: Vec::new() };
        let config = fleet.configuration();
        fleet.world.write("bowline.yaml", &config).expect("a configuration");
        match shape {
            Shape::Alone => fleet.run(&["alone"]),
            Shape::Together => fleet.run(&["all"]),
            Shape::Regions => fleet.run(&REGIONS),
        }
        fleet.make_project("p").ok();
        fleet
    }

    /// Both forms with regions, and without.
    pub(crate) fn in_all_forms(test: &str, body: impl Fn(&Self)) {
        body(&Self::start(&format!("{test}-alone"), Shape::Alone));
        Self::in_both_forms(test, body);
    }

    /// Both forms with regions, one after the other.
    pub(crate) fn in_both_forms(test: &str, body: impl Fn(&Self)) {
        body(&Self::start(&format!("{test}-together"), Shape::Together));
        body(&Self::start(&format!("{test}-regions"), Shape::Regions));
    }

    fn configuration(&mut self) -> String {
        let mut text = String::from("store: data\nidentity: keys\nregions:\n");
        for region in REGIONS {
            let _ = match self.shape {
                Shape::Alone | Shape::Together => {
                    writeln!(text, "  {region}: {{ listen: 127.0.0.1:0 }}")
                }
                Shape::Regions => {
                    let port = Port::reserve().expect("a port");
                    let listen = format!("127.0.0.1:{}", port.number());
                    let tap = Tap::start(listen.parse().expect("an address"));
                    let address = tap.address();
                    self._ports.push(port);
                    self.taps.insert(region, tap);
                    writeln!(text, "  {region}: {{ listen: {listen}, address: '{address}' }}")
                }
            };
        }
        let folders =
            ["iam", "secrets", "devices", "apps"].map(|name| format!("{SERVICES}/{name}"));
        let _ = writeln!(text, "services: [{}]", folders.join(", "));
        text
    }

    /// Starts these processes at the same time, since they wait for each other.
    pub(crate) fn run(&mut self, names: &[&str]) {
        let path = |name: &str| self.world.path().join(name).display().to_string();
        let (config, data) = (path("bowline.yaml"), path("data"));
        let started = std::thread::scope(|scope| {
            let start = |name: &&str| {
                let (name, config, data) = ((*name).to_owned(), config.clone(), data.clone());
                scope.spawn(move || {
                    let server = start(&config, &data, &name);
                    (name, server)
                })
            };
            let threads: Vec<_> = names.iter().map(start).collect();
            threads.into_iter().map(|thread| thread.join().expect("it starts")).collect::<Vec<_>>()
        });
        self.servers.extend(started);
    }

    /// Ends a process as a power cut would.
    pub(crate) fn kill(&mut self, name: &str) {
        self.servers.remove(name).expect("it runs").kill().expect("it is gone");
    }

    fn url(&self, region: &str) -> &str {
        match self.shape {
            Shape::Alone => self.servers["alone"].url(),
            Shape::Together => self.servers["all"].url_for(region).expect("its port"),
            Shape::Regions => self.servers[region].url(),
        }
    }

    /// Runs a client command in a region.
    pub(crate) fn at(&self, region: &str, args: &[&str]) -> Ran {
        let all = [args, &["--server", self.url(region)]].concat();
        let output = command(&all).output().expect("the program starts");
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same beside the test.
    pub(crate) fn beside(&self, region: &str, args: &[&str]) -> Beside {
        let all = [args, &["--server", self.url(region)]].concat();
        let mut command = command(&all);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Beside(Some(child.expect("it starts")))
    }

    /// How a deployment is called.
    pub(crate) fn deployment(&self, service: &str, region: &str) -> String {
        match self.shape {
            Shape::Alone => service.to_owned(),
            _ => format!("{service}@{region}"),
        }
    }

    pub(crate) fn make_project(&self, id: &str) -> Ran {
        let policy =
            r#"multi_region_policy={"enabledRegions":["eu","us"],"defaultControlRegion":"us"}"#;
        self.at("eu", &["create", "project", "--id", id, "--set", policy])
    }

    /// Makes a resource by its full name, `projects/p/regions/eu/devices/d`.
    pub(crate) fn make(&self, region: &str, kind: &str, name: &str, fields: &[&str]) -> Ran {
        let args = creation(kind, name, fields);
        self.at(region, &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Names, one a line, in all regions.
    #[track_caller]
    pub(crate) fn names(&self, region: &str, kind: &str) -> Vec<String> {
        let listed = self.at(region, &["list", kind, "--all", "-o", "name"]).ok();
        listed.lines().map(str::to_owned).collect()
    }

    /// Waits until no resource of this kind is left but `names`.
    #[track_caller]
    pub(crate) fn only(&self, kind: &str, names: &[&str]) {
        let mut last = Vec::new();
        let seen = eventually_blocking(&format!("{kind} to be {names:?}"), PATIENCE, || {
            last = self.names("us", kind);
            (last == names).then_some(())
        });
        assert!(seen.is_ok(), "{kind}: {last:?} instead of {names:?}");
    }

    /// Deletes as soon as that is possible; every refusal until then must be `meanwhile`.
    #[track_caller]
    pub(crate) fn delete_when_possible(&self, region: &str, name: &str, meanwhile: &str) {
        self.in_the_end(meanwhile, || self.at(region, &["delete", name]));
    }

    /// Does it again until it succeeds; every refusal until then must be `meanwhile`.
    #[track_caller]
    pub(crate) fn in_the_end(&self, meanwhile: &str, act: impl Fn() -> Ran) {
        let mut last = None;
        let done = eventually_blocking("it to be possible", PATIENCE, || {
            let ran = act();
            let is_done = ran.code == Some(0);
            assert!(is_done || ran.stderr.contains(meanwhile), "{ran:?}");
            last = Some(ran);
            is_done.then_some(())
        });
        assert!(done.is_ok(), "{last:?}");
    }

    /// What the deployment `service@region` knows of a resource, asked by one of the same service in the other region.
    pub(crate) fn shadow(
        &self,
        service: &str,
        region: &str,
        kind: &str,
        name: &str,
    ) -> Option<ResourceShadow> {
        let to = DeploymentId::new(service, region);
        let other = REGIONS.into_iter().find(|other| *other != region).expect("two regions");
        let token = self.token(&DeploymentId::new(service, other), &to);
        let request = GetResourceShadowRequest {
            kind: kind.to_owned(),
            version: "v1".to_owned(),
            name: format!("resourceShadows/{name}"),
        };
        let mut request = tonic::Request::new(Bytes::from(request.encode_to_vec()));
        let header = token.parse().expect("a token is text");
        request.metadata_mut().insert(headers::CALLER, header);
        let answer = answer(self.url(region), request);
        match answer {
            Ok(message) => Some(ResourceShadow::decode(message).expect("a shadow")),
            Err(status) if status.code() == tonic::Code::NotFound => None,
            Err(status) => panic!("shadow of {name}: {status}"),
        }
    }

    fn token(&self, from: &DeploymentId, to: &DeploymentId) -> String {
        let keys = KeyFolder::new(self.world.path().join("keys"), Seams::real());
        let key = keys.private(from).expect("the fleet has made its keys");
        let signers = Signers::new(Seams::real(), [(from.clone(), key)]);
        signers.token(from, to).expect("it has the key").to_string()
    }
}

/// The command that makes a resource.
pub(crate) fn creation(kind: &str, name: &str, fields: &[&str]) -> Vec<String> {
    let mut parts = name.rsplitn(3, '/');
    let id = parts.next().expect("an id");
    let parent = parts.nth(1).unwrap_or_default();
    let mut args = vec!["create", kind, "--id", id];
    if !parent.is_empty() {
        args.extend(["--parent", parent]);
    }
    args.extend(fields.iter().flat_map(|field| ["--set", field]));
    args.into_iter().map(str::to_owned).collect()
}

fn answer(url: &str, request: tonic::Request<Bytes>) -> Result<Bytes, tonic::Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let endpoint = Endpoint::from_shared(url.to_owned()).expect("a url");
        let channel = endpoint.connect().await.expect("it listens");
        let mut grpc = tonic::client::Grpc::new(channel);
        grpc.ready().await.expect("it listens");
        let path = PathAndQuery::from_static(GET_RESOURCE_SHADOW);
        grpc.unary(request, path, BytesCodec).await.map(tonic::Response::into_inner)
    })
}

fn start(config: &str, data: &str, name: &str) -> Server {
    let args = match name {
        "alone" => vec!["up", SERVICES, "--data", data, "--listen", "127.0.0.1:0"],
        "all" => vec!["up", "-f", config],
        region => vec!["up", "-f", config, "--region", region],
    };
    let ports = if name == "all" { REGIONS.len() } else { 1 };
    Server::start_all(program(), args, ports).expect("it serves")
}

/// A command that runs beside the test. Dropped, it is killed.
pub(crate) struct Beside(Option<Child>);

impl Beside {
    /// Waits for the next line that it prints.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let output = self.0.as_mut().and_then(|child| child.stdout.as_mut()).expect("it runs");
        // No more than the line, so that the rest is there for its end.
        let (mut line, mut byte) = (Vec::new(), [0]);
        while output.read(&mut byte).expect("it prints") == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Waits for its end.
    pub(crate) fn ends(mut self) -> Ran {
        let child = self.0.take().expect("it was started");
        let output = child.wait_with_output().expect("it ends");
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Both fail only if it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
