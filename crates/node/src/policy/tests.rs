//! Policies against a plain re-computation of the published table.

//! Policies: the table of who owns and who has copies, cell by cell; where a type has its policy.

use std::sync::LazyLock;

use bowline_schema::load::load;
use bowline_schema::source::Source;
use proptest::prelude::*;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::*;

const REGIONS: [&str; 4] = ["ap", "eu", "sa", "us"];
const KINDS: [&str; 3] = ["a.test/A", "a.test/B", "b.test/C"];

fn region() -> impl Strategy<Value = String> {
    proptest::sample::select(REGIONS.to_vec()).prop_map(str::to_owned)
}

fn policy() -> impl Strategy<Value = Policy> {
    let text = |all: Vec<&'static str>| {
        proptest::option::of(proptest::sample::select(all)).prop_map(Option::unwrap_or_default)
    };
    let rule = (text(KINDS.to_vec()), text(REGIONS.to_vec()), text(REGIONS.to_vec())).prop_map(
        |(kind, source, destination)| Criterion {
            kind: kind.into(),
            source: source.into(),
            destination: destination.into(),
        },
    );
    let enabled = proptest::collection::vec(region(), 1..5);
    (enabled, any::<prop::sample::Index>(), proptest::collection::vec(rule, 0..4)).prop_map(
        |(enabled, control, rules)| {
            let control = control.get(&enabled).clone();
            let policy = Policy::new(&control, enabled.iter().map(String::as_str));
            Policy { disabled_sync: rules, ..policy }
        },
    )
}

/// The table of the specification, cell by cell, with nothing of the code above.
fn by_the_table(
    policy: &Policy,
    sync: SyncType,
    kind: &str,
    owner: &str,
    is_subject: bool,
) -> Vec<String> {
    let mut regions: Vec<String> = Vec::new();
    match sync {
        SyncType::AlwaysGlobally => return vec!["*".to_owned()],
        SyncType::Never => {}
        _ if !is_subject => return vec!["*".to_owned()],
        SyncType::AlwaysInScope => {
            regions.extend(policy.enabled_regions.iter().map(|region| region.to_string()));
        }
        SyncType::Default => {
            'regions: for reader in &policy.enabled_regions {
                for rule in &policy.disabled_sync {
                    let source_fits = rule.source.is_empty() || &*rule.source == owner;
                    let destination_fits =
                        rule.destination.is_empty() || rule.destination == *reader;
                    let kind_fits = rule.kind.is_empty() || &*rule.kind == kind;
                    if source_fits && destination_fits && kind_fits {
                        continue 'regions;
                    }
                }
                regions.push(reader.to_string());
            }
        }
    }
    if !regions.iter().any(|region| region == owner) {
        regions.push(owner.to_owned());
    }
    regions.sort();
    regions
}

proptest! {
    #[test]
    fn owning_and_synced_regions_are_those_of_the_table(
        policy in policy(),
        named in proptest::option::of(region()),
        kind in proptest::sample::select(KINDS.to_vec()),
        sync in proptest::sample::select(vec![
            SyncType::Default, SyncType::Never, SyncType::AlwaysInScope, SyncType::AlwaysGlobally,
        ]),
        is_subject: bool,
    ) {
        let part = named.as_deref().map_or(Part::Control, |region| Part::Region(region.into()));
        let owner = policy.owning_region(&part).clone();
        let expected = named.unwrap_or_else(|| policy.control_region.to_string());
        prop_assert_eq!(&*owner, expected);
        let regions = policy.synced_regions(sync, kind, &owner, is_subject);
        let regions: Vec<_> = regions.iter().map(ToString::to_string).collect();
        prop_assert_eq!(regions, by_the_table(&policy, sync, kind, &owner, is_subject));
    }

    #[test]
    fn a_policy_survives_its_holder(policy in policy()) {
        let field = PolicyField::of(&holder()).unwrap();
        let mut resource = DynamicMessage::new(holder());
        field.write(&mut resource, &policy);
        prop_assert_eq!(field.read(&resource), Some(policy.clone()));
        prop_assert!(policy.check().is_ok());
    }
}

/// A holder whose policy is one level down, behind a deeper one and a list.
fn holder() -> MessageDescriptor {
    const PROTO: &str = r#"
    syntax = "proto3";
    package a.v1;
    import "google/api/resource.proto";
    import "goten/types/multi_region_policy.proto";
    message A {
      option (google.api.resource) = { type: "a.test/A" pattern: "as/{a}" };
      string name = 1;
      repeated goten.types.MultiRegionPolicy history = 2;
      Deep deep = 3;
      Spec spec = 4;
    }
    message Deep { Deeper deeper = 1; A again = 2; }
    message Deeper { goten.types.MultiRegionPolicy wrong = 1; }
    message Spec { string title = 1; goten.types.MultiRegionPolicy right = 2; }
    "#;
    static HOLDER: LazyLock<MessageDescriptor> = LazyLock::new(|| {
        let yaml = "name: a.test\nversions:\n  v1: { package: a.v1 }\n".to_owned();
        let files = vec![("a/v1/a.proto".to_owned(), PROTO.to_owned())];
        let loaded = load(&[Source::Files { service_yaml: Some(yaml), files }]);
        loaded.registry.types["a.test/A"].first().unwrap().message.clone()
    });
    HOLDER.clone()
}

#[test]
fn the_policy_is_found_breadth_first_and_not_in_lists() {
    assert_eq!(PolicyField::of(&holder()).unwrap().path(), "spec.right");
}

#[test]
fn what_cannot_be_followed_is_said() {
    let why = |policy: Policy| policy.check().unwrap_err().to_string();
    assert_eq!(why(Policy::default()), "no region is enabled");
    assert_eq!(why(Policy::new("eu", ["eu", ""])), "an enabled region is empty");
    assert_eq!(why(Policy::new("", ["eu"])), "the control region is empty");
    assert_eq!(
        why(Policy::new("us", ["eu", "ap"])),
        "the control region \"us\" is not one of the enabled regions (ap, eu)"
    );
}

#[test]
fn a_holder_that_says_nothing_has_no_policy() {
    let field = PolicyField::of(&holder()).unwrap();
    let mut resource = DynamicMessage::new(holder());
    assert_eq!(field.read(&resource), None);
    field.write(&mut resource, &Policy::default());
    assert_eq!(field.read(&resource), None);
}
