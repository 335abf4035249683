//! PostgreSQL replaced under a serving program, and two programs on one PostgreSQL.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bowline_testkit::postgres::{Options, require};
use serde_json::{Value, json};

use crate::books::Client;
use crate::watcher::Watcher;
use crate::{WRITERS, start};

const PATIENCE: Duration = Duration::from_secs(30);

/// What clients that never give up have done.
#[derive(Default)]
struct Clients {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    /// `loan_days` of each book, `None` if it was deleted.
    books: Mutex<BTreeMap<String, Option<i64>>>,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Clients {
    /// Creates books, counts them up and deletes some, each write until it succeeds.
    async fn write(self: Arc<Self>, client: Client, writer: u64) {
        for n in 0.. {
            let name = format!("shelves/s{writer}/books/{n}");
            for days in 1..=3 {
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                let book = json!({ "name": name, "title": "t", "loanDays": days });
                let request = json!({ "book": book, "allowMissing": true });
                self.insist(&client, "UpdateBook", request).await;
                self.books.lock().unwrap().insert(name.clone(), Some(days));
            }
            if n % 4 == 0 {
                let request = json!({ "name": name, "allowMissing": true });
                self.insist(&client, "DeleteBook", request).await;
                self.books.lock().unwrap().insert(name, None);
            }
        }
    }

    async fn insist(&self, client: &Client, method: &str, request: Value) {
        let insisting = async {
            while let Err(status) = client.call(method, request.clone()).await {
                let code = status.code();
                let is_retryable = matches!(code, tonic::Code::Unavailable | tonic::Code::Aborted);
                assert!(is_retryable, "no client can retry this: {status}");
                *self.errors.lock().unwrap().entry(format!("{code:?}")).or_default() += 1;
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, insisting).await.expect("the server does not come back");
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }

    async fn more(&self, writes: u64) {
        let goal = self.acknowledged.load(Ordering::SeqCst) + writes;
        let reached = || {
            let is_there = self.acknowledged.load(Ordering::SeqCst) >= goal;
            async move { is_there.then_some(()) }
        };
        bowline_testkit::eventually("more acknowledged writes", PATIENCE, reached).await.unwrap();
    }

    /// What must be there.
    fn expected(&self) -> BTreeMap<String, i64> {
        let books = self.books.lock().unwrap();
        books.iter().filter_map(|(name, days)| Some((name.clone(), (*days)?))).collect()
    }
}

fn days(books: &BTreeMap<String, Value>) -> BTreeMap<String, i64> {
    let days = |book: &Value| book["loanDays"].as_i64().unwrap_or_default();
    books.iter().map(|(name, book)| (name.clone(), days(book))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_and_watches_outlive_the_database_primary() {
    let Some(mut primary) = require(Options::durable()) else { return };
    let standby = primary.standby().unwrap();
    primary.wait_for_standby_on_commit().unwrap();
    let server = start(&["--store", &primary.url_with(&standby, "postgres")]);
    let client = Client::to(&server).await;
    let watcher = Watcher::start(client.clone()).await;
    let clients = Arc::new(Clients::default());
    let writers = (0..WRITERS).map(|n| tokio::spawn(clients.clone().write(client.clone(), n)));
    let writers: Vec<_> = writers.collect();
    clients.more(400).await;
    let killed = Instant::now();
    primary.kill().unwrap();
    standby.promote().unwrap();
    clients.more(1).await;
    let served = killed.elapsed();
    clients.more(400).await;
    clients.stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let expected = clients.expected();
    assert_eq!(days(&client.list().await), expected);
    let seen = watcher.sees(|seen| seen.books == expected).await;
    assert_eq!(seen.hard_resets, 0, "the watch had to start over");
    let writes = clients.acknowledged.load(Ordering::SeqCst);
    let errors = clients.errors.lock().unwrap();
    println!("failover: {writes} writes, first one {served:?} after the kill, errors {errors:?}");
    println!("failover: watch streams that ended: {:?}", seen.lost);
    assert!(server.stop().unwrap().success(), "a polite stop is a clean exit");
}

const PACED_WRITERS: u64 = 8;
const PACED_WRITES: u64 = 120;

/// What a quiet machine keeps in all cases; a busy one may take this much longer before the test fails.
const GOAL: Duration = Duration::from_millis(50);
const BUSY: u32 = 10;

/// Creates one book after the other, with a little time between them; answers when each was sent.
async fn pace(client: Client, writer: u64) -> Vec<(String, Instant)> {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let mut sent = Vec::new();
    for n in 0..PACED_WRITES {
        pace.tick().await;
        let name = format!("shelves/s{writer}/books/{n}");
        let book = json!({ "name": name, "title": "t", "loanDays": 1 });
        let request = json!({ "book": book, "allowMissing": true });
        sent.push((name, Instant::now()));
        client.call("UpdateBook", request).await.unwrap();
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_through_one_process_soon_show_on_watches_of_the_other() {
    let Some(database) = require(Options::durable()) else { return };
    let url = database.url("postgres");
    let (one, other) = (start(&["--store", &url]), start(&["--store", &url]));
    let client = Client::to(&one).await;
    let watcher = Watcher::start(Client::to(&other).await).await;
    // The first book of all makes its kind, which every later one is spared.
    let book = json!({ "name": "shelves/s/books/b", "title": "t", "loanDays": 1 });
    client.call("UpdateBook", json!({ "book": book, "allowMissing": true })).await.unwrap();
    let writers = (0..PACED_WRITERS).map(|n| tokio::spawn(pace(client.clone(), n)));
    let mut sent = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        sent.extend(writer.await.unwrap());
    }
    let seen = watcher.sees(|seen| seen.first.len() == sent.len() + 1).await;
    let mut times: Vec<_> = sent.iter().map(|(name, at)| seen.first[name] - *at).collect();
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("sent to seen: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
    assert!(at(99) <= GOAL * BUSY, "p99 is {:?}", at(99));
}
