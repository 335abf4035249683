//! A YAML document as a tree in which every key and value knows its place, for diagnostics that point at it.
//!
//! What the keys mean is the business of `read`.

use std::fmt;

use bowline_schema::diagnostic::{Diagnostic, Place, code};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// Largest configuration that is read, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    /// Any scalar, as text: `1`, `true` and `x` are all words here.
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; the parser refuses a key that comes twice.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) at: Position,
    pub(super) text: String,
}

/// Line and column from 1; zeros are the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Position {
    pub(super) fn of(self, file: &str) -> Place {
        Place::at(file, self.line, self.column)
    }
}

impl From<Location> for Position {
    fn from(at: Location) -> Self {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self { line: number(at.line()), column: number(at.column()) }
    }
}

impl Value {
    /// What it is, for messages.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Reads one document.
///
/// # Errors
/// One diagnostic, at the place that the parser complains about.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, Diagnostic> {
    if text.len() > BYTES_MAX {
        let message = format!("the configuration is larger than {BYTES_MAX} bytes");
        return Err(Diagnostic::error(code::TOO_LARGE, &Place::file(file), message));
    }
    let read: Result<Spanned<Raw>, _> = serde_saphyr::from_str(text);
    let raw = read.map_err(|error| {
        let place =
            error.location().map_or_else(|| Place::file(file), |at| Position::from(at).of(file));
        let text = error.to_string();
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("not valid YAML");
        let first = first.trim().trim_start_matches("error: ");
        Diagnostic::error(code::BAD_CONFIGURATION, &place, first)
    })?;
    Ok(raw.into())
}

/// As the parser gives it.
enum Raw {
    Null,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl From<Spanned<Raw>> for Node {
    /// The parser bounds the depth, so this can follow it.
    fn from(raw: Spanned<Raw>) -> Self {
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Text(text) => Value::Text(text),
            Raw::List(items) => Value::List(items.into_iter().map(Node::from).collect()),
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        (Key { at: key.referenced.into(), text: key.value }, value.into())
                    })
                    .collect(),
            ),
        };
        Self { at: raw.referenced.into(), value }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_know_their_places() {
        let root =
            parse("f", "regions:\n  eu: { listen: 127.0.0.1:7410 }\nlist: [1, true]\n").unwrap();
        let Value::Map(entries) = root.value else { panic!("a map") };
        assert_eq!(entries[0].0.at, Position { line: 1, column: 1 });
        let Value::Map(regions) = &entries[0].1.value else { panic!("a map") };
        assert_eq!(regions[0].0.at, Position { line: 2, column: 3 });
        assert_eq!(regions[0].1.at, Position { line: 2, column: 7 });
        let Value::List(items) = &entries[1].1.value else { panic!("a list") };
        assert!(matches!(&items[1].value, Value::Text(text) if text == "true"));
        assert_eq!(items[1].at, Position { line: 3, column: 11 });
    }

    #[test]
    fn a_key_that_comes_twice_is_refused() {
        let problem = parse("f", "a: 1\na: 2\n").unwrap_err();
        assert_eq!((problem.line, problem.code), (2, code::BAD_CONFIGURATION));
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(text in "[a-z:{}\\[\\],.\n &*!|>\"'-]{0,120}") {
            let _ = parse("f", &text);
        }
    }
}
