//! `GetDeletion`, and all that is known of a deletion that has committed and is not finished, by the name that it keeps taken.

use std::sync::Arc;

use bowline_base::Status;
use bowline_graph::{Inbound, TargetName, deletion, inbound};
use bowline_store::{Key, Row, RowId, Snapshot, layout};
use bowline_wire::bowline::mixin::v1::{Deletion, GetDeletionRequest};

use super::{damaged, wire};
use crate::engine::{Engine, errors, shape_key_of};
use crate::handler::Context;

/// What the rows of a deletion say.
pub(super) struct Unfinished {
    pub(super) uid: RowId,
    pub(super) deletion: Deletion,
    /// Who may still refer to what was deleted.
    pub(super) inbound: Inbound,
}

impl Engine {
    /// Answers `GetDeletion`. It tells the policy that counts below a policy holder until its deletion is finished, so any
    /// deployment may ask.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` unless a deployment asks; `RESOURCE_NOT_FOUND` if there is no such deletion.
    pub(crate) async fn get_deletion(
        &self,
        request: &GetDeletionRequest,
        context: &Context,
    ) -> Result<Deletion, Status> {
        let (deployment, _) = self.asked(context)?;
        let target = wire::target(request.target.as_ref(), "target")?;
        let shape = self.shapes.get(&shape_key_of(&target.kind, &target.version));
        let shape =
            shape.ok_or_else(|| wire::bad("target", "is of no type that is served here"))?;
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let found = self.unfinished(snapshot.as_mut(), &target).await?;
        let found = found.ok_or_else(|| errors::not_found(&shape.ty, &target.name))?;
        Ok(found.deletion)
    }

    /// The deletion that keeps a name taken, in whatever version it is given.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn unfinished(
        &self,
        snapshot: &mut dyn Snapshot,
        target: &TargetName,
    ) -> Result<Option<Unfinished>, Status> {
        let table = layout::aliases(&target.version, &target.kind);
        let alias = Key { table, name: target.name.clone() };
        let alias = read(snapshot, &[alias]).await?.into_iter().flatten().next();
        let Some(uid) = alias.map(|row| row.id) else { return Ok(None) };
        // The rows are named by the kind that is stored, which may be called otherwise in this version.
        let kinds = self.stored_kinds(&target.kind, &target.version);
        let of = |kind: &Arc<str>| [deletion::key(kind, uid), inbound::key(kind, uid)];
        let keys: Vec<_> = kinds.iter().flat_map(of).collect();
        let mut rows = read(snapshot, &keys).await?.into_iter().flatten();
        let (Some(deletion), Some(inbound)) = (rows.next(), rows.next()) else { return Ok(None) };
        let deletion = deletion::of_row(&deletion).map_err(|error| damaged(&error))?;
        let inbound = Inbound::of_row(&inbound).map_err(|error| damaged(&error))?;
        Ok(Some(Unfinished { uid, deletion, inbound }))
    }
}

async fn read(snapshot: &mut dyn Snapshot, keys: &[Key]) -> Result<Vec<Option<Row>>, Status> {
    snapshot.batch_get(keys).await.map_err(|error| errors::store(&error))
}
