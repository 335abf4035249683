//! What a filter asks of an index: ranges that hold an entry of every resource that matches.
//!
//! Only conditions that every match fulfils count (those joined by `AND`). A condition that an index cannot answer in
//! ranges, such as a negation, asks nothing. Anything may be too wide here, never too narrow.

use prost_reflect::{MapKey, ReflectMessage as _, Value};

use crate::index::{
    Bounds, ByteRange, DeclaredIndex, MAP_PART_BYTES_MAX, RELATIVE_NAME, Sort, TOO_MANY, map_key,
    text_key, value_key,
};
use crate::name::{WILDCARD, split_domain};
use crate::order::SortKey;
use crate::order::key::{ABSENT, PRESENT, TEXT_BYTES_MAX};
use crate::path::{Path, Step};
use crate::value::{key_text, unwrapped, well_known};

use super::literal::Literal;
use super::pattern::TextPattern;
use super::{Filter, Node, Operator, Test};

/// Ranges of one index.
#[derive(Clone, Debug, PartialEq)]
pub struct Narrowed {
    pub bounds: Bounds,
    /// The conditions that they come from.
    pub conditions: String,
}

impl Filter {
    /// The ranges of `index` that hold every match; `None` if the filter asks nothing of it.
    ///
    /// Cost: linear in the filter.
    pub fn narrow(&self, index: &DeclaredIndex) -> Option<Narrowed> {
        let required = match self.root.as_ref()? {
            Node::And(nodes) => nodes.as_slice(),
            node => std::slice::from_ref(node),
        };
        let asked = required.iter().filter_map(|node| {
            Some(Narrowed { bounds: of_node(node, index)?, conditions: node.to_string() })
        });
        let narrowed = if index.is_single() {
            asked.reduce(|a, b| Narrowed {
                bounds: a.bounds.and(&b.bounds),
                conditions: format!("{} AND {}", a.conditions, b.conditions),
            })
        } else {
            // Several entries of one resource may fulfil several conditions, so there is no intersection.
            asked.min_by_key(|n| (!n.bounds.are_points(), n.bounds.ranges().len()))
        };
        narrowed
            .map(|narrowed| Narrowed { bounds: with_crowded(narrowed.bounds, index), ..narrowed })
    }
}

/// Resources with too many values are in every answer.
fn with_crowded(bounds: Bounds, index: &DeclaredIndex) -> Bounds {
    match index.sort {
        Sort::One | Sort::Name => bounds,
        Sort::Many | Sort::Map => bounds.or(Bounds::of(ByteRange::point(vec![TOO_MANY]))),
    }
}

/// Depth is that of the filter.
fn of_node(node: &Node, index: &DeclaredIndex) -> Option<Bounds> {
    match node {
        Node::And(nodes) => {
            let mut asked = nodes.iter().filter_map(|node| of_node(node, index));
            let first = asked.next()?;
            Some(if index.is_single() { asked.fold(first, |a, b| a.and(&b)) } else { first })
        }
        Node::Or(nodes) => {
            let each = nodes.iter().map(|node| of_node(node, index)).collect::<Option<Vec<_>>>()?;
            Some(each.into_iter().fold(Bounds::default(), Bounds::or))
        }
        Node::Not(_) | Node::Search(_) => None,
        Node::Test { path, test } if **path == index.path => of_test(path, test, index),
        Node::Test { path, test } if index.sort == Sort::Map => of_value_in_map(path, test, index),
        Node::Test { .. } => None,
    }
}

fn of_test(path: &Path, test: &Test, index: &DeclaredIndex) -> Option<Bounds> {
    let default = || path.default_value();
    match test {
        Test::Compare(operator, literal) => {
            let bounds = compared(*operator, literal, index)?;
            Some(or_absent(bounds, operator.holds(default().as_ref(), literal)))
        }
        Test::In { negated: false, values } => {
            let bounds = any_equal(values, index)?;
            let is_default = default().is_some_and(|d| values.iter().any(|v| v.equals(&d)));
            Some(or_absent(bounds, is_default))
        }
        Test::Like { negated: false, pattern } => {
            let bounds = like(pattern)?;
            let is_default = default().and_then(|d| d.as_str().map(|d| pattern.matches(d)));
            Some(or_absent(bounds, is_default == Some(true)))
        }
        Test::Has(literal) => equal(literal, index),
        Test::ContainsAny(values) if index.sort == Sort::Map => any_key(values),
        Test::ContainsAny(values) => any_equal(values, index),
        Test::ContainsAll(values) if index.sort == Sort::Map => any_key(values.get(..1)?),
        Test::ContainsAll(values) => any_equal(values.get(..1)?, index),
        Test::HasKey(key) => Some(Bounds::of(ByteRange::prefix(map_key(&key_text(key), None)))),
        Test::IsNull { negated: false } => Some(Bounds::of(absent())),
        // Where nothing can be absent this would be the whole index.
        Test::IsNull { negated: true } | Test::Present if can_be_absent(path) => Some(present()),
        Test::IsNull { .. }
        | Test::IsNan { .. }
        | Test::In { .. }
        | Test::Like { .. }
        | Test::Present => None,
    }
}

fn can_be_absent(path: &Path) -> bool {
    match path.steps.last() {
        Some(Step::Field(field)) => field.supports_presence() || field.is_list() || field.is_map(),
        _ => true,
    }
}

/// A test of the value under one key of an indexed map.
fn of_value_in_map(path: &Path, test: &Test, index: &DeclaredIndex) -> Option<Bounds> {
    let key = key_below(path, &index.path)?;
    let under = map_key(&key_text(key), None);
    let literals = match test {
        // Where the key is missing the value counts as its default, and the index knows nothing of missing keys.
        Test::Compare(Operator::Equal, literal) if !is_default(path, literal) => {
            std::slice::from_ref(literal)
        }
        Test::Has(literal) => std::slice::from_ref(literal),
        Test::In { negated: false, values } if !values.iter().any(|v| is_default(path, v)) => {
            values
        }
        Test::Present => return Some(Bounds::of(ByteRange::prefix(under))),
        _ => return None,
    };
    let each = literals.iter().map(|literal| match literal {
        Literal::Value { value, .. } if is_scalar(value) => {
            Some(ByteRange::point(map_key(&key_text(key), Some(value))))
        }
        Literal::Pattern(pattern) => {
            let (text, _) = pattern.beginning()?;
            let mut start = SortKey::from_bytes(under.clone());
            start.push_mark(PRESENT);
            start.push_open_text(text.as_bytes(), MAP_PART_BYTES_MAX);
            Some(ByteRange::prefix(start.into_bytes()))
        }
        _ => None,
    });
    each.collect()
}

/// The key if `path` is that of a value in the map at `map`.
fn key_below<'p>(path: &'p Path, map: &Path) -> Option<&'p MapKey> {
    match path.steps.split_last()? {
        (Step::Key(key), rest) if path.root == map.root && rest == map.steps => Some(key),
        _ => None,
    }
}

fn is_default(path: &Path, literal: &Literal) -> bool {
    path.default_value().is_some_and(|default| literal.equals(&default))
}

fn is_scalar(value: &Value) -> bool {
    !matches!(&*unwrapped(value), Value::Message(_) | Value::List(_) | Value::Map(_))
}

fn compared(operator: Operator, literal: &Literal, index: &DeclaredIndex) -> Option<Bounds> {
    if operator == Operator::Equal {
        return equal(literal, index);
    }
    let key = match literal {
        Literal::Value { value, .. } => orderly_key(value)?,
        Literal::Name(name) => text_key(PRESENT, name.text()),
        Literal::Pattern(_) => return None,
    };
    // What is cut is equal to others that are cut, so neither side may leave them out.
    let is_whole = key.len() < TEXT_BYTES_MAX;
    let after = |key: Vec<u8>| ByteRange::point(key).to;
    let (from, to) = match operator {
        Operator::Less if is_whole => (vec![PRESENT], Some(key)),
        Operator::Less | Operator::LessOrEqual => (vec![PRESENT], after(key)),
        Operator::Greater if is_whole => (after(key)?, Some(vec![PRESENT + 1])),
        Operator::Greater | Operator::GreaterOrEqual => (key, Some(vec![PRESENT + 1])),
        Operator::Equal | Operator::NotEqual => return None,
    };
    Some(Bounds::from_iter([ByteRange { from, to }]))
}

fn any_equal(literals: &[Literal], index: &DeclaredIndex) -> Option<Bounds> {
    let each = literals.iter().map(|literal| equal(literal, index));
    Some(each.collect::<Option<Vec<_>>>()?.into_iter().fold(Bounds::default(), Bounds::or))
}

fn equal(literal: &Literal, index: &DeclaredIndex) -> Option<Bounds> {
    match literal {
        Literal::Value { value, .. } => Some(Bounds::of(ByteRange::point(orderly_key(value)?))),
        Literal::Pattern(pattern) => like(pattern),
        Literal::Name(name) if index.sort == Sort::Name => Some(named(name.text())),
        // In lists names are entered as they are, with or without a domain.
        Literal::Name(_) => None,
    }
}

/// Names with and without a domain that are this one, or that its wildcards cover.
fn named(name: &str) -> Bounds {
    let (_, relative) = split_domain(name);
    let fixed = fixed_part(relative);
    let each = [PRESENT, RELATIVE_NAME].map(|mark| match fixed {
        None => ByteRange::point(text_key(mark, relative)),
        Some(fixed) => ByteRange::prefix(open_key(mark, fixed)),
    });
    each.into_iter().collect()
}

/// What comes before the first wildcard; `None` if there is none.
fn fixed_part(name: &str) -> Option<&str> {
    let mut at = 0;
    for part in name.split('/') {
        if part == WILDCARD {
            return Some(&name[..at]);
        }
        at += part.len() + 1;
    }
    None
}

fn like(pattern: &TextPattern) -> Option<Bounds> {
    let (text, is_all) = pattern.beginning()?;
    let range = match is_all {
        true => ByteRange::point(text_key(PRESENT, &text)),
        false => ByteRange::prefix(open_key(PRESENT, &text)),
    };
    Some(Bounds::of(range))
}

fn any_key(literals: &[Literal]) -> Option<Bounds> {
    let each = literals.iter().map(|literal| match literal {
        Literal::Value { value, .. } => {
            let text = key_text_of(value)?;
            Some(ByteRange::prefix(map_key(&text, None)))
        }
        Literal::Pattern(pattern) => {
            let (text, _) = pattern.beginning()?;
            let mut start = SortKey::default();
            start.push_mark(PRESENT);
            start.push_open_text(text.as_bytes(), MAP_PART_BYTES_MAX);
            Some(ByteRange::prefix(start.into_bytes()))
        }
        Literal::Name(_) => None,
    });
    each.collect()
}

fn key_text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.clone(),
        Value::Bool(v) => v.to_string(),
        Value::I32(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        _ => return None,
    })
}

fn open_key(mark: u8, text: &str) -> Vec<u8> {
    let mut key = SortKey::default();
    key.push_mark(mark);
    key.push_open_text(text.as_bytes(), TEXT_BYTES_MAX);
    key.into_bytes()
}

/// The key of a value that has an order.
fn orderly_key(value: &Value) -> Option<Vec<u8>> {
    let is_orderly = match &*unwrapped(value) {
        Value::Message(message) => well_known(&message.descriptor()).is_some(),
        Value::List(_) | Value::Map(_) => false,
        _ => true,
    };
    is_orderly.then(|| value_key(value))
}

fn or_absent(bounds: Bounds, is_wanted: bool) -> Bounds {
    if is_wanted { bounds.or(Bounds::of(absent())) } else { bounds }
}

fn absent() -> ByteRange {
    ByteRange::point(vec![ABSENT])
}

fn present() -> Bounds {
    Bounds::of(ByteRange { from: vec![PRESENT], to: Some(vec![PRESENT + 1]) })
}
