//! `ListReferrers`, `GetResourceShadow`, `ListResourceShadows`.

use bowline_base::Reason;
use bowline_graph::Behaviour;
use bowline_node::DeploymentId;
use bowline_wire::bowline::mixin::v1::{
    GetResourceShadowRequest, ListReferrersRequest, ListReferrersResponse,
    ListResourceShadowsRequest, ListResourceShadowsResponse, ResourceShadow, method,
};

use super::world::{DEVICES, IAM, STRANGER, World, devices, held, project, want};

#[tokio::test]
async fn referrers_come_page_by_page_each_once() {
    let world = World::new();
    let target = project("p");
    for number in 0..25_u128 {
        let behaviour = [Behaviour::Unset, Behaviour::Block][usize::from(number % 2 == 0)];
        let held = vec![held(&target, 7, behaviour)];
        world.devices.write(world.device(&format!("d{number:02}"), number + 1, held)).await;
    }
    let iam = DeploymentId::new(IAM, "");
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            ListReferrersRequest { target: Some((&target).into()), page_size: 10, page_token };
        let path = method::LIST_REFERRERS;
        let answer: ListReferrersResponse =
            world.ask(Some(&iam), DEVICES, path, &request).await.unwrap();
        names.extend(answer.referrers.into_iter().map(|r| (r.behaviour, r.name)));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names.len(), 25);
    assert!(names.is_sorted(), "those that block first, each by name: {names:?}");
}

#[tokio::test]
async fn referrers_are_told_to_those_who_are_concerned() {
    let world = World::new();
    let request = |page_size, page_token: &str| ListReferrersRequest {
        target: Some((&project("p")).into()),
        page_size,
        page_token: page_token.to_owned(),
    };
    let ask = async |caller: &str, request: ListReferrersRequest| {
        let caller = DeploymentId::new(caller, "");
        let answer: Result<ListReferrersResponse, _> =
            world.ask(Some(&caller), DEVICES, method::LIST_REFERRERS, &request).await;
        answer.map(|_| ()).map_err(|status| status.reason)
    };
    assert_eq!(ask(IAM, request(0, "")).await, Ok(()));
    assert_eq!(ask(DEVICES, request(5, "")).await, Ok(()));
    assert_eq!(ask(STRANGER, request(5, "")).await, Err(Reason::CallerRefused));
    assert_eq!(ask(IAM, request(-1, "")).await, Err(Reason::InvalidField));
    assert_eq!(ask(IAM, request(5, "x")).await, Err(Reason::InvalidPageToken));
}

#[tokio::test]
async fn a_shadow_says_what_is_known_beside_the_document() {
    let world = World::new();
    world.project("p", 7).await;
    world.establish(&devices(), vec![want(&project("p"), 1)]).await.unwrap();
    let request = |name: &str| GetResourceShadowRequest {
        kind: "iam.test/Project".to_owned(),
        version: "v1".to_owned(),
        name: name.to_owned(),
    };
    let iam = DeploymentId::new(IAM, "");
    let get = async |caller: &DeploymentId, name: &str| {
        let path = method::GET_RESOURCE_SHADOW;
        world.ask::<ResourceShadow>(Some(caller), IAM, path, &request(name)).await
    };
    let shadow = get(&iam, "resourceShadows/projects/p").await.unwrap();
    assert_eq!((&*shadow.lifecycle, shadow.tentative_blockades), ("ACTIVE", 1));
    assert_eq!(shadow.uid, 7_u128.to_be_bytes());
    assert_eq!(shadow.back_reference_sources.len(), 1);
    assert_eq!(shadow.back_reference_sources[0].service, DEVICES);
    assert!(shadow.epoch.is_some());
    let missing = get(&iam, "resourceShadows/projects/q").await.unwrap_err();
    assert_eq!(missing.reason, Reason::ResourceNotFound);
    assert_eq!(get(&iam, "projects/p").await.unwrap_err().reason, Reason::InvalidField);
    let refused = get(&devices(), "resourceShadows/projects/p").await.unwrap_err();
    assert_eq!(refused.reason, Reason::CallerRefused);
}

#[tokio::test]
async fn shadows_come_page_by_page_with_their_references() {
    let world = World::new();
    for number in 0..7_u128 {
        let held = vec![held(&project("p"), 7, Behaviour::Block)];
        world.devices.write(world.device(&format!("d{number}"), number + 1, held)).await;
    }
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListResourceShadowsRequest {
            kind: "devices.test/Device".to_owned(),
            version: "v1".to_owned(),
            page_size: 3,
            page_token,
        };
        let path = method::LIST_RESOURCE_SHADOWS;
        let answer: ListResourceShadowsResponse =
            world.ask(Some(&devices()), DEVICES, path, &request).await.unwrap();
        for shadow in answer.resource_shadows {
            assert_eq!(shadow.references.len(), 1);
            assert_eq!(shadow.references[0].target_uid, 7_u128.to_be_bytes());
            names.push(shadow.name);
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names.len(), 7);
    assert_eq!(names[0], "resourceShadows/devices/d0");
    assert!(names.is_sorted());
}
