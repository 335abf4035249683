//! SQLite files that a restore makes: hidden until every one of them is complete, then given their names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline::storage;
use bowline_base::Seams;
use bowline_node::DeploymentId;
use bowline_store::{Backend, Sqlite, SqliteOptions};

use super::error::Error;
use super::part_file::sync_folder_of;

/// The files of one restore. Dropped before [`NewStores::publish`], they are removed.
#[derive(Default)]
pub(crate) struct NewStores {
    /// Only one restore at a time makes files in a folder.
    locks: BTreeMap<PathBuf, File>,
    /// Where each is now, and where it is to be.
    files: Vec<(PathBuf, PathBuf)>,
}

/// What SQLite and we keep beside a file.
const BESIDE: [&str; 3] = ["-wal", "-shm", ".lock"];

impl NewStores {
    /// Makes sure that the deployment has no store below `folder`, and that nobody else makes one there.
    pub(crate) fn reserve(&mut self, folder: &Path, id: &DeploymentId) -> Result<(), Error> {
        let path = storage::file(folder, id);
        let lock_path = path.with_file_name(".restore.lock");
        if let Entry::Vacant(vacant) = self.locks.entry(lock_path) {
            let lock = lock(vacant.key())?;
            vacant.insert(lock);
        }
        check_absent(&path)
    }

    /// Makes a hidden store in a place that was reserved. What a killed restore left there is removed.
    pub(crate) fn create(
        &mut self,
        folder: &Path,
        id: &DeploymentId,
        seams: &Seams,
    ) -> Result<Arc<dyn Backend>, Error> {
        let path = storage::file(folder, id);
        let hidden = storage::restoring_file(folder, id);
        remove(&hidden);
        let opened = Sqlite::open(&hidden, SqliteOptions::default(), seams.clone());
        self.files.push((hidden, path));
        Ok(Arc::new(opened.map_err(storage::OpenError::from)?))
    }

    /// Gives all stores their names. They must have been closed.
    pub(crate) fn publish(mut self) -> Result<(), Error> {
        for (hidden, path) in &self.files {
            publish(hidden, path)?;
        }
        let folders: BTreeMap<_, _> =
            self.files.iter().map(|(_, path)| (path.parent(), path)).collect();
        for path in folders.into_values() {
            sync_folder_of(path).map_err(|source| Error::Write { path: path.clone(), source })?;
        }
        self.files.clear();
        Ok(())
    }
}

impl Drop for NewStores {
    fn drop(&mut self) {
        self.files.iter().for_each(|(hidden, _)| remove(hidden));
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    if let Some(region) = path.parent() {
        std::fs::create_dir_all(region).map_err(failed)?;
    }
    let lock = File::options().create(true).append(true).open(path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Nothing may be there: not a store, and not the log of one, which SQLite would take for that of the new one.
fn check_absent(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let log = beside(path, "-wal");
    match has_bytes(&log) {
        true => Err(Error::Exists { path: log }),
        false => Ok(()),
    }
}

fn has_bytes(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

fn publish(hidden: &Path, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let log = beside(hidden, "-wal");
    if has_bytes(&log) {
        return Err(failed(std::io::Error::other("the write-ahead log was not copied into it")));
    }
    File::open(hidden).and_then(|file| file.sync_all()).map_err(failed)?;
    // Unlike a rename this fails if somebody has made a store there meanwhile.
    std::fs::hard_link(hidden, path).map_err(failed)?;
    remove(hidden);
    Ok(())
}

/// What cannot be removed is found by the next restore, which tells.
fn remove(path: &Path) {
    for suffix in BESIDE {
        let _ = std::fs::remove_file(beside(path, suffix));
    }
    let _ = std::fs::remove_file(path);
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    beside.into()
}
