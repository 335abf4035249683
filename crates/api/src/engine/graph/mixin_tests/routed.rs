//! Grants of a deployment that is one among others: what it owns, and whom it knows.

use std::sync::Arc;

use bowline_base::Reason;
use bowline_graph::{Epoch, TargetName};
use bowline_node::ownership::{self, Claim};
use bowline_node::picture::ServiceInfo;
use bowline_node::{DeploymentId, Part, Picture, Place};
use bowline_wire::bowline::mixin::v1::{EstablishReferencesResponse, Refusal, VersionedName};

use super::world::{DEVICES, World, project, want};

/// Of a service that this engine does not serve.
fn caller() -> DeploymentId {
    DeploymentId::new("apps.test", "us")
}

fn picture(imported: Option<&str>, is_whole: bool) -> Picture {
    let mut info = ServiceInfo::default();
    if let Some(version) = imported {
        info.imports.insert("iam.test".into());
        info.imported_versions.insert(("v1".into(), "iam.test".into()), version.into());
    }
    let services = imported.map(|_| (Arc::from("apps.test"), Arc::new(info)));
    Picture { services: services.into_iter().collect(), is_whole, ..Picture::default() }
}

async fn ask(world: &World, by: &DeploymentId) -> Result<EstablishReferencesResponse, Reason> {
    let answer = world.establish(by, vec![want(&project("p"), 1)]).await;
    answer.map_err(|status| status.reason)
}

fn why(answer: EstablishReferencesResponse) -> (Refusal, String) {
    let refused = answer.refused.into_iter().next().unwrap();
    (refused.why(), refused.region)
}

#[tokio::test]
async fn what_is_owned_elsewhere_is_not_granted_here() {
    let (world, owners) = World::routed(picture(Some("v1"), true));
    world.project("p", 7).await;
    owners.set(Ok(("us", 6)));
    assert_eq!(why(ask(&world, &caller()).await.unwrap()), (Refusal::NotOwned, "us".to_owned()));
    owners.set(Err(Reason::ResourceNotFound));
    assert_eq!(why(ask(&world, &caller()).await.unwrap()).0, Refusal::NotFound);
    owners.set(Err(Reason::Unavailable));
    assert_eq!(ask(&world, &caller()).await.unwrap_err(), Reason::Unavailable);
    assert_eq!(world.inbound(7).await, None);
}

#[tokio::test]
async fn what_changes_hands_before_the_commit_is_not_granted() {
    let (world, _owners) = World::routed(picture(Some("v1"), true));
    world.project("p", 7).await;
    let place = Place { holder: None, part: Part::Control };
    let claim = Claim { owner: "us".into(), epoch: 6 };
    world.iam.happens_before(ownership::put(&place, &claim));
    assert_eq!(why(ask(&world, &caller()).await.unwrap()).0, Refusal::NotOwned);
    assert_eq!(world.inbound(7).await, None);
}

#[tokio::test]
async fn epochs_are_of_the_owner() {
    let (world, _owners) = World::routed(picture(Some("v1"), true));
    world.project("p", 7).await;
    let answer = ask(&world, &caller()).await.unwrap();
    let epoch = Epoch::from(answer.granted[0].epoch.unwrap());
    assert_eq!(epoch.ownership, 5);
    // Another region of the source's service, and of the target's own.
    for by in [DeploymentId::new(DEVICES, "us"), DeploymentId::new("iam.test", "us")] {
        assert_eq!(ask(&world, &by).await.unwrap().granted.len(), 1);
    }
    assert_eq!(world.inbound(7).await.unwrap().sources.len(), 3);
    let own = ask(&world, &DeploymentId::new("iam.test", "eu")).await;
    assert_eq!(own.unwrap_err(), Reason::CallerRefused);
}

#[tokio::test]
async fn who_is_not_heard_of_is_no_stranger_before_the_picture_is_whole() {
    for (imported, is_whole, expected) in [
        (Some("v2"), false, Ok(None)),
        (Some("v9"), true, Ok(Some(Refusal::NotAllowed))),
        (None, true, Ok(Some(Refusal::NotAllowed))),
        (None, false, Err(Reason::Unavailable)),
    ] {
        let (world, _owners) = World::routed(picture(imported, is_whole));
        world.project("p", 7).await;
        let answer = ask(&world, &caller()).await;
        let first = answer.map(|answer| answer.refused.first().map(|refused| refused.why()));
        assert_eq!(first, expected, "{imported:?} {is_whole}");
    }
}

/// The names in all versions, as one line.
async fn names(world: &World, version: &str, kind: &str, name: &str) -> Result<String, Reason> {
    let target = TargetName::new(format!("iam.test/{kind}"), version, name);
    let names = world.engine.versioned_names(&target).await.map_err(|status| status.reason)?;
    let one = |name: &VersionedName| format!("{} {} {}", name.version, name.kind, name.name);
    Ok(names.iter().map(one).collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn names_take_their_region_from_who_owns_them() {
    let (world, owners) = World::routed(picture(None, true));
    let both = "v1 iam.test/Key keys/k, v2 iam.test/Key regions/eu/keys/k";
    assert_eq!(names(&world, "v1", "Key", "keys/k").await.unwrap(), both);
    assert_eq!(names(&world, "v2", "Key", "regions/eu/keys/k").await.unwrap(), both);
    // One that the shorter name does not mean has no name there.
    let other = names(&world, "v2", "Key", "regions/us/keys/k").await.unwrap();
    assert_eq!(other, "v1 iam.test/Key , v2 iam.test/Key regions/us/keys/k");
    let note = names(&world, "v1", "Note", "notes/n").await.unwrap();
    assert_eq!(note, "v1 iam.test/Note notes/n, v2 iam.test/Note ");
    // Nothing is made up where nobody knows.
    owners.set(Err(Reason::Unavailable));
    assert_eq!(names(&world, "v1", "Key", "keys/k").await, Err(Reason::Unavailable));
    assert!(names(&world, "v1", "Project", "projects/p").await.is_ok());
}
