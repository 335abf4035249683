//! Tests of updates: masks, fields of the server, immutable fields, metadata, and their laws.

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::fixture::{device, device_type, json, message, secret_type};
use crate::value::same;

fn mask(paths: &[&str]) -> Mask {
    Mask::parse(paths, &device_type()).unwrap()
}

/// What a stored device is after an update with a mask.
fn updated(stored: &str, client: &str, paths: &[&str]) -> String {
    updated_as(stored, client, paths, Unmasked::Replace)
}

fn updated_as(stored: &str, client: &str, paths: &[&str], unmasked: Unmasked) -> String {
    let client = device(client).body;
    match device(stored).updated(&client, &mask(paths), unmasked) {
        Ok(document) => {
            let mut body = document.body;
            body.clear_field_by_name("metadata");
            json(&body)
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_masked_field_that_is_absent_is_cleared() {
    let stored = r#"{"name": "n", "displayName": "a", "spec": {"model": "m", "ports": [1]}}"#;
    expect![[r#"{"name":"n","spec":{"model":"m","ports":[1]}}"#]].assert_eq(&updated(
        stored,
        "{}",
        &["display_name"],
    ));
    expect![[r#"{"displayName":"a","name":"n","spec":{"ports":[1]}}"#]].assert_eq(&updated(
        stored,
        "{}",
        &["spec.model"],
    ));
    expect![[r#"{"displayName":"a","name":"n"}"#]].assert_eq(&updated(stored, "{}", &["spec"]));
}

#[test]
fn fields_outside_the_mask_stay() {
    let stored = r#"{"name": "n", "displayName": "a", "spec": {"model": "m", "ports": [1]}}"#;
    let client = r#"{"name": "other", "displayName": "b", "spec": {"model": "x", "ports": [2]}}"#;
    expect![[r#"{"displayName":"a","name":"n","spec":{"model":"x","ports":[1]}}"#]]
        .assert_eq(&updated(stored, client, &["spec.model"]));
}

#[test]
fn without_a_mask_the_caller_decides() {
    let stored = r#"{"name": "n", "displayName": "a", "spec": {"model": "m", "ports": [1]}}"#;
    let client = r#"{"spec": {"model": "x"}}"#;
    expect![[r#"{"name":"n","spec":{"model":"x"}}"#]].assert_eq(&updated_as(
        stored,
        client,
        &[],
        Unmasked::Replace,
    ));
    expect![[r#"{"displayName":"a","name":"n","spec":{"model":"x","ports":[1]}}"#]]
        .assert_eq(&updated_as(stored, client, &[], Unmasked::Populated));
    expect![[r#"{"name":"n","spec":{"model":"x"}}"#]].assert_eq(&updated_as(
        stored,
        client,
        &["*"],
        Unmasked::Populated,
    ));
}

#[test]
fn keys_of_maps_are_set_and_removed_one_by_one() {
    let stored =
        r#"{"attributes": {"a": "1", "b": "2"}, "slots": {"1": {"mac": "x", "state": "up"}}}"#;
    let client = r#"{"attributes": {"a": "9", "c": "3"}, "slots": {"1": {"mac": "y", "state": "forged"}, "2": {"state": "forged", "mac": "z"}}}"#;
    expect![[r#"{"attributes":{"a":"9"},"slots":{"1":{"mac":"x","state":"up"}}}"#]]
        .assert_eq(&updated(stored, client, &["attributes.a", "attributes.b"]));
    expect![[
        r#"{"attributes":{"a":"1","b":"2"},"slots":{"1":{"mac":"y","state":"up"},"2":{"mac":"z"}}}"#
    ]]
    .assert_eq(&updated(stored, client, &["slots"]));
    expect![[
        r#"{"attributes":{"a":"1","b":"2"},"slots":{"1":{"mac":"y","state":"up"},"2":{"mac":"z"}}}"#
    ]]
    .assert_eq(&updated(stored, client, &["slots.*.mac"]));
}

#[test]
fn what_the_server_sets_is_never_taken_from_clients() {
    let stored = r#"{"name": "n", "status": {"phase": "ready"}, "spec": {"interfaces": [
        {"mac": "a", "state": "up"}, {"mac": "b", "state": "down"}]}}"#;
    let client = r#"{"name": "x", "status": {"phase": "forged"}, "spec": {"interfaces": [
        {"mac": "c", "state": "forged"}, {"mac": "b"}, {"mac": "a", "state": "forged"}]}}"#;
    expect![[r#"{"name":"n","spec":{"interfaces":[{"mac":"c"},{"mac":"b","state":"down"},{"mac":"a","state":"up"}]},"status":{"phase":"ready"}}"#]].assert_eq(&updated(stored, client, &[]));
    expect![[r#"{"name":"n","spec":{"interfaces":[{"mac":"a","state":"up"},{"mac":"b","state":"down"}]},"status":{"phase":"ready"}}"#]].assert_eq(&updated(stored, client, &["status"]));
}

#[test]
fn immutable_fields_may_be_repeated_or_left_out_but_not_changed() {
    let stored = r#"{"spec": {"serialNumber": "s1", "model": "m"}}"#;
    expect![[r#""spec.serial_number" is immutable and cannot be changed"#]].assert_eq(&updated(
        stored,
        r#"{"spec": {"serialNumber": "s2"}}"#,
        &[],
    ));
    expect![[r#"{"spec":{"model":"x","serialNumber":"s1"}}"#]].assert_eq(&updated(
        stored,
        r#"{"spec": {"serialNumber": "s1", "model": "x"}}"#,
        &[],
    ));
    expect![[r#"{"spec":{"model":"x","serialNumber":"s1"}}"#]].assert_eq(&updated(
        stored,
        r#"{"spec": {"model": "x"}}"#,
        &["spec"],
    ));
    expect![[r#"{"spec":{"serialNumber":"s1"}}"#]].assert_eq(&updated(stored, "{}", &[]));
    expect![[r#""spec.serial_number" is immutable and cannot be changed"#]].assert_eq(&updated(
        "{}",
        r#"{"spec": {"serialNumber": "s2"}}"#,
        &["spec.serial_number"],
    ));
}

#[test]
fn the_other_field_of_a_oneof_replaces_one_with_immutable_parts() {
    let stored = r#"{"spec": {"wired": {"plug": "p", "plugSerial": "1"}}}"#;
    expect![[r#"{"spec":{"wireless":{"ssid":"w"}}}"#]].assert_eq(&updated(
        stored,
        r#"{"spec": {"wireless": {"ssid": "w"}}}"#,
        &[],
    ));
    expect![[r#"{"spec":{"wireless":{"ssid":"w"}}}"#]].assert_eq(&updated(
        stored,
        r#"{"spec": {"wireless": {"ssid": "w"}}}"#,
        &["spec"],
    ));
}

#[test]
fn items_of_lists_cannot_be_changed_one_by_one() {
    expect![[r#"items of the list "spec.interfaces" cannot be changed one by one, only the list as a whole"#]].assert_eq(&updated("{}", "{}", &["spec.interfaces.mac"]));
}

#[test]
fn clients_write_only_their_parts_of_the_metadata() {
    let mut stored = device(r#"{"metadata": {"labels": {"a": "1"}, "mood": "calm"}}"#);
    let now = jiff::Timestamp::from_second(1_000_000_000).unwrap();
    stored.set_meta(&stored.meta().on_create(now, "u1", 4));
    let client = device(
        r#"{"metadata": {"labels": {"b": "2"}, "uuid": "forged", "resourceVersion": "99", "mood": "wild"}}"#,
    );
    let next = stored.updated(&client.body, &mask(&["metadata"]), Unmasked::Replace).unwrap();
    let meta = next.meta();
    assert_eq!((meta.uuid.as_str(), meta.version(), meta.generation), ("u1", Some(4), 1));
    assert_eq!(meta.labels, [("b".to_owned(), "2".to_owned())].into());
    let kept = stored.updated(&client.body, &mask(&["display_name"]), Unmasked::Replace).unwrap();
    assert_eq!(kept.meta(), stored.meta());
}

#[test]
fn metadata_fields_that_we_do_not_know_survive_stamping() {
    let mut device = device(r#"{"metadata": {"labels": {"a": "1"}, "mood": "calm"}}"#);
    let now = jiff::Timestamp::from_second(1_000_000_000).unwrap();
    device.set_meta(&device.meta().on_create(now, "u1", 4));
    let mood = crate::path::Path::parse("metadata.mood", &device.ty).unwrap();
    assert_eq!(device.get_path(&mood).unwrap().as_str(), Some("calm"));
    assert_eq!(device.meta().version(), Some(4));
}

#[test]
fn a_create_keeps_nothing_that_is_the_servers() {
    let client = r#"{"name": "n", "status": {"phase": "x"}, "metadata": {"uuid": "forged", "labels": {"a": "1"}},
        "slots": {"1": {"mac": "m", "state": "forged"}}, "spec": {"serialNumber": "s"}}"#;
    let made = Document::for_create(device_type(), device(client).body);
    expect![[r#"{"metadata":{"labels":{"a":"1"}},"name":"n","slots":{"1":{"mac":"m"}},"spec":{"serialNumber":"s"}}"#]].assert_eq(&json(&made.body));
}

#[test]
fn labels_of_a_type_without_metadata_are_its_metadatas_labels() {
    let ty = secret_type();
    let body =
        message(&ty, r#"{"labels": {"a": "1"}, "etag": "forged", "uid": "forged", "value": "v"}"#);
    let mut made = Document::for_create(ty.clone(), body);
    let now = jiff::Timestamp::from_second(1_000_000_000).unwrap();
    made.set_meta(&made.meta().on_create(now, "u1", 4));
    expect![[r#"{"createTime":"2001-09-09T01:46:40Z","etag":"\"1525c047df30e825\"","labels":{"a":"1"},"uid":"u1","value":"v"}"#]].assert_eq(&json(&made.body));
    assert_eq!(made.meta().labels["a"], "1");
    let (body, aside) = made.encode();
    let read = Document::decode(ty.clone(), &body, &aside).unwrap();
    assert!(same(&read.body, &made.body));
    assert_eq!(read.meta(), made.meta());
    let client = message(&ty, r#"{"labels": {"b": "2"}}"#);
    let labels = Mask::parse(&["labels"], &ty).unwrap();
    let next = read.updated(&client, &labels, Unmasked::Replace).unwrap();
    assert_eq!(next.meta().labels, [("b".to_owned(), "2".to_owned())].into());
    assert_eq!(next.meta().uuid, "u1");
}

#[test]
fn the_specification_is_spec_or_all_that_clients_write() {
    let changed = |a: &str, b: &str| device(b).spec_changed(&device(a));
    assert!(changed(r#"{"spec": {"model": "a"}}"#, r#"{"spec": {"model": "b"}}"#));
    assert!(!changed(r#"{"displayName": "a"}"#, r#"{"displayName": "b"}"#));
    let ty = secret_type();
    let secret = |json: &str| Document::new(ty.clone(), message(&ty, json));
    assert!(secret(r#"{"value": "a"}"#).spec_changed(&secret("{}")));
    assert!(!secret(r#"{"etag": "a"}"#).spec_changed(&secret("{}")));
}

#[test]
fn what_is_required_and_missing_is_listed() {
    let missing = |json: &str| crate::rules::missing_required(&device_type(), &device(json).body);
    assert_eq!(missing("{}"), ["display_name"]);
    assert_eq!(missing(r#"{"displayName": "d", "spec": {}}"#), ["spec.model"]);
    assert_eq!(
        missing(
            r#"{"displayName": "d", "spec": {"model": "m", "interfaces": [{"network": "n"}, {}]}}"#
        ),
        ["spec.interfaces.network"]
    );
}

#[test]
fn what_is_only_for_input_is_not_kept() {
    let mut body = device(r#"{"spec": {"secretInput": "x", "model": "m"}}"#).body;
    crate::rules::clear_input_only(&device_type(), &mut body);
    assert_eq!(json(&body), r#"{"spec":{"model":"m"}}"#);
}

const PATHS: [&str; 10] = [
    "display_name",
    "spec.model",
    "spec.wired.plug",
    "spec.ports",
    "attributes",
    "attributes.a",
    "tags",
    "weight",
    "slots.1.mac",
    "metadata.labels.env",
];
const STATES: [&str; 4] = [
    "{}",
    r#"{"name": "n", "displayName": "d", "weight": 1, "spec": {"model": "m", "ports": [1]}, "attributes": {"a": "1"}}"#,
    r#"{"name": "n", "spec": {"wired": {"plug": "p"}}, "slots": {"1": {"mac": "x", "state": "up"}}, "tags": ["t"]}"#,
    r#"{"name": "n", "attributes": {"b": "2"}, "slots": {"1": {}}, "metadata": {"labels": {"env": "prod"}}}"#,
];

proptest! {
    #[test]
    fn what_was_masked_is_what_the_client_sent(
        stored in prop::sample::select(STATES.to_vec()),
        client in prop::sample::select(STATES.to_vec()),
        paths in prop::collection::vec(prop::sample::select(PATHS.to_vec()), 1..5),
    ) {
        let (stored, client, mask) = (device(stored), device(client), mask(&paths));
        let next = stored.updated(&client.body, &mask, Unmasked::Replace).unwrap();
        let (got, sent) = (mask.project(&next.body), mask.project(&client.body));
        // An empty message may stand where the client sent none.
        let differ = crate::mask::diff(&got, &sent);
        for path in differ.paths() {
            let only_empty = ["spec", "spec.wired", "slots", "slots.1", "metadata"].contains(&path.as_str());
            prop_assert!(only_empty, "{}: {} became {}", path, json(&sent), json(&got));
        }
        // The same update once more changes nothing.
        let again = next.updated(&client.body, &mask, Unmasked::Replace).unwrap();
        prop_assert!(same(&again.body, &next.body));
    }

    #[test]
    fn what_was_not_masked_is_what_was_stored(
        stored in prop::sample::select(STATES.to_vec()),
        client in prop::sample::select(STATES.to_vec()),
        path in prop::sample::select(PATHS.to_vec()),
    ) {
        let (stored, client) = (device(stored), device(client));
        let next = stored.updated(&client.body, &mask(&[path]), Unmasked::Replace).unwrap();
        for other in PATHS.iter().filter(|other| !path.starts_with(*other) && !other.starts_with(path)) {
            prop_assert!(!mask(&[*other]).changed(&stored, &next), "{} changed {}", path, other);
        }
    }
}
