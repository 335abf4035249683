//! Asking a document whether a condition holds.
//!
//! What is missing compares as the default of its kind; a missing message (also a time or a wrapper) is equal to
//! nothing and less than everything. Paths through lists hold if any of their values does.

use std::cmp::Ordering;

use prost_reflect::{DynamicMessage, MapKey, Value};

use crate::document::Document;
use crate::path::{Leaf, Path};
use crate::value::{key_text, unwrapped};

use super::literal::Literal;
use super::pattern::TextPattern;
use super::{Node, Operator, Test};

/// Depth is that of the filter.
pub(super) fn matches(node: &Node, document: &Document) -> bool {
    match node {
        Node::And(nodes) => nodes.iter().all(|node| matches(node, document)),
        Node::Or(nodes) => nodes.iter().any(|node| matches(node, document)),
        Node::Not(node) => !matches(node, document),
        Node::Search(pattern) => search(&document.body, pattern),
        Node::Test { path, test } => holds(test, path, document),
    }
}

fn holds(test: &Test, path: &Path, document: &Document) -> bool {
    match test {
        Test::Compare(operator, literal) => {
            any(path, document, |value| operator.holds(value, literal))
        }
        Test::IsNull { negated } => is_null(path, document) != *negated,
        Test::IsNan { negated } => any(path, document, is_nan) != *negated,
        Test::In { negated, values } => {
            any(path, document, |value| in_list(value, values)) != *negated
        }
        Test::Like { negated, pattern } => {
            any(path, document, |value| is_like(value, pattern)) != *negated
        }
        Test::ContainsAny(values) => values.iter().any(|value| contains(path, document, value)),
        Test::ContainsAll(values) => values.iter().all(|value| contains(path, document, value)),
        Test::Present => path.walk(document, &mut is_set),
        Test::Has(literal) => contains(path, document, literal),
        Test::HasKey(key) => has_key(path, document, key),
    }
}

/// Whether one of the values at the path, defaults included, is good; `None` is a missing message.
fn any(path: &Path, document: &Document, good: impl Fn(Option<&Value>) -> bool) -> bool {
    path.walk(document, &mut |leaf| match leaf {
        Leaf::Present(value) => good(Some(&unwrapped(value))),
        Leaf::Default | Leaf::Absent => good(path.default_value().as_ref()),
    })
}

impl Operator {
    pub(super) fn holds(self, found: Option<&Value>, literal: &Literal) -> bool {
        let order = || match found {
            Some(value) => literal.compare(value),
            None => Some(Ordering::Less),
        };
        match self {
            Self::Equal => found.is_some_and(|value| literal.equals(value)),
            Self::NotEqual => !found.is_some_and(|value| literal.equals(value)),
            Self::Less => order().is_some_and(Ordering::is_lt),
            Self::LessOrEqual => order().is_some_and(Ordering::is_le),
            Self::Greater => order().is_some_and(Ordering::is_gt),
            Self::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
        }
    }
}

fn in_list(found: Option<&Value>, values: &[Literal]) -> bool {
    found.is_some_and(|found| values.iter().any(|value| value.equals(found)))
}

fn is_nan(found: Option<&Value>) -> bool {
    match found {
        Some(Value::F32(number)) => number.is_nan(),
        Some(Value::F64(number)) => number.is_nan(),
        _ => false,
    }
}

fn is_like(found: Option<&Value>, pattern: &TextPattern) -> bool {
    found.and_then(Value::as_str).is_some_and(|text| pattern.matches(text))
}

/// Null is what is absent: not a scalar at its default, but an unset message, list, map, key or optional field, and
/// everything below them.
fn is_null(path: &Path, document: &Document) -> bool {
    !path.walk(document, &mut |leaf| !matches!(leaf, Leaf::Absent))
}

/// Something is set that is not empty.
fn is_set(leaf: Leaf<'_>) -> bool {
    matches!(leaf, Leaf::Present(_))
}

/// Whether a value at the path, an item of a list or a key of a map there is the literal.
fn contains(path: &Path, document: &Document, literal: &Literal) -> bool {
    path.walk(document, &mut |leaf| match leaf {
        Leaf::Present(Value::List(items)) => {
            items.iter().any(|item| literal.equals(&unwrapped(item)))
        }
        Leaf::Present(Value::Map(entries)) => {
            entries.keys().any(|key| literal.equals(&key_value(key)))
        }
        Leaf::Present(value) => literal.equals(&unwrapped(value)),
        Leaf::Default => path.default_value().is_some_and(|value| literal.equals(&value)),
        Leaf::Absent => false,
    })
}

fn has_key(path: &Path, document: &Document, key: &MapKey) -> bool {
    path.walk(document, &mut |leaf| match leaf {
        Leaf::Present(Value::Map(entries)) => entries.contains_key(key),
        _ => false,
    })
}

fn key_value(key: &MapKey) -> Value {
    match key.clone() {
        MapKey::Bool(v) => Value::Bool(v),
        MapKey::I32(v) => Value::I32(v),
        MapKey::I64(v) => Value::I64(v),
        MapKey::U32(v) => Value::U32(v),
        MapKey::U64(v) => Value::U64(v),
        MapKey::String(v) => Value::String(v),
    }
}

/// Whether any text in the message has the pattern: fields, items, keys and values of maps, names of enum values.
///
/// Depth is that of the message, which decoding bounds.
fn search(message: &DynamicMessage, pattern: &TextPattern) -> bool {
    message.fields().any(|(field, value)| match field.kind() {
        prost_reflect::Kind::Enum(names) => {
            let named = |value: &Value| {
                let number = value.as_enum_number();
                let name = number.and_then(|number| names.get_value(number));
                name.is_some_and(|value| pattern.matches(value.name()))
            };
            match value {
                Value::List(items) => items.iter().any(named),
                value => named(value),
            }
        }
        _ => search_value(value, pattern),
    })
}

fn search_value(value: &Value, pattern: &TextPattern) -> bool {
    match value {
        Value::String(text) => pattern.matches(text),
        Value::Message(message) => search(message, pattern),
        Value::List(items) => items.iter().any(|item| search_value(item, pattern)),
        Value::Map(entries) => entries
            .iter()
            .any(|(key, value)| pattern.matches(&key_text(key)) || search_value(value, pattern)),
        _ => false,
    }
}
