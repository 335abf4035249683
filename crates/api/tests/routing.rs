//! Requests between regions: real engines, joined without sockets.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline_api::engine::explain::Explain;
use bowline_api::handler::Context;
use bowline_api::limits::Limits;
use bowline_base::Reason;
use bowline_node::peers::headers;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::regions::{REGIONS, Regions, answer_header, context};
use support::{World, names};

/// A project in each region: `projects/p-eu` is owned in eu.
async fn world() -> Regions {
    let world = Regions::new();
    for region in REGIONS {
        world.owners.projects.lock().unwrap().insert(format!("projects/p-{region}"), region);
    }
    world
}

#[tokio::test]
async fn a_write_and_a_read_go_to_the_owner_in_one_hop_and_nowhere_else() {
    let world = world().await;
    let made = world.create("eu", "projects/p-us", "one", json!({ "color": "red" })).await.unwrap();
    assert_eq!(made["name"], "projects/p-us/items/one");
    assert_eq!(world.network.take_calls(), ["eu>us CreateItem forwarded"]);
    assert_eq!(world.stored("us").await, ["projects/p-us/items/one"]);
    assert!(world.stored("eu").await.is_empty());
    let request = json!({ "name": "projects/p-us/items/one" });
    let got = world.at("ap").call("ItemService/GetItem", request.clone()).await.unwrap();
    assert_eq!(got["color"], "red");
    let update = json!({ "item": { "name": "projects/p-us/items/one", "color": "blue" } });
    let updated = world.at("ap").call("ItemService/UpdateItem", update).await.unwrap();
    assert_eq!(updated["color"], "blue");
    world.at("eu").call("ItemService/DeleteItem", request).await.unwrap();
    assert!(world.stored("us").await.is_empty());
    let calls = world.network.take_calls();
    assert_eq!(
        calls,
        ["ap>us GetItem forwarded", "ap>us UpdateItem forwarded", "eu>us DeleteItem forwarded"]
    );
    world.create("us", "projects/p-us", "two", json!({})).await.unwrap();
    assert!(world.network.take_calls().is_empty(), "what is owned here goes nowhere");
}

#[tokio::test]
async fn a_name_with_a_region_belongs_to_it() {
    let world = world().await;
    let made = world.create("eu", "projects/p-eu/regions/ap", "one", json!({})).await.unwrap();
    assert_eq!(made["name"], "projects/p-eu/regions/ap/items/one");
    assert_eq!(world.stored("ap").await, ["projects/p-eu/regions/ap/items/one"]);
}

#[tokio::test]
async fn errors_of_the_owner_are_those_of_the_request() {
    let world = world().await;
    let request = json!({ "name": "projects/p-us/items/none" });
    let there = world.at("us").call("ItemService/GetItem", request.clone()).await.unwrap_err();
    let here = world.at("eu").call("ItemService/GetItem", request).await.unwrap_err();
    assert_eq!(here, there);
    let bad = json!({ "name": "nonsense" });
    let bad = world.at("eu").call("ItemService/GetItem", bad).await.unwrap_err();
    assert_eq!(bad.reason, Reason::InvalidName);
}

#[tokio::test]
async fn a_repeated_request_with_an_id_is_answered_once_whatever_region_it_arrives_in() {
    let world = world().await;
    let request = json!({
        "parent": "projects/p-us", "itemId": "one", "item": {}, "requestId": "r-1"
    });
    let first = world.at("eu").call("ItemService/CreateItem", request.clone()).await.unwrap();
    let second = world.at("ap").call("ItemService/CreateItem", request).await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_disagreement_is_refused_by_the_one_and_settled_by_the_other() {
    let world = world().await;
    let mistake = |region: &str, owner| {
        let key = (region.to_owned(), "projects/p-us".to_owned());
        world.owners.mistaken.lock().unwrap().insert(key, owner);
    };
    mistake("eu", "ap");
    world.create("eu", "projects/p-us", "one", json!({})).await.unwrap();
    let calls = world.network.take_calls();
    assert_eq!(calls, ["eu>ap CreateItem forwarded", "eu>us CreateItem forwarded"]);
    // The owner itself is wrong: it asks anew before it refuses.
    mistake("us", "ap");
    world.create("eu", "projects/p-us", "two", json!({})).await.unwrap();
    assert_eq!(world.network.take_calls(), ["eu>us CreateItem forwarded"]);
    assert_eq!(world.stored("us").await.len(), 2);
}

#[tokio::test]
async fn a_forwarded_request_never_goes_on() {
    let world = world().await;
    let mut context = context(&[(headers::FORWARDED, "1")]);
    context.caller = Some("test.example.com@eu".parse().unwrap());
    let request = json!({ "name": "projects/p-us/items/one" });
    let refused = world.call_with("ap", "ItemService/GetItem", request, &context).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason, Reason::NotOwned);
    assert_eq!(refused.metadata["region"], "us");
    assert_eq!(refused.metadata["epoch"], "1");
    assert!(world.network.take_calls().is_empty());
}

#[tokio::test]
async fn an_owner_that_is_cut_off_is_named_in_time_and_others_go_on() {
    let world = world().await;
    world.network.cut("us");
    let away = world.create("eu", "projects/p-us", "one", json!({})).await.unwrap_err();
    assert_eq!(away.reason, Reason::Unavailable);
    assert_eq!(away.metadata["region"], "us");
    world.create("eu", "projects/p-ap", "one", json!({})).await.unwrap();
    world.create("eu", "projects/p-eu", "one", json!({})).await.unwrap();
    // Nobody reaches it, but it owns what it owns.
    world.create("us", "projects/p-us", "one", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_batch_get_asks_each_owner_once_and_answers_in_order() {
    let world = world().await;
    for region in REGIONS {
        for id in ["a", "b"] {
            world.create(region, &format!("projects/p-{region}"), id, json!({})).await.unwrap();
        }
    }
    let wanted = [
        "projects/p-us/items/b",
        "projects/p-ap/items/a",
        "projects/p-us/items/none",
        "projects/nowhere/items/a",
        "projects/p-us/items/a",
        "projects/p-eu/items/a",
    ];
    let request = json!({ "names": wanted });
    world.network.take_calls();
    let answer = world.at("eu").call("ItemService/BatchGetItems", request).await.unwrap();
    let found: Vec<_> = answer["items"].as_array().unwrap().iter().map(|i| &i["name"]).collect();
    assert_eq!(found, [wanted[0], wanted[1], wanted[4], wanted[5]]);
    assert_eq!(answer["missing"], json!([wanted[2], wanted[3]]));
    let calls: BTreeSet<_> = world.network.take_calls().into_iter().collect();
    let expected = ["eu>ap BatchGetItems forwarded", "eu>us BatchGetItems forwarded"];
    assert_eq!(calls.into_iter().collect::<Vec<_>>(), expected);
}

async fn list(world: &World, request: Value) -> (Vec<String>, Value) {
    let answer = world.list(request).await.unwrap();
    (names(&answer), answer)
}

#[tokio::test]
async fn a_list_without_a_region_says_so_and_its_pages_stay_without_it() {
    let world = world().await;
    for region in REGIONS {
        for id in ["a", "b"] {
            world.create(region, &format!("projects/p-{region}"), id, json!({})).await.unwrap();
        }
    }
    world.network.cut("us");
    let first = json!({ "parent": "projects/-", "pageSize": 3, "includePagingInfo": true });
    let context = Context::default();
    let page = world.call_with("eu", "ItemService/ListItems", first, &context).await.unwrap();
    assert_eq!(
        names(&page),
        ["projects/p-ap/items/a", "projects/p-ap/items/b", "projects/p-eu/items/a"]
    );
    assert_eq!(page["totalResultsCount"], 4);
    assert_eq!(answer_header(&context, headers::UNREACHABLE).as_deref(), Some("us"));
    // The region is back, but the walk that began without it goes on without it, and still says so.
    world.network.heal("us");
    let token = page["nextPageToken"].as_str().unwrap();
    let second = json!({ "parent": "projects/-", "pageSize": 3, "pageToken": token });
    let context = Context::default();
    let page = world.call_with("ap", "ItemService/ListItems", second, &context).await.unwrap();
    assert_eq!(names(&page), ["projects/p-eu/items/b"]);
    assert!(page.get("nextPageToken").is_none());
    assert_eq!(answer_header(&context, headers::UNREACHABLE).as_deref(), Some("us"));
    let (all, _) = list(world.at("eu"), json!({ "parent": "projects/-" })).await;
    assert_eq!(all.len(), 6);
}

#[tokio::test]
async fn a_merged_list_is_explained_region_by_region() {
    let world = world().await;
    for (n, region) in REGIONS.iter().enumerate() {
        for id in 0..=n {
            let (parent, id) = (format!("projects/p-{region}"), format!("i{id}"));
            world.create(region, &parent, &id, json!({})).await.unwrap();
        }
    }
    let context = Context { explain: Explain::of_header(Some("true")), ..Context::default() };
    let request = json!({ "parent": "projects/-", "pageSize": 5 });
    world.call_with("eu", "ItemService/ListItems", request, &context).await.unwrap();
    let explained: Value = serde_json::from_str(context.explain.header().unwrap()).unwrap();
    assert_eq!(explained["rows_returned"], 5);
    assert_eq!(explained["rows_looked_at"], 6);
    let ways = explained["ways"].as_array().unwrap().iter();
    let found: BTreeMap<_, _> = ways
        .map(|way| (way["region"].as_str().unwrap(), way["rows_looked_at"].as_u64().unwrap()))
        .collect();
    let expected: BTreeMap<_, _> = REGIONS.iter().copied().zip([1, 2, 3]).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_list_of_which_no_region_can_be_asked_fails() {
    let world = world().await;
    world.network.cut("us");
    let request = json!({ "parent": "projects/p-eu/regions/us" });
    let away = world.at("eu").list(request).await.unwrap_err();
    assert_eq!((away.reason, away.metadata["region"].as_str()), (Reason::Unavailable, "us"));
    let empty = json!({ "parent": "projects/nowhere" });
    assert!(list(world.at("eu"), empty).await.0.is_empty());
}

#[tokio::test]
async fn a_region_that_is_silent_costs_a_list_its_share_and_not_the_answer() {
    let limits = Limits { request_deadline: Duration::from_millis(400), ..Limits::default() };
    let world = Regions::with(limits);
    world.create("eu", "projects/p", "one", json!({})).await.unwrap();
    world.network.mute("us");
    let context = Context::default();
    let request = json!({ "parent": "projects/-" });
    let page = world.call_with("eu", "ItemService/ListItems", request, &context).await.unwrap();
    assert_eq!(names(&page), ["projects/p/items/one"]);
    assert_eq!(answer_header(&context, headers::UNREACHABLE).as_deref(), Some("us"));
}

#[tokio::test]
async fn a_write_says_where_it_is_and_a_read_that_presents_it_is_not_older() {
    let world = world().await;
    let write = Context::default();
    let request = json!({ "parent": "projects/p-us", "itemId": "one", "item": {} });
    world.call_with("eu", "ItemService/CreateItem", request, &write).await.unwrap();
    let token = answer_header(&write, headers::CONSISTENCY_TOKEN).unwrap();
    let get = json!({ "name": "projects/p-us/items/one" });
    for region in REGIONS {
        let context = context(&[(headers::CONSISTENCY_TOKEN, &token)]);
        world.call_with(region, "ItemService/GetItem", get.clone(), &context).await.unwrap();
    }
    let damaged = context(&[(headers::CONSISTENCY_TOKEN, "abc")]);
    let refused = world.call_with("eu", "ItemService/GetItem", get.clone(), &damaged).await;
    assert_eq!(refused.unwrap_err().reason, Reason::InvalidConsistencyToken);
    // The store is replaced by one of a later era: what the token says is nothing of its history.
    let later = bowline_store::Position { era: 9, sequence: 1_000 };
    world.backends["us"].start_at(later).await.unwrap();
    let presented = context(&[(headers::CONSISTENCY_TOKEN, &token)]);
    let refused = world.call_with("ap", "ItemService/GetItem", get, &presented).await;
    assert_eq!(refused.unwrap_err().reason, Reason::InvalidConsistencyToken);
}

#[tokio::test]
async fn a_read_waits_until_the_store_is_where_its_token_says_and_not_for_ever() {
    let (ahead, behind) = (world().await, world().await);
    let write = Context::default();
    for n in 0..20 {
        let id = format!("i{n}");
        let request = json!({ "parent": "projects/p-us", "itemId": id, "item": {} });
        ahead.call_with("us", "ItemService/CreateItem", request, &write).await.unwrap();
    }
    let token = answer_header(&write, headers::CONSISTENCY_TOKEN).unwrap();
    behind.create("us", "projects/p-us", "one", json!({})).await.unwrap();
    // The same token at a store that has not got there: as a second process of a deployment may be.
    let request = json!({ "parent": "projects/p-us" });
    let mut presented = context(&[(headers::CONSISTENCY_TOKEN, &token)]);
    presented.deadline = Some(Duration::from_millis(60));
    let get = json!({ "name": "projects/p-us/items/one" });
    let late = behind.call_with("us", "ItemService/GetItem", get, &presented).await;
    assert_eq!(late.as_ref().unwrap_err().reason, Reason::Unavailable, "{late:?}");
    presented.deadline = None;
    let read = behind.call_with("eu", "ItemService/ListItems", request, &presented);
    let writes = async {
        for n in 0..20 {
            behind.create("us", "projects/p-us", &format!("i{n}"), json!({})).await.unwrap();
        }
    };
    let (read, ()) = tokio::join!(read, writes);
    assert!(names(&read.unwrap()).len() > 10, "what was written before the position is there");
}

#[tokio::test]
async fn an_action_goes_where_the_resource_that_it_names_is_owned() {
    let world = world().await;
    for (name, region) in [
        ("projects/p-us/items/one", "us"),
        ("projects/p-eu/regions/ap/items/one", "ap"),
        ("projects/p-eu/items/one", "eu"),
        ("no name of anything", "eu"),
        ("", "eu"),
    ] {
        let answer = world.at("eu").call("Operations/Ping", json!({ "name": name })).await.unwrap();
        assert_eq!(answer["region"], region, "{name:?}");
    }
}

#[derive(Clone, Debug)]
struct Made {
    project: u8,
    id: String,
    size: i64,
    color: &'static str,
}

fn made() -> impl Strategy<Value = Vec<Made>> {
    let one = (0u8..4, "[a-c]{1,2}", -2i64..3, prop_oneof![Just(""), Just("red"), Just("blue")])
        .prop_map(|(project, id, size, color)| Made { project, id: format!("i{id}"), size, color });
    prop::collection::vec(one, 0..24)
}

/// Every page of a list forwards, then back again from the last page: rows, total, offset.
async fn walk(world: &World, request: &Value) -> Vec<(Vec<Value>, Value, Value)> {
    let (mut pages, mut token) = (Vec::new(), String::new());
    for direction in ["nextPageToken", "prevPageToken"] {
        loop {
            let mut request = request.clone();
            request["pageToken"] = json!(token);
            let page = world.list(request).await.unwrap();
            let items = page["items"].as_array().cloned().unwrap_or_default();
            let plain = |item: &Value| json!([item["name"], item["size"], item["color"]]);
            let rows = items.iter().map(plain).collect();
            pages.push((rows, page["totalResultsCount"].clone(), page["currentOffset"].clone()));
            let text = |field: &str| page[field].as_str().unwrap_or_default().to_owned();
            token = text(direction);
            if token.is_empty() {
                // From the last page on the way goes back.
                token = text("prevPageToken");
                break;
            }
        }
        if token.is_empty() {
            break;
        }
    }
    pages
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whoever owns what, a list over regions is the list of one store with everything in it.
    #[test]
    fn a_merged_list_is_that_of_one_store(
        made in made(),
        owners in prop::collection::vec(0usize..3, 4),
        order in prop_oneof![
            Just(""), Just("name desc"), Just("size"), Just("color desc, size"), Just("size desc, name")
        ],
        filter in prop_oneof![Just(""), Just("size >= 0"), Just("color = \"red\"")],
        size in 1usize..7,
        masked: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (apart, together) = (Regions::new(), Regions::new());
            for (project, owner) in owners.iter().enumerate() {
                let mut projects = apart.owners.projects.lock().unwrap();
                projects.insert(format!("projects/p{project}"), REGIONS[*owner]);
            }
            for (n, item) in made.iter().enumerate() {
                let parent = format!("projects/p{}", item.project);
                let body = json!({ "size": item.size.to_string(), "color": item.color });
                // Requests arrive anywhere.
                let there = apart.create(REGIONS[n % 3], &parent, &item.id, body.clone()).await;
                let here = together.create("eu", &parent, &item.id, body).await;
                assert_eq!(there.is_ok(), here.is_ok());
            }
            let mut request = json!({
                "parent": "projects/-", "orderBy": order, "filter": filter, "pageSize": size,
                "includePagingInfo": true,
            });
            if masked {
                request["fieldMask"] = json!("displayName");
            }
            together.owners.enabled.lock().unwrap().replace(BTreeSet::from(["eu".into()]));
            let expected = walk(together.at("eu"), &request).await;
            assert_eq!(walk(apart.at("eu"), &request).await, expected);
        });
    }
}
