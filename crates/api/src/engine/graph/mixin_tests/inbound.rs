//! Changes of inbound parts, as deletions and controllers make them.

use bowline_graph::grant::{Answer, Change};
use bowline_store::RowId;
use futures::future::join_all;
use futures::{FutureExt, pin_mut};

use super::world::{IAM, World, devices, project, want};

async fn change(world: &World, change: Change) -> Answer {
    let iam = world.deployment(IAM);
    world.engine.change_inbound(iam, &project("p"), RowId(7), change).await.unwrap()
}

fn grant(blockade: u8) -> Change {
    Change::Grant { by: devices(), fence: None, blockade: [blockade; 16] }
}

#[tokio::test]
async fn nothing_is_granted_on_what_is_not_there() {
    let world = World::new();
    assert_eq!(change(&world, grant(1)).await, Answer::Gone);
    assert_eq!(world.inbound(7).await, None);
    // The name is there, and is another resource's.
    world.project("p", 8).await;
    assert_eq!(change(&world, grant(1)).await, Answer::Gone);
    assert_eq!(world.inbound(7).await, None);
}

#[tokio::test]
async fn an_attempt_without_a_row_writes_nothing() {
    let world = World::new();
    world.project("p", 7).await;
    assert_eq!(change(&world, Change::Attempt).await, Answer::Unlisted);
    assert_eq!((world.iam.take_commits(), world.inbound(7).await), (0, None));
}

#[tokio::test]
async fn a_lost_commit_is_made_anew_on_what_is_there_then() {
    let world = World::new();
    world.project("p", 7).await;
    world.establish(&devices(), vec![want(&project("p"), 1)]).await.unwrap();
    let raised = {
        let mut inbound = world.inbound(7).await.unwrap();
        inbound.epoch.number += 1_000;
        inbound
    };
    let key = bowline_graph::inbound::key("iam.test/Project", RowId(7));
    world.iam.happens_before(bowline_store::Write::put(key, raised.row(50)));
    let Answer::Attempted(state) = change(&world, Change::Attempt).await else { panic!() };
    assert!(state.epoch > raised.epoch);
    assert_eq!(world.inbound(7).await.unwrap(), state);
}

#[tokio::test]
async fn a_source_leaves_by_its_own_word_only() {
    let world = World::new();
    world.project("p", 7).await;
    world.establish(&devices(), vec![want(&project("p"), 1)]).await.unwrap();
    let Answer::Leaving(epoch) = change(&world, Change::Leave { source: devices() }).await else {
        panic!()
    };
    world.establish(&devices(), vec![want(&project("p"), 2)]).await.unwrap();
    let cleared = change(&world, Change::Clear { source: devices(), epoch }).await;
    assert_eq!(cleared, Answer::Overtaken);
    assert_eq!(world.inbound(7).await.unwrap().sources.len(), 1);
}

#[tokio::test]
async fn who_goes_away_leaves_nothing_behind_and_holds_up_nobody() {
    let world = World::new();
    world.project("p", 7).await;
    {
        let abandoned = change(&world, grant(1));
        pin_mut!(abandoned);
        assert!(abandoned.as_mut().now_or_never().is_none());
    }
    let all = join_all((2..10).map(|blockade| change(&world, grant(blockade)))).await;
    assert!(all.iter().all(|answer| matches!(answer, Answer::Granted(_))));
    assert_eq!(world.deployment(IAM).inbound.queue_count(), 0);
    let inbound = world.inbound(7).await.unwrap();
    assert!(inbound.blockades.iter().all(|blockade| blockade.id != [1; 16]));
}
