//! Names that are taken because their resource is being deleted: what that waits for.

use bowline_base::Status;
use bowline_graph::TargetName;

use crate::engine::graph::kept::{finalizers, is_referred_to, kept_row, row_keys};
use crate::engine::graph::unfinished::Unfinished;
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
        let target = TargetName::new(&*shape.ty.kind, &*shape.ty.version, name);
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let found = self.unfinished(snapshot.as_mut(), &target).await?;
        let Some(Unfinished { uid, deletion, inbound }) = found else { return Ok(None) };
        let names: Vec<TargetName> = deletion.names.iter().map(TargetName::from).collect();
        let keys = row_keys(deployment, &names);
        let rows = snapshot.batch_get(&keys).await.map_err(|error| errors::store(&error))?;
        let finalizers = match kept_row(&keys, rows, uid) {
            Some((key, row)) => finalizers(shape, &key.name, &row)?,
            None => Vec::new(),
        };
        let mut whom: Vec<_> =
            inbound.sources.iter().map(|source| source.deployment.to_string()).collect();
        let is_here = is_referred_to(deployment, &names, uid, snapshot.as_mut()).await;
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
