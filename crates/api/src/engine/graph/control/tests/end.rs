//! What follows from deletions, until nothing is left of them.

use bowline_control::Status;
use bowline_graph::deletion;
use bowline_store::ring::Shards;
use bowline_store::{Backend, Batch, RowId, Write};
use bowline_wire::bowline::mixin::v1 as wire;
use serde_json::json;

use super::world::{BASE, SERVICES, USERS, World};

#[tokio::test]
async fn a_cascade_runs_through_three_services_and_leaves_nothing() {
    let world = World::new();
    world.node("n", json!({})).await.unwrap();
    world.node("local", json!({ "cascade": "nodes/n" })).await.unwrap();
    for at in 0..20 {
        world.app(&format!("a{at}"), json!({ "cascade": "nodes/n" })).await.unwrap();
        let widget = json!({ "cascade": format!("apps/a{at}") });
        world.widget(&format!("w{at}"), widget).await.unwrap();
    }
    world.app("other", json!({})).await.unwrap();
    world.delete("nodes/n").await.unwrap();
    for at in 0..20 {
        world.is_gone(&format!("apps/a{at}")).await;
        world.is_gone(&format!("widgets/w{at}")).await;
    }
    world.is_gone("nodes/local").await;
    world.is_finished().await;
    assert!(world.get("apps/other").await.is_some());
    // The name is free, and what follows from the old one does not touch the new one.
    world.node("n", json!({})).await.unwrap();
    world.app("new", json!({ "cascade": "nodes/n" })).await.unwrap();
    world.is_finished().await;
    assert!(world.get("apps/new").await.is_some());
    for service in SERVICES {
        let inbound =
            world.tables(service).await.into_iter().filter(|t| t.kind.starts_with("~inbound"));
        let mut left = 0;
        for table in inbound {
            left += world.rows(service, &table).await.len();
        }
        assert_eq!(left, usize::from(service == BASE), "{service}");
    }
}

#[tokio::test]
async fn unset_takes_out_what_is_gone_and_nothing_else() {
    let world = World::new();
    for node in ["n", "m"] {
        world.node(node, json!({})).await.unwrap();
    }
    let app = json!({ "unset": ["nodes/n", "nodes/m"] });
    for at in 0..300 {
        world.app(&format!("a{at:03}"), app.clone()).await.unwrap();
    }
    world.delete("nodes/n").await.unwrap();
    world.is_finished().await;
    for at in [0, 150, 299] {
        let app = world.get(&format!("apps/a{at:03}")).await.unwrap();
        assert_eq!(app["unset"], json!(["nodes/m"]));
    }
    world.node("n", json!({})).await.unwrap();
}

#[tokio::test]
async fn what_is_blocked_waits_is_told_and_goes_when_nothing_blocks_it_any_more() {
    let world = World::new();
    world.node("n", json!({})).await.unwrap();
    world.node("m", json!({})).await.unwrap();
    world.app("a", json!({ "cascade": "nodes/n" })).await.unwrap();
    world.app("b", json!({ "cascade": "nodes/m" })).await.unwrap();
    world.widget("w", json!({ "blocked": "apps/a" })).await.unwrap();
    world.delete("nodes/n").await.unwrap();
    world.tells("1 referrers stay: apps/a").await;
    world.tells("users.test holds 1 references: apps/a").await;
    // Others do not wait for it.
    world.delete("nodes/m").await.unwrap();
    world.is_gone("apps/b").await;
    assert!(world.get("apps/a").await.is_some());
    assert_eq!(world.unfinished(USERS).await, Vec::<String>::new());
    assert!(world.node("n", json!({})).await.is_err(), "the name is taken until the end");
    world.delete("widgets/w").await.unwrap();
    world.is_gone("apps/a").await;
    world.is_finished().await;
    world.node("n", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_never_answers_does_not_stop_the_others() {
    let world = World::new();
    world.node("n", json!({})).await.unwrap();
    world.app("a", json!({ "cascade": "nodes/n" })).await.unwrap();
    world.widget("w", json!({ "node": "nodes/n" })).await.unwrap();
    world.is_finished().await;
    let users = &world.stores[USERS];
    world.stores[BASE].mutes.set(users.clone()).unwrap();
    world.delete("nodes/n").await.unwrap();
    world.is_gone("widgets/w").await;
    world.tells("owned_deleting users.test 0..1024: 1 pending").await;
    assert_eq!(world.unfinished(BASE).await.len(), 2, "deletion and name stay");
    // Its store speaks again: nothing rings for that.
    users.speak();
    world.is_gone("apps/a").await;
    world.is_finished().await;
}

#[tokio::test]
async fn a_deletion_that_comes_while_the_store_fails_is_heard_again() {
    let world = World::new();
    world.node("n", json!({})).await.unwrap();
    world.app("a", json!({ "cascade": "nodes/n" })).await.unwrap();
    world.is_finished().await;
    let users = &world.stores[USERS];
    world.stores[BASE].breaks.set(users.clone()).unwrap();
    world.delete("nodes/n").await.unwrap();
    world.tells("owned_deleting users.test 0..1024: 1 pending, failed").await;
    world.tells("users.test: hear base.test").await;
    users.speak();
    world.is_gone("apps/a").await;
    world.is_finished().await;
    assert!(!world.status().contains("hear"), "{}", world.status());
}

#[tokio::test]
async fn the_deletion_of_a_namesake_of_before_touches_nobody() {
    let world = World::new();
    world.node("n", json!({})).await.unwrap();
    world.node("local", json!({ "cascade": "nodes/n" })).await.unwrap();
    world.app("a", json!({ "cascade": "nodes/n" })).await.unwrap();
    world.app("u", json!({ "unset": ["nodes/n"] })).await.unwrap();
    world.is_finished().await;
    let uid = RowId(9);
    let name = wire::VersionedName {
        version: "v1".to_owned(),
        kind: "base.test/Node".to_owned(),
        name: "nodes/n".to_owned(),
    };
    let names = vec![name];
    let deletion =
        wire::Deletion { uid: uid.0.to_be_bytes().to_vec(), names, ..Default::default() };
    let row = deletion::row(&deletion, 1);
    let writes = vec![Write::put(deletion::key("base.test/Node", uid), row)];
    let batch = Batch { conditions: Vec::new(), writes };
    world.stores[BASE].inner.commit(batch).await.unwrap();
    // What comes after it is worked off, so it has been as well.
    world.node("m", json!({})).await.unwrap();
    world.node("other", json!({ "cascade": "nodes/m" })).await.unwrap();
    world.app("b", json!({ "cascade": "nodes/m" })).await.unwrap();
    world.delete("nodes/m").await.unwrap();
    world.is_gone("apps/b").await;
    world.is_gone("nodes/other").await;
    for name in ["nodes/n", "nodes/local", "apps/a"] {
        assert!(world.get(name).await.is_some(), "{name}");
    }
    assert_eq!(world.get("apps/u").await.unwrap()["unset"], json!(["nodes/n"]));
}

#[tokio::test]
async fn processes_divide_the_work() {
    let world = World::new();
    for at in 0..30 {
        world.node(&format!("n{at}"), json!({})).await.unwrap();
        world.app(&format!("a{at}"), json!({ "cascade": format!("nodes/n{at}") })).await.unwrap();
        world.widget(&format!("w{at}"), json!({ "blocked": format!("apps/a{at}") })).await.unwrap();
    }
    for at in 0..30 {
        world.delete(&format!("nodes/n{at}")).await.unwrap();
    }
    let other = world.another();
    let halves = || async {
        let (one, two) = (parts(&world), parts(&other));
        let all = [Shards::part(0, 2), Shards::part(1, 2)];
        (all == [one?, two?] || all == [two?, one?]).then_some(())
    };
    let found = bowline_testkit::eventually("two halves", super::world::PATIENCE, halves).await;
    assert!(found.is_ok(), "{}\n{}", world.status(), other.status());
}

/// The part of the ring in which the process works at the ends of its deletions.
fn parts(world: &World) -> Option<Shards> {
    let deleting = |status: &Status| &*status.controller == "owned_deleting" && status.pending > 0;
    world.deployment(BASE).board.read().into_iter().find(deleting).map(|status| status.shards)
}
