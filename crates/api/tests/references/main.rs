//! Saves that refer: what is refused and how it is said, what is kept of a reference, what a save costs others.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, unreachable_pub, reason = "tests")]

mod gate;
mod races;
mod regions;
#[path = "../ownership/sneaky.rs"]
#[allow(dead_code, reason = "used by other tests")]
mod sneaky;
#[path = "../support/wait.rs"]
mod wait;
mod world;

use bowline_api::limits::Limits;
use bowline_base::Reason;
use bowline_graph::task;
use bowline_store::{Backend as _, Batch, Key, Row, Write, layout};
use expect_test::expect;
use serde_json::json;
use wait::eventually;
use world::{World, told};

#[tokio::test]
async fn what_is_not_there_cannot_be_referred_to_wherever_it_would_be() {
    let world = World::furnished().await;
    let near = world.thing("t", json!({ "neighbour": "shelves/s/things/none" })).await;
    expect![[r#"
        REFERENCE_NOT_FOUND: Thing "shelves/s/things/t" refers to what does not exist: Thing "shelves/s/things/none" (neighbour)
        REFERENCE //things.test/shelves/s/things/none: neighbour: it does not exist"#]]
    .assert_eq(&told(&near.unwrap_err()));

    let far = world.thing("t", json!({ "owners": ["users/a", "users/none"] })).await;
    expect![[r#"
        REFERENCE_NOT_FOUND: Thing "shelves/s/things/t" refers to what does not exist: User "users/none" (owners)
        REFERENCE //people.test/users/none: owners: it does not exist"#]]
    .assert_eq(&told(&far.unwrap_err()));

    let request = json!({ "parent": "shelves/none", "thingId": "t", "thing": {} });
    let below = world.call("things.v1.ThingService/CreateThing", request).await;
    expect![[r#"
        REFERENCE_NOT_FOUND: Thing "shelves/none/things/t" refers to what does not exist: Shelf "shelves/none" (parent)
        REFERENCE //things.test/shelves/none: parent: it does not exist"#]]
    .assert_eq(&told(&below.unwrap_err()));

    world.thing("t", json!({})).await.unwrap();
    let pointed = world.update("t", json!({ "reader": "users/none" })).await;
    assert_eq!(pointed.unwrap_err().reason, Reason::ReferenceNotFound);
    assert!(world.held_lines("t").await.ends_with("shelves/s here"), "nothing was written");
}

#[tokio::test]
async fn what_is_there_is_held_and_its_owner_knows_who_may_refer_to_it() {
    let world = World::furnished().await;
    let user = world.user("c").await.unwrap();
    let first = world.thing("first", json!({})).await.unwrap();
    let thing = json!({ "neighbour": "//things.test/shelves/s/things/first", "owners": ["users/c", "users/c"] });
    world.thing("t", thing).await.unwrap();
    let held = world.held("t").await;
    expect![[r#"
        "" shelves/s here
        "neighbour" shelves/s/things/first here
        "owners" users/c here"#]]
    .assert_eq(&world.held_lines("t").await);
    assert_eq!((held[1].uid, held[2].uid), (World::uid(&first), World::uid(&user)));
    let inbound = world.inbound(&user).await.unwrap();
    assert!(
        inbound.source(&bowline_node::DeploymentId::new("things.test", "")).is_some(),
        "{inbound}"
    );
    // The controller confirms, and the blockade goes.
    eventually("confirmed", async || {
        let inbound = world.inbound(&user).await.unwrap();
        let tasks = World::rows(&world.things, task::table()).await;
        inbound.blockades.is_empty() && !inbound.sources.is_empty() && tasks == 0
    })
    .await;
}

#[tokio::test]
async fn a_resource_may_refer_to_itself() {
    let world = World::furnished().await;
    let itself = json!({ "neighbour": "shelves/s/things/t" });
    let thing = world.thing("t", itself).await.unwrap();
    assert_eq!(world.held("t").await[1].uid, World::uid(&thing));
    world.update("t", json!({ "title": "changed" })).await.unwrap();
}

#[tokio::test]
async fn what_is_held_follows_the_document() {
    let world = World::furnished().await;
    world.thing("t", json!({ "watchers": ["users/a", "users/b"] })).await.unwrap();
    world.update("t", json!({ "watchers": ["users/b"], "owners": ["users/a"] })).await.unwrap();
    expect![[r#"
        "" shelves/s here
        "owners" users/a here
        "watchers" users/b here"#]]
    .assert_eq(&world.held_lines("t").await);
    world.update("t", json!({ "watchers": [], "owners": [], "title": "alone" })).await.unwrap();
    assert_eq!(world.held("t").await.len(), 1);
}

#[tokio::test]
async fn what_was_granted_for_a_save_that_fails_is_given_back() {
    let world = World::furnished().await;
    let user = world.user("c").await.unwrap();
    world.thing("t", json!({})).await.unwrap();
    let again = world.thing("t", json!({ "owners": ["users/c"] })).await.unwrap_err();
    assert_eq!(again.reason, Reason::ResourceExists);
    eventually("given back", async || {
        world.inbound(&user).await.is_some_and(|inbound| inbound.blockades.is_empty())
    })
    .await;
    assert_eq!(World::rows(&world.things, task::table()).await, 0, "nothing to confirm");
}

#[tokio::test]
async fn a_dry_run_asks_everybody_and_leaves_nothing() {
    let world = World::furnished().await;
    let user = world.user("c").await.unwrap();
    let dry = |thing| {
        let request =
            json!({ "parent": "shelves/s", "thingId": "t", "thing": thing, "validateOnly": true });
        world.call("things.v1.ThingService/CreateThing", request)
    };
    let missing = dry(json!({ "neighbour": "shelves/s/things/none" })).await.unwrap_err();
    assert_eq!(missing.reason, Reason::ReferenceNotFound);
    let missing = dry(json!({ "owners": ["users/none"] })).await.unwrap_err();
    let real = world.thing("t", json!({ "owners": ["users/none"] })).await.unwrap_err();
    assert_eq!(told(&missing), told(&real));
    dry(json!({ "owners": ["users/c"] })).await.unwrap();
    assert!(world.inbound(&user).await.is_none() && !world.has_thing("t").await);
}

#[tokio::test]
async fn a_name_that_a_deletion_keeps_taken_is_not_free() {
    let world = World::furnished().await;
    let table = layout::aliases("v1", "things.test/Thing");
    let key = Key { table, name: "shelves/s/things/t".into() };
    let batch = Batch { writes: vec![Write::put(key, Row::new(1, ""))], ..Batch::default() };
    world.things.commit(batch).await.unwrap();
    let taken = world.thing("t", json!({})).await.unwrap_err();
    assert_eq!(taken.reason, Reason::DeletionPending, "{taken}");
    let refused = world.thing("u", json!({ "neighbour": "shelves/s/things/t" })).await;
    expect![[r#"
        REFERENCE_REFUSED: Thing "shelves/s/things/u" must not refer to Thing "shelves/s/things/t" (neighbour): it is being deleted
        REFERENCE //things.test/shelves/s/things/t: neighbour: it is being deleted"#]]
    .assert_eq(&told(&refused.unwrap_err()));
}

#[tokio::test]
async fn a_resource_holds_no_more_references_than_the_limit() {
    let world = World::with(Limits { references_max: 2, ..Limits::default() });
    let request = |owners: &[&str]| {
        let thing = json!({ "name": "shelves/s/things/t", "owners": owners });
        world.call(
            "things.v1.ThingService/CreateThing",
            json!({ "parent": "shelves/s", "thing": thing }),
        )
    };
    let refused = request(&["users/a", "users/b"]).await.unwrap_err();
    assert_eq!(refused.reason, Reason::LimitExceeded, "{refused}");
    let fits = request(&["users/a"]).await.unwrap_err();
    assert_eq!(fits.reason, Reason::ReferenceNotFound);
}
