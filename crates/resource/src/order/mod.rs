//! `order_by`: parsing (AIP-132), and keys whose byte order is the order of the rows.
//!
//! How values become bytes is in [`key`]. Cutting pages at a key is the caller's: see [`crate::page`].

pub(crate) mod key;

#[cfg(test)]
mod tests;

use std::fmt;

use bowline_schema::model::ResourceType;
use prost_reflect::Kind;

use crate::document::Document;
use crate::path::{Leaf, Path, PathError, Shape, parse_segments};
use crate::value::{WellKnown, unwrapped_kind, well_known};

pub use key::SortKey;

/// Longest `order_by`, in bytes.
pub const ORDER_BYTES_MAX: usize = 4 * 1024;
/// Most fields to order by.
pub const ORDER_FIELDS_MAX: usize = 16;

/// An order of the resources of one type. Total: the name is always the last field.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// What the type calls the field of the name.
    name: String,
    /// Without the name.
    fields: Vec<OrderField>,
    /// Direction of the name: that of the last field asked for.
    name_descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct OrderField {
    path: Path,
    descending: bool,
}

/// Why a text is no order of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct OrderError {
    /// In bytes, from the start of the text.
    pub offset: usize,
    pub problem: OrderProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderProblem {
    #[error("more than {ORDER_BYTES_MAX} bytes or {ORDER_FIELDS_MAX} fields")]
    TooLong,
    #[error("expected a field")]
    ExpectedField,
    #[error("expected \"asc\", \"desc\" or \",\", found \"{found}\"")]
    ExpectedDirection { found: String },
    #[error("{0}")]
    Path(crate::path::PathProblem),
    #[error("\"{path}\" cannot be ordered: {problem}")]
    Unordered { path: String, problem: &'static str },
}

impl Order {
    /// The order by name, which is that of no `order_by`.
    pub fn by_name() -> Self {
        Self { name: "name".to_owned(), fields: Vec::new(), name_descending: false }
    }

    /// Parses `path [asc|desc], ...`; the empty text is the order by name. Fields after the name have no effect.
    ///
    /// # Errors
    /// [`OrderError`] with the place.
    pub fn parse(text: &str, ty: &ResourceType) -> Result<Self, OrderError> {
        if text.len() > ORDER_BYTES_MAX {
            return Err(OrderError { offset: ORDER_BYTES_MAX, problem: OrderProblem::TooLong });
        }
        let mut order = Self { name: ty.name_field.name().to_owned(), ..Self::by_name() };
        if text.trim().is_empty() {
            return Ok(order);
        }
        let mut named = false;
        let mut offset = 0;
        for item in text.split(',') {
            let field = parse_item(item, offset, ty)?;
            offset += item.len() + 1;
            if named {
                continue;
            }
            order.name_descending = field.descending;
            named = field.path.to_string() == order.name;
            let known = order.fields.iter().any(|known| known.path == field.path);
            if !named && !known {
                order.fields.push(field);
            }
            if order.fields.len() > ORDER_FIELDS_MAX {
                return Err(OrderError { offset, problem: OrderProblem::TooLong });
            }
        }
        Ok(order)
    }

    /// Whether the order is that of names alone, forwards or backwards, as the store keeps them.
    pub fn is_name_only(&self) -> bool {
        self.fields.is_empty()
    }

    /// The direction of the name.
    pub fn descending(&self) -> bool {
        self.name_descending
    }

    /// The key of a row: rows are in order iff their keys are.
    ///
    /// Texts and bytes are ordered by their first 480 bytes, so that keys stay small and fit into an index; then by
    /// the next field, and at last by the whole name.
    pub fn key(&self, document: &Document) -> SortKey {
        let mut key = SortKey::default();
        for field in &self.fields {
            let start = key.len();
            push_field(&mut key, &field.path, document);
            if field.descending {
                key.invert_from(start);
            }
        }
        key.push_name(document.name(), self.name_descending);
        key
    }

    /// The key of a row of which only the name is known; `None` unless the order is by name alone.
    pub fn key_of_name(&self, name: &str) -> Option<SortKey> {
        self.is_name_only().then(|| {
            let mut key = SortKey::default();
            key.push_name(name, self.name_descending);
            key
        })
    }

    /// The one field besides the name, if name and field go the same way: the path, and whether both descend.
    pub fn single_field(&self) -> Option<(&Path, bool)> {
        match self.fields.as_slice() {
            [field] if field.descending == self.name_descending => {
                Some((&field.path, field.descending))
            }
            _ => None,
        }
    }

    /// The parts of a key of an order with a [`Order::single_field`]: the field's as it is ascending, and the name.
    pub fn field_and_name_in(&self, key: &SortKey) -> Option<(Vec<u8>, String)> {
        let (path, descending) = self.single_field()?;
        let Shape::One(kind) = path.shape() else { return None };
        key.field_and_name(&unwrapped_kind(kind), descending)
    }

    /// The name in a key; `None` unless the order is by name alone and the key is one of its own.
    pub fn name_in(&self, key: &SortKey) -> Option<String> {
        if self.is_name_only() { key.name(self.name_descending) } else { None }
    }
}

/// The canonical text; it parses to the same order.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = |descending| if descending { "desc" } else { "asc" };
        for field in &self.fields {
            write!(f, "{} {}, ", field.path, direction(field.descending))?;
        }
        write!(f, "{} {}", self.name, direction(self.name_descending))
    }
}

/// One `path [asc|desc]`; `offset` is where `item` starts in the whole text.
fn parse_item(item: &str, offset: usize, ty: &ResourceType) -> Result<OrderField, OrderError> {
    let trimmed = item.trim_start();
    let start = offset + item.len() - trimmed.len();
    let at = |offset, problem| OrderError { offset, problem };
    let (text, direction) = match trimmed.find(char::is_whitespace) {
        Some(end) => (&trimmed[..end], trimmed[end..].trim()),
        None => (trimmed, ""),
    };
    if text.is_empty() {
        return Err(at(start, OrderProblem::ExpectedField));
    }
    let descending = match direction.to_ascii_lowercase().as_str() {
        "" | "asc" => false,
        "desc" => true,
        _ => {
            let found = direction.chars().take(40).collect();
            return Err(at(start + text.len() + 1, OrderProblem::ExpectedDirection { found }));
        }
    };
    let in_path = |error: PathError| at(start + error.offset, OrderProblem::Path(error.problem));
    let segments = parse_segments(text).map_err(in_path)?;
    let path = Path::resolve(&segments, ty).map_err(in_path)?;
    match unordered(&path) {
        None => Ok(OrderField { path, descending }),
        Some(problem) => Err(at(start, OrderProblem::Unordered { path: text.to_owned(), problem })),
    }
}

/// Why rows cannot be ordered by this path, if they cannot.
fn unordered(path: &Path) -> Option<&'static str> {
    if path.passes_list() {
        return Some("it passes through a list");
    }
    match path.shape() {
        Shape::List(_) => Some("it is a list"),
        Shape::Map { .. } => Some("it is a map, name a key of it"),
        Shape::One(kind) => match unwrapped_kind(kind) {
            Kind::Message(message) => match well_known(&message) {
                Some(WellKnown::Timestamp | WellKnown::Duration) => None,
                _ => Some("it is a message, name a field of it"),
            },
            _ => None,
        },
    }
}

fn push_field(key: &mut SortKey, path: &Path, document: &Document) {
    path.walk(document, &mut |leaf| {
        match leaf {
            Leaf::Present(value) => key.push_value(value),
            Leaf::Default => match path.default_value() {
                Some(value) => key.push_value(&value),
                None => key.push_absent(),
            },
            Leaf::Absent => key.push_absent(),
        }
        true
    });
}
