//! `EstablishReferences`, `ConfirmBlockades`, `WithdrawBlockades`.

use std::time::Duration;

use bowline_base::Reason;
use bowline_graph::TargetName;
use bowline_graph::grant::Answer;
use bowline_node::DeploymentId;
use bowline_store::{RowId, Write, layout};
use bowline_wire::bowline::mixin::v1::{
    BlockadesRequest, BlockadesResponse, Epoch, EstablishReferencesResponse, Refusal,
    blockades_request, method,
};
use futures::future::join_all;

use super::world::{IAM, STRANGER, World, devices, project, want};

/// Why each refused target is.
fn why(answer: &EstablishReferencesResponse) -> Vec<Refusal> {
    assert!(answer.granted.is_empty(), "granted and refused at once");
    answer.refused.iter().map(|refused| refused.why()).collect()
}

async fn drop_blockade(world: &World, path: &str, by: &DeploymentId, uid: u128, id: u8) {
    let blockade = blockades_request::Blockade {
        target: Some((&project("p")).into()),
        uid: uid.to_be_bytes().to_vec(),
        blockade_id: vec![id; 16],
    };
    let request = BlockadesRequest { blockades: vec![blockade] };
    let _: BlockadesResponse = world.ask(Some(by), IAM, path, &request).await.unwrap();
}

#[tokio::test]
async fn the_first_grant_of_a_source_is_one_commit_and_the_others_none() {
    let world = World::new();
    world.project("p", 7).await;
    let first = world.establish(&devices(), vec![want(&project("p"), 1)]).await.unwrap();
    assert_eq!(first.granted[0].uid, 7_u128.to_be_bytes());
    assert!(first.granted[0].has_blockade);
    assert_eq!(world.iam.take_commits(), 1);
    let second = world.establish(&devices(), vec![want(&project("p"), 2)]).await.unwrap();
    assert!(!second.granted[0].has_blockade);
    assert_eq!(second.granted[0].epoch, first.granted[0].epoch);
    assert_eq!(world.iam.take_commits(), 0);
}

#[tokio::test]
async fn grants_that_come_at_once_are_one_commit() {
    let world = World::new();
    world.project("p", 7).await;
    let callers: Vec<_> =
        (0..64).map(|n| DeploymentId::new("devices.test", format!("r{n}"))).collect();
    let asking = callers.iter().map(|by| world.establish(by, vec![want(&project("p"), 1)]));
    let answers = join_all(asking).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().granted.len() == 1));
    let commits = world.iam.take_commits();
    assert!((1..=4).contains(&commits), "{commits} commits");
    let inbound = world.inbound(7).await.unwrap();
    assert_eq!((inbound.sources.len(), inbound.grants), (64, 64));
    let again = callers.iter().map(|by| world.establish(by, vec![want(&project("p"), 2)]));
    assert!(join_all(again).await.iter().all(Result::is_ok));
    assert_eq!(world.iam.take_commits(), 0);
    assert_eq!(world.deployment(IAM).inbound.queue_count(), 0);
}

#[tokio::test]
async fn all_is_granted_or_nothing() {
    let world = World::new();
    world.project("p", 7).await;
    let wanted = vec![want(&project("p"), 1), want(&project("missing"), 2)];
    let answer = world.establish(&devices(), wanted).await.unwrap();
    assert_eq!(why(&answer), [Refusal::NotFound]);
    assert_eq!(answer.refused[0].index, 1);
    assert_eq!((world.iam.take_commits(), world.inbound(7).await), (0, None));
}

#[tokio::test]
async fn what_goes_between_the_look_and_the_commit_is_not_granted_and_the_rest_is_taken_back() {
    let world = World::new();
    world.project("p", 7).await;
    world.project("q", 8).await;
    let table = layout::resources("v1", "iam.test/Project");
    let key = bowline_store::Key { table, name: "projects/q".into() };
    world.iam.happens_before(Write::Remove { key });
    let wanted = vec![want(&project("p"), 1), want(&project("q"), 2)];
    let answer = world.establish(&devices(), wanted).await.unwrap();
    assert_eq!(why(&answer), [Refusal::Deleting]);
    assert_eq!(world.inbound(8).await, None);
    // The source stays: nobody but the source itself can say that it holds nothing.
    let inbound = world.inbound(7).await.unwrap();
    assert_eq!((inbound.sources.len(), inbound.blockades.len()), (1, 0));
}

#[tokio::test]
async fn who_is_not_a_party_is_refused() {
    let world = World::new();
    world.project("p", 7).await;
    let wanted = || vec![want(&project("p"), 1)];
    let stranger = DeploymentId::new(STRANGER, "");
    assert_eq!(why(&world.establish(&stranger, wanted()).await.unwrap()), [Refusal::NotAllowed]);
    let own = DeploymentId::new(IAM, "");
    let refused = world.establish(&own, wanted()).await.unwrap_err();
    assert_eq!(refused.reason, Reason::CallerRefused);
    let request = bowline_wire::bowline::mixin::v1::EstablishReferencesRequest {
        wanted: wanted(),
        is_dry: false,
    };
    let nobody =
        world.ask::<EstablishReferencesResponse>(None, IAM, method::ESTABLISH_REFERENCES, &request);
    assert_eq!(nobody.await.unwrap_err().reason, Reason::CallerNotIdentified);
    assert_eq!(world.iam.take_commits(), 0);
}

#[tokio::test]
async fn a_resource_says_which_services_may_refer_to_it() {
    let world = World::new();
    world.project_allowing("default", 1, &[IAM]).await;
    world.project_allowing("named", 2, &[IAM, "devices.test"]).await;
    world.project_allowing("others", 3, &[IAM, "other.test"]).await;
    let ask = async |name: &str| world.establish(&devices(), vec![want(&project(name), 1)]).await;
    assert_eq!(ask("default").await.unwrap().granted.len(), 1);
    assert_eq!(ask("named").await.unwrap().granted.len(), 1);
    assert_eq!(why(&ask("others").await.unwrap()), [Refusal::NotAllowed]);
}

#[tokio::test]
async fn nonsense_is_refused_before_anything_happens() {
    let world = World::new();
    world.project("p", 7).await;
    let good = want(&project("p"), 1);
    let refused = |wanted| async { world.establish(&devices(), wanted).await.unwrap_err().reason };
    assert_eq!(refused(vec![good.clone(); 1_001]).await, Reason::LimitExceeded);
    let mut bad = good.clone();
    bad.blockade_id = vec![1; 15];
    assert_eq!(refused(vec![bad]).await, Reason::InvalidField);
    let mut bad = good.clone();
    bad.target = None;
    assert_eq!(refused(vec![bad]).await, Reason::InvalidField);
    let mut bad = good.clone();
    bad.fence = Some(Epoch { ownership: u64::MAX, era: u64::MAX, number: u64::MAX });
    assert_eq!(refused(vec![bad]).await, Reason::InvalidField);
    for (kind, version, name, expected) in [
        ("iam.test/Nothing", "v1", "projects/p", Refusal::TypeUnknown),
        ("iam.test/Project", "v9", "projects/p", Refusal::TypeUnknown),
        ("devices.test/Device", "v1", "devices/d", Refusal::TypeUnknown),
        ("iam.test/Project", "v1", "projects/-", Refusal::NotFound),
        ("iam.test/Project", "v1", "//x/..//", Refusal::NotFound),
        ("iam.test/Project", "v1", "", Refusal::NotFound),
    ] {
        let target = TargetName::new(kind, version, name);
        let answer = world.establish(&devices(), vec![want(&target, 1)]).await.unwrap();
        assert_eq!(why(&answer), [expected], "{target}");
    }
    assert_eq!(world.iam.take_commits(), 0);
}

#[tokio::test]
async fn a_fence_that_is_named_is_passed() {
    let world = World::new();
    world.project("p", 7).await;
    let fence = Epoch { ownership: 3, era: 1, number: 1 << 40 };
    let wanted = |blockade| {
        let mut wanted = want(&project("p"), blockade);
        wanted.fence = Some(fence);
        vec![wanted]
    };
    let epoch = |answer: EstablishReferencesResponse| {
        bowline_graph::Epoch::from(answer.granted[0].epoch.unwrap())
    };
    let first = epoch(world.establish(&devices(), wanted(1)).await.unwrap());
    assert!(first > fence.into());
    // Once is enough.
    assert_eq!(epoch(world.establish(&devices(), wanted(2)).await.unwrap()), first);
    assert_eq!(world.iam.take_commits(), 1);
}

#[tokio::test]
async fn blockades_go_by_id_and_sources_stay() {
    let world = World::new();
    world.project("p", 7).await;
    world.establish(&devices(), vec![want(&project("p"), 1)]).await.unwrap();
    let other = DeploymentId::new("devices.test", "other");
    // Somebody else's, and one that never was.
    drop_blockade(&world, method::CONFIRM_BLOCKADES, &other, 7, 1).await;
    drop_blockade(&world, method::WITHDRAW_BLOCKADES, &other, 7, 1).await;
    drop_blockade(&world, method::WITHDRAW_BLOCKADES, &devices(), 7, 9).await;
    assert_eq!(world.inbound(7).await.unwrap().blockades.len(), 1);
    world.iam.take_commits();
    for path in [method::CONFIRM_BLOCKADES, method::CONFIRM_BLOCKADES, method::WITHDRAW_BLOCKADES] {
        drop_blockade(&world, path, &devices(), 7, 1).await;
        let inbound = world.inbound(7).await.unwrap();
        assert_eq!((inbound.sources.len(), inbound.blockades.len()), (1, 0));
    }
    assert_eq!(world.iam.take_commits(), 1);
    // Of a resource that nobody ever referred to, or that is not there.
    drop_blockade(&world, method::CONFIRM_BLOCKADES, &devices(), 8, 1).await;
    assert_eq!(world.inbound(8).await, None);
}

#[tokio::test]
async fn a_request_that_comes_late_after_a_withdrawal_is_granted_what_is_there() {
    let world = World::new();
    world.project("p", 7).await;
    let wanted = || vec![want(&project("p"), 1)];
    let first = world.establish(&devices(), wanted()).await.unwrap();
    drop_blockade(&world, method::WITHDRAW_BLOCKADES, &devices(), 7, 1).await;
    let late = world.establish(&devices(), wanted()).await.unwrap();
    assert_eq!(late.granted[0].epoch, first.granted[0].epoch);
    assert!(!late.granted[0].has_blockade, "there is nothing to confirm");
}

#[tokio::test]
async fn while_a_deletion_is_under_way_the_answer_is_to_ask_again() {
    let world = World::new();
    world.project("p", 7).await;
    let first = world.establish(&devices(), vec![want(&project("p"), 1)]).await.unwrap();
    let iam = world.deployment(IAM);
    let begun = world.engine.attempt_deletion(iam, &project("p"), RowId(7)).await.unwrap();
    let (Answer::Attempted(attempted), attempting) = begun else { panic!("{}", begun.0) };
    let answer = world.establish(&devices(), vec![want(&project("p"), 2)]).await.unwrap();
    assert_eq!(why(&answer), [Refusal::DeletionInProgress]);
    assert!((1..=50).contains(&answer.refused[0].retry_millis));
    assert_eq!(world.inbound(7).await.unwrap(), attempted);
    drop(attempting);
    let answer = world.establish(&devices(), vec![want(&project("p"), 3)]).await.unwrap();
    let epoch = bowline_graph::Epoch::from(answer.granted[0].epoch.unwrap());
    assert!(epoch > first.granted[0].epoch.unwrap().into());
    let inbound = world.inbound(7).await.unwrap();
    assert!(!inbound.attempt && inbound.grants > attempted.grants, "the verdict could commit");
    let held_off = world.engine.held_off(iam, "iam.test/Project", RowId(7));
    assert_eq!(held_off, Duration::ZERO);
}

#[tokio::test]
async fn what_is_being_deleted_is_not_granted() {
    let world = World::new();
    world.project("p", 7).await;
    world.establish(&devices(), vec![want(&project("p"), 1)]).await.unwrap();
    let verdict = world.inbound(7).await.unwrap().verdict(&[].into());
    world.set_inbound(7, &verdict).await;
    let answer = world.establish(&devices(), vec![want(&project("p"), 2)]).await.unwrap();
    assert_eq!(why(&answer), [Refusal::Deleting]);
    // Its row is gone, and its name still taken.
    let table = layout::aliases("v1", "iam.test/Project");
    let key = bowline_store::Key { table, name: "projects/gone".into() };
    world.iam.write(Write::put(key, bowline_store::Row::new(1, ""))).await;
    let answer = world.establish(&devices(), vec![want(&project("gone"), 2)]).await.unwrap();
    assert_eq!(why(&answer), [Refusal::Deleting]);
}

#[tokio::test]
async fn a_target_is_found_that_is_stored_in_another_version() {
    let world = World::new();
    let tenant = TargetName::new("iam.test/Tenant", "v2", "tenants/p");
    world.iam.write(world.row(&tenant, 7, &Default::default(), vec![])).await;
    let answer = world.establish(&devices(), vec![want(&project("p"), 1)]).await.unwrap();
    assert_eq!(answer.granted[0].uid, 7_u128.to_be_bytes());
    let key = bowline_graph::inbound::key("iam.test/Tenant", RowId(7));
    let row = bowline_store::Backend::get(&*world.iam, &key).await.unwrap().0.unwrap();
    assert_eq!(bowline_graph::Inbound::of_row(&row).unwrap().target, tenant);
    // The caller confirms what it calls a project.
    drop_blockade(&world, method::CONFIRM_BLOCKADES, &devices(), 7, 1).await;
    let row = bowline_store::Backend::get(&*world.iam, &key).await.unwrap().0.unwrap();
    assert_eq!(bowline_graph::Inbound::of_row(&row).unwrap().blockades, []);
    let names = world.engine.versioned_names(&tenant).await.unwrap();
    let names: Vec<_> =
        names.iter().map(|n| format!("{} {} {}", n.version, n.kind, n.name)).collect();
    assert_eq!(names, ["v1 iam.test/Project projects/p", "v2 iam.test/Tenant tenants/p"]);
}
