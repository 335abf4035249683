//! Lists along declared indexes: the same as without them whatever is asked, in proportion to the matches, ready when it
//! is right to be.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bowline_api::limits::Limits;
use bowline_base::Seams;
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_store::sqlite::{Sqlite, SqliteOptions};
use bowline_store::{
    Backend, Batch, Changes, CommitError, Key, Memory, Position, Row, Snapshot, StoreError, Write,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use support::World;

const PROTO: &str = r#"
syntax = "proto3";
package example.test.v1;
import "google/api/resource.proto";
import "google/protobuf/timestamp.proto";
import "bowline/annotations.proto";
import "goten/types/meta.proto";

message Item {
  option (google.api.resource) = {
    type: "test.example.com/Item" singular: "item" plural: "items"
    pattern: "projects/{project}/items/{item}"
    pattern: "projects/{project}/regions/{region}/items/{item}"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
  string title = 3;
  int64 size = 4;
  string color = 5;
  repeated string tags = 6;
  map<string, string> labels = 7;
  google.protobuf.Timestamp seen = 8;
  string friend = 9 [
    (google.api.resource_reference) = { type: "test.example.com/Item" },
    (bowline.reference) = { on_target_delete: ALLOW_DANGLING }
  ];
}
"#;

const INDEXES: &str = "[title, size, color, tags, labels, seen, friend]";

fn registry(indexes: &str) -> Arc<Registry> {
    let manifest = format!(
        "name: test.example.com\nversions:\n  v1: {{ package: example.test.v1 }}\nresources:\n  Item: {{ index: {indexes} }}\n"
    );
    let files = vec![("v1/test.proto".to_owned(), PROTO.to_owned())];
    let loaded = load(&[Source::Files { service_yaml: Some(manifest), files }]);
    assert!(!loaded.registry.services.is_empty(), "{:#?}", loaded.diagnostics);
    Arc::new(loaded.registry)
}

fn world(backend: Arc<dyn Backend>, indexes: &str) -> World {
    World::of(registry(indexes), backend, Limits::default())
}

/// Two worlds with the same items: one with indexes, one without.
struct Twins {
    indexed: World,
    plain: World,
}

impl Twins {
    async fn new(backend: Arc<dyn Backend>) -> Self {
        let twins =
            Self { indexed: world(backend, INDEXES), plain: world(Arc::new(Memory::new()), "[]") };
        wait_until_used(&twins.indexed).await;
        twins
    }

    async fn put(&self, name: &str, item: &Value) {
        let mut item = item.clone();
        item["name"] = name.into();
        let request = json!({ "item": item, "allowMissing": true });
        for world in [&self.indexed, &self.plain] {
            world.call("ItemService/UpdateItem", request.clone()).await.unwrap();
        }
    }

    async fn delete(&self, name: &str) {
        let request = json!({ "name": name, "allowMissing": true });
        for world in [&self.indexed, &self.plain] {
            world.call("ItemService/DeleteItem", request.clone()).await.unwrap();
        }
    }
}

/// Waits until lists of `world` go along an index.
async fn wait_until_used(world: &World) {
    let request = json!({ "filter": "color = red" });
    let used = async {
        while way(world, &request).await != "points" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), used).await.expect("ready in time");
}

/// The way that answered.
async fn way(world: &World, request: &Value) -> String {
    let (answer, explained) = world.call_explained("ItemService/ListItems", request.clone()).await;
    answer.unwrap();
    let ways = explained["ways"].as_array().cloned().unwrap_or_default();
    let answered = ways.iter().find(|way| way["answered"] == true).unwrap();
    answered["way"].as_str().unwrap().to_owned()
}

/// All pages of a list, and a part of the way back; `None` if it is refused.
async fn pages(world: &World, request: &Value) -> Option<Vec<Value>> {
    let mut request = request.clone();
    let mut pages = Vec::new();
    loop {
        let page = world.call("ItemService/ListItems", request.clone()).await.ok()?;
        let turns_back = pages.len() % 3 == 2;
        let back = page["prevPageToken"].as_str().filter(|_| turns_back).map(str::to_owned);
        let next = page["nextPageToken"].as_str().map(str::to_owned);
        pages.push(summary(&page));
        if let Some(back) = back {
            request["pageToken"] = back.into();
            let page = world.call("ItemService/ListItems", request.clone()).await.ok()?;
            pages.push(summary(&page));
        }
        match next {
            Some(next) => request["pageToken"] = next.into(),
            None => return Some(pages),
        }
        assert!(pages.len() < 200, "the list ends");
    }
}

fn summary(page: &Value) -> Value {
    json!([support::names(page), page["totalResultsCount"], page["currentOffset"]])
}

fn name() -> impl Strategy<Value = String> {
    let id = || prop::sample::select(vec!["a", "b", "b-", "c.d"]);
    prop_oneof![
        (id(), id()).prop_map(|(p, i)| format!("projects/{p}/items/{i}")),
        (id(), id(), id()).prop_map(|(p, r, i)| format!("projects/{p}/regions/{r}/items/{i}")),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[ab]{0,2}", 1 => (0..2_u8).prop_map(|n| format!("{}{n}", "x".repeat(490)))]
}

fn friend() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "projects/a/items/a",
        "//test.example.com/projects/a/items/a",
        "projects/b/items/a",
    ])
    .prop_map(str::to_owned)
}

fn item() -> impl Strategy<Value = Value> {
    let color = prop::sample::select(vec!["red", "blue", ""]);
    let labels = prop::collection::hash_map("[xy]", text(), 0..3);
    let seen = prop::option::of(0..4_i64);
    (text(), -2..4_i64, color, prop::collection::vec(text(), 0..3), labels, seen, friend())
        .prop_map(|(title, size, color, tags, labels, seen, friend)| {
            let seen = seen.map(|s| format!("1970-01-01T00:00:0{s}Z"));
            json!({
                "title": title, "size": size.to_string(), "color": color, "tags": tags,
                "labels": labels, "seen": seen, "friend": friend,
            })
        })
}

fn condition() -> impl Strategy<Value = String> {
    let operator = || prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let quoted = || text().prop_map(|text| format!("\"{text}\""));
    prop_oneof![
        (operator(), quoted()).prop_map(|(o, t)| format!("title {o} {t}")),
        "[ab]".prop_map(|t| format!("title = \"{t}*\"")),
        (operator(), -2..4_i64).prop_map(|(o, n)| format!("size {o} {n}")),
        prop::sample::select(vec!["red", "blue"]).prop_map(|c| format!("color = {c}")),
        Just("color IN [red, blue]".to_owned()),
        Just("color = \"\"".to_owned()),
        quoted().prop_map(|t| format!("tags:{t}")),
        quoted().prop_map(|t| format!("labels.x = {t}")),
        Just("labels:y".to_owned()),
        (operator(), 0..4_i64).prop_map(|(o, s)| format!("seen {o} 1970-01-01T00:00:0{s}Z")),
        Just("seen IS NULL".to_owned()),
        friend().prop_map(|f| format!("friend = \"{f}\"")),
        Just("friend = \"projects/-/items/a\"".to_owned()),
        name().prop_map(|name| format!("name = \"{name}\"")),
        Just("name = \"projects/-/items/b\"".to_owned()),
    ]
}

fn filter() -> impl Strategy<Value = String> {
    let filter = condition().prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(" AND "))),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|any| format!("({})", any.join(" OR "))),
            1 => inner.prop_map(|not| format!("NOT ({not})")),
        ]
    });
    prop_oneof![1 => Just(String::new()), 8 => filter]
}

fn request() -> impl Strategy<Value = Value> {
    let parent = prop::sample::select(vec![
        "",
        "projects/-",
        "projects/a",
        "projects/b",
        "projects/-/regions/-",
        "projects/-/regions/b",
        "projects/b/regions/-",
    ]);
    let order = prop::sample::select(vec![
        "",
        "",
        "name desc",
        "size",
        "size desc",
        "title",
        "seen desc",
        "friend",
        "color desc, name",
        "size, color",
        "title desc",
    ]);
    (parent, filter(), order, 1..8_i32, any::<bool>()).prop_map(
        |(parent, filter, order, size, count)| {
            json!({
                "parent": parent, "filter": filter, "orderBy": order, "pageSize": size,
                "includePagingInfo": count,
            })
        },
    )
}

#[derive(Debug)]
enum Step {
    Put(String, Value),
    Delete(String),
    List(Value),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (name(), item()).prop_map(|(name, item)| Step::Put(name, item)),
        1 => name().prop_map(Step::Delete),
        6 => request().prop_map(Step::List),
    ]
}

/// Lets the twins live through random steps; the first list in which they differ, and how many lists went along an index.
async fn live(twins: &Twins, n_steps: usize) -> (Option<Value>, usize) {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let mut n_indexed = 0;
    for _ in 0..n_steps {
        match step().new_tree(&mut runner).unwrap().current() {
            Step::Put(name, item) => twins.put(&name, &item).await,
            Step::Delete(name) => twins.delete(&name).await,
            Step::List(request) => {
                if way(&twins.indexed, &request).await != "names" {
                    n_indexed += 1;
                }
                if pages(&twins.indexed, &request).await != pages(&twins.plain, &request).await {
                    return (Some(request), n_indexed);
                }
            }
        }
    }
    (None, n_indexed)
}

#[tokio::test]
async fn every_list_is_what_it_is_without_indexes() {
    let twins = Twins::new(Arc::new(Memory::new())).await;
    let (different, n_indexed) = live(&twins, 1_500).await;
    assert_eq!(different, None);
    assert!(n_indexed > 200, "{n_indexed}");
}

#[tokio::test]
async fn every_list_of_the_embedded_store_is_what_it_is_without_indexes() {
    let folder = bowline_testkit::World::new("indexes").unwrap();
    let path = folder.path().join("test.db");
    let store = Sqlite::open(&path, SqliteOptions::default(), Seams::real()).unwrap();
    let twins = Twins::new(Arc::new(store)).await;
    let (different, n_indexed) = live(&twins, 400).await;
    assert_eq!(different, None);
    assert!(n_indexed > 40, "{n_indexed}");
    twins.indexed.engine.close().await;
}

/// A store that forgets index entries of rows that were there before, once it is told to.
#[derive(Debug, Default)]
struct Forgetful {
    inner: Memory,
    forgets: AtomicBool,
}

#[async_trait]
impl Backend for Forgetful {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.snapshot().await
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.inner.get(key).await
    }

    async fn commit(&self, mut batch: Batch) -> Result<Position, CommitError> {
        for write in &mut batch.writes {
            let Write::Put { key, row, .. } = write else { continue };
            let before = self.inner.get(key).await?.0;
            if let (true, false, Some(before)) =
                (self.forgets.load(Ordering::SeqCst), key.table.is_internal(), before)
            {
                row.extract = before.extract;
            }
        }
        self.inner.commit(batch).await
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        self.inner.changes(after, limit).await
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        self.inner.start_at(position).await
    }

    fn head(&self) -> tokio::sync::watch::Receiver<Position> {
        self.inner.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}

#[tokio::test]
async fn an_index_that_misses_updates_is_noticed() {
    let store = Arc::new(Forgetful::default());
    let twins = Twins::new(store.clone()).await;
    store.forgets.store(true, Ordering::SeqCst);
    let (different, _) = live(&twins, 1_000).await;
    assert!(different.is_some());
}

async fn fill(world: &World, projects: usize, items: usize) {
    for project in 0..projects {
        for item in 0..items {
            let color = if item % 100 == 7 { "red" } else { "blue" };
            let request = json!({
                "parent": format!("projects/p{project}"), "itemId": format!("i{item:04}"),
                "item": { "color": color, "size": item.to_string(), "title": format!("t{project}-{item}") },
            });
            world.call("ItemService/CreateItem", request).await.unwrap();
        }
    }
}

/// Rows returned and rows looked at.
async fn cost(world: &World, request: Value) -> (u64, u64) {
    let (answer, explained) = world.call_explained("ItemService/ListItems", request).await;
    let answer = answer.unwrap();
    assert_eq!(support::names(&answer).len() as u64, explained["rows_returned"].as_u64().unwrap());
    (explained["rows_returned"].as_u64().unwrap(), explained["rows_looked_at"].as_u64().unwrap())
}

#[tokio::test]
async fn a_list_costs_in_proportion_to_its_matches() {
    let world = world(Arc::new(Memory::new()), INDEXES);
    wait_until_used(&world).await;
    fill(&world, 5, 1_000).await;
    for (request, rows, looked_at_most) in [
        // Matches in one parent, not those in all.
        (json!({ "parent": "projects/p3", "filter": "color = red" }), 10, 32),
        (json!({ "filter": "color = red" }), 50, 51),
        (json!({ "filter": "color = red", "pageSize": 3 }), 3, 16),
        // Names compete with a range, so it is a small multiple.
        (json!({ "filter": "size < 3" }), 15, 300),
        (json!({ "parent": "projects/p3", "filter": "title = \"t3-55*\"" }), 11, 300),
        (json!({ "orderBy": "size desc", "pageSize": 5 }), 5, 6),
        (json!({ "orderBy": "size", "filter": "size >= 10 AND size < 12" }), 10, 300),
        (json!({ "orderBy": "title", "filter": "color = red", "pageSize": 4 }), 4, 300),
        (json!({ "filter": "name = \"projects/p2/items/i0100\"" }), 1, 1),
        (json!({ "filter": "color = red AND color = blue" }), 0, 0),
        (json!({ "filter": "color IN [red, green]", "includePagingInfo": true }), 50, 102),
    ] {
        let (returned, looked_at) = cost(&world, request.clone()).await;
        assert_eq!(returned, rows, "{request}");
        assert!(looked_at <= looked_at_most, "{request}: {looked_at}");
    }
}

#[tokio::test]
async fn wildcards_in_the_middle_skip_what_lies_between() {
    let world = world(Arc::new(Memory::new()), "[]");
    fill(&world, 20, 200).await;
    for project in 0..20 {
        let parent = format!("projects/p{project}/regions/us");
        let request = json!({ "parent": parent, "itemId": "i", "item": {} });
        world.call("ItemService/CreateItem", request).await.unwrap();
    }
    for order in ["", "name desc"] {
        let request = json!({ "parent": "projects/-/regions/us", "orderBy": order });
        let (returned, looked_at) = cost(&world, request).await;
        assert_eq!(returned, 20);
        assert!(looked_at < 1_000, "{looked_at} of 4,020 rows");
    }
}

#[tokio::test]
async fn the_next_page_is_right_when_an_index_has_become_ready_meanwhile() {
    let backend = Arc::new(Memory::new());
    let before = world(backend.clone(), "[]");
    fill(&before, 2, 400).await;
    let mut begun = Vec::new();
    for (filter, order) in
        [("color = red", ""), ("", "size desc"), ("size < 20", "title"), ("color = red", "size")]
    {
        let query = json!({ "filter": filter, "orderBy": order, "pageSize": 3 });
        let first = before.list(query.clone()).await.unwrap();
        let whole = json!({ "filter": filter, "orderBy": order, "pageSize": 1000 });
        begun.push((query, first, support::names(&before.list(whole).await.unwrap())));
    }
    let after = world(backend, INDEXES);
    // While the old process lives, nothing is ready.
    assert_eq!(way(&after, &json!({ "filter": "color = red" })).await, "names");
    before.engine.leave().await;
    wait_until_used(&after).await;
    for (mut query, first, expected) in begun {
        query["pageToken"] = first["nextPageToken"].clone();
        query["pageSize"] = 1000.into();
        let mut names = support::names(&first);
        let rest = after.list(query.clone()).await.unwrap();
        names.extend(support::names(&rest));
        assert_eq!(names, expected, "{query}");
        // And back again, from the first row of the second page.
        query["pageToken"] = rest["prevPageToken"].clone();
        let back = after.list(query).await.unwrap();
        assert_eq!(support::names(&back), expected[..3]);
    }
}

#[tokio::test]
async fn rows_of_before_are_indexed_once_the_last_old_process_is_gone() {
    let backend = Arc::new(Memory::new());
    let before = world(backend.clone(), "[]");
    fill(&before, 1, 300).await;
    // Closing a process closes its store as well; here only the process goes.
    before.engine.leave().await;
    let after = world(backend, INDEXES);
    wait_until_used(&after).await;
    let (returned, looked_at) = cost(&after, json!({ "filter": "color = red" })).await;
    assert_eq!(returned, 3);
    assert!(looked_at <= 16, "{looked_at}");
}

#[tokio::test]
async fn the_snapshot_of_a_watch_goes_along_the_index() {
    let world = world(Arc::new(Memory::new()), INDEXES);
    wait_until_used(&world).await;
    fill(&world, 2, 300).await;
    let request = json!({ "type": "STATELESS", "filter": "color = red" });
    let mut watch = world.stream("ItemService/WatchItems", request).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let message = watch.expect().await;
        for change in message["itemChanges"].as_array().into_iter().flatten() {
            seen.push(change["current"]["item"]["name"].as_str().unwrap().to_owned());
        }
        if message["isCurrent"] == true {
            break;
        }
    }
    let list = world.list(json!({ "filter": "color = red" })).await.unwrap();
    assert_eq!(seen, support::names(&list));
    assert_eq!(seen.len(), 6);
}
