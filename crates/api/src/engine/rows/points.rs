//! Rows along the entries of some values of an index, merged by name: each row once, in the order of names.

use std::collections::VecDeque;
use std::sync::Arc;

use bowline_resource::name::{Scope, Seek, prefix_end};
use bowline_store::{Hit, Index, IndexCursor, IndexRange, NamedRow, Snapshot, StoreError, Value};

use super::{BATCH_ROWS_MAX, BATCH_ROWS_MIN, BatchSize, Start, is_past, just_before};

pub(crate) struct Points {
    points: Vec<Point>,
    kind: Arc<str>,
    scope: Scope,
    descending: bool,
    pub(super) looked_at: usize,
}

/// The entries of one value.
struct Point {
    range: IndexRange,
    value: Value,
    /// Entries up to this name are done.
    after: Option<String>,
    /// Rows that were read and not given.
    rows: VecDeque<NamedRow>,
    batch: BatchSize,
    is_over: bool,
}

impl Points {
    pub(crate) fn new(index: &Index, values: impl Iterator<Item = Value>, start: Start) -> Self {
        let prefix = start.scope.prefix();
        let outermost = match start.descending {
            true => prefix_end(prefix),
            false => (!prefix.is_empty()).then(|| just_before(prefix)),
        };
        // The page token may be of another scope only if it was made up; the innermost of both is right.
        let after = match (start.after, outermost) {
            (Some(a), Some(b)) => Some(if start.descending { a.min(b) } else { a.max(b) }),
            (a, b) => a.or(b),
        };
        let point = |value: Value| Point {
            range: IndexRange::exactly(index.clone(), value.clone()),
            value,
            after: after.clone(),
            rows: VecDeque::new(),
            batch: BatchSize::starting_at(BATCH_ROWS_MIN.min(start.n_wanted)),
            is_over: false,
        };
        Self {
            points: values.map(point).collect(),
            kind: start.table.kind,
            scope: start.scope,
            descending: start.descending,
            looked_at: 0,
        }
    }

    pub(super) async fn next(
        &mut self,
        snapshot: &mut dyn Snapshot,
    ) -> Result<Option<Vec<NamedRow>>, StoreError> {
        let mut found = Vec::new();
        while found.len() < BATCH_ROWS_MAX {
            if self.points.iter().any(Point::is_unknown) {
                // What is at hand is judged before more is read.
                if !found.is_empty() {
                    break;
                }
                self.read(snapshot).await?;
                if self.points.iter().any(Point::is_unknown) {
                    break;
                }
            }
            match self.pop() {
                Some(row) => found.push(row),
                None => return Ok((!found.is_empty()).then_some(found)),
            }
        }
        Ok(Some(found))
    }

    /// Reads once for every value whose next row is not known.
    async fn read(&mut self, snapshot: &mut dyn Snapshot) -> Result<(), StoreError> {
        for point in self.points.iter_mut().filter(|point| point.is_unknown()) {
            self.looked_at +=
                point.read(&self.kind, &self.scope, self.descending, snapshot).await?;
        }
        Ok(())
    }

    /// The next row by name, taken from all values that have it.
    fn pop(&mut self) -> Option<NamedRow> {
        let fronts = self.points.iter().filter_map(|point| Some(point.rows.front()?.0.clone()));
        let name = if self.descending { fronts.max() } else { fronts.min() }?;
        let mut row = None;
        for point in &mut self.points {
            if point.rows.front().is_some_and(|(front, _)| *front == name) {
                row = point.rows.pop_front();
            }
        }
        row
    }
}

impl Point {
    /// Whether it has to be read to know its next row.
    fn is_unknown(&self) -> bool {
        self.rows.is_empty() && !self.is_over
    }

    async fn read(
        &mut self,
        kind: &Arc<str>,
        scope: &Scope,
        descending: bool,
        snapshot: &mut dyn Snapshot,
    ) -> Result<usize, StoreError> {
        let after = self.after.as_deref().map(|name| IndexCursor {
            value: self.value.clone(),
            kind: kind.clone(),
            name: name.into(),
        });
        let hits =
            snapshot.scan_index(&self.range, after.as_ref(), self.batch.0, descending).await?;
        self.is_over = hits.len() < self.batch.0;
        // From few rows, for parents that have few, to many in not many steps.
        self.batch.grow();
        self.batch.grow();
        if let Some(last) = hits.last() {
            self.go_beyond(&last.key.name, scope, descending);
        }
        let n_hits = hits.len();
        // Tables of other kinds have indexes of other names; this is for what a damaged store may have.
        let rows = hits.into_iter().filter(|hit| hit.key.table.kind == *kind);
        let rows = rows.map(|Hit { key, row, .. }| (key.name, row));
        self.rows.extend(rows.filter(|(name, _)| scope.contains(name)));
        Ok(n_hits)
    }

    fn go_beyond(&mut self, last: &str, scope: &Scope, descending: bool) {
        self.after = Some(last.to_owned());
        if scope.contains(last) {
            return;
        }
        self.is_over |= is_past(scope, last, descending);
        match scope.seek(last, descending) {
            Seek::Near => {}
            Seek::End => self.is_over = true,
            Seek::To(bound) => {
                self.batch.shrink();
                self.after = Some(if descending { bound } else { just_before(&bound) });
            }
        }
    }
}
