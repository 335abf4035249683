//! `bowline backup`: the rows of all services into one file, beside the processes that serve them.
//!
//! The file's format and what is in it are in [`bowline_store::backup`]; here is which stores, where to, and what is said.

use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::sync::Arc;

use bowline::Storage;
use bowline::storage;
use bowline_base::Seams;
use bowline_node::DeploymentId;
use bowline_store::backup::{BackupWriter, Deployment, Header, Totals};
use bowline_store::{Backend, Snapshot, Sqlite};

use super::args::BackupArgs;
use super::error::Error;
use super::part_file::PartFile;
use super::places::{self, Home};
use super::say;
use super::transfer::{Progress, count, size, unless_interrupted};

pub(crate) async fn run(args: BackupArgs, out: &mut dyn Write) -> Result<(), Error> {
    let source = Source { seams: Seams::real() };
    let homes = source.homes(&args).await?;
    if args.file == Path::new("-") {
        if std::io::stdout().is_terminal() {
            let problem = "a backup is not for a terminal; name a file, or pipe it".to_owned();
            return Err(Error::Usage { problem });
        }
        let written =
            unless_interrupted(&source.seams, Box::pin(write(&source, &homes, out))).await?;
        say::line(&summary(written));
        return Ok(());
    }
    let part = PartFile::create(&args.file, args.overwrite)?;
    let buffer = BufWriter::new(part.file());
    let written =
        unless_interrupted(&source.seams, Box::pin(write(&source, &homes, buffer))).await?;
    let bytes = part.finish()?;
    writeln!(out, "{}", summary(written))?;
    Ok(writeln!(out, "wrote {}, {}", args.file.display(), size(bytes))?)
}

fn summary(totals: Totals) -> String {
    format!("{} rows, {}", count(totals.rows), size(totals.bytes))
}

async fn write(source: &Source, homes: &[Home], out: impl Write) -> Result<Totals, Error> {
    let deployment = |home: &Home| Deployment {
        service: home.id.service.to_string(),
        region: home.id.region.to_string(),
    };
    let header = Header {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created: source.seams.clock.now().to_string(),
        deployments: homes.iter().map(deployment).collect(),
    };
    let mut writer = BackupWriter::start(out, &header)?;
    let mut progress = Progress::new("saved", &source.seams);
    for home in homes {
        let mut view = source.view(home).await?;
        writer.deployment(&mut *view.snapshot, &mut |totals| progress.tell(totals)).await?;
        view.close().await;
    }
    let (_, totals) = writer.finish()?;
    Ok(totals)
}

/// What reads the stores.
struct Source {
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
    /// The deployments to save, in order: those of the services that are named, or all that there are.
    async fn homes(&self, args: &BackupArgs) -> Result<Vec<Home>, Error> {
        let homes = places::homes(&args.store, &args.place, &self.seams).await?;
        if homes.iter().any(|home| home.storage == Storage::Memory) {
            let problem = "what is in the memory of a process cannot be saved".to_owned();
            return Err(Error::Usage { problem });
        }
        if homes.is_empty() {
            return Err(Error::NoStores);
        }
        for service in &args.services {
            if homes.iter().all(|home| *home.id.service != **service) {
                return Err(Error::NoStore { service: service.clone() });
            }
        }
        let is_wanted = |id: &DeploymentId| {
            args.services.is_empty() || args.services.iter().any(|named| **named == *id.service)
        };
        Ok(homes.into_iter().filter(|home| is_wanted(&home.id)).collect())
    }

    /// What a store holds now.
    async fn view(&self, Home { id, storage }: &Home) -> Result<View, Error> {
        if let Storage::Folder(folder) = storage {
            // The process that serves has the file locked, which is for writers only.
            let path = storage::file(folder, id);
            let snapshot = Sqlite::view(&path, self.seams.clone()).await;
            let snapshot = snapshot.map_err(storage::OpenError::from)?;
            return Ok(View { snapshot, backend: None });
        }
        let backend = storage.open(id, &self.seams).await?;
        let failed = |source| storage::OpenError::Store { deployment: id.clone(), source };
        let snapshot = backend.snapshot().await.map_err(failed)?;
        Ok(View { snapshot, backend: Some(backend) })
    }
}
