//! Rows along their names. Where ids in the middle of the scope are wildcards, what lies between is skipped.

use bowline_resource::name::{Scope, Seek, prefix_end};
use bowline_store::{NameRange, NamedRow, Snapshot, StoreError};

use super::{BatchSize, Start};

pub(crate) struct Names {
    range: NameRange,
    scope: Scope,
    descending: bool,
    batch: BatchSize,
    is_over: bool,
    pub(super) looked_at: usize,
}

impl Names {
    pub(crate) fn new(start: Start) -> Self {
        let prefix = start.scope.prefix();
        let range =
            NameRange { table: start.table, from: prefix.to_owned(), to: prefix_end(prefix) };
        let mut names = Self {
            range,
            scope: start.scope,
            descending: start.descending,
            batch: BatchSize::starting_at(start.n_wanted),
            is_over: false,
            looked_at: 0,
        };
        if let Some(after) = start.after {
            names.go_beyond(&after);
        }
        names
    }

    pub(super) async fn next(
        &mut self,
        snapshot: &mut dyn Snapshot,
    ) -> Result<Option<Vec<NamedRow>>, StoreError> {
        if self.is_over || self.range.is_void() {
            return Ok(None);
        }
        let mut rows = snapshot.scan(&self.range, self.batch.0, self.descending).await?;
        self.looked_at += rows.len();
        self.is_over = rows.len() < self.batch.0;
        if let Some((last, _)) = rows.last() {
            self.go_beyond(&last.clone());
            self.skip(&last.clone());
        }
        rows.retain(|(name, _)| self.scope.contains(name));
        Ok(Some(rows))
    }

    /// Cuts off everything up to and including `name`, seen in the direction of the scan; never widens.
    fn go_beyond(&mut self, name: &str) {
        if self.descending {
            if self.range.to.as_deref().is_none_or(|to| name < to) {
                self.range.to = Some(name.to_owned());
            }
        } else if *name >= *self.range.from {
            // The smallest name after `x` by bytes is `x` followed by NUL.
            self.range.from = format!("{name}\0");
        }
    }

    /// Goes on where the scope goes on, if `last` is outside of it.
    fn skip(&mut self, last: &str) {
        if self.scope.contains(last) {
            self.batch.grow();
            return;
        }
        match self.scope.seek(last, self.descending) {
            Seek::Near => self.batch.grow(),
            Seek::End => self.is_over = true,
            Seek::To(bound) => {
                self.batch.shrink();
                match self.descending {
                    true => self.range.to = Some(bound),
                    false => self.range.from = self.range.from.clone().max(bound),
                }
            }
        }
    }
}
