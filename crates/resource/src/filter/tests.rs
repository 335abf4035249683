//! What filters mean: one table of conditions on one device, then errors and printing.

use expect_test::expect;

use super::*;
use crate::document::Document;
use crate::fixture::{device, device_filter, device_type, message, secret_type};
use crate::metadata::Meta;

/// A device with something in every sort of field.
fn full() -> Document {
    device(
        r#"{
        "name": "projects/p/regions/eu/devices/d1", "displayName": "Front Door",
        "metadata": {"labels": {"env": "prod", "a.b": "x", "empty": ""}, "generation": "3"},
        "spec": {"model": "M-100", "ports": [80, 443], "wired": {"plug": "c14"},
                 "interfaces": [{"network": "projects/p/networks/n1", "mac": "aa"}, {"mac": "bb"}]},
        "enabled": true, "priority": 0, "weight": 2.5,
        "installed": "2026-01-31T10:00:00Z", "lease": "90s", "state": "ACTIVE",
        "payload": "aGk=", "big": "-9007199254740993", "huge": "18446744073709551615",
        "nickname": "", "attributes": {"k": "v"}, "slots": {"2": {"mac": "cc"}},
        "tags": ["red", "green"], "ratio": 0.5, "network": "projects/p/networks/n1"}"#,
    )
}

/// Checks conditions, one a line, against a document.
#[track_caller]
fn check(document: &Document, hold: &[&str], fail: &[&str]) {
    for text in hold {
        assert!(device_filter(text).matches(document), "should match: {text}");
    }
    for text in fail {
        assert!(!device_filter(text).matches(document), "should not match: {text}");
    }
}

#[test]
fn scalars_compare_by_their_kind() {
    check(
        &full(),
        &[
            r#"display_name = "Front Door""#,
            r#"displayName == "Front Door""#,
            r#"display-name != "front door""#,
            r#"display_name > "E" AND display_name < "G""#,
            "enabled = TRUE",
            "enabled != false",
            "weight >= 2.5",
            "weight < 1e3",
            "ratio = 0.5",
            "big = -9007199254740993",
            r#"big < "-9007199254740992""#,
            "huge = 18446744073709551615",
            "state = ACTIVE",
            r#"state = "ACTIVE""#,
            "state = 1",
            "state < RETIRED",
            r#"payload = "aGk=""#,
            "payload = aGk",
            r#"installed > "2026-01-31T09:59:59Z""#,
            "installed = 2026-01-31T11:00:00+01:00",
            "installed > 2026-01-31",
            "lease = 90s",
            r#"lease < "90.000000001s""#,
            "metadata.generation = 3",
            r#"metadata.labels.env = "prod""#,
            r"metadata.labels.a\.b = x",
            "metadata.labels.`a.b` = x",
            r#"metadata.labels."a.b" = x"#,
            "slots.2.mac = cc",
        ],
        &[
            r#"display_name = "front door""#,
            "big = -9007199254740992",
            "state = RETIRED",
            "installed < 2026-01-31T10:00:00Z",
            "slots.3.mac = cc",
        ],
    );
}

#[test]
fn missing_scalars_are_their_default() {
    check(
        &device("{}"),
        &[
            r#"display_name = """#,
            "enabled = false",
            "big = 0 AND huge < 1",
            "state = STATE_UNSPECIFIED",
            r#"metadata.labels.env = """#,
            r#"metadata.labels.env != "prod""#,
            r#"spec.model = """#,
            "priority = 0",
            "slots.2.mac < a",
        ],
        &[r#"spec.model != """#, "enabled = true", "big > 0"],
    );
}

#[test]
fn a_missing_message_is_less_than_any() {
    check(
        &device("{}"),
        &[
            "installed < 1970-01-01T00:00:00Z",
            "installed != 2026-01-31T10:00:00Z",
            "lease <= -1s",
            r#"nickname != """#,
            r#"nickname < """#,
        ],
        &[
            "installed = 1970-01-01T00:00:00Z",
            "installed > 1970-01-01T00:00:00Z",
            "lease >= 0s",
            r#"nickname = """#,
        ],
    );
}

#[test]
fn null_is_what_is_absent() {
    check(
        &full(),
        &[
            "status IS NULL",
            "status.phase = NULL",
            "spec IS NOT NULL",
            "spec != NULL",
            "spec.wireless.ssid is null",
            "metadata.labels.nothing IS NULL",
            "metadata.labels.empty IS NOT NULL",
            "nickname IS NOT NULL",
            "priority IS NOT NULL",
            "tags IS NOT NULL",
            "count IS NOT NULL",
        ],
        &["spec IS NULL", "status IS NOT NULL", "priority IS NULL"],
    );
    check(&device("{}"), &["priority IS NULL", "tags IS NULL", "spec.model IS NULL"], &[]);
}

#[test]
fn not_a_number_is_its_own_matter() {
    let nan = device(r#"{"weight": "NaN"}"#);
    check(
        &nan,
        &["weight IS NaN", "weight != 1", "NOT weight = NaN"],
        &["weight IS NOT NaN", "weight < 1", "weight >= 1"],
    );
    check(&full(), &["weight IS NOT NaN"], &["weight IS NaN"]);
}

#[test]
fn lists_are_asked_with_contains() {
    check(
        &full(),
        &[
            r#"tags CONTAINS "red""#,
            "tags HAS red",
            "tags HAVE VALUE green",
            "tags HAVING ANY [blue, green]",
            "tags CONTAIN ALL (red, green)",
            "spec.ports contains 80",
            "spec.interfaces.mac CONTAINS ALL (aa, bb)",
            r#"tags CONTAINS "r*""#,
            "metadata.labels HAS env",
            r#"spec.interfaces CONTAINS { mac: "bb" }"#,
        ],
        &[
            "tags CONTAINS ALL (red, blue)",
            "tags HAS ANY [blue]",
            "spec.ports CONTAINS 8080",
            "metadata.labels HAS prod",
        ],
    );
}

#[test]
fn in_takes_one_of_a_list() {
    check(
        &full(),
        &[
            "state IN (RETIRED, ACTIVE)",
            r#"display_name IN ["x", "Front Door"]"#,
            "state NOT IN [RETIRED]",
            "network IN (projects/-/networks/n1)",
        ],
        &["state IN (RETIRED)", "state NOT IN (ACTIVE)", "big IN (1, 2)"],
    );
}

#[test]
fn like_has_percent_and_underscore() {
    check(
        &full(),
        &[
            r#"display_name LIKE "Front%""#,
            r#"display_name LIKE "F____ Door""#,
            r#"display_name LIKE "%o%""#,
            r#"display_name NOT LIKE "Front\%""#,
            r#"display_name LIKE "%""#,
            r#"status.phase LIKE """#,
        ],
        &[
            r#"display_name LIKE "front%""#,
            r#"display_name LIKE "Front""#,
            r#"display_name LIKE "F_%_*""#,
        ],
    );
}

#[test]
fn texts_with_a_star_are_patterns() {
    check(
        &full(),
        &[
            r#"display_name = "*Door""#,
            "display_name = F*r",
            r#"display_name != "\*Door""#,
            r#"display_name = "*""#,
        ],
        &[r#"display_name = "*door""#, r#"display_name = "\*Door""#],
    );
}

#[test]
fn names_match_by_segments_with_wildcards() {
    check(
        &full(),
        &[
            r#"network = "projects/-/networks/n1""#,
            r#"network = "projects/p/networks/-""#,
            r#"network = "//things.test/projects/p/networks/n1""#,
            r#"name = "projects/p/regions/-/devices/d1""#,
            r#"network != "projects/q/networks/-""#,
            r#"spec.interfaces.network: "projects/-/networks/n1""#,
        ],
        &[r#"network = "projects/-/networks/n2""#, r#"network = "projects/-""#, r#"network = "-""#],
    );
}

#[test]
fn the_has_operator_follows_aip_160() {
    check(
        &full(),
        &[
            "metadata.labels:env",
            "metadata.labels.env:prod",
            "metadata.labels.env:*",
            "metadata.labels:*",
            "metadata.labels:env metadata.labels:empty",
            "tags:red",
            "tags:(red AND green)",
            "tags:(blue OR green)",
            "tags:(NOT blue)",
            "spec:model",
            "spec.model:*",
            "spec.interfaces:*",
            "spec.interfaces.mac:bb",
            "display_name:door",
            r#"display_name:"ront d""#,
            "display_name:fr*",
            "state:(ACTIVE OR RETIRED)",
            "state=(ACTIVE OR RETIRED)",
            "enabled:true",
            "spec.ports:80",
            "slots:2",
            "priority:*",
        ],
        &[
            "metadata.labels:nothing",
            "metadata.labels.env:pro",
            "metadata.labels.nothing:*",
            "status:*",
            "status:phase",
            "tags:(red AND blue)",
            "display_name:door*",
            "count:*",
            "slots:3",
        ],
    );
}

#[test]
fn words_search_every_text() {
    check(
        &full(),
        &[
            "front",
            r#""Front Door""#,
            "m-100",
            "prod",
            "active",
            "front AND prod",
            "red green",
            "f*t",
            "c14",
            "env",
        ],
        &["nowhere", "-front", "front nowhere"],
    );
}

#[test]
fn and_binds_tighter_than_or_and_adjacency_is_and() {
    check(
        &full(),
        &[
            "enabled = true OR enabled = false AND state = RETIRED",
            "enabled = true state = ACTIVE",
            "enabled = true + state = ACTIVE | big = 1",
            "(enabled = false OR state = ACTIVE) AND tags:red",
            "NOT enabled = false",
            "-enabled = false",
            "NOT (enabled = false OR state = RETIRED)",
            "NOT NOT enabled = true",
            "enabled = true -- a comment\n AND state = ACTIVE -- another",
        ],
        &["enabled = false state = ACTIVE", "NOT enabled = true OR state = RETIRED"],
    );
}

#[test]
fn messages_are_compared_as_a_whole() {
    check(
        &full(),
        &[
            r#"spec.wired = { plug: "c14" }"#,
            r#"spec.wired = { plug "c14" }"#,
            "spec.wired != {}",
            r#"metadata != { labels: {env: "prod"} }"#,
        ],
        &[r#"spec.wired = { plug: "c13" }"#, "status = {}"],
    );
}

#[test]
fn nothing_and_empty_parentheses_match_everything() {
    for text in ["", "  ", "()", " () ", "-- only a comment"] {
        let filter = device_filter(text);
        assert!(filter.is_everything() && filter.matches(&device("{}")), "{text:?}");
    }
}

#[test]
fn metadata_beside_the_resource_is_filtered_as_if_it_were_inside() {
    let ty = secret_type();
    let body = message(&ty, r#"{"name": "projects/p/secrets/s"}"#);
    let mut secret = Document::new(ty.clone(), body);
    let labels = [("env".to_owned(), "prod".to_owned())].into();
    secret.set_meta(&Meta { labels, generation: 2, ..Meta::default() });
    let matches = |text: &str| Filter::parse(text, &ty).unwrap().matches(&secret);
    assert!(matches("metadata.labels.env = prod AND metadata.generation = 2"));
    assert!(matches("labels.env = prod"));
    assert!(!matches("metadata.labels:other"));
}

#[test]
fn a_required_name_narrows_the_scan() {
    let ty = device_type();
    let name = |text: &str| device_filter(text).name(&ty).map(str::to_owned);
    let expected = Some("projects/p/regions/-/devices/d".to_owned());
    assert_eq!(name("name = projects/p/regions/-/devices/d"), expected);
    assert_eq!(name("enabled = true name = projects/p/regions/-/devices/d"), expected);
    assert_eq!(name("enabled = true OR name = projects/p/devices/d"), None);
    assert_eq!(name("NOT name = projects/p/devices/d"), None);
}

/// What is said of each of these filters.
fn errors(texts: &[&str]) -> String {
    let error = |text: &&str| Filter::parse(text, &device_type()).unwrap_err().render();
    texts.iter().map(error).collect::<Vec<_>>().join("\n")
}

#[test]
fn errors_of_grammar_point_at_the_place_and_say_what_was_expected() {
    expect![[r#"
        display_name =
                      ^ expected a value, found the end
        display_name = "open
                       ^ text without closing quote
        enabled = true AND
                          ^ expected a condition, found the end
        (enabled = true
                       ^ expected ")", AND or OR, found the end
        enabled = true)
                      ^ expected AND, OR or the end, found `)`
        regex(display_name, "x")
        ^ function "regex" is not known, filters have no functions
        display_name LIKE
                         ^ expected a text, found the end
        big IN ()
                ^ expected a value, found `)`
        weight IS 3
                  ^ expected NULL or NaN, found `3`
        spec.
             ^ expected a field or key after the dot, found the end"#]]
    .assert_eq(&errors(&[
        "display_name =",
        "display_name = \"open",
        "enabled = true AND",
        "(enabled = true",
        "enabled = true)",
        "regex(display_name, \"x\")",
        "display_name LIKE",
        "big IN ()",
        "weight IS 3",
        "spec.",
    ]));
}

#[test]
fn errors_of_values_say_what_kind_was_expected() {
    expect![[r#"
        enabled = maybe
                  ^ expected true or false, found `maybe`
        big = 1.5
              ^ expected a whole number (int64), found `1.5`
        count = 3000000000
                ^ expected a whole number (int32), found `3000000000`
        state = BROKEN
                ^ expected one of STATE_UNSPECIFIED, ACTIVE, RETIRED, found `BROKEN`
        installed > yesterday
                    ^ expected a time like 2026-01-31T10:00:00Z, found `yesterday`
        lease > 90
                ^ expected a duration like 90s or 1.5s, found `90`
        spec = x
               ^ expected fields of Spec in { }, found `x`
        big < NULL
              ^ expected a value that can be ordered, found `NULL`
        slots.two.mac = x
              ^ "two" is not a key of a map with int32 keys
        AND big = x
                  ^ expected a whole number (int64), found `x`"#]]
    .assert_eq(&errors(&[
        "enabled = maybe",
        "big = 1.5",
        "count = 3000000000",
        "state = BROKEN",
        "installed > yesterday",
        "lease > 90",
        "spec = x",
        "big < NULL",
        "slots.two.mac = x",
        "enabled = true\nAND big = x",
    ]));
}

#[test]
fn errors_of_paths_say_what_can_be_asked_there() {
    expect![[r#"
        displayNam = x
        ^ Device has no field "displayNam" (did you mean "display_name"?)
        spec.modell = x
             ^ Spec has no field "modell" (did you mean "model"?)
        tags = red
        ^ "tags" is a list, use ":" or CONTAINS
        spec.interfaces.mac = aa
        ^ "spec.interfaces.mac" passes through a list, use ":" or CONTAINS
        metadata.labels = x
        ^ "metadata.labels" is a map, name a key of it
        spec > { }
        ^ "spec" is a message, which has no order
        big LIKE "1%"
        ^ "big" is no text
        big IS NaN
        ^ "big" is no float
        display_name CONTAINS x
        ^ "display_name" is no list"#]]
    .assert_eq(&errors(&[
        "displayNam = x",
        "spec.modell = x",
        "tags = red",
        "spec.interfaces.mac = aa",
        "metadata.labels = x",
        "spec > { }",
        "big LIKE \"1%\"",
        "big IS NaN",
        "display_name CONTAINS x",
    ]));
}

#[test]
fn long_and_deep_filters_are_refused() {
    let long = format!("display_name = \"{}\"", "x".repeat(FILTER_BYTES_MAX));
    let error = Filter::parse(&long, &device_type()).unwrap_err();
    assert_eq!(error.problem, FilterProblem::TooLong);
    for (open, close) in [("(", ")"), ("NOT ", ""), ("- ", "")] {
        let nested = |n: usize| format!("{}enabled = true{}", open.repeat(n), close.repeat(n));
        assert!(Filter::parse(&nested(FILTER_DEPTH_MAX), &device_type()).is_ok());
        let error = Filter::parse(&nested(FILTER_DEPTH_MAX + 1), &device_type()).unwrap_err();
        assert_eq!(error.problem, FilterProblem::TooDeep);
    }
    let braces = format!("spec = {}{}", "{ wired: ".repeat(2000), "}".repeat(100));
    assert!(Filter::parse(&braces, &device_type()).is_err());
}

#[test]
fn filters_print_in_one_form() {
    let print = |text: &str| device_filter(text).to_string();
    let all = [
        "displayName=x enabled=true|big>1",
        "-tags:red",
        "tags:(a OR b)",
        r"metadata.labels.a\.b != NULL",
        "front",
        "state not in [1]",
        "name = projects/-/devices/d",
    ]
    .map(print)
    .join("\n");
    expect![[r#"
        (display_name = x AND enabled = true) OR big > 1
        NOT tags:red
        tags:a OR tags:b
        metadata.labels.`a.b` IS NOT NULL
        "front"
        state NOT IN (1)
        name = "projects/-/devices/d""#]]
    .assert_eq(&all);
}
