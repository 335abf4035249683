//! What holds for a fleet however many processes it is.

use crate::lab::{DEVICES, Fleet, IAM, META, REGIONS, Shape};

#[test]
fn one_process_is_a_fleet() {
    whole(&Fleet::start("fleet-together", Shape::Together));
}

#[test]
fn one_process_for_each_deployment_is_the_same_fleet() {
    whole(&Fleet::start("fleet-apart", Shape::Apart));
}

fn whole(fleet: &Fleet) {
    everybody_is_known_everywhere(fleet);
    what_is_created_in_one_region_is_read_in_all(fleet);
    writes_go_to_the_owner(fleet);
    lists_are_merged(fleet);
    a_watch_sees_other_regions(fleet);
    refusals_come_through(fleet);
}

fn everybody_is_known_everywhere(fleet: &Fleet) {
    for region in REGIONS {
        assert_eq!(fleet.names(META, region, "deployment").len(), 15, "from {region}");
        assert_eq!(fleet.names(META, region, "meta.goten.com/Region").len(), 3, "from {region}");
    }
    let table = fleet.at(META, "us", &["env"]).ok();
    assert!(table.contains("devices.example.com"), "{table}");
}

/// Makes an organisation and a project whose resources may be in `eu` and `us`; `us` owns what has no region. And the model
/// that all devices are of.
pub(crate) fn make_project(fleet: &Fleet, at: &str, id: &str) {
    let policy =
        r#"multi_region_policy={"enabledRegions":["eu","us"],"defaultControlRegion":"us"}"#;
    let org = ["create", "organization", "--id", id, "--set", "display_name=O", "--set", policy];
    fleet.at(IAM, at, &org).ok();
    let organization = format!("organization=organizations/{id}");
    let project = [
        "create",
        "project",
        "--id",
        id,
        "--set",
        "display_name=P",
        "--set",
        &organization,
        "--set",
        policy,
    ];
    fleet.at(IAM, at, &project).ok();
    let model = ["create", "deviceModel", "--id", "m", "--set", "display_name=M"];
    fleet.at(DEVICES, at, &model).ok();
}

fn what_is_created_in_one_region_is_read_in_all(fleet: &Fleet) {
    make_project(fleet, "ap", "p");
    for region in REGIONS {
        let read = fleet.at(IAM, region, &["get", "projects/p", "-o", "yaml"]).ok();
        assert!(read.contains("displayName: P"), "from {region}: {read}");
    }
}

/// A device of `projects/p` in a region.
pub(crate) fn make_device(fleet: &Fleet, at: &str, project: &str, region: &str, id: &str) {
    fleet.at(DEVICES, at, &device(project, region, id)).ok();
}

/// The command that makes a device.
pub(crate) fn device(project: &str, region: &str, id: &str) -> Vec<String> {
    let parent = format!("projects/{project}/regions/{region}");
    let spec = "spec={\"model\":\"deviceModels/m\",\"serialNumber\":\"1\"}";
    let words = [
        "create",
        "device",
        "--parent",
        &parent,
        "--id",
        id,
        "--set",
        "display_name=D",
        "--set",
        spec,
    ];
    words.map(str::to_owned).to_vec()
}

fn writes_go_to_the_owner(fleet: &Fleet) {
    // From a region where the project's resources cannot even be.
    for region in ["eu", "us"] {
        make_device(fleet, "ap", "p", region, "d");
        let name = format!("projects/p/regions/{region}/devices/d");
        fleet.at(DEVICES, "us", &["update", &name, "--set", "spec.maintenance=true"]).ok();
        let read = fleet.at(DEVICES, "eu", &["get", &name, "-o", "yaml"]).ok();
        assert!(read.contains("maintenance: true"), "{read}");
        assert!(read.contains(&format!("owningRegion: {region}")), "{read}");
    }
    // Without a region in the name it belongs to the control region of the project's policy.
    let secret = [
        "create",
        "service-account",
        "--parent",
        "projects/p",
        "--id",
        "s",
        "--set",
        "display_name=S",
    ];
    fleet.at(IAM, "ap", &secret).ok();
    let read = fleet.at(IAM, "eu", &["get", "projects/p/serviceAccounts/s", "-o", "yaml"]).ok();
    assert!(read.contains("owningRegion: us"), "{read}");
}

fn lists_are_merged(fleet: &Fleet) {
    for (region, id) in [("eu", "a"), ("us", "b"), ("eu", "c")] {
        make_device(fleet, region, "p", region, id);
    }
    let expected = [
        "projects/p/regions/eu/devices/a",
        "projects/p/regions/eu/devices/c",
        "projects/p/regions/eu/devices/d",
        "projects/p/regions/us/devices/b",
        "projects/p/regions/us/devices/d",
    ];
    for region in REGIONS {
        assert_eq!(fleet.names(DEVICES, region, "devices"), expected, "from {region}");
        let paged = ["list", "devices", "--page-size", "2", "--all", "-o", "name"];
        let paged = fleet.at(DEVICES, region, &paged).ok();
        assert_eq!(paged.lines().collect::<Vec<_>>(), expected, "paged from {region}");
    }
    let one = ["list", "devices", "--parent", "projects/p/regions/us", "-o", "name"];
    assert_eq!(fleet.at(DEVICES, "eu", &one).ok().lines().count(), 2);
}

fn a_watch_sees_other_regions(fleet: &Fleet) {
    let watch =
        fleet.beside(DEVICES, "ap", &["watch", "devices", "--parent", "projects/p/regions/-"]);
    watch.shows(&["projects/p/regions/us/devices/b"]);
    make_device(fleet, "eu", "p", "eu", "late");
    watch.shows(&["projects/p/regions/eu/devices/late"]);
    fleet.at(DEVICES, "us", &["delete", "projects/p/regions/eu/devices/late"]).ok();
    watch.shows(&["REMOVED", "projects/p/regions/eu/devices/late"]);
}

fn refusals_come_through(fleet: &Fleet) {
    // Not allowed by the policy, wherever it is asked.
    for region in REGIONS {
        let said = fleet.at(DEVICES, region, &device("p", "ap", "x")).fails();
        assert!(said.contains("REGION_NOT_ALLOWED"), "from {region}: {said}");
    }
    let said = fleet.at(DEVICES, "us", &device("none", "eu", "x")).fails();
    assert!(said.contains("RESOURCE_NOT_FOUND") && said.contains("projects/none"), "{said}");
    let said = fleet.at(DEVICES, "eu", &device("p", "us", "b")).fails();
    assert!(said.contains("RESOURCE_EXISTS"), "{said}");
}
