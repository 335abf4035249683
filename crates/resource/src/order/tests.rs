//! Tests of orders: what parses, and that keys compare as values do.

use std::cmp::Ordering;

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::fixture::{device, device_type};

fn order(text: &str) -> Order {
    Order::parse(text, &device_type()).unwrap()
}

/// The names of the devices in this order.
fn sorted(text: &str, devices: &[&str]) -> String {
    let order = order(text);
    let mut rows: Vec<_> = devices.iter().map(|json| device(json)).collect();
    rows.sort_by_key(|row| order.key(row));
    rows.iter().map(|row| row.name()).collect::<Vec<_>>().join(" ")
}

#[test]
fn orders_print_in_one_form() {
    let print = |text: &str| match Order::parse(text, &device_type()) {
        Ok(order) => order.to_string(),
        Err(error) => error.to_string(),
    };
    let all = [
        "",
        "name",
        "name desc",
        "displayName",
        "spec.model DESC, big",
        "big desc, big asc",
        "name, big desc",
        "metadata.labels.env",
        "nickname",
        "installed,lease desc",
        "big up",
        "big,",
        ",",
        "nothing",
        "spec",
        "tags",
        "metadata.labels",
        "spec.interfaces.mac",
        "big  desc  x",
    ]
    .map(|text| format!("{text} -> {}", print(text)))
    .join("\n");
    expect![[r#"
         -> name asc
        name -> name asc
        name desc -> name desc
        displayName -> display_name asc, name asc
        spec.model DESC, big -> spec.model desc, big asc, name asc
        big desc, big asc -> big desc, name asc
        name, big desc -> name asc
        metadata.labels.env -> metadata.labels.env asc, name asc
        nickname -> nickname asc, name asc
        installed,lease desc -> installed asc, lease desc, name desc
        big up -> expected "asc", "desc" or ",", found "up" at byte 4
        big, -> expected a field at byte 4
        , -> expected a field at byte 0
        nothing -> Device has no field "nothing" at byte 0
        spec -> "spec" cannot be ordered: it is a message, name a field of it at byte 0
        tags -> "tags" cannot be ordered: it is a list at byte 0
        metadata.labels -> "metadata.labels" cannot be ordered: it is a map, name a key of it at byte 0
        spec.interfaces.mac -> "spec.interfaces.mac" cannot be ordered: it passes through a list at byte 0
        big  desc  x -> expected "asc", "desc" or ",", found "desc  x" at byte 4"#]].assert_eq(&all);
}

#[test]
fn absent_values_are_first_ascending_and_last_descending() {
    let rows = [
        r#"{"name": "b", "installed": "2020-01-01T00:00:00Z"}"#,
        r#"{"name": "a"}"#,
        r#"{"name": "c", "installed": "1960-01-01T00:00:00Z"}"#,
    ];
    assert_eq!(sorted("installed", &rows), "a c b");
    assert_eq!(sorted("installed desc", &rows), "b c a");
}

#[test]
fn the_name_decides_last_in_the_direction_of_the_last_field() {
    let rows = [r#"{"name": "a"}"#, r#"{"name": "b"}"#, r#"{"name": "c", "big": "-1"}"#];
    assert_eq!(sorted("big", &rows), "c a b");
    assert_eq!(sorted("big desc", &rows), "b a c");
    assert_eq!(sorted("name desc", &rows), "c b a");
    assert!(order("name desc").is_name_only() && order("name desc").descending());
    assert!(!order("big").is_name_only());
}

#[test]
fn a_missing_key_of_a_map_is_absent() {
    let rows = [
        r#"{"name": "a", "attributes": {"k": ""}}"#,
        r#"{"name": "b", "attributes": {"x": "y"}}"#,
        r#"{"name": "c", "attributes": {"k": "v"}}"#,
    ];
    assert_eq!(sorted("attributes.k", &rows), "b a c");
}

#[test]
fn what_is_not_a_number_comes_before_numbers() {
    let rows = [
        r#"{"name": "one", "weight": 1}"#,
        r#"{"name": "nan", "weight": "NaN"}"#,
        r#"{"name": "zero", "weight": -0.0}"#,
        r#"{"name": "low", "weight": "-Infinity"}"#,
    ];
    assert_eq!(sorted("weight", &rows), "nan low zero one");
}

#[test]
fn the_name_can_be_read_from_a_key_of_names() {
    for text in ["", "name desc"] {
        let order = order(text);
        let key = order.key(&device(r#"{"name": "projects/p/devices/d"}"#));
        assert_eq!(order.key_of_name("projects/p/devices/d"), Some(key.clone()));
        assert_eq!(order.name_in(&key).as_deref(), Some("projects/p/devices/d"));
        assert_eq!(order.name_in(&SortKey::from_bytes(vec![1, 2])), None);
    }
    assert_eq!(order("big").key_of_name("x"), None);
}

#[test]
fn keys_stay_small_however_long_the_text() {
    let long = format!(r#"{{"name": "n", "displayName": "{}"}}"#, "x".repeat(100_000));
    assert!(order("display_name").key(&device(&long)).as_bytes().len() < 2000);
}

fn row() -> impl Strategy<Value = (String, String, i64, f64, Option<i64>)> {
    let time = prop::option::of(-3i64..3);
    (
        "[ab\0é]{0,3}",
        "[a-c\0\u{1}]{0,3}",
        -2i64..3,
        prop::sample::select(vec![-1.5, 0.0, 2.0]),
        time,
    )
}

fn row_json((name, text, big, weight, time): &(String, String, i64, f64, Option<i64>)) -> String {
    let mut json = serde_json::json!({
        "name": name, "displayName": text, "big": big.to_string(), "weight": weight,
    });
    if let Some(time) = time {
        json["installed"] = jiff::Timestamp::from_second(*time).unwrap().to_string().into();
    }
    json.to_string()
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = Order::parse(&text, &device_type());
    }

    #[test]
    fn keys_compare_as_values_do(a in row(), b in row(), up: [bool; 4]) {
        let direction = |up: bool| if up { "asc" } else { "desc" };
        let text = format!(
            "display_name {}, installed {}, weight {}, big {}",
            direction(up[0]), direction(up[1]), direction(up[2]), direction(up[3]),
        );
        let order = order(&text);
        prop_assert_eq!(Order::parse(&order.to_string(), &device_type()).unwrap(), order.clone());
        let turned = |ordering: Ordering, up: bool| if up { ordering } else { ordering.reverse() };
        let expected = turned(a.1.cmp(&b.1), up[0])
            .then(turned(a.4.cmp(&b.4), up[1]))
            .then(turned(a.3.total_cmp(&b.3), up[2]))
            .then(turned(a.2.cmp(&b.2), up[3]))
            .then(turned(a.0.cmp(&b.0), up[3]));
        let key = |row| order.key(&device(&row_json(row)));
        prop_assert_eq!(key(&a).cmp(&key(&b)), expected);
    }
}
