//! Filters of lists and watches: one language, one evaluator.
//!
//! The language is that of `docs/api.md`: conditions joined by `AND` (or by standing side by side) and `OR`, where
//! `AND` binds tighter, with the forms of AIP-160. [`syntax`] reads text, [`check`] fits it to a type, [`eval`] asks
//! documents; [`narrow`] says where in an index matches are, [`Filter::name`] where among the names.

mod check;
mod convert;
mod error;
mod eval;
mod literal;
mod narrow;
mod pattern;
mod print;
mod scan;
mod syntax;

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bowline_schema::model::ResourceType;

use crate::document::Document;
use crate::path::Path;

pub use error::{FilterError, FilterProblem};
pub use narrow::Narrowed;

use literal::Literal;
use pattern::TextPattern;

/// Longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 8 * 1024;
/// Deepest nesting of parentheses, negations and braces.
pub const FILTER_DEPTH_MAX: usize = 32;

/// A filter that fits its type. Its text form ([`ToString`]) parses to the same filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// `None` matches everything.
    root: Option<Node>,
}

/// A condition on one document.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// Some text of the resource, anywhere, has this.
    Search(TextPattern),
    Test {
        path: Arc<Path>,
        test: Test,
    },
}

/// A condition on what is at a path.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Compare(Operator, Literal),
    IsNull {
        negated: bool,
    },
    IsNan {
        negated: bool,
    },
    In {
        negated: bool,
        values: Vec<Literal>,
    },
    Like {
        negated: bool,
        pattern: TextPattern,
    },
    ContainsAny(Vec<Literal>),
    ContainsAll(Vec<Literal>),
    /// `path:*`
    Present,
    /// `path:value`
    Has(Literal),
    /// `map:key`
    HasKey(prost_reflect::MapKey),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// The filter that everything matches.
    pub fn everything() -> Self {
        Self { root: None }
    }

    /// Parses `text` and checks it against the type; empty text and `()` match everything.
    ///
    /// # Errors
    /// [`FilterError`] with the place in `text` and what was expected there.
    pub fn parse(text: &str, ty: &ResourceType) -> Result<Self, FilterError> {
        let parsed = syntax::parse(text).and_then(|raw| match raw {
            None => Ok(None),
            Some(raw) => check::node(&raw, ty).map(Some),
        });
        match parsed {
            Ok(root) => Ok(Self { root }),
            Err(place) => Err(place.in_text(text)),
        }
    }

    /// Whether it matches every resource.
    pub fn is_everything(&self) -> bool {
        self.root.is_none()
    }

    /// Whether the document fits the filter. Cost: what the paths of the filter lead to; a search looks at all text.
    pub fn matches(&self, document: &Document) -> bool {
        self.root.as_ref().is_none_or(|node| eval::matches(node, document))
    }

    /// A name, perhaps with wildcard ids, that every match has: for narrowing the scan, see
    /// [`Scope::of_name`](crate::name::Scope::of_name).
    pub fn name(&self, ty: &ResourceType) -> Option<&str> {
        let required = match &self.root {
            Some(Node::And(nodes)) => nodes.as_slice(),
            Some(node) => std::slice::from_ref(node),
            None => &[],
        };
        required.iter().find_map(|node| match node {
            Node::Test { path, test: Test::Compare(Operator::Equal, Literal::Name(name)) } => {
                (path.fields_only() == ty.name_field.name()).then(|| name.text())
            }
            _ => None,
        })
    }
}
