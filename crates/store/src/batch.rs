//! What can be said of a batch without a state: whether it is sound, how much it weighs, what its ranges hold.
//!
//! What it does to a state is in [`crate::plan`].

use std::collections::BTreeSet;

use crate::contract::{
    BATCH_WRITES_MAX, Batch, CommitError, Condition, Key, NAME_BYTES_MAX, NameRange, ROW_BYTES_MAX,
    Write,
};

/// Refuses a batch that no state could make right.
pub(crate) fn check(batch: &Batch) -> Result<(), CommitError> {
    if batch.writes.len() > BATCH_WRITES_MAX {
        return Err(CommitError::Malformed("it has too many writes"));
    }
    for condition in &batch.conditions {
        match condition {
            Condition::RowAt { key, .. }
            | Condition::RowAbsent { key }
            | Condition::NotRemovedSince { key, .. } => check_key(key)?,
            Condition::NoRowInRange { .. } => {}
        }
    }
    for write in &batch.writes {
        check_key(key_of(write))?;
        if let Write::Put { row, .. } = write
            && row.body.len().saturating_add(row.aside.len()) > ROW_BYTES_MAX
        {
            return Err(CommitError::Malformed("a row is too large"));
        }
    }
    check_unique(&batch.writes)
}

/// Bytes of the rows that `batch` writes, for sizing groups.
pub(crate) fn weight(batch: &Batch) -> usize {
    let row = |write: &Write| match write {
        Write::Put { key, row } => key.name.len() + row.body.len() + row.aside.len(),
        Write::Remove { key } => key.name.len(),
    };
    batch.writes.iter().map(row).sum()
}

impl NameRange {
    /// All rows of `table`.
    pub fn all(table: crate::Table) -> Self {
        Self { table, from: String::new(), to: None }
    }

    /// All rows whose name starts with `prefix`.
    pub fn prefix(table: crate::Table, prefix: &str) -> Self {
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
    pub(crate) fn is_void(&self) -> bool {
        self.to.as_deref().is_some_and(|to| to <= self.from.as_str())
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

pub(crate) fn key_of(write: &Write) -> &Key {
    match write {
        Write::Put { key, .. } | Write::Remove { key } => key,
    }
}

fn check_key(key: &Key) -> Result<(), CommitError> {
    if key.name.len() > NAME_BYTES_MAX {
        return Err(CommitError::Malformed("a name is too long"));
    }
    Ok(())
}

fn check_unique(writes: &[Write]) -> Result<(), CommitError> {
    let twice = match writes {
        [] | [_] => false,
        [a, b] => key_of(a) == key_of(b),
        many => {
            let mut seen = BTreeSet::new();
            !many.iter().all(|write| seen.insert(key_of(write)))
        }
    };
    if twice { Err(CommitError::Malformed("it writes one key twice")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> crate::Table {
        crate::Table { namespace: "v1".into(), kind: "Device".into() }
    }

    #[test]
    fn the_end_of_a_prefix_is_above_all_that_start_with_it() {
        assert_eq!(after_prefix("a/"), Some("a0".to_owned()));
        assert_eq!(after_prefix("a\u{10FFFF}"), Some("b".to_owned()));
        assert_eq!(after_prefix("\u{D7FF}"), Some("\u{E000}".to_owned()));
        assert_eq!(after_prefix("\u{10FFFF}"), None);
        assert_eq!(after_prefix(""), None);
    }

    #[test]
    fn two_writes_to_one_key_are_refused() {
        let key = |name: &str| Key { table: table(), name: name.into() };
        let remove = |name| Write::Remove { key: key(name) };
        for writes in [vec![remove("a"), remove("a")], vec![remove("a"), remove("b"), remove("a")]]
        {
            let batch = Batch { conditions: vec![], writes };
            assert!(matches!(check(&batch), Err(CommitError::Malformed(_))));
        }
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
    }
}
