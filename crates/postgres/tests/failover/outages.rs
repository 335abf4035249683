//! PostgreSQL killed under load: by crash and restart, by failover to a synchronous replica, by standing still.
//!
//! Nothing that was acknowledged is lost, errors are such that clients retry, and who follows the change feed goes on without
//! gap or repetition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_postgres::PostgresOptions;
use bowline_store::Backend;
use bowline_testkit::postgres::{Options, require};

use crate::load::Load;
use crate::open;

const WRITERS: usize = 16;

/// Commits between two blows.
const COMMITS: u64 = 300;

/// Patient: commits and reads wait until a server answers, so nobody sees an error.
fn patient(options: &mut PostgresOptions) {
    options.connect_timeout = Duration::from_secs(1);
}

/// Hardly patient: an outage shows as errors.
fn impatient(options: &mut PostgresOptions) {
    options.connect_timeout = Duration::from_millis(200);
    options.answer_deadline = Duration::from_millis(200);
}

/// Closes all stores, so that no server goes before its clients.
async fn close(stores: &[Arc<dyn Backend>]) {
    for store in stores {
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_goes_on_where_the_killed_primary_was() {
    let Some(mut primary) = require(Options::durable()) else { return };
    let standby = primary.standby().unwrap();
    primary.wait_for_standby_on_commit().unwrap();
    let url = primary.url_with(&standby, "postgres");
    let stores = [open(&url, patient).await, open(&url, patient).await];
    let load = Load::start(&stores, WRITERS).await;
    load.more(COMMITS).await;
    let killed = Instant::now();
    primary.kill().unwrap();
    standby.promote().unwrap();
    let promoted = killed.elapsed();
    load.more(1).await;
    let served = killed.elapsed();
    load.more(COMMITS).await;
    let verdict = load.finish().await;
    verdict.check();
    println!("failover: {}", verdict.summary());
    println!("failover: promoted {promoted:?} after the kill, first commit {served:?} after it");
    close(&stores).await;
}

/// That the tests here would notice a loss: this replica misses what was acknowledged last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_nobody_waited_for_loses_commits_and_that_is_noticed() {
    let Some(mut primary) = require(Options::durable()) else { return };
    let mut standby = primary.standby().unwrap();
    let url = primary.url_with(&standby, "postgres");
    let load = Load::start(&[open(&url, patient).await], WRITERS).await;
    load.more(COMMITS).await;
    standby.kill().unwrap();
    load.more(COMMITS).await;
    primary.kill().unwrap();
    standby.restart().unwrap();
    standby.promote().unwrap();
    let judged = tokio::spawn(async move {
        load.more(1).await;
        load.finish().await.check();
    });
    assert!(judged.await.is_err_and(|error| error.is_panic()), "nobody noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_server_is_awaited_and_nothing_is_lost() {
    let Some(mut server) = require(Options::default()) else { return };
    let url = server.url("postgres");
    let stores = [open(&url, patient).await, open(&url, patient).await];
    let load = Load::start(&stores, WRITERS).await;
    for round in 0..4 {
        // Another point each time: soon after the start, and in full swing.
        load.more(1 + round * COMMITS / 2).await;
        server.kill().unwrap();
        server.restart().unwrap();
    }
    load.more(COMMITS).await;
    let verdict = load.finish().await;
    verdict.check();
    println!("crashes: {}", verdict.summary());
    close(&stores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_that_is_longer_than_anybody_waits_shows_as_errors_to_retry() {
    let Some(mut server) = require(Options::default()) else { return };
    let url = server.url("postgres");
    let stores = [open(&url, impatient).await, open(&url, impatient).await];
    let load = Load::start(&stores, WRITERS).await;
    for _ in 0..3 {
        load.more(COMMITS / 3).await;
        server.kill().unwrap();
        load.nobody_is_answered().await;
        server.restart().unwrap();
    }
    load.more(COMMITS).await;
    let verdict = load.finish().await;
    verdict.check();
    assert!(verdict.lost() >= WRITERS, "nobody noticed the outage: {}", verdict.summary());
    println!("long outages: {}", verdict.summary());
    close(&stores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_for_a_while_is_awaited() {
    let Some(server) = require(Options::default()) else { return };
    let stores = [open(&server.url("postgres"), patient).await];
    let load = Load::start(&stores, WRITERS).await;
    for _ in 0..3 {
        load.more(COMMITS / 2).await;
        server.freeze().unwrap();
        let before = load.acknowledged();
        stand_still(Duration::from_millis(700)).await;
        let meanwhile = load.acknowledged() - before;
        assert!(meanwhile <= WRITERS as u64, "{meanwhile} commits were acknowledged by nobody");
        server.thaw().unwrap();
    }
    load.more(COMMITS).await;
    let verdict = load.finish().await;
    verdict.check();
    println!("standstill: {}", verdict.summary());
    close(&stores).await;
}

/// The time itself is what is tested here, not something that becomes true.
async fn stand_still(time: Duration) {
    tokio::time::sleep(time).await;
}
