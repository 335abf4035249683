//! Fetching the protos: Google's public ones, as the npm registry has them, unpacked below the target folder.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package and its version. Another version may have other types: the figures are only comparable at one version.
pub const NPM_PACKAGE: &str = "google-proto-files@6.0.1";

/// Made when everything is unpacked, so that an interrupted fetch is begun anew.
const COMPLETE: &str = "complete";

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{program} is not installed; on Debian: apt-get install {debian}")]
    NoProgram { program: &'static str, debian: &'static str },
    #[error("`{program}` failed: {stderr}")]
    Failed { program: &'static str, stderr: String },
    #[error("run {program}")]
    Run {
        program: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the archive is not where `npm pack` should have put it")]
    NoArchive,
}

/// The folder with the protos; fetched if it is not there yet.
///
/// # Errors
/// npm or tar is missing or fails, or the disk does.
pub fn protos(target: &Path) -> Result<PathBuf, FetchError> {
    let home = target.join("corpus").join(NPM_PACKAGE);
    let package = home.join("package");
    if home.join(COMPLETE).exists() {
        return Ok(package);
    }
    let write = |source| FetchError::Write { path: home.clone(), source };
    match std::fs::remove_dir_all(&home) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(write(error)),
        _ => std::fs::create_dir_all(&home).map_err(write)?,
    }
    run("npm", "npm", &home, &["pack", "--silent", NPM_PACKAGE])?;
    let archive = archive(&home).ok_or(FetchError::NoArchive)?;
    run("tar", "tar", &home, &["xzf", &archive])?;
    std::fs::remove_file(home.join(&archive)).map_err(write)?;
    std::fs::write(home.join(COMPLETE), "").map_err(write)?;
    Ok(package)
}

fn archive(home: &Path) -> Option<String> {
    let names = std::fs::read_dir(home)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".tgz")).min()
}

fn run(
    program: &'static str,
    debian: &'static str,
    folder: &Path,
    args: &[&str],
) -> Result<(), FetchError> {
    let output = Command::new(program).args(args).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.map_err(|source| match source.kind() {
        ErrorKind::NotFound => FetchError::NoProgram { program, debian },
        _ => FetchError::Run { program, source },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(FetchError::Failed { program, stderr })
}
