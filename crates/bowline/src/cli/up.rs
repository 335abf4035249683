//! `bowline up` and `bowline serve`: serve until told to stop.
//!
//! Standard output gets one line for each port, `ready on http://ADDR`, once requests are answered; everything else is logged.

use std::io::{IsTerminal as _, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bowline::config;
use bowline::{Config, Fleet, Node, Storage};
use bowline_node::DeploymentId;
use bowline_schema::diagnostic::{self, Diagnostic};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::args::{Format, ServeArgs, ServerArgs, StoreArgs, UpArgs};
use super::error::{Error, exit};
use super::{say, schema, verbs};

/// Variable with the log filter, such as `debug` or `bowline_api=trace`.
const LOG_VARIABLE: &str = "BOWLINE_LOG";
/// Longest time of one request while sample data is applied.
const SEED_TIMEOUT: Duration = Duration::from_secs(30);

/// `bowline up`
pub(crate) async fn run(args: UpArgs, out: &mut dyn Write) -> Result<(), Error> {
    let seed = args.seed.clone();
    let start = async {
        match &args.file {
            Some(file) => {
                let config = configuration(file, &args.store, args.memory)?;
                let mut builder = Fleet::builder(config);
                if let Some(region) = &args.region {
                    builder = builder.only_region(region.as_str());
                }
                Ok(Running::Fleet(Box::new(builder.start().await?)))
            }
            None => Ok(Running::Node(Box::new(node(&args).await?))),
        }
    };
    until_stopped(start, &seed, out).await
}

/// `bowline serve`
pub(crate) async fn serve(args: ServeArgs, out: &mut dyn Write) -> Result<(), Error> {
    let id = DeploymentId::new(args.service, args.region);
    let start = async {
        let config = configuration(&args.file, &args.store, args.memory)?;
        let fleet = Fleet::builder(config).only(id).start().await?;
        Ok(Running::Fleet(Box::new(fleet)))
    };
    until_stopped(start, &[], out).await
}

async fn until_stopped(
    start: impl Future<Output = Result<Running, Error>>,
    seed: &[PathBuf],
    out: &mut dyn Write,
) -> Result<(), Error> {
    log_to_stderr();
    let mut signals = Signals::listen()?;
    let running = tokio::select! {
        started = start => started?,
        () = signals.next() => return Ok(()),
    };
    if !running.diagnostics().is_empty() {
        say::line(&diagnostic::render(running.diagnostics()));
    }
    let served = tokio::select! {
        failed = say_ready(&running, seed, out) => failed,
        gone = running.gone() => Err(Error::Gone { problem: gone }),
        () = signals.next() => Ok(()),
    };
    tracing::info!("stopping");
    tokio::select! {
        () = running.stop() => served,
        () = signals.next() => {
            tracing::warn!("stopped at once, without waiting for open requests");
            std::process::exit(i32::from(exit::ERROR));
        }
    }
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi);
    // Only tests, which run several commands in one process, set it twice.
    let _ = subscriber.try_init();
}

/// What serves.
enum Running {
    /// Folders, without a configuration.
    Node(Box<Node>),
    Fleet(Box<Fleet>),
}

impl Running {
    fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Node(node) => node.diagnostics(),
            Self::Fleet(fleet) => fleet.diagnostics(),
        }
    }

    fn was_empty(&self) -> bool {
        match self {
            Self::Node(node) => node.was_empty(),
            Self::Fleet(fleet) => fleet.was_empty(),
        }
    }

    /// Each port, with what it is for; the first region's first.
    fn ports(&self) -> Vec<(SocketAddr, String)> {
        match self {
            Self::Node(node) => vec![(node.address(), String::new())],
            Self::Fleet(fleet) => {
                let port = |(region, address)| (address, format!(" for {region}"));
                fleet.addresses().map(port).collect()
            }
        }
    }

    /// Completes when what serves must not go on, with the reason.
    async fn gone(&self) -> String {
        match self {
            Self::Node(_) => std::future::pending().await,
            Self::Fleet(fleet) => fleet.gone().await,
        }
    }

    async fn stop(&self) {
        match self {
            Self::Node(node) => node.stop().await,
            Self::Fleet(fleet) => fleet.stop().await,
        }
    }
}

async fn node(args: &UpArgs) -> Result<Node, Error> {
    let storage = if args.memory { Storage::Memory } else { args.store.storage() };
    let mut builder = Node::builder().listen(args.listen).storage(storage);
    for folder in &args.folders {
        builder = builder.source(schema::source(folder));
    }
    Ok(builder.start().await?)
}

/// The configuration; a store of the command line goes before those of the file.
fn configuration(
    file: &std::path::Path,
    store: &StoreArgs,
    is_memory: bool,
) -> Result<Config, Error> {
    let mut config = Config::read(file, config::environment)?;
    let storage = if is_memory { Some(Storage::Memory) } else { store.given() };
    if let Some(storage) = storage {
        config.set_storage(storage);
    }
    Ok(config)
}

/// Applies the sample data, says that everything is ready, and does not come back unless something failed.
///
/// Sample data is for a first start only, and never undoes what users did.
async fn say_ready(running: &Running, paths: &[PathBuf], out: &mut dyn Write) -> Result<(), Error> {
    let ports = running.ports();
    if let (true, false, Some((first, _))) = (running.was_empty(), paths.is_empty(), ports.first())
    {
        seed(paths, *first).await?;
    }
    for (address, purpose) in ports {
        writeln!(out, "ready on http://{address}{purpose}")?;
    }
    out.flush()?;
    std::future::pending().await
}

/// Over the public API, like any client; what it prints belongs to the log.
async fn seed(paths: &[PathBuf], mut address: SocketAddr) -> Result<(), Error> {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let server = ServerArgs {
        server: format!("http://{address}"),
        timeout: SEED_TIMEOUT,
        api_version: None,
    };
    let session = verbs::open(&server).await?;
    let mut ignored = std::io::sink();
    verbs::apply::apply(&session, paths, false, Format::Table, &mut ignored).await
}

/// The ways in which a process is asked to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::Signals);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
