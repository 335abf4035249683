//! What a batch does to a state: whether its conditions hold, and the changes it makes. Pure; shared by backends.
//!
//! Not here: writing the result, handing out sequences, durability.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::batch::key_of;
use crate::contract::{
    Batch, CommitError, Condition, Key, NameRange, Position, Row, StoreError, Version, Write,
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

/// What a batch comes to if it commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In the order of its writes. None: the batch is without effect.
    pub(crate) effects: Vec<Effect>,
    /// A condition that is left to whoever writes.
    pub(crate) unread: Option<Unread>,
}

/// A row that has to be absent, and that nobody looked for, since inserting it tells as well.
///
/// It is to be inserted before anything else of the batch is written; if it is there, the batch has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    /// Which of the effects inserts it.
    pub(crate) effect: usize,
    /// Which condition of the batch fails if it is there.
    pub(crate) condition: usize,
}

/// Judges `batch` on `view` and tells what it would change.
pub(crate) fn plan(batch: &Batch, view: &mut impl View) -> Result<Plan, CommitError> {
    judge(batch, view, None)
}

/// The same, but one row that the batch creates may be left [`Plan::unread`]: a create then costs no read.
pub(crate) fn plan_unread(batch: &Batch, view: &mut impl View) -> Result<Plan, CommitError> {
    judge(batch, view, first_create(batch))
}

/// The first condition that a row be absent which the batch then puts, if its changes are logged.
fn first_create(batch: &Batch) -> Option<usize> {
    batch.conditions.iter().position(|condition| match condition {
        Condition::RowAbsent { key } => {
            let puts = |write: &Write| matches!(write, Write::Put { key: put, .. } if put == key);
            !key.table.is_internal() && batch.writes.iter().take(WRITES_SEARCHED_MAX).any(puts)
        }
        _ => false,
    })
}

fn judge(batch: &Batch, view: &mut impl View, unread: Option<usize>) -> Result<Plan, CommitError> {
    let mut known = Known { rows: BTreeMap::new(), writes: &batch.writes };
    for condition in 0..batch.conditions.len() {
        if Some(condition) == unread || known.holds(batch, condition, view)? {
            continue;
        }
        // The first one that fails is to be told, and that may be the one that was passed over.
        let first = match unread {
            Some(unread) if unread < condition && !known.holds(batch, unread, view)? => unread,
            _ => condition,
        };
        return Err(CommitError::ConditionFailed { condition: first });
    }
    effects(batch, known, view, unread)
}

/// Rows of this batch's own writes that were read already, so that a condition and a write share one read.
struct Known<'b> {
    rows: BTreeMap<&'b Key, Option<Row>>,
    writes: &'b [Write],
}

/// With more writes than this, looking for a key among them costs more than reading its row twice.
const WRITES_SEARCHED_MAX: usize = 16;

impl<'b> Known<'b> {
    fn holds(
        &mut self,
        batch: &'b Batch,
        condition: usize,
        view: &mut impl View,
    ) -> Result<bool, StoreError> {
        Ok(match &batch.conditions[condition] {
            Condition::RowAt { key, version } => self.version(key, view)? == Some(*version),
            Condition::RowAbsent { key } => self.version(key, view)?.is_none(),
            Condition::NotRemovedSince { key, since } => !view.removed_since(key, *since),
            Condition::NoRowInRange { range } => is_left_empty(range, &batch.writes, view)?,
        })
    }

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
    unread: Option<usize>,
) -> Result<Plan, CommitError> {
    let created = unread.and_then(|condition| match &batch.conditions[condition] {
        Condition::RowAbsent { key } => Some((condition, key)),
        _ => None,
    });
    let mut plan = Plan { effects: Vec::with_capacity(batch.writes.len()), unread: None };
    for write in &batch.writes {
        let (key, after) = match write {
            Write::Put { key, row } => (key, Some(row.clone())),
            Write::Remove { key } => (key, None),
        };
        if key.table.is_internal() {
            plan.effects.push(Effect::Internal { key: key.clone(), after });
            continue;
        }
        let before = match created {
            Some((condition, created)) if created == key => {
                plan.unread = Some(Unread { effect: plan.effects.len(), condition });
                None
            }
            _ => known.take(key, view)?,
        };
        if before.is_some() || after.is_some() {
            plan.effects.push(Effect::Logged { key: key.clone(), before, after });
        }
    }
    Ok(plan)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Table;

    /// A state of names and versions, which counts how often rows are read.
    #[derive(Default)]
    struct Rows {
        rows: BTreeMap<Arc<str>, Version>,
        reads: usize,
    }

    impl View for Rows {
        fn row(&mut self, key: &Key) -> Result<Option<Row>, StoreError> {
            Ok(self.version(key)?.map(row))
        }

        fn version(&mut self, key: &Key) -> Result<Option<Version>, StoreError> {
            self.reads += 1;
            Ok(self.rows.get(&key.name).copied())
        }

        fn removed_since(&mut self, _key: &Key, since: Position) -> bool {
            since.sequence == 0
        }

        fn names(&mut self, range: &NameRange, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
            let named = |name: &&Arc<str>| range.contains(&key(name));
            Ok(self.rows.keys().filter(named).take(limit).cloned().collect())
        }
    }

    fn row(version: Version) -> Row {
        Row { version, body: bytes::Bytes::new(), aside: bytes::Bytes::new() }
    }

    fn key(name: &str) -> Key {
        let table = Table { namespace: "v1".into(), kind: "Device".into() };
        Key { table, name: name.into() }
    }

    fn absent(name: &str) -> Condition {
        Condition::RowAbsent { key: key(name) }
    }

    fn put(name: &str) -> Write {
        Write::Put { key: key(name), row: row(9) }
    }

    fn rows(names: &[&str]) -> Rows {
        Rows { rows: names.iter().map(|name| ((*name).into(), 1)).collect(), reads: 0 }
    }

    #[test]
    fn an_update_reads_its_row_once() {
        let (mut view, key) = (rows(&["a"]), key("a"));
        let conditions = vec![Condition::RowAt { key, version: 1 }];
        let planned = plan(&Batch { conditions, writes: vec![put("a")] }, &mut view).unwrap();
        assert_eq!((planned.effects.len(), view.reads), (1, 1));
    }

    #[test]
    fn a_create_reads_nothing_where_inserting_tells_as_well() {
        let mut view = rows(&["a"]);
        let batch = Batch { conditions: vec![absent("a")], writes: vec![put("a")] };
        let planned = plan_unread(&batch, &mut view).unwrap();
        assert_eq!(planned.unread, Some(Unread { effect: 0, condition: 0 }));
        assert_eq!(view.reads, 0);
    }

    #[test]
    fn only_one_row_of_a_batch_is_left_unread() {
        let mut view = rows(&["b"]);
        let conditions = vec![absent("a"), absent("b")];
        let batch = Batch { conditions, writes: vec![put("b"), put("a")] };
        let failed = plan_unread(&batch, &mut view);
        assert!(matches!(failed, Err(CommitError::ConditionFailed { condition: 1 })));
        view.rows.clear();
        let planned = plan_unread(&batch, &mut view).unwrap();
        assert_eq!(planned.unread, Some(Unread { effect: 1, condition: 0 }));
    }

    proptest::proptest! {
        /// What is left unread comes to the same as reading it, the failed condition included.
        #[test]
        fn leaving_a_row_unread_changes_no_outcome(
            there in proptest::collection::btree_set("[a-d]", 0..4),
            conditions in proptest::collection::vec(("[a-d]", 0..3_u8), 0..4),
            writes in proptest::collection::btree_map("[a-d]", proptest::bool::ANY, 0..4),
        ) {
            let names: Vec<&str> = there.iter().map(String::as_str).collect();
            let conditions = conditions.iter().map(|(name, what)| match what {
                0 => Condition::RowAt { key: key(name), version: 1 },
                1 => Condition::NotRemovedSince { key: key(name), since: Position::default() },
                _ => absent(name),
            });
            let writes = writes.iter().map(|(name, is_put)| match is_put {
                true => put(name),
                false => Write::Remove { key: key(name) },
            });
            let batch = Batch { conditions: conditions.collect(), writes: writes.collect() };
            let read = plan(&batch, &mut rows(&names)).map(|plan| plan.effects);
            let unread = plan_unread(&batch, &mut rows(&names)).and_then(|plan| match plan.unread {
                Some(Unread { effect, condition }) => match &plan.effects[effect] {
                    Effect::Logged { key, .. } if there.contains(&*key.name) => {
                        Err(CommitError::ConditionFailed { condition })
                    }
                    _ => Ok(plan.effects),
                },
                None => Ok(plan.effects),
            });
            proptest::prop_assert_eq!(format!("{read:?}"), format!("{unread:?}"));
        }
    }
}
