//! Saves and deletions of their targets at the same time, at the moments that matter; and that mistakes would be seen.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_store::Condition;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::world::World;

/// Conditions that a planted mistake forgets.
type Mistake = Option<fn(&Condition) -> bool>;

fn spawn_thing(world: &Arc<World>, thing: Value) -> JoinHandle<Result<Value, Status>> {
    let world = world.clone();
    tokio::spawn(async move { world.thing("t", thing).await })
}

async fn world(mistake: Mistake) -> Arc<World> {
    let world = World::furnished().await;
    if let Some(mistake) = mistake {
        world.things.forget(mistake);
    }
    Arc::new(world)
}

/// The target is deleted after it was looked up and before the commit.
async fn local_target_goes(mistake: Mistake) -> Result<Value, Status> {
    let world = world(mistake).await;
    world.thing("target", json!({})).await.unwrap();
    let mut hold = world.things.hold("shelves/s/things/t");
    let saving = spawn_thing(&world, json!({ "neighbour": "shelves/s/things/target" }));
    hold.arrived().await;
    world.delete_thing("target").await.unwrap();
    hold.go();
    saving.await.unwrap()
}

/// The target is deleted after it was granted and before the commit: the source stalls.
async fn granted_target_goes(mistake: Mistake) -> Result<Value, Status> {
    let world = world(mistake).await;
    let mut hold = world.things.hold("shelves/s/things/t");
    let saving = spawn_thing(&world, json!({ "owners": ["users/a"] }));
    hold.arrived().await;
    world.delete_user("a").await.unwrap();
    hold.go();
    saving.await.unwrap()
}

#[tokio::test]
async fn a_local_target_that_goes_before_the_commit_is_not_referred_to() {
    let refused = local_target_goes(None).await.unwrap_err();
    assert_eq!(refused.reason, Reason::ReferenceNotFound, "{refused}");
}

#[tokio::test]
async fn a_granted_target_that_goes_before_the_commit_is_not_referred_to() {
    let refused = granted_target_goes(None).await.unwrap_err();
    assert_eq!(refused.reason, Reason::ReferenceNotFound, "{refused}");
}

#[tokio::test]
async fn a_forgotten_condition_is_found() {
    let active = |condition: &Condition| matches!(condition, Condition::FieldIs { field, .. } if &**field == "~active");
    assert!(local_target_goes(Some(active)).await.is_ok(), "it dangles");
    let fence = |condition: &Condition| matches!(condition, Condition::FieldAtMost { .. });
    assert!(granted_target_goes(Some(fence)).await.is_ok(), "it dangles");
}

#[tokio::test]
async fn a_namesake_is_referred_to_as_the_one_that_it_is() {
    let world = world(None).await;
    world.thing("target", json!({})).await.unwrap();
    let mut hold = world.things.hold("shelves/s/things/t");
    let saving = spawn_thing(&world, json!({ "neighbour": "shelves/s/things/target" }));
    hold.arrived().await;
    world.delete_thing("target").await.unwrap();
    let namesake = world.thing("target", json!({})).await.unwrap();
    hold.go();
    saving.await.unwrap().unwrap();
    assert_eq!(world.held("t").await[1].uid, World::uid(&namesake), "what was read is read anew");
}

#[tokio::test]
async fn a_granted_namesake_is_referred_to_as_the_one_that_it_is() {
    let world = world(None).await;
    let mut hold = world.things.hold("shelves/s/things/t");
    let saving = spawn_thing(&world, json!({ "owners": ["users/a"] }));
    hold.arrived().await;
    world.delete_user("a").await.unwrap();
    let mut namesake = world.user("a").await;
    while namesake.is_err() {
        // Its deletion is still being finished.
        tokio::task::yield_now().await;
        namesake = world.user("a").await;
    }
    hold.go();
    saving.await.unwrap().unwrap();
    assert_eq!(world.held("t").await[1].uid, World::uid(&namesake.unwrap()));
}

#[tokio::test]
async fn a_save_waits_for_a_deletion_that_is_being_decided() {
    let world = world(None).await;
    world.thing("watching", json!({ "watchers": ["users/a"] })).await.unwrap();
    // The first verdict is for a user whom nobody refers to; the second comes after all were asked.
    let (mut first, mut hold) = (world.people.hold("users/a"), world.people.hold("users/a"));
    let deleting = {
        let world = world.clone();
        tokio::spawn(async move { world.delete_user("a").await })
    };
    first.arrived().await;
    first.go();
    hold.arrived().await;
    let asked = world.people.snapshots();
    let saving = spawn_thing(&world, json!({ "owners": ["users/a"] }));
    super::eventually("asked", async || world.people.snapshots() > asked).await;
    hold.go();
    deleting.await.unwrap().unwrap();
    let refused = saving.await.unwrap().unwrap_err();
    let expected = [Reason::ReferenceRefused, Reason::ReferenceNotFound];
    assert!(expected.contains(&refused.reason), "{refused}");
    assert!(!world.has_thing("t").await);
}

/// Many make referrers while somebody deletes and makes the target: at no time does a referrer hold what is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_dangles_whoever_is_faster() {
    let world = world(None).await;
    world.thing("target", json!({})).await.unwrap();
    let makers = (0..3).map(|maker| {
        let world = world.clone();
        tokio::spawn(async move {
            let id = format!("t{maker}");
            for _ in 0..60 {
                let thing = json!({ "neighbour": "shelves/s/things/target" });
                match world.thing(&id, thing).await {
                    Ok(_) => {
                        let row = world.held("target").await;
                        assert!(!row.is_empty(), "the target is there");
                        world.delete_thing(&id).await.unwrap();
                    }
                    Err(status) => assert!(
                        matches!(status.reason, Reason::ReferenceNotFound | Reason::Conflict),
                        "{status}"
                    ),
                }
            }
        })
    });
    let makers: Vec<_> = makers.collect();
    let deleter = {
        let world = world.clone();
        tokio::spawn(async move {
            let mut deleted = 0;
            for _ in 0..400 {
                if world.delete_thing("target").await.is_ok() {
                    deleted += 1;
                    world.thing("target", json!({})).await.unwrap();
                }
            }
            deleted
        })
    };
    for maker in makers {
        maker.await.unwrap();
    }
    assert!(deleter.await.unwrap() > 0, "the target went now and then");
}
