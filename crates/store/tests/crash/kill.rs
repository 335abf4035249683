//! Kills a process that writes, again and again, at random moments; opens what it left and looks for what it promised.
//!
//! A kill loses nothing that was handed to the operating system; that commits are flushed to the disk as well is a setting,
//! which a test of the backend checks.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bowline_base::Seams;

use crate::Failed;
use crate::found::Found;
use crate::writer::{Acknowledged, WRITERS, write_and_kill};

const ROUNDS: u64 = 25;

/// Checkpoints all the time, so that many kills fall into one.
const PAGES: u32 = 20;

pub(crate) fn acknowledged_commits_survive_sigkill(
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("crash.db");
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        write_and_kill(&path, PAGES, random_millis(), &mut acknowledged)?;
        let found = runtime.block_on(Found::read(&path))?;
        found.check(&acknowledged).map_err(|wrong| format!("round {round}: {wrong}"))?;
    }
    let enough = acknowledged.len() as u64 > ROUNDS * WRITERS;
    assert!(enough, "only {} commits were acknowledged: nothing was tested", acknowledged.len());
    runtime.block_on(a_broken_promise_would_be_noticed(&path, &acknowledged))?;
    println!("killed {ROUNDS} times, {} acknowledged commits kept", acknowledged.len());
    Ok(())
}

/// How long a writer lives: sometimes hardly, so that it dies while it recovers.
fn random_millis() -> Duration {
    let mut random = [0; 1];
    Seams::real().random.fill(&mut random);
    Duration::from_millis(20 + u64::from(random[0]))
}

/// The checks above must be able to fail.
async fn a_broken_promise_would_be_noticed(
    path: &Path,
    acknowledged: &Acknowledged,
) -> Result<(), Failed> {
    let mut found = Found::read(path).await?;
    let never_written = BTreeMap::from([((0, u64::MAX - 1), 1)]);
    assert!(found.check(&never_written).is_err(), "a missing write is not noticed");
    let lost = found.rows[2].pop_first();
    assert!(found.check(acknowledged).is_err(), "half a batch is not noticed");
    found.rows[2].extend(lost);
    found.check(acknowledged)?;
    found.changes.pop();
    assert!(found.check(acknowledged).is_err(), "a torn log is not noticed");
    Ok(())
}
