//! Backends that break one promise each, to see that the suite notices. Tests only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::contract::{
    Backend, Batch, Change, Changes, CommitError, Condition, Key, NAME_BYTES_MAX, NameRange,
    NamedRow, Position, Row, Snapshot, StoreError, Table, Write,
};

/// One thing done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    DropsFirstCondition,
    DropsLastCondition,
    ForgetsRemovals,
    TellsTheWrongCondition,
    IncludesRangeEnds,
    TakesAnyBatch,
    TakesPositionsForNothing,
    CommitsHalfBatches,
    LosesAsides,
    CutsNames,
    CutsBodies,
    MixesTables,
    ReadsStaleRows,
    SnapshotsMove,
    ScansLoseTheLastRow,
    LosesChanges,
    ReordersChanges,
    RepeatsChanges,
    TearsCommits,
    LogsInternalRows,
    TooOldIsEmpty,
    Forgets,
    NeverCloses,
}

impl Fault {
    /// All faults, each with one case that must notice it.
    pub(super) const ALL: &'static [(Self, &'static str)] = &[
        (Self::DropsFirstCondition, "write_skew_is_refused"),
        (Self::DropsLastCondition, "no_phantom_slips_in"),
        (Self::ForgetsRemovals, "a_removal_since_a_position_is_remembered"),
        (Self::TellsTheWrongCondition, "the_first_failed_condition_is_told_and_nothing_is_written"),
        (Self::IncludesRangeEnds, "a_range_includes_its_start_and_not_its_end"),
        (Self::TakesAnyBatch, "a_batch_that_contradicts_itself_is_refused"),
        (Self::TakesPositionsForNothing, "a_batch_without_effect_takes_no_position"),
        (Self::CommitsHalfBatches, "a_snapshot_sees_a_batch_wholly_or_not"),
        (Self::LosesAsides, "a_row_comes_back_as_it_was_put"),
        (Self::CutsNames, "hostile_names_are_names_like_any_other"),
        (Self::CutsBodies, "big_rows_are_kept_whole"),
        (Self::MixesTables, "tables_do_not_see_each_other"),
        (Self::ReadsStaleRows, "what_was_acknowledged_is_read"),
        (Self::SnapshotsMove, "a_snapshot_stays_as_it_was"),
        (Self::ScansLoseTheLastRow, "scans_agree_with_a_model"),
        (Self::LosesChanges, "no_change_is_missed_under_concurrent_writers"),
        (Self::ReordersChanges, "changes_from_any_position_lead_to_the_state"),
        (Self::RepeatsChanges, "removing_nothing_is_no_change"),
        (Self::TearsCommits, "a_page_holds_whole_commits"),
        (Self::LogsInternalRows, "internal_rows_are_not_in_the_log"),
        (Self::TooOldIsEmpty, "a_position_that_is_no_longer_kept_is_too_old"),
        (Self::Forgets, "everything_is_there_after_reopening"),
        (Self::NeverCloses, "a_closed_store_refuses"),
    ];
}

/// A good backend behind a fault.
#[derive(Debug)]
pub(super) struct Faulty {
    good: Arc<dyn Backend>,
    fault: Fault,
    /// What [`Fault::ReadsStaleRows`] read last of each row.
    read: Mutex<BTreeMap<Key, Option<Row>>>,
}

impl Faulty {
    pub(super) fn new(good: Arc<dyn Backend>, fault: Fault) -> Self {
        Self { good, fault, read: Mutex::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl Fault {
    fn key(self, key: &Key) -> Key {
        let name: Arc<str> = match self {
            Self::CutsNames => key.name.split('\0').next().unwrap_or("").into(),
            Self::TakesAnyBatch if key.name.len() > NAME_BYTES_MAX => "long".into(),
            _ => key.name.clone(),
        };
        Key { table: self.table(&key.table), name }
    }

    fn table(self, table: &Table) -> Table {
        let mut table = table.clone();
        match self {
            Self::MixesTables => table.namespace = "v1".into(),
            Self::LogsInternalRows => table.kind = table.kind.trim_start_matches('~').into(),
            _ => {}
        }
        table
    }

    fn range(self, range: &NameRange) -> NameRange {
        let mut range = range.clone();
        range.table = self.table(&range.table);
        if self == Self::IncludesRangeEnds
            && let Some(to) = &mut range.to
        {
            to.push('\0');
        }
        range
    }

    fn condition(self, condition: &Condition) -> Condition {
        match condition {
            Condition::RowAt { key, version } => {
                Condition::RowAt { key: self.key(key), version: *version }
            }
            Condition::RowAbsent { key } => Condition::RowAbsent { key: self.key(key) },
            Condition::NotRemovedSince { key, since } => {
                Condition::NotRemovedSince { key: self.key(key), since: *since }
            }
            Condition::NoRowInRange { range } => {
                Condition::NoRowInRange { range: self.range(range) }
            }
        }
    }

    fn write(self, write: &Write) -> Write {
        match write {
            Write::Remove { key } => Write::Remove { key: self.key(key) },
            Write::Put { key, row } => {
                let mut row = row.clone();
                match self {
                    Self::LosesAsides => row.aside.clear(),
                    Self::CutsBodies => row.body.truncate(64 * 1024),
                    _ => {}
                }
                Write::Put { key: self.key(key), row }
            }
        }
    }

    fn batch(self, batch: &Batch) -> Batch {
        let mut conditions: Vec<_> = batch.conditions.iter().map(|c| self.condition(c)).collect();
        let mut writes: Vec<_> = batch.writes.iter().map(|w| self.write(w)).collect();
        match self {
            Self::DropsFirstCondition if !conditions.is_empty() => drop(conditions.remove(0)),
            Self::DropsLastCondition => drop(conditions.pop()),
            Self::ForgetsRemovals => {
                conditions.retain(|c| !matches!(c, Condition::NotRemovedSince { .. }));
            }
            Self::CommitsHalfBatches if writes.len() > 1 => drop(writes.pop()),
            Self::TakesAnyBatch => writes.truncate(1),
            Self::TakesPositionsForNothing => {
                let table = Table { namespace: "".into(), kind: "~noise".into() };
                let row = Row { version: 0, body: "".into(), aside: "".into() };
                writes.push(Write::Put { key: Key { table, name: "".into() }, row });
            }
            _ => {}
        }
        Batch { conditions, writes }
    }

    fn changes(self, changes: &mut Vec<Arc<Change>>, limit: usize) {
        match self {
            Self::LosesChanges if changes.len() > 1 => drop(changes.remove(0)),
            Self::ReordersChanges => changes.reverse(),
            Self::RepeatsChanges => {
                *changes = changes.iter().flat_map(|c| [c.clone(), c.clone()]).collect();
            }
            Self::TearsCommits => changes.truncate(limit.max(1)),
            _ => {}
        }
    }
}

#[async_trait]
impl Backend for Faulty {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let good = self.good.snapshot().await?;
        Ok(Box::new(FaultySnapshot { good, store: self.good.clone(), fault: self.fault }))
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        let (row, position) = self.good.get(&self.fault.key(key)).await?;
        if !self.has(Fault::ReadsStaleRows) {
            return Ok((row, position));
        }
        let before = self.read.lock().unwrap().insert(key.clone(), row.clone());
        Ok((before.unwrap_or(row), position))
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        let committed = self.good.commit(self.fault.batch(&batch)).await;
        match committed {
            Err(CommitError::ConditionFailed { condition })
                if self.has(Fault::TellsTheWrongCondition) =>
            {
                Err(CommitError::ConditionFailed { condition: condition + 1 })
            }
            outcome => outcome,
        }
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        match self.good.changes(after, limit).await? {
            Changes::TooOld { .. } if self.has(Fault::TooOldIsEmpty) => {
                Ok(Changes::Page { changes: vec![], next: *self.head().borrow(), at_head: true })
            }
            Changes::Page { mut changes, next, at_head } => {
                self.fault.changes(&mut changes, limit);
                Ok(Changes::Page { changes, next, at_head })
            }
            too_old => Ok(too_old),
        }
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.good.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        if self.has(Fault::NeverCloses) {
            return Ok(());
        }
        self.good.close().await
    }
}

struct FaultySnapshot {
    good: Box<dyn Snapshot>,
    store: Arc<dyn Backend>,
    fault: Fault,
}

impl FaultySnapshot {
    async fn move_on(&mut self) -> Result<(), StoreError> {
        if self.fault == Fault::SnapshotsMove {
            self.good = self.store.snapshot().await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Snapshot for FaultySnapshot {
    fn position(&self) -> Position {
        self.good.position()
    }

    async fn batch_get(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        self.move_on().await?;
        let keys: Vec<_> = keys.iter().map(|key| self.fault.key(key)).collect();
        self.good.batch_get(&keys).await
    }

    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError> {
        self.move_on().await?;
        let mut rows = self.good.scan(&self.fault.range(range), limit, descending).await?;
        if self.fault == Fault::ScansLoseTheLastRow && rows.len() > 1 {
            rows.pop();
        }
        Ok(rows)
    }
}
