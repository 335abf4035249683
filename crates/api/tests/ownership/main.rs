//! Ownership: who may write what where, what metadata says of it, and how it changes hands.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, unreachable_pub, reason = "tests")]

mod deleted;
mod sneaky;
mod world;

use bowline_api::engine::Engine;
use bowline_base::{Detail, Reason, Status};
use bowline_node::ownership::Claim;
use bowline_node::{Call, DeploymentId, Peers};
use bowline_node::{Holder, Owner, Ownership, Part, Place, Policy};
use bowline_store::Backend as _;
use bowline_wire::bowline::mixin::v1::ReleaseOwnershipRequest;
use bowline_wire::bowline::mixin::v1::method::RELEASE_OWNERSHIP;
use prost::Message as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use world::{Asleep, DEVICES, Fleet, IAM, REGIONS, Unread, call, policy};

fn control(project: &str) -> Place {
    let holder = Holder { kind: "iam.test/Project".into(), name: project.into() };
    Place { holder: Some(holder), part: Part::Control }
}

/// What stands in the way, by its full names.
fn obstacles(status: &Status) -> Vec<String> {
    let preconditions = status.details.iter().filter_map(|detail| match detail {
        Detail::Precondition(violations) => Some(violations),
        _ => None,
    });
    preconditions.flatten().map(|violation| violation.subject.clone()).collect()
}

#[tokio::test]
async fn metadata_says_who_owns_a_resource_and_where_copies_go() {
    let fleet = Fleet::new();
    fleet.project("p", "us", &["eu", "us"]).await.unwrap();
    let forged = json!({
        "parent": "projects/p", "campaignId": "c",
        "campaign": { "metadata": {
            "syncing": { "owningRegion": "ap", "regions": ["ap"] },
            "shards": { "byNameMod16": "3", "mine": "1" },
            "services": { "owningService": "forged.test", "allowedServices": ["b.test", "a.test"] },
        } },
    });
    let made = fleet.call("ap", "devices.v1.CampaignService/CreateCampaign", forged).await.unwrap();
    let meta = &made["metadata"];
    assert_eq!(meta["syncing"], json!({ "owningRegion": "us", "regions": ["eu", "us"] }));
    let services = json!({ "owningService": DEVICES, "allowedServices": ["a.test", "b.test"] });
    assert_eq!(meta["services"], services);
    // FNV-1a of the name, modulo 16; computed elsewhere.
    assert_eq!(meta["shards"], json!({ "byNameMod16": "10" }));
    let model = json!({ "modelId": "m", "model": {} });
    let model = fleet.call("us", "devices.v1.ModelService/CreateModel", model).await.unwrap();
    let syncing = &model["metadata"]["syncing"];
    assert_eq!(*syncing, json!({ "owningRegion": "eu", "regions": ["*"] }));
}

#[tokio::test]
async fn an_empty_update_brings_the_metadata_up_to_date_and_only_then_writes() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &["eu", "us"]).await.unwrap();
    let made = fleet.campaign("eu", "p", "c").await.unwrap();
    let update = json!({ "campaign": { "name": "projects/p/campaigns/c" }, "updateMask": "title" });
    let update = || fleet.call("eu", "devices.v1.CampaignService/UpdateCampaign", update.clone());
    assert_eq!(update().await.unwrap(), made, "nothing changed, so nothing is written");
    fleet.set_policy("p", policy("eu", &REGIONS)).await.unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let regions = loop {
        let updated = update().await.unwrap();
        if updated != made || tokio::time::Instant::now() > deadline {
            break updated["metadata"]["syncing"]["regions"].clone();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(regions, json!(["ap", "eu", "us"]));
}

#[tokio::test]
async fn nothing_is_made_outside_the_enabled_regions() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &["eu", "us"]).await.unwrap();
    let refused = fleet.device("eu", "p", "ap", "d").await.unwrap_err();
    assert_eq!(refused.reason, Reason::RegionNotAllowed, "{refused}");
    assert_eq!(refused.metadata["enabled"], "eu, us");
    let refused = fleet.device("eu", "p", "mars", "d").await.unwrap_err();
    assert_eq!(refused.reason, Reason::RegionNotAllowed, "{refused}");
    fleet.device("eu", "p", "us", "d").await.unwrap();
    let missing = fleet.campaign("eu", "nowhere", "c").await.unwrap_err();
    assert_eq!(missing.reason, Reason::ResourceNotFound, "{missing}");
}

#[tokio::test]
async fn policies_that_cannot_be_followed_are_refused() {
    let fleet = Fleet::new();
    let bad = [
        policy("us", &["eu"]),
        policy("", &["eu"]),
        policy("eu", &["eu", "mars"]),
        json!({ "defaultControlRegion": "eu" }),
    ];
    for policy in bad {
        let request = json!({ "projectId": "p", "project": { "multiRegionPolicy": policy } });
        let refused = fleet.call("eu", "iam.v1.ProjectService/CreateProject", request).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.reason, Reason::RegionNotAllowed, "{policy}: {refused}");
    }
    let silent = json!({ "projectId": "p", "project": {} });
    let made = fleet.call("us", "iam.v1.ProjectService/CreateProject", silent).await.unwrap();
    assert_eq!(made["multiRegionPolicy"], policy("eu", &REGIONS), "that of the service");
    let refused = fleet.set_policy("p", Value::Null).await.unwrap_err();
    assert_eq!(refused.reason, Reason::RegionNotAllowed, "{refused}");
}

#[tokio::test]
async fn the_control_region_changes_only_when_nothing_is_owned_under_it() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    fleet.campaign("ap", "p", "c").await.unwrap();
    fleet.device("ap", "p", "us", "d").await.unwrap();
    let binding = json!({ "parent": "projects/p", "bindingId": "b", "binding": {} });
    fleet.call("ap", "iam.v1.BindingService/CreateBinding", binding).await.unwrap();

    let refused = fleet.set_policy("p", policy("us", &REGIONS)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::RegionNotAllowed, "{refused}");
    assert_eq!(obstacles(&refused), ["//iam.test/projects/p/bindings/b"], "asked at home first");
    let delete = json!({ "name": "projects/p/bindings/b" });
    let delete = || fleet.call("us", "iam.v1.BindingService/DeleteBinding", delete.clone());
    fleet.eventually(delete).await.unwrap();
    let refused = fleet.set_policy("p", policy("us", &REGIONS)).await.unwrap_err();
    assert_eq!(obstacles(&refused), ["//devices.test/projects/p/campaigns/c"]);
    assert_eq!(refused.metadata["count"], "1");

    // What was begun and refused was given back.
    fleet.eventually(|| fleet.campaign("us", "p", "c2")).await.unwrap();
    for id in ["c", "c2"] {
        let delete = json!({ "name": format!("projects/p/campaigns/{id}") });
        fleet.call("us", "devices.v1.CampaignService/DeleteCampaign", delete).await.unwrap();
    }
    fleet.set_policy("p", policy("us", &REGIONS)).await.unwrap();
    let made = fleet.eventually(|| fleet.campaign("ap", "p", "c3")).await.unwrap();
    assert_eq!(made["metadata"]["syncing"]["owningRegion"], "us");
    let read = json!({ "name": "projects/p/regions/us/devices/d" });
    fleet.call("ap", "devices.v1.DeviceService/GetDevice", read).await.unwrap();
}

#[tokio::test]
async fn a_region_is_disabled_only_when_it_owns_nothing_and_can_come_back() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &["eu", "us"]).await.unwrap();
    for id in 0..12 {
        fleet.device("eu", "p", "us", &format!("d{id:02}")).await.unwrap();
    }
    let refused = fleet.set_policy("p", policy("eu", &["eu"])).await.unwrap_err();
    assert_eq!(refused.reason, Reason::RegionNotAllowed, "{refused}");
    assert_eq!(refused.metadata["count"], "12");
    assert_eq!(obstacles(&refused).len(), 10);
    for id in 0..12 {
        let delete = json!({ "name": format!("projects/p/regions/us/devices/d{id:02}") });
        let delete = || fleet.call("eu", "devices.v1.DeviceService/DeleteDevice", delete.clone());
        fleet.eventually(delete).await.unwrap();
    }
    fleet.set_policy("p", policy("eu", &["eu"])).await.unwrap();
    let refused = fleet.eventually(|| fleet.device("ap", "p", "us", "d")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::RegionNotAllowed, "{refused}");
    fleet.set_policy("p", policy("eu", &["eu", "us"])).await.unwrap();
    let again = || async {
        let made = fleet.device("ap", "p", "us", "d").await;
        made.map_err(|status| match status.reason {
            // Not everybody has heard that it is enabled again.
            Reason::RegionNotAllowed => Status::new(Reason::Conflict, "not yet"),
            _ => status,
        })
    };
    fleet.eventually(again).await.unwrap();
}

#[tokio::test]
async fn a_slow_process_of_the_former_owner_cannot_commit() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    let before = Owner {
        region: "eu".into(),
        epoch: 1,
        policy: Arc::new(Policy::new("eu", REGIONS)),
        is_deleting: false,
    };
    let sleepy = fleet.start("eu", Arc::new(Asleep(before)));
    let make = |id: &str| {
        let request = json!({ "parent": "projects/p", "campaignId": id, "campaign": {} });
        let sleepy = sleepy.clone();
        async move { call(&sleepy, "devices.v1.CampaignService/CreateCampaign", request).await }
    };
    make("early").await.unwrap();
    let delete = json!({ "name": "projects/p/campaigns/early" });
    call(&sleepy, "devices.v1.CampaignService/DeleteCampaign", delete).await.unwrap();
    fleet.set_policy("p", policy("us", &REGIONS)).await.unwrap();
    let refused = make("late").await.unwrap_err();
    assert_eq!(refused.reason, Reason::NotOwned, "{refused}");
}

/// A process of `eu` that cannot read the policy of `projects/p` again, and how it makes a campaign below it.
fn unread(fleet: &Fleet) -> (Arc<Engine>, impl AsyncFn(&str) -> Result<Value, Status>) {
    let policy = Arc::new(Policy::new("eu", REGIONS));
    let owner = Owner { region: "eu".into(), epoch: 1, policy, is_deleting: false };
    let engine = fleet.start("eu", Arc::new(Unread { owner, is_told: AtomicBool::new(false) }));
    let making = engine.clone();
    let make = async move |id: &str| {
        let request = json!({ "parent": "projects/p", "campaignId": id, "campaign": {} });
        call(&making, "devices.v1.CampaignService/CreateCampaign", request).await
    };
    (engine, make)
}

#[tokio::test]
async fn who_was_told_of_a_change_makes_nothing_by_a_policy_that_it_cannot_read() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    let (engine, make) = unread(&fleet);
    make("before").await.unwrap();
    let project = json!({ "name": "projects/p", "multiRegionPolicy": policy("eu", &["ap", "eu"]) });
    let change = json!({ "project": project, "updateMask": "multiRegionPolicy" });
    call(&engine, "iam.v1.ProjectService/UpdateProject", change).await.unwrap();
    let refused = make("after").await.unwrap_err();
    assert_eq!(refused.reason, Reason::Unavailable, "{refused}");
    assert!(refused.message.contains("is being changed"), "{refused}");
}

#[tokio::test]
async fn a_process_that_was_not_told_of_a_change_finds_out_before_it_makes_anything() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    let (_engine, make) = unread(&fleet);
    make("before").await.unwrap();
    let delete = json!({ "name": "projects/p/campaigns/before" });
    fleet.call("eu", "devices.v1.CampaignService/DeleteCampaign", delete).await.unwrap();
    for region in ["us", "eu"] {
        fleet.set_policy("p", policy(region, &REGIONS)).await.unwrap();
    }
    let refused = make("after").await.unwrap_err();
    assert_eq!(refused.reason, Reason::Unavailable, "{refused}");
    assert!(refused.message.contains("is being changed"), "{refused}");
}

#[tokio::test]
async fn a_change_that_cannot_reach_everybody_is_refused_and_given_back() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    fleet.campaign("eu", "p", "c").await.unwrap();
    let delete = json!({ "name": "projects/p/campaigns/c" });
    fleet.call("eu", "devices.v1.CampaignService/DeleteCampaign", delete).await.unwrap();
    fleet.network.cut("ap");
    let refused = fleet.set_policy("p", policy("us", &REGIONS)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Unavailable, "{refused}");
    assert_eq!(refused.metadata["region"], "ap");
    // The owner is who it was, also for those that had followed.
    fleet.eventually(|| fleet.campaign("eu", "p", "c2")).await.unwrap();
    fleet.network.heal("ap");
    let refused = fleet.set_policy("p", policy("us", &REGIONS)).await.unwrap_err();
    assert_eq!(obstacles(&refused), ["//devices.test/projects/p/campaigns/c2"]);
    let delete = json!({ "name": "projects/p/campaigns/c2" });
    let delete = || fleet.call("ap", "devices.v1.CampaignService/DeleteCampaign", delete.clone());
    fleet.eventually(delete).await.unwrap();
    fleet.set_policy("p", policy("us", &REGIONS)).await.unwrap();
    fleet.eventually(|| fleet.campaign("ap", "p", "c3")).await.unwrap();
}

#[tokio::test]
async fn creates_that_race_with_a_change_end_before_it_or_after_it() {
    let fleet = Fleet::new();
    for round in 0..20 {
        let project = format!("p{round}");
        fleet.project(&project, "eu", &REGIONS).await.unwrap();
        let us = policy("us", &REGIONS);
        let (made, changed) = futures::future::join(
            fleet.campaign("eu", &project, "c"),
            fleet.set_policy(&project, us),
        )
        .await;
        let name = format!("projects/{project}/campaigns/c");
        let table = bowline_store::layout::resources("v1", "devices.test/Campaign");
        let key = bowline_store::Key { table, name: name.as_str().into() };
        let (in_eu, _) = fleet.backends[&("eu", DEVICES)].get(&key).await.unwrap();
        let (in_us, _) = fleet.backends[&("us", DEVICES)].get(&key).await.unwrap();
        assert!(!(changed.is_ok() && in_eu.is_some()), "eu keeps what us owns: {made:?}");
        assert!(!(changed.is_err() && in_us.is_some()), "us has what eu owns: {made:?}");
        assert!(made.is_ok() == (in_eu.is_some() || in_us.is_some()));
    }
}

#[tokio::test]
async fn a_namesake_of_a_deleted_project_takes_over_only_what_is_empty() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    fleet.note("eu", "p", "c").await.unwrap();
    let delete = json!({ "name": "projects/p" });
    fleet.call("eu", "iam.v1.ProjectService/DeleteProject", delete).await.unwrap();
    let refused = fleet.project("p", "us", &REGIONS).await.unwrap_err();
    assert_eq!(obstacles(&refused), ["//devices.test/projects/p/notes/c"]);
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    let delete = json!({ "name": "projects/p/notes/c" });
    let delete = || fleet.call("eu", "devices.v1.NoteService/DeleteNote", delete.clone());
    fleet.eventually(delete).await.unwrap();
    fleet.set_policy("p", policy("us", &REGIONS)).await.unwrap();
    fleet.eventually(|| fleet.note("eu", "p", "c2")).await.unwrap();
}

#[tokio::test]
async fn what_is_made_while_a_place_is_given_up_keeps_it() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    let table = bowline_store::layout::resources("v1", "devices.test/Campaign");
    let key = bowline_store::Key { table, name: "projects/p/campaigns/c".into() };
    let made = bowline_store::Write::put(key, bowline_store::Row::new(1_000, ""));
    let first = bowline_store::Batch { conditions: vec![], writes: vec![made] };
    *fleet.backends[&("eu", DEVICES)].first.lock().unwrap() = Some(first);
    let refused = fleet.set_policy("p", policy("us", &REGIONS)).await.unwrap_err();
    assert_eq!(obstacles(&refused), ["//devices.test/projects/p/campaigns/c"]);
}

#[tokio::test]
async fn who_owns_what_is_known_without_asking_once_the_watches_have_told() {
    let fleet = Fleet::new();
    fleet.project("p", "us", &REGIONS).await.unwrap();
    for region in REGIONS {
        fleet.eventually(|| fleet.campaign(region, "p", region)).await.unwrap();
    }
    let policies = |calls: Vec<String>| calls.into_iter().filter(|c| c.ends_with("GetProject"));
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let mut round = 0;
    loop {
        round += 1;
        std::mem::take(&mut *fleet.network.calls.lock().unwrap());
        for region in REGIONS {
            fleet.campaign(region, "p", &format!("{region}-{round}")).await.unwrap();
        }
        let calls = std::mem::take(&mut *fleet.network.calls.lock().unwrap());
        let forwarded = calls.iter().filter(|call| call.ends_with("CreateCampaign")).count();
        assert_eq!(forwarded, 2, "one hop from each region that is not the owner: {calls:?}");
        if policies(calls).count() == 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "policies are still read");
    }
    fleet.network.cut("eu");
    // Only what refers to something new asks where that is owned.
    let campaign = json!({ "name": "projects/p/campaigns/ap", "title": "kept" });
    let update = json!({ "campaign": campaign, "updateMask": "title" });
    fleet.call("ap", "devices.v1.CampaignService/UpdateCampaign", update).await.unwrap();
    let refused = fleet.campaign("ap", "p", "c").await.unwrap_err();
    assert_eq!((refused.reason, &*refused.metadata["region"]), (Reason::Unavailable, "eu"));
}

#[tokio::test]
async fn the_policy_of_a_service_moves_what_is_below_no_holder() {
    let fleet = Fleet::new();
    let name = "services/devices.test";
    let service = json!({ "name": name, "multiRegionPolicy": policy("eu", &REGIONS) });
    let create = json!({ "service": service });
    fleet.call("eu", "goten.meta.v1.ServiceService/CreateService", create).await.unwrap();
    let move_to = |region: &str| {
        let service = json!({ "name": name, "multiRegionPolicy": policy(region, &REGIONS) });
        let request = json!({ "service": service, "updateMask": "multiRegionPolicy" });
        fleet.call("ap", "goten.meta.v1.ServiceService/UpdateService", request)
    };
    let model = |id: &str| {
        let request = json!({ "modelId": id, "model": {} });
        fleet.call("eu", "devices.v1.ModelService/CreateModel", request)
    };
    model("m").await.unwrap();
    let refused = move_to("us").await.unwrap_err();
    assert_eq!(obstacles(&refused), ["//devices.test/models/m"]);
    let delete = json!({ "name": "models/m" });
    let delete = || fleet.call("eu", "devices.v1.ModelService/DeleteModel", delete.clone());
    fleet.eventually(delete).await.unwrap();
    move_to("us").await.unwrap();
    let refused = model("m2").await.unwrap_err();
    assert_eq!(refused.reason, Reason::NotOwned, "before anybody has heard of it: {refused}");
    fleet.picture_policy(DEVICES, &Policy::new("us", REGIONS));
    let made = fleet.eventually(|| model("m2")).await.unwrap();
    assert_eq!(made["metadata"]["syncing"]["owningRegion"], "us");
}

#[tokio::test]
async fn a_policy_that_is_not_known_is_not_guessed() {
    let fleet = Fleet::new();
    fleet.network.cut("eu");
    let refused = fleet.campaign("us", "p", "c").await.unwrap_err();
    assert_eq!(refused.reason, Reason::Unavailable, "{refused}");
    assert_eq!(refused.metadata["region"], "eu");
    fleet.network.heal("eu");
    let refused = fleet.campaign("us", "p", "c").await.unwrap_err();
    assert_eq!(refused.reason, Reason::ResourceNotFound, "{refused}");
    fleet.project("p", "us", &REGIONS).await.unwrap();
    fleet.campaign("us", "p", "c").await.unwrap();
}

async fn release(fleet: &Fleet, from: &str, epoch: i64, owner: &str) -> Result<Value, Status> {
    use bowline_wire::bowline::mixin::v1::ReleaseOwnershipResponse as Response;
    let request = ReleaseOwnershipRequest {
        holder_kind: "iam.test/Project".to_owned(),
        holder_name: "projects/p".to_owned(),
        part_region: String::new(),
        epoch,
        owner_region: owner.to_owned(),
    };
    let call = Call::unary(RELEASE_OWNERSHIP, request.encode_to_vec());
    let (from, to) = (from.parse().unwrap(), DeploymentId::new(DEVICES, "eu"));
    let answer = fleet.network.call(&from, &to, call).await?.unary()?;
    let answer = Response::decode(answer).unwrap();
    Ok(json!([answer.released, answer.obstacle_count, answer.epoch, answer.owner_region]))
}

#[tokio::test]
async fn ownership_is_released_once_for_each_epoch_and_only_to_who_keeps_the_policy() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    let iam = format!("{IAM}@eu");
    let refused = release(&fleet, &format!("{DEVICES}@us"), 2, "us").await.unwrap_err();
    assert_eq!(refused.reason, Reason::CallerRefused, "{refused}");
    assert_eq!(release(&fleet, &iam, 3, "us").await.unwrap(), json!([true, 0, 3, "us"]));
    assert_eq!(release(&fleet, &iam, 3, "us").await.unwrap(), json!([true, 0, 3, "us"]));
    assert_eq!(release(&fleet, &iam, 3, "ap").await.unwrap(), json!([false, 0, 3, "us"]));
    assert_eq!(release(&fleet, &iam, 2, "ap").await.unwrap(), json!([false, 0, 3, "us"]));
    let bad = release(&fleet, &iam, 1, "ap").await.unwrap_err();
    assert_eq!(bad.reason, Reason::InvalidField, "{bad}");
    let rows = Ownership::new(fleet.backends[&("eu", DEVICES)].clone());
    let claim = rows.refresh(&control("projects/p")).await.unwrap();
    assert_eq!(claim, Some(Claim { owner: "us".into(), epoch: 3 }));
    // A change that began before it hears of the epoch, and goes on above it.
    fleet.set_policy("p", policy("ap", &REGIONS)).await.unwrap();
    let claim = rows.refresh(&control("projects/p")).await.unwrap();
    assert_eq!(claim, Some(Claim { owner: "ap".into(), epoch: 4 }));
}

#[tokio::test]
async fn nobody_but_a_deployment_releases_anything() {
    let fleet = Fleet::new();
    let request =
        json!({ "holderKind": "iam.test/Project", "holderName": "projects/p", "epoch": 2 });
    let method = RELEASE_OWNERSHIP.trim_start_matches('/');
    let refused = fleet.call("eu", method, request).await.unwrap_err();
    assert_eq!(refused.reason, Reason::CallerNotIdentified, "{refused}");
}
