//! Inputs: folders, descriptor sets and texts in memory, turned into the [`Unit`]s that are compiled one by one.
//!
//! A unit is what shares one descriptor pool: a service with all its versions, or a bare set of protos. Which file imports
//! which is the business of `imports`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Place, code};
use crate::manifest::{self, Manifest};
use crate::skeleton;
use crate::upgrade::file::{self as upgrade_file, UpgradeFile};

/// Most files of one source, deepest folder, and largest file in bytes.
const FILES_MAX: usize = 20_000;
const DEPTH_MAX: usize = 32;
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Something that schemas are loaded from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder; see the crate's documentation for what may be in it. Services may be nested at any depth.
    Folder(PathBuf),
    /// A binary `google.protobuf.FileDescriptorSet`, as `buf build` or `protoc` write it.
    DescriptorSet(PathBuf),
    /// The same, in memory; `name` is for diagnostics.
    DescriptorBytes { name: String, bytes: Vec<u8> },
    /// Texts in memory: `(path, text)` of protos and of `upgrades/<from>-<to>.yaml`, and the text of `service.yaml` if there is one.
    Files { service_yaml: Option<String>, files: Vec<(String, String)> },
}

/// What is compiled together.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    /// For diagnostics: the folder or file.
    pub(crate) label: String,
    /// `None` for protos without a manifest.
    pub(crate) manifest: Option<Manifest>,
    pub(crate) upgrades: Vec<UpgradeFile>,
    pub(crate) protos: Vec<ProtoText>,
    pub(crate) descriptor_sets: Vec<(String, Vec<u8>)>,
    /// Where on disk imports may be looked up, the folder that was given; `None` if there is no disk behind.
    pub(crate) root: Option<PathBuf>,
}

/// A proto file of the unit itself.
#[derive(Debug)]
pub(crate) struct ProtoText {
    /// `/`-separated; on disk, the path by which it can be opened.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Finds the units of a source.
pub(crate) fn units(source: &Source, problems: &mut Vec<Diagnostic>) -> Vec<Unit> {
    match source {
        Source::Folder(folder) => folder_units(folder, problems),
        Source::DescriptorSet(path) => read_bytes(path, problems)
            .map(|bytes| descriptor_unit(path.to_string_lossy().into_owned(), bytes))
            .into_iter()
            .collect(),
        Source::DescriptorBytes { name, bytes } => {
            vec![descriptor_unit(name.clone(), bytes.clone())]
        }
        Source::Files { service_yaml, files } => {
            files_unit(service_yaml.as_deref(), files, problems)
        }
    }
}

fn descriptor_unit(label: String, bytes: Vec<u8>) -> Unit {
    Unit { descriptor_sets: vec![(label.clone(), bytes)], label, ..Unit::default() }
}

fn files_unit(
    service_yaml: Option<&str>,
    files: &[(String, String)],
    problems: &mut Vec<Diagnostic>,
) -> Vec<Unit> {
    let manifest = match service_yaml {
        Some(text) => match manifest::parse("service.yaml", text, problems) {
            Some(manifest) => Some(manifest),
            None => return Vec::new(),
        },
        None => None,
    };
    let (upgrades, protos): (Vec<_>, Vec<_>) =
        files.iter().partition(|(path, _)| is_upgrade(Path::new(path)));
    let upgrades =
        upgrades.into_iter().map(|(path, text)| upgrade_file::parse(path, text, problems));
    let upgrades = upgrades.collect();
    let proto =
        |(path, text): &(String, String)| ProtoText { path: path.clone(), text: text.clone() };
    let protos = protos.into_iter().map(proto).collect();
    vec![Unit { label: "files".to_owned(), manifest, upgrades, protos, ..Unit::default() }]
}

/// What a walk through a folder found, by kind of file, in order of path.
#[derive(Default)]
struct Found {
    manifests: Vec<PathBuf>,
    skeletons: Vec<PathBuf>,
    upgrades: Vec<PathBuf>,
    protos: Vec<PathBuf>,
    descriptor_sets: Vec<PathBuf>,
}

fn folder_units(folder: &Path, problems: &mut Vec<Diagnostic>) -> Vec<Unit> {
    let label = folder.to_string_lossy().into_owned();
    let mut found = Found::default();
    if let Err(problem) = walk(folder, &mut found) {
        problems.push(problem);
        return Vec::new();
    }
    if found.protos.is_empty() && found.descriptor_sets.is_empty() {
        let problem = Diagnostic::error(
            code::NOTHING_FOUND,
            &Place::file(&label),
            "no proto file in this folder",
        );
        problems.push(problem.help(
            "give a folder with `service.yaml`, `.proto` files or a `.binpb` descriptor set",
        ));
        return Vec::new();
    }
    let mut homes = homes(&found, problems);
    read_upgrades(&found.upgrades, &mut homes, problems);
    let mut bare = Unit { label, ..Unit::default() };
    for path in &found.protos {
        let unit = unit_of(path, &mut homes, &mut bare);
        if let (Some(unit), Some(text)) = (unit, read_text(path, problems)) {
            unit.protos.push(ProtoText { path: path.to_string_lossy().into_owned(), text });
        }
    }
    for path in &found.descriptor_sets {
        let unit = unit_of(path, &mut homes, &mut bare);
        if let (Some(unit), Some(bytes)) = (unit, read_bytes(path, problems)) {
            unit.descriptor_sets.push((path.to_string_lossy().into_owned(), bytes));
        }
    }
    let has_files = !bare.protos.is_empty() || !bare.descriptor_sets.is_empty();
    let units = homes.into_values().flatten().chain(has_files.then_some(bare));
    units.map(|unit| Unit { root: Some(folder.to_owned()), ..unit }).collect()
}

/// The unit of each folder with a manifest or skeletons; `None` if these cannot be read, so that its files are not taken for bare.
fn homes(found: &Found, problems: &mut Vec<Diagnostic>) -> BTreeMap<PathBuf, Option<Unit>> {
    let mut homes = BTreeMap::new();
    for path in found.skeletons.iter().chain(&found.manifests) {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        homes.insert(folder, None);
    }
    for (folder, unit) in &mut homes {
        let service = found.manifests.iter().find(|path| path.parent() == Some(folder));
        let manifest = match service {
            Some(path) => read_text(path, problems)
                .and_then(|text| manifest::parse(&path.to_string_lossy(), &text, problems)),
            None => skeletons(folder, found, problems),
        };
        *unit = manifest.map(|manifest| Unit {
            label: manifest.file.clone(),
            manifest: Some(manifest),
            ..Unit::default()
        });
    }
    homes
}

/// Adds upgrade files to the units beside whose manifests they lie; others are nothing of ours.
fn read_upgrades(
    paths: &[PathBuf],
    homes: &mut BTreeMap<PathBuf, Option<Unit>>,
    problems: &mut Vec<Diagnostic>,
) {
    for path in paths {
        let home = path.parent().and_then(Path::parent);
        let unit = home.and_then(|home| homes.get_mut(home)).and_then(Option::as_mut);
        let Some(unit) = unit else { continue };
        let shown = path.to_string_lossy();
        unit.upgrades.push(match read_text(path, problems) {
            Some(text) => upgrade_file::parse(&shown, &text, problems),
            None => UpgradeFile::unreadable(&shown),
        });
    }
}

/// Whether a file is `upgrades/<something>.yaml`.
fn is_upgrade(path: &Path) -> bool {
    let text =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let folder = text(path.parent().and_then(Path::file_name));
    let name = text(path.file_name());
    matches!((folder, name), (Some(folder), Some(name)) if upgrade_file::is_upgrade(&folder, &name))
}

/// The nearest folder above the file that is a home, or the bare rest.
fn unit_of<'a>(
    path: &Path,
    homes: &'a mut BTreeMap<PathBuf, Option<Unit>>,
    bare: &'a mut Unit,
) -> Option<&'a mut Unit> {
    match path.ancestors().find(|folder| homes.contains_key(*folder)) {
        Some(home) => homes.get_mut(home)?.as_mut(),
        None => Some(bare),
    }
}

fn skeletons(folder: &Path, found: &Found, problems: &mut Vec<Diagnostic>) -> Option<Manifest> {
    let mut manifests = Vec::new();
    for path in found.skeletons.iter().filter(|path| path.parent() == Some(folder)) {
        let text = read_text(path, problems);
        manifests.extend(
            text.and_then(|text| skeleton::parse(&path.to_string_lossy(), &text, problems)),
        );
    }
    let mut merged = skeleton::merge(manifests);
    for other in merged.iter().skip(1) {
        let message =
            format!("skeletons of two services in one folder: \"{}\" is left out", other.name);
        let help = "put the skeletons and protos of each service into a folder of their own";
        let problem =
            Diagnostic::error(code::DUPLICATE_SERVICE, &Place::file(&other.file), message);
        problems.push(problem.help(help));
    }
    merged.truncate(1);
    merged.pop()
}

/// Walks a folder without recursion, names in order. Hidden folders and `node_modules` are passed over.
fn walk(folder: &Path, found: &mut Found) -> Result<(), Diagnostic> {
    let mut folders = vec![(folder.to_owned(), 0)];
    let mut count = 0;
    while let Some((folder, depth)) = folders.pop() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(&folder)
            .map_err(|error| unreadable(&folder, &error))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        entries.sort();
        for path in entries {
            count += 1;
            if count > FILES_MAX {
                let message = format!("more than {FILES_MAX} files in one folder tree");
                return Err(Diagnostic::error(
                    code::TOO_LARGE,
                    &Place::file(folder.to_string_lossy()),
                    message,
                ));
            }
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if path.is_dir() {
                let skip = name.starts_with('.') || name == "node_modules";
                if !skip && depth < DEPTH_MAX {
                    folders.push((path, depth + 1));
                }
            } else {
                sort_out(path, &name, found);
            }
        }
    }
    let Found { manifests, skeletons, upgrades, protos, descriptor_sets } = found;
    for list in [manifests, skeletons, upgrades, protos, descriptor_sets] {
        list.sort();
    }
    Ok(())
}

fn sort_out(path: PathBuf, name: &str, found: &mut Found) {
    match () {
        () if name == "service.yaml" || name == "service.yml" => found.manifests.push(path),
        () if skeleton::is_skeleton(name) => found.skeletons.push(path),
        () if is_upgrade(&path) => found.upgrades.push(path),
        () if name.ends_with(".proto") => found.protos.push(path),
        () if name.ends_with(".binpb") => found.descriptor_sets.push(path),
        () => {}
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    let place = Place::file(path.to_string_lossy());
    Diagnostic::error(code::UNREADABLE, &place, format!("cannot be read: {error}"))
}

fn read_bytes(path: &Path, problems: &mut Vec<Diagnostic>) -> Option<Vec<u8>> {
    let size = std::fs::metadata(path).map(|metadata| metadata.len());
    match size.and_then(|size| {
        if size > FILE_BYTES_MAX { Ok(None) } else { std::fs::read(path).map(Some) }
    }) {
        Ok(Some(bytes)) => return Some(bytes),
        Ok(None) => {
            let message = format!("the file is larger than {FILE_BYTES_MAX} bytes");
            problems.push(Diagnostic::error(
                code::TOO_LARGE,
                &Place::file(path.to_string_lossy()),
                message,
            ));
        }
        Err(error) => problems.push(unreadable(path, &error)),
    }
    None
}

/// The text of a file; `None`, with a diagnostic, if it cannot be read or is not UTF-8.
pub(crate) fn read_text(path: &Path, problems: &mut Vec<Diagnostic>) -> Option<String> {
    let bytes = read_bytes(path, problems)?;
    let text = String::from_utf8(bytes);
    if text.is_err() {
        let place = Place::file(path.to_string_lossy());
        problems.push(Diagnostic::error(code::UNREADABLE, &place, "the file is not UTF-8"));
    }
    text.ok()
}
