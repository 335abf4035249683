//! `bowline restore`: a backup into an empty store, or only looked through.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bowline::Storage;
use bowline_base::Seams;
use bowline_node::DeploymentId;
use bowline_store::backup::{
    self, BackupReader, Contents, Deployment, DeploymentContents, Guard, Header, Part, Restore,
    Totals,
};
use bowline_store::{Backend, Position};

use super::args::RestoreArgs;
use super::error::Error;
use super::new_store::NewStores;
use super::places::{self, Targets};
use super::transfer::{Progress, count, lines, size, unless_interrupted};

/// What is read of a file at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Where a backup comes from.
type Input = Box<dyn Read + Send>;

pub(crate) async fn run(args: RestoreArgs, out: &mut dyn Write) -> Result<(), Error> {
    let input = open(&args.file)?;
    if args.check {
        return print_contents(&backup::check(input)?, out);
    }
    let seams = Seams::real();
    let reader = BackupReader::open(input)?;
    let targets = places::targets(&args.store, &args.place)?;
    let deployments = selected(reader.header(), &args.services, &targets)?;
    // Files are hidden until the end, and go with their restore. In a database it is marked, and stays.
    let leaves_marks = deployments.values().any(|store| matches!(store, Storage::Postgres(_)));
    let mut target = Target::begin(deployments, seams.clone())?;
    let history = if args.moves { History::Continues } else { History::NewEra(args.era) };
    let work = Box::pin(async {
        let found = target.fill(reader, history).await?;
        target.finish(found).await
    });
    let restored = unless_interrupted(&seams, work).await;
    let restored = restored.map_err(|error| match error {
        Error::Interrupted if leaves_marks => Error::RestoreInterrupted,
        error => error,
    })?;
    print_restored(&restored, out)
}

fn open(path: &Path) -> Result<Input, Error> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, std::io::stdin())));
    }
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, file)))
}

/// What is to be restored, and where to.
type Wanted = BTreeMap<DeploymentId, Storage>;

/// The deployments to restore: those of the services that are named, or all of the file for which there is a place.
fn selected(header: &Header, named: &[String], targets: &Targets) -> Result<Wanted, Error> {
    let id = |d: &Deployment| DeploymentId::new(d.service.as_str(), d.region.as_str());
    let homes = header.deployments.iter().filter_map(|d| Some((id(d), targets.of(&id(d))?)));
    let known: Wanted = homes.collect();
    let usage = |problem: String| Err(Error::Usage { problem });
    let there = || {
        let there: Vec<_> = header.deployments.iter().map(ToString::to_string).collect();
        there.join(", ").escape_debug().to_string()
    };
    let lacks = |name: &&String| known.keys().all(|id| *id.service != ***name);
    if let Some(other) = named.iter().find(lacks) {
        return usage(format!("the backup does not have {other}; it has {}", there()));
    }
    let is_wanted =
        |id: &DeploymentId| named.is_empty() || named.iter().any(|n| **n == *id.service);
    let wanted: Wanted = known.into_iter().filter(|(id, _)| is_wanted(id)).collect();
    if wanted.is_empty() {
        return usage(format!("there is nothing to restore; the backup has {}", there()));
    }
    // They become names of files.
    let bad = wanted.keys().flat_map(|id| [&id.service, &id.region]).find(|name| !is_service(name));
    match bad.cloned() {
        Some(bad) => usage(format!("\"{}\" is not the name of a service", bad.escape_debug())),
        None => Ok(wanted),
    }
}

/// Domain names, and nothing that a file system or a database could take for something else.
fn is_service(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.chars().all(is_plain)
}

/// From where the history of a restored deployment goes on.
#[derive(Clone, Copy, Debug)]
enum History {
    /// From where the backup was taken, for a move: nobody writes to the old store any more.
    Continues,
    /// In an era of its own, so that nothing from after the backup is mistaken for something of the new history.
    NewEra(Option<u64>),
}

impl History {
    /// The era of a restore is the second in which it is made: two restores of one backup have histories of their own,
    /// and neither must be mistaken for the other. Whatever the clock says, it is above the backup's.
    fn after(self, backup: Position, second: u64) -> Result<Position, Error> {
        match self {
            Self::Continues => Ok(backup),
            Self::NewEra(Some(era)) if era <= backup.era => {
                let problem = format!("--era must be above {}, that of the backup", backup.era);
                Err(Error::Usage { problem })
            }
            Self::NewEra(era) => {
                let era = era.unwrap_or_else(|| second.max(backup.era.saturating_add(1)));
                Ok(Position { era, ..backup })
            }
        }
    }
}

/// Where the rows go.
struct Target {
    wanted: Wanted,
    seams: Seams,
    files: NewStores,
}

/// A deployment whose rows are in its store, which is not to be used yet.
struct Filled {
    contents: DeploymentContents,
    restore: Restore,
    backend: Arc<dyn Backend>,
    position: Position,
}

/// A deployment that was restored.
struct Done {
    contents: DeploymentContents,
    position: Position,
}

impl Target {
    fn begin(wanted: Wanted, seams: Seams) -> Result<Self, Error> {
        let mut files = NewStores::default();
        for (id, storage) in &wanted {
            match storage {
                Storage::Memory => {
                    let problem = "what is restored into memory is gone with this process";
                    return Err(Error::Usage { problem: problem.to_owned() });
                }
                Storage::Folder(folder) => files.reserve(folder, id)?,
                Storage::Postgres(_) => {}
            }
        }
        Ok(Self { wanted, seams, files })
    }

    /// Puts all rows into stores. The file was read to its end and is whole when this returns.
    async fn fill(
        &mut self,
        mut reader: BackupReader<Input>,
        history: History,
    ) -> Result<Vec<Filled>, Error> {
        let mut progress = Progress::new("restored", &self.seams);
        let mut totals = Totals::default();
        let mut filled: Vec<Filled> = Vec::new();
        let mut is_wanted = false;
        loop {
            let part;
            (reader, part) = self.read(reader).await?;
            match part {
                Part::Deployment { deployment, position } => {
                    let (service, region) =
                        (deployment.service.as_str(), deployment.region.as_str());
                    let wanted = self.wanted.get_key_value(&DeploymentId::new(service, region));
                    is_wanted = wanted.is_some();
                    if let Some((id, storage)) = wanted {
                        let (id, storage) = (id.clone(), storage.clone());
                        let home = (&id, &storage);
                        filled.push(self.deployment(deployment, home, position, history).await?);
                    }
                }
                Part::Rows { table, rows } => {
                    let Some(last) = filled.last_mut().filter(|_| is_wanted) else { continue };
                    last.contents.add(&table, rows.len() as u64);
                    totals.rows += rows.len() as u64;
                    let bytes = rows.iter().map(|(name, row)| (name.len() + row.body.len()) as u64);
                    totals.bytes += bytes.sum::<u64>();
                    let put = last.restore.rows(&table, rows).await;
                    put.map_err(|source| failed(&last.contents.deployment, source))?;
                    progress.tell(totals);
                }
                Part::DeploymentEnd(_) => {}
                Part::End(_) => return Ok(filled),
            }
        }
    }

    /// Reads where it disturbs nobody: what comes from a pipe may let us wait.
    async fn read(
        &self,
        mut reader: BackupReader<Input>,
    ) -> Result<(BackupReader<Input>, Part), Error> {
        let read = self.seams.blocking(move || {
            let part = reader.part();
            part.map(|part| (reader, part))
        });
        Ok(read.await.ok_or(Error::Interrupted)??)
    }

    async fn deployment(
        &mut self,
        deployment: Deployment,
        (id, storage): (&DeploymentId, &Storage),
        position: Position,
        history: History,
    ) -> Result<Filled, Error> {
        let second = u64::try_from(self.seams.clock.now().as_second()).unwrap_or(0);
        let after = history.after(position, second)?;
        let (backend, guard) = match storage {
            Storage::Folder(folder) => (self.files.create(folder, id, &self.seams)?, Guard::Hidden),
            _ => (storage.open_bare(id, &self.seams).await?, Guard::Marked),
        };
        let begun = Restore::begin(backend.clone(), guard, &self.seams).await;
        let restore = begun.map_err(|source| failed(&deployment, source))?;
        let contents = DeploymentContents { deployment, position, tables: Vec::new() };
        Ok(Filled { contents, restore, backend, position: after })
    }

    async fn finish(&mut self, filled: Vec<Filled>) -> Result<Vec<Done>, Error> {
        let mut done = Vec::new();
        for Filled { contents, restore, backend, position } in filled {
            let restored = restore.finish(position).await;
            let restored = restored.map_err(|source| failed(&contents.deployment, source))?;
            let closed = backend.close().await;
            closed.map_err(|source| failed(&contents.deployment, source.into()))?;
            done.push(Done { contents, position: restored.position });
        }
        std::mem::take(&mut self.files).publish()?;
        Ok(done)
    }
}

fn failed(deployment: &Deployment, source: backup::RestoreError) -> Error {
    Error::Restore { deployment: deployment.clone(), source }
}

fn print_contents(contents: &Contents, out: &mut dyn Write) -> Result<(), Error> {
    let Header { program, created, .. } = &contents.header;
    let (program, created) = (program.escape_debug(), created.escape_debug());
    writeln!(out, "backup of {created} by bowline {program}")?;
    for deployment in &contents.deployments {
        let Position { era, sequence } = deployment.position;
        let name = deployment.deployment.to_string();
        writeln!(out, "{}: era {era}, sequence {sequence}", name.escape_debug())?;
        print_lines(deployment, out)?;
    }
    let Totals { rows, bytes, .. } = contents.totals;
    Ok(writeln!(out, "whole and undamaged: {} rows, {}", count(rows), size(bytes))?)
}

fn print_restored(restored: &[Done], out: &mut dyn Write) -> Result<(), Error> {
    for Done { contents, position } in restored {
        let (before, after) = (contents.position, position);
        let eras = match before.era == after.era {
            true => format!("era {}, as before", after.era),
            false => format!("era {} -> {}", before.era, after.era),
        };
        let goes_on = format!("{eras}, goes on after sequence {}", after.sequence);
        writeln!(out, "{}: {goes_on}", contents.deployment.to_string().escape_debug())?;
        print_lines(contents, out)?;
    }
    let rows = restored.iter().flat_map(|done| &done.contents.tables).map(|(_, rows)| rows).sum();
    Ok(writeln!(out, "restored {} rows", count(rows))?)
}

fn print_lines(contents: &DeploymentContents, out: &mut dyn Write) -> Result<(), Error> {
    for line in lines(contents) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(deployments: &[(&str, &str)]) -> Header {
        let deployment = |(service, region): &(&str, &str)| Deployment {
            service: (*service).to_owned(),
            region: (*region).to_owned(),
        };
        Header { deployments: deployments.iter().map(deployment).collect(), ..Header::default() }
    }

    fn local() -> Targets {
        Targets::All { region: "local".to_owned(), storage: Storage::Folder("d".into()) }
    }

    #[test]
    fn services_are_chosen_from_what_is_there() {
        let header = header(&[
            ("a.example.com", "local"),
            ("b.example.com", "local"),
            ("a.example.com", "eu"),
        ]);
        assert_eq!(selected(&header, &[], &local()).unwrap().len(), 2);
        let named = selected(&header, &["b.example.com".into()], &local()).unwrap();
        assert_eq!(
            named.keys().map(ToString::to_string).collect::<Vec<_>>(),
            ["b.example.com@local"]
        );
        let error = selected(&header, &["c".into()], &local()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the backup does not have c; it has a.example.com in local, b.example.com in local, a.example.com in eu"
        );
    }

    #[test]
    fn a_service_of_a_file_names_no_other_place() {
        for bad in ["../x", "/etc/x", "", ".hidden", "a\0b", "a/b", "a\"b"] {
            assert!(selected(&header(&[(bad, "local")]), &[], &local()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_era_only_goes_up() {
        let backup = Position { era: 3, sequence: 9 };
        assert_eq!(History::Continues.after(backup, 0).unwrap(), backup);
        let raised = Position { era: 4, sequence: 9 };
        assert_eq!(History::NewEra(None).after(backup, 0).unwrap(), raised);
        assert_eq!(History::NewEra(Some(7)).after(backup, 0).unwrap().era, 7);
        assert!(History::NewEra(Some(3)).after(backup, 0).is_err());
        assert_eq!(History::NewEra(None).after(backup, 1_800_000_000).unwrap().era, 1_800_000_000);
    }
}
