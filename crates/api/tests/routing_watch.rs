//! Watches over regions, against a model of what real clients do.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_api::limits::Limits;
use bowline_base::Reason;
use bowline_node::peers::headers;
use bowline_store::Position;
use serde_json::{Value, json};
use support::regions::{REGIONS, Regions, answer_header, stream_with};
use support::{Messages, names};

/// The published client's watcher: applies nothing before `is_current`, keeps the last token.
#[derive(Default)]
struct Client {
    rows: BTreeMap<String, Value>,
    pending: Vec<Value>,
    token: String,
    n_current: usize,
    n_hard_resets: usize,
    /// Everything that any message said, applied or not.
    seen: Vec<String>,
}

impl Client {
    fn take(&mut self, message: &Value) {
        if message["isHardReset"] == true {
            *self = Self { n_hard_resets: self.n_hard_resets + 1, ..Self::default() };
            return;
        }
        let changes = message["itemChanges"].as_array().cloned().unwrap_or_default();
        self.seen.extend(changes.iter().map(name_of));
        self.pending.extend(changes);
        if message["isCurrent"] == true {
            for change in std::mem::take(&mut self.pending) {
                if let Some(item) = change["current"].get("item") {
                    self.rows.insert(name_of(&change), item.clone());
                } else {
                    self.rows.remove(&name_of(&change));
                }
            }
            self.token = message["resumeToken"].as_str().unwrap_or_default().to_owned();
            assert!(!self.token.is_empty(), "a token with every cut");
            self.n_current += 1;
        }
    }

    async fn read_until(&mut self, stream: &mut Messages, is_there: impl Fn(&Self) -> bool) {
        while !is_there(self) {
            self.take(&stream.expect().await);
        }
    }

    fn names(&self) -> Vec<&str> {
        self.rows.keys().map(String::as_str).collect()
    }
}

fn name_of(change: &Value) -> String {
    let name = change["current"]["item"].get("name").or_else(|| change["removed"].get("name"));
    name.unwrap().as_str().unwrap().to_owned()
}

async fn world() -> Regions {
    let period = Duration::from_millis(100);
    let limits = Limits { watch_progress_period: period, ..Limits::default() };
    let world = Regions::with(limits);
    for region in REGIONS {
        world.owners.projects.lock().unwrap().insert(format!("projects/p-{region}"), region);
    }
    world
}

async fn make(world: &Regions, region: &str, id: &str) -> String {
    let parent = format!("projects/p-{region}");
    world.create("eu", &parent, id, json!({ "size": "1" })).await.unwrap();
    format!("{parent}/items/{id}")
}

async fn remove(world: &Regions, name: &str) {
    let request = json!({ "name": name });
    world.at("eu").call("ItemService/DeleteItem", request).await.unwrap();
}

async fn open(world: &Regions, at: &str, token: &str) -> Messages {
    let request = json!({ "parent": "projects/-", "type": "STATELESS", "resumeToken": token });
    world.at(at).stream("ItemService/WatchItems", request).await.unwrap()
}

async fn listed(world: &Regions) -> Vec<String> {
    names(&world.at("eu").list(json!({ "parent": "projects/-" })).await.unwrap())
}

#[tokio::test]
async fn all_regions_are_one_snapshot_and_then_one_stream() {
    let world = world().await;
    for region in REGIONS {
        make(&world, region, "a").await;
    }
    let (mut client, mut stream) = (Client::default(), open(&world, "eu", "").await);
    client.read_until(&mut stream, |c| c.n_current > 0).await;
    assert_eq!(client.names(), listed(&world).await, "the first cut has the snapshots of all");
    for region in REGIONS {
        make(&world, region, "b").await;
        remove(&world, &format!("projects/p-{region}/items/a")).await;
    }
    let expected = listed(&world).await;
    client.read_until(&mut stream, |c| c.names() == expected).await;
    assert_eq!(client.n_hard_resets, 0);
}

#[tokio::test]
async fn a_watch_is_resumed_in_any_region_and_tells_only_what_changed() {
    let world = world().await;
    for region in REGIONS {
        make(&world, region, "a").await;
        make(&world, region, "b").await;
    }
    let (mut client, mut stream) = (Client::default(), open(&world, "eu", "").await);
    client.read_until(&mut stream, |c| c.n_current > 0).await;
    drop(stream);
    for region in REGIONS {
        remove(&world, &format!("projects/p-{region}/items/a")).await;
    }
    make(&world, "us", "c").await;
    let mut stream = open(&world, "ap", &client.token).await;
    client.seen.clear();
    let expected = listed(&world).await;
    client.read_until(&mut stream, |c| c.names() == expected).await;
    client.seen.sort();
    let changed = ["ap/items/a", "eu/items/a", "us/items/a", "us/items/c"];
    assert_eq!(client.seen, changed.map(|name| format!("projects/p-{name}")));
}

#[tokio::test]
async fn the_token_of_one_region_means_nothing_in_another_and_is_not_taken_for_its_own() {
    let world = world().await;
    let watch = |at: &'static str, token: String| {
        let world = &world;
        async move {
            let request = json!({
                "parent": "projects/p/regions/us", "type": "STATELESS", "resumeToken": token
            });
            world.at(at).stream("ItemService/WatchItems", request).await.unwrap()
        }
    };
    let create = |id: &'static str| world.create("us", "projects/p/regions/us", id, json!({}));
    create("a").await.unwrap();
    let (mut client, mut stream) = (Client::default(), watch("us", String::new()).await);
    client.read_until(&mut stream, |c| c.n_current > 0).await;
    create("b").await.unwrap();
    // The other region's own log has its own positions, which this token must not be mistaken for.
    for id in ["x", "y", "z"] {
        world.create("eu", "projects/p/regions/eu", id, json!({})).await.unwrap();
    }
    let mut stream = watch("eu", client.token.clone()).await;
    client.read_until(&mut stream, |c| c.rows.len() == 2).await;
    assert_eq!(client.n_hard_resets, 0);
    let damaged = json!({ "parent": "projects/-", "type": "STATELESS", "resumeToken": "abc" });
    let refused = world.at("eu").stream("ItemService/WatchItems", damaged).await;
    assert_eq!(refused.err().unwrap().reason, Reason::InvalidResumeToken);
}

#[tokio::test]
async fn a_region_that_is_away_at_the_start_is_named_and_joins_when_it_is_back() {
    let world = world().await;
    for region in REGIONS {
        make(&world, region, "a").await;
    }
    world.network.cut("us");
    let request = json!({ "parent": "projects/-", "type": "STATELESS" });
    let opened = stream_with(world.at("eu"), "ItemService/WatchItems", request).await;
    let (mut stream, context) = opened.unwrap();
    assert_eq!(answer_header(&context, headers::UNREACHABLE).as_deref(), Some("us"));
    let mut client = Client::default();
    client.read_until(&mut stream, |c| c.n_current > 0).await;
    assert_eq!(client.names(), ["projects/p-ap/items/a", "projects/p-eu/items/a"]);
    world.network.heal("us");
    let expected = listed(&world).await;
    client.read_until(&mut stream, |c| c.names() == expected).await;
    assert_eq!(client.n_hard_resets, 0);
}

#[tokio::test]
async fn a_region_that_is_cut_off_keeps_its_resources_and_the_others_go_on() {
    let world = world().await;
    for region in REGIONS {
        make(&world, region, "a").await;
    }
    let (mut client, mut stream) = (Client::default(), open(&world, "eu", "").await);
    client.read_until(&mut stream, |c| c.rows.len() == 3).await;
    world.network.cut("us");
    // Reads until the stream has noticed: from then on there is no current mark.
    let mut quiet = 0;
    while quiet < 3 {
        let message = stream.expect().await;
        quiet = if message["isCurrent"] == true { 0 } else { quiet + 1 };
        client.take(&message);
    }
    let (n_current, made) = (client.n_current, make(&world, "ap", "b").await);
    world.create("us", "projects/p-us", "c", json!({})).await.unwrap();
    client.read_until(&mut stream, |c| c.seen.contains(&made)).await;
    assert_eq!(client.n_current, n_current, "nothing is current without a region");
    assert!(client.rows.contains_key("projects/p-us/items/a"));
    // Whoever resumes meanwhile is told that the region is missing, and has it still.
    let token = client.token.clone();
    let request = json!({ "parent": "projects/-", "type": "STATELESS", "resumeToken": token });
    let opened = stream_with(world.at("ap"), "ItemService/WatchItems", request).await;
    let (mut other, context) = opened.unwrap();
    assert_eq!(answer_header(&context, headers::UNREACHABLE).as_deref(), Some("us"));
    let mut resumed = Client { rows: client.rows.clone(), ..Client::default() };
    resumed.read_until(&mut other, |c| c.rows.len() == 4).await;
    world.network.heal("us");
    let expected = listed(&world).await;
    assert_eq!(expected.len(), 5);
    client.read_until(&mut stream, |c| c.names() == expected).await;
    resumed.read_until(&mut other, |c| c.names() == expected).await;
    assert_eq!((client.n_hard_resets, resumed.n_hard_resets), (0, 0));
}

#[tokio::test]
async fn a_region_that_must_start_over_takes_all_with_it() {
    let world = world().await;
    for region in REGIONS {
        make(&world, region, "a").await;
    }
    let (mut client, mut stream) = (Client::default(), open(&world, "eu", "").await);
    client.read_until(&mut stream, |c| c.rows.len() == 3).await;
    drop(stream);
    remove(&world, "projects/p-us/items/a").await;
    // The log no longer tells of the removal.
    world.backends["us"].start_at(Position { era: 5, sequence: 100 }).await.unwrap();
    let mut stream = open(&world, "eu", &client.token).await;
    let expected = ["projects/p-ap/items/a", "projects/p-eu/items/a"];
    client.read_until(&mut stream, |c| c.n_hard_resets == 1 && c.n_current > 0).await;
    assert_eq!(client.names(), expected);
    let token = client.token.clone();
    make(&world, "us", "b").await;
    client.read_until(&mut stream, |c| c.rows.len() == 3).await;
    // And what was given since is good to go on from.
    let mut again = Client { rows: client.rows.clone(), ..Client::default() };
    let mut stream = open(&world, "us", &token).await;
    again.read_until(&mut stream, |c| c.n_current > 0).await;
    assert_eq!((again.rows, again.n_hard_resets), (client.rows, 0));
}

#[tokio::test]
async fn starting_over_waits_for_a_region_that_is_away() {
    let world = world().await;
    for region in REGIONS {
        make(&world, region, "a").await;
    }
    let (mut client, mut stream) = (Client::default(), open(&world, "eu", "").await);
    client.read_until(&mut stream, |c| c.rows.len() == 3).await;
    world.network.cut("us");
    let mut quiet = 0;
    while quiet < 3 {
        let message = stream.expect().await;
        quiet = if message["isCurrent"] == true { 0 } else { quiet + 1 };
        client.take(&message);
    }
    world.backends["ap"].start_at(Position { era: 5, sequence: 100 }).await.unwrap();
    for _ in 0..5 {
        client.take(&stream.expect().await);
    }
    assert_eq!(client.n_hard_resets, 0, "the client would lose what nobody can tell it again");
    world.network.heal("us");
    client.read_until(&mut stream, |c| c.n_hard_resets == 1 && c.rows.len() == 3).await;
}

#[tokio::test]
async fn a_watch_ends_with_its_node_and_leaves_nothing_open_in_other_regions() {
    let world = world().await;
    let mut stream = open(&world, "eu", "").await;
    stream.expect().await;
    world.at("eu").engine.close().await;
    loop {
        match stream.next().await.expect("the stream says why it ends") {
            Ok(_) => {}
            Err(status) => break assert_eq!(status.reason, Reason::Unavailable),
        }
    }
    assert!(stream.next().await.is_none());
}

/// The places of a STATEFUL watch, as a client holds them.
fn apply(rows: &mut Vec<Value>, message: &Value) {
    let changes = message["itemChanges"].as_array().cloned().unwrap_or_default();
    let place = |change: &Value, field: &str| change.get(field).map_or(0, |n| n.as_u64().unwrap());
    let mut gone: Vec<usize> = Vec::new();
    let mut put: Vec<(usize, Value)> = Vec::new();
    for change in &changes {
        if let Some(removed) = change.get("removed") {
            gone.push(usize::try_from(place(removed, "viewIndex")).unwrap());
        } else if let Some(added) = change.get("added") {
            put.push((usize::try_from(place(added, "viewIndex")).unwrap(), added["item"].clone()));
        } else {
            let moved = &change["modified"];
            gone.push(usize::try_from(place(moved, "previousViewIndex")).unwrap());
            put.push((usize::try_from(place(moved, "viewIndex")).unwrap(), moved["item"].clone()));
        }
    }
    gone.sort_unstable();
    gone.into_iter().rev().for_each(|at| drop(rows.remove(at)));
    put.into_iter().for_each(|(at, row)| rows.insert(at, row));
}

fn names_in(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_live_page_over_regions_is_the_first_page_of_the_list() {
    let world = world().await;
    for (region, id) in [("us", "a"), ("eu", "b"), ("ap", "c"), ("us", "d")] {
        make(&world, region, id).await;
    }
    let request = json!({ "parent": "projects/-", "orderBy": "size desc", "pageSize": 3 });
    let page = || async { names(&world.at("us").list(request.clone()).await.unwrap()) };
    let mut stream =
        world.at("eu").stream("ItemService/WatchItems", request.clone()).await.unwrap();
    let mut rows = Vec::new();
    let first = stream.expect().await;
    assert_eq!(first["isCurrent"], true);
    apply(&mut rows, &first);
    assert_eq!(names_in(&rows), page().await, "the first message is a whole page");
    for (name, size) in [("projects/p-us/items/d", "9"), ("projects/p-ap/items/c", "5")] {
        let update = json!({ "item": { "name": name, "size": size } });
        world.at("eu").call("ItemService/UpdateItem", update).await.unwrap();
        let expected = page().await;
        while names_in(&rows) != expected {
            apply(&mut rows, &stream.expect().await);
        }
    }
    remove(&world, "projects/p-us/items/d").await;
    let expected = page().await;
    while names_in(&rows) != expected {
        apply(&mut rows, &stream.expect().await);
    }
    // A region that is cut off stays on the page as it was.
    world.network.cut("us");
    while stream.expect().await["isCurrent"] == true {}
    make(&world, "eu", "a").await;
    let update = json!({ "item": { "name": "projects/p-eu/items/a", "size": "7" } });
    world.at("eu").call("ItemService/UpdateItem", update).await.unwrap();
    while names_in(&rows).first().map(String::as_str) != Some("projects/p-eu/items/a") {
        apply(&mut rows, &stream.expect().await);
    }
    world.network.heal("us");
    let expected = page().await;
    loop {
        let message = stream.expect().await;
        apply(&mut rows, &message);
        if message["isCurrent"] == true {
            break;
        }
    }
    assert_eq!(names_in(&rows), expected);
}
