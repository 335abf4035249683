//! Files of a killed store that were cut or changed afterwards.
//!
//! Only the part of the write-ahead log that is not in the file yet is damaged here. What SQLite does not notice: damage in
//! a part that was copied before; then the end is cut off as well, and pages of the file are newer than the log says. A
//! crash cannot bring that about, since the log is flushed before it is copied; a failing disk can.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bowline_base::Seams;
use bowline_store::{Backend, OpenError, Sqlite, StoreError};

use crate::Failed;
use crate::found::Found;
use crate::writer::{Acknowledged, batch, options, write_and_kill};

const ROUNDS: u64 = 40;

/// So many that all stays in the log.
const NO_CHECKPOINTS: u32 = 1_000_000;

const WAL_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: usize = FRAME_HEADER + 4096;

/// Numbers that differ from run to run; a failure tells what was done.
struct Dice(Seams);

impl Dice {
    fn below(&self, end: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.random.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % end.max(1) as u64) as usize
    }

    fn within(&self, range: Range<usize>) -> usize {
        range.start + self.below(range.len())
    }
}

/// Where frames end that end a commit, in bytes of the log: those that SQLite goes back to.
fn commit_ends(wal: &[u8]) -> Vec<usize> {
    let salt = &wal[16..24];
    let frames = wal[WAL_HEADER..].chunks_exact(FRAME).enumerate();
    let valid = frames.take_while(|(_, frame)| &frame[8..16] == salt);
    // The size of the database, which only the last frame of a commit tells.
    let last = valid.filter(|(_, frame)| frame[4..8] != [0; 4]);
    last.map(|(n, _)| WAL_HEADER + (n + 1) * FRAME).collect()
}

/// Changes one byte to any other.
fn flip(bytes: &mut [u8], at: usize, dice: &Dice) {
    bytes[at] ^= 1 + dice.below(255) as u8;
}

fn wal_of(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

/// A copy of the two files, the log with other bytes.
fn copy(from: &Path, to: &Path, wal: &[u8]) -> Result<(), Failed> {
    std::fs::copy(from, to)?;
    std::fs::write(wal_of(to), wal)?;
    // It is made anew from the log.
    let _ = std::fs::remove_file(to.with_extension("db-shm"));
    Ok(())
}

pub(crate) fn a_torn_log_ends_at_a_whole_commit(
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("killed.db");
    let (mut acknowledged, dice) = (BTreeMap::new(), Dice(Seams::real()));
    write_and_kill(&path, NO_CHECKPOINTS, Duration::from_millis(400), &mut acknowledged)?;
    assert!(acknowledged.len() > 20, "only {} commits: nothing was tested", acknowledged.len());
    let wal = std::fs::read(wal_of(&path))?;
    let ends = commit_ends(&wal);
    let (mut lost_some, torn) = (0, folder.path().join("torn.db"));
    for round in 0..ROUNDS {
        // The first commits make the tables.
        let at = dice.within(ends[ends.len() / 4]..wal.len());
        let mut bytes = wal.clone();
        let what = if round % 2 == 0 { "cut" } else { "changed" };
        match what {
            "cut" => bytes.truncate(at),
            _ => flip(&mut bytes, at, &dice),
        }
        copy(&path, &torn, &bytes)?;
        let found = runtime.block_on(Found::read(&torn))?;
        // The same with a log that ends there as if nothing had come after it.
        let whole = ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
        copy(&path, &torn, &wal[..whole])?;
        let expected = runtime.block_on(Found::read(&torn))?;
        let wrong = |wrong: String| format!("{what} at {at} of {}: {wrong}", wal.len());
        let kept: Acknowledged = (acknowledged.iter())
            .filter(|(_, sequence)| **sequence <= expected.head.sequence)
            .map(|(batch, sequence)| (*batch, *sequence))
            .collect();
        lost_some += usize::from(kept.len() < acknowledged.len());
        found.check(&kept).map_err(wrong)?;
        if found.head != expected.head {
            return Err(wrong(format!("ends at {:?}, not {:?}", found.head, expected.head)).into());
        }
    }
    assert!(lost_some > 0, "no round reached a commit that was acknowledged: nothing was tested");
    println!(
        "torn: {ROUNDS} logs, {lost_some} of them without some of {} commits",
        acknowledged.len()
    );
    Ok(())
}

pub(crate) fn a_damaged_page_is_told_or_does_no_harm(
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Failed> {
    const COMMITS: u64 = 300;
    const DAMAGES: u64 = 300;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("whole.db");
    runtime.block_on(write(&path, COMMITS))?;
    let bytes = std::fs::read(&path)?;
    let whole = runtime.block_on(Found::read(&path))?;
    let dice = Dice(Seams::real());
    let (mut told, mut harmless, mut found_by_checking) = (0, 0, 0);
    for round in 0..DAMAGES {
        // A path of its own, since a store that fails may take a moment to be closed.
        let damaged = folder.path().join(format!("damaged-{round}.db"));
        let (at, mut bytes) = (dice.below(bytes.len()), bytes.clone());
        flip(&mut bytes, at, &dice);
        std::fs::write(&damaged, &bytes)?;
        match runtime.block_on(Found::read(&damaged)) {
            Ok(found) if found == whole => harmless += 1,
            // A key that leads elsewhere: reading finds less, and only a look at the whole file tells.
            Ok(_) if runtime.block_on(is_found_by_checking(&damaged))? => found_by_checking += 1,
            Ok(_) => return Err(format!("a changed byte at {at} gives other data").into()),
            Err(error) if is_told(&*error) => told += 1,
            Err(error) => return Err(format!("a changed byte at {at}: {error:?}").into()),
        }
        std::fs::remove_file(&damaged)?;
    }
    println!(
        "{DAMAGES} damaged files: {told} told by reading, {found_by_checking} by a check, {harmless} harmless"
    );
    assert!(found_by_checking < DAMAGES / 10, "reading misses {found_by_checking}");
    assert!(told > DAMAGES / 4, "hardly anything is noticed: {told} of {DAMAGES}");
    Ok(())
}

async fn write(path: &Path, commits: u64) -> Result<(), Failed> {
    let store = Sqlite::open(path, options(50), Seams::real())?;
    for n in 0..commits {
        store.commit(batch(n % 7, n / 7)).await?;
    }
    Ok(store.close().await?)
}

async fn is_found_by_checking(path: &Path) -> Result<bool, Failed> {
    let store = Sqlite::open(path, options(50), Seams::real())?;
    let wrong = store.check().await?;
    store.close().await?;
    Ok(!wrong.is_empty())
}

/// Whether it says that the file is damaged, or no store, or one of another program.
fn is_told(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let corrupt = |error: &StoreError| matches!(error, StoreError::Corrupt(_));
    match error.downcast_ref::<OpenError>() {
        Some(OpenError::Store { source, .. }) => corrupt(source),
        Some(
            OpenError::NotAStore { .. }
            | OpenError::NewerFormat { .. }
            | OpenError::OlderFormat { .. },
        ) => true,
        Some(_) => false,
        None => error.downcast_ref::<StoreError>().is_some_and(corrupt),
    }
}
