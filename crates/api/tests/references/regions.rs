//! References between regions: where a target is asked for, and how often.

#[path = "../ownership/world.rs"]
#[allow(dead_code, reason = "used by other tests")]
mod fleet;

use bowline_base::Reason;
use fleet::{Fleet, REGIONS};
use serde_json::json;

/// Calls about references that were made since the last look.
fn asked(fleet: &Fleet) -> Vec<String> {
    let calls = std::mem::take(&mut *fleet.network.calls.lock().unwrap());
    calls.into_iter().filter(|call| call.ends_with(" EstablishReferences")).collect()
}

#[tokio::test]
async fn a_new_reference_costs_one_question_to_its_owner_and_a_kept_one_none() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    asked(&fleet);
    fleet.device("us", "p", "us", "d").await.unwrap();
    assert_eq!(asked(&fleet), ["devices.test@us>iam.test@eu EstablishReferences"]);
    let update = async |field: &str, value: &str| {
        let mut device = json!({ "name": "projects/p/regions/us/devices/d" });
        device[field] = value.into();
        let update = json!({ "device": device, "updateMask": field });
        fleet.call("us", "devices.v1.DeviceService/UpdateDevice", update).await.unwrap();
        asked(&fleet).len()
    };
    assert_eq!(update("title", "kept").await, 0);
    assert_eq!(update("seen", "projects/p").await, 0, "another field, and not as strict");
    assert_eq!(update("bound", "projects/p").await, 1, "it was not held so strictly");
    assert_eq!(update("bound", "").await, 0);
}

#[tokio::test]
async fn an_owner_that_cannot_be_asked_is_named_and_nothing_is_written() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    fleet.device("us", "p", "us", "before").await.unwrap();
    fleet.network.cut("eu");
    let refused = fleet.device("us", "p", "us", "d").await.unwrap_err();
    assert_eq!((refused.reason, &*refused.metadata["region"]), (Reason::Unavailable, "eu"));
    fleet.network.heal("eu");
    let name = json!({ "name": "projects/p/regions/us/devices/d" });
    let read = fleet.call("us", "devices.v1.DeviceService/GetDevice", name).await;
    assert_eq!(read.unwrap_err().reason, Reason::ResourceNotFound);
    fleet.device("us", "p", "us", "d").await.unwrap();
}

#[tokio::test]
async fn a_dry_run_is_refused_as_a_save_would_be_and_leaves_nothing() {
    let fleet = Fleet::new();
    fleet.project("p", "eu", &REGIONS).await.unwrap();
    let dry = async || {
        let device = json!({ "parent": "projects/p/regions/us", "deviceId": "d", "device": {}, "validateOnly": true });
        fleet.call("us", "devices.v1.DeviceService/CreateDevice", device).await
    };
    fleet.network.cut("eu");
    let refused = dry().await.unwrap_err();
    assert_eq!((refused.reason, &*refused.metadata["region"]), (Reason::Unavailable, "eu"));
    fleet.network.heal("eu");
    asked(&fleet);
    dry().await.unwrap();
    assert_eq!(asked(&fleet), ["devices.test@us>iam.test@eu EstablishReferences"]);
    let question = |call: &String| call.contains("CheckIfResource");
    let calls = async |name: &str| {
        let name = json!({ "name": name });
        fleet.call("eu", "iam.v1.ProjectService/DeleteProject", name).await.unwrap();
        std::mem::take(&mut *fleet.network.calls.lock().unwrap())
    };
    // Nobody is listed as one that may refer to it, so nobody is asked.
    let calls = calls("projects/p").await;
    assert!(!calls.iter().any(question), "{calls:?}");
}
