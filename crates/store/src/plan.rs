//! What a batch does to a state: whether its conditions hold, and the changes it makes. Pure; shared by backends.
//!
//! Not here: writing the result, handing out sequences, durability.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::key_of;
use crate::contract::{
    Batch, Change, CommitError, Condition, Entry, Extract, Key, Position, Range, Row, RowId,
    StoreError, Table, Value, Version, Write,
};

/// The state that a batch is judged against: what all batches before it left.
pub trait View {
    fn row(&mut self, key: &Key) -> Result<Option<Row>, StoreError>;

    /// The version alone, which can be cheaper than the row.
    fn version(&mut self, key: &Key) -> Result<Option<Version>, StoreError> {
        Ok(self.row(key)?.map(|row| row.version))
    }

    /// A field of the row; `None`: no such row. `Some(None)`: no such field.
    fn field(&mut self, key: &Key, field: &str) -> Result<Option<Option<Value>>, StoreError> {
        Ok(self.row(key)?.map(|row| row.extract.field(field)))
    }

    /// The name of the row of `table` that has the id, which is not [`RowId::NONE`].
    fn name_of(&mut self, table: &Table, id: RowId) -> Result<Option<Arc<str>>, StoreError>;

    /// Whether a commit after `since` removed the row, or may have. Only for rows whose changes are logged.
    fn removed_since(&mut self, key: &Key, since: Position) -> Result<bool, StoreError>;

    /// The keys of the first rows of a range, in order, each once, at most `limit`.
    fn keys_in(&mut self, range: &Range, limit: usize) -> Result<Vec<Key>, StoreError>;
}

/// What one write of a batch comes to.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all effects are rows, and a box would be an allocation for each"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Row(RowEffect),
    Swap { a: Arc<str>, b: Arc<str> },
    Drop { namespace: Arc<str> },
}

/// A row that is put, replaced, removed or reindexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowEffect {
    pub key: Key,
    pub before: Option<Row>,
    pub after: Option<Row>,
    pub readable: Option<Bytes>,
    /// Whether it goes into the log: neither bookkeeping nor a mere reindexing.
    pub is_logged: bool,
}

impl RowEffect {
    /// The line of the log, if it gets one.
    pub fn change(&self, position: Position) -> Option<Change> {
        let plain = |row: &Row| Row { extract: Extract::default(), ..row.clone() };
        self.is_logged.then(|| Change {
            position,
            key: self.key.clone(),
            before: self.before.as_ref().map(plain),
            after: self.after.as_ref().map(plain),
        })
    }

    /// The index entries that go and those that come; what stays is in neither.
    pub fn entries(&self) -> EntryChanges<'_> {
        let none = Extract::default();
        let before = self.before.as_ref().map_or(&none, |row| &row.extract);
        let after = self.after.as_ref().map_or(&none, |row| &row.extract);
        if before == after {
            return EntryChanges::default();
        }
        let before = entries_of(self.before.as_ref());
        let after = entries_of(self.after.as_ref());
        EntryChanges {
            gone: before.difference(&after).cloned().collect(),
            new: after.difference(&before).cloned().collect(),
        }
    }
}

fn entries_of(row: Option<&Row>) -> BTreeSet<Entry<'_>> {
    row.map(|row| row.extract.entries().collect()).unwrap_or_default()
}

/// See [`RowEffect::entries`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryChanges<'e> {
    pub gone: Vec<Entry<'e>>,
    pub new: Vec<Entry<'e>>,
}

/// What a batch comes to if it commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of its writes. None: the batch is without effect.
    pub effects: Vec<Effect>,
    /// A condition that is left to whoever writes.
    pub unread: Option<Unread>,
}

/// A row that has to be absent, and that nobody looked for, since inserting it tells as well.
///
/// It is to be inserted before anything else of the batch is written; if it is there, the batch has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Which of the effects inserts it.
    pub effect: usize,
    /// Which condition of the batch fails if it is there.
    pub condition: usize,
}

/// Judges `batch` on `view` and tells what it would change.
pub fn plan(batch: &Batch, view: &mut impl View) -> Result<Plan, CommitError> {
    judge(batch, view, None)
}

/// The same, but one row that the batch creates may be left [`Plan::unread`]: a create then costs no read.
pub fn plan_unread(batch: &Batch, view: &mut impl View) -> Result<Plan, CommitError> {
    judge(batch, view, first_create(batch))
}

/// The first condition that a row be absent which the batch then puts.
fn first_create(batch: &Batch) -> Option<usize> {
    batch.conditions.iter().position(|condition| match condition {
        Condition::RowAbsent { key } => {
            let puts = |write: &Write| matches!(write, Write::Put { key: put, .. } if put == key);
            batch.writes.iter().take(WRITES_SEARCHED_MAX).any(puts)
        }
        _ => false,
    })
}

fn judge(batch: &Batch, view: &mut impl View, unread: Option<usize>) -> Result<Plan, CommitError> {
    let mut known = Known { rows: BTreeMap::new(), writes: &batch.writes, written: None };
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
    /// The keys of all rows that are put or removed, once a condition has needed them.
    written: Option<BTreeSet<&'b Key>>,
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
            Condition::FieldIs { key, field, value } => {
                self.field(key, field, view)?.flatten().as_ref() == Some(value)
            }
            Condition::FieldAtMost { key, field, value } => {
                self.field(key, field, view)?.flatten().is_none_or(|found| found <= *value)
            }
            Condition::NotRemovedSince { key, since } => {
                !key.table.is_internal() && !view.removed_since(key, *since)?
            }
            Condition::NoRowInRange { range } => self.is_left_empty(range, view)?,
        })
    }

    /// Whether no row of `range` is there once the batch is written.
    fn is_left_empty(&mut self, range: &Range, view: &mut impl View) -> Result<bool, StoreError> {
        let puts_one = |write: &Write| match write {
            Write::Put { key, row, .. } => range.contains_row(key, &row.extract),
            _ => false,
        };
        if self.writes.iter().any(puts_one) {
            return Ok(false);
        }
        if range.is_void() {
            return Ok(true);
        }
        // What was there under such a key counts no more: it is gone, or another row has taken its place.
        let writes = self.writes;
        let keys = || writes.iter().filter_map(key_of).collect();
        let written = self.written.get_or_insert_with(keys);
        // One key more than the batch writes is enough to find one that it leaves.
        let keys = view.keys_in(range, written.len() + 1)?;
        Ok(keys.iter().all(|key| written.contains(key)))
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

    fn field(
        &mut self,
        key: &'b Key,
        field: &str,
        view: &mut impl View,
    ) -> Result<Option<Option<Value>>, StoreError> {
        match self.rows.get(key) {
            Some(row) => Ok(row.as_ref().map(|row| row.extract.field(field))),
            None => view.field(key, field),
        }
    }

    fn will_need_row(&self, key: &Key) -> bool {
        self.writes.len() <= WRITES_SEARCHED_MAX
            && self.writes.iter().any(|write| key_of(write) == Some(key))
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
    let mut ids = Ids::default();
    for (write_index, write) in batch.writes.iter().enumerate() {
        let (key, after, readable) = match write {
            Write::Put { key, row, readable } => (key, Some(row), readable),
            Write::Remove { key } => (key, None, &None),
            Write::Reindex { key, version, extract, readable } => {
                let before = known.take(key, view)?.filter(|row| row.version == *version);
                plan.effects.extend(before.map(|row| reindexed(key, row, extract, readable)));
                continue;
            }
            Write::Swap { a, b } => {
                plan.effects.push(Effect::Swap { a: a.clone(), b: b.clone() });
                continue;
            }
            Write::Drop { namespace } => {
                plan.effects.push(Effect::Drop { namespace: namespace.clone() });
                continue;
            }
        };
        let before = match created {
            Some((condition, created)) if created == key => {
                plan.unread = Some(Unread { effect: plan.effects.len(), condition });
                None
            }
            _ => known.take(key, view)?,
        };
        if let Some(row) = after
            && ids.is_taken(key, row.id, before.as_ref(), view)?
        {
            return Err(CommitError::IdTaken { write: write_index });
        }
        if before.is_some() || after.is_some() {
            plan.effects.push(Effect::Row(RowEffect {
                key: key.clone(),
                before,
                after: after.cloned(),
                readable: readable.clone(),
                is_logged: !key.table.is_internal(),
            }));
        }
    }
    Ok(plan)
}

fn reindexed(key: &Key, row: Row, extract: &Extract, readable: &Option<Bytes>) -> Effect {
    let after = Row { extract: extract.clone(), ..row.clone() };
    Effect::Row(RowEffect {
        key: key.clone(),
        before: Some(row),
        after: Some(after),
        readable: readable.clone(),
        is_logged: false,
    })
}

/// The ids that a batch gives to rows which did not have them.
#[derive(Default)]
struct Ids<'b>(BTreeSet<(&'b Table, RowId)>);

impl<'b> Ids<'b> {
    /// Whether another row of the table has the id, or gets it from this batch. Ids never return, so it makes no
    /// difference if the batch removes that row.
    fn is_taken(
        &mut self,
        key: &'b Key,
        id: RowId,
        before: Option<&Row>,
        view: &mut impl View,
    ) -> Result<bool, StoreError> {
        if id.is_none() || before.is_some_and(|before| before.id == id) {
            return Ok(false);
        }
        if !self.0.insert((&key.table, id)) {
            return Ok(true);
        }
        Ok(view.name_of(&key.table, id)?.is_some_and(|name| name != key.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

        fn name_of(&mut self, _: &Table, _: RowId) -> Result<Option<Arc<str>>, StoreError> {
            Ok(None)
        }

        fn removed_since(&mut self, _key: &Key, since: Position) -> Result<bool, StoreError> {
            Ok(since.sequence == 0)
        }

        fn keys_in(&mut self, range: &Range, limit: usize) -> Result<Vec<Key>, StoreError> {
            let keys = self.rows.keys().map(|name| key(name));
            let none = Extract::default();
            Ok(keys.filter(|key| range.contains_row(key, &none)).take(limit).collect())
        }
    }

    fn row(version: Version) -> Row {
        Row::new(version, Bytes::new())
    }

    fn key(name: &str) -> Key {
        let table = Table { namespace: "v1".into(), kind: "Device".into() };
        Key { table, name: name.into() }
    }

    fn absent(name: &str) -> Condition {
        Condition::RowAbsent { key: key(name) }
    }

    fn put(name: &str) -> Write {
        Write::put(key(name), row(9))
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
                    Effect::Row(row) if there.contains(&*row.key.name) => {
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
