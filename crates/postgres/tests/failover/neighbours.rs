//! Two processes on one database: how long a commit of one takes to show in the change feed of the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bowline_store::{Backend, Batch, Changes, Position, Row, Write};
use bowline_testkit::postgres::{Options, require};

use crate::load::{PATIENCE, key};
use crate::open;

const WRITERS: u64 = 8;
const COMMITS: u64 = 150;

/// What a quiet machine keeps in all cases; a busy one may take this much longer before the test fails.
const GOAL: Duration = Duration::from_millis(50);
const BUSY: u32 = 8;

type Sent = Arc<Mutex<BTreeMap<String, Instant>>>;

/// Commits one row after the other, with a little time between them.
async fn write(store: Arc<dyn Backend>, writer: u64, sent: Sent) {
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    for n in 0..COMMITS {
        pace.tick().await;
        let name = format!("{writer}/{n}");
        let put = Write::put(key("First", &name), Row::new(1, "body"));
        sent.lock().unwrap().insert(name, Instant::now());
        store.commit(Batch { conditions: vec![], writes: vec![put] }).await.unwrap();
    }
}

/// How long each of `count` changes took from before its commit until it was read.
async fn read(
    store: Arc<dyn Backend>,
    mut after: Position,
    count: usize,
    sent: Sent,
) -> Vec<Duration> {
    let (mut head, mut times) = (store.head(), Vec::new());
    while times.len() < count {
        head.wait_for(|head| *head > after).await.unwrap();
        let Changes::Page { changes, next, .. } = store.changes(after, 1_000).await.unwrap() else {
            panic!("the log is too short");
        };
        let (now, sent) = (Instant::now(), sent.lock().unwrap());
        times.extend(changes.iter().map(|change| now - sent[&*change.key.name]));
        after = next;
    }
    times.sort();
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_one_process_soon_shows_in_the_feed_of_the_other() {
    let Some(server) = require(Options::durable()) else { return };
    let url = server.url("postgres");
    let (one, other) = (open(&url, |_| ()).await, open(&url, |_| ()).await);
    // The first row of a kind makes the kind, which every later one is spared.
    let put = Write::put(key("First", "first of all"), Row::new(1, "body"));
    let first = one.commit(Batch { conditions: vec![], writes: vec![put] }).await.unwrap();
    let (sent, start) = (Sent::default(), first);
    let writers = (0..WRITERS).map(|n| tokio::spawn(write(one.clone(), n, sent.clone())));
    let writers: Vec<_> = writers.collect();
    let count = usize::try_from(WRITERS * COMMITS).unwrap();
    let reading = read(other.clone(), start, count, sent.clone());
    let times = tokio::time::timeout(PATIENCE, reading).await.expect("not all changes came");
    for writer in writers {
        writer.await.unwrap();
    }
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("sent to seen: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
    assert!(at(99) <= GOAL * BUSY, "p99 is {:?}", at(99));
    one.close().await.unwrap();
    other.close().await.unwrap();
}
