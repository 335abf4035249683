//! PostgreSQL's programs: where they are, and as whom they run (never as root, which they refuse).

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::getuid;

use super::error::PostgresError;

/// Where Debian keeps them, a folder per major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The account that a server runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// That of the test.
    Own,
    /// Another, since the test's is root.
    Other { uid: u32, gid: u32 },
}

/// The programs of one version of PostgreSQL.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
    account: Account,
}

impl Binaries {
    /// Those of the `initdb` in PATH, or else the newest that Debian has installed.
    ///
    /// # Errors
    /// [`PostgresError::Missing`] if there are none, [`PostgresError::NoAccount`] if nobody may run them.
    pub fn find() -> Result<Self, PostgresError> {
        let folder =
            in_path().or_else(|| newest(Path::new(DEBIAN))).ok_or(PostgresError::Missing)?;
        Ok(Self { folder, account: account()? })
    }

    pub fn account(&self) -> Account {
        self.account
    }

    /// The full path of a program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A program to be run as the right account, where that may look, and without settings of the caller's environment.
    pub fn command(&self, name: &str) -> Command {
        self.as_account(Command::new(self.program(name)))
    }

    pub(super) fn as_account(&self, mut command: Command) -> Command {
        // The server does not read these either, but its clients do.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG"))
        {
            command.env_remove(name);
        }
        // Files of the caller's home (passwords, certificates) are not for the server's account either.
        command
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        if let Account::Other { uid, gid } = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// Runs a program to its end and gives what it prints.
pub(super) fn output(mut command: Command) -> Result<String, PostgresError> {
    let program = PathBuf::from(command.get_program());
    let failed = |source| PostgresError::Start { program: program.clone(), source };
    let output = command.output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let program = program.file_name().unwrap_or_default().display().to_string();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    Err(PostgresError::Program { program, status: output.status, output: text })
}

/// The folder that `initdb` in PATH really lies in; its siblings need not be in PATH.
fn in_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found =
        std::env::split_paths(&path).find_map(|folder| folder.join("initdb").canonicalize().ok());
    let folder = found?.parent()?.to_owned();
    is_complete(&folder).then_some(folder)
}

/// The folder of the highest version below `root`.
fn newest(root: &Path) -> Option<PathBuf> {
    let folders = std::fs::read_dir(root).ok()?.filter_map(Result::ok);
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions =
        folders.filter_map(|entry| Some((version(&entry.path())?, entry.path().join("bin"))));
    versions.filter(|(_, folder)| is_complete(folder)).max().map(|(_, folder)| folder)
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres", "psql", "pg_basebackup"].iter().all(|name| folder.join(name).is_file())
}

fn account() -> Result<Account, PostgresError> {
    if !getuid().is_root() {
        return Ok(Account::Own);
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = ["postgres", "nobody"].iter().find_map(|name| account_in(&users, name));
    found.ok_or(PostgresError::NoAccount)
}

/// The account `name` in the text of a passwd file.
fn account_in(users: &str, name: &str) -> Option<Account> {
    let mut parts = users
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut parts| (parts.next() == Some(name)).then_some(parts))?;
    let (_password, uid, gid) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Account::Other { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::World;

    #[test]
    fn the_newest_complete_version_is_taken() {
        let world = World::new("binaries").expect("a directory");
        for program in ["initdb", "postgres", "psql", "pg_basebackup"] {
            world.write(&format!("9/bin/{program}"), "").expect("a file");
            world.write(&format!("15/bin/{program}"), "").expect("a file");
        }
        world.write("16/bin/psql", "").expect("a client without a server");
        world.write("README", "").expect("something else");
        assert_eq!(newest(world.path()), Some(world.path().join("15/bin")));
        assert_eq!(newest(&world.path().join("absent")), None);
    }

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(account_in(users, "postgres"), Some(Account::Other { uid: 101, gid: 104 }));
        assert_eq!(account_in(users, "nobody"), None);
    }
}
