//! `bowline backup`: the rows of all services into one file, beside the processes that serve them.
//!
//! The file's format and what is in it are in [`bowline_store::backup`]; here is which stores, where to, and what is said.

use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::sync::Arc;

use bowline::Storage;
use bowline::storage::{self, REGION};
use bowline_base::Seams;
use bowline_store::backup::{BackupWriter, Deployment, Header, Totals};
use bowline_store::{Backend, Snapshot, Sqlite};

use super::args::BackupArgs;
use super::error::Error;
use super::part_file::PartFile;
use super::say;
use super::transfer::{Progress, count, size, unless_interrupted};

pub(crate) async fn run(args: BackupArgs, out: &mut dyn Write) -> Result<(), Error> {
    let seams = Seams::real();
    let source = Source { storage: args.store.storage(), seams };
    let services = source.services(&args.services).await?;
    if args.file == Path::new("-") {
        if std::io::stdout().is_terminal() {
            let problem = "a backup is not for a terminal; name a file, or pipe it".to_owned();
            return Err(Error::Usage { problem });
        }
        let written =
            unless_interrupted(&source.seams, Box::pin(write(&source, &services, out))).await?;
        say::line(&summary(written));
        return Ok(());
    }
    let part = PartFile::create(&args.file, args.overwrite)?;
    let buffer = BufWriter::new(part.file());
    let written =
        unless_interrupted(&source.seams, Box::pin(write(&source, &services, buffer))).await?;
    let bytes = part.finish()?;
    writeln!(out, "{}", summary(written))?;
    Ok(writeln!(out, "wrote {}, {}", args.file.display(), size(bytes))?)
}

fn summary(totals: Totals) -> String {
    format!("{} rows, {}", count(totals.rows), size(totals.bytes))
}

async fn write(source: &Source, services: &[String], out: impl Write) -> Result<Totals, Error> {
    let deployment =
        |service: &String| Deployment { service: service.clone(), region: REGION.to_owned() };
    let header = Header {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created: source.seams.clock.now().to_string(),
        deployments: services.iter().map(deployment).collect(),
    };
    let mut writer = BackupWriter::start(out, &header)?;
    let mut progress = Progress::new("saved", &source.seams);
    for service in services {
        let mut view = source.view(service).await?;
        writer.deployment(&mut *view.snapshot, &mut |totals| progress.tell(totals)).await?;
        view.close().await;
    }
    let (_, totals) = writer.finish()?;
    Ok(totals)
}

/// The stores that are read.
struct Source {
    storage: Storage,
    seams: Seams,
}

/// A snapshot, and what has to stay open for it.
struct View {
    snapshot: Box<dyn Snapshot>,
    backend: Option<Arc<dyn Backend>>,
}

impl View {
    async fn close(self) {
        drop(self.snapshot);
        if let Some(backend) = self.backend {
            // Everything was read; what closing fails with is nothing to the backup.
            let _ = backend.close().await;
        }
    }
}

impl Source {
    /// The services to save, in order: those that are named, or all that there are.
    async fn services(&self, named: &[String]) -> Result<Vec<String>, Error> {
        if self.storage == Storage::Memory {
            let problem = "what is in the memory of a process cannot be saved".to_owned();
            return Err(Error::Usage { problem });
        }
        if named.is_empty() {
            let services = self.storage.services(&self.seams).await?;
            return if services.is_empty() { Err(Error::NoStores) } else { Ok(services) };
        }
        for service in named {
            // Opening a store would make it.
            if !self.storage.has(service, &self.seams).await? {
                return Err(Error::NoStore { service: service.clone() });
            }
        }
        let mut services = named.to_vec();
        services.sort();
        services.dedup();
        Ok(services)
    }

    /// What the store of `service` holds now.
    async fn view(&self, service: &str) -> Result<View, Error> {
        if let Storage::Folder(folder) = &self.storage {
            // The process that serves has the file locked, which is for writers only.
            let path = storage::file(folder, service);
            let snapshot = Sqlite::view(&path, self.seams.clone()).await;
            let snapshot = snapshot.map_err(storage::OpenError::from)?;
            return Ok(View { snapshot, backend: None });
        }
        let backend = self.storage.open(service, &self.seams).await?;
        let failed = |source| storage::OpenError::Store { service: service.to_owned(), source };
        let snapshot = backend.snapshot().await.map_err(failed)?;
        Ok(View { snapshot, backend: Some(backend) })
    }
}
