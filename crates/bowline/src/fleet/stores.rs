//! Where a fleet's deployments get their stores from.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::Seams;
use bowline_node::DeploymentId;
use bowline_node::environment::{FilePictureStore, MemoryPictureStore, PictureStore};
use bowline_store::Backend;

use crate::config::Plan;
use crate::storage::{OpenError, Storage};

/// Opens the store of a deployment. The simulator has stores of its own.
#[async_trait]
pub trait Stores: Send + Sync {
    /// # Errors
    /// [`OpenError`]
    async fn open(&self, id: &DeploymentId) -> Result<Arc<dyn Backend>, OpenError>;
}

/// The stores that a plan names.
pub struct PlannedStores<'a> {
    pub plan: &'a Plan,
    pub seams: &'a Seams,
}

#[async_trait]
impl Stores for PlannedStores<'_> {
    async fn open(&self, id: &DeploymentId) -> Result<Arc<dyn Backend>, OpenError> {
        self.plan.deployments[id].storage.open(id, self.seams).await
    }
}

/// Opens the stores of some deployments at the same time, since each waits several times; by service name.
pub(super) async fn open_all(
    stores: &dyn Stores,
    deployments: &[DeploymentId],
) -> Result<HashMap<String, Arc<dyn Backend>>, OpenError> {
    let opening = deployments.iter().map(|id| async move {
        let opened = stores.open(id).await?;
        Ok::<_, OpenError>((id.service.to_string(), opened))
    });
    Ok(futures::future::try_join_all(opening).await?.into_iter().collect())
}

/// Where the deployment keeps what it knows of the others: beside its data if that is in files, else in `folder`.
pub(super) fn pictures(
    storage: &Storage,
    folder: &Path,
    id: &DeploymentId,
    seams: &Seams,
) -> Arc<dyn PictureStore> {
    let folder = match storage {
        Storage::Memory => return Arc::new(MemoryPictureStore::default()),
        Storage::Folder(data) => data,
        Storage::Postgres(_) => folder,
    };
    let path = folder.join(&*id.region).join(format!("{}.picture", id.service));
    Arc::new(FilePictureStore::new(path, seams.clone()))
}
