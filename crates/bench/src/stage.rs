//! Where a bench plays: programs, service folders, and a directory that is removed at the end.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::bare;
use crate::error::Error;
use crate::process::Server;

/// The program that is measured, as cargo builds it beside this one.
const PROGRAM: &str = "bowline";

const SERVICE: [(&str, &str); 3] = [
    ("service.yaml", include_str!("../service/service.yaml")),
    ("v1/project.proto", include_str!("../service/v1/project.proto")),
    ("v1/item.proto", include_str!("../service/v1/item.proto")),
];

pub(crate) struct Stage {
    program: PathBuf,
    own_program: PathBuf,
    /// On the disk of the build, not in a memory file system: flushes have to cost what they cost.
    work: TempDir,
    reports: PathBuf,
}

impl Stage {
    pub(crate) fn set_up() -> Result<Self, Error> {
        let own_program = std::env::current_exe().map_err(Error::io("find this program"))?;
        let folder = own_program.parent().unwrap_or_else(|| Path::new("."));
        let program = folder.join(PROGRAM);
        if !program.is_file() {
            return Err(Error::NoProgram(program));
        }
        let reports = folder.parent().unwrap_or(folder).join("bench");
        std::fs::create_dir_all(&reports)
            .map_err(Error::io(format!("make {}", reports.display())))?;
        let work = tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(&reports)
            .map_err(Error::io(format!("make a folder in {}", reports.display())))?;
        let stage = Self { program, own_program, work, reports };
        stage.write_service()?;
        Ok(stage)
    }

    fn write_service(&self) -> Result<(), Error> {
        for (path, text) in SERVICE {
            self.write(&format!("service/{path}"), text.as_bytes())?;
        }
        Ok(())
    }

    /// The bench service with indexes on fields of its items, by path; a folder to serve.
    pub(crate) fn indexed_service(&self, paths: &[&str]) -> Result<PathBuf, Error> {
        const FOLDER: &str = "indexed";
        for (path, text) in SERVICE {
            self.write(&format!("{FOLDER}/{path}"), text.as_bytes())?;
        }
        let (manifest, text) = SERVICE[0];
        let indexes = format!("resources:\n  Item: {{ index: [{}] }}\n", paths.join(", "));
        self.write(&format!("{FOLDER}/{manifest}"), (text.to_owned() + &indexes).as_bytes())?;
        Ok(self.path(FOLDER))
    }

    /// Where `NAME.json` goes.
    pub(crate) fn reports(&self) -> &Path {
        &self.reports
    }

    /// A path in the working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
        let path = self.path(name);
        let failed = || format!("write {}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(failed()))?;
        }
        std::fs::write(&path, bytes).map_err(Error::io(failed()))?;
        Ok(path)
    }

    /// Removes a folder of the working directory, so that runs do not pile up on the disk.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        std::fs::remove_dir_all(&path).map_err(Error::io(format!("remove {}", path.display())))
    }

    /// The program under test.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// This program, to be run with other flags.
    pub(crate) fn own_program(&self) -> &Path {
        &self.own_program
    }

    /// `bowline up` with the bench service, its data in the folder `data` of the working directory.
    pub(crate) async fn bowline(&self, data: &str) -> Result<Server, Error> {
        self.bowline_with(&self.path("service"), data).await
    }

    /// `bowline up` with the services in `folder`.
    pub(crate) async fn bowline_with(&self, folder: &Path, data: &str) -> Result<Server, Error> {
        let args = [
            "up".into(),
            folder.as_os_str().to_owned(),
            "--listen".into(),
            "127.0.0.1:0".into(),
            "--data".into(),
            self.path(data).into_os_string(),
        ];
        Server::start(&self.program, args, &self.path("bowline.log")).await
    }

    /// The server that only hands out `body`: see [`bare`].
    pub(crate) async fn bare(&self, body: &[u8]) -> Result<Server, Error> {
        let body = self.write("body.bin", body)?;
        let args = [bare::FLAG.into(), body.into_os_string()];
        Server::start(&self.own_program, args, &self.path("bare.log")).await
    }
}

/// A folder of the repository that this program was built from.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
