//! Three regions of the fleet example, run by the real program, and the real program as their client.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bowline_testkit::postgres::Port;
use bowline_testkit::{Proxy, Server, World, eventually_blocking};

/// Generous, since other tests run at the same time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const REGIONS: [&str; 3] = ["eu", "us", "ap"];
pub(crate) const META: &str = "meta.goten.com";
pub(crate) const IAM: &str = "iam.example.com";
pub(crate) const DEVICES: &str = "devices.example.com";
/// With the folder of each below the example's.
const SERVICES: [(&str, &str); 4] = [
    (IAM, "iam"),
    ("secrets.example.com", "secrets"),
    (DEVICES, "devices"),
    ("applications.example.com", "applications"),
];

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_bowline"))
}

/// Which processes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One.
    Together,
    /// One for each region, with a link in front of it that can be cut.
    Regions,
    /// One for each deployment.
    Apart,
}

/// A running fleet.
pub(crate) struct Fleet {
    pub(crate) world: World,
    shape: Shape,
    /// By deployment (`devices.example.com@eu`), region, or `all`.
    pub(crate) servers: BTreeMap<String, Server>,
    /// By region.
    pub(crate) links: BTreeMap<&'static str, Proxy>,
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

    /// What a command that must not succeed said.
    #[track_caller]
    pub(crate) fn fails(self) -> String {
        assert_ne!(self.code, Some(0), "{self:?}");
        self.stderr
    }
}

/// The program, without what the developer's own environment says.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args).stdin(Stdio::null());
    for variable in ["BOWLINE_LISTEN", "BOWLINE_DATA", "BOWLINE_STORE", "BOWLINE_SERVER"] {
        command.env_remove(variable);
    }
    command
}

pub(crate) fn run(args: &[&str]) -> Ran {
    let output = command(args).output().expect("the program starts");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A configuration of the example with nothing special.
pub(crate) fn plain_config() -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fleet");
    let mut text = String::from("store: data\nidentity: keys\nregions:\n");
    for region in REGIONS {
        let _ = writeln!(text, "  {region}: {{ listen: 127.0.0.1:0 }}");
    }
    let folders = SERVICES.map(|(_, folder)| format!("{root}/{folder}"));
    let _ = writeln!(text, "services: [{}]", folders.join(", "));
    text
}

impl Fleet {
    /// Starts all processes at once and waits until all are ready.
    pub(crate) fn start(test: &str, shape: Shape) -> Self {
        let world = World::new(test).expect("a folder");
        let mut fleet = Self {
            world,
            shape,
            servers: BTreeMap::new(),
            links: BTreeMap::new(),
            _ports: Vec::new(),
        };
        let config = match shape {
            Shape::Together => plain_config(),
            Shape::Regions => fleet.config_of_regions(),
            Shape::Apart => fleet.config_apart(),
        };
        fleet.world.write("bowline.yaml", &config).expect("a configuration");
        fleet.start_all(&fleet.processes());
        fleet
    }

    /// The names of all processes.
    fn processes(&self) -> Vec<String> {
        match self.shape {
            Shape::Together => vec!["all".to_owned()],
            Shape::Regions => REGIONS.map(str::to_owned).to_vec(),
            Shape::Apart => deployments().into_iter().map(|(s, r)| format!("{s}@{r}")).collect(),
        }
    }

    pub(crate) fn config(&self) -> String {
        self.world.path().join("bowline.yaml").display().to_string()
    }

    /// Starts these processes at the same time, since they wait for each other.
    pub(crate) fn start_all(&mut self, names: &[String]) {
        let config = self.config();
        let started = std::thread::scope(|scope| {
            let threads: Vec<_> = names
                .iter()
                .map(|name| {
                    let config = &config;
                    scope.spawn(move || (name.clone(), start(config, name)))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it starts")).collect::<Vec<_>>()
        });
        self.servers.extend(started);
    }

    /// Ends a process as a power cut would.
    pub(crate) fn kill(&mut self, name: &str) {
        self.servers.remove(name).expect("it runs").kill().expect("it is gone");
    }

    /// The server that has `service` in `region`.
    pub(crate) fn url(&self, service: &str, region: &str) -> &str {
        let server = match self.shape {
            Shape::Together => return self.servers["all"].url_for(region).expect("its port"),
            Shape::Regions => &self.servers[region],
            Shape::Apart => &self.servers[&format!("{service}@{region}")],
        };
        server.url()
    }

    /// Runs a client command at `service` in `region`.
    pub(crate) fn at(&self, service: &str, region: &str, args: &[impl AsRef<str>]) -> Ran {
        let url = self.url(service, region);
        let all: Vec<&str> = args.iter().map(AsRef::as_ref).chain(["--server", url]).collect();
        run(&all)
    }

    /// Runs a client command beside the test.
    pub(crate) fn beside(&self, service: &str, region: &str, args: &[&str]) -> Beside {
        let output = self.world.path().join(format!("{region}.out"));
        let file = std::fs::File::create(&output).expect("a file");
        let all: Vec<&str> =
            args.iter().copied().chain(["--server", self.url(service, region)]).collect();
        let child = command(&all).stdout(file).stderr(Stdio::null()).spawn().expect("it starts");
        Beside { child, output }
    }

    /// Names, one a line.
    #[track_caller]
    pub(crate) fn names(&self, service: &str, region: &str, kind: &str) -> Vec<String> {
        let listed = self.at(service, region, &["list", kind, "--all", "-o", "name"]).ok();
        listed.lines().map(str::to_owned).collect()
    }

    fn config_of_regions(&mut self) -> String {
        let mut text = plain_config();
        for region in REGIONS {
            let port = Port::reserve().expect("a port");
            let listen = format!("127.0.0.1:{}", port.number());
            let link = Proxy::start(listen.parse().expect("an address")).expect("a proxy");
            let said = format!("{{ listen: {listen}, address: '{}' }}", link.address());
            text = text.replace(
                &format!("  {region}: {{ listen: 127.0.0.1:0 }}"),
                &format!("  {region}: {said}"),
            );
            self.links.insert(region, link);
            self._ports.push(port);
        }
        text
    }

    fn config_apart(&mut self) -> String {
        let mut said: BTreeMap<&str, String> = BTreeMap::new();
        for (service, region) in deployments() {
            let port = Port::reserve().expect("a port");
            let listen = format!("127.0.0.1:{}", port.number());
            let said = said.entry(service).or_default();
            let _ = writeln!(said, "      {region}: {{ listen: {listen} }}");
            self._ports.push(port);
        }
        let plain = plain_config();
        let (head, _) = plain.split_once("services:").expect("services");
        let mut text = format!("{head}meta:\n    deployments:\n{}services:\n", said[META]);
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fleet");
        for (service, folder) in SERVICES {
            let _ =
                write!(text, "  - folder: {root}/{folder}\n    deployments:\n{}", said[service]);
        }
        text
    }
}

/// All of the fleet, meta first.
fn deployments() -> Vec<(&'static str, &'static str)> {
    let services = [META].into_iter().chain(SERVICES.map(|(name, _)| name));
    services.flat_map(|service| REGIONS.map(|region| (service, region))).collect()
}

fn start(config: &str, name: &str) -> Server {
    let args = match name.split_once('@') {
        Some((service, region)) => {
            vec!["serve", "-f", config, "--service", service, "--region", region]
        }
        None if name == "all" => vec!["up", "-f", config],
        None => vec!["up", "-f", config, "--region", name],
    };
    let ports = if name == "all" { REGIONS.len() } else { 1 };
    Server::start_all(program(), args, ports).expect("it serves")
}

/// A command that runs beside the test. Dropped, it is killed.
pub(crate) struct Beside {
    child: Child,
    output: std::path::PathBuf,
}

impl Beside {
    /// Waits until a line of the output contains all of `words`.
    #[track_caller]
    pub(crate) fn shows(&self, words: &[&str]) {
        let printed = || std::fs::read_to_string(&self.output).unwrap_or_default();
        let seen = eventually_blocking(&format!("a line with {words:?}"), PATIENCE, || {
            printed().lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
        });
        if let Err(error) = seen {
            panic!("{error}; printed:\n{}", printed());
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
