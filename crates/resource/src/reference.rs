//! References as texts in a document: their syntax, walking over them, taking them out.
//!
//! Whether a named resource exists is not asked here.

use std::sync::Arc;

use bowline_schema::model::{Registry, ResourceType, Target};
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use crate::document::Document;
use crate::name::{self, NameError, Scope};
use crate::rules::for_each_message;
use crate::value::key_text;

/// Most problems that are listed; more would help nobody.
pub const PROBLEMS_MAX: usize = 100;

/// A reference field whose value is not a name of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path from the resource, with indexes and keys: `spec.interfaces[2].network`.
    pub path: String,
    pub value: String,
    pub error: NameError,
}

/// Checks every reference field of the document against the types of `registry`; kinds that it does not know are not
/// checked. A name of any API version of the target is good.
pub fn check_syntax(document: &Document, registry: &Registry) -> Vec<Problem> {
    let mut problems = Vec::new();
    for reference in &document.ty.references {
        let types = |kind: &str| registry.types.get(kind).map_or(&[][..], Vec::as_slice);
        visit(&document.body, &reference.path, "", &mut |path, value| {
            let checked =
                if value.is_empty() { Ok(()) } else { check(value, &reference.target, types) };
            if let Err(error) = checked {
                let value = value.chars().take(200).collect();
                problems.push(Problem { path: path.to_owned(), value, error });
            }
            problems.len() < PROBLEMS_MAX
        });
    }
    problems
}

/// Checks one value of a reference to `target`.
fn check<'a>(
    value: &str,
    target: &Target,
    types: impl Fn(&str) -> &'a [Arc<ResourceType>],
) -> Result<(), NameError> {
    match target {
        Target::Any => name::split(name::split_domain(value).1).map(|_| ()),
        Target::Kind(kind) => first_error(types(kind), |ty| name::parse(ty, value).map(|_| ())),
        Target::ParentOf(kind) => {
            first_error(types(kind), |ty| Scope::of_parent(ty, value).map(|_| ()))
        }
    }
}

/// Good if it is for any version, or if there is none; the newest version says what is wrong.
fn first_error(
    types: &[Arc<ResourceType>],
    check: impl Fn(&ResourceType) -> Result<(), NameError>,
) -> Result<(), NameError> {
    let mut result = Ok(());
    for ty in types.iter().rev() {
        match check(ty) {
            Ok(()) => return Ok(()),
            Err(error) => result = result.and(Err(error)),
        }
    }
    result
}

/// Shows every text at a dotted path, through lists and maps, with its full path; ends when `show` is false.
///
/// Depth is the length of the path.
pub fn visit(
    message: &DynamicMessage,
    path: &str,
    before: &str,
    show: &mut dyn FnMut(&str, &str) -> bool,
) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, ""), |(first, rest)| (first, rest));
    let Some(field) = message.descriptor().get_field_by_name(first) else { return true };
    if !message.has_field(&field) {
        return true;
    }
    let here = crate::rules::join(before, first);
    visit_value(&message.get_field(&field), rest, &here, show)
}

fn visit_value(
    value: &Value,
    rest: &str,
    here: &str,
    show: &mut dyn FnMut(&str, &str) -> bool,
) -> bool {
    match value {
        Value::String(text) if rest.is_empty() => show(here, text),
        Value::Message(message) => visit(message, rest, here, show),
        Value::List(items) => {
            let mut items = items.iter().enumerate();
            items.all(|(index, item)| visit_value(item, rest, &format!("{here}[{index}]"), show))
        }
        Value::Map(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            sorted.into_iter().all(|(key, value)| {
                visit_value(value, rest, &format!("{here}[\"{}\"]", key_text(key)), show)
            })
        }
        _ => true,
    }
}

/// Takes every text at a dotted path out for which `is_target` holds, through lists and maps: a single field is cleared,
/// an item is dropped from its list, an entry from its map. Whether there was any.
///
/// Depth is the length of the path.
pub fn clear(message: &mut DynamicMessage, path: &str, is_target: &dyn Fn(&str) -> bool) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, ""), |(first, rest)| (first, rest));
    let Some(field) = message.descriptor().get_field_by_name(first) else { return false };
    if !message.has_field(&field) {
        return false;
    }
    if !rest.is_empty() {
        let mut found = false;
        let value = message.get_field_mut(&field);
        for_each_message(value, &mut |inner| found |= clear(inner, rest, is_target));
        return found;
    }
    let is_hit = |value: &Value| value.as_str().is_some_and(is_target);
    match message.get_field_mut(&field) {
        Value::List(items) => {
            let before = items.len();
            items.retain(|item| !is_hit(item));
            items.len() < before
        }
        Value::Map(entries) => {
            let before = entries.len();
            entries.retain(|_, value| !is_hit(value));
            entries.len() < before
        }
        value if is_hit(value) => {
            message.clear_field(&field);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::fixture::{device, registry};

    fn problems(json: &str) -> String {
        let problems = check_syntax(&device(json), registry());
        let lines = problems.iter().map(|p| format!("{}: {}", p.path, p.error));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn references_may_be_empty_plain_or_full() {
        assert_eq!(problems(r#"{"network": ""}"#), "");
        assert_eq!(problems(r#"{"network": "projects/p/networks/n"}"#), "");
        assert_eq!(problems(r#"{"network": "//things.test/projects/p/networks/n"}"#), "");
    }

    #[test]
    fn every_bad_reference_is_named_with_its_place() {
        expect![[r#"
            network: "networks/n" is not a name of things.test/Network, expected "projects/{project}/networks/{network}"
            slots["7"].network: "projects/-/networks/n" has a wildcard where one resource must be named
            spec.interfaces[1].network: "x" is not a name of things.test/Network, expected "projects/{project}/networks/{network}""#]].assert_eq(&problems(
            r#"{"network": "networks/n", "spec": {"interfaces": [{}, {"network": "x"}]},
                "slots": {"7": {"network": "projects/-/networks/n"}}}"#,
        ));
    }

    #[test]
    fn references_to_unknown_kinds_are_not_checked() {
        let checked = check_syntax(&device(r#"{"network": "anything"}"#), &Registry::default());
        assert_eq!(checked, []);
    }

    #[test]
    fn what_is_taken_out_is_gone_from_fields_items_and_maps_and_nothing_else_is() {
        let mut device = device(
            r#"{"network": "n", "tags": ["n", "m", "n"], "attributes": {"a": "n", "b": "m"},
                "spec": {"interfaces": [{"network": "n", "mac": "1"}, {"network": "m"}]},
                "slots": {"7": {"network": "n", "mac": "2"}}}"#,
        );
        let mut take = |path: &str| clear(&mut device.body, path, &|text| text == "n");
        assert!(take("network") && take("tags") && take("attributes"));
        assert!(take("spec.interfaces.network") && take("slots.network"));
        assert!(!take("network") && !take("tags") && !take("display_name") && !take("no.such"));
        expect![[r#"{"attributes":{"b":"m"},"slots":{"7":{"mac":"2"}},"spec":{"interfaces":[{"mac":"1"},{"network":"m"}]},"tags":["m"]}"#]]
            .assert_eq(&crate::fixture::json(&device.body));
    }

    #[test]
    fn the_parent_of_a_kind_is_any_parent_it_can_have() {
        let types = |kind: &str| registry().types.get(kind).map_or(&[][..], Vec::as_slice);
        let target = Target::ParentOf("things.test/Device".to_owned());
        assert!(check("projects/p", &target, types).is_ok());
        assert!(check("projects/p/regions/r", &target, types).is_ok());
        assert!(check("folders/f", &target, types).is_err());
        assert!(check("anything/at/all", &Target::Any, types).is_ok());
        assert!(check("a//b", &Target::Any, types).is_err());
    }
}
