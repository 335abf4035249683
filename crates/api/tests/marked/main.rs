//! Types with asynchronous deletion over the real engine: what marks, what holds, what still refers, and what is gone when.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test fails by panicking, on real threads"
)]

#[path = "../deletion/gate.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod gate;
mod races;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::collections::VecDeque;

use bowline_base::{Reason, Status};
use bowline_store::{NameRange, Table, layout};
use serde_json::{Value, json};
use support::wait::eventually;
use world::World;

const M: &str = "machines/m";

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> Reason {
    answer.expect_err("it is refused").reason
}

fn held(by: &[&str]) -> Value {
    json!({ "metadata": { "finalizers": by } })
}

fn is_marked(resource: &Value) -> bool {
    let metadata = &resource["metadata"];
    metadata["lifecycle"]["state"] == "DELETING" && metadata["deleteTime"].is_string()
}

/// Waits until there is no such resource any more.
async fn gone(world: &World, name: &str) {
    let is_gone = async || match world.get(name).await {
        Ok(_) => false,
        Err(status) => status.reason == Reason::ResourceNotFound,
    };
    eventually(&format!("{name} is gone"), is_gone).await;
}

/// How many rows of a table the store has.
async fn rows(world: &World, table: Table) -> usize {
    let mut snapshot = world.base.snapshot().await.unwrap();
    snapshot.scan(&NameRange::all(table), 10_000, false).await.unwrap().len()
}

/// Rows that the deletions of machines leave until they have finished.
async fn rows_left(world: &World) -> usize {
    let kind = "base.test/Machine";
    rows(world, layout::common(&format!("~inbound/{kind}"))).await
        + rows(world, layout::aliases("v1", kind)).await
        + rows(world, bowline_graph::deletion::table(kind)).await
}

#[tokio::test]
async fn what_nothing_holds_is_gone_at_once() {
    let world = World::new();
    world.make("machine", "m", json!({})).await.unwrap();
    world.delete(M).await.unwrap();
    assert_eq!(reason(world.get(M).await), Reason::ResourceNotFound);
    assert_eq!(rows_left(&world).await, 0);
    world.make("machine", "m", json!({})).await.unwrap();
}

#[tokio::test]
async fn what_a_finalizer_holds_is_marked_and_gone_when_it_is_removed() {
    let world = World::new();
    let made = world.make("machine", "m", held(&["a.test/drain", "b"])).await.unwrap();
    world.delete(M).await.unwrap();
    let marked = world.get(M).await.unwrap();
    assert!(is_marked(&marked), "{marked}");
    let version = |machine: &Value| {
        machine["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    assert!(version(&marked) > version(&made));
    assert_eq!(marked["metadata"]["generation"], made["metadata"]["generation"]);

    let status = world.make("machine", "m", json!({})).await.unwrap_err();
    expect_test::expect![[r#"FAILED_PRECONDITION (DELETION_PENDING): Machine "machines/m" is being deleted; its name is free when its finalizers are removed: a.test/drain, b"#]].assert_eq(&status.to_string());
    assert_eq!(status.metadata["finalizers"], "a.test/drain, b");

    let titled = world.update("m", json!({ "title": "t" }), "title").await.unwrap();
    assert!(is_marked(&titled), "{titled}");
    let left = world.finalize("m", &["b"]).await.unwrap();
    assert!(is_marked(&left), "{left}");
    assert_eq!(left["metadata"]["deleteTime"], marked["metadata"]["deleteTime"]);
    world.finalize("m", &[]).await.unwrap();
    gone(&world, M).await;
    assert_eq!(rows_left(&world).await, 0);
    let anew = world.make("machine", "m", json!({})).await.unwrap();
    assert!(version(&anew) > version(&left));
}

#[tokio::test]
async fn a_watch_shows_an_update_and_when_it_is_gone_a_removal() {
    let world = World::new();
    world.make("machine", "m", held(&["a"])).await.unwrap();
    let request = json!({ "type": "STATELESS" });
    let mut watch = world.world.stream("MachineService/WatchMachines", request).await.unwrap();
    // Changes that come soon after each other are in one message.
    let mut read = VecDeque::new();
    let mut next = async || loop {
        if let Some(change) = read.pop_front() {
            return change;
        }
        let message = watch.expect().await;
        read.extend(message["machineChanges"].as_array().cloned().unwrap_or_default());
    };
    assert!(!is_marked(&next().await["current"]["machine"]));
    world.delete(M).await.unwrap();
    assert!(is_marked(&next().await["current"]["machine"]));
    world.finalize("m", &[]).await.unwrap();
    let let_go = next().await;
    assert_eq!(let_go["current"]["machine"]["metadata"]["finalizers"], Value::Null, "{let_go}");
    assert_eq!(next().await["removed"]["name"], M);
}

#[tokio::test]
async fn a_second_deletion_changes_nothing() {
    let world = World::new();
    world.make("machine", "m", held(&["a"])).await.unwrap();
    world.delete(M).await.unwrap();
    let marked = world.get(M).await.unwrap();
    world.delete(M).await.unwrap();
    world.delete_with(M, json!({ "validateOnly": true })).await.unwrap();
    let refused = world.delete_with(M, json!({ "etag": "other" })).await;
    assert_eq!(reason(refused), Reason::Conflict);
    assert_eq!(world.get(M).await.unwrap(), marked);
}

#[tokio::test]
async fn a_deletion_that_is_only_checked_marks_nothing() {
    let world = World::new();
    let made = world.make("machine", "m", held(&["a"])).await.unwrap();
    world.delete_with(M, json!({ "validateOnly": true })).await.unwrap();
    assert_eq!(world.get(M).await.unwrap(), made);
    world.make("lease", "l", json!({ "machine": M })).await.unwrap();
    let refused = world.delete_with(M, json!({ "validateOnly": true })).await;
    assert_eq!(reason(refused), Reason::DeletionBlocked);
}

#[tokio::test]
async fn the_mark_cannot_be_set_or_taken_away() {
    let world = World::new();
    let metadata = json!({ "lifecycle": { "state": "DELETING" }, "deleteTime": "2020-01-01T00:00:00Z", "finalizers": ["a"] });
    let made = world.make("machine", "m", json!({ "metadata": metadata })).await.unwrap();
    assert!(made["metadata"]["lifecycle"].is_null() && made["metadata"]["deleteTime"].is_null());
    world.delete(M).await.unwrap();
    let active = json!({ "metadata": { "lifecycle": { "state": "ACTIVE" } }, "title": "t" });
    let mask = "metadata.lifecycle,metadata.deleteTime,title";
    let saved = world.update("m", active, mask).await.unwrap();
    assert!(is_marked(&saved) && saved["title"] == "t", "{saved}");
}

#[tokio::test]
async fn nothing_new_refers_to_what_is_marked() {
    let world = World::new();
    world.make("machine", "m", held(&["a"])).await.unwrap();
    world.delete(M).await.unwrap();
    let status = world.make("lease", "l", json!({ "machine": M })).await.unwrap_err();
    expect_test::expect![[r#"FAILED_PRECONDITION (REFERENCE_REFUSED): Lease "leases/l" must not refer to Machine "machines/m" (machine): it is being deleted"#]].assert_eq(&status.to_string());
    assert_eq!(reason(world.make_part("m", "p").await), Reason::ReferenceRefused);
    let app = world.make("app", "a", json!({ "machine": M })).await;
    assert_eq!(reason(app), Reason::ReferenceRefused);
}

#[tokio::test]
async fn what_blocks_has_to_go_before_it_is_marked() {
    let world = World::new();
    world.make("machine", "m", held(&["a"])).await.unwrap();
    world.make("lease", "l", json!({ "machine": M })).await.unwrap();
    world.make("app", "a", json!({ "needs": M })).await.unwrap();
    assert_eq!(reason(world.delete(M).await), Reason::DeletionBlocked);
    world.delete("leases/l").await.unwrap();
    assert_eq!(reason(world.delete(M).await), Reason::DeletionBlocked);
    assert!(!is_marked(&world.get(M).await.unwrap()));
    world.delete("apps/a").await.unwrap();
    world.delete(M).await.unwrap();
    assert!(is_marked(&world.get(M).await.unwrap()));
}

#[tokio::test]
async fn what_it_refers_to_is_kept_until_it_is_gone_or_lets_it_go() {
    let world = World::new();
    for model in ["x", "y"] {
        world.make("model", model, json!({})).await.unwrap();
    }
    let mut machine = held(&["a"]);
    machine["model"] = json!("models/x");
    world.make("machine", "m", machine).await.unwrap();
    world.delete(M).await.unwrap();
    assert_eq!(reason(world.delete("models/x").await), Reason::DeletionBlocked);

    let other = world.update("m", json!({ "model": "models/y" }), "model").await;
    let status = other.unwrap_err();
    expect_test::expect![[r#"FAILED_PRECONDITION (REFERENCE_REFUSED): Machine "machines/m" must not refer to Model "models/y" (model): the Machine is being deleted and gains no references"#]].assert_eq(&status.to_string());
    // Neither by another way.
    let spare = world.update("m", json!({ "spare": "models/y" }), "spare").await;
    assert_eq!(reason(spare), Reason::ReferenceRefused);

    world.update("m", json!({}), "model").await.unwrap();
    world.delete("models/x").await.unwrap();
    assert!(is_marked(&world.get(M).await.unwrap()));
}

#[tokio::test]
async fn what_a_finalizer_holds_blocks_what_it_refers_to_until_it_is_gone() {
    let world = World::new();
    world.make("model", "x", json!({})).await.unwrap();
    let mut machine = held(&["a"]);
    (machine["model"], machine["spare"]) = (json!("models/x"), json!("models/x"));
    world.make("machine", "m", machine).await.unwrap();
    world.delete(M).await.unwrap();
    assert_eq!(reason(world.delete("models/x").await), Reason::DeletionBlocked);
    world.finalize("m", &[]).await.unwrap();
    gone(&world, M).await;
    world.delete("models/x").await.unwrap();
}

#[tokio::test]
async fn what_is_marked_can_lose_references_by_rule() {
    let world = World::new();
    world.make("model", "x", json!({})).await.unwrap();
    let mut machine = held(&["a"]);
    machine["spare"] = json!("models/x");
    world.make("machine", "m", machine).await.unwrap();
    world.delete(M).await.unwrap();
    world.delete("models/x").await.unwrap();
    let left = world.get(M).await.unwrap();
    assert!(is_marked(&left) && left["spare"].is_null(), "{left}");
    world.make("model", "x", json!({})).await.unwrap();
    assert_eq!(
        reason(world.make("lease", "l", json!({ "machine": M })).await),
        Reason::ReferenceRefused
    );
}

#[tokio::test]
async fn what_is_marked_does_not_refer_more_strictly_than_it_did() {
    let world = World::new();
    world.make("model", "x", json!({})).await.unwrap();
    let mut machine = held(&["a"]);
    machine["spare"] = json!("models/x");
    world.make("machine", "m", machine).await.unwrap();
    world.delete(M).await.unwrap();
    let stricter = world.update("m", json!({ "model": "models/x" }), "model").await;
    assert_eq!(reason(stricter), Reason::ReferenceRefused);
    world.delete("models/x").await.unwrap();
}

#[tokio::test]
async fn a_cascade_marks_what_is_held_and_takes_what_is_not() {
    for field in ["rack", "oldRack"] {
        let world = World::new();
        world.make("rack", "r", json!({})).await.unwrap();
        for (id, finalizers) in [("m", &["a"][..]), ("n", &[])] {
            let mut machine = held(finalizers);
            machine[field] = json!("racks/r");
            world.make("machine", id, machine).await.unwrap();
        }
        world.delete("racks/r").await.unwrap();
        gone(&world, "racks/r").await;
        gone(&world, "machines/n").await;
        eventually("it is marked", async || is_marked(&world.get(M).await.unwrap())).await;
        // It still refers to the rack, so that name is taken.
        let taken = world.make("rack", "r", json!({})).await;
        assert_eq!(reason(taken), Reason::DeletionPending, "{field}");
        world.finalize("m", &[]).await.unwrap();
        gone(&world, M).await;
        eventually("the name is free", async || world.make("rack", "r", json!({})).await.is_ok())
            .await;
        assert_eq!(rows_left(&world).await, 0);
    }
}

#[tokio::test]
async fn a_cascade_that_finds_it_marked_waits_for_it() {
    for field in ["rack", "oldRack"] {
        let world = World::new();
        world.make("rack", "r", json!({})).await.unwrap();
        let mut machine = held(&["a"]);
        machine[field] = json!("racks/r");
        world.make("machine", "m", machine).await.unwrap();
        world.delete(M).await.unwrap();
        let marked = world.get(M).await.unwrap();
        world.delete("racks/r").await.unwrap();
        let told = async || {
            let all = world.world.engine.controllers();
            format!("{all:?}").contains("its finalizer is removed: a")
        };
        eventually("it is told what the rack waits for", told).await;
        assert_eq!(world.get(M).await.unwrap(), marked);
        world.finalize("m", &[]).await.unwrap();
        gone(&world, M).await;
        eventually("the name is free", async || world.make("rack", "r", json!({})).await.is_ok())
            .await;
    }
}

#[tokio::test]
async fn it_is_there_until_its_cascades_have_ended() {
    let world = World::new();
    world.make("machine", "m", json!({})).await.unwrap();
    world.make_part("m", "p").await.unwrap();
    world.make("lease", "l", json!({ "part": "machines/m/parts/p" })).await.unwrap();
    world.make("app", "a", held(&["a"])).await.unwrap();
    let app = json!({ "app": { "name": "apps/a", "machine": M }, "updateMask": "machine" });
    world.world.call("users.AppService/UpdateApp", app).await.unwrap();

    world.delete(M).await.unwrap();
    assert!(is_marked(&world.get(M).await.unwrap()));
    eventually("the app is marked", async || is_marked(&world.get("apps/a").await.unwrap())).await;
    world.delete("leases/l").await.unwrap();
    gone(&world, "machines/m/parts/p").await;
    let status = world.make("machine", "m", json!({})).await.unwrap_err();
    expect_test::expect![[r#"FAILED_PRECONDITION (DELETION_PENDING): Machine "machines/m" is being deleted; its name is free when users.test holds no reference any more"#]].assert_eq(&status.to_string());

    let app = json!({ "app": { "name": "apps/a" }, "updateMask": "metadata.finalizers" });
    world.world.call("users.AppService/UpdateApp", app).await.unwrap();
    gone(&world, "apps/a").await;
    gone(&world, M).await;
    assert_eq!(rows_left(&world).await, 0);
}

#[tokio::test]
async fn what_refers_to_itself_does_not_wait_for_itself() {
    let world = World::new();
    world.make("machine", "m", held(&["a"])).await.unwrap();
    world.update("m", json!({ "twin": M }), "twin").await.unwrap();
    world.delete(M).await.unwrap();
    assert!(is_marked(&world.get(M).await.unwrap()));
    world.update("m", json!({ "title": "t" }), "title").await.unwrap();
    world.finalize("m", &[]).await.unwrap();
    gone(&world, M).await;
    assert_eq!(rows_left(&world).await, 0);
}

#[tokio::test]
async fn finalizers_are_refused_where_they_have_no_meaning() {
    let world = World::new();
    let told = |status: Status| {
        let field = status.details.iter().find_map(|detail| match detail {
            bowline_base::Detail::BadRequest(all) => all.first().map(|one| one.field.clone()),
            _ => None,
        });
        format!("{status} [{}]", field.unwrap_or_default())
    };
    let refused = world.make("model", "x", held(&["a"])).await.unwrap_err();
    expect_test::expect!["INVALID_ARGUMENT (INVALID_FIELD): model.metadata.finalizers: Model has no finalizers: resources of the type are deleted at once [model.metadata.finalizers]"].assert_eq(&told(refused));
    let refused = world.make("machine", "m", held(&["a", "b c"])).await.unwrap_err();
    expect_test::expect![[r#"INVALID_ARGUMENT (INVALID_FIELD): machine.metadata.finalizers[1]: "b c" is not a qualified name such as "devices.example.com/drain" [machine.metadata.finalizers[1]]"#]].assert_eq(&told(refused));
    let many: Vec<_> = (0..65).map(|n| format!("f{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(reason(world.make("machine", "m", held(&many)).await), Reason::LimitExceeded);
    world.make("machine", "m", held(&many[1..])).await.unwrap();

    world.delete(M).await.unwrap();
    let late = world.finalize("m", &["f1", "late"]).await.unwrap_err();
    expect_test::expect![[r#"FAILED_PRECONDITION (FAILED_PRECONDITION): no finalizer can be added to what is being deleted: "late" []"#]].assert_eq(&told(late));
    world.finalize("m", &["f1"]).await.unwrap();
}
