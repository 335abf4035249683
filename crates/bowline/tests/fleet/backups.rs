//! A whole fleet saved to one file while it serves, and put elsewhere.

use bowline_testkit::Server;

use crate::lab::{DEVICES, Fleet, REGIONS, Shape, program, run};
use crate::suite::{make_device, make_project};

#[test]
fn a_fleet_is_saved_whole_and_put_elsewhere() {
    let fleet = Fleet::start("fleet-backup", Shape::Together);
    make_project(&fleet, "ap", "p");
    make_device(&fleet, "ap", "p", "eu", "a");
    make_device(&fleet, "ap", "p", "us", "b");
    let (config, path) = (fleet.config(), |name: &str| fleet.world.path().join(name));
    let (file, copy) =
        (path("all.backup").display().to_string(), path("copy").display().to_string());

    run(&["backup", &file, "-f", &config]).ok();
    // One region of it by itself.
    let one = path("one.backup").display().to_string();
    run(&["backup", &one, "-f", &config, "--region", "us", "--service", DEVICES]).ok();
    let checked = run(&["restore", &one, "--check"]).ok();
    assert!(checked.contains("devices.example.com in us"), "{checked}");
    assert!(!checked.contains("in eu") && !checked.contains("iam"), "{checked}");

    run(&["restore", &file, "-f", &config, "--data", &copy]).ok();
    let args = ["up", "-f", &config, "--data", &copy];
    let restored = Server::start_all(program(), args, REGIONS.len()).expect("it serves");
    let url = restored.url_for("ap").expect("its port");
    let listed = run(&["list", "devices", "-o", "name", "--server", url]).ok();
    assert_eq!(listed.lines().collect::<Vec<_>>(), fleet.names(DEVICES, "us", "devices"));
    assert_eq!(listed.lines().count(), 2);

    let said = run(&["backup", &file, "-f", &config, "--region", "mars"]).fails();
    assert!(said.contains("eu, us, ap"), "{said}");
}
