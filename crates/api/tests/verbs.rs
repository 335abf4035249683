//! The standard methods over a store in memory: what each promises, one fact a test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bowline_api::limits::Limits;
use bowline_base::{Code, Reason};
use serde_json::{Value, json};
use support::{World, names};

#[tokio::test]
async fn a_created_resource_is_read_back_with_its_metadata() {
    let world = World::new();
    let item = json!({ "displayName": "One", "size": "7", "state": "FORGED" });
    let created = world.create_item("one", item).await.unwrap();
    assert_eq!(created["name"], "projects/p/items/one");
    assert_eq!(created["metadata"]["generation"], "1");
    assert!(created["metadata"]["uuid"].as_str().is_some_and(|uid| uid.len() == 36));
    assert_eq!(created["state"], Value::Null, "output only");
    let request = json!({ "name": "projects/p/items/one" });
    assert_eq!(world.call("ItemService/GetItem", request).await.unwrap(), created);
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let world = World::new();
    world.create_item("one", json!({})).await.unwrap();
    let refused = world.create_item("one", json!({})).await.unwrap_err();
    assert_eq!(refused.reason, Reason::ResourceExists);
}

#[tokio::test]
async fn a_name_is_generated_from_the_display_name() {
    let world = World::new();
    let item = json!({ "displayName": "Edge Router 7" });
    let created = world.create_item("", item).await.unwrap();
    let name = created["name"].as_str().unwrap();
    assert!(name.starts_with("projects/p/items/edge-router-7-"), "{name}");
}

#[tokio::test]
async fn a_resource_made_anew_has_a_higher_version_and_another_uid() {
    let world = World::new();
    let version =
        |item: &Value| item["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>();
    let old = world.create_item("one", json!({})).await.unwrap();
    world.call("ItemService/DeleteItem", json!({ "name": old["name"] })).await.unwrap();
    let new = world.create_item("one", json!({})).await.unwrap();
    assert!(version(&new).unwrap() > version(&old).unwrap());
    assert_ne!(new["metadata"]["uuid"], old["metadata"]["uuid"]);
}

#[tokio::test]
async fn an_update_with_a_mask_changes_only_what_it_names() {
    let world = World::new();
    world.create_item("one", json!({ "displayName": "One", "color": "red" })).await.unwrap();
    let item = json!({ "name": "projects/p/items/one", "displayName": "Two", "color": "blue" });
    let request = json!({ "item": item, "updateMask": "color" });
    let updated = world.call("ItemService/UpdateItem", request).await.unwrap();
    assert_eq!((&updated["displayName"], &updated["color"]), (&json!("One"), &json!("blue")));
    assert_eq!(updated["metadata"]["generation"], "2");
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let world = World::new();
    let created = world.create_item("one", json!({ "color": "red" })).await.unwrap();
    let item = json!({ "name": "projects/p/items/one", "color": "red" });
    let request = json!({ "item": item, "updateMask": "color" });
    assert_eq!(world.call("ItemService/UpdateItem", request).await.unwrap(), created);
}

#[tokio::test]
async fn an_update_on_an_old_version_is_refused() {
    let world = World::new();
    let old = world.create_item("one", json!({ "color": "red" })).await.unwrap();
    let version = old["metadata"]["resourceVersion"].clone();
    let update = |color: &str| {
        let item = json!({ "name": "projects/p/items/one", "color": color });
        json!({ "item": item, "updateMask": "color", "etag": version })
    };
    world.call("ItemService/UpdateItem", update("blue")).await.unwrap();
    let refused = world.call("ItemService/UpdateItem", update("green")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    let cas = json!({ "conditionalState": { "color": "red" }, "fieldMask": "color" });
    let item = json!({ "name": "projects/p/items/one", "color": "green" });
    let request = json!({ "item": item, "updateMask": "color", "cas": cas });
    let refused = world.call("ItemService/UpdateItem", request).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Conflict);
}

#[tokio::test]
async fn allow_missing_creates_and_deletes_without_complaint() {
    let world = World::new();
    let request = json!({ "item": { "name": "projects/p/items/new" }, "allowMissing": true });
    world.call("ItemService/UpdateItem", request).await.unwrap();
    let delete = json!({ "name": "projects/p/items/new" });
    world.call("ItemService/DeleteItem", delete.clone()).await.unwrap();
    let gone = world.call("ItemService/DeleteItem", delete.clone()).await.unwrap_err();
    assert_eq!(gone.reason, Reason::ResourceNotFound);
    let lenient = json!({ "name": "projects/p/items/new", "allowMissing": true });
    world.call("ItemService/DeleteItem", lenient).await.unwrap();
}

#[tokio::test]
async fn validate_only_answers_and_writes_nothing() {
    let world = World::new();
    let request =
        json!({ "parent": "projects/p", "itemId": "one", "item": {}, "validateOnly": true });
    let answer = world.call("ItemService/CreateItem", request).await.unwrap();
    assert_eq!(answer["name"], "projects/p/items/one");
    assert_eq!(names(&world.list(json!({ "parent": "projects/p" })).await.unwrap()).len(), 0);
}

#[tokio::test]
async fn a_repeated_request_id_gets_the_first_answer_and_another_content_is_refused() {
    let world = World::new();
    let request = |title: &str| {
        let id = "5a0e4ab2-0000-4000-8000-000000000001";
        json!({ "parent": "projects/p", "item": { "displayName": title }, "requestId": id })
    };
    let first = world.call("ItemService/CreateItem", request("a")).await.unwrap();
    let again = world.call("ItemService/CreateItem", request("a")).await.unwrap();
    assert_eq!(first, again);
    let refused = world.call("ItemService/CreateItem", request("b")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::RequestIdReused);
    assert_eq!(names(&world.list(json!({ "parent": "projects/p" })).await.unwrap()).len(), 1);
}

#[tokio::test]
async fn immutable_fields_and_malformed_references_are_refused_with_their_place() {
    let world = World::new();
    world.create_item("one", json!({ "serial": "s1" })).await.unwrap();
    let item = json!({ "name": "projects/p/items/one", "serial": "s2" });
    let request = json!({ "item": item, "updateMask": "serial" });
    let refused = world.call("ItemService/UpdateItem", request).await.unwrap_err();
    assert!(refused.message.contains("serial"), "{refused}");
    let refused = world.create_item("two", json!({ "friend": "nonsense" })).await.unwrap_err();
    assert_eq!(refused.reason, Reason::InvalidReference);
    assert!(refused.message.starts_with("item.friend"), "{refused}");
}

#[tokio::test]
async fn pages_cover_the_list_once_in_every_order_and_back_again() {
    let world = World::new();
    for n in 0..23 {
        let item = json!({ "size": (n * 7 % 10).to_string(), "color": if n % 2 == 0 { "red" } else { "blue" } });
        world.create_item(&format!("i{n:02}"), item).await.unwrap();
    }
    for order in ["", "name desc", "size", "size desc, name", "color, size desc"] {
        let whole = json!({ "parent": "projects/p", "orderBy": order, "pageSize": 1000 });
        let whole = names(&world.list(whole).await.unwrap());
        assert_eq!(whole.len(), 23);
        let (mut seen, mut token) = (Vec::new(), String::new());
        let back = loop {
            let request = json!({ "parent": "projects/p", "orderBy": order, "pageSize": 5, "pageToken": token });
            let page = world.list(request).await.unwrap();
            seen.extend(names(&page));
            token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break page["prevPageToken"].as_str().unwrap_or_default().to_owned();
            }
        };
        assert_eq!(seen, whole, "order {order:?}");
        let request =
            json!({ "parent": "projects/p", "orderBy": order, "pageSize": 5, "pageToken": back });
        assert_eq!(names(&world.list(request).await.unwrap()), whole[15..20], "back, {order:?}");
    }
}

#[tokio::test]
async fn a_page_token_fits_only_its_query() {
    let world = World::new();
    for n in 0..3 {
        world.create_item(&format!("i{n}"), json!({})).await.unwrap();
    }
    let page = world.list(json!({ "parent": "projects/p", "pageSize": 1 })).await.unwrap();
    let token = page["nextPageToken"].clone();
    let other = json!({ "parent": "projects/p", "filter": "size > 3", "pageToken": token });
    assert_eq!(world.list(other).await.unwrap_err().reason, Reason::InvalidPageToken);
    let damaged = json!({ "parent": "projects/p", "pageToken": "!!!" });
    assert_eq!(world.list(damaged).await.unwrap_err().reason, Reason::InvalidPageToken);
}

#[tokio::test]
async fn filters_narrow_and_their_errors_say_where() {
    let world = World::new();
    for n in 0..10 {
        let item = json!({ "size": n.to_string(), "color": if n < 3 { "red" } else { "blue" } });
        world.create_item(&format!("i{n}"), item).await.unwrap();
    }
    let filter = |text: &str| json!({ "parent": "projects/-", "filter": text });
    let found = world.list(filter("color = \"red\" AND size >= 1")).await.unwrap();
    assert_eq!(names(&found), ["projects/p/items/i1", "projects/p/items/i2"]);
    let refused = world.list(filter("size = \"many\"")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::InvalidFilter);
    let refused = world.list(filter("colour = \"red\"")).await.unwrap_err();
    assert!(refused.message.contains("colour"), "{refused}");
}

#[tokio::test]
async fn masks_and_paging_info_are_answered() {
    let world = World::new();
    for n in 0..5 {
        world.create_item(&format!("i{n}"), json!({ "color": "red", "size": "1" })).await.unwrap();
    }
    let request = json!({ "parent": "projects/p", "pageSize": 2, "fieldMask": "color", "includePagingInfo": true });
    let page = world.list(request).await.unwrap();
    assert_eq!(page["items"][0]["color"], "red");
    assert_eq!(page["items"][0]["size"], Value::Null);
    assert_eq!(page["totalResultsCount"], 5);
}

#[tokio::test]
async fn batch_get_names_what_is_missing() {
    let world = World::new();
    world.create_item("a", json!({})).await.unwrap();
    let names = ["projects/p/items/a", "projects/p/items/b", "projects/p/items/a"];
    let found = world.call("ItemService/BatchGetItems", json!({ "names": names })).await.unwrap();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["missing"], json!(["projects/p/items/b"]));
}

#[tokio::test]
async fn a_resource_beyond_the_limit_is_refused() {
    let limits = Limits { resource_bytes_max: 1000, ..Limits::default() };
    let world = World::with(std::sync::Arc::new(bowline_store::Memory::new()), limits);
    let item = json!({ "displayName": "x".repeat(2000) });
    let refused = world.create_item("big", item).await.unwrap_err();
    assert_eq!(refused.reason, Reason::LimitExceeded);
}

#[tokio::test]
async fn concurrent_updates_without_preconditions_are_all_kept() {
    let world = World::new();
    world.create_item("one", json!({})).await.unwrap();
    let label = |n: usize| {
        let labels = json!({ format!("k{n}"): "v" });
        let item = json!({ "name": "projects/p/items/one", "metadata": { "labels": labels } });
        json!({ "item": item, "updateMask": format!("metadata.labels.k{n}") })
    };
    let updates = (0..8).map(|n| world.call("ItemService/UpdateItem", label(n)));
    for updated in futures::future::join_all(updates).await {
        updated.unwrap();
    }
    let one = json!({ "name": "projects/p/items/one" });
    let one = world.call("ItemService/GetItem", one).await.unwrap();
    assert_eq!(one["metadata"]["labels"].as_object().map(serde_json::Map::len), Some(8));
}
