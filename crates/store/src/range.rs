//! Ranges of rows: by name within a table, by value within an index. Pure.

use crate::contract::{Extract, Index, Key, Table, Value};

/// What a condition can look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    Names(NameRange),
    Index(IndexRange),
}

/// Names of one table from `from` (inclusive) to `to` (exclusive; `None`: to the end), by bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRange {
    pub table: Table,
    pub from: String,
    pub to: Option<String>,
}

/// Values of one index from `from` (inclusive) to `to` (exclusive; `None`: to the end), by bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRange {
    pub index: Index,
    pub from: Value,
    pub to: Option<Value>,
}

impl NameRange {
    /// All rows of `table`.
    pub fn all(table: Table) -> Self {
        Self { table, from: String::new(), to: None }
    }

    /// All rows whose name starts with `prefix`.
    pub fn prefix(table: Table, prefix: &str) -> Self {
        Self { table, from: prefix.to_owned(), to: after_prefix(prefix) }
    }

    /// Whether a row under `key` would be in this range.
    pub fn contains(&self, key: &Key) -> bool {
        let name = &*key.name;
        self.table == key.table
            && name >= self.from.as_str()
            && self.to.as_deref().is_none_or(|to| name < to)
    }

    /// Whether no name at all can be in it.
    pub fn is_void(&self) -> bool {
        self.to.as_deref().is_some_and(|to| to <= self.from.as_str())
    }
}

impl IndexRange {
    /// All entries of `index`.
    pub fn all(index: Index) -> Self {
        Self { index, from: Value::default(), to: None }
    }

    /// All entries with exactly this value.
    pub fn exactly(index: Index, value: Value) -> Self {
        let to = Some(value.successor());
        Self { index, from: value, to }
    }

    /// All entries whose value starts with the bytes of `prefix`.
    pub fn prefix(index: Index, prefix: Value) -> Self {
        let to = prefix.after_prefix();
        Self { index, from: prefix, to }
    }

    pub fn contains(&self, value: &Value) -> bool {
        *value >= self.from && self.to.as_ref().is_none_or(|to| value < to)
    }

    /// Whether a row under `key` that brings `extract` would be in this range.
    pub fn contains_row(&self, key: &Key, extract: &Extract) -> bool {
        key.table.namespace == self.index.namespace
            && extract.entries().any(|e| e.index == &*self.index.name && self.contains(&e.value))
    }

    /// Whether no value at all can be in it.
    pub fn is_void(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }
}

impl Range {
    /// Whether a row under `key` that brings `extract` would be in this range.
    pub fn contains_row(&self, key: &Key, extract: &Extract) -> bool {
        match self {
            Self::Names(range) => range.contains(key),
            Self::Index(range) => range.contains_row(key, extract),
        }
    }

    pub fn is_void(&self) -> bool {
        match self {
            Self::Names(range) => range.is_void(),
            Self::Index(range) => range.is_void(),
        }
    }

    pub fn namespace(&self) -> &str {
        match self {
            Self::Names(range) => &range.table.namespace,
            Self::Index(range) => &range.index.namespace,
        }
    }
}

/// The smallest string above all strings that start with `prefix`; `None` if there is none.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        // Chars in order are UTF-8 bytes in order, so the next char is the next string; surrogates are skipped.
        let next = match u32::from(last) + 1 {
            0xD800 => 0xE000,
            next => next,
        };
        if let Some(next) = char::from_u32(next) {
            end.push(next);
            return Some(end.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table { namespace: "v1".into(), kind: "Device".into() }
    }

    #[test]
    fn the_end_of_a_prefix_is_above_all_that_start_with_it() {
        assert_eq!(after_prefix("a/"), Some("a0".to_owned()));
        assert_eq!(after_prefix("a\u{10FFFF}"), Some("b".to_owned()));
        assert_eq!(after_prefix("\u{D7FF}"), Some("\u{E000}".to_owned()));
        assert_eq!(after_prefix("\u{10FFFF}"), None);
        assert_eq!(after_prefix(""), None);
    }

    proptest::proptest! {
        #[test]
        fn a_prefix_range_holds_exactly_the_names_with_the_prefix(prefix in ".{0,3}", name in ".{0,5}") {
            let range = NameRange::prefix(table(), &prefix);
            let key = Key { table: table(), name: name.as_str().into() };
            proptest::prop_assert_eq!(range.contains(&key), name.starts_with(&prefix));
        }

        #[test]
        fn a_longer_name_is_in_its_prefix_range(prefix in ".{0,3}", rest in ".{0,3}") {
            let range = NameRange::prefix(table(), &prefix);
            let key = Key { table: table(), name: format!("{prefix}{rest}").into() };
            proptest::prop_assert!(range.contains(&key));
        }

        #[test]
        fn index_ranges_hold_exactly_their_values(
            prefix in proptest::collection::vec(250_u8.., 0..3),
            value in proptest::collection::vec(250_u8.., 0..4),
        ) {
            let index = Index { namespace: "v1".into(), name: "by".into() };
            let (prefix, value) = (Value::from(prefix), Value::from(value));
            let by_prefix = IndexRange::prefix(index.clone(), prefix.clone());
            proptest::prop_assert_eq!(by_prefix.contains(&value), value.as_bytes().starts_with(prefix.as_bytes()));
            let exactly = IndexRange::exactly(index, prefix.clone());
            proptest::prop_assert_eq!(exactly.contains(&value), value == prefix);
        }
    }
}
