//! Watches against a model of what real clients do: whatever is cut, resumed, expired or slow, the client's state ends
//! equal to the list.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bowline_api::limits::Limits;
use bowline_base::Reason;
use bowline_store::Memory;
use bowline_store::memory::MemoryOptions;
use serde_json::{Value, json};
use support::{Messages, World, names};

/// The query watcher of the published client: applies nothing before `is_current`, keeps the last token.
#[derive(Default)]
struct Client {
    rows: BTreeMap<String, Value>,
    pending: Vec<Value>,
    token: String,
    in_sync: bool,
    hard_resets: usize,
}

impl Client {
    fn take(&mut self, message: &Value) {
        let size = message["snapshotSize"].as_str().unwrap_or("0").parse::<i64>().unwrap();
        assert!(size < 0, "every ordinary message must say that it is no size check: {message}");
        if message["isHardReset"] == true {
            *self = Self { hard_resets: self.hard_resets + 1, ..Self::default() };
            return;
        }
        if message["isSoftReset"] == true {
            self.pending.clear();
        }
        self.pending.extend(message["itemChanges"].as_array().cloned().unwrap_or_default());
        if message["isCurrent"] == true {
            self.apply();
            self.token = message["resumeToken"].as_str().unwrap_or_default().to_owned();
            assert!(!self.token.is_empty(), "a token with every cut");
            self.in_sync = true;
        }
    }

    fn apply(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            if let Some(item) = change["current"].get("item") {
                self.rows.insert(item["name"].as_str().unwrap().to_owned(), item.clone());
            } else {
                self.rows.remove(change["removed"]["name"].as_str().unwrap());
            }
        }
    }

    /// A lost connection: what was not current is forgotten; without a first cut, everything is.
    fn disconnect(&mut self) {
        self.pending.clear();
        if !self.in_sync {
            *self = Self { hard_resets: self.hard_resets, ..Self::default() };
        }
    }
}

fn stateless(filter: &str, token: &str) -> Value {
    json!({ "parent": "projects/-", "type": "STATELESS", "filter": filter, "resumeToken": token })
}

async fn open(world: &World, filter: &str, token: &str) -> Messages {
    world.stream("ItemService/WatchItems", stateless(filter, token)).await.unwrap()
}

/// A small deterministic generator, so that a failing seed can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn write(world: &World, dice: &mut Dice) {
    let name = format!("projects/p{}/items/i{}", dice.roll(3), dice.roll(12));
    if dice.roll(4) == 0 {
        let request = json!({ "name": name, "allowMissing": true });
        world.call("ItemService/DeleteItem", request).await.unwrap();
    } else {
        let color = if dice.roll(2) == 0 { "red" } else { "blue" };
        let item = json!({ "name": name, "color": color, "size": dice.roll(100).to_string() });
        let request = json!({ "item": item, "allowMissing": true });
        world.call("ItemService/UpdateItem", request).await.unwrap();
    }
}

async fn rows(world: &World, filter: &str) -> BTreeMap<String, Value> {
    let request = json!({ "parent": "projects/-", "filter": filter, "pageSize": 1000 });
    let list = world.list(request).await.unwrap();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().map(|i| (i["name"].as_str().unwrap().to_owned(), i)).collect()
}

/// Runs a client with random cuts beside a writer; afterwards both must agree.
async fn converges(world: Arc<World>, filter: &'static str, seed: u64) -> Client {
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (world, done) = (world.clone(), done.clone());
        let mut dice = Dice(seed);
        async move {
            for _ in 0..400 {
                write(&world, &mut dice).await;
                if dice.roll(3) == 0 {
                    tokio::task::yield_now().await;
                }
            }
            done.store(true, Ordering::SeqCst);
        }
    };
    let reader = read_with_cuts(world.clone(), filter, seed, done);
    let (mut client, ()) = tokio::join!(reader, writer);
    // Nothing is written any more: from here on the next cuts must bring the client to the list.
    let expected = rows(&world, filter).await;
    let mut stream = open(&world, filter, &client.token).await;
    while client.rows != expected || !client.in_sync {
        client.take(&stream.expect().await);
    }
    client
}

async fn read_with_cuts(
    world: Arc<World>,
    filter: &str,
    seed: u64,
    done: Arc<AtomicBool>,
) -> Client {
    let mut dice = Dice(seed ^ 0xabcd);
    let mut client = Client::default();
    while !done.load(Ordering::SeqCst) {
        let mut stream = open(&world, filter, &client.token).await;
        for _ in 0..dice.roll(12) {
            client.take(&stream.expect().await);
            // A slow reader: the writer gets far ahead.
            for _ in 0..dice.roll(40) {
                tokio::task::yield_now().await;
            }
        }
        drop(stream);
        client.disconnect();
    }
    client
}

fn impatient() -> Limits {
    Limits {
        watch_progress_period: std::time::Duration::from_millis(20),
        watch_chunk_max: 3,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_client_that_is_cut_at_random_ends_equal_to_the_list() {
    for seed in 0..8 {
        for filter in ["", "color = \"red\"", "size > 50"] {
            let world = World::with(Arc::new(Memory::new()), impatient());
            converges(Arc::new(world), filter, seed).await;
        }
    }
}

#[tokio::test]
async fn a_client_whose_token_expires_is_reset_and_ends_equal_to_the_list() {
    let mut hard_resets = 0;
    for seed in 0..8 {
        let options = MemoryOptions { log_changes_max: 12, ..MemoryOptions::default() };
        let world = World::with(Arc::new(Memory::with_options(options)), impatient());
        hard_resets += converges(Arc::new(world), "", seed).await.hard_resets;
    }
    assert!(hard_resets > 0, "the log is short enough that tokens expire");
}

#[tokio::test]
async fn a_client_with_a_tiny_queue_ends_equal_to_the_list() {
    for seed in 0..8 {
        let limits = Limits { watch_queue_max: 2, ..impatient() };
        let world = World::with(Arc::new(Memory::new()), limits);
        converges(Arc::new(world), "color = \"red\"", seed).await;
    }
}

#[tokio::test]
async fn leaving_the_filter_is_a_removal_and_entering_it_an_addition() {
    let world = World::with(Arc::new(Memory::new()), impatient());
    let created = world.create_item("one", json!({ "color": "red" })).await.unwrap();
    let mut client = Client::default();
    let mut stream = open(&world, "color = \"red\"", "").await;
    while !client.rows.contains_key("projects/p/items/one") {
        client.take(&stream.expect().await);
    }
    for (color, is_there) in [("blue", false), ("red", true)] {
        let item = json!({ "name": created["name"], "color": color });
        let request = json!({ "item": item, "updateMask": "color" });
        world.call("ItemService/UpdateItem", request).await.unwrap();
        while client.rows.contains_key("projects/p/items/one") != is_there {
            client.take(&stream.expect().await);
        }
    }
}

#[tokio::test]
async fn changes_that_the_mask_does_not_show_are_not_sent() {
    let world = World::with(Arc::new(Memory::new()), impatient());
    world.create_item("one", json!({ "color": "red" })).await.unwrap();
    let request = json!({ "parent": "projects/p", "type": "STATELESS", "fieldMask": "name,color" });
    let mut stream = world.stream("ItemService/WatchItems", request).await.unwrap();
    while stream.expect().await["isCurrent"] != true {}
    for (field, value) in [("size", json!("5")), ("color", json!("blue"))] {
        let mut item = json!({ "name": "projects/p/items/one" });
        item[field] = value;
        let request = json!({ "item": item, "updateMask": field });
        world.call("ItemService/UpdateItem", request).await.unwrap();
    }
    let mut events = Vec::new();
    while events.is_empty() {
        let message = stream.expect().await;
        events.extend(message["itemChanges"].as_array().cloned().unwrap_or_default());
    }
    assert_eq!(events.len(), 1, "only the change of color: {events:?}");
    assert_eq!(
        events[0]["current"]["item"],
        json!({ "name": "projects/p/items/one", "color": "blue" })
    );
}

#[tokio::test]
async fn an_idle_watch_makes_progress_while_others_write() {
    let world = World::with(Arc::new(Memory::new()), impatient());
    let request = json!({ "parent": "projects/quiet", "type": "STATELESS" });
    let mut stream = world.stream("ItemService/WatchItems", request).await.unwrap();
    let first = stream.expect().await["resumeToken"].clone();
    world.create_item("elsewhere", json!({})).await.unwrap();
    loop {
        let message = stream.expect().await;
        assert_eq!(message["itemChanges"], Value::Null);
        if message["resumeToken"] != first {
            break;
        }
    }
}

#[tokio::test]
async fn a_token_of_another_query_is_refused() {
    let world = World::with(Arc::new(Memory::new()), impatient());
    let token = open(&world, "", "").await.expect().await["resumeToken"].clone();
    let request = stateless("size > 1", token.as_str().unwrap());
    let refused = world.stream("ItemService/WatchItems", request).await.map(drop).unwrap_err();
    assert_eq!(refused.reason, Reason::InvalidResumeToken);
}

#[tokio::test]
async fn a_token_of_another_database_is_reset() {
    let world = World::with(Arc::new(Memory::new()), impatient());
    world.create_item("one", json!({})).await.unwrap();
    let token = open(&world, "", "").await;
    let mut token = {
        let mut t = token;
        loop {
            let m = t.expect().await;
            if m["isCurrent"] == true {
                break m["resumeToken"].clone();
            }
        }
    };
    let empty = World::with(Arc::new(Memory::new()), impatient());
    let mut stream = open(&empty, "", token.take().as_str().unwrap()).await;
    assert_eq!(stream.expect().await["isHardReset"], true);
}

#[tokio::test]
async fn a_watch_from_a_time_sends_only_what_came_after_it() {
    let world = World::with(Arc::new(Memory::new()), impatient());
    let created = world.create_item("one", json!({})).await.unwrap();
    let time = created["metadata"]["createTime"].clone();
    let request = json!({ "parent": "projects/p", "type": "STATELESS", "startingTime": time });
    let mut stream = world.stream("ItemService/WatchItems", request).await.unwrap();
    world.create_item("two", json!({})).await.unwrap();
    let mut client = Client::default();
    while !client.rows.contains_key("projects/p/items/two") {
        client.take(&stream.expect().await);
    }
}

/// A client of a live page: takes out what is removed or moved, puts in what is added or moved.
#[derive(Default)]
struct Page {
    rows: Vec<Value>,
    pending: Vec<Value>,
}

impl Page {
    fn take(&mut self, message: &Value) {
        self.pending.extend(message["itemChanges"].as_array().cloned().unwrap_or_default());
        if message["isCurrent"] != true {
            return;
        }
        let changes = std::mem::take(&mut self.pending);
        let place = |value: &Value| {
            value.as_i64().or_else(|| value.as_str().and_then(|s| s.parse().ok())).unwrap_or(0)
        };
        let mut out: Vec<i64> = Vec::new();
        for change in &changes {
            if change.get("removed").is_some() {
                out.push(place(&change["removed"]["viewIndex"]));
            } else if change.get("modified").is_some() {
                out.push(place(&change["modified"]["previousViewIndex"]));
            }
        }
        out.sort_unstable_by(|a, b| b.cmp(a));
        for index in out {
            self.rows.remove(usize::try_from(index).unwrap());
        }
        for change in &changes {
            let change =
                if change.get("added").is_some() { &change["added"] } else { &change["modified"] };
            if let Some(item) = change.get("item") {
                self.rows
                    .insert(usize::try_from(place(&change["viewIndex"])).unwrap(), item.clone());
            }
        }
    }
}

#[tokio::test]
async fn a_live_page_ends_equal_to_the_list_in_its_order() {
    for seed in 0..6 {
        for order in ["", "size desc", "color, size"] {
            let world = World::with(Arc::new(Memory::new()), impatient());
            let query = json!({ "parent": "projects/-", "orderBy": order, "pageSize": 7 });
            let mut request = query.clone();
            request["type"] = json!("STATEFUL");
            let mut stream = world.stream("ItemService/WatchItems", request).await.unwrap();
            let mut page = Page::default();
            let mut dice = Dice(seed);
            for _ in 0..60 {
                write(&world, &mut dice).await;
                if dice.roll(5) == 0 {
                    page.take(&stream.expect().await);
                }
            }
            let expected = world.list(query).await.unwrap();
            let expected = expected["items"].as_array().cloned().unwrap_or_default();
            while page.rows != expected {
                page.take(&stream.expect().await);
            }
        }
    }
}

#[tokio::test]
async fn one_resource_is_followed_through_its_deletion_and_return() {
    let world = World::with(Arc::new(Memory::new()), impatient());
    let absent = json!({ "name": "projects/p/items/one" });
    let refused =
        world.stream("ItemService/WatchItem", absent.clone()).await.map(drop).unwrap_err();
    assert_eq!(refused.reason, Reason::ResourceNotFound);
    world.create_item("one", json!({ "color": "red" })).await.unwrap();
    let mut stream = world.stream("ItemService/WatchItem", absent.clone()).await.unwrap();
    assert_eq!(stream.expect().await["change"]["added"]["item"]["color"], "red");
    world.call("ItemService/DeleteItem", absent).await.unwrap();
    assert_eq!(stream.expect().await["change"]["removed"]["name"], "projects/p/items/one");
    world.create_item("one", json!({ "color": "blue" })).await.unwrap();
    assert_eq!(stream.expect().await["change"]["added"]["item"]["color"], "blue");
}

#[tokio::test]
async fn watches_end_as_unavailable_when_the_node_closes() {
    let world = World::with(Arc::new(Memory::new()), Limits::default());
    let mut stream = open(&world, "", "").await;
    stream.expect().await;
    world.engine.close().await;
    let end = stream.next().await.expect("an end with a status").unwrap_err();
    assert_eq!(end.reason, Reason::Unavailable);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_list_shows_what_the_watch_shows() {
    let world = World::with(Arc::new(Memory::new()), impatient());
    let mut dice = Dice(7);
    for _ in 0..50 {
        write(&world, &mut dice).await;
    }
    let list = world.list(json!({ "parent": "projects/p1", "pageSize": 100 })).await.unwrap();
    let request = json!({ "parent": "projects/p1", "type": "STATELESS" });
    let mut stream = world.stream("ItemService/WatchItems", request).await.unwrap();
    let mut client = Client::default();
    while !client.in_sync {
        client.take(&stream.expect().await);
    }
    assert_eq!(client.rows.into_keys().collect::<Vec<_>>(), names(&list));
}
