//! What can be said of a batch without a state: whether it is sound, how much it weighs, what its ranges hold.
//!
//! What it does to a state is in [`crate::plan`].

use std::collections::BTreeSet;

use crate::contract::{
    BATCH_WRITES_MAX, Batch, CommitError, Condition, INDEX_NAME_BYTES_MAX, Key, NAME_BYTES_MAX,
    ROW_BYTES_MAX, Row, Table, VALUE_BYTES_MAX, Write,
};
use crate::extract;

/// Refuses a batch that no state could make right.
pub fn check(batch: &Batch) -> Result<(), CommitError> {
    malformed(check_all(batch))
}

fn malformed(checked: Result<(), &'static str>) -> Result<(), CommitError> {
    checked.map_err(CommitError::Malformed)
}

fn check_all(batch: &Batch) -> Result<(), &'static str> {
    if batch.writes.len() > BATCH_WRITES_MAX {
        return Err("it has too many writes");
    }
    batch.conditions.iter().try_for_each(check_condition)?;
    batch.writes.iter().try_for_each(check_write)?;
    check_unique(&batch.writes)?;
    check_reindexes(batch)?;
    check_namespaces(batch)
}

/// Whether a row is reindexed depends on its version, so a range could not be judged before that is known.
fn check_reindexes(batch: &Batch) -> Result<(), &'static str> {
    let by_range = |condition: &Condition| matches!(condition, Condition::NoRowInRange { .. });
    let reindexes = |write: &Write| matches!(write, Write::Reindex { .. });
    match batch.conditions.iter().any(by_range) && batch.writes.iter().any(reindexes) {
        true => Err("it reindexes a row and judges a range"),
        false => Ok(()),
    }
}

fn check_condition(condition: &Condition) -> Result<(), &'static str> {
    match condition {
        Condition::RowAt { key, .. }
        | Condition::RowAbsent { key }
        | Condition::NotRemovedSince { key, .. } => check_key(key),
        Condition::FieldIs { key, value, .. } | Condition::FieldAtMost { key, value, .. } => {
            if value.as_bytes().len() > VALUE_BYTES_MAX {
                return Err("a value is too long");
            }
            check_key(key)
        }
        Condition::NoRowInRange { .. } => Ok(()),
    }
}

fn check_write(write: &Write) -> Result<(), &'static str> {
    match write {
        Write::Put { key, row, .. } => {
            check_key(key)?;
            check_row(row)
        }
        Write::Reindex { key, extract, .. } => {
            check_key(key)?;
            extract::check(extract)
        }
        Write::Remove { key } => check_key(key),
        Write::Swap { a, b } if a == b => Err("it swaps a namespace with itself"),
        Write::Swap { a, b } => [a, b].into_iter().try_for_each(|name| check_label(name)),
        Write::Drop { namespace } => check_label(namespace),
    }
}

fn check_row(row: &Row) -> Result<(), &'static str> {
    if row.body.len().saturating_add(row.aside.len()) > ROW_BYTES_MAX {
        return Err("a row is too large");
    }
    extract::check(&row.extract)
}

/// Bytes of the rows that `batch` writes, for sizing groups.
pub fn weight(batch: &Batch) -> usize {
    let row = |write: &Write| match write {
        Write::Put { key, row, readable } => {
            let readable = readable.as_ref().map_or(0, |json| json.len());
            key.name.len()
                + row.body.len()
                + row.aside.len()
                + row.extract.as_bytes().len()
                + readable
        }
        Write::Reindex { key, extract, readable, .. } => {
            let readable = readable.as_ref().map_or(0, |json| json.len());
            key.name.len() + extract.as_bytes().len() + readable
        }
        Write::Remove { key } => key.name.len(),
        Write::Swap { .. } | Write::Drop { .. } => 0,
    };
    batch.writes.iter().map(row).sum()
}

/// The key that a write is about, if it is about one.
pub fn key_of(write: &Write) -> Option<&Key> {
    match write {
        Write::Put { key, .. } | Write::Remove { key } | Write::Reindex { key, .. } => Some(key),
        Write::Swap { .. } | Write::Drop { .. } => None,
    }
}

fn check_key(key: &Key) -> Result<(), &'static str> {
    if key.name.len() > NAME_BYTES_MAX {
        return Err("a name is too long");
    }
    let Table { namespace, kind } = &key.table;
    check_label(namespace)?;
    check_label(kind)
}

fn check_label(label: &str) -> Result<(), &'static str> {
    match label.len() > INDEX_NAME_BYTES_MAX {
        true => Err("a namespace or kind is too long"),
        false => Ok(()),
    }
}

fn check_unique(writes: &[Write]) -> Result<(), &'static str> {
    let twice = match writes {
        [] | [_] => false,
        [a, b] => key_of(a).is_some() && key_of(a) == key_of(b),
        many => {
            let mut seen = BTreeSet::new();
            !many.iter().filter_map(key_of).all(|key| seen.insert(key))
        }
    };
    if twice { Err("it writes one key twice") } else { Ok(()) }
}

/// A namespace that is swapped or dropped is not written, judged by range or moved again by the same batch.
fn check_namespaces(batch: &Batch) -> Result<(), &'static str> {
    let mut moved = BTreeSet::new();
    for write in &batch.writes {
        let names: &[&str] = match write {
            Write::Swap { a, b } => &[a, b],
            Write::Drop { namespace } => &[namespace],
            Write::Put { .. } | Write::Remove { .. } | Write::Reindex { .. } => &[],
        };
        if !names.iter().all(|name| moved.insert(*name)) {
            return Err("it moves one namespace twice");
        }
    }
    if moved.is_empty() {
        return Ok(());
    }
    let written =
        |write: &Write| key_of(write).is_some_and(|key| moved.contains(&*key.table.namespace));
    let judged = |condition: &Condition| matches!(condition, Condition::NoRowInRange { range } if moved.contains(range.namespace()));
    if batch.writes.iter().any(written) || batch.conditions.iter().any(judged) {
        return Err("it writes or judges a namespace that it swaps or drops");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> crate::Table {
        crate::Table { namespace: "v1".into(), kind: "Device".into() }
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
}
