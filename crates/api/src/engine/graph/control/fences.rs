//! Sweeping of fences: one goes when no server process has a save under way that began before it was written.
//!
//! Whoever began later asks the owner later than the question that wrote the fence, and is granted its epoch or a higher
//! one. No clock takes part; nothing depends on when a fence goes.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::Status;
use bowline_control::Listener;
use bowline_control::bell::Heard;
use bowline_graph::fence::{self, Fence};
use bowline_store::incarnation::low_water;
use bowline_store::ring::Shards;
use bowline_store::{Condition, Key, NameRange, NamedRow, Position, Write};
use futures::future::{Either, select};
use tokio::sync::watch;

use super::commit::Piece;
use super::{Here, PAGE};
use crate::engine::{Deployment, Engine, errors};

/// How often it is looked for fences that may go.
const PERIOD: Duration = Duration::from_secs(60);

/// Starts the sweeping; it ends with the engine.
pub(super) fn start(
    engine: &Arc<Engine>,
    deployment: &Arc<Deployment>,
    here: Here,
    shards: watch::Receiver<Shards>,
) {
    let (mut bell, clock) = (deployment.bell(), engine.seams.clock.clone());
    let task = async move {
        loop {
            match select(clock.sleep(PERIOD), Box::pin(closed(&mut bell))).await {
                Either::Left(_) => {}
                Either::Right(_) => return,
            }
            let Ok((engine, deployment)) = here.get() else { return };
            let shards = *shards.borrow();
            if let Err(status) = engine.sweep_fences(&deployment, shards).await {
                tracing::warn!(service = %deployment.service, error = %status, "sweep fences");
            }
        }
    };
    engine.seams.tasks.spawn("fences", Box::pin(task));
}

async fn closed(bell: &mut Listener) {
    while bell.heard().await == Heard::Ring {}
}

impl Engine {
    /// Removes the fences of these shards that no save can run into any more; how many.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn sweep_fences(
        &self,
        deployment: &Deployment,
        shards: Shards,
    ) -> Result<usize, Status> {
        let mut range = NameRange::all(fence::table());
        let mut swept = 0;
        loop {
            let snapshot = deployment.backend.snapshot().await;
            let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
            let mark = low_water(snapshot.as_mut()).await.map_err(|error| errors::store(&error))?;
            let rows = snapshot.scan(&range, PAGE, false).await;
            let rows = rows.map_err(|error| errors::store(&error))?;
            drop(snapshot);
            let ours = rows.iter().filter(|(name, _)| shards.hold(name.as_bytes()));
            let pieces: Vec<_> = ours.filter(|row| may_go(row, mark)).map(removal).collect();
            // One that was raised meanwhile stays.
            let lost = self.commit_pieces(deployment, &pieces).await?.len();
            swept += pieces.len() - lost;
            match rows.last() {
                Some((name, _)) if rows.len() == PAGE => range.from = format!("{name}\0"),
                _ => return Ok(swept),
            }
        }
    }
}

/// A fence that does not decode stays, and is told of by whoever looks at it.
fn may_go((_, row): &&NamedRow, mark: Position) -> bool {
    Fence::of_row(row).is_some_and(|fence| fence.written < mark)
}

fn removal((name, row): &NamedRow) -> Piece {
    let key = Key { table: fence::table(), name: name.clone() };
    let conditions = vec![Condition::RowAt { key: key.clone(), version: row.version }];
    Piece { conditions, writes: vec![Write::Remove { key }], guard: None }
}
