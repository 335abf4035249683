//! What goes on while processes or links are gone.

use std::collections::BTreeSet;

use bowline_testkit::eventually_blocking;

use crate::lab::{DEVICES, Fleet, IAM, META, PATIENCE, REGIONS, Shape};
use crate::suite::{device, make_device, make_project};

#[test]
fn without_the_meta_service_everything_else_goes_on() {
    let mut fleet = Fleet::start("fleet-meta", Shape::Apart);
    make_project(&fleet, "eu", "p");
    let metas: Vec<String> = REGIONS.map(|region| format!("{META}@{region}")).to_vec();
    metas.iter().for_each(|meta| fleet.kill(meta));

    make_device(&fleet, "ap", "p", "us", "d");
    assert_eq!(fleet.names(DEVICES, "eu", "devices").len(), 1);
    // A process that starts anew knows from its disk whom it knew.
    let restarted = format!("{DEVICES}@us");
    fleet.kill(&restarted);
    fleet.start_all(&[restarted]);
    make_device(&fleet, "eu", "p", "us", "e");
    assert_eq!(fleet.names(DEVICES, "us", "devices").len(), 2);

    fleet.start_all(&metas);
    let all = eventually_blocking("all deployments in the list", PATIENCE, || {
        (fleet.names(META, "ap", "deployment").len() == 15).then_some(())
    });
    all.expect("the meta service is back");
}

#[test]
fn a_region_that_is_cut_off_goes_on_by_itself() {
    let fleet = Fleet::start("fleet-cut", Shape::Regions);
    make_project(&fleet, "eu", "p");
    for region in ["eu", "us"] {
        make_device(&fleet, region, "p", region, "before");
    }
    // Policies are in memory everywhere by now.
    assert_eq!(fleet.names(DEVICES, "us", "devices").len(), 2);
    fleet.links.values().for_each(bowline_testkit::Proxy::cut);

    // What a region owns can be written there, as long as it refers to nothing new that another region owns.
    for region in ["eu", "us"] {
        let name = format!("projects/p/regions/{region}/devices/before");
        fleet.at(DEVICES, region, &["update", &name, "--set", "display_name=meanwhile"]).ok();
    }
    // What another owns cannot, and the refusal comes in time and says which region is missing.
    let mut made = device("p", "us", "x");
    made.extend(["--timeout".to_owned(), "2s".to_owned()]);
    let said = fleet.at(DEVICES, "eu", &made).fails();
    assert!(said.contains("UNAVAILABLE") && said.contains("us"), "{said}");
    // A list has what can be had, and says what is missing.
    let listed = fleet.at(DEVICES, "eu", &["list", "devices", "-o", "name", "--timeout", "5s"]);
    let names: BTreeSet<&str> = listed.stdout.lines().collect();
    assert!(names.contains("projects/p/regions/eu/devices/before"), "{listed:?}");
    assert!(names.iter().all(|name| name.contains("/eu/")), "{listed:?}");
    assert!(listed.stderr.contains("us"), "{listed:?}");

    fleet.links.values().for_each(bowline_testkit::Proxy::heal);
    for region in REGIONS {
        let mut last = None;
        let list = ["list", "devices", "-o", "name", "--timeout", "5s"];
        let whole = eventually_blocking("the whole list", PATIENCE, || {
            let ran = fleet.at(DEVICES, region, &list);
            // The device whose creation was not answered may have been made: the request waited at the cut, too.
            let names = ["eu/devices/before", "us/devices/before"];
            let is_whole = names.iter().all(|name| ran.stdout.contains(name));
            let is_whole = is_whole && ran.code == Some(0);
            last = Some(ran);
            is_whole.then_some(())
        });
        assert!(whole.is_ok(), "from {region}: {last:?}");
    }
    fleet.at(IAM, "us", &["get", "projects/p"]).ok();
}
