//! Sweeping: answers to request ids are removed some time after their lifetime is over.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_store::incarnation::{Incarnation, TurnError};
use bowline_store::{Batch, CommitError, Condition, Key, NameRange, StoreError, Write};

use super::{Engine, idempotency};

/// How often old answers are looked for.
const PERIOD: Duration = Duration::from_secs(600);
/// Rows looked at, and at most removed, in one commit.
const ROWS: usize = 256;

/// Starts the sweeper; it ends with the engine.
pub(super) fn start(engine: &Arc<Engine>) {
    let task = run(Arc::downgrade(engine), engine.seams.clock.clone());
    engine.seams.tasks.spawn("sweep", Box::pin(task));
}

async fn run(engine: Weak<Engine>, clock: Arc<dyn bowline_base::Clock>) {
    loop {
        clock.sleep(PERIOD).await;
        let Some(engine) = engine.upgrade() else { return };
        let lifetime =
            i64::try_from(engine.limits.request_id_lifetime.as_secs()).unwrap_or(i64::MAX);
        let oldest = clock.now().as_second().saturating_sub(lifetime);
        for deployment in &engine.deployments {
            match sweep(&deployment.incarnation, oldest).await {
                Ok(()) | Err(CommitError::Store(StoreError::Closed)) => {}
                Err(error) => {
                    tracing::warn!(error = %bowline_base::chain(&error), "sweep answers to request ids");
                }
            }
        }
    }
}

/// Removes answers that were written before `oldest` (seconds since 1970).
async fn sweep(incarnation: &Arc<Incarnation>, oldest: i64) -> Result<(), CommitError> {
    let table = idempotency::table();
    let mut range = NameRange { table: table.clone(), from: String::new(), to: None };
    loop {
        let turn = incarnation.begin().await?;
        let rows = incarnation.backend().snapshot().await?.scan(&range, ROWS, false).await?;
        let old = rows.iter().filter(|(_, row)| {
            idempotency::written_at(&row.aside).is_none_or(|written| written < oldest)
        });
        let mut batch = Batch::default();
        for (name, row) in old {
            let key = Key { table: table.clone(), name: name.clone() };
            batch.conditions.push(Condition::RowAt { key: key.clone(), version: row.version });
            batch.writes.push(Write::Remove { key });
        }
        if !batch.writes.is_empty() {
            // Nobody else removes answers, and they are never changed: a lost race only delays the sweep.
            if let Err(TurnError::Commit(CommitError::Store(error))) = turn.commit(batch).await {
                return Err(error.into());
            }
        }
        match rows.last() {
            Some((name, _)) if rows.len() == ROWS => range.from = format!("{name}\0"),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bowline_store::{Backend, Row};
    use bytes::{BufMut, BytesMut};

    use super::*;

    #[tokio::test]
    async fn only_answers_past_their_lifetime_are_removed() {
        let backend: Arc<dyn Backend> = Arc::new(bowline_store::memory::Memory::new());
        let table = idempotency::table();
        let mut batch = Batch::default();
        for written in 0..600i64 {
            let mut aside = BytesMut::new();
            aside.put_u64(1);
            aside.put_i64(written);
            let key = Key { table: table.clone(), name: format!("{written:04}").into() };
            let row = Row { aside: aside.freeze(), ..Row::new(1, "x") };
            batch.writes.push(Write::put(key, row));
        }
        backend.commit(batch).await.unwrap();
        let seams = bowline_base::Seams::real();
        let process = Incarnation::new(backend.clone(), seams, Default::default());
        sweep(&process, 590).await.unwrap();
        let range = NameRange { table, from: String::new(), to: None };
        let left = backend.snapshot().await.unwrap().scan(&range, 1000, false).await.unwrap();
        assert_eq!(left.iter().map(|(name, _)| &**name).next(), Some("0590"));
        assert_eq!(left.len(), 10);
    }
}
