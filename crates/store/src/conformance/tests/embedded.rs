//! The suite on the embedded store and on what lies over it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::cache::{CacheOptions, Cached};
use crate::sqlite::{Executor, Sqlite, SqliteOptions};

struct CachedMemory;

#[async_trait]
impl Factory for CachedMemory {
    async fn fresh(&self, log: LogLength) -> Arc<dyn Backend> {
        Arc::new(Cached::new(memory(log), CacheOptions::default()))
    }

    async fn reopen(&self, _store: Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        None
    }

    async fn slow(&self) -> Arc<dyn Backend> {
        Arc::new(slowed(Cached::new(memory(LogLength::Long), CacheOptions::default())))
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

    fn file(&self) -> PathBuf {
        self.folder.path().join(format!("{}.db", self.seams().new_uid()))
    }

    fn open(&self, path: PathBuf, log: LogLength, is_slow: bool) -> Arc<dyn Backend> {
        let mut options = self.options.clone();
        if log == LogLength::Short {
            options.log_changes_max = SHORT_LOG_CHANGES_MAX as u64;
        }
        let mut store = Sqlite::open(&path, options, Seams::real()).unwrap();
        if is_slow {
            store = slowed(store);
        }
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
        self.open(self.file(), log, false)
    }

    async fn reopen(&self, store: Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        let path = self.files.lock().unwrap().remove(&address(&store)).unwrap();
        drop(store);
        Some(self.open(path, LogLength::Long, false))
    }

    async fn slow(&self) -> Arc<dyn Backend> {
        self.open(self.file(), LogLength::Long, true)
    }

    fn seams(&self) -> Seams {
        Seams::real()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cached_memory_conforms() {
    check(CachedMemory).await;
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
