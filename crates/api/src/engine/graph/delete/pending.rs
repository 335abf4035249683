//! Names that are taken because their resource is being deleted: what that waits for.

use std::sync::Arc;

use bowline_base::Status;
use bowline_graph::{Inbound, TargetName, deletion, inbound};
use bowline_store::{Key, RowId, layout};

use crate::engine::graph::damaged;
use crate::engine::graph::kept::{finalizers, is_referred_to, kept_row, row_keys};
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
            Ok(Some(waiting)) => {
                let (singular, text) = (&shape.ty.singular, waiting.text());
                let message =
                    format!("{singular} \"{name}\" is being deleted; its name is free when {text}");
                let lists = [("waits_for", waiting.whom), ("finalizers", waiting.finalizers)];
                let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
                lists
                    .fold(Status { message, ..status }, |status, (key, list)| {
                        status.with_metadata(key, list.join(", "))
                    })
                    .with_metadata("root_cause", waiting.root_cause)
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
        let names: Vec<TargetName> = deletion.names.iter().map(TargetName::from).collect();
        let keys = row_keys(deployment, &names);
        let rows = snapshot.batch_get(&keys).await.map_err(|error| errors::store(&error))?;
        let finalizers = match kept_row(&keys, rows, RowId(uid)) {
            Some((key, row)) => finalizers(shape, &key.name, &row)?,
            None => Vec::new(),
        };
        let mut whom: Vec<_> =
            inbound.sources.iter().map(|source| source.deployment.to_string()).collect();
        let is_here = is_referred_to(deployment, &names, snapshot.as_mut()).await;
        if is_here.map_err(|error| errors::store(&error))? {
            whom.push(self.me(&deployment.service).to_string());
        }
        Ok(Some(Waiting { whom, finalizers, root_cause: deletion.root_cause }))
    }
}

/// What a deletion waits for.
struct Waiting {
    /// Deployments that hold references.
    whom: Vec<String>,
    /// Those who have to let the resource go.
    finalizers: Vec<String>,
    root_cause: String,
}

impl Waiting {
    /// `its name is free when` this is so.
    fn text(&self) -> String {
        let (whom, finalizers) = (self.whom.join(", "), self.finalizers.join(", "));
        let hold = if self.whom.len() > 1 { "hold" } else { "holds" };
        let are = if self.finalizers.len() > 1 { "s are" } else { " is" };
        let holds = format!("{whom} {hold} no reference any more");
        let held = format!("its finalizer{are} removed: {finalizers}");
        match (whom.is_empty(), finalizers.is_empty()) {
            (false, false) => format!("{holds} and {held}"),
            (false, true) => holds,
            (true, false) => held,
            // Nothing is left; a controller is about to see that.
            (true, true) => "that has finished".to_owned(),
        }
    }
}
