//! Resources that are deleted and not gone yet: those of types with asynchronous deletion. Their rows say so, and stay until
//! the purge.

use bowline_base::Status;
use bowline_graph::plan_delete::Mark;
use bowline_store::{Key, Row};
use bytes::Bytes;

use super::{Why, Wish};
use crate::engine::prepared::{Identity, Prepared};
use crate::engine::shape::{Shape, aside_of, document_of};
use crate::engine::{Deployment, Engine, errors};

impl Engine {
    /// How the resource in `row` is kept if its deletion has something to wait for: with its marks, and with all that it
    /// refers to.
    ///
    /// # Errors
    /// If the row does not decode.
    pub(super) fn mark(
        &self,
        deployment: &Deployment,
        shape: &Shape,
        key: &Key,
        row: &Row,
    ) -> Result<Mark, Status> {
        let damaged = |error| errors::damaged(&shape.ty, &key.name, &error);
        let mut document = document_of(&shape.ty, row).map_err(damaged)?;
        let identity = Identity { is_marked: true, ..Identity::after(row) };
        let meta = document.meta().on_deletion(self.seams.clock.now(), identity.version);
        document.set_meta(&meta);
        let references = aside_of(row).references;
        let prepared = Prepared::of(deployment, shape, &document, references, identity);
        Ok(Mark { finalizers: meta.finalizers, write: prepared.put(key.clone()) })
    }

    /// What deleting a resource comes to that is being deleted already: who asks is told that it is so, and nothing happens.
    ///
    /// # Errors
    /// `DELETION_PENDING` for a rule, which is about what waits for the resource to be gone.
    pub(super) async fn marked_already(&self, wish: &Wish<'_>, row: &Row) -> Result<Bytes, Status> {
        match &wish.why {
            Why::Asked(_) => Ok(wish.answer(self, row)),
            Why::Rule(cause) => {
                wish.deployment.waits.wait(cause.target, [row.id]);
                Err(self.deletion_pending(wish.deployment, wish.shape, wish.name).await)
            }
        }
    }
}
