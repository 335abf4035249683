//! Saves by rule: what becomes of a resource whose references to a deleted target are unset.
//!
//! No field rule stands in their way, and nobody but the rule has changed anything. Committing is the business of whoever
//! deletes: on the condition that the row is still at the version that was read.

use bowline_base::Status;
use bowline_graph::TargetName;

use crate::engine::prepared::{Identity, Prepared};
use crate::engine::shape::{Shape, aside_of, document_of};
use crate::engine::{Deployment, Engine, errors};

/// A resource without some of its references.
pub(crate) struct Unset {
    /// What is to be written, over the row that was given; what it still refers to is in its row.
    pub(crate) prepared: Prepared,
}

impl Engine {
    /// Takes all references to `targets` that unset out of the resource in `row`; its version is one higher.
    ///
    /// Fields are cleared; items, and entries of maps, are dropped. Other references to the same targets stay, those of
    /// cascades above all: whoever calls has seen that there are none, or deletes the resource.
    ///
    /// # Errors
    /// If the row does not decode.
    pub(crate) fn prepare_unset(
        &self,
        deployment: &Deployment,
        shape: &Shape,
        row: &bowline_store::Row,
        targets: &[TargetName],
    ) -> Result<Unset, Status> {
        let damaged = |error| errors::damaged(&shape.ty, "", &error);
        let before = document_of(&shape.ty, row).map_err(damaged)?;
        let mut after = before.clone();
        let held = aside_of(row).references;
        let references = shape.references.unset(&mut after, &held, targets);
        let identity = Identity::after(row);
        let spec_changed = after.spec_changed(&before);
        let stored = before.meta();
        let now = self.seams.clock.now();
        after.set_meta(&stored.clone().on_update(&stored, now, identity.version, spec_changed));
        let prepared = Prepared::of(deployment, shape, &after, references, identity);
        Ok(Unset { prepared })
    }
}
