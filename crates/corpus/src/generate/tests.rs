//! What the generator promises: names of the type's patterns, every field filled, nothing that clients may not set.

use std::sync::Arc;

use bowline_schema::Source;
use bowline_schema::load::load;
use bowline_schema::model::{Registry, ResourceType, Target};
use proptest::prelude::*;
use prost_reflect::Value;

use super::{Plan, names, pick, values};

fn registry(fields: &str, patterns: &str) -> Registry {
    let text = format!(
        r#"syntax = "proto3";
        package things.v1;
        import "google/api/field_behavior.proto";
        import "google/api/resource.proto";
        message Thing {{
          option (google.api.resource) = {{ type: "things.example.com/Thing" {patterns} }};
          string name = 1;
          {fields}
        }}
        message Part {{ string serial = 1; Part part = 2; }}"#
    );
    let files = vec![("things/v1/thing.proto".to_owned(), text)];
    load(&[Source::Files { service_yaml: None, files }]).registry
}

fn thing(registry: &Registry) -> Arc<ResourceType> {
    registry.types["things.example.com/Thing"][0].clone()
}

fn name_of(pattern: &str, id: &str) -> names::Name {
    let registry = registry("", &format!("pattern: \"{pattern}\""));
    let ty = thing(&registry);
    names::name(&ty, &ty.patterns[0], id)
}

fn parts(name: &names::Name) -> [&str; 3] {
    [&name.text, &name.parent, &name.id]
}

#[test]
fn names_have_a_parent_and_an_id_of_their_pattern() {
    let plain = name_of("projects/{project}/things/{thing}", "alpha");
    assert_eq!(parts(&plain), ["projects/project1/things/alpha", "projects/project1", "alpha"]);
    let pair = name_of("customers/{customer_id}/things/{group_id}~{thing_id}", "alpha");
    let expected = [
        "customers/customerid1/things/groupidalpha~thingidalpha",
        "customers/customerid1",
        "groupidalpha~thingidalpha",
    ];
    assert_eq!(parts(&pair), expected);
    let singleton = name_of("projects/{project}/thing", "alpha");
    assert_eq!(parts(&singleton), ["projects/project1/thing", "projects/project1", ""]);
}

#[test]
fn a_reference_names_its_target_or_something_plausible() {
    let registry = registry("", "pattern: \"projects/{project}/things/{thing}\"");
    let reference = |target: Target| names::reference(&registry, &target);
    let kind = "things.example.com/Thing".to_owned();
    assert_eq!(reference(Target::Kind(kind.clone())), "projects/project1/things/target");
    assert_eq!(reference(Target::ParentOf(kind)), "projects/project1");
    assert_eq!(
        reference(Target::Kind("x.example.com/KeyRing".to_owned())),
        "projects/project1/keyrings/target"
    );
}

#[test]
fn what_contains_itself_is_filled_to_a_bounded_depth() {
    let registry = registry(
        "Part part = 2 [(google.api.field_behavior) = REQUIRED];",
        "pattern: \"things/{thing}\"",
    );
    let ty = thing(&registry);
    let resource = values::resource(&Plan::new(&registry, &ty), 0);
    let depth = format!("{resource}").matches("serial").count();
    assert!((2..=4).contains(&depth), "{depth}");
}

#[test]
fn only_what_clients_may_change_is_picked() {
    let fields = "string title = 2;
        string made_by = 3 [(google.api.field_behavior) = OUTPUT_ONLY];
        string origin = 4 [(google.api.field_behavior) = IMMUTABLE];
        string password = 5 [(google.api.field_behavior) = INPUT_ONLY];
        oneof kind { string a = 6; string b = 7; }
        bool done = 8;";
    let registry = registry(fields, "pattern: \"things/{thing}\"");
    let ty = thing(&registry);
    let plan = Plan::new(&registry, &ty);
    let resource = values::resource(&plan, 0);
    let paths: Vec<_> =
        pick::mutable(&plan, &resource).into_iter().map(|place| place.path).collect();
    assert_eq!(paths, ["title", "a", "done"]);
    let filterable: Vec<_> =
        pick::filterable(&plan, &resource).into_iter().map(|place| place.path).collect();
    assert_eq!(filterable, ["title", "origin", "a"]);
}

proptest! {
    #[test]
    fn other_seeds_give_other_values_and_server_fields_stay_empty(seed in 0usize..1000) {
        let fields = "string title = 2; int64 size = 3;
            string etag = 4; string made_by = 5 [(google.api.field_behavior) = OUTPUT_ONLY];";
        let registry = registry(fields, "pattern: \"things/{thing}\"");
        let ty = thing(&registry);
        let plan = Plan::new(&registry, &ty);
        let (one, other) = (values::resource(&plan, seed), values::resource(&plan, seed + 1));
        for field in ["title", "size"] {
            prop_assert_ne!(one.get_field_by_name(field), other.get_field_by_name(field));
        }
        for field in ["name", "etag", "made_by"] {
            let value = one.get_field_by_name(field).map(|value| value.into_owned());
            prop_assert_eq!(value, Some(Value::String(String::new())));
        }
    }
}
