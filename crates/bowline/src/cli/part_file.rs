//! A file that is there wholly or not at all: written beside under another name, flushed, then renamed.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;

/// A file that is being written as `<path>.part`. Dropped before [`PartFile::finish`], it is removed.
pub(crate) struct PartFile {
    /// Keeps a second process from writing the same, by a lock on it.
    file: File,
    part: PathBuf,
    path: PathBuf,
    is_finished: bool,
}

impl PartFile {
    /// Begins `path`, which must not be there unless it may be replaced. What a killed process left beside it is taken over.
    pub(crate) fn create(path: &Path, may_replace: bool) -> Result<Self, Error> {
        if !may_replace && path.exists() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let failed = |source| Error::Write { path: part.clone(), source };
        let file = File::options().create(true).append(true).open(&part).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: part }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        Ok(Self { file, part, path: path.to_owned(), is_finished: false })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable under its name. Answers its size.
    pub(crate) fn finish(mut self) -> Result<u64, Error> {
        let finish = || {
            self.file.sync_all()?;
            std::fs::rename(&self.part, &self.path)?;
            sync_folder_of(&self.path)?;
            Ok(self.file.metadata()?.len())
        };
        let size = finish().map_err(|source| Error::Write { path: self.path.clone(), source })?;
        self.is_finished = true;
        Ok(size)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed is no backup all the same: it has no end.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// Makes names in the folder of `path` durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn there_is_nothing_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let part = PartFile::create(&path, false).unwrap();
        part.file().write_all(b"half").unwrap();
        assert!(!path.exists());
        let second = PartFile::create(&path, false);
        assert!(matches!(second, Err(Error::Busy { .. })));
        drop(part);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_left_is_taken_over_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(folder.path().join("file.part"), "left by a killed process").unwrap();
        let part = PartFile::create(&path, false).unwrap();
        part.file().write_all(b"whole").unwrap();
        assert_eq!(part.finish().unwrap(), 5);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert!(matches!(PartFile::create(&path, false), Err(Error::Exists { .. })));
        drop(PartFile::create(&path, true).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"whole", "replaced at the end only");
    }
}
