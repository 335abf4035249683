//! Reading through a mask: cutting messages down to it, and asking whether a change can be seen through it.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, MapKey, ReflectMessage as _, Value};

use crate::document::Document;
use crate::value::{same, same_value};

use super::{Mask, Tree};

impl Mask {
    /// The message with only what the mask has; all of it for the empty mask.
    ///
    /// `message` is of the mask's message type. Unknown fields are dropped unless everything is kept.
    pub fn project(&self, message: &DynamicMessage) -> DynamicMessage {
        if self.is_empty() || self.is_everything() {
            return message.clone();
        }
        project_message(&self.resource, message)
    }

    /// Whether the mask (the empty one: everything) has something that differs between two states of one resource.
    pub fn changed(&self, before: &Document, after: &Document) -> bool {
        let all = Tree::All;
        let (resource, beside) =
            if self.is_empty() { (&all, &all) } else { (&self.resource, &self.beside) };
        if !same_in(resource, &before.body, &after.body) {
            return true;
        }
        match (before.beside(), after.beside()) {
            (Some(before), Some(after)) => !same_in(beside, before, after),
            _ => false,
        }
    }
}

fn project_message(tree: &Tree, message: &DynamicMessage) -> DynamicMessage {
    let Tree::Message(fields) = tree else { return message.clone() };
    let descriptor = message.descriptor();
    let mut projected = DynamicMessage::new(descriptor.clone());
    for (number, below) in fields {
        let Some(field) = descriptor.get_field(*number) else { continue };
        if message.has_field(&field) {
            projected.set_field(&field, project_value(below, &message.get_field(&field)));
        }
    }
    projected
}

/// Depth is that of the mask.
fn project_value(tree: &Tree, value: &Value) -> Value {
    match (tree, value) {
        (Tree::Message(_), Value::Message(message)) => {
            Value::Message(project_message(tree, message))
        }
        (Tree::Items(below), Value::List(items)) => {
            Value::List(items.iter().map(|item| project_value(below, item)).collect())
        }
        (Tree::Map { .. }, Value::Map(entries)) => {
            let kept = entries.iter().filter_map(|(key, value)| {
                Some((key.clone(), project_value(below_key(tree, key)?, value)))
            });
            Value::Map(kept.collect::<HashMap<_, _>>())
        }
        (_, value) => value.clone(),
    }
}

/// What a map's tree has of the value under `key`.
pub(crate) fn below_key<'a>(tree: &'a Tree, key: &MapKey) -> Option<&'a Tree> {
    match tree {
        Tree::Map { keys, each } => keys.get(key).or(each.as_deref()),
        Tree::All => Some(&Tree::All),
        Tree::Message(_) | Tree::Items(_) => None,
    }
}

fn same_in(tree: &Tree, a: &DynamicMessage, b: &DynamicMessage) -> bool {
    let Tree::Message(fields) = tree else { return same(a, b) };
    fields.iter().all(|(number, below)| {
        let Some(field) = a.descriptor().get_field(*number) else { return true };
        match (a.has_field(&field), b.has_field(&field)) {
            (false, false) => true,
            (true, true) => same_value_in(below, &a.get_field(&field), &b.get_field(&field)),
            // Only one side has it. If the mask goes deeper, the default of the other shows whether it matters.
            _ => match below {
                Tree::All => false,
                _ => same_value(
                    &project_value(below, &a.get_field(&field)),
                    &project_value(below, &b.get_field(&field)),
                ),
            },
        }
    })
}

fn same_value_in(tree: &Tree, a: &Value, b: &Value) -> bool {
    match (tree, a, b) {
        (Tree::Message(_), Value::Message(a), Value::Message(b)) => same_in(tree, a, b),
        (Tree::Items(below), Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value_in(below, a, b))
        }
        (Tree::Map { .. }, Value::Map(_), Value::Map(_)) => {
            same_value(&project_value(tree, a), &project_value(tree, b))
        }
        _ => same_value(a, b),
    }
}
