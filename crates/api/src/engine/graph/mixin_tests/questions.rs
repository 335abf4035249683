//! `CheckIfResourceIsBlocked`, `CheckIfResourceHasDeletionSubscriber`.

use bowline_base::Reason;
use bowline_graph::fence::{self, Fence};
use bowline_graph::{Behaviour, Epoch, TargetName};
use bowline_node::DeploymentId;
use bowline_store::{Backend, Batch, CommitError};
use bowline_wire::bowline::mixin::v1::check_request::Question;
use bowline_wire::bowline::mixin::v1::{CheckRequest, CheckResponse, method};

use super::world::{DEVICES, World, devices, held, project, question};

const BLOCKED: &str = method::CHECK_IF_RESOURCE_IS_BLOCKED;
const SUBSCRIBED: &str = method::CHECK_IF_RESOURCE_HAS_DELETION_SUBSCRIBER;

fn epoch(number: u64) -> Epoch {
    Epoch { ownership: 1, era: 1, number }
}

/// Whether a save that was granted this can still commit.
async fn passes(world: &World, target: &TargetName, number: u64) -> bool {
    let conditions = vec![fence::condition(target, epoch(number))];
    match world.devices.commit(Batch { conditions, writes: vec![] }).await {
        Ok(_) => true,
        Err(CommitError::ConditionFailed { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn fence_of(world: &World, target: &TargetName) -> Option<Epoch> {
    let (row, _) = world.devices.get(&fence::key(target)).await.unwrap();
    row.and_then(|row| Fence::of_row(&row)).map(|fence| fence.epoch)
}

#[tokio::test]
async fn who_holds_nothing_is_fenced_under_every_name_and_once() {
    let world = World::new();
    let tenant = TargetName::new("iam.test/Tenant", "v2", "tenants/p");
    for _ in 0..3 {
        let answer = world.check(BLOCKED, vec![question(&project("p"), 7, 9)]).await.unwrap();
        let said = &answer[0];
        assert!(!said.is_blocked && !said.holds_any && said.is_fenced && said.count == 0);
    }
    assert_eq!(world.devices.take_commits(), 1);
    for name in [&project("p"), &tenant] {
        assert!(!passes(&world, name, 8).await);
        assert!(passes(&world, name, 9).await);
    }
    // An old question comes late: the fence is not lowered.
    let late = world.check(SUBSCRIBED, vec![question(&project("p"), 7, 3)]).await.unwrap();
    assert!(late[0].is_fenced);
    assert_eq!(fence_of(&world, &project("p")).await, Some(epoch(9)));
    assert_eq!(world.devices.take_commits(), 0);
}

#[tokio::test]
async fn who_blocks_is_named_and_not_fenced() {
    let world = World::new();
    let target = project("p");
    let blocks = held(&target, 7, Behaviour::Block);
    world.devices.write(world.device("d", 1, vec![blocks])).await;
    let answer = world.check(BLOCKED, vec![question(&target, 7, 9)]).await.unwrap();
    let said = &answer[0];
    assert!(said.is_blocked && said.holds_any && !said.is_fenced);
    assert_eq!((said.count, said.referrers.len()), (1, 1));
    let referrer = &said.referrers[0];
    assert_eq!((&*referrer.name, &*referrer.path), ("devices/d", "project"));
    assert_eq!((&*referrer.kind, &*referrer.version), ("devices.test/Device", "v1"));
    assert_eq!(world.devices.take_commits(), 0);
    // Whoever asks about all that refers gets the fence all the same.
    let answer = world.check(SUBSCRIBED, vec![question(&target, 7, 9)]).await.unwrap();
    assert!(answer[0].holds_any && answer[0].is_fenced);
    assert!(!passes(&world, &target, 8).await);
}

#[tokio::test]
async fn what_would_be_unset_does_not_block() {
    let world = World::new();
    let target = project("p");
    let unsets = held(&target, 7, Behaviour::Unset);
    world.devices.write(world.device("d", 1, vec![unsets])).await;
    let answer = world.check(BLOCKED, vec![question(&target, 7, 9)]).await.unwrap();
    let said = &answer[0];
    assert!(!said.is_blocked && said.holds_any && said.is_fenced && said.count == 0);
    let answer = world.check(SUBSCRIBED, vec![question(&target, 7, 10)]).await.unwrap();
    assert_eq!((answer[0].count, answer[0].referrers.len()), (1, 1));
}

#[tokio::test]
async fn a_reference_that_commits_meanwhile_is_in_the_answer() {
    for (path, behaviour) in [
        (BLOCKED, Behaviour::Block),
        (BLOCKED, Behaviour::Cascade),
        (SUBSCRIBED, Behaviour::Block),
        (SUBSCRIBED, Behaviour::Unset),
    ] {
        let world = World::new();
        let target = project("p");
        let holds = held(&target, 7, behaviour);
        world.devices.happens_before(world.device("d", 1, vec![holds]));
        let answer = world.check(path, vec![question(&target, 7, 9)]).await.unwrap();
        let said = &answer[0];
        assert!(said.holds_any, "{path} {behaviour:?}: denied what is there");
        assert_eq!(said.is_blocked, behaviour == Behaviour::Block);
        let is_blocked = said.is_blocked && path == BLOCKED;
        assert_eq!(said.is_fenced, !is_blocked);
        assert_eq!(fence_of(&world, &target).await.is_some(), !is_blocked);
    }
}

#[tokio::test]
async fn a_fence_that_is_raised_meanwhile_is_not_lowered() {
    let world = World::new();
    let target = project("p");
    let written = Fence { epoch: epoch(50), written: bowline_store::Position::default() };
    let (_, write) = written.put(&target, None);
    world.devices.happens_before(write);
    let answer = world.check(BLOCKED, vec![question(&target, 7, 9)]).await.unwrap();
    assert!(answer[0].is_fenced);
    assert_eq!(fence_of(&world, &target).await, Some(epoch(50)));
}

#[tokio::test]
async fn a_version_that_is_not_mentioned_is_neither_yes_nor_no() {
    let world = World::new();
    let mut asked = question(&project("p"), 7, 9);
    asked.names.remove(0);
    let answer = world.check(BLOCKED, vec![asked]).await.unwrap();
    let said = &answer[0];
    assert!(said.version_mismatch && !said.is_fenced && !said.is_blocked);
    assert_eq!(world.devices.take_commits(), 0);
    // Mentioned, without a name there: that is an answer.
    let mut asked = question(&project("p"), 7, 9);
    asked.names[0].name.clear();
    let answer = world.check(BLOCKED, vec![asked]).await.unwrap();
    assert!(answer[0].is_fenced && !answer[0].version_mismatch);
}

#[tokio::test]
async fn a_target_is_asked_about_by_its_own_service_only() {
    let world = World::new();
    let request = CheckRequest { questions: vec![question(&project("p"), 7, 9)] };
    for caller in [devices(), DeploymentId::new("stranger.test", "")] {
        let refused = world.ask::<CheckResponse>(Some(&caller), DEVICES, BLOCKED, &request).await;
        assert_eq!(refused.unwrap_err().reason, Reason::CallerRefused);
    }
    let refused = world.ask::<CheckResponse>(None, DEVICES, BLOCKED, &request).await;
    assert_eq!(refused.unwrap_err().reason, Reason::CallerNotIdentified);
    assert_eq!(fence_of(&world, &project("p")).await, None);
}

#[tokio::test]
async fn nonsense_is_refused_before_anything_is_fenced() {
    let world = World::new();
    let good = question(&project("p"), 7, 9);
    let refused = |questions| async { world.check(BLOCKED, questions).await.unwrap_err().reason };
    assert_eq!(refused(vec![good.clone(); 1_001]).await, Reason::LimitExceeded);
    let mut bad = good.clone();
    bad.names = vec![good.names[0].clone(); 17];
    assert_eq!(refused(vec![bad]).await, Reason::LimitExceeded);
    let spoils: [fn(&mut Question); 5] = [
        |asked| asked.uid.truncate(3),
        |asked| asked.epoch = None,
        |asked| asked.names.clear(),
        |asked| asked.names.iter_mut().for_each(|name| name.name.clear()),
        |asked| asked.epoch.as_mut().unwrap().number = u64::MAX,
    ];
    for spoil in spoils {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert_eq!(refused(vec![good.clone(), bad]).await, Reason::InvalidField);
    }
    assert_eq!(fence_of(&world, &project("p")).await, None);
}

#[tokio::test]
async fn many_are_counted_to_a_thousand_and_ten_are_named() {
    let world = World::new();
    let target = project("p");
    for number in 0..1_010_u128 {
        let blocks = held(&target, 7, Behaviour::Block);
        let device = world.device(&format!("d{number:04}"), number + 1, vec![blocks]);
        world.devices.write(device).await;
    }
    let answer = world.check(BLOCKED, vec![question(&target, 7, 9)]).await.unwrap();
    assert_eq!(answer[0].count, 1_000);
    let names: Vec<_> = answer[0].referrers.iter().map(|r| &*r.name).collect();
    assert_eq!((names.len(), names[0], names[9]), (10, "devices/d0000", "devices/d0009"));
}

#[tokio::test]
async fn many_questions_are_a_few_commits() {
    let world = World::new();
    let all: Vec<_> = (0..100).map(|n| question(&project(&format!("p{n}")), 7 + n, 9)).collect();
    let twice = all.iter().chain(&all).cloned().collect();
    let answer = world.check(SUBSCRIBED, twice).await.unwrap();
    assert_eq!(answer.len(), 200);
    assert!(answer.iter().all(|said| said.is_fenced && !said.holds_any));
    assert_eq!(world.devices.take_commits(), 4);
}
