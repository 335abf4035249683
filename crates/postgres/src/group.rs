//! A group of batches, judged one after the other: what each comes to, and what all of them together change. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_store::plan::{Effect, RowEffect, plan};
use bowline_store::{Batch, Change, CommitError, Key, Position, Row};
use bytes::Bytes;

use crate::log::line_bytes;
use crate::needs::{Base, Needs};
use crate::view::{GroupView, Overlay};

pub(crate) type Outcome = Result<Position, CommitError>;

/// A row that the group changes: what was there before the group, and what is there after it.
#[derive(Debug)]
pub(crate) struct Touched {
    pub(crate) before: Option<Row>,
    pub(crate) after: Option<Row>,
    pub(crate) readable: Option<Bytes>,
}

/// What has been judged so far.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) rows: BTreeMap<Key, Touched>,
    pub(crate) changes: Vec<Arc<Change>>,
    pub(crate) log_bytes: u64,
    /// Swaps and drops. A batch that has any is a group of its own.
    pub(crate) moves: Vec<Effect>,
    /// Commits so far.
    commits: u64,
    overlay: Overlay,
}

impl Group {
    /// Where the database is after the group.
    pub(crate) fn end(&self, base: &Base) -> Position {
        let begin = base.state.position;
        Position { sequence: begin.sequence + self.commits, ..begin }
    }

    pub(crate) fn is_without_effect(&self) -> bool {
        self.commits == 0
    }

    /// Judges those of `batches` that are not judged yet; what is missing for the next one, if anything is.
    pub(crate) fn judge(&mut self, batches: &[Batch], base: &Base) -> Result<(), Box<Needs>> {
        while let Some(batch) = batches.get(self.outcomes.len()) {
            let mut view = GroupView::new(base, &self.overlay);
            let planned = plan(batch, &mut view);
            if !view.missing.is_empty() {
                return Err(Box::new(view.missing));
            }
            let outcome = match planned {
                Ok(plan) if plan.effects.is_empty() => Ok(self.end(base)),
                Ok(plan) => Ok(self.add(plan.effects, base)),
                Err(refused) => Err(refused),
            };
            self.outcomes.push(outcome);
        }
        Ok(())
    }

    fn add(&mut self, effects: Vec<Effect>, base: &Base) -> Position {
        self.commits += 1;
        let position = self.end(base);
        for effect in effects {
            match effect {
                Effect::Row(row) => self.add_row(row, position),
                effect => self.moves.push(effect),
            }
        }
        position
    }

    fn add_row(&mut self, effect: RowEffect, position: Position) {
        self.overlay.add(&effect, position);
        if let Some(change) = effect.change(position) {
            self.log_bytes += line_bytes(&change);
            self.changes.push(Arc::new(change));
        }
        let RowEffect { key, before, after, readable, .. } = effect;
        match self.rows.get_mut(&key) {
            Some(touched) => {
                touched.after = after;
                touched.readable = readable;
            }
            None => drop(self.rows.insert(key, Touched { before, after, readable })),
        }
    }
}
