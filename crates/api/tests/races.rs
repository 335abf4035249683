//! What must hold when requests really run at the same time: on several threads, over the embedded store.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, on real threads"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bowline_api::limits::Limits;
use bowline_base::{Code, Seams};
use bowline_store::Backend;
use bowline_store::sqlite::{Sqlite, SqliteOptions};
use serde_json::{Value, json};
use support::World;
use support::meddler::Meddler;

fn world() -> (Arc<World>, bowline_testkit::World) {
    let folder = bowline_testkit::World::new("races").unwrap();
    let path = folder.path().join("test.db");
    let store = Sqlite::open(&path, SqliteOptions::default(), Seams::real()).unwrap();
    let limits = Limits { write_attempts_max: 1_000, ..Limits::default() };
    (Arc::new(World::with(Arc::new(store), limits)), folder)
}

fn version(item: &Value) -> u64 {
    item["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_is_lost_when_many_write_one_resource() {
    let (world, _folder) = world();
    world.create_item("one", json!({})).await.unwrap();
    let writers = (0..4).map(|writer| {
        let world = world.clone();
        tokio::spawn(async move {
            for n in 0..10 {
                let key = format!("k{writer}x{n}");
                let labels = json!({ key.as_str(): "v" });
                let item =
                    json!({ "name": "projects/p/items/one", "metadata": { "labels": labels } });
                let request =
                    json!({ "item": item, "updateMask": format!("metadata.labels.{key}") });
                world.call("ItemService/UpdateItem", request).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let one = json!({ "name": "projects/p/items/one" });
    let one = world.call("ItemService/GetItem", one).await.unwrap();
    assert_eq!(one["metadata"]["labels"].as_object().map(serde_json::Map::len), Some(40));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_version_never_returns_however_often_a_name_is_made_and_deleted() {
    let (world, _folder) = world();
    let makers = (0..4).map(|_| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut made = Vec::new();
            for _ in 0..150 {
                match world.create_item("one", json!({})).await {
                    Ok(item) => made.push(item),
                    Err(status) => assert_eq!(status.code(), Code::AlreadyExists, "{status}"),
                }
                let request = json!({ "name": "projects/p/items/one", "allowMissing": true });
                world.call("ItemService/DeleteItem", request).await.unwrap();
            }
            made
        })
    });
    let mut uids: BTreeMap<u64, Value> = BTreeMap::new();
    for maker in makers.collect::<Vec<_>>() {
        for item in maker.await.unwrap() {
            let uid = item["metadata"]["uuid"].clone();
            let known = uids.insert(version(&item), uid.clone());
            assert!(known.is_none(), "version {} was had by {known:?} and {uid}", version(&item));
        }
    }
    assert!(uids.len() > 100, "the makers met: {} made", uids.len());
}

#[tokio::test]
async fn a_version_does_not_return_if_the_name_was_made_and_deleted_meanwhile() {
    let store = Arc::new(Meddler::default());
    let world = World::with(store.clone(), Limits::default());
    world.create_item("before", json!({})).await.unwrap();
    store.makes_and_removes.store(true, Ordering::SeqCst);
    let head = store.head().borrow().sequence;
    let item = world.create_item("one", json!({})).await.unwrap();
    // The meddler had the version that was free when the request came; its removal took the one after.
    assert!(version(&item) > head + 2, "version {} was had already", version(&item));
}

#[tokio::test]
async fn a_create_whose_twin_was_faster_gets_the_answer_of_its_twin() {
    let store = Arc::new(Meddler::default());
    let world = World::with(store.clone(), Limits::default());
    let create = |id: &str| {
        let request =
            json!({ "parent": "projects/p", "itemId": "one", "item": {}, "requestId": id });
        world.call("ItemService/CreateItem", request)
    };
    world.create_item("before", json!({})).await.unwrap();
    store.has_twin.store(true, Ordering::SeqCst);
    let made = create("once").await.unwrap();
    assert_eq!(create("once").await.unwrap(), made);
    assert_eq!(create("another").await.unwrap_err().code(), Code::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_first_cut_is_a_state_that_the_list_had() {
    let (world, _folder) = world();
    first_cuts_are_states(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_first_cut_waits_for_a_log_that_is_behind() {
    let store = Arc::new(Meddler::default());
    *store.log_delay.lock().unwrap() = std::time::Duration::from_millis(3);
    first_cuts_are_states(Arc::new(World::with(store, Limits::default()))).await;
}

/// A writer counts up a resource at the beginning of the list, and after each count adds one at its end. Whoever sees
/// the end at `n` must see the beginning at `n` at least.
async fn first_cuts_are_states(world: Arc<World>) {
    let put = |name: String, size: u64| {
        let item = json!({ "name": name, "size": size.to_string() });
        json!({ "item": item, "allowMissing": true, "updateMask": "size" })
    };
    // In between lie enough resources that the list takes several pages to read.
    for n in 0..600 {
        let request = put(format!("projects/m/items/i{n:03}"), 1);
        world.call("ItemService/UpdateItem", request).await.unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (world, done) = (world.clone(), done.clone());
        tokio::spawn(async move {
            let mut n = 0;
            while !done.load(Ordering::SeqCst) && n < 5_000 {
                n += 1;
                for name in ["projects/a/items/first".to_owned(), format!("projects/z/items/z{n}")]
                {
                    world.call("ItemService/UpdateItem", put(name, n)).await.unwrap();
                }
                // In memory nothing waits; the readers want their turn.
                tokio::task::yield_now().await;
            }
        })
    };
    for _ in 0..20 {
        let (first, last) = first_cut(&world).await;
        assert!(last <= first && first <= last + 1, "first at {first} while last at {last}");
    }
    done.store(true, Ordering::SeqCst);
    writer.await.unwrap();
}

/// Where the beginning and the end of the list are in the first state that a new watch calls current.
async fn first_cut(world: &World) -> (u64, u64) {
    let request = json!({ "parent": "projects/-", "type": "STATELESS" });
    let mut stream = world.stream("ItemService/WatchItems", request).await.unwrap();
    let (mut first, mut last) = (0, 0);
    loop {
        let message = stream.expect().await;
        for change in message["itemChanges"].as_array().cloned().unwrap_or_default() {
            let item = &change["current"]["item"];
            let size = item["size"].as_str().unwrap().parse().unwrap();
            match item["name"].as_str().unwrap() {
                name if name.starts_with("projects/a/") => first = size,
                name if name.starts_with("projects/z/") => last = last.max(size),
                _ => {}
            }
        }
        if message["isCurrent"] == true {
            return (first, last);
        }
    }
}
