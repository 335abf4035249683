//! Fitting a parsed filter to a type: every path exists, every value is of its kind, every test makes sense there.

use std::sync::Arc;

use bowline_schema::model::ResourceType;
use prost_reflect::Kind;

use crate::path::{Path, Segment, Shape, map_key};
use crate::value::{unwrapped_kind, well_known};

use super::convert;
use super::error::{FilterProblem, Misfit};
use super::literal::{Literal, NameLiteral};
use super::pattern::{Style, TextPattern, has_star};
use super::scan::{Piece, Quoted};
use super::syntax::{Form, Raw, RawTest, RawValue};
use super::{Node, Operator, Test};

/// Checks a condition. Depth is that of the filter, which is bounded.
pub(super) fn node(raw: &Raw, ty: &ResourceType) -> Result<Node, Misfit> {
    let all = |raws: &[Raw]| raws.iter().map(|raw| node(raw, ty)).collect::<Result<Vec<_>, _>>();
    match raw {
        Raw::And(raws) => Ok(Node::And(all(raws)?)),
        Raw::Or(raws) => Ok(Node::Or(all(raws)?)),
        Raw::Not(raw) => Ok(Node::Not(Box::new(node(raw, ty)?))),
        Raw::Search(value) => Ok(Node::Search(pattern(value, Style::Search)?)),
        Raw::Test { path, test } => {
            let resolved = Path::resolve(path, ty)?;
            Place { segments: path, path: &resolved, ty }.test(test)
        }
    }
}

/// A path as written and resolved, with what a test may ask of it.
struct Place<'a> {
    segments: &'a [Segment],
    path: &'a Path,
    ty: &'a ResourceType,
}

impl Place<'_> {
    fn test(&self, test: &RawTest) -> Result<Node, Misfit> {
        let checked = match test {
            RawTest::Compare(operator, value) => self.compare(*operator, value)?,
            RawTest::IsNull { negated } => Test::IsNull { negated: *negated },
            RawTest::IsNan { negated } => {
                self.one_of(|kind| matches!(kind, Kind::Float | Kind::Double), "is no float")?;
                Test::IsNan { negated: *negated }
            }
            RawTest::In { negated, values } => {
                let kind = self.comparable()?;
                Test::In { negated: *negated, values: self.literals(&kind, values)? }
            }
            RawTest::Like { negated, pattern: value } => {
                self.one_of(|kind| *kind == Kind::String, "is no text")?;
                Test::Like { negated: *negated, pattern: pattern(value, Style::Like)? }
            }
            RawTest::ContainsAny(values) => Test::ContainsAny(self.items(values)?),
            RawTest::ContainsAll(values) => Test::ContainsAll(self.items(values)?),
            RawTest::Present => Test::Present,
            RawTest::Has(value) => return self.has(value),
        };
        Ok(self.made(checked))
    }

    fn made(&self, test: Test) -> Node {
        Node::Test { path: Arc::new(self.path.clone()), test }
    }

    fn compare(&self, operator: Operator, value: &RawValue) -> Result<Test, Misfit> {
        let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        if value.is_word("NULL") {
            return match operator {
                Operator::Equal => Ok(Test::IsNull { negated: false }),
                Operator::NotEqual => Ok(Test::IsNull { negated: true }),
                _ => Err(value.expected("a value that can be ordered")),
            };
        }
        let kind = self.comparable()?;
        if is_equality {
            return Ok(Test::Compare(operator, self.literal(&kind, value)?));
        }
        if matches!(&kind, Kind::Message(m) if well_known(m).is_none()) {
            return Err(self.unfit("is a message, which has no order"));
        }
        let literal = match value.text() {
            Some(text) if self.is_name() => Literal::Name(NameLiteral::new(text)),
            _ => plain(&kind, value)?,
        };
        Ok(Test::Compare(operator, literal))
    }

    /// The kind of the one value at the path.
    fn comparable(&self) -> Result<Kind, Misfit> {
        if self.path.passes_list() {
            return Err(self.unfit("passes through a list, use \":\" or CONTAINS"));
        }
        match self.path.shape() {
            Shape::One(kind) => Ok(unwrapped_kind(kind)),
            Shape::List(_) => Err(self.unfit("is a list, use \":\" or CONTAINS")),
            Shape::Map { .. } => Err(self.unfit("is a map, name a key of it")),
        }
    }

    fn one_of(&self, fits: impl Fn(&Kind) -> bool, problem: &'static str) -> Result<(), Misfit> {
        match self.path.shape() {
            Shape::One(kind) if fits(&unwrapped_kind(kind)) => Ok(()),
            _ => Err(self.unfit(problem)),
        }
    }

    /// Values to look for among the items of a list or the keys of a map.
    fn items(&self, values: &[RawValue]) -> Result<Vec<Literal>, Misfit> {
        match self.path.shape() {
            Shape::List(kind) => self.literals(kind, values),
            Shape::Map { key, .. } => {
                values.iter().map(|value| literal(key, value)).collect::<Result<_, _>>()
            }
            // What is behind a list is several values as well.
            Shape::One(kind) if self.path.passes_list() => self.literals(kind, values),
            Shape::One(_) => Err(self.unfit("is no list")),
        }
    }

    fn has(&self, value: &RawValue) -> Result<Node, Misfit> {
        match self.path.shape() {
            Shape::Map { key, .. } => {
                let text = value.text().ok_or_else(|| value.expected("a key or *"))?;
                let segment = Segment { text, offset: value.offset, quoted: true };
                Ok(self.made(Test::HasKey(map_key(key, &segment)?)))
            }
            Shape::List(kind) => Ok(self.made(Test::Has(self.literal(kind, value)?))),
            Shape::One(kind) => match unwrapped_kind(kind) {
                Kind::Message(message) if well_known(&message).is_none() => self.has_field(value),
                Kind::String if !self.is_collected() => {
                    Ok(self.made(Test::Has(Literal::Pattern(pattern(value, Style::Has)?))))
                }
                kind => Ok(self.made(Test::Has(self.literal(&kind, value)?))),
            },
        }
    }

    /// `message:field` is `message.field:*`.
    fn has_field(&self, value: &RawValue) -> Result<Node, Misfit> {
        let text = value.text().ok_or_else(|| value.expected("a field or *"))?;
        let mut segments = self.segments.to_vec();
        segments.push(Segment { text, offset: value.offset, quoted: true });
        let path = Path::resolve(&segments, self.ty)?;
        Ok(Node::Test { path: Arc::new(path), test: Test::Present })
    }

    /// Whether the value is one of several, so that `:` asks for an equal one.
    fn is_collected(&self) -> bool {
        self.path.passes_list() || self.path.ends_with_key()
    }

    fn literals(&self, kind: &Kind, values: &[RawValue]) -> Result<Vec<Literal>, Misfit> {
        values.iter().map(|value| self.literal(kind, value)).collect()
    }

    /// A value to be equal to: of a name with wildcards, of other texts with `*`.
    fn literal(&self, kind: &Kind, value: &RawValue) -> Result<Literal, Misfit> {
        let literal = literal(kind, value)?;
        match (&literal, value.text()) {
            (Literal::Value { .. }, Some(text)) if self.is_name() => {
                Ok(Literal::Name(NameLiteral::new(text)))
            }
            _ => Ok(literal),
        }
    }

    /// Whether the path holds the resource's own name or a reference.
    fn is_name(&self) -> bool {
        let path = self.path.fields_only();
        path == self.ty.name_field.name() || self.ty.references.iter().any(|r| r.path == path)
    }

    fn unfit(&self, problem: &'static str) -> Misfit {
        let offset = self.segments.first().map_or(0, |segment| segment.offset);
        Misfit::new(offset, FilterProblem::Unfit { path: self.path.to_string(), problem })
    }
}

/// A value to be equal to.
fn literal(kind: &Kind, value: &RawValue) -> Result<Literal, Misfit> {
    let is_text = unwrapped_kind(kind) == Kind::String;
    if is_text && quoted(value).as_ref().is_some_and(has_star) {
        return pattern(value, Style::Glob).map(Literal::Pattern);
    }
    plain(kind, value)
}

/// A value as it is.
fn plain(kind: &Kind, raw: &RawValue) -> Result<Literal, Misfit> {
    if raw.is_word("NULL") && unwrapped_kind(kind) != Kind::String {
        return Err(raw.expected("a value, NULL only with = and !="));
    }
    let value = convert::value(kind, raw)?;
    Ok(Literal::Value { value, text: raw.to_string() })
}

fn pattern(raw: &RawValue, style: Style) -> Result<TextPattern, Misfit> {
    let source = quoted(raw).ok_or_else(|| raw.expected("a text"))?;
    TextPattern::new(source, style).ok_or_else(|| raw.expected("a shorter text"))
}

/// A word or text as if it had been in quotes.
fn quoted(raw: &RawValue) -> Option<Quoted> {
    match &raw.form {
        Form::Quoted(quoted) => Some(quoted.clone()),
        Form::Word(word) => Some(Quoted(word.chars().map(Piece::Char).collect())),
        Form::List(_) | Form::Braces(_) => None,
    }
}
