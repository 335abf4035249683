//! What a batch does to a state: its own soundness, its conditions, and the changes it makes. Pure; shared by backends.
//!
//! Not here: writing the result, handing out sequences, durability.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::contract::{
    BATCH_WRITES_MAX, Batch, CommitError, Condition, Key, NAME_BYTES_MAX, NameRange, Position,
    ROW_BYTES_MAX, Row, StoreError, Version, Write,
};

/// The state that a batch is judged against: what all batches before it left.
pub(crate) trait View {
    fn row(&mut self, key: &Key) -> Result<Option<Row>, StoreError>;

    /// The version alone, which can be cheaper than the row.
    fn version(&mut self, key: &Key) -> Result<Option<Version>, StoreError>;

    /// Whether a commit after `since` removed the row, or may have. Only for rows whose changes are logged.
    fn removed_since(&mut self, key: &Key, since: Position) -> bool;

    /// The first names of a range, in order, at most `limit`.
    fn names(&mut self, range: &NameRange, limit: usize) -> Result<Vec<Arc<str>>, StoreError>;
}

/// What one write of a batch comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A change of a row whose table is in the change log.
    Logged { key: Key, before: Option<Row>, after: Option<Row> },
    /// A write to an internal table. Nobody asks what was there before, so it was not read.
    Internal { key: Key, after: Option<Row> },
}

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

/// Judges `batch` on `view` and tells what it would change. An empty answer is a batch without effect.
pub(crate) fn plan(batch: &Batch, view: &mut impl View) -> Result<Vec<Effect>, CommitError> {
    let mut known = Known { rows: BTreeMap::new(), writes: &batch.writes };
    for (condition, what) in batch.conditions.iter().enumerate() {
        let holds = match what {
            Condition::RowAt { key, version } => known.version(key, view)? == Some(*version),
            Condition::RowAbsent { key } => known.version(key, view)?.is_none(),
            Condition::NotRemovedSince { key, since } => !view.removed_since(key, *since),
            Condition::NoRowInRange { range } => is_left_empty(range, &batch.writes, view)?,
        };
        if !holds {
            return Err(CommitError::ConditionFailed { condition });
        }
    }
    effects(batch, known, view)
}

/// Rows of this batch's own writes that were read already, so that a condition and a write share one read.
struct Known<'b> {
    rows: BTreeMap<&'b Key, Option<Row>>,
    writes: &'b [Write],
}

/// With more writes than this, looking for a key among them costs more than reading its row twice.
const WRITES_SEARCHED_MAX: usize = 16;

impl<'b> Known<'b> {
    fn version(
        &mut self,
        key: &'b Key,
        view: &mut impl View,
    ) -> Result<Option<Version>, StoreError> {
        if let Some(row) = self.rows.get(key) {
            return Ok(row.as_ref().map(|row| row.version));
        }
        if !self.will_need_row(key) {
            return view.version(key);
        }
        let row = view.row(key)?;
        let version = row.as_ref().map(|row| row.version);
        self.rows.insert(key, row);
        Ok(version)
    }

    fn will_need_row(&self, key: &Key) -> bool {
        !key.table.is_internal()
            && self.writes.len() <= WRITES_SEARCHED_MAX
            && self.writes.iter().any(|write| key_of(write) == key)
    }

    fn take(&mut self, key: &Key, view: &mut impl View) -> Result<Option<Row>, StoreError> {
        match self.rows.remove(key) {
            Some(row) => Ok(row),
            None => view.row(key),
        }
    }
}

fn effects(
    batch: &Batch,
    mut known: Known<'_>,
    view: &mut impl View,
) -> Result<Vec<Effect>, CommitError> {
    let mut effects = Vec::with_capacity(batch.writes.len());
    for write in &batch.writes {
        let (key, after) = match write {
            Write::Put { key, row } => (key, Some(row.clone())),
            Write::Remove { key } => (key, None),
        };
        if key.table.is_internal() {
            effects.push(Effect::Internal { key: key.clone(), after });
            continue;
        }
        let before = known.take(key, view)?;
        if before.is_some() || after.is_some() {
            effects.push(Effect::Logged { key: key.clone(), before, after });
        }
    }
    Ok(effects)
}

/// Whether no row of `range` is there once `writes` are done.
fn is_left_empty(
    range: &NameRange,
    writes: &[Write],
    view: &mut impl View,
) -> Result<bool, StoreError> {
    let mut removed = BTreeSet::new();
    for write in writes {
        let key = key_of(write);
        if !range.contains(key) {
            continue;
        }
        match write {
            Write::Put { .. } => return Ok(false),
            Write::Remove { key } => drop(removed.insert(key.name.clone())),
        }
    }
    // One name more than the batch removes is enough to find one that it leaves.
    let names = view.names(range, removed.len() + 1)?;
    Ok(names.iter().all(|name| removed.contains(name)))
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

fn key_of(write: &Write) -> &Key {
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
