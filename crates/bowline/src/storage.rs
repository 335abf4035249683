//! Where a node keeps its data: the layers of a store, outermost first, and one file per deployment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline_base::Seams;
use bowline_store::cache::{CacheOptions, Cached};
use bowline_store::memory::Memory;
use bowline_store::sqlite::{Sqlite, SqliteOptions};
use bowline_store::{Backend, StoreError};

/// The region of deployments until a node knows several.
const REGION: &str = "local";

/// Where the rows go.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    /// Gone when the process ends.
    Memory,
    /// Files below this folder.
    Folder(PathBuf),
}

impl Storage {
    /// Opens the store of one service: cache, then backend.
    pub(crate) fn open(&self, service: &str, seams: &Seams) -> Result<Arc<dyn Backend>, OpenError> {
        match self {
            Self::Memory => Ok(Arc::new(Memory::new())),
            Self::Folder(folder) => {
                let path = file(folder, service);
                let failed = |source| OpenError { path: path.clone(), source };
                let options = SqliteOptions::default();
                let backend = Sqlite::open(&path, options, seams.clone()).map_err(failed)?;
                Ok(Arc::new(Cached::new(backend, CacheOptions::default())))
            }
        }
    }
}

/// `<folder>/<region>/<service>.db`
fn file(folder: &Path, service: &str) -> PathBuf {
    folder.join(REGION).join(format!("{service}.db"))
}

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("open store {}", path.display())]
pub struct OpenError {
    pub path: PathBuf,
    #[source]
    pub source: StoreError,
}
