//! Starting and stopping the server, and the schema commands.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bowline_testkit::{Server, World};

use crate::lab::{Lab, program, run};

#[test]
fn data_stays_over_a_polite_stop() {
    let mut lab = Lab::unserved("stay");
    let data = lab.path("data");
    lab.serve(&["--data", &data, "--listen", "127.0.0.1:0"]);
    lab.run(&["create", "shelf", "--id", "a"]).ok();
    let stopped = lab.server.take().expect("it serves").stop().expect("it ends");
    assert_eq!(stopped.code(), Some(0));
    lab.serve(&["--data", &data, "--listen", "127.0.0.1:0"]);
    assert_eq!(lab.run(&["list", "shelves", "-o", "name"]).ok(), "shelves/a\n");
}

#[test]
fn sample_data_is_for_the_first_start_only() {
    let mut lab = Lab::unserved("seed");
    let data = lab.path("data");
    let sample = "kind: Shelf\nname: shelves/a\n---\nkind: Shelf\nname: shelves/b\n";
    let seed = lab.world.write("sample/shelves.yaml", sample).unwrap().display().to_string();
    lab.serve(&["--data", &data, "--listen", "127.0.0.1:0", "--seed", &seed]);
    assert_eq!(lab.run(&["list", "shelves", "-o", "name"]).ok(), "shelves/a\nshelves/b\n");
    lab.run(&["delete", "shelves/a"]).ok();
    lab.server.take().expect("it serves").stop().expect("it ends");
    lab.serve(&["--data", &data, "--listen", "127.0.0.1:0", "--seed", &seed]);
    assert_eq!(lab.run(&["list", "shelves", "-o", "name"]).ok(), "shelves/b\n");
}

#[test]
fn one_line_goes_to_standard_output() {
    let lab = Lab::unserved("line");
    // Any server will do to fill the environment; this one is the subject.
    let folder = lab.folder().display().to_string();
    let mut served = Lab::unserved("line-helper");
    served.serve(&["--memory", "--listen", "127.0.0.1:0"]);
    let mut up = served.beside("up", &["up", &folder, "--memory", "--listen", "127.0.0.1:0"]);
    up.shows(&["ready on http://127.0.0.1:"]);
    up.signal("-INT");
    assert_eq!(up.ends(), Some(0));
    assert_eq!(up.printed().lines().count(), 1, "{}", up.printed());
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let lab = Lab::new("twice");
    let folder = lab.folder().display().to_string();
    let mut up = lab.beside("up", &["up", &folder, "--memory", "--listen", "127.0.0.1:0"]);
    up.shows(&["ready on http://127.0.0.1:"]);
    let address = up.printed().trim().trim_start_matches("ready on http://").to_owned();
    // A request that never ends keeps the first signal from ending the server soon.
    let mut request = TcpStream::connect(&address).unwrap();
    let head = "POST /v1/shelves HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    request.write_all(head.as_bytes()).unwrap();
    // It has read the head, and waits for the rest.
    let mut asked = [0; 12];
    request.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");
    up.signal("-TERM");
    up.notes_show(&["stopping"]);
    up.signal("-TERM");
    assert_eq!(up.ends(), Some(1));
    up.notes_show(&["stopped at once"]);
}

#[test]
fn what_keeps_a_server_from_starting_is_said() {
    let mut lab = Lab::unserved("refuse");
    let data = lab.path("data");
    lab.serve(&["--data", &data, "--listen", "127.0.0.1:0"]);
    let folder = lab.folder().display().to_string();
    let address = lab.server().address().to_owned();

    let said = run("", &["up", &folder, "--memory", "--listen", &address]).fails(1);
    assert!(said.contains(&address) && said.to_lowercase().contains("in use"), "{said}");
    let said = run("", &["up", &folder, "--data", &data, "--listen", "127.0.0.1:0"]).fails(1);
    assert!(said.contains("data"), "{said}");
    let said =
        run("", &["up", &lab.path("nothing"), "--memory", "--listen", "127.0.0.1:0"]).fails(1);
    assert!(said.contains("nothing"), "{said}");
    run("", &["up", "--port", "80"]).fails(2);
}

#[test]
fn a_broken_schema_is_reported_with_its_place() {
    let world = World::new("broken").unwrap();
    let folder =
        world.write("v1/a.proto", "syntax = \"proto3\";\npackage a.v1;\nmessage {}\n").unwrap();
    let folder = folder.parent().unwrap().display().to_string();
    for command in
        [&["schema", "check", &folder][..], &["up", &folder, "--memory", "--listen", "127.0.0.1:0"]]
    {
        let ran = run("", command);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(all.contains("a.proto:3"), "{ran:?}");
    }
}

#[test]
fn the_schema_can_be_checked_shown_and_exported() {
    let lab = Lab::unserved("schema");
    let folder = lab.folder().display().to_string();
    let checked = run("", &["schema", "check", &folder]).ok();
    assert!(checked.contains("1 service, 2 types"), "{checked}");
    let shown = run("", &["schema", "show", &folder]).ok();
    assert!(shown.contains("shelves/{shelf}/books/{book}"), "{shown}");
    let out = lab.path("exported");
    run("", &["schema", "export", &folder, "--out", &out]).ok();
    assert!(std::fs::read_dir(format!("{out}/proto")).unwrap().next().is_some());

    // What was exported is a schema by itself.
    let set = format!("{out}/descriptors.binpb");
    let server =
        Server::start(program(), ["up", &set, "--memory", "--listen", "127.0.0.1:0"]).unwrap();
    run(server.url(), &["create", "shelf", "--id", "a"]).ok();
    assert_eq!(run(server.url(), &["list", "shelves", "-o", "name"]).ok(), "shelves/a\n");
}

#[test]
fn checking_prints_how_versions_follow_from_each_other() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/versions");
    let checked = run("", &["schema", "check", folder]).ok();
    assert!(checked.contains("  type Key becomes CryptoKey\n"), "{checked}");
    assert!(checked.contains("secrets/{secret} with region from control_region\n"), "{checked}");
    assert!(checked.contains("\ntried with 2"), "{checked}");
}

#[test]
fn the_fleet_example_starts_with_its_sample_data() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fleet");
    let sample = format!("{root}/sample");
    let args = ["up", root, "--memory", "--listen", "127.0.0.1:0", "--seed", &sample];
    let server = Server::start(program(), args).expect("it serves");
    let devices = run(server.url(), &["list", "devices", "--all", "-o", "name"]).ok();
    assert!(devices.lines().count() >= 10, "{devices}");
    // Applied once more, nothing differs.
    let again = run(server.url(), &["apply", "-f", &sample]);
    assert!(again.stderr.contains("0 created, 0 updated"), "{again:?}");
}
