//! Tests of names: what parses, what a parent covers, what ids are made.

use std::sync::{Arc, LazyLock};

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::fixture::{device_type, device_type_with, type_of};

fn parsed(patterns: &[&str], name: &str) -> String {
    match parse(&type_of(patterns), name) {
        Ok(name) => format!("{} of {:?} {:?}", name.pattern, name.parent, name.variables),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_first_pattern_that_fits_is_taken() {
    let patterns = ["secrets/{secret}", "projects/{project}/secrets/{secret}"];
    expect![[r#"1 of "projects/p" [("project", "p"), ("secret", "s")]"#]]
        .assert_eq(&parsed(&patterns, "projects/p/secrets/s"));
    expect![[r#"0 of "" [("secret", "s")]"#]].assert_eq(&parsed(&patterns, "secrets/s"));
}

#[test]
fn a_name_that_fits_no_pattern_is_told_which_there_are() {
    expect![[r#""secrets/s/x" is not a name of things.test/Network, expected "secrets/{secret}" or "p/{p}/secrets/{secret}""#]]
        .assert_eq(&parsed(&["secrets/{secret}", "p/{p}/secrets/{secret}"], "secrets/s/x"));
}

#[test]
fn ids_may_hold_slashes_where_the_pattern_says_so() {
    expect![[r#"0 of "projects/p" [("project", "p"), ("path", "a/b/c")]"#]]
        .assert_eq(&parsed(&["projects/{project}/logs/{path=**}"], "projects/p/logs/a/b/c"));
}

#[test]
fn complex_ids_are_split_at_their_separator() {
    let patterns = ["users/{user}/pairs/{a}~{b}"];
    expect![[r#"0 of "users/u" [("user", "u"), ("a", "x"), ("b", "y~z")]"#]]
        .assert_eq(&parsed(&patterns, "users/u/pairs/x~y~z"));
    assert!(parse(&type_of(&patterns), "users/u/pairs/x").is_err());
    assert!(parse(&type_of(&patterns), "users/u/pairs/~y").is_err());
}

#[test]
fn the_id_tells_a_resource_from_the_singleton_under_the_same_parent() {
    let config = type_of(&["projects/{project}/config", "projects/{project}/configs/{config}"]);
    assert_eq!(build(&config, "projects/p", "c").unwrap(), "projects/p/configs/c");
    assert_eq!(build(&config, "projects/p", "").unwrap(), "projects/p/config");
}

#[test]
fn a_singleton_has_no_id() {
    let settings = type_of(&["projects/{project}/settings"]);
    assert_eq!(build(&settings, "projects/p", "").unwrap(), "projects/p/settings");
    assert!(matches!(build(&settings, "projects/p", "x"), Err(NameError::BadId { .. })));
    assert!(!has_id(&settings, "projects/p"));
    assert_eq!(parse(&settings, "projects/p/settings").unwrap().parent, "projects/p");
}

#[test]
fn fixed_segments_may_be_left_out_of_a_parent() {
    let global = type_of(&["projects/{project}/global/networks/{network}"]);
    assert_eq!(build(&global, "projects/p", "n").unwrap(), "projects/p/global/networks/n");
    assert_eq!(build(&global, "projects/p/global", "n").unwrap(), "projects/p/global/networks/n");
}

#[test]
fn a_full_name_must_have_the_domain_of_the_type() {
    let ty = type_of(&["secrets/{secret}"]);
    let name = parse(&ty, "//things.test/secrets/s").unwrap();
    assert_eq!(name.text, "secrets/s");
    assert_eq!(name.full(&ty), "//things.test/secrets/s");
    expect![[r#"full name is of "evil.test", expected "things.test""#]]
        .assert_eq(&parse(&ty, "//evil.test/secrets/s").unwrap_err().to_string());
}

#[test]
fn hostile_names_are_refused() {
    let ty = type_of(&["secrets/{secret}"]);
    for name in [
        "",
        "/",
        "secrets/",
        "/secrets/s",
        "secrets//s",
        "secrets/.",
        "secrets/..",
        "secrets/a b",
        "secrets/a\0",
        "secrets/a\n",
        "secrets/*",
        "secrets/{x}",
        "secrets/a?b",
        "secrets/a#b",
        "secrets/-",
        "//",
        "//things.test",
        "//things.test/",
        "secrets/\u{202e}x",
        "secrets/a\\b",
    ] {
        assert!(parse(&ty, name).is_err(), "{name:?}");
    }
}

#[test]
fn long_names_are_refused_before_they_are_matched() {
    let ty = type_of(&["logs/{path=**}"]);
    assert!(matches!(parse(&ty, &"a".repeat(1025)), Err(NameError::TooLong { bytes: 1025 })));
    let many = format!("logs{}", "/a".repeat(80));
    assert!(matches!(parse(&ty, &many), Err(NameError::TooManySegments { segments: 81 })));
}

#[test]
fn the_types_id_pattern_decides_over_new_ids() {
    let pattern = Some("[a-z][a-z0-9]{1,3}".to_owned());
    let ty = device_type_with(|ty| ty.id_pattern = pattern);
    assert!(check_new_id(&ty, "eu1").is_ok());
    expect![[r#"id "EU1" is not allowed: it does not match [a-z][a-z0-9]{1,3}"#]]
        .assert_eq(&check_new_id(&ty, "EU1").unwrap_err().to_string());
    assert!(parse(&ty, "projects/p/devices/toolong").is_err());
}

#[test]
fn a_parent_that_does_not_fit_is_told_which_do() {
    expect![[r#""folders/f" is not a parent of things.test/Device, expected "projects/{project}" or "projects/{project}/regions/{region}""#]]
        .assert_eq(&build(&device_type(), "folders/f", "d").unwrap_err().to_string());
}

#[test]
fn a_wildcard_parent_matches_every_region() {
    let scope = Scope::of_parent(&device_type(), "projects/p/regions/-").unwrap();
    assert_eq!(scope.prefix(), "projects/p/regions/");
    assert!(scope.contains("projects/p/regions/eu/devices/d"));
    assert!(!scope.contains("projects/p/devices/d"));
    assert!(!scope.contains("projects/q/regions/eu/devices/d"));
}

#[test]
fn a_parent_covers_only_its_own_pattern() {
    let scope = Scope::of_parent(&device_type(), "projects/p").unwrap();
    assert_eq!(scope.prefix(), "projects/p/devices/");
    assert!(scope.contains("projects/p/devices/d"));
    assert!(!scope.contains("projects/p/regions/eu/devices/d"));
}

#[test]
fn the_empty_parent_covers_everything() {
    let scope = Scope::of_parent(&device_type(), "").unwrap();
    assert!(scope.is_all() && scope.prefix().is_empty());
    assert!(scope.contains("projects/p/devices/d"));
}

#[test]
fn a_wildcard_name_is_a_scope() {
    let scope = Scope::of_name(&device_type(), "projects/-/devices/d").unwrap();
    assert_eq!(scope.prefix(), "projects/");
    assert!(scope.contains("projects/q/devices/d"));
    assert!(!scope.contains("projects/q/devices/e"));
}

#[test]
fn a_generated_id_reads_like_the_display_name() {
    let mut zeros = |bytes: &mut [u8]| bytes.fill(0);
    for (display, expected) in [
        ("Front door", expect!["front-door-a000000000"]),
        ("4 wheels", expect!["wheels-a000000000"]),
        ("The quick brown fox jumps over", expect!["the-quick-brown-fox-jum-a00000"]),
        ("ümläut", expect!["ml-ut-a000000000"]),
        ("", expect!["a000000000000000"]),
        ("---", expect!["a000000000000000"]),
    ] {
        expected.assert_eq(&generate_id(display, &mut zeros));
    }
}

/// What `Scope::contains` should say, written as plainly as can be.
fn is_under(patterns: &[&str], parent: &str, name: &str) -> bool {
    patterns.iter().any(|pattern| {
        let pattern: Vec<_> = pattern.split('/').collect();
        let parent: Vec<_> = parent.split('/').collect();
        let name: Vec<_> = name.split('/').collect();
        let fits = |(p, n): (&&str, &&str)| p.starts_with('{') || p == n;
        parent.len() + 2 == pattern.len()
            && name.len() == pattern.len()
            && pattern.iter().zip(&name).all(fits)
            && pattern.iter().zip(&parent).all(|(p, n)| p.starts_with('{') || p == n)
            && parent.iter().zip(&name).all(|(p, n)| *p == "-" || p == n)
    })
}

const PATTERNS: [&str; 3] = ["a/{a}/x/{x}", "a/{a}/b/{b}/x/{x}", "c/{c}/x/{x}"];

fn small_name() -> impl Strategy<Value = String> {
    prop::collection::vec("[abcx-]", 1..7).prop_map(|parts| parts.join("/"))
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,60}", id in ".{0,20}") {
        let ty = device_type();
        let _ = parse(&ty, &text);
        let _ = build(&ty, &text, &id);
        let _ = Scope::of_parent(&ty, &text).map(|scope| scope.contains(&id));
        let _ = Scope::of_name(&ty, &text);
    }

    #[test]
    fn a_built_name_parses_to_its_parts(project in "[a-z0-9._~-]{2,9}", id in "[a-zA-Z0-9._~-]{2,9}") {
        prop_assume!(project != ".." && id != "..");
        let ty = device_type();
        let parent = format!("projects/{project}");
        let name = parse(&ty, &build(&ty, &parent, &id).unwrap()).unwrap();
        prop_assert_eq!(&name.parent, &parent);
        prop_assert_eq!(name.variable("device"), Some(id.as_str()));
        prop_assert_eq!(build(&ty, &name.parent, name.variable("device").unwrap()).unwrap(), name.text);
    }

    #[test]
    fn a_scope_is_what_segments_say(parent in small_name(), name in small_name()) {
        static TY: LazyLock<Arc<ResourceType>> = LazyLock::new(|| type_of(&PATTERNS));
        let ty = &TY;
        let expected = is_under(&PATTERNS, &parent, &name);
        match Scope::of_parent(ty, &parent) {
            Ok(scope) => {
                prop_assert_eq!(scope.contains(&name), expected);
                if expected {
                    prop_assert!(name.as_str() >= scope.prefix());
                    let end = prefix_end(scope.prefix());
                    prop_assert!(end.is_none_or(|end| name < end));
                }
            }
            Err(_) => prop_assert!(!expected),
        }
    }

    #[test]
    fn a_prefix_range_is_what_starts_with_it(prefix in ".{0,4}", text in ".{0,6}", follow in ".{0,4}") {
        let end = prefix_end(&prefix);
        for text in [text, format!("{prefix}{follow}")] {
            let inside = text >= prefix && end.as_ref().is_none_or(|end| text < *end);
            prop_assert_eq!(inside, text.starts_with(&prefix));
        }
    }

    #[test]
    fn a_generated_id_is_a_good_id(display in ".{0,60}", seed: u64) {
        let mut state = seed;
        let mut random = |bytes: &mut [u8]| for byte in bytes {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *byte = (state >> 56) as u8;
        };
        let id = generate_id(&display, &mut random);
        prop_assert!(id.len() <= 30);
        let rule = regex::Regex::new("^[a-z][a-z0-9-]{0,28}[a-z0-9]$").unwrap();
        prop_assert!(rule.is_match(&id), "{}", id);
        prop_assert_ne!(&id, &generate_id(&display, &mut random));
    }
}
