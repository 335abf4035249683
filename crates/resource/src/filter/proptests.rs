//! Laws of filters: no text panics, printing loses nothing, equal filters agree, and a plain evaluator agrees.

use proptest::prelude::*;

use super::*;
use crate::fixture::{device, device_type};

/// Texts that are filters more often than not.
fn fragments() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "display_name",
        "spec.model",
        "tags",
        "metadata.labels",
        "big",
        "enabled",
        "weight",
        "state",
        "installed",
        "network",
        "name",
        "spec.interfaces.mac",
        "slots.2",
        "nickname",
        "=",
        "!=",
        "<",
        ">=",
        ":",
        "*",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        "AND",
        "OR",
        "NOT",
        "-",
        "IN",
        "IS",
        "NULL",
        "NaN",
        "LIKE",
        "CONTAINS",
        "ANY",
        "ALL",
        "true",
        "1",
        "-2.5",
        "ACTIVE",
        "\"x*\"",
        "\"a b\"",
        "'q'",
        "90s",
        "2026-01-31T10:00:00Z",
        "--",
        "\n",
        ".",
        "\\",
        "`",
        "é",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.join(" "))
}

/// A condition that fits the device type.
fn test() -> impl Strategy<Value = String> {
    let text = "[a-zA-Z*%_ .\"\\\\-]{0,6}";
    let quoted =
        move || text.prop_map(|t| format!("\"{}\"", t.replace('\\', "\\\\").replace('"', "\\\"")));
    let operator = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    prop_oneof![
        (operator.clone(), quoted()).prop_map(|(o, t)| format!("display_name {o} {t}")),
        (operator.clone(), any::<i64>()).prop_map(|(o, n)| format!("big {o} {n}")),
        (operator.clone(), -9.0..9.0f64).prop_map(|(o, n)| format!("weight {o} {n}")),
        (operator, 0..3i32).prop_map(|(o, n)| format!("state {o} {n}")),
        quoted().prop_map(|t| format!("display_name LIKE {t}")),
        quoted().prop_map(|t| format!("display_name:{t}")),
        quoted().prop_map(|t| format!("metadata.labels:{t}")),
        quoted().prop_map(|t| format!("network = {t}")),
        quoted().prop_map(|t| format!("tags CONTAINS ALL ({t}, \"red\")")),
        (quoted(), quoted()).prop_map(|(a, b)| format!("display_name NOT IN ({a}, {b})")),
        (quoted(), quoted()).prop_map(|(key, t)| format!("metadata.labels.{key} = {t}")),
        quoted(),
        prop::sample::select(vec![
            "nickname IS NULL",
            "spec.wired != NULL",
            "weight IS NOT NaN",
            "spec:*",
            "enabled=true",
            "spec.wired = { plug: \"x\" }",
            "installed < 2026-01-31T10:00:00Z",
            "lease >= -1.5s",
        ])
        .prop_map(str::to_owned),
    ]
}

/// A filter that fits the device type.
fn filter() -> impl Strategy<Value = String> {
    test().prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|all| format!("({})", all.join(" AND "))),
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|any| format!("({})", any.join(" OR "))),
            prop::collection::vec(inner.clone(), 2..3)
                .prop_map(|all| format!("({})", all.join(" "))),
            inner.clone().prop_map(|one| format!("NOT {one}")),
            inner.prop_map(|one| format!("-({one})")),
        ]
    })
}

fn devices() -> Vec<Document> {
    [
        "{}",
        r#"{"displayName": "Front Door", "big": "5", "weight": 2.5, "state": "ACTIVE", "tags": ["red"],
            "metadata": {"labels": {"env": "prod"}}, "network": "a/b", "enabled": true}"#,
        r#"{"displayName": "a*b%", "weight": "NaN", "nickname": "x", "spec": {"wired": {"plug": "x"}},
            "installed": "2020-01-01T00:00:00Z", "lease": "-3s", "big": "-1"}"#,
    ]
    .map(device)
    .into()
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let error = Filter::parse(&text, &device_type());
        if let Err(error) = error {
            let _ = error.render();
        }
    }

    #[test]
    fn no_mix_of_pieces_panics(text in fragments()) {
        match Filter::parse(&text, &device_type()) {
            Ok(filter) => devices().iter().for_each(|device| { filter.matches(device); }),
            Err(error) => { let _ = error.render(); }
        }
    }

    #[test]
    fn what_parses_prints_to_the_same_filter(text in prop_oneof![filter(), fragments()]) {
        let Ok(parsed) = Filter::parse(&text, &device_type()) else { return Ok(()) };
        let printed = parsed.to_string();
        let again = Filter::parse(&printed, &device_type());
        let again = again.map_err(|error| TestCaseError::fail(format!("{text}\n{}", error.render())))?;
        prop_assert_eq!(&again, &parsed, "{} printed as {}", text, printed);
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn every_made_filter_fits(text in filter()) {
        let parsed = Filter::parse(&text, &device_type());
        prop_assert!(parsed.is_ok(), "{}", parsed.unwrap_err().render());
    }

    #[test]
    fn not_and_or_are_what_they_are_in_logic(a in filter(), b in filter()) {
        let holds = |text: String, device: &Document| Filter::parse(&text, &device_type()).unwrap().matches(device);
        for device in devices() {
            let (x, y) = (holds(a.clone(), &device), holds(b.clone(), &device));
            prop_assert_eq!(holds(format!("({a}) AND ({b})"), &device), x && y);
            prop_assert_eq!(holds(format!("({a}) ({b})"), &device), x && y);
            prop_assert_eq!(holds(format!("({a}) OR ({b})"), &device), x || y);
            prop_assert_eq!(holds(format!("NOT ({a})"), &device), !x);
        }
    }

    #[test]
    fn numbers_compare_as_rust_does(found: i64, wanted: i64) {
        let device = device(&format!(r#"{{"big": "{found}"}}"#));
        for (operator, expected) in [
            ("=", found == wanted), ("!=", found != wanted), ("<", found < wanted),
            ("<=", found <= wanted), (">", found > wanted), (">=", found >= wanted),
        ] {
            let filter = Filter::parse(&format!("big {operator} {wanted}"), &device_type()).unwrap();
            prop_assert_eq!(filter.matches(&device), expected);
        }
    }

    /// LIKE against the plainest evaluator there is.
    #[test]
    fn like_is_what_its_definition_says(text in "[ab_%]{0,6}", pattern in "[ab_%]{0,6}") {
        fn like(text: &[u8], pattern: &[u8]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some((b'%', rest)) => (0..=text.len()).any(|at| like(&text[at..], rest)),
                Some((b'_', rest)) => !text.is_empty() && like(&text[1..], rest),
                Some((c, rest)) => text.first() == Some(c) && like(&text[1..], rest),
            }
        }
        let device = device(&format!(r#"{{"displayName": "{text}"}}"#));
        let filter = Filter::parse(&format!("display_name LIKE \"{pattern}\""), &device_type()).unwrap();
        prop_assert_eq!(filter.matches(&device), like(text.as_bytes(), pattern.as_bytes()));
    }
}
