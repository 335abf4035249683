//! SIGKILL under load: after a restart every acknowledged write is there, and nothing is half done.
//!
//! The real program on a real disk is killed at random points, many times, over one and the same data.
//! `BOWLINE_KILLS` sets how often (default 12).

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and runs in real time"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_api::grpc::BytesCodec;
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_testkit::{Server, World};
use bytes::Bytes;
use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};
use tonic::transport::Channel;

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/embedded/service");
const BOOKS: &str = "/example.library.v1.BookService";
const WRITERS: u64 = 16;

/// What the server has acknowledged: the highest `loan_days` of each book, and which books were deleted.
#[derive(Default)]
struct Ledger {
    /// `None`: the deletion was acknowledged.
    acknowledged: BTreeMap<String, Option<i64>>,
    /// Writes whose answer never came: they may have happened.
    open: BTreeMap<String, Vec<Option<i64>>>,
}

#[derive(Clone)]
struct Client {
    channel: Channel,
    registry: Arc<Registry>,
}

impl Client {
    async fn call(&self, method: &str, request: Value) -> Result<Value, tonic::Status> {
        let path = format!("{BOOKS}/{method}");
        let method = &self.registry.methods[&path].descriptor;
        let text = request.to_string();
        let mut json = serde_json::Deserializer::from_str(&text);
        let message = DynamicMessage::deserialize(method.input(), &mut json).unwrap();
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let request = tonic::Request::new(Bytes::from(message.encode_to_vec()));
        let path = path.parse().unwrap();
        let answer = grpc.unary(request, path, BytesCodec).await?.into_inner();
        let answer = DynamicMessage::decode(method.output(), answer).unwrap();
        Ok(serde_json::to_value(&answer).unwrap())
    }

    /// All books, by name.
    async fn list(&self) -> BTreeMap<String, Value> {
        let (mut books, mut token) = (BTreeMap::new(), String::new());
        loop {
            let request = json!({ "parent": "shelves/-", "pageSize": 500, "pageToken": token });
            let page = self.call("ListBooks", request).await.unwrap();
            for book in page["books"].as_array().cloned().unwrap_or_default() {
                books.insert(book["name"].as_str().unwrap().to_owned(), book);
            }
            token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                return books;
            }
        }
    }
}

fn start(data: &Path) -> Server {
    let program = Path::new(env!("CARGO_BIN_EXE_bowline"));
    let data = data.to_str().unwrap();
    Server::start(program, ["up", SERVICE, "--listen", "127.0.0.1:0", "--data", data]).unwrap()
}

async fn client(server: &Server) -> Client {
    let registry = Arc::new(load(&[Source::Folder(SERVICE.into())]).registry);
    let endpoint = tonic::transport::Endpoint::from_shared(server.url().to_owned()).unwrap();
    Client { channel: endpoint.connect().await.unwrap(), registry }
}

/// Creates books, counts them up and deletes some, until the server is gone.
async fn write(client: Client, round: u64, writer: u64, ledger: Arc<Mutex<Ledger>>) {
    for n in 0.. {
        let name = format!("shelves/s{writer}/books/r{round}-{n}");
        for days in 1..=3 {
            let book = json!({ "name": name, "title": "t", "loanDays": days });
            let request = json!({ "book": book, "allowMissing": true });
            if !attempt(&client, "UpdateBook", request, &name, Some(days), &ledger).await {
                return;
            }
        }
        if n % 4 == 0 {
            let request = json!({ "name": name });
            if !attempt(&client, "DeleteBook", request, &name, None, &ledger).await {
                return;
            }
        }
    }
}

/// One write; `false` once the server does not answer any more.
async fn attempt(
    client: &Client,
    method: &str,
    request: Value,
    name: &str,
    state: Option<i64>,
    ledger: &Mutex<Ledger>,
) -> bool {
    ledger.lock().unwrap().open.entry(name.to_owned()).or_default().push(state);
    let answer = client.call(method, request).await;
    let mut ledger = ledger.lock().unwrap();
    match answer {
        Ok(_) => {
            ledger.open.remove(name);
            ledger.acknowledged.insert(name.to_owned(), state);
            true
        }
        Err(status) => {
            let code = status.code();
            let is_gone = matches!(
                code,
                tonic::Code::Unavailable
                    | tonic::Code::Unknown
                    | tonic::Code::Cancelled
                    | tonic::Code::Internal
            );
            assert!(is_gone, "a write that nothing stands in the way of: {status}");
            false
        }
    }
}

/// Every book is as acknowledged, or as a write left it whose answer was lost.
fn check(ledger: &mut Ledger, books: &BTreeMap<String, Value>) {
    let days = |name: &str| books.get(name).map(|b| b["loanDays"].as_i64().unwrap_or_default());
    for (name, acknowledged) in &ledger.acknowledged {
        let found = days(name);
        let open = ledger.open.get(name).cloned().unwrap_or_default();
        let is_right = found == *acknowledged || open.contains(&found);
        assert!(is_right, "{name}: acknowledged {acknowledged:?}, found {found:?}, open {open:?}");
    }
    for (name, book) in books {
        let known = ledger.acknowledged.contains_key(name) || ledger.open.contains_key(name);
        assert!(known, "nobody wrote {name}");
        assert_eq!(book["title"], "t", "half a book: {book}");
        assert_eq!(book["metadata"]["uuid"].as_str().map(str::len), Some(36), "{book}");
    }
    // What was open is settled now: it is what was found.
    let open = std::mem::take(&mut ledger.open);
    for name in open.into_keys() {
        let found = days(&name);
        ledger.acknowledged.insert(name, found);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives_sigkill_at_random_points() {
    let kills = std::env::var("BOWLINE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12u64);
    let world = World::new("durability").unwrap();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let acknowledged = AtomicU64::new(0);
    for round in 0..kills {
        let server = start(world.path());
        let client = client(&server).await;
        let books = client.list().await;
        check(&mut ledger.lock().unwrap(), &books);
        let writers =
            (0..WRITERS).map(|n| tokio::spawn(write(client.clone(), round, n, ledger.clone())));
        let writers: Vec<_> = writers.collect();
        // Another point of the run each time: in the first group, in the middle, at a checkpoint.
        let enough = 1 + (round * 7919) % 1500;
        let goal = acknowledged.load(Ordering::SeqCst) + enough;
        let reached = || {
            let n = ledger.lock().unwrap().acknowledged.len() as u64;
            async move { (n >= goal).then_some(()) }
        };
        bowline_testkit::eventually("enough acknowledged writes", Duration::from_secs(60), reached)
            .await
            .unwrap();
        server.kill().unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
        acknowledged.store(ledger.lock().unwrap().acknowledged.len() as u64, Ordering::SeqCst);
    }
    let server = start(world.path());
    let books = client(&server).await.list().await;
    check(&mut ledger.lock().unwrap(), &books);
    assert!(server.stop().unwrap().success(), "a polite stop is a clean exit");
    assert!(acknowledged.load(Ordering::SeqCst) > kills, "the test wrote next to nothing");
}
