//! `bowline controllers` against a server of its own and against a fleet, and the same over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bowline_testkit::eventually_blocking;
use serde_json::Value;

use crate::env::registered;
use crate::lab::Lab;

/// Generous, since other tests run at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cascade that something blocks.
fn held_up(lab: &Lab) {
    let text = "kind: library.example.com/Shelf\nname: shelves/a\n---\n\
                kind: library.example.com/Shelf\nname: shelves/b\n---\n\
                kind: library.example.com/Book\nname: shelves/a/books/one\ntitle: One\n---\n\
                kind: library.example.com/Book\nname: shelves/b/books/two\ntitle: Two\nsequel: shelves/a/books/one\n";
    lab.apply("books.yaml", text).ok();
    lab.run(&["delete", "shelves/a"]).ok();
}

/// What the command prints once it shows this.
#[track_caller]
fn shows(lab: &Lab, args: &[&str], words: &[&str]) -> String {
    let found = eventually_blocking(&format!("{args:?} to show {words:?}"), PATIENCE, || {
        let printed = lab.run(args).ok();
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        printed.lines().any(has_all).then_some(printed)
    });
    found.unwrap_or_else(|error| panic!("{error}; it shows:\n{}", lab.run(args).ok()))
}

#[test]
fn what_a_cascade_waits_for_is_shown() {
    let lab = Lab::new("controllers");
    held_up(&lab);
    let line = ["owned_deleting", "0..1024", "waits", "1 referrers stay: shelves/a/books/one"];
    let table = shows(&lab, &["controllers"], &line);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = table.lines().map(words).collect();
    let titles = ["DEPLOYMENT", "CONTROLLER", "SHARDS", "PENDING", "OLDEST", "LAST-RUN", "STATE"];
    assert_eq!(lines[0], titles);
    let names: Vec<_> = lines[1..].iter().map(|line| line[1].as_str()).collect();
    assert_eq!(names, ["owned_deleting", "owned_pending", "subscribed_deleting"]);
    assert_eq!(lines[1][..4], ["library.example.com", "owned_deleting", "0..1024", "1"]);
    assert_eq!(lines[2].last().map(String::as_str), Some("idle"));
    let wide = lab.run(&["controllers", "-o", "wide"]).ok();
    assert!(wide.contains("referrers of library.example.com/Shelf"), "{wide}");
    let data: Value = serde_json::from_str(&lab.run(&["controllers", "-o", "json"]).ok()).unwrap();
    let queue = &data["controllers"][0]["queues"][0];
    assert!(queue["waitsFor"].as_str().unwrap().contains("shelves/b/books/two"), "{queue}");
    // It goes on when it is freed, and then nothing is left to be told.
    lab.run(&["delete", "shelves/b/books/two"]).ok();
    shows(&lab, &["controllers"], &["owned_deleting", "idle"]);
}

#[test]
fn the_same_is_told_over_http() {
    let lab = Lab::new("controllers-http");
    shows(&lab, &["controllers"], &["owned_pending"]);
    let address = lab.server().url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let request = "GET /bowline/v1/controllers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body = &body[body.find('{').unwrap()..=body.rfind('}').unwrap()];
    let told: Value = serde_json::from_str(body).unwrap();
    assert_eq!(told["controllers"][0]["service"], "library.example.com");
    assert_eq!(told["controllers"][0]["shardsTo"], 1_024);
}

#[test]
fn all_servers_of_a_fleet_are_asked_and_those_that_do_not_answer_are_named() {
    let (lab, _) = registered("controllers-fleet");
    let ran = lab.run(&["controllers"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stdout.contains("library.example.com"), "{ran:?}");
    assert!(ran.stderr.contains("refused"), "{ran:?}");
}
