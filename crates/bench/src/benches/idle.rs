//! `idle`: what 10,000 open watches cost a server on which nothing happens, against streams of a bare server.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Streaming;

use crate::bare;
use crate::client::Client;
use crate::error::Error;
use crate::item::{self, Maker, WatchResponse};
use crate::options::Options;
use crate::process::Server;
use crate::report::Figure;
use crate::stage::Stage;

const WATCHES_PER_CONNECTION: usize = 100;
/// One client address may have 1,000 watches open; this leaves half of that.
const CONNECTIONS_PER_ADDRESS: usize = 5;
/// Streams that are being opened at once.
const OPENING_MAX: usize = 200;
/// Longer than two periods of progress messages.
const IDLE: Duration = Duration::from_secs(12);
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(10);
const GOAL_MIB: f64 = 300.0;

/// What one server costs.
struct Cost {
    empty_mib: f64,
    opened_mib: f64,
    idle_mib: f64,
    /// Of one core.
    cpu_percent: f64,
    opened_in: Duration,
}

pub(crate) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    let watches = options.watches as usize;
    let server = stage.bowline("idle").await?;
    let writer = Client::connect(server.url(), 1).await?;
    let maker = Maker::fit(&writer).await?;
    let mut crowd = Crowd::new(&server, item::WATCH, watches).await?;
    let ours = crowd.measure(&server).await?;
    let seen_in = crowd.write_is_seen(&writer, &maker).await?;
    drop((crowd, writer));
    server.stop().await?;
    let server = stage.bare(&[]).await?;
    let mut crowd = Crowd::new(&server, bare::SUBSCRIBE, watches).await?;
    let limit = crowd.measure(&server).await?;
    drop(crowd);
    server.stop().await?;
    Ok(figures(&ours, &limit, seen_in, watches))
}

/// Many watches, each of a project of its own.
struct Crowd {
    client: Client,
    path: &'static str,
    /// Resources that each watch has seen.
    seen: Arc<Vec<AtomicU64>>,
    /// Those who read; dropped, they end, and their streams with them.
    readers: JoinSet<()>,
}

impl Crowd {
    async fn new(server: &Server, path: &'static str, watches: usize) -> Result<Self, Error> {
        let connections = watches.div_ceil(WATCHES_PER_CONNECTION);
        let client = Client::connect_from(server.url(), connections, address).await?;
        let seen = (0..watches).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { client, path, seen: Arc::new(seen), readers: JoinSet::new() })
    }

    async fn measure(&mut self, server: &Server) -> Result<Cost, Error> {
        let empty_mib = mib(server.resident()?);
        let start = Instant::now();
        self.open_all().await?;
        let opened_in = start.elapsed();
        let opened_mib = mib(server.resident()?);
        let cpu = server.cpu()?;
        tokio::time::sleep(IDLE).await;
        let cpu = server.cpu()? - cpu;
        let cpu_percent = 100.0 * cpu.as_secs_f64() / IDLE.as_secs_f64();
        let idle_mib = mib(server.resident()?);
        Ok(Cost { empty_mib, opened_mib, idle_mib, cpu_percent, opened_in })
    }

    /// Opens every watch and returns when each has its (empty) snapshot.
    async fn open_all(&mut self) -> Result<(), Error> {
        let (client, path, n_watches) = (self.client.clone(), self.path, self.seen.len());
        let opening = futures::stream::iter(0..n_watches).map(|n| {
            let client = &client;
            async move {
                let request = item::stateless_watch(&project(n));
                let messages = client.stream(n, path, request).await.map_err(Error::call(path))?;
                Ok::<_, Error>((n, messages))
            }
        });
        let mut opening = opening.buffer_unordered(OPENING_MAX);
        let (current, mut are_current) = mpsc::unbounded_channel();
        let all = async {
            while let Some((n, messages)) = opening.try_next().await? {
                self.readers.spawn(follow(messages, self.seen.clone(), n, current.clone()));
            }
            for _ in 0..n_watches {
                // A watch that ends before says so by its number.
                if let Some(Err(n)) = are_current.recv().await {
                    return Err(Error::Wrong(format!("watch {n} ended before it was current")));
                }
            }
            Ok(())
        };
        within("that all watches are current", all).await?
    }

    /// Writes into the project of one watch; only that one must see it.
    async fn write_is_seen(&self, writer: &Client, maker: &Maker) -> Result<Duration, Error> {
        let chosen = self.seen.len() / 2;
        item::make_project(writer, &project(chosen)).await?;
        let request = maker.create_request(&project(chosen), 1);
        let start = Instant::now();
        writer.unary(0, item::CREATE, request).await.map_err(Error::call(item::CREATE))?;
        within("that a write is seen", async {
            while self.seen[chosen].load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(PAUSE / 10).await;
            }
        })
        .await?;
        let seen_in = start.elapsed();
        let all: u64 = self.seen.iter().map(|n| n.load(Ordering::Relaxed)).sum();
        match all {
            1 => Ok(seen_in),
            n => Err(Error::Wrong(format!("{n} watches saw a write that one should see"))),
        }
    }
}

/// Reads one watch to its end.
async fn follow(
    mut messages: Streaming<Bytes>,
    seen: Arc<Vec<AtomicU64>>,
    n: usize,
    current: mpsc::UnboundedSender<Result<(), usize>>,
) {
    let mut current = Some(current);
    while let Ok(Some(message)) = messages.message().await {
        let Ok(message) = WatchResponse::decode(message) else { break };
        seen[n].fetch_add(message.names().count() as u64, Ordering::Relaxed);
        if message.is_current
            && let Some(current) = current.take()
        {
            // The bench has given up if nobody listens.
            let _ = current.send(Ok(()));
        }
    }
    if let Some(current) = current {
        let _ = current.send(Err(n));
    }
}

/// The address that connection number `n` comes from.
fn address(n: usize) -> Ipv4Addr {
    let host = u32::try_from(n / CONNECTIONS_PER_ADDRESS).unwrap_or(0);
    Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + host)
}

fn project(n: usize) -> String {
    format!("projects/p{n:06}")
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, Error> {
    let late = |_| Error::TooLate { what: what.to_owned(), within: PATIENCE };
    tokio::time::timeout(PATIENCE, future).await.map_err(late)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn figures(ours: &Cost, limit: &Cost, seen_in: Duration, watches: usize) -> Vec<Figure> {
    let connections = watches.div_ceil(WATCHES_PER_CONNECTION);
    let crowd = format!("{watches} watches over {connections} connections");
    let kib_per_watch = |c: &Cost| (c.idle_mib - c.empty_mib) * 1024.0 / watches as f64;
    vec![
        Figure::lower("idle memory, all current", ours.opened_mib, "MiB")
            .limit(limit.opened_mib)
            .goal(GOAL_MIB)
            .note(&crowd),
        Figure::lower("idle memory, later", ours.idle_mib, "MiB")
            .limit(limit.idle_mib)
            .goal(GOAL_MIB)
            .note(format!("after {} s of idling", IDLE.as_secs())),
        Figure::lower("idle memory per watch", kib_per_watch(ours), "KiB")
            .limit(kib_per_watch(limit))
            .note(format!("the empty server has {:.0} MiB", ours.empty_mib)),
        Figure::lower("idle CPU", ours.cpu_percent, "% of a core")
            .limit(limit.cpu_percent)
            .note("progress messages; the bare server sends none"),
        Figure::lower("idle opening", ours.opened_in.as_secs_f64(), "s")
            .limit(limit.opened_in.as_secs_f64())
            .note("until the last watch is current"),
        Figure::lower("idle write to event", seen_in.as_secs_f64() * 1e3, "ms")
            .note("one write; one watch of all sees it"),
    ]
}
