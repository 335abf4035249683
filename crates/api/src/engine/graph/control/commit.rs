//! Commits of controllers: pieces that stand for themselves, together in one commit as far as their conditions hold.

use bowline_base::Status;
use bowline_store::incarnation::TurnError;
use bowline_store::{Batch, CommitError, Condition, Write};

use crate::engine::ownership::Guard;
use crate::engine::{Deployment, Engine, errors};

/// Attempts of a commit that is lost as a whole.
const ATTEMPTS_MAX: usize = 8;

/// Something to write, and what it requires.
#[derive(Default)]
pub(super) struct Piece {
    pub(super) conditions: Vec<Condition>,
    pub(super) writes: Vec<Write>,
    /// Of what it writes, if that has a place.
    pub(super) guard: Option<Guard>,
}

impl Engine {
    /// Commits those of `pieces` whose conditions hold, together; which were left out, by their places in `pieces`.
    ///
    /// No two of them write the same key. Cost: one commit, and one more for each piece that is left out.
    ///
    /// # Errors
    /// The store's. Nothing was written then.
    pub(super) async fn commit_pieces(
        &self,
        deployment: &Deployment,
        pieces: &[Piece],
    ) -> Result<Vec<usize>, Status> {
        let (mut left, mut lost): (Vec<usize>, _) = ((0..pieces.len()).collect(), Vec::new());
        let mut attempts = 0;
        while !left.is_empty() {
            let turn = deployment.begin().await?;
            let (batch, owners) = self.batch_of(pieces, &left);
            match turn.commit(batch).await {
                Ok(position) => {
                    deployment.note_commit(position);
                    break;
                }
                Err(TurnError::Commit(CommitError::ConditionFailed { condition }))
                    if condition < owners.len() =>
                {
                    let failed = owners[condition];
                    left.retain(|at| *at != failed);
                    lost.push(failed);
                    self.refresh_of(deployment, pieces[failed].guard.as_ref()).await?;
                }
                Err(TurnError::Lost) if attempts < ATTEMPTS_MAX => attempts += 1,
                Err(TurnError::Lost) => {
                    lost.append(&mut left);
                }
                Err(TurnError::Commit(error)) => return Err(errors::commit(&error)),
            }
        }
        Ok(lost)
    }

    /// The batch of some pieces, and whose each condition is.
    fn batch_of(&self, pieces: &[Piece], places: &[usize]) -> (Batch, Vec<usize>) {
        let (mut batch, mut owners) = (Batch::default(), Vec::new());
        for at in places {
            let piece = &pieces[*at];
            batch.writes.extend(piece.writes.iter().cloned());
            batch.conditions.extend(piece.conditions.iter().cloned());
            batch.conditions.extend(self.ownership_conditions(piece.guard.as_ref()));
            owners.resize(batch.conditions.len(), *at);
        }
        (batch, owners)
    }
}
