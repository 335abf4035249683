//! Facts about names in several versions: each sort of change on its own, chains, and the laws.

use std::cell::RefCell;
use std::sync::LazyLock;

use bowline_schema::{Source, diagnostic, load};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::planted::Mistake;
use super::*;

/// Types by singular, with their patterns.
type Types = &'static [(&'static str, &'static [&'static str])];

const V1ALPHA: Types = &[
    ("Secret", &["projects/{project}/secrets/{secret}"]),
    ("Role", &["roles/{role}"]),
    ("Descriptor", &["descriptors/{descriptor=**}"]),
    ("AlertingPolicy", &["projects/{project}/alertingPolicies/{alerting_policy}"]),
    ("Alert", &["projects/{p}/alertingPolicies/{policy}/regions/{region}/alerts/{alert}"]),
    ("Pair", &["pairs/{pair}"]),
    ("Draft", &["drafts/{draft}"]),
    ("Note", &["notes/{note}", "projects/{project}/notes/{note}"]),
    ("Any", &["*"]),
];

const V1BETA: Types = &[
    ("Secret", &["projects/{project}/regions/{region}/secrets/{secret}", "secrets/{secret}"]),
    ("Role", &["services/{service}/roles/{role}", "projects/{project}/roles/{role}"]),
    ("Descriptor", &["services/{service}/descriptors/{descriptor}"]),
    ("AlertPolicy", &["projects/{project}/alertPolicies/{alert_policy}"]),
    ("Alert", &["projects/{project}/regions/{region}/alertPolicies/{policy}/alerts/{alert}"]),
    ("Pair", &["pairs/{a}~{b}"]),
    ("Draft", &["drafts/{draft}"]),
    ("Note", &["notes/{note}", "projects/{project}/notes/{note}", "folders/{folder}/notes/{note}"]),
    ("Any", &["*"]),
];

const V1: Types = &[
    ("Secret", &["projects/{project}/regions/{region}/secrets/{secret}"]),
    ("Role", &["services/{service}/roles/{role}"]),
    ("Key", &["keys/{key}"]),
];

const ALPHA_BETA: &str = "
types:
  Secret:
    names:
      - from: projects/{project}/secrets/{secret}
        to: projects/{project}/regions/{region}/secrets/{secret}
        with: { region: control_region }
  Role:
    names:
      - { from: 'roles/{role}', to: 'services/things.test/roles/{role}' }
  Descriptor:
    names:
      - { from: 'descriptors/{service}/{id}', to: 'services/{service}/descriptors/{id}' }
  AlertingPolicy:
    becomes: AlertPolicy
    names:
      - { from: 'projects/{project}/alertingPolicies/{policy}', to: 'projects/{project}/alertPolicies/{policy}' }
  Alert:
    names:
      - from: projects/{project}/alertingPolicies/{policy}/regions/{region}/alerts/{alert}
        to: projects/{project}/regions/{region}/alertPolicies/{policy}/alerts/{alert}
  Pair:
    names:
      - { from: 'pairs/{left}-{right}', to: 'pairs/{right}~{left}' }
removed: [Draft]
added: [Draft]
";

const BETA_V1: &str = "
types:
  Secret: { names: [ { removed: 'secrets/{secret}' } ] }
  Role: { names: [ { removed: 'projects/{project}/roles/{role}' } ] }
removed: [Descriptor, AlertPolicy, Alert, Pair, Draft, Note, Any]
added: [Key]
";

fn proto(version: &str, types: &[(&str, &[&str])]) -> String {
    let message = |(singular, patterns): &(&str, &[&str])| {
        let patterns: String =
            patterns.iter().map(|text| format!(" pattern: \"{text}\"")).collect();
        format!(
            "message {singular} {{ option (google.api.resource) = {{ type: \"things.test/{singular}\"{patterns} }}; string name = 1; }}\n"
        )
    };
    let messages: String = types.iter().map(message).collect();
    format!(
        "syntax = \"proto3\";\npackage things.{version};\nimport \"google/api/resource.proto\";\n{messages}"
    )
}

fn things() -> NameRules {
    let manifest = "name: things.test\nversions:\n  v1alpha: { package: things.v1alpha }\n  v1beta: { package: things.v1beta }\n  v1: { package: things.v1 }\n";
    let file = |path: &str, text: String| (path.to_owned(), text);
    let files = vec![
        file("a.proto", proto("v1alpha", V1ALPHA)),
        file("b.proto", proto("v1beta", V1BETA)),
        file("c.proto", proto("v1", V1)),
        file("upgrades/v1alpha-v1beta.yaml", ALPHA_BETA.to_owned()),
        file("upgrades/v1beta-v1.yaml", BETA_V1.to_owned()),
    ];
    let loaded = load(&[Source::Files { service_yaml: Some(manifest.to_owned()), files }]);
    let found = diagnostic::render(&loaded.diagnostics);
    let service = loaded.registry.service("things.test");
    NameRules::of(service.unwrap_or_else(|| panic!("{found}")))
}

static THINGS: LazyLock<NameRules> = LazyLock::new(things);

/// Projects that begin with `e` are at home in `eu`, others in `us`; nothing is known of those that begin with `x`.
fn home(of: &Named<'_>) -> Option<String> {
    let project = of.name.strip_prefix("projects/").unwrap_or_default();
    match project.chars().next() {
        Some('x') => None,
        Some('e') => Some("eu".to_owned()),
        _ => Some("us".to_owned()),
    }
}

fn line(from: &str, to: &str, kind: &str, name: &str) -> String {
    let kind = format!("things.test/{kind}");
    let used = |used: &[Used]| match used {
        [] => String::new(),
        used => {
            let used = used
                .iter()
                .map(|used| format!("{} of {} is {}", used.value.text(), used.name, used.is));
            format!(" ({})", used.collect::<Vec<_>>().join(", "))
        }
    };
    match THINGS.convert(from, to, &kind, name, &home) {
        Ok(Conversion::Name(found)) => {
            format!("{} {}{}", found.kind, found.name, used(&found.used))
        }
        Ok(Conversion::NoName(none)) => {
            format!("{:?} in {}{}", none.why, none.version, used(&none.used))
        }
        Err(error) => format!("error: {error}"),
    }
}

fn check(cases: &[(&str, &str, &str, &str)], wanted: &Expect) {
    let lines: Vec<_> = cases
        .iter()
        .map(|(from, to, kind, name)| {
            format!("{from} {name} = {to} {}\n", line(from, to, kind, name))
        })
        .collect();
    wanted.assert_eq(&lines.concat());
}

#[test]
fn a_region_is_taken_from_context_and_left_out_again_where_the_context_says_the_same() {
    check(
        &[
            ("v1alpha", "v1beta", "Secret", "projects/e1/secrets/s"),
            ("v1alpha", "v1beta", "Secret", "//things.test/projects/p/secrets/s"),
            ("v1beta", "v1alpha", "Secret", "projects/e1/regions/eu/secrets/s"),
            ("v1beta", "v1alpha", "Secret", "projects/e1/regions/us/secrets/s"),
            ("v1beta", "v1alpha", "Secret", "secrets/s"),
        ],
        &expect![[r#"
            v1alpha projects/e1/secrets/s = v1beta things.test/Secret projects/e1/regions/eu/secrets/s (control_region of projects/e1/secrets/s is eu)
            v1alpha //things.test/projects/p/secrets/s = v1beta things.test/Secret projects/p/regions/us/secrets/s (control_region of projects/p/secrets/s is us)
            v1beta projects/e1/regions/eu/secrets/s = v1alpha things.test/Secret projects/e1/secrets/s (control_region of projects/e1/secrets/s is eu)
            v1beta projects/e1/regions/us/secrets/s = v1alpha OtherContext in v1alpha (control_region of projects/e1/secrets/s is eu)
            v1beta secrets/s = v1alpha NoForm in v1alpha
        "#]],
    );
}

#[test]
fn fixed_texts_split_ids_renamed_kinds_and_other_orders() {
    check(
        &[
            ("v1alpha", "v1beta", "Role", "roles/r"),
            ("v1beta", "v1alpha", "Role", "services/things.test/roles/r"),
            ("v1beta", "v1alpha", "Role", "services/other.test/roles/r"),
            ("v1alpha", "v1beta", "Descriptor", "descriptors/things.test/d"),
            ("v1beta", "v1alpha", "Descriptor", "services/things.test/descriptors/d"),
            ("v1alpha", "v1beta", "Descriptor", "descriptors/d"),
            ("v1alpha", "v1beta", "Descriptor", "descriptors/a/b/c"),
            ("v1alpha", "v1beta", "AlertingPolicy", "projects/p/alertingPolicies/a"),
            ("v1beta", "v1alpha", "AlertPolicy", "projects/p/alertPolicies/a"),
            ("v1alpha", "v1beta", "Alert", "projects/p/alertingPolicies/a/regions/eu/alerts/x"),
            ("v1beta", "v1alpha", "Alert", "projects/p/regions/eu/alertPolicies/a/alerts/x"),
            ("v1alpha", "v1beta", "Any", "any/name/at/all"),
        ],
        &expect![[r#"
            v1alpha roles/r = v1beta things.test/Role services/things.test/roles/r
            v1beta services/things.test/roles/r = v1alpha things.test/Role roles/r
            v1beta services/other.test/roles/r = v1alpha NoForm in v1alpha
            v1alpha descriptors/things.test/d = v1beta things.test/Descriptor services/things.test/descriptors/d
            v1beta services/things.test/descriptors/d = v1alpha things.test/Descriptor descriptors/things.test/d
            v1alpha descriptors/d = v1beta NoForm in v1beta
            v1alpha descriptors/a/b/c = v1beta NoForm in v1beta
            v1alpha projects/p/alertingPolicies/a = v1beta things.test/AlertPolicy projects/p/alertPolicies/a
            v1beta projects/p/alertPolicies/a = v1alpha things.test/AlertingPolicy projects/p/alertingPolicies/a
            v1alpha projects/p/alertingPolicies/a/regions/eu/alerts/x = v1beta things.test/Alert projects/p/regions/eu/alertPolicies/a/alerts/x
            v1beta projects/p/regions/eu/alertPolicies/a/alerts/x = v1alpha things.test/Alert projects/p/alertingPolicies/a/regions/eu/alerts/x
            v1alpha any/name/at/all = v1beta things.test/Any any/name/at/all
        "#]],
    );
}

#[test]
fn a_name_that_would_not_lead_back_is_none() {
    check(
        &[
            ("v1alpha", "v1beta", "Pair", "pairs/a-b"),
            ("v1beta", "v1alpha", "Pair", "pairs/b~a"),
            ("v1alpha", "v1beta", "Pair", "pairs/a-b~c"),
            ("v1beta", "v1alpha", "Pair", "pairs/b~a-c"),
            ("v1alpha", "v1beta", "Pair", "pairs/a-b-c"),
        ],
        &expect![[r#"
            v1alpha pairs/a-b = v1beta things.test/Pair pairs/b~a
            v1beta pairs/b~a = v1alpha things.test/Pair pairs/a-b
            v1alpha pairs/a-b~c = v1beta NoWayBack in v1beta
            v1beta pairs/b~a-c = v1alpha NoWayBack in v1alpha
            v1alpha pairs/a-b-c = v1beta things.test/Pair pairs/b-c~a
        "#]],
    );
}

#[test]
fn patterns_that_both_versions_have_need_no_rule() {
    check(
        &[
            ("v1alpha", "v1beta", "Note", "projects/p/notes/n"),
            ("v1beta", "v1alpha", "Note", "notes/n"),
            ("v1beta", "v1alpha", "Note", "folders/f/notes/n"),
            ("v1", "v1", "Key", "keys/k"),
        ],
        &expect![[r#"
            v1alpha projects/p/notes/n = v1beta things.test/Note projects/p/notes/n
            v1beta notes/n = v1alpha things.test/Note notes/n
            v1beta folders/f/notes/n = v1alpha NoForm in v1alpha
            v1 keys/k = v1 things.test/Key keys/k
        "#]],
    );
}

#[test]
fn a_type_that_was_removed_and_added_again_is_another_one() {
    check(
        &[
            ("v1alpha", "v1beta", "Draft", "drafts/d"),
            ("v1beta", "v1alpha", "Draft", "drafts/d"),
            ("v1", "v1beta", "Key", "keys/k"),
        ],
        &expect![[r#"
            v1alpha drafts/d = v1beta NoType in v1beta
            v1beta drafts/d = v1alpha NoType in v1alpha
            v1 keys/k = v1beta NoType in v1beta
        "#]],
    );
}

#[test]
fn longer_ways_are_made_of_steps() {
    check(
        &[
            ("v1alpha", "v1", "Secret", "projects/p/secrets/s"),
            ("v1", "v1alpha", "Secret", "projects/p/regions/us/secrets/s"),
            ("v1", "v1alpha", "Secret", "projects/p/regions/eu/secrets/s"),
            ("v1", "v1alpha", "Role", "services/things.test/roles/r"),
            ("v1alpha", "v1", "Note", "notes/n"),
        ],
        &expect![[r#"
            v1alpha projects/p/secrets/s = v1 things.test/Secret projects/p/regions/us/secrets/s (control_region of projects/p/secrets/s is us)
            v1 projects/p/regions/us/secrets/s = v1alpha things.test/Secret projects/p/secrets/s (control_region of projects/p/secrets/s is us)
            v1 projects/p/regions/eu/secrets/s = v1alpha OtherContext in v1alpha (control_region of projects/p/secrets/s is us)
            v1 services/things.test/roles/r = v1alpha things.test/Role roles/r
            v1alpha notes/n = v1 NoType in v1
        "#]],
    );
    assert_eq!(
        THINGS.kind("v1alpha", "v1beta", "things.test/AlertingPolicy").as_deref(),
        Some("things.test/AlertPolicy")
    );
    assert_eq!(
        THINGS.kind("v1beta", "v1alpha", "things.test/AlertPolicy").as_deref(),
        Some("things.test/AlertingPolicy")
    );
    assert_eq!(THINGS.kind("v1alpha", "v1", "things.test/AlertingPolicy"), None);
    assert_eq!(
        THINGS.kind("v1", "v1alpha", "things.test/Secret").as_deref(),
        Some("things.test/Secret")
    );
}

#[test]
fn what_cannot_be_answered_is_an_error_and_not_a_name() {
    check(
        &[
            ("v1alpha", "v1beta", "Secret", "projects/x/secrets/s"),
            ("v1beta", "v1alpha", "Secret", "projects/x/regions/eu/secrets/s"),
            ("v1beta", "v1", "Secret", "projects/x/regions/eu/secrets/s"),
            ("v1alpha", "v1beta", "Secret", "projects/-/secrets/s"),
            ("v1alpha", "v1beta", "Secret", "secrets/s"),
            ("v1alpha", "v1beta", "Key", "keys/k"),
            ("v1alpha", "v2", "Secret", "projects/p/secrets/s"),
        ],
        &expect![[r#"
            v1alpha projects/x/secrets/s = v1beta error: the control region of "projects/x/secrets/s" is not known
            v1beta projects/x/regions/eu/secrets/s = v1alpha error: the control region of "projects/x/secrets/s" is not known
            v1beta projects/x/regions/eu/secrets/s = v1 things.test/Secret projects/x/regions/eu/secrets/s
            v1alpha projects/-/secrets/s = v1beta error: what is to be converted is not a name
            v1alpha secrets/s = v1beta error: what is to be converted is not a name
            v1alpha keys/k = v1beta error: version v1alpha has no type "things.test/Key"
            v1alpha projects/p/secrets/s = v2 error: service "things.test" has no version "v2"
        "#]],
    );
}

#[test]
fn an_owner_can_tell_the_names_in_all_versions() {
    let kind = "things.test/Secret";
    let all = THINGS.everywhere("v1beta", kind, "projects/p/regions/us/secrets/s", &home).unwrap();
    let names: Vec<_> = all
        .iter()
        .map(|(version, found)| {
            format!("{version} {}", found.name().map_or("-", |found| &found.name))
        })
        .collect();
    assert_eq!(
        names,
        [
            "v1 projects/p/regions/us/secrets/s",
            "v1alpha projects/p/secrets/s",
            "v1beta projects/p/regions/us/secrets/s"
        ]
    );
}

#[test]
fn the_context_is_asked_once_for_a_question_and_only_if_needed() {
    let asked = RefCell::new(Vec::new());
    let context = |of: &Named<'_>| {
        asked.borrow_mut().push(format!("{} {} {}", of.version, of.kind, of.name));
        Some("us".to_owned())
    };
    let convert = |from, to, kind: &str, name| {
        THINGS.convert(from, to, &format!("things.test/{kind}"), name, &context)
    };
    convert("v1alpha", "v1", "Secret", "projects/p/secrets/s").unwrap();
    convert("v1alpha", "v1", "Role", "roles/r").unwrap();
    convert("v1", "v1", "Secret", "projects/p/regions/us/secrets/s").unwrap();
    assert_eq!(*asked.borrow(), ["v1alpha things.test/Secret projects/p/secrets/s"]);
}

/// Ids of which rules clash: with separators, with `/`, regions that are and are not the control region.
const IDS: &[&str] = &["a", "e", "us", "eu", "a-b", "a~b", "a-b~c", "a~b-c", "things.test", "a/b"];
const VERSIONS: [(&str, Types); 3] = [("v1alpha", V1ALPHA), ("v1beta", V1BETA), ("v1", V1)];

/// Every pattern of every type and version, as `(version, kind, pattern)`.
fn forms() -> Vec<(&'static str, String, &'static str)> {
    let mut forms = Vec::new();
    for (version, types) in VERSIONS {
        for (singular, patterns) in types {
            let kind = format!("things.test/{singular}");
            forms.extend(patterns.iter().map(|pattern| (version, kind.clone(), *pattern)));
        }
    }
    forms
}

/// The pattern with these ids, in turn, for what is variable in it.
fn fill<'i>(pattern: &str, ids: impl IntoIterator<Item = &'i str>) -> String {
    let mut ids = ids.into_iter();
    let part = |part: &str| match part.contains(['{', '*']) {
        true => ids.next().unwrap_or("a").to_owned(),
        false => part.to_owned(),
    };
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Converts a great many names and gives how many, with every breach of a law: what leads there leads back, two names are never one,
/// and the same answers give the same name.
fn breaches() -> (usize, Vec<String>) {
    let mut converted = 0;
    let mut breaches = Vec::new();
    for (to, _) in VERSIONS {
        // What each name there is called here, by version.
        let mut seen: BTreeMap<(&str, String, String), (String, String)> = BTreeMap::new();
        for (from, kind, pattern) in forms() {
            // All ids where there are few of them, else a sample.
            let slots = pattern.matches(['{', '*']).count().min(4);
            let step = [1, 1, 1, 3, 61][slots];
            for at in (0..IDS.len().pow(slots as u32)).step_by(step) {
                let ids = (0..4).map(|slot| IDS[at / IDS.len().pow(slot) % IDS.len()]);
                let name = fill(pattern, ids);
                let Ok(found) = THINGS.convert(from, to, &kind, &name, &home) else { continue };
                if found != again(from, to, &kind, &name, found.used()) {
                    breaches.push(format!("untold: {from} {name} to {to}"));
                }
                let Conversion::Name(there) = found else { continue };
                converted += 1;
                let back = THINGS.convert(to, from, &there.kind, &there.name, &home);
                let back = back.ok().and_then(|back| back.name().cloned());
                if back.is_none_or(|back| (&back.kind, &back.name) != (&kind, &name)) {
                    breaches.push(format!("no way back: {from} {name} to {to} {}", there.name));
                }
                let here = (kind.clone(), name);
                let other = seen.insert((from, there.kind, there.name.clone()), here.clone());
                if let Some(other) = other.filter(|other| *other != here) {
                    let (one, two) = (other.1, here.1);
                    breaches
                        .push(format!("two in one: {from} {one}, {two} to {to} {}", there.name));
                }
            }
        }
    }
    (converted, breaches)
}

/// The conversion of one who knows only the answers that were told.
fn again(from: &str, to: &str, kind: &str, name: &str, used: &[Used]) -> Conversion {
    let kept = |of: &Named<'_>| {
        let is_it = |used: &&Used| {
            (&*used.version, &*used.kind, &*used.name) == (of.version, of.kind, of.name)
        };
        used.iter().find(is_it).map(|used| used.is.clone())
    };
    let none = NoName { version: String::new(), why: Why::NoForm, used: Vec::new() };
    THINGS.convert(from, to, kind, name, &kept).unwrap_or(Conversion::NoName(none))
}

#[test]
fn the_laws_hold_for_names_of_every_form() {
    let (converted, breaches) = breaches();
    assert_eq!(breaches, [] as [String; 0]);
    assert!(converted > 2_000, "{converted} names were converted");
}

#[test]
fn planted_mistakes_break_the_laws() {
    let first = |mistakes: &'static [Mistake], law: &str| {
        let (_, breaches) = planted::with(mistakes, breaches);
        let first = breaches.iter().find(|breach| breach.starts_with(law));
        first.cloned().unwrap_or_else(|| panic!("{mistakes:?} break no law of {law}"))
    };
    let found = [
        first(&[Mistake::NoWayBack], "no way back"),
        first(&[Mistake::NoWayBack, Mistake::AnyContext], "two in one"),
        first(&[Mistake::Untold], "untold"),
    ];
    expect![[r#"
        no way back: v1beta pairs/a~b-c to v1alpha pairs/b-c-a
        two in one: v1beta projects/a/regions/a/secrets/a, projects/a/regions/eu/secrets/a to v1alpha projects/a/secrets/a
        untold: v1beta projects/a/regions/a/secrets/a to v1alpha"#]].assert_eq(&found.join("\n"));
    let any_context = || line("v1beta", "v1alpha", "Secret", "projects/e1/regions/us/secrets/s");
    assert_ne!(planted::with(&[Mistake::AnyContext], any_context), any_context());
}

fn any_name() -> impl Strategy<Value = (&'static str, String, String)> {
    let ids = prop::collection::vec(prop::sample::select(IDS), 4);
    (prop::sample::select(forms()), ids)
        .prop_map(|((version, kind, pattern), ids)| (version, kind, fill(pattern, ids)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn there_and_back_is_the_same_name((from, kind, name) in any_name(), to in prop::sample::select(vec!["v1alpha", "v1beta", "v1"])) {
        if let Ok(Conversion::Name(there)) = THINGS.convert(from, to, &kind, &name, &home) {
            let back = THINGS.convert(to, from, &there.kind, &there.name, &home).unwrap();
            let back = back.name().expect("what leads there leads back");
            prop_assert_eq!((&back.kind, &back.name), (&kind, &name));
        }
    }

    #[test]
    fn converting_any_text_never_panics(name in "[a-z/~-]{0,40}") {
        for kind in ["Secret", "Pair", "Descriptor", "Any"] {
            let _ = THINGS.convert("v1alpha", "v1beta", &format!("things.test/{kind}"), &name, &home);
        }
    }
}

/// What trying out finds in a service of these two types `Item` with this upgrade.
fn tried(older: &str, newer: &str, names: &str) -> String {
    let manifest = "name: things.test\nversions:\n  v1: { package: things.v1 }\n  v2: { package: things.v2 }\n";
    let file = |path: &str, text: String| (path.to_owned(), text);
    let files = vec![
        file("a.proto", proto("v1", &[("Item", &older.split(' ').collect::<Vec<_>>())])),
        file("b.proto", proto("v2", &[("Item", &newer.split(' ').collect::<Vec<_>>())])),
        file("upgrades/v1-v2.yaml", format!("types: {{ Item: {{ names: [ {names} ] }} }}\n")),
    ];
    let loaded = load(&[Source::Files { service_yaml: Some(manifest.to_owned()), files }]);
    let found = diagnostic::render(&loaded.diagnostics);
    let service = loaded.registry.service("things.test").unwrap_or_else(|| panic!("{found}"));
    diagnostic::render(&check::check(service).problems)
}

#[test]
fn rules_that_do_what_they_say_pass_the_trial() {
    let tried = check::check(&THINGS.service);
    assert_eq!(diagnostic::render(&tried.problems), "");
    assert!(tried.names > 400, "{} names were tried", tried.names);
}

#[test]
fn names_that_an_earlier_entry_takes_fail_the_trial() {
    let entries = "{ from: 'items/{a}/{b}', to: 'lists/{a}/items/{b}' }, { from: 'items/x/{b}', to: 'items/{b}' }, { removed: 'items/{item=**}' }";
    expect![[r#"
        warning[BL088]: names "items/{b}" of "things.test/Item" in version v2 should have counterparts in version v1, and "items/item1" has none: what it would be called is not a name of the type, or leads back to another
          --> upgrades/v1-v2.yaml
          = help: let both patterns take the same ids, or give such names an entry of their own before the one that takes them

        0 errors, 1 warning
    "#]].assert_eq(&tried(
        "items/{item=**}",
        "lists/{list}/items/{item} items/{item}",
        entries,
    ));
}

#[test]
fn ids_that_the_other_version_does_not_allow_fail_the_trial() {
    let entries = "{ from: 'items/{item=**}', to: 'items/{item}' }";
    expect![[r#"
        warning[BL088]: names "items/{item=**}" of "things.test/Item" in version v1 should have counterparts in version v2, and "items/abc/def" has none: what it would be called is not a name of the type, or leads back to another
          --> upgrades/v1-v2.yaml
          = help: let both patterns take the same ids, or give such names an entry of their own before the one that takes them

        0 errors, 1 warning
    "#]].assert_eq(&tried("items/{item=**}", "items/{item}", entries));
}

#[test]
fn the_example_in_two_versions_converts_and_shows_its_rules() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/versions");
    let loaded = load(&[Source::Folder(folder.into())]);
    assert_eq!(diagnostic::render(&loaded.diagnostics), "");
    let service = loaded.registry.service("vault.example.com").unwrap();
    let text = bowline_schema::show::upgrade(&service.upgrades[0]).replace(folder, "");
    expect![[r#"
        names from v1alpha2 to v1 (/upgrades/v1alpha2-v1.yaml)
          same names Project
          type Secret
            projects/{project}/secrets/{secret} is projects/{project}/regions/{region}/secrets/{secret} with region from control_region
          type Key becomes CryptoKey
            projects/{project}/keys/{key} is projects/{project}/cryptoKeys/{key}
          type Reader
            readers/{reader} is apps/default/readers/{reader}
          type Audit
            audits/{app}/{audit} is apps/{app}/audits/{audit}
          removed Draft
          added App
    "#]].assert_eq(&text);
    let tried = check::check(service);
    assert_eq!((diagnostic::render(&tried.problems), tried.names > 100), (String::new(), true));
}
