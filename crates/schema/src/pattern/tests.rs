//! Facts about name patterns.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn values(pattern: &str, name: &str) -> Option<Vec<(String, String)>> {
    let pattern = parse(pattern);
    let values = pattern.match_name(name)?;
    Some(values.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    Some(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

#[test]
fn a_name_gives_its_ids() {
    let pattern = "projects/{project}/devices/{device}";
    assert_eq!(
        values(pattern, "projects/p/devices/d"),
        pairs(&[("project", "p"), ("device", "d")])
    );
    for wrong in [
        "",
        "projects/p",
        "projects/p/devices/",
        "projects//devices/d",
        "projects/p/devices/d/e",
        "p/p/devices/d",
    ] {
        assert_eq!(values(pattern, wrong), None, "{wrong}");
    }
}

#[test]
fn a_wildcard_parent_matches_every_region() {
    let pattern = "projects/{project}/regions/{region}/devices/{device}";
    let found = values(pattern, "projects/p/regions/-/devices/d").unwrap();
    assert_eq!(found[1], ("region".to_owned(), "-".to_owned()));
}

#[test]
fn a_complex_id_splits_at_its_separators() {
    let pattern = "customers/{customer}/links/{a}~{b}.{c}";
    assert_eq!(
        values(pattern, "customers/1/links/x~y.z"),
        pairs(&[("customer", "1"), ("a", "x"), ("b", "y"), ("c", "z")])
    );
    assert_eq!(values(pattern, "customers/1/links/x~y"), None);
    assert_eq!(values(pattern, "customers/1/links/~y.z"), None);
    assert!(values(pattern, "customers/1/links/-").is_some(), "the wildcard stands for all parts");
}

#[test]
fn an_id_may_contain_slashes_where_the_pattern_says_so() {
    assert_eq!(values("shadows/{shadow=**}", "shadows/a/b/c"), pairs(&[("shadow", "a/b/c")]));
    assert_eq!(values("a/{x=**}/b/{y}", "a/1/b/2/b/3"), pairs(&[("x", "1/b/2"), ("y", "3")]));
}

#[test]
fn a_singleton_has_no_id() {
    let pattern = parse("projects/{project}/settings");
    assert!(pattern.is_singleton());
    assert_eq!(pattern.id_variable(), None);
    assert_eq!(pattern.parent().unwrap().text, "projects/{project}");
}

#[test]
fn the_parent_is_what_stands_before_the_collection() {
    let parent = |text: &str| parse(text).parent().map(|p| p.text);
    assert_eq!(parent("projects/{project}"), None);
    assert_eq!(parent("settings"), None);
    assert_eq!(parent("*"), None);
    assert_eq!(parent("projects/{p}/devices/{d}").unwrap(), "projects/{p}");
    assert_eq!(
        parent("projects/{p}/locations/global/hubs/{n}").unwrap(),
        "projects/{p}/locations/global"
    );
    assert_eq!(parent("projects/{p}/regions/{r}/x/{a}~{b}").unwrap(), "projects/{p}/regions/{r}");
}

#[test]
fn the_star_pattern_takes_any_name() {
    assert_eq!(values("*", "anything/at/all"), pairs(&[]));
    assert_eq!(values("*", ""), None);
}

#[test]
fn what_is_no_pattern_says_why() {
    for (text, problem) in [
        ("", "an empty segment"),
        ("a//b", "an empty segment"),
        ("a/{b", "a `{` without `}`"),
        ("a/b}", "a variable that does not fill its segment"),
        ("a/{}", "a variable without a proper name"),
        ("a/{b}/c/{b}", "the same variable twice"),
        ("a/*", "a `*` that is not the whole pattern"),
        ("a/{b}+{c}", "a separator that is none of `~`, `-`, `_`, `.`"),
    ] {
        assert_eq!(Pattern::parse(text).unwrap_err().problem, problem, "{text}");
    }
}

#[test]
fn regions_are_found_by_their_collection() {
    let pattern = parse("projects/{project}/regions/{region}/devices/{device}");
    assert!(pattern.is_regional("regions"));
    assert!(!pattern.is_regional("locations"));
    assert_eq!(
        pattern.parent().unwrap().without_region("regions").unwrap().text,
        "projects/{project}"
    );
}

#[test]
fn shapes_forget_the_names_of_variables() {
    assert_eq!(parse("a/{x}/b/{y}~{z}").shape(), "a/*/b/*~*");
    assert_eq!(parse("a/{x}/b/{y}~{z}").template(), "a/*/b/*");
}

proptest! {
    #[test]
    fn parsing_never_panics(text in ".{0,80}", name in ".{0,80}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            pattern.match_name(&name);
            pattern.parent();
        }
    }

    #[test]
    fn parsing_what_looks_like_a_pattern_never_panics(text in "[a-z/{}*=~._-]{0,40}", name in "[a-z/~.-]{0,40}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            pattern.match_name(&name);
        }
    }

    #[test]
    fn a_rendered_name_matches_and_gives_back_its_values(ids in prop::collection::vec("[a-z0-9]{1,8}", 3)) {
        let pattern = parse("a/{x}/b/{y}~{z}");
        let value = |variable: &str| pattern.variables().iter().position(|v| *v == variable).map(|at| ids[at].clone());
        let name = pattern.render(&value).unwrap();
        let found: Vec<_> = pattern.match_name(&name).unwrap().into_iter().map(|(_, v)| v.to_owned()).collect();
        prop_assert_eq!(found, ids);
    }

    #[test]
    fn printed_segments_parse_to_themselves(text in "[a-c]{1,3}(/\\{[d-f]{1,2}\\}(~\\{[g-h]\\})?)?") {
        let pattern = parse(&text);
        let again = parse(&Pattern::from_segments(pattern.segments.clone()).text);
        prop_assert_eq!(pattern.segments, again.segments);
    }
}
