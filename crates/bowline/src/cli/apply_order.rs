//! In which order documents are applied: parents and referenced resources first.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::fields;
use super::verbs::apply::Wanted;

/// Sorts so that what a document needs comes before it; otherwise the order stays, also within cycles.
pub(crate) fn sort(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let names: Vec<&str> = wanted.iter().map(|w| w.name.as_str()).collect();
    let needs: Vec<_> = wanted.iter().map(needed).collect();
    let order = order(&names, &needs);
    let mut slots: Vec<_> = wanted.into_iter().map(Some).collect();
    order.into_iter().filter_map(|index| slots[index].take()).collect()
}

/// Names that must be there before `wanted`: all that its own name begins with, and its references.
fn needed(wanted: &Wanted) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, _) in wanted.name.match_indices('/') {
        names.insert(wanted.name[..index].to_owned());
    }
    for reference in &wanted.document.ty.references {
        let path: Vec<_> = reference.path.split('.').collect();
        collect(&wanted.document.fields, &path, &mut |text| {
            names.insert(relative(text).to_owned());
        });
    }
    names
}

/// `//devices.example.com/projects/p` is `projects/p`.
fn relative(name: &str) -> &str {
    name.strip_prefix("//").and_then(|rest| rest.split_once('/')).map_or(name, |(_, name)| name)
}

/// All texts at `path`, which has neither indexes nor keys: lists and maps are looked through.
fn collect(value: &Value, path: &[&str], found: &mut dyn FnMut(&str)) {
    match (value, path) {
        (Value::String(text), []) => found(text),
        (Value::Array(items), _) => items.iter().for_each(|item| collect(item, path, found)),
        (Value::Object(entries), [first, rest @ ..]) => {
            let json_name = fields::lower_camel(first);
            match entries.get(*first).or_else(|| entries.get(&json_name)) {
                Some(inner) => collect(inner, rest, found),
                // A map: its keys are not part of the path.
                None => {
                    entries.values().filter(|v| v.is_object()).for_each(|v| collect(v, path, found))
                }
            }
        }
        (Value::Object(entries), []) => entries.values().for_each(|v| collect(v, path, found)),
        _ => {}
    }
}

/// Indexes of `names` in an order in which each comes after those of `needs`; depth first, with its own stack.
fn order(names: &[&str], needs: &[BTreeSet<String>]) -> Vec<usize> {
    let index: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(i, name)| (*name, i)).collect();
    let mut order = Vec::with_capacity(names.len());
    let mut seen = vec![false; names.len()];
    for root in 0..names.len() {
        let mut stack = vec![(root, false)];
        while let Some((current, needs_done)) = stack.pop() {
            if needs_done {
                order.push(current);
            } else if !std::mem::replace(&mut seen[current], true) {
                stack.push((current, true));
                let inner = needs[current].iter().rev().filter_map(|name| index.get(name.as_str()));
                stack.extend(inner.map(|&i| (i, false)));
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needs(needs: &[&[&str]]) -> Vec<BTreeSet<String>> {
        needs.iter().map(|n| n.iter().map(|t| (*t).to_owned()).collect()).collect()
    }

    #[test]
    fn parents_come_first_and_the_rest_stays() {
        let names = ["projects/p/devices/d", "regions/r", "projects/p"];
        let needs = needs(&[&["projects", "projects/p"], &[], &[]]);
        assert_eq!(order(&names, &needs), [2, 0, 1]);
    }

    #[test]
    fn a_cycle_is_kept_in_some_order() {
        assert_eq!(order(&["a", "b"], &needs(&[&["b"], &["a"]])).len(), 2);
    }

    #[test]
    fn references_are_found_in_lists_and_maps() {
        let value = serde_json::json!({
            "specs": {"k": {"networkRefs": ["a", "b"]}}, "other": {"network_refs": "c"}
        });
        let mut found = Vec::new();
        collect(&value, &["specs", "network_refs"], &mut |text| found.push(text.to_owned()));
        assert_eq!(found, ["a", "b"]);
    }

    #[test]
    fn a_full_name_is_the_same_resource() {
        assert_eq!(relative("//a.b/projects/p"), "projects/p");
        assert_eq!(relative("projects/p"), "projects/p");
    }

    proptest! {
        #[test]
        fn every_document_is_applied_once(edges in proptest::collection::vec((0usize..8, 0usize..8), 0..20)) {
            let texts: Vec<String> = (0..8).map(|i| i.to_string()).collect();
            let names: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut needs = vec![BTreeSet::new(); 8];
            for (from, to) in edges {
                needs[from].insert(to.to_string());
            }
            let mut order = order(&names, &needs);
            order.sort_unstable();
            prop_assert_eq!(order, (0..8).collect::<Vec<_>>());
        }
    }
}
