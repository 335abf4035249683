//! Rows of a table in some order, a batch at a time: along names, or along entries of an index.
//!
//! Nothing is judged here but whether a name can be in the scope. Each source says how many rows the store gave it.

mod names;
mod points;
mod ranges;

use bowline_resource::name::{Scope, prefix_end};
use bowline_store::{NamedRow, Snapshot, StoreError, Table};

pub(crate) use names::Names;
pub(crate) use points::Points;
pub(crate) use ranges::Ranges;

/// Most rows that are read at once.
pub(crate) const BATCH_ROWS_MAX: usize = 512;
/// Rows that are read at once where it is likely that most are of no use.
const BATCH_ROWS_MIN: usize = 16;

/// Where to begin, and which way to go.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) table: Table,
    pub(crate) scope: Scope,
    pub(crate) descending: bool,
    /// Only what is beyond this name, for those who go by name.
    pub(crate) after: Option<String>,
    /// Rows that are likely to be wanted.
    pub(crate) n_wanted: usize,
}

/// Rows in some order.
pub(crate) enum Source {
    Names(Names),
    Points(Points),
    Ranges(Ranges),
}

impl Source {
    /// Some of the next rows in scope, perhaps none; `None` at the end.
    pub(crate) async fn next(
        &mut self,
        snapshot: &mut dyn Snapshot,
    ) -> Result<Option<Vec<NamedRow>>, StoreError> {
        match self {
            Self::Names(names) => names.next(snapshot).await,
            Self::Points(points) => points.next(snapshot).await,
            Self::Ranges(ranges) => ranges.next(snapshot).await,
        }
    }

    /// Rows that the store gave so far.
    pub(crate) fn looked_at(&self) -> usize {
        match self {
            Self::Names(names) => names.looked_at,
            Self::Points(points) => points.looked_at,
            Self::Ranges(ranges) => ranges.looked_at,
        }
    }
}

/// How much to read at once: little at first, more as long as it is of use.
#[derive(Clone, Copy, Debug)]
struct BatchSize(usize);

impl BatchSize {
    fn starting_at(rows: usize) -> Self {
        Self(rows.clamp(1, BATCH_ROWS_MAX))
    }

    fn grow(&mut self) {
        self.0 = (self.0 * 2).min(BATCH_ROWS_MAX);
    }

    fn shrink(&mut self) {
        self.0 = self.0.min(BATCH_ROWS_MIN);
    }
}

/// A text just before `text`: names after it are those from `text` on, but for some that nobody uses.
fn just_before(text: &str) -> String {
    let mut before = text.to_owned();
    match before.pop().map(u32::from) {
        None | Some(0) => {}
        Some(last) => {
            let previous = if last == 0xE000 { 0xD7FF } else { last - 1 };
            before.extend(char::from_u32(previous));
            before.push(char::MAX);
        }
    }
    before
}

/// Whether a name is beyond all of the scope, in this direction.
fn is_past(scope: &Scope, name: &str, descending: bool) -> bool {
    match descending {
        true => name < scope.prefix(),
        false => prefix_end(scope.prefix()).is_some_and(|end| *name >= *end),
    }
}

#[cfg(test)]
mod tests;
