//! Blockades that are confirmed, and those that nobody confirmed in time; fences that have had their time.

use bowline_graph::inbound::{self, Blockade, Inbound, Source};
use bowline_graph::{Epoch, TargetName, fence};
use bowline_node::DeploymentId;
use bowline_store::ring::Shards;
use bowline_store::{Backend, Batch, Position, Row, RowId, Table, Write, layout};
use serde_json::{Value, json};

use super::world::{BASE, PATIENCE, SERVICES, USERS, World};

fn uid(resource: &Value) -> RowId {
    RowId(uuid::Uuid::parse_str(resource["metadata"]["uuid"].as_str().unwrap()).unwrap().as_u128())
}

async fn inbound(world: &World, uid: RowId) -> Option<Inbound> {
    let (row, _) =
        world.stores[BASE].inner.get(&inbound::key("base.test/Node", uid)).await.unwrap();
    row.map(|row| Inbound::of_row(&row).unwrap())
}

#[tokio::test]
async fn blockades_of_committed_references_go_and_their_sources_stay() {
    let world = World::new();
    let node = world.node("n", json!({})).await.unwrap();
    for at in 0..10 {
        world.app(&format!("a{at}"), json!({ "blocked": "nodes/n" })).await.unwrap();
    }
    world.is_finished().await;
    let inbound = inbound(&world, uid(&node)).await.unwrap();
    assert!(inbound.blockades.is_empty(), "{inbound}");
    assert_eq!(inbound.sources.len(), 1);
    assert!(world.delete("nodes/n").await.is_err());
}

/// Stores in which a blockade of apps on each of two nodes has long expired; an app refers to the first.
async fn expired() -> (World, [RowId; 2]) {
    let before = World::new();
    let mut uids = Vec::new();
    for id in ["held", "free"] {
        uids.push(uid(&before.node(id, json!({})).await.unwrap()));
    }
    before.app("a", json!({ "blocked": "nodes/held" })).await.unwrap();
    before.is_finished().await;
    before.engine.leave().await;
    for (uid, id) in uids.iter().zip(["held", "free"]) {
        let users = DeploymentId::new(USERS, "");
        let epoch = Epoch { ownership: 0, era: 0, number: 1_000 };
        let target = TargetName::new("base.test/Node", "v1", format!("nodes/{id}"));
        let state = Inbound {
            sources: vec![Source { deployment: users.clone(), leaving: None }],
            blockades: vec![Blockade { id: [7; 16], deployment: users, epoch, expires_millis: 1 }],
            ..Inbound::new(target, epoch)
        };
        let key = inbound::key("base.test/Node", *uid);
        let writes = vec![Write::put(key, state.row(1_000_000))];
        let batch = Batch { conditions: Vec::new(), writes };
        before.stores[BASE].inner.commit(batch).await.unwrap();
    }
    (before.another(), [uids[0], uids[1]])
}

#[tokio::test]
async fn of_expired_blockades_their_source_is_asked() {
    let (world, [held, free]) = expired().await;
    let settled = || async {
        let (held, free) = (inbound(&world, held).await?, inbound(&world, free).await?);
        (held.blockades.is_empty() && free.blockades.is_empty()).then_some((held, free))
    };
    let (held, free) = bowline_testkit::eventually("asked", PATIENCE, settled).await.unwrap();
    assert_eq!(held.sources.len(), 1, "it holds a reference: {held}");
    assert_eq!(held.sources[0].leaving, None);
    assert!(free.sources.is_empty(), "it holds none: {free}");
    // The answer has fenced, at an epoch above that of the blockade.
    assert!(free.epoch.number > 1_000);
    let fences = world.rows(USERS, &fence::table()).await;
    assert_eq!(fences.len(), 2);
}

fn fences(names: std::ops::Range<u32>, at: Position) -> Batch {
    let epoch = Epoch { ownership: 0, era: 0, number: 5 };
    let put = |name: u32| {
        let target = TargetName::new("base.test/Node", "v1", format!("nodes/{name}"));
        fence::Fence { epoch, written: at }.put(&target, None).1
    };
    Batch { conditions: Vec::new(), writes: names.map(put).collect() }
}

#[tokio::test]
async fn a_fence_goes_when_no_save_is_under_way_that_began_before_it() {
    let world = World::new();
    let deployment = world.deployment(USERS).clone();
    let turn = deployment.begin().await.unwrap();
    let store = &world.stores[USERS];
    // Something is committed, so that what begins later begins later.
    let at = *store.head().borrow();
    store.inner.commit(fences(0..600, at)).await.unwrap();
    deployment.incarnation.tick().await.unwrap();
    assert_eq!(world.engine.sweep_fences(&deployment, Shards::ALL).await.unwrap(), 0);
    drop(turn);
    // A process that is alone and idle does not tell that it is.
    world.app("a", json!({})).await.unwrap();
    deployment.incarnation.tick().await.unwrap();
    let half = Shards::part(0, 2);
    let swept = world.engine.sweep_fences(&deployment, half).await.unwrap();
    assert!(swept > 0 && swept < 600);
    let rest = world.engine.sweep_fences(&deployment, Shards::ALL).await.unwrap();
    assert_eq!(swept + rest, 600);
    assert!(world.rows(USERS, &fence::table()).await.is_empty());
}

#[tokio::test]
async fn rows_that_nobody_understands_stop_nothing() {
    let world = World::new();
    let garbage = |table: Table, name: &str| {
        let key = bowline_store::Key { table, name: name.into() };
        Write::put(key, Row::new(1, "\u{1}garbage"))
    };
    let writes = vec![
        garbage(bowline_graph::task::table(), "0000/CONFIRM_BLOCKADES/00"),
        garbage(bowline_graph::deletion::table("base.test/Node"), "00"),
        garbage(layout::common("~fence"), "x"),
    ];
    for service in SERVICES {
        let batch = Batch { conditions: Vec::new(), writes: writes.clone() };
        world.stores[service].inner.commit(batch).await.unwrap();
    }
    world.node("n", json!({})).await.unwrap();
    world.app("a", json!({ "cascade": "nodes/n" })).await.unwrap();
    world.delete("nodes/n").await.unwrap();
    world.is_gone("apps/a").await;
    let left = || async { (world.unfinished(BASE).await.len() == 2).then_some(()) };
    bowline_testkit::eventually("all but the garbage", PATIENCE, left).await.unwrap();
}
