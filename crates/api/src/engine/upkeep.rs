//! Keeping a deployment in order while it runs: its row among the processes, and what is derived from rows of before.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_base::{Clock, Seams, chain};
use bowline_graph::index;
use bowline_store::incarnation::PERIOD;
use bowline_store::upkeep::{Derive, Derived, Progress, build, registrations};
use bowline_store::{CommitError, Row, StoreError, Table, Version};

use super::deployment::Deployment;
use super::readable;
use super::shape::{aside_of, document_of};

/// Longest pause between two slices; otherwise it is as long as the slice took, so that saves get their half.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Starts the work; it ends with the deployment.
pub(super) fn start(deployment: &Arc<Deployment>, seams: &Seams) {
    let task = run(Arc::downgrade(deployment), seams.clock.clone());
    seams.tasks.spawn("upkeep", Box::pin(task));
}

async fn run(deployment: Weak<Deployment>, clock: Arc<dyn Clock>) {
    let mut complete_since = None;
    loop {
        let Some(deployment) = deployment.upgrade() else { return };
        match round(&deployment, &mut complete_since, &*clock).await {
            Ok(()) => {}
            Err(CommitError::Store(StoreError::Closed)) => return,
            Err(error) => {
                tracing::warn!(service = %deployment.service, error = %chain(&error), "upkeep of the store");
            }
        }
        drop(deployment);
        clock.sleep(PERIOD).await;
    }
}

/// One look at everything. What was complete stays so until another process registers.
async fn round(
    deployment: &Arc<Deployment>,
    complete_since: &mut Option<Version>,
    clock: &dyn Clock,
) -> Result<(), CommitError> {
    deployment.incarnation.tick().await?;
    let registered = registrations(&deployment.backend).await?;
    if *complete_since == Some(registered) {
        return Ok(());
    }
    let mut is_complete = true;
    for table in deployment.incarnation.keeps().tables() {
        is_complete &= build_table(deployment, table, clock).await?;
    }
    *complete_since = is_complete.then_some(registered);
    Ok(())
}

async fn build_table(
    deployment: &Arc<Deployment>,
    table: &Table,
    clock: &dyn Clock,
) -> Result<bool, CommitError> {
    loop {
        let began = clock.monotonic();
        match build(&deployment.incarnation, table, &**deployment).await? {
            Progress::Complete => return Ok(true),
            Progress::Waits => return Ok(false),
            Progress::Slice { rows } => {
                tracing::debug!(kind = %table.kind, rows, "indexed rows of before");
                let took = clock.monotonic().saturating_sub(began);
                clock.sleep(took.min(PAUSE_MAX)).await;
            }
        }
    }
}

impl Derive for Deployment {
    fn derive(&self, table: &Table, name: &str, row: &Row) -> Option<Derived> {
        let shape = self.shapes.get(table)?;
        match document_of(&shape.ty, row) {
            Ok(document) => Some(Derived {
                extract: shape.extract(
                    &document,
                    row.id,
                    &aside_of(row).references,
                    index::is_marked(row),
                ),
                readable: readable::of(self, &document),
            }),
            Err(error) => {
                tracing::error!(kind = %table.kind, name, error = %chain(&error), "stored resource does not decode");
                None
            }
        }
    }
}
