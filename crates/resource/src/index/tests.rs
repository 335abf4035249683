//! Tests of declared indexes: no match is ever outside of the ranges, and the order is that of lists.

use std::sync::LazyLock;

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::filter::{Filter, Narrowed};
use crate::fixture::{device_type_with, message};
use crate::order::Order;

const PATHS: [&str; 15] = [
    "display_name",
    "big",
    "huge",
    "weight",
    "enabled",
    "state",
    "priority",
    "installed",
    "nickname",
    "network",
    "tags",
    "spec.interfaces.mac",
    "metadata.labels",
    "attributes.env",
    "payload",
];

/// Devices with indexes on all sorts of paths.
static TYPE: LazyLock<Arc<ResourceType>> = LazyLock::new(|| {
    device_type_with(|ty| ty.index = PATHS.iter().map(|path| (*path).to_owned()).collect())
});

static INDEXES: LazyLock<Vec<DeclaredIndex>> = LazyLock::new(|| DeclaredIndex::of_type(&TYPE));

fn document(json: &serde_json::Value) -> Document {
    Document::new(TYPE.clone(), message(&TYPE, &json.to_string()))
}

fn filter(text: &str) -> Filter {
    Filter::parse(text, &TYPE).unwrap_or_else(|error| panic!("{}", error.render()))
}

fn text() -> impl Strategy<Value = String> {
    let long = (0..3_u8).prop_map(|n| format!("{}{n}", "x".repeat(479 + usize::from(n))));
    prop_oneof![6 => "[ab\u{0}%é]{0,3}", 1 => long]
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "projects/p/networks/n",
        "projects/q/networks/n",
        "//things.test/projects/p/networks/n",
        "//other.test/projects/p/networks/n",
        "projects/-/networks/n",
        "n",
    ])
    .prop_map(str::to_owned)
}

fn time() -> impl Strategy<Value = String> {
    (-2..3_i64).prop_map(|s| jiff::Timestamp::from_second(s).unwrap().to_string())
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let numbers = (-2..3_i64, 0..3_u64, prop::option::of(-1..2_i32), 0..3_i32);
    let weight = prop::sample::select(vec!["NaN", "-Infinity", "-1.5", "-0", "0", "2.5"]);
    let texts = (text(), prop::option::of(text()), name());
    let lists = (prop::collection::vec(text(), 0..3), prop::collection::vec(text(), 0..3));
    let maps = prop::collection::hash_map("[ab]{1,2}", text(), 0..3);
    let env = prop::option::of(text());
    (numbers, weight, texts, lists, maps, env, prop::option::of(time()), any::<bool>()).prop_map(
        |(
            (big, huge, priority, state),
            weight,
            (title, nick, network),
            lists,
            labels,
            env,
            at,
            on,
        )| {
            let (tags, macs) = lists;
            let macs: Vec<_> = macs.iter().map(|mac| serde_json::json!({ "mac": mac })).collect();
            let mut json = serde_json::json!({
                "name": "projects/p/devices/d", "displayName": title, "big": big.to_string(),
                "huge": huge.to_string(), "state": state, "network": network, "enabled": on,
                "tags": tags, "metadata": { "labels": labels }, "spec": { "interfaces": macs },
            });
            json["weight"] = match weight.parse::<f64>() {
                Ok(number) if number.is_finite() => number.into(),
                _ => weight.into(),
            };
            let optional = [
                ("priority", priority.map(Into::into)),
                ("nickname", nick.map(Into::into)),
                ("installed", at.map(Into::into)),
                ("attributes", env.map(|env| serde_json::json!({ "env": env }))),
            ];
            for (field, value) in optional {
                if let Some(value) = value {
                    json[field] = value;
                }
            }
            json
        },
    )
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A condition on one of the paths.
fn condition() -> impl Strategy<Value = String> {
    let operator = || prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let value = || text().prop_map(|text| quoted(&text));
    let pattern = || "[ab%_*]{0,4}".prop_map(|text| quoted(&text));
    prop_oneof![
        (operator(), value()).prop_map(|(o, t)| format!("display_name {o} {t}")),
        pattern().prop_map(|t| format!("display_name = {t}")),
        pattern().prop_map(|t| format!("display_name LIKE {t}")),
        pattern().prop_map(|t| format!("display_name:{t}")),
        (value(), value()).prop_map(|(a, b)| format!("display_name IN [{a}, {b}]")),
        (operator(), -2..3_i64).prop_map(|(o, n)| format!("big {o} {n}")),
        (operator(), 0..3_i64).prop_map(|(o, n)| format!("huge {o} {n}")),
        (operator(), prop::sample::select(vec!["-1.5", "0", "-0.0", "NaN", "inf", "2.5"]))
            .prop_map(|(o, n)| format!("weight {o} {n}")),
        (operator(), -1..2_i32).prop_map(|(o, n)| format!("priority {o} {n}")),
        (operator(), 0..3_i32).prop_map(|(o, n)| format!("state {o} {n}")),
        any::<bool>().prop_map(|on| format!("enabled = {on}")),
        (operator(), time()).prop_map(|(o, t)| format!("installed {o} {}", quoted(&t))),
        (operator(), value()).prop_map(|(o, t)| format!("nickname {o} {t}")),
        (operator(), name()).prop_map(|(o, t)| format!("network {o} {}", quoted(&t))),
        (name(), name()).prop_map(|(a, b)| format!("network IN [{}, {}]", quoted(&a), quoted(&b))),
        value().prop_map(|t| format!("tags:{t}")),
        pattern().prop_map(|t| format!("tags:{t}")),
        (value(), value()).prop_map(|(a, b)| format!("tags CONTAINS ANY ({a}, {b})")),
        (value(), value()).prop_map(|(a, b)| format!("tags CONTAINS ALL ({a}, {b})")),
        value().prop_map(|t| format!("spec.interfaces.mac:{t}")),
        "[ab]{1,2}".prop_map(|key| format!("metadata.labels:{key}")),
        ("[ab]{1,2}", operator(), value())
            .prop_map(|(k, o, t)| format!("metadata.labels.{k} {o} {t}")),
        ("[ab]{1,2}", pattern()).prop_map(|(k, t)| format!("metadata.labels.{k} = {t}")),
        ("[ab]{1,2}", value()).prop_map(|(k, t)| format!("metadata.labels.{k}:{t}")),
        ("[ab]{1,2}", value()).prop_map(|(k, t)| format!("metadata.labels.{k} IN [{t}, b]")),
        pattern().prop_map(|t| format!("metadata.labels CONTAINS {t}")),
        (operator(), value()).prop_map(|(o, t)| format!("attributes.env {o} {t}")),
        (
            prop::sample::select(PATHS.to_vec()),
            prop::sample::select(vec![":*", " IS NULL", " IS NOT NULL"])
        )
            .prop_map(|(path, test)| format!("{path}{test}")),
    ]
}

fn conditions() -> impl Strategy<Value = String> {
    condition().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|all| format!("({})", all.join(" AND "))),
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|any| format!("({})", any.join(" OR "))),
            inner.prop_map(|not| format!("NOT ({not})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_match_is_outside_of_the_ranges(json in json(), text in conditions()) {
        let (document, filter) = (document(&json), filter(&text));
        if !filter.matches(&document) {
            return Ok(());
        }
        for index in INDEXES.iter() {
            let Some(narrowed) = filter.narrow(index) else { continue };
            let values = index.values(&document);
            prop_assert!(
                values.iter().any(|value| narrowed.bounds.contains(value)),
                "{} asks {narrowed:?} of {values:?}", index.path(),
            );
        }
    }

    #[test]
    fn an_index_is_in_the_order_of_the_list(a in json(), b in json()) {
        let (a, b) = (document(&a), document(&b));
        for index in INDEXES.iter().filter(|index| matches!(index.sort, Sort::One | Sort::Name)) {
            for direction in ["", " desc"] {
                let order = Order::parse(&format!("{}{direction}", index.path()), &TYPE).unwrap();
                let (path, descending) = order.single_field().unwrap();
                prop_assert!(index.orders(path));
                let entry = |document: &Document| {
                    let in_order = index.ordered_bounds();
                    let mut values = index.values(document).into_iter();
                    let value = values.find(|value| in_order.contains(value)).unwrap();
                    (value, document.name().to_owned())
                };
                // The key of a list leads back to the place in the index.
                let (key, entries) = (order.key(&a), (entry(&a), entry(&b)));
                prop_assert_eq!(order.field_and_name_in(&key), Some(entries.0.clone()));
                let by_index = entries.0.cmp(&entries.1);
                let by_index = if descending { by_index.reverse() } else { by_index };
                prop_assert_eq!(order.key(&a).cmp(&order.key(&b)), by_index);
            }
        }
    }

    #[test]
    fn bounds_are_sets(
        a in prop::collection::vec((0..9_u8, prop::option::of(0..9_u8)), 0..5),
        b in prop::collection::vec((0..9_u8, prop::option::of(0..9_u8)), 0..5),
        value in 0..9_u8,
    ) {
        let bounds = |ranges: &[(u8, Option<u8>)]| -> Bounds {
            let range = |(from, to): &(u8, Option<u8>)| {
                ByteRange { from: vec![*from], to: to.map(|to| vec![to]) }
            };
            ranges.iter().map(range).collect()
        };
        let has = |ranges: &[(u8, Option<u8>)]| {
            ranges.iter().any(|(from, to)| value >= *from && to.is_none_or(|to| value < to))
        };
        let (x, y) = (bounds(&a), bounds(&b));
        prop_assert_eq!(x.contains(&[value]), has(&a));
        prop_assert_eq!(x.and(&y).contains(&[value]), has(&a) && has(&b));
        prop_assert_eq!(x.clone().or(y).contains(&[value]), has(&a) || has(&b));
        let ranges = x.ranges().windows(2);
        prop_assert!(ranges.into_iter().all(|pair| pair[0].to.as_ref().is_some_and(|to| *to <= pair[1].from)));
    }

    #[test]
    fn values_fit_into_entries(json in json()) {
        for index in INDEXES.iter() {
            let values = index.values(&document(&json));
            prop_assert!(!values.is_empty());
            prop_assert!(values.iter().all(|value| value.len() <= VALUE_BYTES_MAX));
        }
    }
}

#[test]
fn what_filters_ask_of_indexes() {
    let asked = |text: &str| {
        let filter = filter(text);
        let each = INDEXES.iter().filter_map(|index| {
            let Narrowed { bounds, conditions } = filter.narrow(index)?;
            let sort = if bounds.are_points() { "points" } else { "ranges" };
            Some(format!("{} {sort} by {conditions}", bounds.ranges().len()))
        });
        let each: Vec<_> = each.collect();
        format!(
            "{text} -> {}",
            if each.is_empty() { "nothing".to_owned() } else { each.join("; ") }
        )
    };
    let all = [
        "display_name = a",
        "display_name = \"a*\"",
        "display_name:a",
        "display_name = a AND big > 3 AND big <= 7",
        "big = 1 AND big = 2",
        "big IN [1, 2, 3] OR big = 9",
        "big = 1 OR display_name = a",
        "NOT big = 1",
        "big != 1",
        "installed IS NULL",
        "installed:*",
        "big:*",
        "network = \"projects/p/networks/n\"",
        "network = \"projects/-/networks/n\"",
        "tags:a AND tags:b",
        "metadata.labels.env = prod",
        "metadata.labels.env = \"\"",
        "metadata.labels:env",
        "attributes.env = \"\"",
        "spec.model = x",
        "word",
    ]
    .map(asked)
    .join("\n");
    expect![[r#"
        display_name = a -> 1 points by display_name = a
        display_name = "a*" -> 1 ranges by display_name = "a*"
        display_name:a -> nothing
        display_name = a AND big > 3 AND big <= 7 -> 1 points by display_name = a; 1 ranges by big > 3 AND big <= 7
        big = 1 AND big = 2 -> 0 points by big = 1 AND big = 2
        big IN [1, 2, 3] OR big = 9 -> 4 points by big IN (1, 2, 3) OR big = 9
        big = 1 OR display_name = a -> nothing
        NOT big = 1 -> nothing
        big != 1 -> nothing
        installed IS NULL -> 1 points by installed IS NULL
        installed:* -> 1 ranges by installed:*
        big:* -> nothing
        network = "projects/p/networks/n" -> 2 points by network = "projects/p/networks/n"
        network = "projects/-/networks/n" -> 2 ranges by network = "projects/-/networks/n"
        tags:a AND tags:b -> 2 points by tags:a
        metadata.labels.env = prod -> 2 points by metadata.labels.env = prod
        metadata.labels.env = "" -> nothing
        metadata.labels:env -> 2 ranges by metadata.labels:"env"
        attributes.env = "" -> 2 points by attributes.env = ""
        spec.model = x -> nothing
        word -> nothing"#]].assert_eq(&all);
}

#[test]
fn paths_that_cannot_be_indexed_are_left_out() {
    let ty = device_type_with(|ty| {
        ty.index = ["spec", "spec.interfaces", "nothing", "big"].map(str::to_owned).to_vec();
    });
    let paths: Vec<_> = DeclaredIndex::of_type(&ty).iter().map(DeclaredIndex::path).collect();
    assert_eq!(paths, ["big"]);
}

#[test]
fn an_index_is_called_the_same_as_long_as_it_means_the_same() {
    let names: Vec<_> = INDEXES.iter().map(DeclaredIndex::name).collect();
    expect![[r#"
        things.test/Device#display_name:text1
        things.test/Device#big:number1
        things.test/Device#huge:number1
        things.test/Device#weight:float1
        things.test/Device#enabled:bool1
        things.test/Device#state:number1
        things.test/Device#priority:number1
        things.test/Device#installed:time1
        things.test/Device#nickname:text1
        things.test/Device#network:name1
        things.test/Device#tags:list-text1
        things.test/Device#spec.interfaces.mac:list-text1
        things.test/Device#metadata.labels:map-text-text1
        things.test/Device#attributes.env:text1
        things.test/Device#payload:bytes1"#]]
    .assert_eq(&names.join("\n"));
}

#[test]
fn a_resource_with_too_many_values_is_in_every_answer() {
    let tags: Vec<_> = (0..10_000).map(|n| format!("tag{n}")).collect();
    let document = document(&serde_json::json!({ "tags": tags }));
    let index = INDEXES.iter().find(|index| index.path() == "tags").unwrap();
    let values = index.values(&document);
    assert_eq!(values.len(), 1);
    let narrowed = filter("tags:tag9999").narrow(index).unwrap();
    assert!(values.iter().all(|value| narrowed.bounds.contains(value)));
}
