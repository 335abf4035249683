//! Data directories: made once per version with initdb, kept under the target directory, copied for each server.
//!
//! A copy takes a tenth of a second, initdb a whole one. Processes that run at the same time share one template.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bowline_base::Seams;

use super::USER;
use super::binaries::{Binaries, output};
use super::error::PostgresError;
use super::scratch::{give_to, scratch};

/// Raised when [`Template::make`] changes, so that older templates are not taken for new ones.
const REVISION: u32 = 1;

/// Written last: a template without it was not finished.
const PASSWORD: &str = "password";

/// A data directory that is only copied, never run.
#[derive(Debug)]
pub(super) struct Template {
    folder: PathBuf,
    password: String,
}

impl Template {
    /// The template for this version, made if it is not there yet.
    ///
    /// With `production`, WAL files have the usual 16 MiB; else the 1 MiB that copy faster.
    pub(super) fn get(binaries: &Binaries, production: bool) -> Result<Self, PostgresError> {
        let cache = cache()?;
        let folder = cache.join(folder_name(binaries, production)?);
        // Held until the end: whoever comes second finds it finished.
        let lock = cache.join("lock");
        let file = File::create(&lock).and_then(|file| file.lock().map(|()| file));
        let _held = file.map_err(|source| PostgresError::File { path: lock, source })?;
        if let Ok(password) = std::fs::read_to_string(folder.join(PASSWORD)) {
            return Ok(Self { folder, password });
        }
        Self::make(binaries, production, folder)
    }

    fn make(binaries: &Binaries, production: bool, folder: PathBuf) -> Result<Self, PostgresError> {
        let scratch = scratch(binaries.account(), false)?;
        let password = new_password();
        let password_file = scratch.path().join(PASSWORD);
        write(&password_file, &password)?;
        give_to(&password_file, binaries.account())?;
        let data = scratch.path().join("data");
        let mut initdb = binaries.command("initdb");
        initdb.arg("-D").arg(&data).arg("--pwfile").arg(&password_file);
        initdb.args(["-U", USER, "-E", "UTF8", "--no-locale", "--no-sync", "-A", "scram-sha-256"]);
        initdb.arg(if production { "--wal-segsize=16" } else { "--wal-segsize=1" });
        output(initdb)?;
        // Whoever reaches the socket's folder is the account itself; over TCP anybody of this machine may knock.
        // Checking a plain password is the cheapest that is not open to all.
        write(&data.join("pg_hba.conf"), ACCESS)?;
        // What an interrupted run left is in the way.
        let _ = std::fs::remove_dir_all(&folder);
        copy(scratch.path(), &folder)?;
        Ok(Self { folder, password })
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// Copies the data directory to `to`, which must not be there yet.
    pub(super) fn copy_to(&self, to: &Path) -> Result<(), PostgresError> {
        copy(&self.folder.join("data"), to)
    }
}

/// Who may connect how.
const ACCESS: &str = "\
local all         all              trust
host  all         all 127.0.0.1/32 password
host  replication all 127.0.0.1/32 password
";

/// The same with TLS only.
const ACCESS_TLS: &str = "\
local   all         all              trust
hostssl all         all 127.0.0.1/32 scram-sha-256
hostssl replication all 127.0.0.1/32 scram-sha-256
";

/// Makes the server on `data` refuse connections over TCP that are not encrypted.
pub(super) fn require_tls(data: &Path) -> Result<(), PostgresError> {
    write(&data.join("pg_hba.conf"), ACCESS_TLS)
}

/// Where templates and locks are kept: the target directory that the running test lies in, or beside temporary files.
pub(super) fn cache() -> Result<PathBuf, PostgresError> {
    let test = std::env::current_exe().unwrap_or_default();
    // Cargo marks the directory so.
    let target = test.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let own =
        || std::env::temp_dir().join(format!("bowline-{}", rustix::process::getuid().as_raw()));
    let folder = target.map_or_else(own, Path::to_owned).join("postgres");
    let made = std::fs::create_dir_all(&folder);
    // There are passwords in it.
    let made =
        made.and_then(|()| std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)));
    made.map_err(|source| PostgresError::File { path: folder.clone(), source })?;
    Ok(folder)
}

/// One folder for each thing that a data directory depends on.
fn folder_name(binaries: &Binaries, production: bool) -> Result<String, PostgresError> {
    let mut command = binaries.command("postgres");
    command.arg("--version");
    let version = output(command)?;
    let version =
        version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let size = if production { "16" } else { "1" };
    Ok(format!("{}-{size}-{REVISION}", version.unwrap_or("unknown")))
}

fn new_password() -> String {
    let mut bytes = [0; 16];
    Seams::real().random.fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

fn write(path: &Path, text: &str) -> Result<(), PostgresError> {
    std::fs::write(path, text)
        .map_err(|source| PostgresError::File { path: path.to_owned(), source })
}

/// Copies a folder with owners and modes, and without copying blocks where the file system can share them.
fn copy(from: &Path, to: &Path) -> Result<(), PostgresError> {
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto", "--"]).args([from, to]);
    output(command).map(drop)
}
