//! The suite on our own backends, and on backends with a fault each, where it has to fail.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use super::faults::{Fault, Faulty};
use super::*;
use crate::cache::{CacheOptions, Cached};
use crate::memory::{Memory, MemoryOptions};
use crate::sqlite::{Executor, Sqlite, SqliteOptions};

fn memory(log: LogLength) -> Memory {
    let mut options = MemoryOptions::default();
    if log == LogLength::Short {
        options.log_changes_max = SHORT_LOG_CHANGES_MAX;
    }
    Memory::with_options(options)
}

struct InMemory {
    is_cached: bool,
}

#[async_trait]
impl Factory for InMemory {
    async fn fresh(&self, log: LogLength) -> Arc<dyn Backend> {
        match self.is_cached {
            true => Arc::new(Cached::new(memory(log), CacheOptions::default())),
            false => Arc::new(memory(log)),
        }
    }

    async fn reopen(&self, _store: Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        None
    }

    fn seams(&self) -> Seams {
        Seams::real()
    }
}

struct OnDisk {
    is_cached: bool,
    options: SqliteOptions,
    folder: tempfile::TempDir,
    /// The file of each store, by address.
    files: Mutex<BTreeMap<usize, PathBuf>>,
}

impl OnDisk {
    fn new(options: SqliteOptions) -> Self {
        // The suite is about behaviour, so where there is a disk in memory it need not wait for a real one.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { is_cached: false, options, folder, files: Mutex::default() }
    }

    fn open(&self, path: PathBuf, log: LogLength) -> Arc<dyn Backend> {
        let mut options = self.options.clone();
        if log == LogLength::Short {
            options.log_changes_max = SHORT_LOG_CHANGES_MAX as u64;
        }
        let store = Sqlite::open(&path, options, Seams::real()).unwrap();
        let store: Arc<dyn Backend> = match self.is_cached {
            true => Arc::new(Cached::new(store, CacheOptions::default())),
            false => Arc::new(store),
        };
        self.files.lock().unwrap().insert(address(&store), path);
        store
    }
}

fn address(store: &Arc<dyn Backend>) -> usize {
    Arc::as_ptr(store).cast::<()>() as usize
}

#[async_trait]
impl Factory for OnDisk {
    async fn fresh(&self, log: LogLength) -> Arc<dyn Backend> {
        let uid = self.seams().new_uid();
        self.open(self.folder.path().join(format!("{uid}.db")), log)
    }

    async fn reopen(&self, store: Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        let path = self.files.lock().unwrap().remove(&address(&store)).unwrap();
        drop(store);
        Some(self.open(path, LogLength::Long))
    }

    fn seams(&self) -> Seams {
        Seams::real()
    }
}

async fn check(factory: impl Factory + 'static) {
    let failures = run_all(Arc::new(factory)).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms() {
    check(InMemory { is_cached: false }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cached_memory_conforms() {
    check(InMemory { is_cached: true }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_conforms() {
    check(OnDisk::new(SqliteOptions::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cached_sqlite_conforms() {
    check(OnDisk { is_cached: true, ..OnDisk::new(SqliteOptions::default()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_conforms_when_all_changes_are_read_from_disk() {
    check(OnDisk::new(SqliteOptions { tail_changes_max: 0, ..SqliteOptions::default() })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_conforms_with_a_checkpoint_after_every_group_and_small_groups() {
    let options =
        SqliteOptions { checkpoint_pages: 1, group_batches_max: 2, ..SqliteOptions::default() };
    check(OnDisk::new(options)).await;
}

#[tokio::test]
async fn sqlite_conforms_inline_on_one_thread() {
    let options = SqliteOptions { executor: Executor::Inline, ..SqliteOptions::default() };
    check(OnDisk::new(options)).await;
}

struct WithFault(Fault);

#[async_trait]
impl Factory for WithFault {
    async fn fresh(&self, log: LogLength) -> Arc<dyn Backend> {
        Arc::new(Faulty::new(Arc::new(memory(log)), self.0))
    }

    async fn reopen(&self, store: Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        // A good store of this kind keeps everything; this one forgets, so only `Forgets` may get here.
        drop(store);
        match self.0 {
            Fault::Forgets => Some(Arc::new(memory(LogLength::Long))),
            _ => None,
        }
    }

    fn seams(&self) -> Seams {
        Seams::real()
    }
}

/// Each fault fails the case that is named with it, and each case fails with some fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_planted_fault_is_found_and_every_case_can_fail() {
    let mut unfailed: Vec<_> = CASES.iter().map(|case| case.name).collect();
    for (fault, expected) in Fault::ALL {
        let failures = run_all(Arc::new(WithFault(*fault))).await;
        let names: Vec<_> = failures.iter().map(|(name, _)| *name).collect();
        assert!(names.contains(expected), "{fault:?} should fail {expected}, failed {names:?}");
        unfailed.retain(|name| !names.contains(name));
    }
    assert_eq!(unfailed, Vec::<&str>::new(), "these cases have not been seen to fail");
}
