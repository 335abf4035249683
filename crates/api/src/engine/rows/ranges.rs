//! Rows along ranges of an index, in the order of their values. A row with several entries there comes several times.

use std::collections::VecDeque;
use std::sync::Arc;

use bowline_resource::name::Scope;
use bowline_store::{IndexCursor, IndexRange, NamedRow, Snapshot, StoreError, Value};

use super::{BatchSize, Start};

pub(crate) struct Ranges {
    /// In the direction of reading.
    ranges: VecDeque<IndexRange>,
    after: Option<IndexCursor>,
    kind: Arc<str>,
    scope: Scope,
    descending: bool,
    batch: BatchSize,
    pub(super) looked_at: usize,
}

impl Ranges {
    /// `beyond` is a place in the index, where reading goes on.
    pub(crate) fn new(
        ranges: impl DoubleEndedIterator<Item = IndexRange>,
        beyond: Option<(Value, String)>,
        start: Start,
    ) -> Self {
        let kind = start.table.kind;
        let descending = start.descending;
        let is_ahead = |range: &IndexRange| match &beyond {
            None => true,
            Some((value, _)) if descending => range.from <= *value,
            Some((value, _)) => range.to.as_ref().is_none_or(|to| value < to),
        };
        let ranges = ranges.filter(is_ahead);
        let ranges = if descending { ranges.rev().collect() } else { ranges.collect() };
        let after = beyond.map(|(value, name)| IndexCursor {
            value,
            kind: kind.clone(),
            name: name.into(),
        });
        let batch = BatchSize::starting_at(start.n_wanted);
        Self { ranges, after, kind, scope: start.scope, descending, batch, looked_at: 0 }
    }

    pub(super) async fn next(
        &mut self,
        snapshot: &mut dyn Snapshot,
    ) -> Result<Option<Vec<NamedRow>>, StoreError> {
        let Some(range) = self.ranges.front() else { return Ok(None) };
        let limit = self.batch.0;
        let hits = snapshot.scan_index(range, self.after.as_ref(), limit, self.descending).await?;
        self.looked_at += hits.len();
        self.batch.grow();
        if hits.len() < limit {
            self.ranges.pop_front();
            self.after = None;
        } else if let Some(last) = hits.last() {
            let (kind, name) = (last.key.table.kind.clone(), last.key.name.clone());
            self.after = Some(IndexCursor { value: last.value.clone(), kind, name });
        }
        let in_scope = hits
            .into_iter()
            .filter(|hit| hit.key.table.kind == self.kind && self.scope.contains(&hit.key.name));
        Ok(Some(in_scope.map(|hit| (hit.key.name, hit.row)).collect()))
    }
}
