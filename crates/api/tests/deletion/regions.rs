//! Deletions where referrers are in other regions: they are asked, and waited for.

use bowline_base::Reason;
use serde_json::json;

use crate::fleet::Fleet;
use crate::wait::eventually;

const DELETE: &str = "iam.v1.ProjectService/DeleteProject";

/// A project of `eu` with a child of another service in `us`.
async fn fleet() -> Fleet {
    let fleet = Fleet::new();
    fleet.project("p", "us", &["eu", "us"]).await.unwrap();
    fleet.campaign("us", "p", "c").await.unwrap();
    fleet
}

#[tokio::test]
async fn a_region_that_cannot_be_asked_is_named_and_nothing_is_assumed() {
    let fleet = fleet().await;
    fleet.network.cut("us");
    let project = json!({ "name": "projects/p" });
    let status = fleet.call("eu", DELETE, project.clone()).await.unwrap_err();
    assert_eq!(status.reason, Reason::Unavailable, "{status}");
    assert_eq!(status.metadata["region"], "us");
    assert_eq!(status.metadata["service"], "devices.test");
    fleet.call("eu", "iam.v1.ProjectService/GetProject", project.clone()).await.unwrap();
    fleet.network.heal("us");
    fleet.call("eu", DELETE, project).await.unwrap();
}

#[tokio::test]
async fn children_in_other_regions_follow_and_then_the_name_is_free() {
    let fleet = fleet().await;
    // Brought to its owner from wherever it is asked.
    fleet.call("ap", DELETE, json!({ "name": "projects/p" })).await.unwrap();
    let campaign = json!({ "name": "projects/p/campaigns/c" });
    let get = "devices.v1.CampaignService/GetCampaign";
    let gone = async || fleet.call("us", get, campaign.clone()).await.is_err();
    eventually("the child is gone", gone).await;
    let made = async || fleet.project("p", "us", &["eu", "us"]).await.is_ok();
    eventually("the name is free", made).await;
}
