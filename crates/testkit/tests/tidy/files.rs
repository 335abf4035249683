//! The files of the repository: what git would commit, read once.

use std::path::{Path, PathBuf};
use std::process::Command;

/// All text files that git tracks or would track, sorted by path.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    pub(crate) files: Vec<File>,
}

pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Tree {
    /// Reads the working tree, so that a finding shows before it is committed.
    pub(crate) fn read() -> Self {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the root");
        let listed = Command::new("git")
            .current_dir(&root)
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .output()
            .expect("git lists files");
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let listed = String::from_utf8(listed.stdout).expect("paths are UTF-8");
        let mut files: Vec<File> = listed
            .split_terminator('\0')
            // A file that was removed but not yet from the index, or that is no text, is none of our business.
            .filter_map(|path| {
                Some(File {
                    text: std::fs::read_to_string(root.join(path)).ok()?,
                    path: path.to_owned(),
                })
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(files.len() > 20, "git lists the repository, not an empty folder");
        Self { root, files }
    }

    pub(crate) fn with_extension<'a>(
        &'a self,
        extension: &'a str,
    ) -> impl Iterator<Item = &'a File> {
        self.files
            .iter()
            .filter(move |f| Path::new(&f.path).extension().is_some_and(|e| e == extension))
    }

    pub(crate) fn find(&self, path: &str) -> Option<&File> {
        self.files.binary_search_by(|f| f.path.as_str().cmp(path)).ok().map(|at| &self.files[at])
    }
}

impl File {
    /// The folder that the file is in; empty for the root.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}
