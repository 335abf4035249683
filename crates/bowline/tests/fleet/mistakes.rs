//! What is said when a fleet cannot start.

use std::net::TcpListener;

use bowline_testkit::World;

use crate::lab::{plain_config, run};

fn config(test: &str, text: &str) -> (World, String) {
    let world = World::new(test).expect("a folder");
    let path = world.write("bowline.yaml", text).expect("a file").display().to_string();
    (world, path)
}

#[test]
fn a_port_that_is_taken_names_its_region() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let text = plain_config()
        .replace("  us: { listen: 127.0.0.1:0 }", &format!("  us: {{ listen: '{address}' }}"));
    let (_world, path) = config("fleet-taken", &text);
    let said = run(&["up", "-f", &path, "--memory"]).fails();
    assert!(said.contains("us") && said.contains(&address), "{said}");
    assert!(said.to_lowercase().contains("in use"), "{said}");
}

#[test]
fn an_unknown_deployment_lists_what_there_is() {
    let (_world, path) = config("fleet-unknown", &plain_config());
    let said = run(&["serve", "-f", &path, "--service", "x.example.com", "--region", "eu"]).fails();
    assert!(said.contains("meta.goten.com, iam.example.com"), "{said}");
    let said =
        run(&["serve", "-f", &path, "--service", "iam.example.com", "--region", "mars"]).fails();
    assert!(said.contains("eu, us, ap"), "{said}");
    let said = run(&["up", "-f", &path, "--region", "mars"]).fails();
    assert!(said.contains("eu, us, ap"), "{said}");
}

#[test]
fn a_faulty_configuration_is_told_with_its_place() {
    let text = plain_config().replace("regions:", "regoins:");
    let (_world, path) = config("fleet-faulty", &text);
    let said = run(&["up", "-f", &path]).fails();
    assert!(
        said.contains("did you mean `regions`?") && said.contains("bowline.yaml:3:1"),
        "{said}"
    );
    let said = run(&["up", "-f", "nowhere.yaml"]).fails();
    assert!(said.contains("nowhere.yaml"), "{said}");
    run(&["up", "folder", "-f", &path]).fails();
}
