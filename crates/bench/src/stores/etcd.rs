//! etcd as a rival: one member on this machine with its default settings, and puts over gRPC.
//!
//! Its puts are durable before they are answered (`--unsafe-no-fsync` is off) and share flushes, as our commits do. A put
//! has no condition, which favours it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message;

use crate::client::Client;
use crate::error::Error;
use crate::load::closed;
use crate::rows;

const PROGRAM: &str = "etcd";
const PUT: &str = "/etcdserverpb.KV/Put";
const CONNECTIONS: usize = 4;
/// The number of the key that is put to see that etcd works.
const PROBE: u64 = u64::MAX / 2;
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// `etcdserverpb.PutRequest`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// A running etcd. Dropped, it is killed.
pub(crate) struct Etcd {
    child: Child,
    client: Client,
    /// No key is put twice.
    next: Arc<AtomicU64>,
}

impl Etcd {
    /// Starts etcd with its data in the new folder `data`, and waits until it takes a put.
    pub(crate) async fn start(data: &Path, log: &Path) -> Result<Self, Error> {
        let (url, peer_url) = (free_url()?, free_url()?);
        let stderr = std::fs::File::create(log).map_err(Error::io("write the log of etcd"))?;
        let mut command = Command::new(PROGRAM);
        command.arg("--data-dir").arg(data);
        command.args(["--name", "bench", "--initial-cluster", &format!("bench={peer_url}")]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut child = command.spawn().map_err(Error::io("start etcd (Debian: etcd-server)"))?;
        match connect(&url, &mut child, log).await {
            Ok(client) => Ok(Self { child, client, next: Arc::default() }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Puts per second of so many clients over a few connections, each of which waits for its put before the next.
    pub(crate) async fn put_rate(
        &self,
        clients: usize,
        warm_up: Duration,
        time: Duration,
    ) -> Result<f64, Error> {
        let (client, numbers) = (self.client.clone(), self.next.clone());
        let put = move |worker, _| {
            let request = put_request(numbers.fetch_add(1, Ordering::Relaxed));
            let client = client.clone();
            async move { client.unary(worker, PUT, request).await.map(drop).map_err(Error::call(PUT)) }
        };
        let calls = Arc::default();
        closed(clients, warm_up, &calls, put.clone()).await?;
        Ok(closed(clients, time, &calls, put).await?.per_second())
    }

    /// `etcd Version: 3.4.23`, for the report.
    pub(crate) fn version() -> String {
        let output = Command::new(PROGRAM).arg("--version").stdin(Stdio::null()).output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        text.ok().and_then(|t| Some(t.lines().next()?.to_owned())).unwrap_or_default()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Both fail only if the process is gone already, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait();
}

/// The same name and as many bytes as a row of ours.
fn put_request(number: u64) -> bytes::Bytes {
    let new = rows::make_plain(number, number + 1);
    let value = new.row.body.to_vec();
    PutRequest { key: new.name.into_bytes(), value }.encode_to_vec().into()
}

/// Between finding the port and its use somebody else could take it; then etcd ends and the bench says so.
fn free_url() -> Result<String, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("find a free port"))?;
    let address = listener.local_addr().map_err(Error::io("find a free port"))?;
    Ok(format!("http://{address}"))
}

/// etcd listens before it has elected itself, so only an answered put counts.
async fn connect(url: &str, child: &mut Child, log: &Path) -> Result<Client, Error> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if child.try_wait().map_err(Error::io("wait for etcd"))?.is_some() {
            return Err(ended_early(log.to_owned()));
        }
        if let Ok(client) = Client::connect(url, CONNECTIONS).await
            && client.unary(0, PUT, put_request(PROBE)).await.is_ok()
        {
            return Ok(client);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Error::TooLate { what: "an answer of etcd".to_owned(), within: PATIENCE })
}

fn ended_early(log: PathBuf) -> Error {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    Error::EndedEarly { what: PROGRAM.to_owned(), log }
}
