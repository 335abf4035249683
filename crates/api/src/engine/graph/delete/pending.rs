//! Names that are taken because their resource is being deleted: what that waits for.

use std::sync::Arc;

use bowline_base::Status;
use bowline_graph::{Inbound, deletion, inbound};
use bowline_store::{Key, RowId, layout};

use crate::engine::graph::damaged;
use crate::engine::shape::Shape;
use crate::engine::{Deployment, Engine, errors};

impl Engine {
    /// Why the name cannot be used now, although there is no such resource: from the very rows that its deletion waits on.
    ///
    /// For people; what cannot be read is left out.
    pub(crate) async fn deletion_pending(
        &self,
        deployment: &Deployment,
        shape: &Shape,
        name: &str,
    ) -> Status {
        let status = errors::deletion_pending(&shape.ty, name);
        match self.waits_for(deployment, shape, name).await {
            Ok(Some(Waiting { sources, root_cause })) => {
                let me = self.me(&deployment.service).to_string();
                let whom = if sources.is_empty() { me } else { sources.join(", ") };
                let message = format!(
                    "{} \"{name}\" is being deleted; its name is free when {whom} {} no reference any more",
                    shape.ty.singular,
                    if sources.len() > 1 { "hold" } else { "holds" },
                );
                Status { message, ..status }
                    .with_metadata("waits_for", whom)
                    .with_metadata("root_cause", root_cause)
            }
            Ok(None) => status,
            Err(error) => {
                tracing::debug!(%error, name, "what a deletion waits for");
                status
            }
        }
    }

    async fn waits_for(
        &self,
        deployment: &Deployment,
        shape: &Shape,
        name: &str,
    ) -> Result<Option<Waiting>, Status> {
        let table = layout::aliases(&shape.ty.version, &shape.ty.kind);
        let alias = Key { table, name: name.into() };
        let (alias, _) =
            deployment.backend.get(&alias).await.map_err(|error| errors::store(&error))?;
        let Some(RowId(uid)) = alias.map(|row| row.id) else { return Ok(None) };
        // The rows are named by the kind that is stored, which may be called otherwise in this version.
        let kinds = self.stored_kinds(&shape.ty.kind, &shape.ty.version);
        let of =
            |kind: &Arc<str>| [deletion::key(kind, RowId(uid)), inbound::key(kind, RowId(uid))];
        let keys: Vec<_> = kinds.iter().flat_map(of).collect();
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let rows = snapshot.batch_get(&keys).await.map_err(|error| errors::store(&error))?;
        let mut rows = rows.into_iter().flatten();
        let (Some(deletion), Some(inbound)) = (rows.next(), rows.next()) else { return Ok(None) };
        let deletion = deletion::of_row(&deletion).map_err(|error| damaged(&error))?;
        let inbound = Inbound::of_row(&inbound).map_err(|error| damaged(&error))?;
        let sources = inbound.sources.iter().map(|source| source.deployment.to_string()).collect();
        Ok(Some(Waiting { sources, root_cause: deletion.root_cause }))
    }
}

struct Waiting {
    sources: Vec<String>,
    root_cause: String,
}
