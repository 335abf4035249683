//! Deletions against saves that land between what they read and their commit: the gate in front of the store holds them up.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_store::{Batch, Write};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::gate::Gate;
use crate::world::World;
use crate::{M, gone, held, is_marked, reason};

fn gated() -> (Arc<World>, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    (Arc::new(World::over(gate.clone())), gate)
}

fn spawn_delete(world: &Arc<World>) -> JoinHandle<Result<Value, Status>> {
    let world = world.clone();
    tokio::spawn(async move { world.delete(M).await })
}

/// Whether the commit marks the machine: its row stays, and its name is taken.
fn marks(batch: &Batch) -> bool {
    let is_alias = |write: &Write| matches!(write, Write::Put { key, .. } if &*key.name == M && key.table.namespace.starts_with("~alias"));
    batch.writes.iter().any(is_alias)
}

#[tokio::test]
async fn a_finalizer_that_comes_just_before_the_end_holds_it() {
    let (world, gate) = gated();
    world.make("machine", "m", json!({})).await.unwrap();
    let mut verdict = gate.hold_removal(M);
    let deleting = spawn_delete(&world);
    verdict.arrived().await;
    world.finalize("m", &["a"]).await.unwrap();
    verdict.go();
    deleting.await.unwrap().unwrap();
    let marked = world.get(M).await.unwrap();
    assert!(is_marked(&marked) && marked["metadata"]["finalizers"] == json!(["a"]), "{marked}");
}

#[tokio::test]
async fn a_referrer_that_comes_just_before_the_mark_is_seen() {
    for (field, is_blocked) in [("blocks", true), ("goes", false)] {
        let (world, gate) = gated();
        world.make("machine", "m", held(&["a"])).await.unwrap();
        let mut mark = gate.hold(marks);
        let deleting = spawn_delete(&world);
        mark.arrived().await;
        match is_blocked {
            true => world.make("lease", "l", json!({ "machine": M })).await.map(|_| ()).unwrap(),
            false => world.make_part("m", "p").await.map(|_| ()).unwrap(),
        }
        mark.go();
        let deleted = deleting.await.unwrap();
        assert_eq!(is_marked(&world.get(M).await.unwrap()), !is_blocked, "{field}");
        match is_blocked {
            true => assert_eq!(reason(deleted), Reason::DeletionBlocked),
            false => gone(&world, "machines/m/parts/p").await,
        }
    }
}

#[tokio::test]
async fn a_save_that_comes_just_before_the_purge_is_not_lost_unseen() {
    let (world, gate) = gated();
    world.make("machine", "m", held(&["a"])).await.unwrap();
    world.delete(M).await.unwrap();
    let (mut first, second) = (gate.hold_removal(M), gate.hold_removal(M));
    world.finalize("m", &[]).await.unwrap();
    first.arrived().await;
    world.update("m", json!({ "title": "t" }), "title").await.unwrap();
    first.go();
    // The first one was about another version.
    assert_eq!(world.get(M).await.unwrap()["title"], "t");
    second.go();
    gone(&world, M).await;
}
