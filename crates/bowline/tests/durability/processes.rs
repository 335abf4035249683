//! The program itself, killed again and again over the same data.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_testkit::World;
use bowline_testkit::postgres::{Options, require};

use crate::books::Client;
use crate::ledger::{Ledger, check, write};
use crate::{WRITERS, start};

/// Kills a server over `store` at random points, `kills` times, each at most `writes_max` writes after its start.
async fn survives(store: &[&str], kills: u64, writes_max: u64) {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let acknowledged = || ledger.lock().unwrap().acknowledged.len() as u64;
    for round in 0..kills {
        let server = start(store);
        let client = Client::to(&server).await;
        let books = client.list().await;
        check(&mut ledger.lock().unwrap(), &books);
        let writers =
            (0..WRITERS).map(|n| tokio::spawn(write(client.clone(), round, n, ledger.clone())));
        let writers: Vec<_> = writers.collect();
        // Another point of the run each time: in the first group, in the middle, at a checkpoint.
        let goal = acknowledged() + 1 + (round * 7919) % writes_max;
        let reached = || {
            let n = acknowledged();
            async move { (n >= goal).then_some(()) }
        };
        bowline_testkit::eventually("enough acknowledged writes", Duration::from_secs(60), reached)
            .await
            .unwrap();
        server.kill().unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
    }
    let server = start(store);
    let books = Client::to(&server).await.list().await;
    check(&mut ledger.lock().unwrap(), &books);
    assert!(server.stop().unwrap().success(), "a polite stop is a clean exit");
    assert!(acknowledged() > kills, "the test wrote next to nothing");
    println!("{kills} kills of the program, {} books written", acknowledged());
}

fn kills() -> u64 {
    std::env::var("BOWLINE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives_sigkill_at_random_points() {
    let world = World::new("durability").unwrap();
    survives(&["--data", world.path().to_str().unwrap()], kills(), 1500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_every_acknowledged_write_survives_sigkill_too() {
    let Some(server) = require(Options::default()) else { return };
    // Starting takes longer there, so there are fewer rounds.
    survives(&["--store", &server.url("postgres")], kills().div_ceil(2), 300).await;
}
