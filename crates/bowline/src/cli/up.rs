//! `bowline up`: serves until told to stop.
//!
//! Standard output gets one line, `ready on http://ADDR`, once requests are answered; everything else is logged.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use bowline::{Node, Storage};
use bowline_schema::diagnostic;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::args::{Format, ServerArgs, UpArgs};
use super::error::{Error, exit};
use super::{say, schema, verbs};

/// Variable with the log filter, such as `debug` or `bowline_api=trace`.
const LOG_VARIABLE: &str = "BOWLINE_LOG";
/// Longest time of one request while sample data is applied.
const SEED_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: UpArgs, out: &mut dyn Write) -> Result<(), Error> {
    log_to_stderr();
    let mut signals = Signals::listen()?;
    let node = tokio::select! {
        started = start(&args) => started?,
        () = signals.next() => return Ok(()),
    };
    let served = tokio::select! {
        failed = serve(&args, &node, out) => failed,
        () = signals.next() => Ok(()),
    };
    tracing::info!("stopping");
    tokio::select! {
        () = node.stop() => served,
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

async fn start(args: &UpArgs) -> Result<Node, Error> {
    let storage = if args.memory { Storage::Memory } else { args.store.storage() };
    let mut builder = Node::builder().listen(args.listen).storage(storage);
    for folder in &args.folders {
        builder = builder.source(schema::source(folder));
    }
    let node = builder.start().await?;
    if !node.diagnostics().is_empty() {
        say::line(&diagnostic::render(node.diagnostics()));
    }
    Ok(node)
}

/// Applies the sample data, says that the node is ready, and does not come back unless something failed.
///
/// Sample data is for a first start only, and never undoes what users did.
async fn serve(args: &UpArgs, node: &Node, out: &mut dyn Write) -> Result<(), Error> {
    if node.was_empty() && !args.seed.is_empty() {
        seed(args, node).await?;
    }
    writeln!(out, "ready on http://{}", node.address())?;
    out.flush()?;
    std::future::pending().await
}

/// Over the public API, like any client; what it prints belongs to the log.
async fn seed(args: &UpArgs, node: &Node) -> Result<(), Error> {
    let mut address = node.address();
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let server = ServerArgs {
        server: format!("http://{address}"),
        timeout: SEED_TIMEOUT,
        api_version: None,
    };
    let session = verbs::open(&server).await?;
    let mut ignored = std::io::sink();
    verbs::apply::apply(&session, &args.seed, false, Format::Table, &mut ignored).await
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
