//! Deletions against what happens at the same moment: saves of referrers, other deletions, namesakes.

use bowline_base::{Reason, Status};
use bowline_store::{Condition, Write};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::gate::{Gate, Mistake};
use crate::world::World;
use crate::{reason, rows_left, subjects};

fn spawn_delete(world: &World, id: &'static str) -> JoinHandle<Result<Value, Status>> {
    let world = world.clone();
    tokio::spawn(async move { world.delete(id).await })
}

fn plant(gate: &Gate, mistake: Option<Mistake>) {
    if let Some(mistake) = mistake {
        gate.forget(mistake);
    }
}

/// How the deletion ended, and whether a referrer that was saved before it has a target.
struct Ended {
    deletion: Result<Value, Status>,
    is_whole: bool,
}

async fn referrer_before_verdict(mistake: Option<Mistake>) -> Ended {
    let (world, base, _) = World::gated();
    plant(&base, mistake);
    world.node("a", json!({})).await.unwrap();
    let mut verdict = base.hold_removal("nodes/a");
    let deleting = spawn_delete(&world, "a");
    verdict.arrived().await;
    world.node("b", json!({ "blocked": ["nodes/a"] })).await.unwrap();
    verdict.go();
    let deletion = deleting.await.unwrap();
    Ended { deletion, is_whole: world.get_node("a").await.is_ok() }
}

/// The same where the first attempt has already found that something refers to it: the verdict does not purge.
async fn referrer_before_waiting_verdict(mistake: Option<Mistake>) -> Ended {
    let (world, base, _) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.node("c", json!({ "cascade": "nodes/a" })).await.unwrap();
    let (mut first, mut verdict) = (base.hold_removal("nodes/a"), base.hold_removal("nodes/a"));
    let deleting = spawn_delete(&world, "a");
    first.arrived().await;
    first.go();
    verdict.arrived().await;
    plant(&base, mistake);
    world.node("b", json!({ "blocked": ["nodes/a"] })).await.unwrap();
    verdict.go();
    let deletion = deleting.await.unwrap();
    Ended { deletion, is_whole: world.get_node("a").await.is_ok() }
}

/// A source was asked and held nothing. Then another process grants it a reference, and it commits, before the verdict does.
async fn grant_after_answers(mistake: Option<Mistake>) -> Ended {
    let (world, base, _) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.app("z", json!({ "blocked": "nodes/a" })).await.unwrap();
    world.delete_app("z").await.unwrap();
    let (mut first, mut verdict) = (base.hold_removal("nodes/a"), base.hold_removal("nodes/a"));
    let deleting = spawn_delete(&world, "a");
    first.arrived().await;
    first.go();
    verdict.arrived().await;
    plant(&base, mistake);
    world.another().app("y", json!({ "blocked": "nodes/a" })).await.unwrap();
    verdict.go();
    let deletion = deleting.await.unwrap();
    Ended { deletion, is_whole: world.get_node("a").await.is_ok() }
}

fn no_row_in_range(condition: &Condition) -> bool {
    matches!(condition, Condition::NoRowInRange { .. })
}

/// Epoch and grants of the inbound part, which its version stands for.
fn inbound_as_read(condition: &Condition) -> bool {
    matches!(condition, Condition::RowAt { key, .. } if key.table.kind.starts_with("~inbound"))
}

#[tokio::test]
async fn a_referrer_that_comes_just_before_the_verdict_blocks_it() {
    let Ended { deletion, is_whole } = referrer_before_verdict(None).await;
    assert_eq!(subjects(&deletion.unwrap_err()), ["//base.test/nodes/b"]);
    assert!(is_whole);
}

#[tokio::test]
async fn a_referrer_that_comes_just_before_a_verdict_that_waits_blocks_it() {
    let Ended { deletion, is_whole } = referrer_before_waiting_verdict(None).await;
    assert_eq!(subjects(&deletion.unwrap_err()), ["//base.test/nodes/b"]);
    assert!(is_whole);
}

#[tokio::test]
async fn a_grant_after_the_answers_undoes_the_verdict() {
    let Ended { deletion, is_whole } = grant_after_answers(None).await;
    let status = deletion.unwrap_err();
    assert_eq!(status.reason, Reason::DeletionBlocked, "{status}");
    assert_eq!(subjects(&status), ["//users.test/apps/y"]);
    assert!(is_whole);
}

/// These tests can fail: a deletion that forgets a condition leaves a reference without its target.
#[tokio::test]
async fn a_forgotten_condition_is_found() {
    assert!(!referrer_before_verdict(Some(no_row_in_range)).await.is_whole);
    assert!(!referrer_before_waiting_verdict(Some(no_row_in_range)).await.is_whole);
    assert!(!grant_after_answers(Some(inbound_as_read)).await.is_whole);
}

#[tokio::test]
async fn a_referrer_of_what_would_go_along_blocks_the_verdict() {
    let (world, base, _) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.node("b", json!({ "cascadeNow": "nodes/a" })).await.unwrap();
    let mut verdict = base.hold_removal("nodes/b");
    let deleting = spawn_delete(&world, "a");
    verdict.arrived().await;
    world.node("x", json!({ "blocked": ["nodes/b"] })).await.unwrap();
    verdict.go();
    let status = deleting.await.unwrap().unwrap_err();
    assert_eq!(subjects(&status), ["//base.test/nodes/x"]);
    world.get_node("a").await.unwrap();
}

#[tokio::test]
async fn what_was_pointed_elsewhere_meanwhile_does_not_go_along() {
    let (world, base, _) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.node("safe", json!({})).await.unwrap();
    world.node("b", json!({ "cascadeNow": "nodes/a" })).await.unwrap();
    let mut verdict = base.hold_removal("nodes/b");
    let deleting = spawn_delete(&world, "a");
    verdict.arrived().await;
    let node = json!({ "name": "nodes/b", "cascadeNow": "nodes/safe" });
    let update = json!({ "node": node, "updateMask": "cascadeNow" });
    world.call("base.v1.NodeService/UpdateNode", update).await.unwrap();
    verdict.go();
    deleting.await.unwrap().unwrap();
    world.get_node("b").await.unwrap();
    assert_eq!(reason(world.get_node("a").await), Reason::ResourceNotFound);
}

#[tokio::test]
async fn a_referrer_that_lands_after_the_verdict_is_refused() {
    let (world, base, _) = World::gated();
    world.node("a", json!({})).await.unwrap();
    let mut save = base.hold(|batch| {
        let puts =
            |write: &Write| matches!(write, Write::Put { key, .. } if &*key.name == "nodes/b");
        batch.writes.iter().any(puts)
    });
    let saving = tokio::spawn({
        let world = world.clone();
        async move { world.node("b", json!({ "blocked": ["nodes/a"] })).await }
    });
    save.arrived().await;
    world.delete("a").await.unwrap();
    save.go();
    assert_eq!(reason(saving.await.unwrap()), Reason::ReferenceNotFound);
    assert_eq!(reason(world.get_node("b").await), Reason::ResourceNotFound);
}

/// A source was granted, and stalls before it commits; the deletion's question fences it.
#[tokio::test]
async fn a_source_that_stalls_between_grant_and_commit_comes_too_late() {
    let (world, _, users) = World::gated();
    world.node("a", json!({})).await.unwrap();
    let mut save = users.hold(|batch| {
        let puts =
            |write: &Write| matches!(write, Write::Put { key, .. } if &*key.name == "apps/z");
        batch.writes.iter().any(puts)
    });
    let saving = tokio::spawn({
        let world = world.clone();
        async move { world.app("z", json!({ "blocked": "nodes/a" })).await }
    });
    save.arrived().await;
    // It waits for the blockade for a moment, and goes on without.
    world.delete("a").await.unwrap();
    save.go();
    assert_eq!(reason(saving.await.unwrap()), Reason::ReferenceNotFound);
    assert_eq!(reason(world.get_app("z").await), Reason::ResourceNotFound);
    assert_eq!(rows_left(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_deletions_of_one_resource_one_succeeds() {
    let (world, ..) = World::gated();
    let other = world.another();
    for round in 0..10 {
        world.node("a", json!({})).await.unwrap();
        if round % 2 == 0 {
            world.app("z", json!({ "blocked": "nodes/a" })).await.unwrap();
            world.delete_app("z").await.unwrap();
        }
        let deletions = (0..8).map(|n| spawn_delete(if n % 2 == 0 { &world } else { &other }, "a"));
        let mut deleted = 0;
        for deletion in deletions.collect::<Vec<_>>() {
            match deletion.await.unwrap() {
                Ok(_) => deleted += 1,
                Err(status) => assert_eq!(status.reason, Reason::ResourceNotFound, "{status}"),
            }
        }
        assert_eq!(deleted, 1);
    }
    assert_eq!(rows_left(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_is_made_and_deleted_again_and_again_by_many() {
    let (world, ..) = World::gated();
    let makers = (0..4).map(|_| {
        let world = world.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                match world.node("a", json!({})).await {
                    Ok(_) => {}
                    Err(status) => assert_eq!(status.reason, Reason::ResourceExists, "{status}"),
                }
                match world.delete("a").await {
                    Ok(_) => {}
                    Err(status) => assert_eq!(status.reason, Reason::ResourceNotFound, "{status}"),
                }
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.unwrap();
    }
    assert_eq!(rows_left(&world).await, 0);
}

/// Whatever lands when: nothing that was saved refers to what is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_dangles_when_referrers_are_made_while_their_target_is_deleted() {
    let (world, ..) = World::gated();
    for round in 0..30 {
        let target = format!("t{round}");
        world.node(&target, json!({})).await.unwrap();
        let name = format!("nodes/{target}");
        let node = tokio::spawn({
            let (world, name) = (world.clone(), name.clone());
            async move { world.node(&format!("r{round}"), json!({ "blocked": [name] })).await }
        });
        let app = tokio::spawn({
            let (world, name) = (world.clone(), name.clone());
            async move { world.app(&format!("r{round}"), json!({ "blocked": name })).await }
        });
        let deleted = world.delete(&target).await;
        let (node, app) = (node.await.unwrap(), app.await.unwrap());
        let is_there = world.get_node(&target).await.is_ok();
        assert_eq!(deleted.is_err(), is_there);
        assert!(is_there || (node.is_err() && app.is_err()), "round {round}: {node:?} {app:?}");
    }
}
