//! Following changes, over losses of the server.

use crate::lab::Lab;

fn json_events(printed: &str) -> Vec<String> {
    let word = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        let name = event["name"].as_str().unwrap_or_default();
        format!(
            "{} {}",
            event["event"].as_str().unwrap_or_default(),
            name.rsplit('/').next().unwrap_or_default()
        )
    };
    printed.lines().map(word).collect()
}

#[test]
fn a_watch_shows_what_is_there_and_what_changes() {
    let lab = Lab::new("watch");
    lab.run(&["create", "shelf", "--id", "a", "--set", "theme=old"]).ok();
    let mut watch = lab.beside("watch", &["watch", "shelves", "-o", "json", "--limit", "4"]);
    watch.shows(&["ADDED", "shelves/a"]);
    lab.run(&["create", "shelf", "--id", "b"]).ok();
    watch.shows(&["ADDED", "shelves/b"]);
    lab.run(&["update", "shelves/a", "--set", "theme=new"]).ok();
    watch.shows(&["MODIFIED", "shelves/a", "new"]);
    lab.run(&["delete", "shelves/b"]).ok();
    assert_eq!(watch.ends(), Some(0));
    assert_eq!(json_events(&watch.printed()), ["ADDED a", "ADDED b", "MODIFIED a", "REMOVED b"]);
}

#[test]
fn a_row_that_leaves_the_filter_is_removed() {
    let lab = Lab::new("filter");
    lab.run(&["create", "shelf", "--id", "s"]).ok();
    lab.run(&[
        "create",
        "book",
        "--parent",
        "shelves/s",
        "--id",
        "b",
        "--set",
        "title=T",
        "--set",
        "pages=700",
    ])
    .ok();
    let mut watch = lab.beside(
        "watch",
        &[
            "watch",
            "books",
            "--parent",
            "shelves/s",
            "--filter",
            "pages > 500",
            "-o",
            "json",
            "--limit",
            "2",
        ],
    );
    watch.shows(&["ADDED", "books/b"]);
    lab.run(&["update", "shelves/s/books/b", "--set", "pages=10"]).ok();
    assert_eq!(watch.ends(), Some(0));
    assert_eq!(json_events(&watch.printed()), ["ADDED b", "REMOVED b"]);
}

#[test]
fn one_resource_can_be_watched_until_it_goes() {
    let lab = Lab::new("one");
    lab.run(&["create", "shelf", "--id", "a"]).ok();
    lab.run(&["create", "shelf", "--id", "other"]).ok();
    let mut watch = lab.beside("watch", &["watch", "shelves/a", "-o", "json", "--limit", "3"]);
    watch.shows(&["ADDED", "shelves/a"]);
    lab.run(&["update", "shelves/other", "--set", "theme=x"]).ok();
    lab.run(&["update", "shelves/a", "--set", "theme=x"]).ok();
    watch.shows(&["MODIFIED", "shelves/a"]);
    lab.run(&["delete", "shelves/a"]).ok();
    assert_eq!(watch.ends(), Some(0));
    assert_eq!(json_events(&watch.printed()), ["ADDED a", "MODIFIED a", "REMOVED a"]);
}

#[test]
fn the_present_alone_can_be_asked_for() {
    let lab = Lab::new("current");
    lab.run(&["create", "shelf", "--id", "a"]).ok();
    let printed = lab.run(&["watch", "shelves", "--until-current", "-o", "name"]).ok();
    assert_eq!(printed, "ADDED shelves/a\n");
}

#[test]
fn a_watch_outlives_the_server_and_shows_only_differences() {
    let mut lab = Lab::unserved("outlive");
    let data = lab.path("data");
    lab.serve(&["--data", &data, "--listen", "127.0.0.1:0"]);
    let address = lab.server().address().to_owned();
    lab.run(&["create", "shelf", "--id", "a"]).ok();
    let mut watch = lab.beside("watch", &["watch", "shelves", "-o", "json", "--limit", "3"]);
    watch.shows(&["ADDED", "shelves/a"]);
    lab.server.take().expect("it serves").kill().expect("it is gone");
    lab.serve(&["--data", &data, "--listen", &address]);
    lab.run(&["create", "shelf", "--id", "b"]).ok();
    watch.shows(&["ADDED", "shelves/b"]);
    lab.run(&["delete", "shelves/a"]).ok();
    assert_eq!(watch.ends(), Some(0));
    assert_eq!(json_events(&watch.printed()), ["ADDED a", "ADDED b", "REMOVED a"]);
}

#[test]
fn what_cannot_be_watched_is_said_at_once() {
    let lab = Lab::new("refuse");
    let said = lab.run(&["watch", "books", "--filter", "pages >"]).fails(1);
    assert!(said.contains("INVALID_FILTER"), "{said}");
    lab.run(&["watch", "shelves/none"]).fails(1);
    lab.run(&["watch", "gadgets"]).fails(2);
}
