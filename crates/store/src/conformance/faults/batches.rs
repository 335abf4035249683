//! What faults make of a batch before it gets to the good backend, and how they commit it.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::Seams;
use bytes::Bytes;

use super::{Fault, Faulty};
use crate::contract::{
    Batch, CommitError, Condition, Extract, IndexRange, Key, NameRange, Position, Range, Row,
    RowId, Table, Value, Write,
};

impl Fault {
    pub(super) fn key(self, key: &Key) -> Key {
        let name: Arc<str> = match self {
            Self::CutsNames => key.name.split('\0').next().unwrap_or("").into(),
            Self::CutsLongNames => key.name[..key.name.floor_char_boundary(1000)].into(),
            _ => key.name.clone(),
        };
        Key { table: self.table(&key.table), name }
    }

    pub(super) fn table(self, table: &Table) -> Table {
        let mut table = table.clone();
        match self {
            Self::MixesTables => table.namespace = "v1".into(),
            Self::LogsInternalRows => {
                table.kind = table.kind.trim_start_matches('~').into();
                table.namespace = table.namespace.trim_start_matches('~').into();
            }
            _ => {}
        }
        table
    }

    pub(super) fn name_range(self, range: &NameRange) -> NameRange {
        let mut range = range.clone();
        range.table = self.table(&range.table);
        if self == Self::IncludesRangeEnds
            && let Some(to) = &mut range.to
        {
            to.push('\0');
        }
        range
    }

    pub(super) fn index_range(self, range: &IndexRange) -> IndexRange {
        let mut range = range.clone();
        if self == Self::MixesTables {
            range.index.namespace = "v1".into();
        }
        if self == Self::IncludesRangeEnds {
            range.to = range.to.map(|to| to.successor());
        }
        range
    }

    fn condition(self, condition: &Condition) -> Condition {
        match condition.clone() {
            Condition::RowAt { key, version } => Condition::RowAt { key: self.key(&key), version },
            Condition::RowAbsent { key } => Condition::RowAbsent { key: self.key(&key) },
            Condition::FieldIs { key, field, value } => {
                Condition::FieldIs { key: self.key(&key), field, value }
            }
            Condition::FieldAtMost { key, field, value } => {
                let value = match (self, value.as_number()) {
                    (Self::BoundsAreStrict, Some(number)) => Value::number(number.max(1) - 1),
                    _ => value,
                };
                Condition::FieldAtMost { key: self.key(&key), field, value }
            }
            Condition::NotRemovedSince { key, since } => {
                Condition::NotRemovedSince { key: self.key(&key), since }
            }
            Condition::NoRowInRange { range: Range::Names(range) } => {
                Condition::NoRowInRange { range: Range::Names(self.name_range(&range)) }
            }
            Condition::NoRowInRange { range: Range::Index(range) } => {
                Condition::NoRowInRange { range: Range::Index(self.index_range(&range)) }
            }
        }
    }

    fn drops(self, condition: &Condition) -> bool {
        match condition {
            Condition::FieldIs { .. } if self == Self::DropsFieldIs => true,
            Condition::FieldAtMost { .. } if self == Self::DropsFieldAtMost => true,
            Condition::NotRemovedSince { .. } if self == Self::ForgetsRemovals => true,
            Condition::NoRowInRange { range: Range::Names(_) } => self == Self::DropsNameRanges,
            Condition::NoRowInRange { range: Range::Index(_) } => self == Self::DropsIndexRanges,
            Condition::RowAt { key, .. }
            | Condition::RowAbsent { key }
            | Condition::FieldIs { key, .. }
            | Condition::FieldAtMost { key, .. }
            | Condition::NotRemovedSince { key, .. } => {
                self == Self::IgnoresInternalConditions && key.table.is_internal()
            }
        }
    }

    fn write(self, write: &Write) -> Write {
        let mut write = write.clone();
        match &mut write {
            Write::Put { key, row, readable } => {
                *key = self.key(key);
                self.spoil(row, readable.as_ref());
            }
            Write::Remove { key } | Write::Reindex { key, .. } => *key = self.key(key),
            Write::Swap { .. } | Write::Drop { .. } => {}
        }
        write
    }

    fn spoil(self, row: &mut Row, readable: Option<&Bytes>) {
        match self {
            Self::LosesAsides => row.aside.clear(),
            Self::LosesExtracts => row.extract = Extract::default(),
            Self::CutsBodies => row.body.truncate(64 * 1024),
            Self::CutsValues => row.extract = cut(&row.extract),
            Self::KeepsReadableForms => row.body = readable.unwrap_or(&row.body).clone(),
            _ => {}
        }
    }

    pub(super) fn batch(self, batch: &Batch) -> Batch {
        let kept = batch.conditions.iter().filter(|condition| !self.drops(condition));
        let mut conditions: Vec<_> = kept.map(|condition| self.condition(condition)).collect();
        let mut writes: Vec<_> = batch.writes.iter().map(|write| self.write(write)).collect();
        match self {
            Self::DropsFirstCondition if !conditions.is_empty() => drop(conditions.remove(0)),
            Self::DropsLastCondition => drop(conditions.pop()),
            Self::CommitsHalfBatches if writes.len() > 1 => drop(writes.pop()),
            Self::LosesLateWrites => writes.truncate(1000),
            Self::DropLeavesRows => writes.retain(|write| !matches!(write, Write::Drop { .. })),
            Self::TakesPositionsForNothing => {
                let table = Table { namespace: "".into(), kind: "~noise".into() };
                writes.push(Write::put(Key { table, name: "".into() }, Row::default()));
            }
            _ => {}
        }
        Batch { conditions, writes }
    }
}

/// The extract as one has it that takes values for C strings.
fn cut(extract: &Extract) -> Extract {
    let cut = |value: Value| -> Value {
        let bytes = value.as_bytes().split(|byte| *byte == 0).next();
        bytes.unwrap_or_default().to_vec().into()
    };
    let fields = extract
        .fields()
        .fold(Extract::builder(), |builder, (name, value)| builder.field(name, cut(value)));
    extract
        .entries()
        .fold(fields, |builder, entry| builder.entry(entry.index, cut(entry.value)))
        .build()
}

/// Gives others the time to get in between.
async fn linger() {
    Seams::real().clock.sleep(Duration::from_micros(500)).await;
}

fn is_range(condition: &Condition) -> bool {
    matches!(condition, Condition::NoRowInRange { .. })
}

impl Faulty {
    /// What faults do to a batch that have to look at the rows that are there.
    pub(super) async fn prepare(&self, mut batch: Batch) -> Result<Batch, CommitError> {
        for write in &mut batch.writes {
            match (self.fault, &mut *write) {
                (Fault::LosesIdsOnUpdate, Write::Put { key, row, .. }) => {
                    let is_update = self.good.get(key).await?.0.is_some();
                    row.id = if is_update { RowId::NONE } else { row.id };
                }
                (Fault::ReindexesAnyVersion, Write::Reindex { key, version, .. }) => {
                    let (row, _) = self.good.get(key).await?;
                    *version = row.map_or(*version, |row| row.version);
                }
                (Fault::ReindexingIsAPut, Write::Reindex { key, extract, .. }) => {
                    if let Some(row) = self.good.get(key).await?.0 {
                        let row = Row { extract: extract.clone(), ..row };
                        *write = Write::put(key.clone(), row);
                    }
                }
                _ => {}
            }
        }
        if self.has(Fault::SharedConditionsTakeTheRow) {
            self.take_rows(&mut batch).await?;
        }
        Ok(batch)
    }

    /// Locks the rows of conditions on fields by writing them, as one does who knows no better.
    async fn take_rows(&self, batch: &mut Batch) -> Result<(), CommitError> {
        for condition in batch.conditions.clone() {
            let Condition::FieldIs { key, .. } = condition else { continue };
            if let Some(row) = self.good.get(&key).await?.0 {
                let version = row.version;
                linger().await;
                batch.conditions.push(Condition::RowAt { key: key.clone(), version });
                batch.writes.push(Write::put(key, Row { version: version + 1, ..row }));
            }
        }
        Ok(())
    }

    pub(super) async fn commit_prepared(&self, batch: &Batch) -> Result<Position, CommitError> {
        match self.fault {
            Fault::JudgesBeforeCommit => self.commit_after(batch, |_| true).await,
            Fault::JudgesRangesBefore => self.commit_after(batch, is_range).await,
            Fault::CommitsInSteps => self.commit_in_steps(batch).await,
            Fault::MovesWithoutConditions => {
                let is_move = |write: &Write| crate::batch::key_of(write).is_none();
                let writes = batch.writes.iter().filter(|write| is_move(write)).cloned().collect();
                self.good.commit(Batch { conditions: vec![], writes }).await?;
                let mut batch = batch.clone();
                batch.writes.retain(|write| !is_move(write));
                self.good.commit(batch).await
            }
            Fault::DirtyReads => self.commit_visibly(batch).await,
            Fault::IdsAreNotUnique => self.commit_without_ids(batch.clone()).await,
            Fault::IdsAreGlobal => {
                self.check_ids(batch)?;
                self.good.commit(batch.clone()).await
            }
            _ => self.good.commit(batch.clone()).await,
        }
    }

    /// Judges some conditions first, and commits without them a moment later.
    async fn commit_after(
        &self,
        batch: &Batch,
        is_first: impl Fn(&Condition) -> bool,
    ) -> Result<Position, CommitError> {
        let (conditions, rest) = batch.conditions.iter().cloned().partition(is_first);
        self.good.commit(Batch { conditions, writes: vec![] }).await?;
        linger().await;
        self.good.commit(Batch { conditions: rest, writes: batch.writes.clone() }).await
    }

    /// Each write on its own, a swap in three steps.
    async fn commit_in_steps(&self, batch: &Batch) -> Result<Position, CommitError> {
        let conditions = batch.conditions.clone();
        let mut position = self.good.commit(Batch { conditions, writes: vec![] }).await?;
        for (n, write) in batch.writes.iter().enumerate() {
            let steps = match write {
                Write::Swap { a, b } => {
                    let (a, b, aside): (_, _, Arc<str>) = (a.clone(), b.clone(), "~aside".into());
                    let swap =
                        |a: &Arc<str>, b: &Arc<str>| Write::Swap { a: a.clone(), b: b.clone() };
                    vec![swap(&a, &aside), swap(&a, &b), swap(&b, &aside)]
                }
                other => vec![other.clone()],
            };
            for write in steps {
                position =
                    self.good.commit(Batch { conditions: vec![], writes: vec![write] }).await?;
                if n == 0 {
                    linger().await;
                }
            }
        }
        Ok(position)
    }

    /// Shows what is being written while it is being judged.
    async fn commit_visibly(&self, batch: &Batch) -> Result<Position, CommitError> {
        for write in &batch.writes {
            if let Write::Put { key, row, .. } = write {
                self.notes().pending.insert(key.clone(), row.clone());
            }
        }
        linger().await;
        let outcome = self.good.commit(batch.clone()).await;
        let written = batch.writes.iter().filter_map(crate::batch::key_of);
        written.for_each(|key| drop(self.notes().pending.remove(key)));
        outcome
    }

    async fn commit_without_ids(&self, mut batch: Batch) -> Result<Position, CommitError> {
        loop {
            let write = match self.good.commit(batch.clone()).await {
                Err(CommitError::IdTaken { write }) => write,
                outcome => return outcome,
            };
            if let Write::Put { row, .. } = &mut batch.writes[write] {
                row.id = RowId::NONE;
            }
        }
    }

    fn check_ids(&self, batch: &Batch) -> Result<(), CommitError> {
        let notes = self.notes();
        let is_taken = |write: &Write| match write {
            Write::Put { key, row, .. } if !row.id.is_none() => {
                notes.ids.get(&row.id).is_some_and(|table| *table != key.table)
            }
            _ => false,
        };
        match batch.writes.iter().position(is_taken) {
            Some(write) => Err(CommitError::IdTaken { write }),
            None => Ok(()),
        }
    }
}
