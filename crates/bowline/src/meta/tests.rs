//! The meta service on a node, called as clients call it.

use bowline_base::{Detail, Reason, Status};
use bowline_wire::goten::meta::v1::deployment::upgrade_state::Stage;
use bowline_wire::goten::meta::v1::deployment::{Location, UpgradeState};
use bowline_wire::goten::meta::v1::{
    BeginUpgradeRequest, Deployment, GetOrRegisterDataUpdateTaskRequest,
    GetOrRegisterDataUpdateTaskResponse, NotifyShardsUpgradeReadinessRequest, Region, Resource,
    Service, SetAvailableUpgradeRequest, UpdateDataTaskUpdateRequest,
};
use bowline_wire::goten::types::MultiRegionPolicy;
use bowline_wire::meta::{self, MetaResource, StandardVerb, method};
use bowline_wire::standard::{Create, Get, Update};
use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage};

use crate::{Limits, Node};

const NAME: &str = "services/devices.example.com/deployments/eu-west";

async fn node() -> Node {
    let mut builder = Node::builder()
        .source(meta::source())
        .in_memory()
        .listen("127.0.0.1:0".parse().unwrap())
        .limits(Limits { write_attempts_max: 100, ..Limits::default() });
    for (path, action) in super::actions() {
        builder = builder.action_handler(path, action);
    }
    for (kind, hooks) in super::hooks() {
        for hook in hooks {
            builder = builder.before_save(kind.clone(), move |save| hook.before_save(save));
        }
    }
    builder.start().await.unwrap()
}

async fn call<A: Message + Default>(
    node: &Node,
    path: &str,
    request: &impl Message,
) -> Result<A, Status> {
    let empty = node.request_for(path).unwrap();
    let request =
        DynamicMessage::decode(empty.descriptor(), request.encode_to_vec().as_slice()).unwrap();
    let answer = node.call(path, request).await?;
    Ok(A::decode(answer.encode_to_vec().as_slice()).unwrap())
}

async fn create<R: MetaResource>(node: &Node, resource: R) -> Result<R, Status> {
    let request = Create { parent: String::new(), resource: Some(resource) };
    call(node, &R::path(StandardVerb::Create), &request).await
}

async fn get(node: &Node) -> Deployment {
    let request = Get { name: NAME.into(), ..Get::default() };
    call(node, &Deployment::path(StandardVerb::Get), &request).await.unwrap()
}

/// A node with a region, a service and a deployment.
async fn registered() -> Node {
    let node = node().await;
    create(&node, Region { name: "regions/eu-west".into(), ..Region::default() }).await.unwrap();
    let service = Service {
        name: "services/devices.example.com".into(),
        multi_region_policy: Some(MultiRegionPolicy {
            enabled_regions: vec!["eu-west".into()],
            default_control_region: "eu-west".into(),
            ..MultiRegionPolicy::default()
        }),
        ..Service::default()
    };
    create(&node, service).await.unwrap();
    let deployment = Deployment {
        name: NAME.into(),
        current_version: "v1".into(),
        db_data_version: "v1".into(),
        location: Some(Location { city: "Bergen".into(), ..Location::default() }),
        ..Deployment::default()
    };
    create(&node, deployment).await.unwrap();
    node
}

async fn announce(node: &Node, shards: i64) -> Result<(), Status> {
    let request = SetAvailableUpgradeRequest {
        name: NAME.into(),
        target_api_version: "v2".into(),
        total_shards_count: shards,
        ..SetAvailableUpgradeRequest::default()
    };
    call(node, method::SET_AVAILABLE_UPGRADE, &request).await
}

async fn begin(node: &Node) -> Result<(), Status> {
    call(node, method::BEGIN_UPGRADE, &BeginUpgradeRequest { name: NAME.into() }).await
}

async fn notify(node: &Node, shard: i64, total: i64) -> Result<(), Status> {
    let request = NotifyShardsUpgradeReadinessRequest {
        name: NAME.into(),
        shards_from: shard,
        shards_to: shard + 1,
        ready: true,
        total_shards_count: total,
    };
    call(node, method::NOTIFY_SHARDS_UPGRADE_READINESS, &request).await
}

#[tokio::test]
async fn an_upgrade_is_announced_begun_and_carried_on_by_many_at_once() {
    let node = registered().await;
    announce(&node, 20).await.unwrap();
    begin(&node).await.unwrap();
    let notices = (0..20).map(|shard| notify(&node, shard, 20));
    for answer in futures::future::join_all(notices).await {
        answer.unwrap();
    }
    let stored = get(&node).await;
    let state = stored.upgrade_state.unwrap();
    assert_eq!(state.ready_shards, (0..20).collect::<Vec<_>>());
    assert_eq!(state.pending_shards, [0; 0]);
    assert_eq!(state.stage(), Stage::InitialSyncing);
    // What the methods do not touch is as it was.
    assert_eq!(stored.location.unwrap().city, "Bergen");
    assert_eq!(stored.metadata.unwrap().uuid.len(), 36);
    node.stop().await;
}

#[tokio::test]
async fn updates_by_callers_leave_the_state_of_the_upgrade_alone() {
    let node = registered().await;
    announce(&node, 2).await.unwrap();
    let forged = Deployment {
        current_version: "v1".into(),
        upgrade_state: Some(UpgradeState { ready_shards: vec![7], ..UpgradeState::default() }),
        ..get(&node).await
    };
    let request = Update { resource: Some(forged), ..Update::default() };
    let path = Deployment::path(StandardVerb::Update);
    call::<Deployment>(&node, &path, &request).await.unwrap();
    let stored = get(&node).await;
    assert_eq!(stored.upgrade_state, None);
    assert_eq!(stored.available_upgrade.unwrap().api_version, "v2");
    node.stop().await;
}

#[tokio::test]
async fn refusals_say_which_field_or_what_is_in_the_way() {
    let node = registered().await;
    let status = begin(&node).await.unwrap_err();
    assert_eq!(status.reason, Reason::FailedPrecondition);
    assert_eq!(status.message, "no upgrade is available");
    let [Detail::Precondition(violations)] = &status.details[..] else { panic!("{status:?}") };
    assert_eq!(violations[0].subject, NAME);
    let status = announce(&node, 0).await.unwrap_err();
    assert_eq!(status.reason, Reason::InvalidField);
    assert_eq!(status.message, "total_shards_count: 0 is not between 1 and 10000");
    let nobody = BeginUpgradeRequest { name: "services/a.b/deployments/xx".into() };
    let status = call::<()>(&node, method::BEGIN_UPGRADE, &nobody).await.unwrap_err();
    assert_eq!(status.reason, Reason::ResourceNotFound);
    let wrong = BeginUpgradeRequest { name: "regions/eu-west".into() };
    let status = call::<()>(&node, method::BEGIN_UPGRADE, &wrong).await.unwrap_err();
    assert_eq!(status.reason, Reason::InvalidName);
    node.stop().await;
}

#[tokio::test]
async fn data_tasks_remember_how_far_they_are() {
    let node = registered().await;
    let register = GetOrRegisterDataUpdateTaskRequest {
        name: NAME.into(),
        tag: "fill".into(),
        shards_count: 2,
        db_data_target_version: "v1.1".into(),
    };
    let task = || call(&node, method::GET_OR_REGISTER_DATA_UPDATE_TASK, &register);
    let answer: GetOrRegisterDataUpdateTaskResponse = task().await.unwrap();
    assert_eq!(answer.status.unwrap().ready_shards, [0; 0]);
    for shard in [1, 0] {
        let done = UpdateDataTaskUpdateRequest {
            name: NAME.into(),
            tag: "fill".into(),
            shard,
            done: true,
            progress_status: None,
            db_data_target_version: "v1.1".into(),
        };
        call::<()>(&node, method::UPDATE_DATA_TASK_UPDATE, &done).await.unwrap();
        let answer: GetOrRegisterDataUpdateTaskResponse = task().await.unwrap();
        let expected: &[i64] = if shard == 1 { &[1] } else { &[0, 1] };
        assert_eq!(answer.status.unwrap().ready_shards, expected);
    }
    assert_eq!(get(&node).await.db_data_version, "v1.1");
    node.stop().await;
}

#[tokio::test]
async fn what_follows_from_a_name_need_not_be_said() {
    let node = registered().await;
    assert_eq!(get(&node).await.region, "regions/eu-west");
    let resource = Resource {
        name: "services/devices.example.com/resources/Device".into(),
        versions: vec!["v1".into()],
        ..Resource::default()
    };
    let resource = create(&node, resource).await.unwrap();
    assert_eq!(resource.fqn, "devices.example.com/Device");
    let elsewhere = Deployment {
        name: "services/devices.example.com/deployments/us-east".into(),
        region: "regions/eu-west".into(),
        ..Deployment::default()
    };
    let status = create(&node, elsewhere).await.unwrap_err();
    assert_eq!(status.reason, Reason::ValidationFailed);
    node.stop().await;
}
