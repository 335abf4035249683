//! Where a node keeps its data: the layers of a store, outermost first, and one file per deployment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline_base::Seams;
use bowline_store::Backend;
use bowline_store::cache::{CacheOptions, Cached};
use bowline_store::memory::Memory;
use bowline_store::sqlite::{OpenError, Sqlite, SqliteOptions};

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
                if let Some(folder) = path.parent() {
                    let failed = |source| OpenError::File { path: folder.to_owned(), source };
                    std::fs::create_dir_all(folder).map_err(failed)?;
                }
                let backend = Sqlite::open(&path, SqliteOptions::default(), seams.clone())?;
                // Names are chosen by clients; with a secret seed nobody can choose them to collide.
                let mut seed = [0; 8];
                seams.random.fill(&mut seed);
                let options =
                    CacheOptions { seed: u64::from_ne_bytes(seed), ..CacheOptions::default() };
                Ok(Arc::new(Cached::new(backend, options)))
            }
        }
    }
}

/// `<folder>/<region>/<service>.db`
fn file(folder: &Path, service: &str) -> PathBuf {
    folder.join(REGION).join(format!("{service}.db"))
}
