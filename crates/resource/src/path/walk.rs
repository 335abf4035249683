//! Walking a document along a path, to every value at its end.

use std::borrow::Cow;

use prost_reflect::{DynamicMessage, Value};

use crate::document::Document;

use super::{Path, Root, Step};

/// What is at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Leaf<'a> {
    Present(&'a Value),
    /// A scalar that cannot be told from its default is not set; what it would be in is there.
    Default,
    /// The value is not set, or something on the way is not.
    Absent,
}

impl Path {
    /// Shows `visit` every value at the end: one, or one for each item of the lists on the way (none if they are
    /// empty). Ends early, and is true, when `visit` is.
    pub fn walk<'a>(
        &self,
        document: &'a Document,
        visit: &mut dyn FnMut(Leaf<'a>) -> bool,
    ) -> bool {
        match self.root {
            Root::Resource => walk(&document.body, &self.steps, visit),
            Root::Beside => match document.beside() {
                Some(beside) => walk(beside, &self.steps, visit),
                None => visit(Leaf::Absent),
            },
        }
    }
}

/// Depth is the length of the path.
pub(crate) fn walk<'a>(
    message: &'a DynamicMessage,
    steps: &[Step],
    visit: &mut dyn FnMut(Leaf<'a>) -> bool,
) -> bool {
    let Some((Step::Field(field), rest)) = steps.split_first() else {
        // A path to the metadata as a whole, which is there if anything in it is.
        return visit(Leaf::Absent);
    };
    if !message.has_field(field) {
        let plain =
            rest.is_empty() && !field.supports_presence() && !field.is_list() && !field.is_map();
        return visit(if plain { Leaf::Default } else { Leaf::Absent });
    }
    match message.get_field(field) {
        Cow::Borrowed(value) => walk_value(value, rest, visit),
        Cow::Owned(_) => visit(Leaf::Absent),
    }
}

fn walk_value<'a>(
    value: &'a Value,
    rest: &[Step],
    visit: &mut dyn FnMut(Leaf<'a>) -> bool,
) -> bool {
    match (value, rest.split_first()) {
        (value, None) => visit(Leaf::Present(value)),
        (Value::Map(entries), Some((Step::Key(key), after))) => match entries.get(key) {
            Some(value) => walk_value(value, after, visit),
            None => visit(Leaf::Absent),
        },
        (Value::List(items), Some(_)) => items.iter().any(|item| walk_value(item, rest, visit)),
        (Value::Message(inner), Some(_)) => walk(inner, rest, visit),
        _ => visit(Leaf::Absent),
    }
}
