//! Deletions over the real engine: what blocks, what goes along, what is worked off later, and what happens in races.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test fails by panicking, on real threads"
)]

#[path = "../ownership/world.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod fleet;
mod gate;
mod races;
mod regions;
#[path = "../ownership/sneaky.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod sneaky;
#[path = "../support/wait.rs"]
mod wait;
mod world;

use std::time::Duration;

use bowline_base::{Detail, Reason, Status};
use bowline_store::{NameRange, Table, Write, layout};
use serde_json::json;
use wait::eventually;
use world::{BASE, World};

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> Reason {
    answer.expect_err("it is refused").reason
}

/// Subjects of what stands in the way.
fn subjects(status: &Status) -> Vec<String> {
    let preconditions = status.details.iter().filter_map(|detail| match detail {
        Detail::Precondition(violations) => Some(violations),
        _ => None,
    });
    preconditions.flatten().map(|violation| violation.subject.clone()).collect()
}

/// How many rows of a table the nodes' store has.
async fn rows(world: &World, table: Table) -> usize {
    let mut snapshot = world.base.snapshot().await.unwrap();
    snapshot.scan(&NameRange::all(table), 10_000, false).await.unwrap().len()
}

/// Rows that a deletion leaves until it has finished.
async fn rows_left(world: &World) -> usize {
    let kind = "base.test/Node";
    rows(world, layout::common(&format!("~inbound/{kind}"))).await
        + rows(world, layout::aliases("v1", kind)).await
        + rows(world, bowline_graph::deletion::table(kind)).await
}

#[tokio::test]
async fn what_nothing_refers_to_costs_one_commit_and_its_name_is_free_at_once() {
    let (world, base, _) = World::gated();
    world.node("a", json!({})).await.unwrap();
    let before = base.commits();
    world.delete("a").await.unwrap();
    assert_eq!(base.commits(), before + 1);
    assert_eq!(reason(world.get_node("a").await), Reason::ResourceNotFound);
    assert_eq!(reason(world.delete("a").await), Reason::ResourceNotFound);
    world.delete_with("a", json!({ "allowMissing": true })).await.unwrap();
    assert_eq!(rows_left(&world).await, 0);
    world.node("a", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_blocking_reference_stands_in_the_way_until_it_is_gone() {
    let (world, ..) = World::gated();
    world.node("a", json!({})).await.unwrap();
    for n in 0..12 {
        world.node(&format!("b{n:02}"), json!({ "blocked": ["nodes/a"] })).await.unwrap();
    }
    let status = world.delete("a").await.unwrap_err();
    expect_test::expect![[r#"FAILED_PRECONDITION (DELETION_BLOCKED): Node "nodes/a" is referred to by 12 resources that block its deletion, first Node "nodes/b00" (blocked)"#]]
        .assert_eq(&status.to_string());
    assert_eq!(status.metadata["blockers"], "12");
    assert_eq!(subjects(&status).len(), 10);
    assert_eq!(subjects(&status)[0], "//base.test/nodes/b00");
    world.get_node("a").await.unwrap();
    for n in 0..12 {
        world.delete(&format!("b{n:02}")).await.unwrap();
    }
    world.delete("a").await.unwrap();
    assert_eq!(rows_left(&world).await, 0);
}

#[tokio::test]
async fn only_those_that_stay_are_counted_and_named() {
    let (world, ..) = World::gated();
    world.node("a", json!({})).await.unwrap();
    for n in 0..15 {
        let goes_along = json!({ "blocked": ["nodes/a"], "cascadeNow": "nodes/a" });
        world.node(&format!("b{n:02}"), goes_along).await.unwrap();
    }
    for n in 0..13 {
        world.node(&format!("c{n:02}"), json!({ "blocked": ["nodes/a"] })).await.unwrap();
    }
    let status = world.delete("a").await.unwrap_err();
    expect_test::expect![[r#"Node "nodes/a" is referred to by 13 resources that block its deletion, first Node "nodes/c00" (blocked)"#]].assert_eq(&status.message);
    assert_eq!(status.metadata["blockers"], "13");
    let named: Vec<_> = (0..10).map(|n| format!("//base.test/nodes/c{n:02}")).collect();
    assert_eq!(subjects(&status), named);
    for n in 0..13 {
        world.delete(&format!("c{n:02}")).await.unwrap();
    }
    world.delete("a").await.unwrap();
    assert_eq!(rows_left(&world).await, 0);
}

#[tokio::test]
async fn what_goes_in_the_same_commit_is_gone_with_it() {
    let (world, base, _) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.node("b", json!({ "cascadeNow": "nodes/a" })).await.unwrap();
    world.node("c", json!({ "cascadeNow": "nodes/b", "blocked": ["nodes/a"] })).await.unwrap();
    world.node("u", json!({ "unsetNow": ["nodes/a", "nodes/c"], "title": "t" })).await.unwrap();
    let before = base.commits();
    world.delete("a").await.unwrap();
    // The first one assumed that nothing refers to it.
    assert_eq!(base.commits(), before + 2);
    for gone in ["a", "b", "c"] {
        assert_eq!(reason(world.get_node(gone).await), Reason::ResourceNotFound, "{gone}");
    }
    let left = world.get_node("u").await.unwrap();
    assert_eq!((&left["unsetNow"], &left["title"]), (&json!(null), &json!("t")));
    assert_eq!(rows_left(&world).await, 0);
    world.node("a", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_blocker_of_what_would_go_along_blocks_all_of_it() {
    let (world, ..) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.node("b", json!({ "cascadeNow": "nodes/a" })).await.unwrap();
    world.node("x", json!({ "blocked": ["nodes/b"] })).await.unwrap();
    let status = world.delete("a").await.unwrap_err();
    expect_test::expect![[r#"Node "nodes/a" is referred to by 1 resource that blocks its deletion, first Node "nodes/x" (blocked), which refers to nodes/b, which would go too"#]]
        .assert_eq(&status.message);
    world.get_node("b").await.unwrap();
    world.get_node("a").await.unwrap();
}

#[tokio::test]
async fn a_cycle_of_blocking_references_is_told_and_one_of_cascades_ends() {
    let (world, ..) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.node("b", json!({ "blocked": ["nodes/a"], "cascadeNow": "nodes/a" })).await.unwrap();
    let update = |field: &str, value: serde_json::Value| {
        let mut node = json!({ "name": "nodes/a" });
        node[field] = value;
        json!({ "node": node, "updateMask": field })
    };
    let method = "base.v1.NodeService/UpdateNode";
    world.call(method, update("cascadeNow", json!("nodes/b"))).await.unwrap();
    world.delete("b").await.unwrap();
    assert_eq!(reason(world.get_node("a").await), Reason::ResourceNotFound);

    world.node("a", json!({})).await.unwrap();
    world.node("b", json!({ "blocked": ["nodes/a"] })).await.unwrap();
    world.call(method, update("blocked", json!(["nodes/b"]))).await.unwrap();
    let status = world.delete("a").await.unwrap_err();
    assert!(status.message.contains("nodes/a -> nodes/b -> nodes/a"), "{status}");
}

#[tokio::test]
async fn what_refers_to_itself_does_not_block_itself() {
    let (world, ..) = World::gated();
    world.node("a", json!({ "blocked": ["nodes/a"] })).await.unwrap();
    world.delete("a").await.unwrap();
    assert_eq!(rows_left(&world).await, 0);
}

#[tokio::test]
async fn a_name_stays_taken_as_long_as_a_cascade_is_held_up() {
    let (world, ..) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.node("b", json!({ "cascade": "nodes/a" })).await.unwrap();
    world.node("x", json!({ "blocked": ["nodes/b"] })).await.unwrap();
    world.delete("a").await.unwrap();
    assert_eq!(reason(world.get_node("a").await), Reason::ResourceNotFound);
    assert_eq!(reason(world.delete("a").await), Reason::ResourceNotFound);
    world.delete_with("a", json!({ "allowMissing": true })).await.unwrap();
    let status = world.node("a", json!({})).await.unwrap_err();
    expect_test::expect![[r#"FAILED_PRECONDITION (DELETION_PENDING): Node "nodes/a" is being deleted; its name is free when base.test holds no reference any more"#]]
        .assert_eq(&status.to_string());
    assert_eq!(status.metadata["root_cause"], "base.test/Node nodes/a");
    assert!(world.node("y", json!({ "blocked": ["nodes/a"] })).await.is_err());
    world.get_node("b").await.unwrap();
}

#[tokio::test]
async fn another_service_blocks_too_and_all_are_told_together() {
    let (world, ..) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.app("z", json!({ "blocked": "nodes/a" })).await.unwrap();
    let status = world.delete("a").await.unwrap_err();
    assert_eq!(status.reason, Reason::DeletionBlocked, "{status}");
    assert_eq!(subjects(&status), ["//users.test/apps/z"]);
    assert_eq!(status.metadata["blockers.users.test"], "1");
    world.node("b", json!({ "blocked": ["nodes/a"] })).await.unwrap();
    let status = world.delete("a").await.unwrap_err();
    assert_eq!(subjects(&status), ["//users.test/apps/z", "//base.test/nodes/b"]);
    assert_eq!(status.metadata[&format!("blockers.{BASE}")], "1");
    assert_eq!(status.metadata["blockers"], "2");
    world.delete("b").await.unwrap();
    world.delete_app("z").await.unwrap();
    // The source is still listed; it is asked and says that it holds nothing.
    world.delete("a").await.unwrap();
    assert_eq!(rows_left(&world).await, 0);
    world.node("a", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_source_that_does_not_answer_in_the_client_s_time_is_named() {
    let (world, _, users) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.app("z", json!({ "blocked": "nodes/a" })).await.unwrap();
    world.delete_app("z").await.unwrap();
    // It would answer only after its fence is written.
    let fences =
        |write: &Write| matches!(write, Write::Put { key, .. } if &*key.table.kind == "~fence");
    let held = users.hold(move |batch| batch.writes.iter().any(fences));
    let status = world.delete_within("a", Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(status.reason, Reason::Unavailable, "{status}");
    assert_eq!(status.metadata["service"], "users.test");
    world.get_node("a").await.unwrap();
    held.go();
    world.delete("a").await.unwrap();
}

#[tokio::test]
async fn a_cascade_in_another_service_is_waited_for() {
    let (world, _, users) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.app("c", json!({ "cascade": "nodes/a" })).await.unwrap();
    let mut held = users.hold_removal("apps/c");
    world.delete("a").await.unwrap();
    let status = world.node("a", json!({})).await.unwrap_err();
    assert_eq!(status.reason, Reason::DeletionPending, "{status}");
    assert_eq!(
        reason(world.app("d", json!({ "unset": "nodes/a" })).await),
        Reason::ReferenceRefused
    );
    held.arrived().await;
    held.go();
    eventually("the name is free", async || world.node("a", json!({})).await.is_ok()).await;
    assert_eq!(reason(world.get_app("c").await), Reason::ResourceNotFound);
}

#[tokio::test]
async fn children_that_block_go_too_by_force_and_others_still_block() {
    let (world, ..) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.leaf("a", "one").await.unwrap();
    world.leaf("a", "two").await.unwrap();
    let status = world.delete("a").await.unwrap_err();
    assert_eq!(
        subjects(&status),
        ["//base.test/nodes/a/leaves/one", "//base.test/nodes/a/leaves/two"]
    );
    world.node("x", json!({ "blocked": ["nodes/a"] })).await.unwrap();
    let status = world.delete_with("a", json!({ "force": true })).await.unwrap_err();
    assert_eq!(subjects(&status), ["//base.test/nodes/x"]);
    world.delete("x").await.unwrap();
    world.delete_with("a", json!({ "force": true })).await.unwrap();
    let leaf = json!({ "name": "nodes/a/leaves/one" });
    assert_eq!(
        reason(world.call("base.v1.LeafService/GetLeaf", leaf).await),
        Reason::ResourceNotFound
    );
    assert_eq!(rows_left(&world).await, 0);
}

#[tokio::test]
async fn a_deletion_that_is_only_checked_tells_what_blocks_and_changes_nothing() {
    let (world, base, users) = World::gated();
    world.node("a", json!({})).await.unwrap();
    world.node("b", json!({ "cascadeNow": "nodes/a" })).await.unwrap();
    world.app("z", json!({ "blocked": "nodes/b" })).await.unwrap();
    let settle = async || rows(&world, layout::common("~task")).await == 0;
    eventually("blockades are confirmed", settle).await;
    let before = (base.commits(), users.commits());
    let dry = json!({ "validateOnly": true });
    let status = world.delete_with("a", dry.clone()).await.unwrap_err();
    assert_eq!(subjects(&status), ["//users.test/apps/z"]);
    world.delete_app("z").await.unwrap();
    world.delete_with("a", dry.clone()).await.unwrap();
    world.get_node("a").await.unwrap();
    assert_eq!(base.commits(), before.0);
    assert_eq!(reason(world.delete_with("none", dry).await), Reason::ResourceNotFound);
}

#[tokio::test]
async fn one_that_is_blocked_does_not_hold_up_the_others() {
    let (world, ..) = World::gated();
    world.node("a", json!({})).await.unwrap();
    for n in 0..20 {
        world.node(&format!("c{n:02}"), json!({ "cascade": "nodes/a" })).await.unwrap();
    }
    world.leaf("c07", "one").await.unwrap();
    world.node("d", json!({ "cascade": "nodes/c09" })).await.unwrap();
    world.delete("a").await.unwrap();
    let nodes = layout::resources("v1", "base.test/Node");
    eventually("only one is left", async || rows(&world, nodes.clone()).await == 1).await;
    world.get_node("c07").await.unwrap();
    assert_eq!(reason(world.node("a", json!({})).await), Reason::DeletionPending);
    let leaf = json!({ "name": "nodes/c07/leaves/one" });
    world.call("base.v1.LeafService/DeleteLeaf", leaf).await.unwrap();
    eventually("the name is free", async || world.node("a", json!({})).await.is_ok()).await;
}

#[tokio::test]
async fn many_referrers_go_in_few_commits() {
    const APPS: usize = 1_500;
    let (world, _, users) = World::gated();
    world.node("a", json!({})).await.unwrap();
    let make = |n: usize| {
        let world = world.clone();
        async move { world.app(&format!("c{n}"), json!({ "cascade": "nodes/a" })).await.map(drop) }
    };
    futures::future::try_join_all((0..APPS).map(make)).await.unwrap();
    let apps = layout::resources("v1", "users.test/App");
    let left = async |table: bowline_store::Table| {
        let mut snapshot = world.users.snapshot().await.unwrap();
        snapshot.scan(&NameRange::all(table), APPS, false).await.unwrap().len()
    };
    eventually("confirmed", async || left(layout::common("~task")).await == 0).await;
    let before = users.commits();
    world.delete("a").await.unwrap();
    eventually("all are gone", async || left(apps.clone()).await == 0).await;
    // Three of 512; others are answers to questions, and rows of processes.
    let commits = users.commits() - before;
    assert!(commits <= 12, "{commits} commits");
    eventually("it is finished", async || rows_left(&world).await == 0).await;
}

#[tokio::test]
async fn more_than_go_in_one_commit_go_afterwards() {
    let (world, ..) = World::gated();
    world.node("a", json!({})).await.unwrap();
    for n in 0..1_100 {
        world.node(&format!("c{n:04}"), json!({ "cascadeNow": "nodes/a" })).await.unwrap();
    }
    world.delete("a").await.unwrap();
    assert_eq!(reason(world.get_node("a").await), Reason::ResourceNotFound);
    let kind = "base.test/Node";
    let all_gone = async || rows(&world, layout::resources("v1", kind)).await == 0;
    eventually("the rest follows", all_gone).await;
    eventually("it is finished", async || rows_left(&world).await == 0).await;
}
