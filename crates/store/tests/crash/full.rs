//! A disk that is full: a small file system of its own, where mounting one is permitted.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bowline_base::Seams;
use bowline_store::{Backend, CommitError, Sqlite, StoreError};

use crate::Failed;
use crate::found::Found;
use crate::writer::{Acknowledged, batch, options};

/// Keeps a file system mounted until it is dropped.
struct Mounted<'p>(&'p Path);

impl<'p> Mounted<'p> {
    fn new(path: &'p Path, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path);
        is_done(&mut mount).then_some(Self(path))
    }

    fn resize(&self, size: &str) -> bool {
        let size = format!("remount,size={size}");
        is_done(Command::new("mount").args(["-o", &size]).arg(self.0))
    }
}

fn is_done(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if !is_done(Command::new("umount").arg(self.0)) {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}

pub(crate) fn a_full_disk_refuses_commits_and_loses_none(
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let Some(mounted) = Mounted::new(folder.path(), "3m") else {
        eprintln!("NOT TESTED: a full disk, since this user may not mount a file system");
        return Ok(());
    };
    let path = folder.path().join("full.db");
    let mut acknowledged = BTreeMap::new();
    runtime.block_on(fill(&path, &mounted, &mut acknowledged))?;
    let found = runtime.block_on(Found::read(&path))?;
    found.check(&acknowledged)?;
    println!("a full disk: {} acknowledged commits kept", acknowledged.len());
    Ok(())
}

/// Writes until the disk is full, more than once, and then with room again.
async fn fill(
    path: &Path,
    mounted: &Mounted<'_>,
    acknowledged: &mut Acknowledged,
) -> Result<(), Failed> {
    let store = Sqlite::open(path, options(50), Seams::real())?;
    let full = write_until_full(&store, 0, 100_000, acknowledged).await?;
    assert!(full > 20 && full < 100_000, "{full} commits until the disk was full");
    let head = *store.head().borrow();
    // It stays full, and readable.
    let again = write_until_full(&store, 1, 100, acknowledged).await?;
    assert!(again < 100, "a full disk took {again} more commits");
    assert!(store.snapshot().await?.position() >= head);
    assert!(mounted.resize("64m"), "the file system does not grow");
    let more = write_until_full(&store, 2, 100, acknowledged).await?;
    assert_eq!(more, 100, "with room again, commits are taken again");
    Ok(store.close().await?)
}

/// How many batches of `writer` went in, at most `max`.
async fn write_until_full(
    store: &Sqlite,
    writer: u64,
    max: u64,
    acknowledged: &mut Acknowledged,
) -> Result<u64, Failed> {
    for n in 0..max {
        match store.commit(batch(writer, n)).await {
            Ok(position) => drop(acknowledged.insert((writer, n), position.sequence)),
            Err(CommitError::Store(StoreError::Full)) => return Ok(n),
            Err(error) => return Err(bowline_base::chain(&error).to_string().into()),
        }
    }
    Ok(max)
}
