//! `bowline schema`: check, show and export of service folders, without a server.

use std::io::Write;
use std::path::{Path, PathBuf};

use bowline_resource::convert;
use bowline_schema::compare;
use bowline_schema::diagnostic::{self, Severity};
use bowline_schema::export;
use bowline_schema::model::{Registry, Service};
use bowline_schema::show;
use bowline_schema::{Loaded, Source, load};

use super::args::SchemaCommand;
use super::error::Error;
use super::say;

pub(crate) fn run(command: SchemaCommand, out: &mut dyn Write) -> Result<(), Error> {
    match command {
        SchemaCommand::Check { folders, strict } => check(&folders, strict, out),
        SchemaCommand::Show { folders } => {
            let loaded = loaded(&folders)?;
            write!(out, "{}", show::show(&loaded.registry))?;
            Ok(out.flush()?)
        }
        SchemaCommand::Export { folders, out: target } => {
            let loaded = loaded(&folders)?;
            let written = export(&loaded.registry, &target)?;
            writeln!(out, "{written} files written to {}", target.display())?;
            Ok(out.flush()?)
        }
    }
}

/// A descriptor set if it is a file, else a folder of services.
pub(crate) fn source(path: &Path) -> Source {
    if path.is_file() {
        Source::DescriptorSet(path.to_owned())
    } else {
        Source::Folder(path.to_owned())
    }
}

/// What can be shown or exported; problems go to standard error, and only a schema without any service is a failure.
fn loaded(folders: &[PathBuf]) -> Result<Loaded, Error> {
    let loaded = load(&folders.iter().map(|folder| source(folder)).collect::<Vec<_>>());
    let (errors, warnings) = count(&loaded);
    if errors > 0 || loaded.registry.services.is_empty() {
        say::line(&diagnostic::render(&loaded.diagnostics));
    }
    match loaded.registry.services.is_empty() {
        true if errors == 0 => Err(Error::NoServices),
        true => Err(Error::SchemaProblems { errors, warnings }),
        false => Ok(loaded),
    }
}

fn check(folders: &[PathBuf], strict: bool, out: &mut dyn Write) -> Result<(), Error> {
    let mut loaded = load(&folders.iter().map(|folder| source(folder)).collect::<Vec<_>>());
    let mut rules = String::new();
    for service in &loaded.registry.services {
        for (pair, upgrade) in service.versions.windows(2).zip(&service.upgrades) {
            loaded.diagnostics.extend(compare::compare(&pair[0], &pair[1], upgrade));
        }
        let tried = convert::check::check(service);
        loaded.diagnostics.extend(tried.problems);
        rules.push_str(&name_rules(service, tried.names));
    }
    let (errors, warnings) = count(&loaded);
    if !loaded.diagnostics.is_empty() {
        write!(out, "{}", diagnostic::render(&loaded.diagnostics))?;
    }
    write!(out, "{rules}")?;
    writeln!(out, "{}", summary(&loaded.registry))?;
    out.flush()?;
    if errors > 0 || (strict && warnings > 0) {
        return Err(Error::SchemaProblems { errors, warnings });
    }
    match loaded.registry.services.is_empty() {
        true => Err(Error::NoServices),
        false => Ok(()),
    }
}

/// How the versions of a service follow from each other, and how many names that was tried out with; nothing for one version.
fn name_rules(service: &Service, tried: usize) -> String {
    if service.upgrades.is_empty() {
        return String::new();
    }
    let upgrades: String = service.upgrades.iter().map(|found| show::upgrade(found)).collect();
    format!("service {}\n{upgrades}tried with {tried} names\n\n", service.name)
}

fn count(loaded: &Loaded) -> (usize, usize) {
    let of = |severity| loaded.diagnostics.iter().filter(|d| d.severity == severity).count();
    (of(Severity::Error), of(Severity::Warning))
}

fn summary(registry: &Registry) -> String {
    let versions = registry.services.iter().flat_map(|service| &service.versions);
    let (mut types, mut methods) = (0, 0);
    for version in versions {
        types += version.types.len();
        methods += version.methods.len();
    }
    let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let services = count(registry.services.len(), "service");
    format!("{services}, {}, {}", count(types, "type"), count(methods, "method"))
}

/// Writes `descriptors.binpb` and all protos below `proto/`; gives the number of files.
fn export(registry: &Registry, target: &Path) -> Result<usize, Error> {
    write_file(&target.join("descriptors.binpb"), &export::descriptor_set(registry))?;
    let mut written = 1;
    for (path, text) in export::proto_files(registry) {
        let is_inside =
            Path::new(&path).components().all(|c| matches!(c, std::path::Component::Normal(_)));
        if !is_inside {
            // A descriptor set may hold any text as a file name; nothing is written outside of the target.
            say::note(&format!("not written, since it would be outside of the folder: {path}"));
            continue;
        }
        write_file(&target.join("proto").join(path), text.as_bytes())?;
        written += 1;
    }
    Ok(written)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, bytes).map_err(failed)
}
