//! Tests of masks: what parses, what is cut, what counts as a change, and the laws between them.

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::document::Document;
use crate::fixture::{device, device_type, json, message, secret_type};
use crate::metadata::Meta;
use crate::value::same;

fn mask(paths: &[&str]) -> Mask {
    Mask::parse(paths, &device_type()).unwrap()
}

const FULL: &str = r#"{
    "name": "n", "displayName": "d", "spec": {"model": "m", "ports": [1, 2],
    "interfaces": [{"network": "a", "mac": "x"}, {"mac": "y"}], "wired": {"plug": "p"}},
    "attributes": {"a": "1", "b.c": "2"}, "slots": {"1": {"mac": "s", "network": "t"}, "2": {"mac": "u"}},
    "tags": ["red"], "metadata": {"labels": {"env": "prod"}, "uuid": "u"}}"#;

#[test]
fn a_mask_keeps_what_it_names() {
    let cut = |paths: &[&str]| json(&mask(paths).project(&device(FULL).body));
    let all = [
        cut(&["name", "spec.model"]),
        cut(&["metadata.labels.env"]),
        cut(&["attributes.`b.c`"]),
        cut(&["spec.interfaces.mac"]),
        cut(&["spec.interfaces.*.mac"]),
        cut(&["slots.*.mac", "slots.1"]),
        cut(&["slots.2.mac"]),
        cut(&["attributes.*"]),
        cut(&["spec.*", "status.phase"]),
    ]
    .join("\n");
    expect![[r#"
        {"name":"n","spec":{"model":"m"}}
        {"metadata":{"labels":{"env":"prod"}}}
        {"attributes":{"b.c":"2"}}
        {"spec":{"interfaces":[{"mac":"x"},{"mac":"y"}]}}
        {"spec":{"interfaces":[{"mac":"x"},{"mac":"y"}]}}
        {"slots":{"1":{"mac":"s","network":"t"},"2":{"mac":"u"}}}
        {"slots":{"2":{"mac":"u"}}}
        {"attributes":{"a":"1","b.c":"2"}}
        {"spec":{"interfaces":[{"mac":"x","network":"a"},{"mac":"y"}],"model":"m","ports":[1,2],"wired":{"plug":"p"}}}"#]].assert_eq(&all);
}

#[test]
fn the_empty_mask_and_the_star_read_everything() {
    let body = device(FULL).body;
    for paths in [&[][..], &["*"], &["", " "], &["name", "*"]] {
        assert!(same(&mask(paths).project(&body), &body), "{paths:?}");
    }
    assert!(mask(&[]).is_empty() && mask(&["*"]).is_everything());
}

#[test]
fn wider_paths_swallow_narrower_ones() {
    let paths = |paths: &[&str]| mask(paths).to_string();
    assert_eq!(paths(&["spec.model", "spec"]), "spec");
    assert_eq!(paths(&["spec", "spec.model"]), "spec");
    assert_eq!(paths(&["slots.1.mac", "slots.*"]), "slots");
    assert_eq!(paths(&["attributes.x", "displayName"]), "display_name,attributes.x");
    assert_eq!(
        paths(&["slots.1.mac", "slots.*.network"]),
        "slots.1.network,slots.1.mac,slots.*.network"
    );
}

#[test]
fn the_text_form_has_commas() {
    let mask =
        Mask::parse_text(r"displayName,attributes.a\,b,attributes.`c,d`", &device_type()).unwrap();
    assert_eq!(mask.to_string(), "display_name,attributes.`a,b`,attributes.`c,d`");
    assert!(Mask::parse_text("", &device_type()).unwrap().is_empty());
}

#[test]
fn paths_that_do_not_exist_are_refused() {
    let error = |path: &str| {
        let error = Mask::parse(&[path], &device_type()).unwrap_err();
        bowline_base::chain(&error).to_string()
    };
    let all = ["nothing", "spec.modle", "tags.0", "display_name.x", "slots.a", "a..b"]
        .map(error)
        .join("\n");
    expect![[r#"
        "nothing" is not a path of the resource: Device has no field "nothing" at byte 0 of the path
        "spec.modle" is not a path of the resource: Spec has no field "modle" at byte 5 of the path
        "tags.0" is not a path of the resource: "tags" is of type string, which has no fields at byte 5 of the path
        "display_name.x" is not a path of the resource: "display_name" is of type string, which has no fields at byte 13 of the path
        "slots.a" is not a path of the resource: "a" is not a key of a map with int32 keys at byte 6 of the path
        "a..b" is not a path of the resource: empty segment at byte 2 of the path"#]].assert_eq(&all);
    let many = vec!["name"; MASK_PATHS_MAX + 1];
    assert_eq!(Mask::parse(&many, &device_type()), Err(MaskError::TooManyPaths { paths: 1001 }));
}

#[test]
fn changes_outside_the_mask_are_not_seen() {
    let before = device(FULL);
    let mut after = before.clone();
    after.set_meta(&Meta { generation: 9, ..before.meta() });
    assert!(mask(&[]).changed(&before, &after));
    assert!(mask(&["metadata.generation"]).changed(&before, &after));
    for path in ["spec", "metadata.labels", "slots.*.mac", "status.phase", "spec.interfaces.mac"] {
        assert!(!mask(&[path]).changed(&before, &after), "{path}");
    }
}

#[test]
fn metadata_beside_the_resource_counts_as_a_change() {
    let ty = secret_type();
    let before = Document::new(ty.clone(), message(&ty, "{}"));
    let mut after = before.clone();
    after.set_meta(&Meta { annotations: [("a".into(), "b".into())].into(), ..Meta::default() });
    let mask = |path: &str| Mask::parse(&[path], &ty).unwrap();
    assert!(mask("metadata.annotations").changed(&before, &after));
    assert!(mask("metadata").changed(&before, &after));
    assert!(!mask("metadata.labels").changed(&before, &after));
    assert!(!mask("value").changed(&before, &after));
    assert_eq!(mask("metadata.annotations.x").to_string(), "metadata.annotations.x");
}

#[test]
fn a_difference_goes_as_deep_as_it_can() {
    let differ = |a: &str, b: &str| diff(&device(a).body, &device(b).body).to_string();
    let all = [
        differ(FULL, FULL),
        differ(FULL, "{}"),
        differ(r#"{"spec": {"model": "a"}}"#, r#"{"spec": {"model": "b", "ports": [1]}}"#),
        differ(
            r#"{"attributes": {"a": "1", "b": "2"}}"#,
            r#"{"attributes": {"a": "1", "b": "3", "c": "4"}}"#,
        ),
        differ(r#"{"slots": {"1": {"mac": "a"}}}"#, r#"{"slots": {"1": {"mac": "b"}}}"#),
        differ(
            r#"{"installed": "2020-01-01T00:00:00Z"}"#,
            r#"{"installed": "2020-01-01T00:00:01Z"}"#,
        ),
    ]
    .join("\n");
    expect![[r#"

        name,metadata,display_name,spec,attributes,slots,tags
        spec.model,spec.ports
        attributes.b,attributes.c
        slots.1.mac
        installed"#]]
    .assert_eq(&all);
}

const PATHS: [&str; 16] = [
    "name",
    "display_name",
    "spec",
    "spec.model",
    "spec.wired.plug",
    "spec.interfaces",
    "spec.interfaces.mac",
    "attributes",
    "attributes.a",
    "attributes.zzz",
    "slots",
    "slots.1",
    "slots.1.mac",
    "slots.*.network",
    "tags",
    "metadata.labels.env",
];

fn masks() -> impl Strategy<Value = Mask> {
    prop::collection::vec(prop::sample::select(PATHS.to_vec()), 1..6).prop_map(|paths| mask(&paths))
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = Mask::parse_text(&text, &device_type());
    }

    #[test]
    fn cutting_twice_is_cutting_once(mask in masks()) {
        let once = mask.project(&device(FULL).body);
        prop_assert!(same(&mask.project(&once), &once));
    }

    #[test]
    fn the_paths_of_a_mask_make_the_same_mask(mask in masks()) {
        let again = Mask::parse(&mask.paths(), &device_type()).unwrap();
        prop_assert_eq!(&again, &mask);
        prop_assert_eq!(Mask::parse_text(&mask.to_string(), &device_type()).unwrap(), mask);
    }

    #[test]
    fn joining_masks_keeps_what_either_keeps(a in masks(), b in masks()) {
        let body = device(FULL).body;
        let mut both = a.clone();
        both.add(&b);
        let mut turned = b.clone();
        turned.add(&a);
        prop_assert!(same(&both.project(&body), &turned.project(&body)));
        prop_assert!(same(&a.project(&both.project(&body)), &a.project(&body)));
        prop_assert!(same(&b.project(&both.project(&body)), &b.project(&body)));
    }

    #[test]
    fn a_change_is_seen_iff_what_is_kept_differs(mask in masks(), other in masks()) {
        // Half of the device is missing in one of the two states.
        let before = device(FULL);
        let mut after = before.clone();
        after.body = other.project(&before.body);
        let kept = |document: &Document| mask.project(&document.body);
        let differs = !same(&kept(&before), &kept(&after));
        // An empty message instead of none is the one difference that does not count.
        if mask.changed(&before, &after) != differs {
            prop_assert!(!mask.changed(&before, &after));
            let left = diff(&kept(&before), &kept(&after)).project(&kept(&before));
            prop_assert!(left.fields().all(|(_, value)| value.as_message().is_some()));
        }
    }
}
