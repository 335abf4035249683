//! Where the last picture is kept, so that a restart works while the meta service is away. What is kept is the business of `saved`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bowline_base::Seams;

/// Most bytes of a kept picture: some hundred thousand deployments.
pub const PICTURE_BYTES_MAX: u64 = 256 << 20;

/// Keeps one picture.
#[async_trait]
pub trait PictureStore: Send + Sync + 'static {
    /// What was kept last; `None` if nothing was.
    ///
    /// # Errors
    /// If it cannot be read.
    async fn load(&self) -> io::Result<Option<Vec<u8>>>;

    /// Replaces what is kept, all of it or nothing.
    ///
    /// # Errors
    /// If it cannot be written; then what was kept before is still there.
    async fn save(&self, bytes: Vec<u8>) -> io::Result<()>;
}

/// Keeps it in memory: for simulations, and for stores in memory.
#[derive(Debug, Default)]
pub struct MemoryPictureStore {
    bytes: Mutex<Option<Vec<u8>>>,
}

#[async_trait]
impl PictureStore for MemoryPictureStore {
    async fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn save(&self, bytes: Vec<u8>) -> io::Result<()> {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
        Ok(())
    }
}

/// Keeps it in a file, which is replaced by renaming.
#[derive(Debug)]
pub struct FilePictureStore {
    path: PathBuf,
    seams: Seams,
}

impl FilePictureStore {
    /// The folder of `path` is made when something is saved.
    pub fn new(path: impl Into<PathBuf>, seams: Seams) -> Self {
        Self { path: path.into(), seams }
    }
}

#[async_trait]
impl PictureStore for FilePictureStore {
    async fn load(&self) -> io::Result<Option<Vec<u8>>> {
        let path = self.path.clone();
        self.seams.blocking(move || read(&path)).await.unwrap_or_else(|| Err(lost()))
    }

    async fn save(&self, bytes: Vec<u8>) -> io::Result<()> {
        let path = self.path.clone();
        self.seams.blocking(move || write(&path, &bytes)).await.unwrap_or_else(|| Err(lost()))
    }
}

fn lost() -> io::Error {
    io::Error::other("the work on the file was lost")
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(PICTURE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > PICTURE_BYTES_MAX {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(Some(bytes))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The renaming itself has to be on disk too.
    File::open(folder)?.sync_all()
}
