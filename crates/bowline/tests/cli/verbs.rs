//! Reading and writing resources.

use expect_test::expect;
use serde_json::{Value, json};

use crate::lab::{Lab, run};

const BOOKS: &str = "\
kind: library.example.com/Book
name: shelves/knots/books/ashley
title: The Ashley Book of Knots
pages: 620
state: IN
authors: [Ashley]
sequel: shelves/knots/books/day
binding: { colour: blue }
---
kind: Shelf
name: shelves/knots
theme: ropework
---
type: library.example.com/Book
apiVersion: v1
name: shelves/knots/books/day
title: The Art of Knotting
pages: 224
metadata: { labels: { shop.example/aisle: '7' } }
";

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn apply_puts_what_is_needed_first_and_changes_nothing_the_second_time() {
    let lab = Lab::new("apply");
    let first = lab.apply("books.yaml", BOOKS);
    assert!(first.stderr.contains("3 created, 0 updated, 0 unchanged"), "{first:?}");
    expect![[r#"
        library.example.com/Shelf shelves/knots created
        library.example.com/Book shelves/knots/books/day created
        library.example.com/Book shelves/knots/books/ashley created
    "#]]
    .assert_eq(&first.ok());
    let second = lab.apply("books.yaml", BOOKS);
    assert!(second.stderr.contains("0 created, 0 updated, 3 unchanged"), "{second:?}");

    let changed = BOOKS.replace("620", "640").replace("colour: blue", "leather: true");
    lab.world.write("changed.yaml", &changed).unwrap();
    let changed = lab.run(&["apply", "-f", &lab.path("changed.yaml"), "-o", "json"]).ok();
    let results = &parsed(&changed)["results"];
    let ashley = results.as_array().unwrap().iter().find(|r| r["result"] == "updated").unwrap();
    assert_eq!(ashley["fields"], json!(["pages", "binding.leather"]));
    let book = parsed(&lab.run(&["get", "shelves/knots/books/ashley", "-o", "json"]).ok());
    assert_eq!(book["binding"], json!({"colour": "blue", "leather": true}));
}

#[test]
fn what_is_printed_as_yaml_or_json_can_be_applied_again() {
    let lab = Lab::new("round");
    lab.apply("books.yaml", BOOKS).ok();
    for format in ["yaml", "json"] {
        let printed = lab.run(&["list", "books", "-o", format]).ok();
        let again = lab.apply(&format!("printed.{format}"), &printed);
        assert!(again.stderr.contains("0 created, 0 updated, 2 unchanged"), "{again:?}");
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let lab = Lab::new("dry");
    lab.world.write("books.yaml", BOOKS).unwrap();
    let said = lab.run(&["apply", "-f", &lab.path("books.yaml"), "--dry-run"]).ok();
    assert_eq!(said.matches("created (dry run)").count(), 3, "{said}");
    lab.run(&["create", "shelf", "--id", "x", "--dry-run"]).ok();
    assert_eq!(lab.run(&["list", "shelves", "-o", "name"]).ok(), "");
}

#[test]
fn bad_documents_are_all_named_and_nothing_is_applied() {
    let lab = Lab::new("bad");
    let text = format!(
        "{BOOKS}---\nkind: Book\nname: shelves/x\n---\nkind: Shelf\nname: shelves/y\nthme: z\n"
    );
    let said = lab.apply("bad.yaml", &text).fails(1);
    assert!(said.contains("bad.yaml document 4: \"shelves/x\" is not a name of"), "{said}");
    assert!(said.ends_with("error: 2 of 5 documents are wrong; nothing was applied\n"), "{said}");
    assert!(
        said.contains("bad.yaml document 5: Shelf has no field \"thme\"; did you mean theme?"),
        "{said}"
    );
    assert_eq!(lab.run(&["list", "shelves", "-o", "name"]).ok(), "");
}

#[test]
fn a_resource_is_created_shown_changed_and_deleted() {
    let lab = Lab::new("crud");
    lab.run(&["create", "shelf", "--id", "knots", "--set", "theme=ropework"]).ok();
    let created = lab.run(&[
        "create",
        "book",
        "--parent",
        "shelves/knots",
        "--id",
        "ashley",
        "--set",
        "title=The Ashley Book of Knots",
        "--set",
        "pages=620",
        "--set",
        "state=in",
        "--set",
        "authors=Ashley",
        "--set",
        "authors=Budworth",
    ]);
    assert_eq!(created.ok(), "library.example.com/Book shelves/knots/books/ashley created\n");

    let shown = lab.run(&["get", "book", "ashley", "--parent", "shelves/knots", "-o", "json"]).ok();
    let shown = parsed(&shown);
    assert_eq!(shown["authors"], json!(["Ashley", "Budworth"]));
    assert_eq!(shown["kind"], "library.example.com/Book");

    let table = lab.run(&["get", "shelves/knots/books/ashley"]).ok();
    let columns: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect())
        .collect();
    assert_eq!(columns[0], ["NAME", "TITLE", "STATE", "SEQUEL", "PAGES", "AGE"]);
    assert_eq!(
        columns[1][..4],
        ["shelves/knots/books/ashley", "The Ashley Book of Knots", "IN", "620"]
    );

    lab.run(&[
        "update",
        "shelves/knots/books/ashley",
        "--set",
        "state=LENT",
        "--set",
        "metadata.labels.to.whom=me",
    ])
    .ok();
    let updated = parsed(&lab.run(&["get", "shelves/knots/books/ashley", "-o", "json"]).ok());
    assert_eq!(updated["state"], "LENT");
    assert_eq!(updated["pages"], 620);
    assert_eq!(updated["metadata"]["labels"], json!({"to.whom": "me"}));

    lab.run(&["update", "shelves/knots/books/ashley", "--set", "authors=null"]).ok();
    let cleared = parsed(&lab.run(&["get", "shelves/knots/books/ashley", "-o", "json"]).ok());
    assert_eq!(cleared["authors"], Value::Null);

    let deleted = lab.run(&["delete", "shelves/knots/books/ashley"]).ok();
    assert_eq!(deleted, "library.example.com/Book shelves/knots/books/ashley deleted\n");
    let gone = lab.run(&["get", "shelves/knots/books/ashley"]).fails(1);
    assert!(gone.contains("NOT_FOUND (RESOURCE_NOT_FOUND)"), "{gone}");
    assert!(gone.contains("page: docs/errors/RESOURCE_NOT_FOUND.md"), "{gone}");
}

#[test]
fn lists_are_filtered_ordered_and_cut() {
    let lab = Lab::new("list");
    lab.run(&["create", "shelf", "--id", "s"]).ok();
    let books: String = (1..=7)
        .map(|i| {
            format!(
                "---\nkind: Book\nname: shelves/s/books/b{i}\ntitle: T{i}\npages: {}\n",
                i * 100
            )
        })
        .collect();
    lab.apply("books.yaml", &books).ok();
    let names = |args: &[&str]| {
        let args: Vec<_> = ["list", "books", "-o", "name"].iter().chain(args).copied().collect();
        let ran = lab.run(&args);
        let short: Vec<_> =
            ran.stdout.lines().filter_map(|l| l.rsplit('/').next()).map(str::to_owned).collect();
        (short.join(" "), ran.stderr)
    };
    assert_eq!(names(&[]).0, "b1 b2 b3 b4 b5 b6 b7");
    assert_eq!(names(&["--filter", "pages > 500"]).0, "b6 b7");
    assert_eq!(names(&["--order-by", "pages desc", "--limit", "2"]).0, "b7 b6");
    assert_eq!(names(&["--page-size", "2", "--all"]).0, "b1 b2 b3 b4 b5 b6 b7");
    assert_eq!(names(&["--parent", "shelves/-"]).0, "b1 b2 b3 b4 b5 b6 b7");
    assert_eq!(names(&["--parent", "shelves/other"]).0, "");

    let (first, note) = names(&["--limit", "3", "--page-size", "3"]);
    assert_eq!(first, "b1 b2 b3");
    let token = note.split_once("--page-token ").expect("the note has a token").1.trim();
    assert_eq!(names(&["--page-token", token]).0, "b4 b5 b6 b7");

    let (found, explained) = names(&["--filter", "pages > 500", "--explain"]);
    assert_eq!(found, "b6 b7");
    assert!(
        explained.contains("LOOKED AT") && explained.contains("2 rows returned, 7"),
        "{explained}"
    );

    let page = parsed(&lab.run(&["list", "books", "-o", "json", "--limit", "2"]).ok());
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert!(page["nextPageToken"].is_string());
}

#[test]
fn exit_codes_tell_what_happened() {
    let lab = Lab::new("codes");
    lab.run(&["create", "shelf", "--id", "a"]).ok();
    lab.run(&["create", "shelf", "--id", "a"]).fails(1);
    lab.run(&["get", "gadget", "x"]).fails(2);
    lab.run(&["get", "shelves"]).fails(2);
    lab.run(&["list", "shelves", "--bogus"]).fails(2);
    lab.run(&["update", "shelves/a", "--set", "theme=x", "--etag", "stale"]).fails(3);
    lab.run(&["get", "shelves/a", "shelves/b"]).fails(4);
    lab.run(&["delete", "shelves/b", "shelves/c"]).fails(1);
    lab.run(&["delete", "shelves/b", "--allow-missing"]).ok();
    lab.run(&["delete", "shelves/a", "shelves/b"]).fails(4);
}

#[test]
fn every_bad_field_is_shown() {
    let lab = Lab::new("fields");
    lab.run(&["create", "shelf", "--id", "s"]).ok();
    let said = lab.run(&["create", "book", "--parent", "shelves/s", "--id", "b"]).fails(1);
    assert!(said.starts_with("error: INVALID_ARGUMENT ("), "{said}");
    assert!(said.contains("): book.title: ") && !said.contains("  field "), "{said}");
    let said = lab.run(&["list", "books", "--filter", "pges > 1"]).fails(1);
    assert!(said.contains("(INVALID_FILTER): filter: "), "{said}");
}

#[test]
fn the_api_can_be_looked_at() {
    let lab = Lab::new("api");
    assert_eq!(
        lab.run(&["api", "-o", "name"]).ok(),
        "library.example.com/Shelf\nlibrary.example.com/Book\n"
    );
    let described = lab.run(&["api", "describe", "book"]).ok();
    for fact in [
        "shelves/{shelf}/books/{book}",
        "/example.library.v1.BookService/GetBook",
        "title  string  (required)",
        "The volume that comes after this one.",
        "names a library.example.com/Book",
    ] {
        assert!(described.contains(fact), "{fact} is not in:\n{described}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let said = run("http://127.0.0.1:1", &["list", "books"]).fails(1);
    assert!(said.contains("connect to http://127.0.0.1:1"), "{said}");
    let said = run("https://127.0.0.1:1", &["list", "books"]).fails(2);
    assert!(said.contains("plain HTTP/2"), "{said}");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let lab = Lab::new("pipe");
    let books: String = (0..200)
        .map(|i| {
            format!("---\nkind: Book\nname: shelves/s/books/b{i}\ntitle: {}\n", "t".repeat(2000))
        })
        .collect();
    lab.run(&["create", "shelf", "--id", "s"]).ok();
    lab.apply("books.yaml", &books).ok();
    let script = format!(
        "{{ {} list books -o json --server {}; echo \"code $?\" >&2; }} | head -n 1",
        env!("CARGO_BIN_EXE_bowline"),
        lab.server().url()
    );
    let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "code 0\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\n");
}

#[test]
fn a_deletion_that_is_blocked_says_by_what_and_by_which_field() {
    let lab = Lab::new("blocked");
    lab.apply("books.yaml", BOOKS).ok();
    expect![[r#"
        error: FAILED_PRECONDITION (DELETION_BLOCKED): Book "shelves/knots/books/day" is referred to by 1 resource that blocks its deletion, first Book "shelves/knots/books/ashley" (sequel)
          blocked by //library.example.com/shelves/knots/books/ashley: sequel refers to shelves/knots/books/day
          page: docs/errors/DELETION_BLOCKED.md
    "#]]
    .assert_eq(&lab.run(&["delete", "shelves/knots/books/day"]).fails(3));
    // In this order nothing blocks.
    lab.run(&["delete", "shelves/knots/books/ashley", "shelves/knots/books/day"]).ok();
}
