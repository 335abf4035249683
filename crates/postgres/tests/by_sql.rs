//! What people and administrators see and do with SQL: views, dropped rows that go, commits that were lost.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and runs in real time"
)]

mod ways;

use bowline_postgres::OpenError;
use bowline_store::{Backend, Batch, Changes, Key, NameRange, Position, Row, RowId, Write};
use bowline_testkit::postgres::{Options, Server, require};
use bowline_testkit::wait::{eventually, eventually_blocking};
use bytes::Bytes;

use self::ways::{PATIENCE, all_changes, batch, key, open, options, put, refused, table};

fn readable(namespace: &str, name: &str, json: &str) -> Batch {
    let row = Row { id: RowId(name.len() as u128), ..Row::new(3, "protobuf") };
    let key = Key { table: table(namespace), name: name.into() };
    batch(vec![Write::Put { key, row, readable: Some(Bytes::copy_from_slice(json.as_bytes())) }])
}

/// What a query answers, once it does not fail and says something.
fn answer(server: &Server, sql: &str) -> String {
    let look = || server.sql("postgres", sql).ok().filter(|text| !text.trim().is_empty());
    eventually_blocking(sql, PATIENCE, look).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_can_be_queried_through_a_view_that_follows_a_swap() {
    let Some(server) = require(Options::default()) else { return };
    let store = open(options(&server.url("postgres"), "fleet")).await;
    assert!(store.wants_readable());
    store
        .commit(readable("v1", "devices/größte", r#"{"size":1,"text":"a\u0000b"}"#))
        .await
        .unwrap();
    store.commit(readable("v2", "devices/new", r#"{"size":2}"#)).await.unwrap();
    let one = "SELECT name, version, document->>'size', document->>'text' FROM fleet.devices_v1";
    let found = answer(&server, one);
    assert!(found.contains("devices/größte") && found.contains("ab"), "{found}");
    let two = "SELECT name FROM fleet.devices_v2 WHERE document @> '{\"size\": 2}'";
    assert!(answer(&server, two).contains("devices/new"));
    let swap = Write::Swap { a: "v1".into(), b: "v2".into() };
    store.commit(batch(vec![swap])).await.unwrap();
    assert!(answer(&server, one).contains("devices/new"));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_the_server_takes_for_no_json_is_kept_without() {
    let Some(server) = require(Options::default()) else { return };
    let store = open(options(&server.url("postgres"), "odd")).await;
    store.commit(readable("v1", "devices/1", r#"{"half":"\ud800"}"#)).await.unwrap();
    store.commit(readable("v1", "devices/22", "no json at all")).await.unwrap();
    store.commit(readable("v1", "devices/333\0", "{}")).await.unwrap();
    let found =
        answer(&server, "SELECT count(*), count(name), count(document) FROM odd.devices_v1");
    assert_eq!(found.split(['|', '\t']).collect::<Vec<_>>(), ["3", "2", "1"], "{found}");
    assert_eq!(store.get(&key("devices/1")).await.unwrap().0.unwrap().body, "protobuf");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_dropped_namespace_leave_the_tables_in_time() {
    let Some(server) = require(Options::default()) else { return };
    let store = open(options(&server.url("postgres"), "freed")).await;
    let writes = (0..2500).map(|n| put(&format!("d{n}"), 1)).collect();
    store.commit(batch(writes)).await.unwrap();
    store.commit(batch(vec![Write::Drop { namespace: "v1".into() }])).await.unwrap();
    let left = store.snapshot().await.unwrap().scan(&NameRange::all(table("v1")), 10, false).await;
    assert_eq!(left.unwrap().len(), 0);
    store.commit(batch(vec![put("new", 1)])).await.unwrap();
    let count = "SELECT (SELECT count(*) FROM freed.rows) + (SELECT count(*) FROM freed.dropped)";
    let look = || {
        let found = server.sql("postgres", count).unwrap();
        (found.trim() == "1").then_some(())
    };
    eventually_blocking("dropped rows are gone", PATIENCE, look).unwrap();
    assert!(store.get(&key("new")).await.unwrap().0.is_some());
    store.close().await.unwrap();
}

/// As after a failover to a replica that nobody had waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_has_lost_commits_begins_a_new_era() {
    let Some(server) = require(Options::default()) else { return };
    let store = open(options(&server.url("postgres"), "behind")).await;
    for version in 1..=5 {
        store.commit(batch(vec![put("a", version)])).await.unwrap();
    }
    let seen = *store.head().borrow();
    let lose = "BEGIN; UPDATE behind.state SET sequence = 3, log_changes = 3; \
        DELETE FROM behind.log WHERE sequence > 3; UPDATE behind.rows SET version = 3; COMMIT";
    server.sql("postgres", lose).unwrap();
    let after = store.commit(batch(vec![put("b", 1)])).await.unwrap();
    assert!(after.era > seen.era, "{after:?}");
    let old = store.changes(Position { sequence: 3, ..seen }, 10).await.unwrap();
    assert!(matches!(old, Changes::TooOld { .. }), "{old:?}");
    let mut head = store.head();
    let caught_up = eventually("the head is there", PATIENCE, || {
        let now = *head.borrow_and_update();
        async move { (now == after).then_some(()) }
    });
    caught_up.await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_something_else_is_left_alone() {
    let Some(server) = require(Options::default()) else { return };
    server.sql("postgres", "CREATE SCHEMA shop; CREATE TABLE shop.orders (id int)").unwrap();
    let (error, _) = refused(options(&server.url("postgres"), "shop")).await;
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
    let (error, _) = refused(options(&server.url("postgres"), &"x".repeat(64))).await;
    assert!(matches!(error, OpenError::SchemaName), "{error:?}");
}

/// No process is told of another's commit, but each looks now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_notifications_processes_find_each_others_commits_by_looking() {
    let Some(server) = require(Options::default()) else { return };
    let mut quiet = options(&server.url("postgres"), "quiet");
    quiet.notify = false;
    quiet.poll_interval = std::time::Duration::from_millis(20);
    let (one, two) = (open(quiet.clone()).await, open(quiet).await);
    let mut head = two.head();
    let position = one.commit(batch(vec![put("a", 1)])).await.unwrap();
    let heard = eventually("the other process sees it", PATIENCE, || {
        let now = *head.borrow_and_update();
        async move { (now >= position).then_some(()) }
    });
    heard.await.unwrap();
    assert_eq!(all_changes(&two).await.len(), 1);
    one.close().await.unwrap();
    two.close().await.unwrap();
}
