//! Where names of the fleet's types belong.

use std::sync::LazyLock;

use bowline_schema::load::load;
use bowline_schema::source::Source;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const IAM: &str = r#"
syntax = "proto3";
package iam.v1;
import "google/api/resource.proto";
import "goten/types/multi_region_policy.proto";
message Project {
  option (google.api.resource) = { type: "iam.test/Project" pattern: "projects/{project}" };
  string name = 1;
  goten.types.MultiRegionPolicy policy = 2;
}
message Folder {
  option (google.api.resource) = { type: "iam.test/Folder" pattern: "projects/{project}/folders/{folder}" };
  string name = 1;
  Spec spec = 2;
}
message Spec { goten.types.MultiRegionPolicy policy = 1; }
"#;

const THINGS: &str = r#"
syntax = "proto3";
package things.v1;
import "google/api/resource.proto";
message Secret {
  option (google.api.resource) = {
    type: "things.test/Secret"
    pattern: "secrets/{secret}"
    pattern: "projects/{project}/secrets/{secret}"
    pattern: "projects/{project}/regions/{region}/secrets/{secret}"
  };
  string name = 1;
}
message Leaf {
  option (google.api.resource) = {
    type: "things.test/Leaf"
    pattern: "projects/{project}/folders/{folder}/regions/{region}/leaves/{leaf}"
  };
  string name = 1;
}
message File {
  option (google.api.resource) = {
    type: "things.test/File" pattern: "projects/{project}/regions/{region}/files/{path=**}"
  };
  string name = 1;
}
message Region {
  option (google.api.resource) = { type: "things.test/Region" pattern: "regions/{region}" };
  string name = 1;
}
message Settings {
  option (google.api.resource) = {
    type: "things.test/Settings" pattern: "projects/{project}/settings"
  };
  string name = 1;
}
message Local {
  option (google.api.resource) = { type: "things.test/Local" pattern: "locals/{local}" };
  string name = 1;
}
"#;

const THINGS_YAML: &str = "name: things.test\nversions:\n  v1: { package: things.v1, imports: { iam.test: v1 } }\nresources:\n  Local: { opt_outs: { multi_region: true } }\n";

static REGISTRY: LazyLock<Registry> = LazyLock::new(registry);

fn registry() -> Registry {
    let source = |yaml: &str, name: &str, text: &str| Source::Files {
        service_yaml: Some(yaml.to_owned()),
        files: vec![(name.to_owned(), text.to_owned())],
    };
    let iam = "name: iam.test\nversions:\n  v1: { package: iam.v1 }\n";
    let loaded =
        load(&[source(iam, "iam/v1/iam.proto", IAM), source(THINGS_YAML, "t/v1/t.proto", THINGS)]);
    assert_eq!(loaded.registry.services.len(), 2, "{:#?}", loaded.diagnostics);
    loaded.registry
}

fn places(kind: &str) -> (Arc<ResourceType>, Places) {
    let ty = REGISTRY.types[kind].first().unwrap().clone();
    let places = Places::of_type(&REGISTRY, &ty);
    (ty, places)
}

fn check_names(kind: &str, names: &[&str], expected: &Expect) {
    let (_, places) = places(kind);
    let line = |name: &&str| match places.of(name) {
        Some(place) => format!("{name}: {place}\n"),
        None => format!("{name}: -\n"),
    };
    expected.assert_eq(&names.iter().map(line).collect::<String>());
}

#[test]
fn the_holder_is_an_ancestor_and_the_region_is_in_the_name() {
    check_names(
        "things.test/Secret",
        &[
            "secrets/s",
            "projects/p/secrets/s",
            "projects/p/regions/eu/secrets/s",
            "//things.test/projects/p/secrets/s",
            "projects/-/secrets/s",
            "projects/p/regions/-/secrets/s",
            "projects/p",
            "projects/p/secrets/s/more",
            "projects//secrets/s",
            "",
        ],
        &expect![[r#"
            secrets/s: control of the service
            projects/p/secrets/s: control of projects/p
            projects/p/regions/eu/secrets/s: region eu of projects/p
            //things.test/projects/p/secrets/s: control of projects/p
            projects/-/secrets/s: -
            projects/p/regions/-/secrets/s: -
            projects/p: -
            projects/p/secrets/s/more: -
            projects//secrets/s: -
            : -
        "#]],
    );
}

#[test]
fn the_nearest_holder_counts_and_a_holder_is_not_its_own() {
    check_names(
        "things.test/Leaf",
        &["projects/p/folders/f/regions/eu/leaves/l"],
        &expect![[r#"
            projects/p/folders/f/regions/eu/leaves/l: region eu of projects/p/folders/f
        "#]],
    );
    check_names(
        "iam.test/Folder",
        &["projects/p/folders/f"],
        &expect![[r#"
            projects/p/folders/f: control of projects/p
        "#]],
    );
    check_names(
        "iam.test/Project",
        &["projects/p"],
        &expect![[r#"
            projects/p: control of the service
        "#]],
    );
}

#[test]
fn ids_of_several_segments_singletons_and_regions_themselves() {
    check_names(
        "things.test/File",
        &["projects/p/regions/eu/files/a/b/c", "projects/p/regions/eu/files"],
        &expect![[r#"
            projects/p/regions/eu/files/a/b/c: region eu of projects/p
            projects/p/regions/eu/files: -
        "#]],
    );
    check_names(
        "things.test/Settings",
        &["projects/p/settings"],
        &expect![[r#"
            projects/p/settings: control of projects/p
        "#]],
    );
    check_names(
        "things.test/Region",
        &["regions/eu"],
        &expect![[r#"
            regions/eu: control of the service
        "#]],
    );
    check_names(
        "things.test/Local",
        &["locals/l"],
        &expect![[r#"
        locals/l: -
    "#]],
    );
}

#[test]
fn a_new_resource_is_where_its_parent_says() {
    let (ty, places) = places("things.test/Secret");
    let new = |parent: &str| places.of_new(&ty, parent).map(|place| place.to_string());
    assert_eq!(new("").as_deref(), Some("control of the service"));
    assert_eq!(new("projects/p").as_deref(), Some("control of projects/p"));
    assert_eq!(new("projects/p/regions/eu").as_deref(), Some("region eu of projects/p"));
    assert_eq!(new("folders/f"), None);
}

#[test]
fn a_parent_leaves_places_open() {
    let show = |kind: &str, parent: &str| {
        let (_, places) = places(kind);
        let Some(scope) = places.scope(parent) else { return format!("{parent}: -\n") };
        let holders = match scope.holders {
            Holders::One(holder) => holder.name.to_string(),
            Holders::None => "no holder".to_owned(),
            Holders::Any => "any".to_owned(),
        };
        let parts = match scope.parts {
            Parts::One(part) => part.to_string(),
            Parts::All => "all parts".to_owned(),
        };
        format!("{parent}: {holders}, {parts}\n")
    };
    let parents = [
        "",
        "projects/p",
        "projects/-",
        "projects/p/regions/eu",
        "projects/-/regions/eu",
        "projects/p/regions/-",
        "organizations/o",
    ];
    let all: String = parents.iter().map(|parent| show("things.test/Secret", parent)).collect();
    expect![[r#"
        : any, all parts
        projects/p: projects/p, all parts
        projects/-: any, all parts
        projects/p/regions/eu: projects/p, region eu
        projects/-/regions/eu: any, region eu
        projects/p/regions/-: projects/p, all parts
        organizations/o: -
    "#]]
    .assert_eq(&all);
    let file: String = ["", "projects/p", "projects/p/regions/eu"]
        .iter()
        .map(|parent| show("things.test/File", parent))
        .collect();
    expect![[r#"
        : any, all parts
        projects/p: projects/p, all parts
        projects/p/regions/eu: projects/p, region eu
    "#]]
    .assert_eq(&file);
    assert_eq!(show("things.test/Region", ""), ": no holder, control\n");
}

/// The pieces of a name of a secret, and the place that they make.
fn secret() -> impl Strategy<Value = (String, Place)> {
    let id = "[a-z][a-z0-9-]{0,5}";
    (proptest::option::of((id, proptest::option::of(id))), id).prop_map(|(above, secret)| {
        let holder =
            |name: String| Some(Holder { kind: "iam.test/Project".into(), name: name.into() });
        match above {
            None => (format!("secrets/{secret}"), Place { holder: None, part: Part::Control }),
            Some((project, None)) => (
                format!("projects/{project}/secrets/{secret}"),
                Place { holder: holder(format!("projects/{project}")), part: Part::Control },
            ),
            Some((project, Some(region))) => (
                format!("projects/{project}/regions/{region}/secrets/{secret}"),
                Place {
                    holder: holder(format!("projects/{project}")),
                    part: Part::Region(region.into()),
                },
            ),
        }
    })
}

proptest! {
    #[test]
    fn a_name_is_at_the_place_that_it_was_made_of((name, place) in secret()) {
        let (_, places) = places("things.test/Secret");
        prop_assert_eq!(places.of(&name), Some(place));
    }

    #[test]
    fn the_names_at_a_place_are_exactly_those_with_its_prefixes(
        (name, place) in secret(), (_, other) in secret()
    ) {
        let (_, places) = places("things.test/Secret");
        let is_below = |place: &Place| {
            places.names_at(place).iter().any(|names| name.starts_with(&names.prefix))
        };
        prop_assert!(is_below(&place));
        prop_assert_eq!(is_below(&other), place == other);
    }

    #[test]
    fn whatever_text_comes_nothing_panics(name in "[a-z/~*-]{0,30}", parent in "[a-z/-]{0,20}") {
        for kind in ["things.test/Secret", "things.test/File", "things.test/Leaf"] {
            let (ty, places) = places(kind);
            let _ = (places.of(&name), places.scope(&parent), places.of_new(&ty, &parent));
        }
    }
}
