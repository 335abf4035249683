//! A directory that belongs to one test: files go in, and it is removed unless the test fails.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory of one test's own. Dropped while the test panics, it stays, and its path is printed.
#[derive(Debug)]
pub struct World {
    dir: Option<TempDir>,
}

impl World {
    /// A new, empty directory whose name starts with `test`.
    ///
    /// # Errors
    /// What the operating system says when it cannot make a directory for temporary files.
    pub fn new(test: &str) -> std::io::Result<Self> {
        let dir = tempfile::Builder::new().prefix(&format!("bowline-{test}-")).tempdir()?;
        Ok(Self { dir: Some(dir) })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.dir.as_ref().expect("the directory is only taken in drop").path()
    }

    /// Writes a file, with the folders that its relative path needs, and gives its full path.
    ///
    /// # Errors
    /// What the operating system says when it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> std::io::Result<PathBuf> {
        let full = self.path().join(path);
        if let Some(folder) = full.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&full, text)?;
        Ok(full)
    }
}

impl Drop for World {
    #[expect(clippy::print_stderr, reason = "the developer needs the path of what is kept")]
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("kept for a look: {}", dir.keep().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_is_gone_when_its_test_passes() {
        let world = World::new("gone").expect("a directory");
        let file = world.write("a/b.txt", "text").expect("a file");
        assert_eq!(std::fs::read_to_string(&file).expect("the file"), "text");
        drop(world);
        assert!(!file.exists());
    }

    #[test]
    fn a_world_is_kept_when_its_test_fails() {
        let world = World::new("kept").expect("a directory");
        let path = world.path().to_owned();
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _world = world;
            std::panic::resume_unwind(Box::new("the test failed"));
        }));
        assert!(failed.is_err());
        assert!(path.exists());
        std::fs::remove_dir_all(path).expect("clean up");
    }
}
