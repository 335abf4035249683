//! Keys in files of one folder: `<service>@<region>.key.pem`, readable by its owner only, and `<service>@<region>.pub.pem`.
//!
//! In production, a deployment has its own private file and the public files of all; in development mode the files are
//! made when they are missing, also when many processes start in the same folder at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::Seams;
use tokio::sync::Mutex;

use super::key::{KeyError, KeyPair, PublicKey};
use super::source::KeySource;
use crate::id::DeploymentId;

/// The folder is read at most this often, whatever callers send.
const REFRESH_PERIOD: Duration = Duration::from_millis(200);
/// Largest file that is looked at, in bytes.
const FILE_BYTES_MAX: u64 = 4_096;
/// Most public files that are read.
const FILES_MAX: usize = 10_000;

const PRIVATE_SUFFIX: &str = ".key.pem";
const PUBLIC_SUFFIX: &str = ".pub.pem";

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("read the key {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("write the key {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the key {} is none", path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
    #[error("no key file can have the name of {id}")]
    Name { id: DeploymentId },
}

/// A folder of keys. Cheap to clone; clones know the same keys.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    seams: Seams,
    known: RwLock<BTreeMap<DeploymentId, PublicKey>>,
    last: Mutex<Readings>,
}

/// When public keys were read, in monotonic time.
#[derive(Debug, Default)]
struct Readings {
    /// When the last reading began.
    began: Option<Duration>,
    /// When the last one began that came to its end.
    done: Option<Duration>,
}

impl KeyFolder {
    /// Reads nothing yet.
    pub fn new(path: impl Into<PathBuf>, seams: Seams) -> Self {
        let (known, last) = (RwLock::default(), Mutex::default());
        Self { shared: Arc::new(Shared { path: path.into(), seams, known, last }) }
    }

    /// Development mode: the key pair of `id`, made now if there is none yet. Blocks on the disk.
    ///
    /// # Errors
    /// The folder cannot be read or written, or what lies there is no key.
    pub fn make(&self, id: &DeploymentId) -> Result<KeyPair, FolderError> {
        let path = self.path_of(id, PRIVATE_SUFFIX)?;
        fs::create_dir_all(&self.shared.path)
            .map_err(|source| FolderError::Write { path: self.shared.path.clone(), source })?;
        if !path.exists() {
            let (_, text) = KeyPair::generate(&self.shared.seams);
            // Another process may have been faster; its key is the one that counts.
            self.place(&path, &text, Place::IfMissing)?;
        }
        let pair = read_private_key(&path)?;
        let public = self.path_of(id, PUBLIC_SUFFIX)?;
        let text = pair.public().to_pem();
        if read(&public).ok().as_deref() != Some(&text) {
            self.place(&public, &text, Place::Replace)?;
        }
        Ok(pair)
    }

    /// The key pair of `id`, which is there already. Blocks on the disk.
    ///
    /// # Errors
    /// It is not there, or is no key.
    pub fn private(&self, id: &DeploymentId) -> Result<KeyPair, FolderError> {
        read_private_key(&self.path_of(id, PRIVATE_SUFFIX)?)
    }

    fn path_of(&self, id: &DeploymentId, suffix: &str) -> Result<PathBuf, FolderError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if id.service.chars().chain(id.region.chars()).all(is_plain) {
            Ok(self.shared.path.join(format!("{id}{suffix}")))
        } else {
            Err(FolderError::Name { id: id.clone() })
        }
    }

    /// Writes a whole file or none: nobody ever reads a part of it.
    fn place(&self, path: &Path, text: &str, place: Place) -> Result<(), FolderError> {
        let uid = self.shared.seams.new_uid();
        let temporary = self.shared.path.join(format!(".{uid}.tmp"));
        let written = write_new(&temporary, text, place).and_then(|()| match place {
            Place::Replace => fs::rename(&temporary, path),
            Place::IfMissing => match fs::hard_link(&temporary, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            },
        });
        // After a rename it is gone already, which is no failure.
        let _ = fs::remove_file(&temporary);
        written.map_err(|source| FolderError::Write { path: path.to_owned(), source })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A secret: only if there is none.
    IfMissing,
    /// A public file, whatever was there.
    Replace,
}

/// Reads a private file. Blocks on the disk.
///
/// # Errors
/// It is not there, too large, or no key.
pub fn read_private_key(path: &Path) -> Result<KeyPair, FolderError> {
    let text = read(path).map_err(|source| FolderError::Read { path: path.to_owned(), source })?;
    warn_if_others_can_read(path);
    KeyPair::from_pem(&text).map_err(|source| FolderError::Key { path: path.to_owned(), source })
}

fn warn_if_others_can_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    // Only a warning: what mounts secrets into containers often cannot do better.
    if fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "other users can read this private key");
    }
}

fn write_new(path: &Path, text: &str, place: Place) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mode = if place == Place::IfMissing { 0o600 } else { 0o644 };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// All public keys in a folder; what is no key is left out and told.
fn read_public(folder: &Path) -> io::Result<BTreeMap<DeploymentId, PublicKey>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.ends_with(PUBLIC_SUFFIX)) else {
            continue;
        };
        names.insert(name.to_owned());
        if names.len() > FILES_MAX {
            return Err(io::Error::other(format!("more than {FILES_MAX} public keys")));
        }
    }
    let keys = names.iter().filter_map(|name| {
        let path = folder.join(name);
        let id = name.strip_suffix(PUBLIC_SUFFIX).and_then(|id| id.parse().ok());
        let key = read(&path).ok().and_then(|text| PublicKey::from_pem(&text).ok());
        if id.is_none() || key.is_none() {
            tracing::warn!(path = %path.display(), "not the public key of a deployment");
        }
        Some((id?, key?))
    });
    Ok(keys.collect())
}

#[async_trait]
impl KeySource for KeyFolder {
    fn key_of(&self, id: &DeploymentId) -> Option<PublicKey> {
        self.shared.known.read().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    async fn refresh(&self) {
        let Shared { path, seams, known, last } = &*self.shared;
        let asked = seams.clock.monotonic();
        let mut last = last.lock().await;
        if last.done.is_some_and(|began| began >= asked) {
            return;
        }
        let next = last.began.map_or(asked, |began| began + REFRESH_PERIOD);
        if let Some(wait) = next.checked_sub(seams.clock.monotonic()) {
            seams.clock.sleep(wait).await;
        }
        last.began = Some(seams.clock.monotonic());
        let folder = path.clone();
        match seams.blocking(move || read_public(&folder)).await {
            Some(Ok(keys)) => *known.write().unwrap_or_else(PoisonError::into_inner) = keys,
            Some(Err(error)) => {
                tracing::warn!(path = %path.display(), %error, "read the public keys")
            }
            None => {}
        }
        last.done = last.began;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn id(text: &str) -> DeploymentId {
        text.parse().unwrap()
    }

    fn folder(path: &Path) -> KeyFolder {
        KeyFolder::new(path.join("identity"), Seams::real())
    }

    fn files(path: &Path) -> Vec<(String, u32)> {
        let entries = fs::read_dir(path.join("identity")).unwrap().map(Result::unwrap);
        let mut files: Vec<_> = entries
            .map(|entry| {
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                (entry.file_name().into_string().unwrap(), mode)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let home = tempfile::tempdir().unwrap();
        let first = folder(home.path()).make(&id("a.example.com@eu")).unwrap();
        let again = folder(home.path()).make(&id("a.example.com@eu")).unwrap();
        assert_eq!(first.public(), again.public());
        let read = folder(home.path()).private(&id("a.example.com@eu")).unwrap();
        assert_eq!(first.public(), read.public());
        let expected = [("a.example.com@eu.key.pem", 0o600), ("a.example.com@eu.pub.pem", 0o644)];
        assert_eq!(files(home.path()), expected.map(|(name, mode)| (name.to_owned(), mode)));
    }

    #[test]
    fn many_that_start_at_once_have_one_key() {
        let home = tempfile::tempdir().unwrap();
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..12)
                .map(|_| scope.spawn(|| folder(home.path()).make(&id("a@eu")).unwrap().public()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|public| *public == made[0]), "{made:?}");
        assert_eq!(files(home.path()).len(), 2, "nothing is left over");
        let told = fs::read_to_string(home.path().join("identity/a@eu.pub.pem")).unwrap();
        assert_eq!(PublicKey::from_pem(&told).unwrap(), made[0]);
    }

    #[test]
    fn names_that_are_paths_make_no_files_elsewhere() {
        let home = tempfile::tempdir().unwrap();
        for name in ["../evil@eu", "a@e/u", "a\0@eu"] {
            let made = folder(home.path()).make(&id(name));
            assert!(matches!(made, Err(FolderError::Name { .. })), "{name:?}: {made:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_an_error_that_names_the_file_and_is_kept() {
        let home = tempfile::tempdir().unwrap();
        folder(home.path()).make(&id("a@eu")).unwrap();
        let path = home.path().join("identity/a@eu.key.pem");
        fs::write(&path, "hello").unwrap();
        let error = folder(home.path()).make(&id("a@eu")).unwrap_err();
        assert!(error.to_string().ends_with("a@eu.key.pem is none"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "hello");
    }

    #[tokio::test]
    async fn public_keys_are_found_when_they_come_and_others_files_are_left_out() {
        let home = tempfile::tempdir().unwrap();
        let known = folder(home.path());
        known.refresh().await;
        let (a, b) = (id("a@eu"), id("b@us"));
        let made = folder(home.path()).make(&a).unwrap();
        for (name, text) in [("b@us.pub.pem", "no key"), ("x.pub.pem", &*made.public().to_pem())] {
            fs::write(home.path().join("identity").join(name), text).unwrap();
        }
        assert_eq!(known.key_of(&a), None, "nothing is read before somebody asks");
        known.refresh().await;
        assert_eq!(known.key_of(&a), Some(made.public()));
        assert_eq!(known.key_of(&b), None);
        let b_made = folder(home.path()).make(&b);
        assert!(b_made.is_ok(), "a public file that is no key is written anew");
        known.refresh().await;
        assert_eq!(known.key_of(&b), b_made.ok().map(|pair| pair.public()));
    }

    #[tokio::test]
    async fn however_many_ask_the_folder_is_read_a_few_times() {
        let home = tempfile::tempdir().unwrap();
        let known = folder(home.path());
        let began = known.shared.seams.clock.monotonic();
        let all = futures::future::join_all((0..1_000).map(|_| known.refresh()));
        tokio::time::timeout(REFRESH_PERIOD * 10, all).await.expect("not one after the other");
        // The first reads at once, all the others wait together for one more reading.
        let took = known.shared.seams.clock.monotonic() - began;
        assert!(took >= REFRESH_PERIOD && took < REFRESH_PERIOD * 4, "{took:?}");
    }
}
