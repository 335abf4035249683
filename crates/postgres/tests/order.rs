//! Why sequences are given under a lock: the naive way loses changes, under the very pauses under which ours does not.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and runs in real time"
)]

mod ways;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bowline_store::{Backend, Changes, Position};
use bowline_testkit::postgres::{Options, Server, require};
use futures::future::{join_all, try_join_all};

use self::ways::{PATIENCE, batch, open, options, put};

const WRITERS: u64 = 64;
const ROUNDS: u64 = 4;

/// Holds a commit up for a random moment, when all else of it is done.
fn pause_before_commit(table: &str, event: &str) -> String {
    format!(
        "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(random() * 0.01); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER pause AFTER {event} ON {table} \
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pause();"
    )
}

async fn connect(server: &Server) -> tokio_postgres::Client {
    let url = server.url("postgres");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What a reader of the naive log has seen, who always goes on after the last line that it saw.
async fn follow_naively(client: tokio_postgres::Client, end: Arc<AtomicBool>) -> BTreeSet<i64> {
    let (mut seen, mut last) = (BTreeSet::new(), 0_i64);
    loop {
        let is_last_look = end.load(Ordering::SeqCst);
        let newer = "SELECT id FROM log WHERE id > $1 ORDER BY id";
        for line in client.query(newer, &[&last]).await.unwrap() {
            last = line.get(0);
            seen.insert(last);
        }
        if is_last_look {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_without_a_lock_loses_changes_for_its_readers() {
    let Some(server) = require(Options::default()) else { return };
    let log = "CREATE TABLE log (id bigserial PRIMARY KEY, writer bigint NOT NULL);";
    let pause = pause_before_commit("log", "INSERT");
    server.sql("postgres", &format!("{log}{pause}")).unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(follow_naively(connect(&server).await, end.clone()));
    let writers = join_all((0..WRITERS).map(|_| connect(&server))).await;
    let write = writers.iter().zip(0_i64..).map(|(client, writer)| async move {
        for _ in 0..ROUNDS {
            client.execute("INSERT INTO log (writer) VALUES ($1)", &[&writer]).await?;
        }
        Ok::<_, tokio_postgres::Error>(())
    });
    try_join_all(write).await.unwrap();
    end.store(true, Ordering::SeqCst);
    let seen = reader.await.unwrap();
    let all = (WRITERS * ROUNDS) as usize;
    println!("the naive way: {} of {all} changes were seen", seen.len());
    assert!(seen.len() < all, "the naive way was lucky, or the pause has no effect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_the_same_pauses_our_readers_see_every_change_once_and_in_order() {
    let Some(server) = require(Options::default()) else { return };
    let url = server.url("postgres");
    // Small groups, and nothing in memory: the log itself is on trial. Two processes, several transactions at a time.
    let mut small = options(&url, "public");
    small.group_batches_max = 4;
    small.tail_changes_max = 0;
    let stores = [Arc::new(open(small.clone()).await), Arc::new(open(small.clone()).await)];
    server.sql("postgres", &pause_before_commit("state", "UPDATE")).unwrap();
    let reader = open(small).await;
    let writes = (0..WRITERS).map(|writer| {
        let store = stores[writer as usize % 2].clone();
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                store.commit(batch(vec![put(&format!("w{writer}"), round + 1)])).await.unwrap();
            }
        })
    });
    let writes: Vec<_> = writes.collect();
    let all = WRITERS * ROUNDS;
    let (mut from, mut seen) = (Position::default(), Vec::new());
    let mut head = reader.head();
    let follow = async {
        while (seen.len() as u64) < all {
            let page = reader.changes(from, 10).await.unwrap();
            let Changes::Page { changes, next, at_head } = page else { panic!("the log was cut") };
            seen.extend(changes.iter().map(|change| change.position.sequence));
            from = next;
            if at_head && (seen.len() as u64) < all {
                head.changed().await.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, follow).await.expect("all changes are seen in time");
    join_all(writes).await;
    assert_eq!(seen, (1..=all).collect::<Vec<_>>());
    for store in stores {
        store.close().await.unwrap();
    }
}
