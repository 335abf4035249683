//! What is below a policy holder whose deletion is not finished: who owns it, and what a namesake may ask for.

use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_testkit::eventually;
use serde_json::{Value, json};

use crate::world::{Fleet, REGIONS, policy};

/// Generous, since other tests run at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
const KEPT: &str = "projects/p/regions/us/devices/d";
const KEEPER: &str = "projects/q/regions/ap/devices/k";

/// `projects/p`, whose control region became `eu`, is deleted; a device below it stays as long as one of another project
/// refers to it.
async fn fleet() -> Fleet {
    let fleet = Fleet::new();
    for project in ["p", "q"] {
        fleet.project(project, "us", &REGIONS).await.unwrap();
        fleet.set_policy(project, policy("eu", &REGIONS)).await.unwrap();
    }
    // In the database of the project itself.
    let binding = json!({ "parent": "projects/p", "bindingId": "b", "binding": {} });
    fleet.call("eu", "iam.v1.BindingService/CreateBinding", binding).await.unwrap();
    fleet.eventually(async || fleet.note("eu", "p", "n").await).await.unwrap();
    fleet.device("eu", "p", "us", "d").await.unwrap();
    fleet.device("eu", "q", "ap", "k").await.unwrap();
    let uplink = json!({ "device": { "name": KEEPER, "uplink": KEPT }, "updateMask": "uplink" });
    fleet.call("eu", "devices.v1.DeviceService/UpdateDevice", uplink).await.unwrap();
    let delete = json!({ "name": "projects/p" });
    fleet.call("eu", "iam.v1.ProjectService/DeleteProject", delete).await.unwrap();
    fleet
}

async fn named(fleet: &Fleet, at: &str, method: &str, name: &str) -> Result<Value, Status> {
    fleet.call(at, method, json!({ "name": name })).await
}

async fn let_go(fleet: &Fleet) {
    let uplink = json!({ "device": { "name": KEEPER }, "updateMask": "uplink" });
    fleet.call("us", "devices.v1.DeviceService/UpdateDevice", uplink).await.unwrap();
}

#[tokio::test]
async fn a_namesake_asks_nobody_for_a_place_while_its_name_is_taken() {
    let fleet = fleet().await;
    fleet.network.calls.lock().unwrap().clear();
    let taken = fleet.project("p", "us", &["us"]).await.unwrap_err();
    assert_eq!(taken.reason, Reason::DeletionPending, "{taken}");
    let calls = fleet.network.calls.lock().unwrap().clone();
    assert!(!calls.iter().any(|call| call.ends_with("ReleaseOwnership")), "{calls:?}");

    // What never refers to anything does not go with the project, and would be in the way of another owner.
    let note = "projects/p/notes/n";
    named(&fleet, "ap", "devices.v1.NoteService/DeleteNote", note).await.unwrap();
    let_go(&fleet).await;
    let made = eventually("the name to be free", PATIENCE, || async {
        match fleet.project("p", "us", &["us"]).await {
            Err(status) if status.reason == Reason::DeletionPending => None,
            made => Some(made),
        }
    });
    made.await.unwrap().unwrap();
    let campaign = fleet.eventually(async || fleet.campaign("ap", "p", "c").await).await.unwrap();
    assert_eq!(campaign["metadata"]["syncing"]["owningRegion"], "us");
}

#[tokio::test]
async fn what_refers_to_nothing_is_owned_below_a_deleted_project_until_that_is_finished() {
    let fleet = fleet().await;
    let note = "projects/p/notes/n";
    for region in REGIONS {
        named(&fleet, region, "devices.v1.NoteService/GetNote", note).await.unwrap();
        let update =
            json!({ "note": { "name": note, "metadata": { "labels": { "at": region } } } });
        fleet.call(region, "devices.v1.NoteService/UpdateNote", update).await.unwrap();
    }
    // Its type says that it needs no parent; below a project that is known to be as good as gone, it is not made all the same.
    let made = std::cell::Cell::new(0);
    let refused = eventually("a create to be refused", PATIENCE, || async {
        made.set(made.get() + 1);
        fleet.note("ap", "p", &format!("n{}", made.get())).await.err()
    });
    let refused = refused.await.unwrap();
    assert_eq!(refused.reason, Reason::ReferenceRefused, "{refused}");
    let_go(&fleet).await;
    let gone = eventually("the deletion to be finished", PATIENCE, || async {
        named(&fleet, "ap", "devices.v1.NoteService/GetNote", note).await.err()
    });
    assert_eq!(gone.await.unwrap().reason, Reason::ResourceNotFound);
}
