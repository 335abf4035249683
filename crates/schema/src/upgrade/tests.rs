//! Facts about upgrade files: what is read, what goes without saying, and every way to get them wrong.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::diagnostic::render;
use crate::load::{Loaded, load};
use crate::source::Source;

type Types<'a> = &'a [(&'a str, &'a [&'a str])];

const OLDER: Types<'_> = &[
    ("Secret", &["projects/{project}/secrets/{secret}"]),
    ("Note", &["notes/{note}"]),
    ("Item", &["items/{item=**}", "services/{service}/items/{item}"]),
];
const NEWER: Types<'_> = &[
    ("Secret", &["projects/{project}/regions/{region}/secrets/{secret}"]),
    ("Note", &["notes/{id}", "folders/{folder}/notes/{note}"]),
    ("Item", &["services/{service}/items/{item}"]),
];

const GOOD: &str = "
types:
  Secret:
    names:
      - from: projects/{project}/secrets/{secret}
        to: projects/{project}/regions/{region}/secrets/{secret}
        with: { region: control_region }
  Item:
    names:
      - { removed: 'items/{item=**}' }
";

fn proto(version: &str, types: Types<'_>) -> String {
    let message = |(singular, patterns): &(&str, &[&str])| {
        let patterns: String =
            patterns.iter().map(|text| format!(" pattern: \"{text}\"")).collect();
        format!(
            "message {singular} {{ option (google.api.resource) = {{ type: \"t.test/{singular}\"{patterns} }}; string name = 1; }}\n"
        )
    };
    let messages: String = types.iter().map(message).collect();
    format!(
        "syntax = \"proto3\";\npackage t.{version};\nimport \"google/api/resource.proto\";\n{messages}"
    )
}

const MANIFEST: &str =
    "name: t.test\nversions:\n  v1: { package: t.v1 }\n  v2: { package: t.v2 }\n";

fn loaded(older: Types<'_>, newer: Types<'_>, upgrades: &[(&str, &str)]) -> Loaded {
    let mut files = vec![
        ("v1/a.proto".to_owned(), proto("v1", older)),
        ("v2/a.proto".to_owned(), proto("v2", newer)),
    ];
    files.extend(upgrades.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
    load(&[Source::Files { service_yaml: Some(MANIFEST.to_owned()), files }])
}

fn check(text: &str, wanted: Expect) {
    let found = loaded(OLDER, NEWER, &[("upgrades/v1-v2.yaml", text)]);
    let errors = found.has_errors();
    assert_eq!(found.registry.services.is_empty(), errors, "errors leave the service out");
    // Unknown parents are no matter here.
    let about =
        |problem: &crate::Diagnostic| problem.code != crate::diagnostic::code::UNKNOWN_PARENT;
    wanted.assert_eq(&render(&found.diagnostics.into_iter().filter(about).collect::<Vec<_>>()));
}

/// The good file with a part replaced.
fn check_with(part: &str, by: &str, wanted: Expect) {
    assert!(GOOD.contains(part));
    check(&GOOD.replacen(part, by, 1), wanted);
}

#[test]
fn what_is_said_is_completed_by_what_goes_without_saying() {
    check(GOOD, expect![[""]]);
    let registry = loaded(OLDER, NEWER, &[("upgrades/v1-v2.yaml", GOOD)]).registry;
    let upgrade = &registry.service("t.test").unwrap().upgrades[0];
    let rules = |kind: &str| &upgrade.of_older(kind).unwrap().names;
    let text = |rule: &NameRule| format!("{} = {}", rule.older.text, rule.newer.text);
    let secret = &rules("t.test/Secret")[..];
    assert_eq!(
        secret.iter().map(text).collect::<Vec<_>>(),
        [
            "projects/{project}/secrets/{secret} = projects/{project}/regions/{region}/secrets/{secret}"
        ]
    );
    assert_eq!(secret[0].context["region"], ContextValue::ControlRegion);
    assert!(rules("t.test/Note")[0].is_same(), "variables may be called otherwise");
    let item = upgrade.of_newer("t.test/Item").unwrap();
    assert_eq!((item.names.len(), &item.removed[..]), (1, &["items/{item=**}".to_owned()][..]));
    let note = upgrade.of_newer("t.test/Note").unwrap();
    assert_eq!(note.added, ["folders/{folder}/notes/{note}"]);
}

#[test]
fn a_pattern_that_is_no_more_must_be_spoken_of() {
    check(
        "",
        expect![[r#"
            error[BL085]: what becomes of names "items/{item=**}" of "t.test/Item" in version v2 is not said: references to them cannot be followed
              --> upgrades/v1-v2.yaml
              = help: say it in `upgrades/v1-v2.yaml`: `types: { Item: { names: [ { from: 'items/{item=**}', to: ... } ] } }`, or `removed: 'items/{item=**}'` there

            error[BL085]: what becomes of names "projects/{project}/secrets/{secret}" of "t.test/Secret" in version v2 is not said: references to them cannot be followed
              --> upgrades/v1-v2.yaml
              = help: say it in `upgrades/v1-v2.yaml`: `types: { Secret: { names: [ { from: 'projects/{project}/secrets/{secret}', to: ... } ] } }`, or `removed: 'projects/{project}/secrets/{secret}'` there

            2 errors, 0 warnings
        "#]],
    );
    let found = loaded(OLDER, NEWER, &[]);
    assert!(found.registry.services.is_empty(), "with or without a file");
}

#[test]
fn keys_for_documents_are_accepted_and_keys_that_nobody_knows_are_not() {
    check_with(
        "types:\n  Secret:\n",
        "enums: {}\ntypes:\n  Secret:\n    fields: { a: b }\n    feilds: {}\n",
        expect![[r#"
            warning[BL087]: "enums" is not used yet
              --> upgrades/v1-v2.yaml:2:1
              = help: names and kinds are converted between versions; documents will be by a later release

            warning[BL087]: "fields" is not used yet
              --> upgrades/v1-v2.yaml:5:5
              = help: names and kinds are converted between versions; documents will be by a later release

            error[BL011]: unknown key "feilds"
              --> upgrades/v1-v2.yaml:6:5
              = help: see the keys of upgrade files in docs/upgrades.md

            1 error, 2 warnings
        "#]],
    );
    check_with(
        "{ removed:",
        "{ remvoed: x, removed:",
        expect![[r#"
        error[BL011]: unknown key "remvoed"
          --> upgrades/v1-v2.yaml:10:23
          = help: see the keys of upgrade files in docs/upgrades.md

        1 error, 0 warnings
    "#]],
    );
}

#[test]
fn what_is_taken_from_a_field_is_not_used_yet() {
    check_with(
        "control_region",
        "{ field: spec.region }",
        expect![[r#"
            warning[BL087]: to take `region` from a "field" is not used yet: names of this form have no counterpart
              --> upgrades/v1-v2.yaml:5:9
              = help: names and kinds are converted between versions; documents will be by a later release

            0 errors, 1 warning
        "#]],
    );
}

#[test]
fn a_file_is_of_two_neighbouring_versions() {
    let wrong = [
        ("upgrades/v2-v1.yaml", GOOD),
        ("upgrades/v1-v3.yaml", GOOD),
        ("upgrades/v1-v2.yml", GOOD),
    ];
    expect![[r#"
        error[BL080]: "v1-v3" is not `<from>-<to>` of two neighbouring versions of the service
          --> upgrades/v1-v3.yaml
          = help: there can be `v1-v2.yaml`; a longer way is put together from these steps

        error[BL080]: "v2-v1" is not `<from>-<to>` of two neighbouring versions of the service
          --> upgrades/v2-v1.yaml
          = help: there can be `v1-v2.yaml`; a longer way is put together from these steps

        2 errors, 0 warnings
    "#]]
    .assert_eq(&render(&loaded(OLDER, NEWER, &wrong).diagnostics));
}

#[test]
fn types_must_be_there() {
    check_with(
        "  Item:\n",
        "  Itme:\n    becomes: Item\n  Note: { becomes: Nota }\n  Item:\n",
        expect![[r#"
            error[BL081]: version v1 has no type "Itme"
              --> upgrades/v1-v2.yaml:8:3
              = help: it has Secret, Note, Item

            error[BL081]: version v2 has no type "Nota"
              --> upgrades/v1-v2.yaml:10:3
              = help: it has Secret, Note, Item

            2 errors, 0 warnings
        "#]],
    );
    check(
        &format!("{GOOD}removed: [Nope]\nadded: [Nor]\n"),
        expect![[r#"
            error[BL081]: version v1 has no type "Nope"
              --> upgrades/v1-v2.yaml:11:1
              = help: it has Secret, Note, Item

            error[BL081]: version v2 has no type "Nor"
              --> upgrades/v1-v2.yaml:12:1
              = help: it has Secret, Note, Item

            2 errors, 0 warnings
        "#]],
    );
}

#[test]
fn two_types_do_not_become_one() {
    check_with(
        "  Item:\n",
        "  Note: { becomes: Secret }\n  Item:\n",
        expect![[r#"
        error[BL084]: "Secret" and "Note" of version v1 would both become "Secret"
          --> upgrades/v1-v2.yaml:8:3
          = help: names could not be told apart on the way back: list one of them in `removed`, or let it become another type

        1 error, 0 warnings
    "#]],
    );
    check(
        &format!("{GOOD}removed: [Secret]\n"),
        expect![[r#"
        error[BL084]: "Secret" is removed, and said to become something
          --> upgrades/v1-v2.yaml:3:3
          = help: take it out of `types` or out of `removed`

        1 error, 0 warnings
    "#]],
    );
}

#[test]
fn patterns_must_be_of_the_type() {
    check_with(
        "from: projects/{project}/secrets",
        "from: projects/{project}/secret",
        expect![[r#"
            error[BL082]: "t.test/Secret" of version v1 has no names "projects/{project}/secret/{secret}"
              --> upgrades/v1-v2.yaml:5:9
              = help: its patterns are "projects/{project}/secrets/{secret}"; an entry has one of them, with ids split or fixed where needed

            1 error, 0 warnings
        "#]],
    );
    check_with(
        "'items/{item=**}'",
        "'items/{item'",
        expect![[r#"
            error[BL032]: a `{` without `}` in pattern "items/{item"
              --> upgrades/v1-v2.yaml:10:11

            1 error, 0 warnings
        "#]],
    );
}

#[test]
fn a_variable_comes_from_somewhere_and_is_not_lost() {
    check_with(
        "        with: { region: control_region }\n",
        "",
        expect![[r#"
            error[BL083]: `region` of "projects/{project}/regions/{region}/secrets/{secret}" comes from nowhere
              --> upgrades/v1-v2.yaml:5:9
              = help: take it from context, `with: { region: control_region }`, or write a fixed text in its place

            1 error, 0 warnings
        "#]],
    );
    check_with(
        "region: control_region",
        "region: control_region, project: control_region, x: control_region",
        expect![[r#"
            error[BL083]: `project` is taken from "control_region", and stands in both names
              --> upgrades/v1-v2.yaml:5:9
              = help: leave it out of `with`: the name says it

            error[BL083]: `x` of `with` stands in neither name
              --> upgrades/v1-v2.yaml:5:9
              = help: write `{x}` where its value belongs

            2 errors, 0 warnings
        "#]],
    );
    check_with(
        "control_region",
        "somewhere",
        expect![[r#"
            error[BL010]: `region` cannot be taken from "somewhere"
              --> upgrades/v1-v2.yaml:5:9
              = help: `control_region` can be; a fixed text is written into the pattern

            1 error, 0 warnings
        "#]],
    );
    let lost = "      - { from: 'items/{item=**}', to: 'services/a/items/b' }\n";
    check_with(
        "      - { removed: 'items/{item=**}' }\n",
        lost,
        expect![[r#"
            error[BL083]: `item` of "items/{item=**}" is lost, and the way back could not tell it
              --> upgrades/v1-v2.yaml:10:11
              = help: put `{item}` into the newer name, take it from context, `with: { item: control_region }`, or write a fixed text in its place

            1 error, 0 warnings
        "#]],
    );
}

#[test]
fn two_forms_of_names_do_not_become_one() {
    let twice = "      - { from: 'items/{a}/{b}', to: 'services/{a}/items/{b}' }\n      - { from: 'items/{b}/{a}', to: 'services/x/items/{a}~{b}' }\n      - { from: 'items/{b}/{a}/c', to: 'services/{a}/items/{b}' }\n";
    check_with(
        "      - { removed: 'items/{item=**}' }\n",
        twice,
        expect![[r#"
            error[BL084]: two entries have the older names "items/{b}/{a}"
              --> upgrades/v1-v2.yaml:11:11
              = help: names correspond one to one: of these entries only the first could ever count

            error[BL084]: two entries have the newer names "services/{a}/items/{b}"
              --> upgrades/v1-v2.yaml:12:11
              = help: names correspond one to one: of these entries only the first could ever count

            2 errors, 0 warnings
        "#]],
    );
}

#[test]
fn no_name_moves_to_another_region() {
    check_with(
        "regions/{region}/secrets/{secret}\n        with: { region: control_region }",
        "regions/eu/secrets/{secret}",
        expect![[r#"
            error[BL086]: "projects/{project}/secrets/{secret}" and "projects/{project}/regions/eu/secrets/{secret}" can be of different regions
              --> upgrades/v1-v2.yaml:5:9
              = help: a conversion moves no resource: the region is the same on both sides, or it is on one side and `with` takes it from `control_region`

            1 error, 0 warnings
        "#]],
    );
}

#[test]
fn an_entry_says_one_thing() {
    check_with(
        "{ removed:",
        "{ added: 'items/{item}', removed:",
        expect![[r#"
        error[BL010]: an entry of `names` has `from` and `to`, or `removed`, or `added`
          --> upgrades/v1-v2.yaml:10:34
          = help: `with` goes with `from` and `to`

        1 error, 0 warnings
    "#]],
    );
    check_with(
        "        to: projects/{project}/regions/{region}/secrets/{secret}\n",
        "",
        expect![[r#"
            error[BL010]: an entry of `names` has `from` and `to`, or `removed`, or `added`
              --> upgrades/v1-v2.yaml:5:9
              = help: `with` goes with `from` and `to`

            1 error, 0 warnings
        "#]],
    );
}

#[test]
fn a_file_that_is_no_yaml_leaves_its_service_out() {
    check(
        "types: 7\n",
        expect![[r#"
        error[BL010]: line 1 column 8: expected mapping start
          --> upgrades/v1-v2.yaml:1:8

        1 error, 0 warnings
    "#]],
    );
}

#[test]
fn upgrades_are_found_beside_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("t/service.yaml", MANIFEST);
    write("t/v1/a.proto", &proto("v1", OLDER));
    write("t/v2/a.proto", &proto("v2", NEWER));
    write("t/upgrades/v1-v2.yaml", GOOD);
    // Folders that merely have the name are nothing of ours.
    write("upgrades/other.yaml", "not: [ ours");
    let found = load(&[Source::Folder(folder.path().to_owned())]);
    let service = found.registry.service("t.test");
    let service = service.unwrap_or_else(|| panic!("{}", render(&found.diagnostics)));
    assert!(service.upgrades[0].declared_in.as_ref().unwrap().ends_with("upgrades/v1-v2.yaml"));
    std::fs::write(folder.path().join("t/upgrades/v1-v2.yaml"), [0xff]).unwrap();
    assert!(load(&[Source::Folder(folder.path().to_owned())]).registry.services.is_empty());
}

#[test]
fn bare_protos_may_differ_between_their_versions() {
    let files = vec![
        ("v1/a.proto".to_owned(), proto("v1", OLDER)),
        ("v2/a.proto".to_owned(), proto("v2", NEWER)),
    ];
    let found = load(&[Source::Files { service_yaml: None, files }]);
    assert_eq!(found.diagnostics, []);
    let upgrade = &found.registry.service("t.test").unwrap().upgrades[0];
    assert_eq!(upgrade.of_older("t.test/Secret").unwrap().removed, OLDER[0].1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_file_makes_loading_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "types:", "removed:", "added:", "\n", "\n  ", "\n    ", "Secret:", "names:", "- ", "from: ", "to: ", "with: ", "becomes: Note",
            "[Secret]", "{ ", " }", "projects/{project}/secrets/{secret}", "'{a}~{b}'", "control_region", "{x=**}", ", ", "*", "&a ", "*a",
        ]), 0..40)
    ) {
        loaded(OLDER, NEWER, &[("upgrades/v1-v2.yaml", &pieces.concat())]);
    }
}
