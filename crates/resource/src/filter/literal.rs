//! Values of a filter after they were fitted to the type of what they are compared with.

use std::cmp::Ordering;

use prost_reflect::{ReflectMessage as _, Value};

use crate::name::{WILDCARD, split_domain};
use crate::value::{nanoseconds, same_value, unwrapped};

use super::pattern::TextPattern;

/// The right side of a test.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Value { value: Value, text: String },
    Pattern(TextPattern),
    Name(NameLiteral),
}

/// A resource name, whose ids may be wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameLiteral {
    text: String,
}

impl NameLiteral {
    pub(super) fn new(text: String) -> Self {
        Self { text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a name is this one, or one that its wildcards cover. The domain of a full name counts only if both
    /// have one.
    fn covers(&self, name: &str) -> bool {
        let (wanted_domain, wanted) = split_domain(&self.text);
        let (domain, name) = split_domain(name);
        if matches!((wanted_domain, domain), (Some(a), Some(b)) if a != b) {
            return false;
        }
        wanted == name || {
            let (mut wanted, mut parts) = (wanted.split('/'), name.split('/'));
            loop {
                match (wanted.next(), parts.next()) {
                    (None, None) => return true,
                    (Some(a), Some(b)) if a == b || (a == WILDCARD && !b.is_empty()) => {}
                    _ => return false,
                }
            }
        }
    }
}

impl Literal {
    /// Whether `value` is what the literal says.
    pub(super) fn equals(&self, found: &Value) -> bool {
        match self {
            Self::Value { value, .. } => equal(found, value),
            Self::Pattern(pattern) => found.as_str().is_some_and(|text| pattern.matches(text)),
            Self::Name(name) => found.as_str().is_some_and(|text| name.covers(text)),
        }
    }

    /// How `found` compares with the literal; `None` if there is no order between them.
    pub(super) fn compare(&self, found: &Value) -> Option<Ordering> {
        match self {
            Self::Value { value, .. } => compare(found, value),
            Self::Name(name) => Some(found.as_str()?.cmp(name.text())),
            Self::Pattern(_) => None,
        }
    }
}

/// Equality as the operators have it: what is not a number equals nothing.
fn equal(a: &Value, b: &Value) -> bool {
    match compare(a, b) {
        Some(ordering) => ordering.is_eq(),
        None => matches!(a, Value::Message(_)) && same_value(a, b),
    }
}

/// The order of two scalars, times or durations of one kind.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    let (a, b) = (unwrapped(a), unwrapped(b));
    match (&*a, &*b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::I32(a), Value::I32(b)) | (Value::EnumNumber(a), Value::EnumNumber(b)) => {
            Some(a.cmp(b))
        }
        (Value::I64(a), Value::I64(b)) => Some(a.cmp(b)),
        (Value::U32(a), Value::U32(b)) => Some(a.cmp(b)),
        (Value::U64(a), Value::U64(b)) => Some(a.cmp(b)),
        (Value::F32(a), Value::F32(b)) => a.partial_cmp(b),
        (Value::F64(a), Value::F64(b)) => a.partial_cmp(b),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Message(x), Value::Message(y)) => {
            let times = [x, y].map(|m| crate::value::well_known(&m.descriptor()).is_some());
            if times != [true, true] {
                return None;
            }
            Some(nanoseconds(&a)?.cmp(&nanoseconds(&b)?))
        }
        _ => None,
    }
}
