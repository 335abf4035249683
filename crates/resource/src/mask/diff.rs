//! The mask of what differs between two messages.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use crate::value::{same_value, well_known};

use super::{Mask, Tree};

/// The paths at which two messages of one type differ: as deep as singular messages go, by key in maps, lists as a
/// whole. Empty if they are the same.
///
/// A message that only one side has is one path. Depth is that of the messages.
pub fn diff(a: &DynamicMessage, b: &DynamicMessage) -> Mask {
    Mask { resource: diff_message(a, b), ..Mask::empty(&a.descriptor()) }
}

fn diff_message(a: &DynamicMessage, b: &DynamicMessage) -> Tree {
    let mut changed = BTreeMap::new();
    let set = a.fields().chain(b.fields()).map(|(field, _)| field);
    for field in set {
        if changed.contains_key(&field.number()) {
            continue;
        }
        let tree = match (a.has_field(&field), b.has_field(&field)) {
            (true, true) => diff_value(&a.get_field(&field), &b.get_field(&field)),
            _ => Some(Tree::All),
        };
        if let Some(tree) = tree {
            changed.insert(field.number(), tree);
        }
    }
    Tree::Message(changed)
}

fn diff_value(a: &Value, b: &Value) -> Option<Tree> {
    match (a, b) {
        (a, b) if same_value(a, b) => None,
        (Value::Message(a), Value::Message(b)) if well_known(&a.descriptor()).is_none() => {
            Some(diff_message(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            let all: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            let differs = all.into_iter().filter_map(|key| match (a.get(key), b.get(key)) {
                (Some(a), Some(b)) => Some((key.clone(), diff_value(a, b)?)),
                _ => Some((key.clone(), Tree::All)),
            });
            Some(Tree::Map { keys: differs.collect(), each: None })
        }
        _ => Some(Tree::All),
    }
}
