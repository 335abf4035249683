//! Filters as text, in one form for all ways to write them; it parses back to the same filter.

use std::fmt;

use crate::value::key_text;

use super::literal::Literal;
use super::scan::{Piece, Quoted};
use super::syntax::{Form, RawValue};
use super::{Filter, Node, Operator, Test};

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.as_ref().map_or(Ok(()), |root| write!(f, "{root}"))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(nodes) => joined(f, nodes, " AND "),
            Self::Or(nodes) => joined(f, nodes, " OR "),
            Self::Not(node) => {
                f.write_str("NOT ")?;
                inner(f, node)
            }
            Self::Search(pattern) => pattern.source.fmt(f),
            Self::Test { path, test } => {
                path.fmt(f)?;
                test.fmt(f)
            }
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, nodes: &[Node], between: &str) -> fmt::Result {
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        inner(f, node)?;
    }
    Ok(())
}

/// A condition inside another, in parentheses if it is one of several.
fn inner(f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
    match node {
        Node::And(_) | Node::Or(_) => write!(f, "({node})"),
        node => write!(f, "{node}"),
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { " NOT" } else { "" };
        match self {
            Self::Compare(operator, literal) => write!(f, " {operator} {literal}"),
            Self::IsNull { negated } => write!(f, " IS{} NULL", not(negated)),
            Self::IsNan { negated } => write!(f, " IS{} NaN", not(negated)),
            Self::In { negated, values } => write!(f, "{} IN ({})", not(negated), List(values)),
            Self::Like { negated, pattern } => {
                write!(f, "{} LIKE {}", not(negated), pattern.source)
            }
            Self::ContainsAny(values) => write!(f, " CONTAINS ANY ({})", List(values)),
            Self::ContainsAll(values) => write!(f, " CONTAINS ALL ({})", List(values)),
            Self::Present => f.write_str(":*"),
            Self::Has(literal) => write!(f, ":{literal}"),
            Self::HasKey(key) => {
                let text = key_text(key).chars().map(Piece::Escaped).collect();
                write!(f, ":{}", Quoted(text))
            }
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { text, .. } => f.write_str(text),
            Self::Pattern(pattern) => pattern.source.fmt(f),
            Self::Name(name) => Quoted(name.text().chars().map(Piece::Escaped).collect()).fmt(f),
        }
    }
}

impl fmt::Display for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Word(word) => f.write_str(word),
            Form::Quoted(quoted) => quoted.fmt(f),
            Form::List(items) => write!(f, "[{}]", List(items)),
            Form::Braces(fields) => {
                f.write_str("{")?;
                for (index, (key, value)) in fields.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { " " })?;
                    let text = key.text.chars().map(Piece::Char).collect();
                    write!(f, "{}: {value}", Quoted(text))?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// Values with commas between them.
struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            value.fmt(f)?;
        }
        Ok(())
    }
}
