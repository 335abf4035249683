//! Which file an import means, and what each file is called in the descriptor pool.
//!
//! A file is called after its package, `example/devices/v1/device.proto` for `device.proto` with `package example.devices.v1`,
//! wherever it lies: so files of several services never clash when all are shown together. An import is looked up, in this order:
//! the compiler's own (`google/protobuf/*`), the unit's files by that name, by the end of their path (the nearest first), on disk from
//! the importing folder up to the folder that was given and from the roots that other imports prove, and the shipped protos.
//! Statements that spell a file otherwise than it is called are rewritten before compiling.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::descriptors;
use crate::diagnostic::{Diagnostic, Place, code};
use crate::header::{self, Header};
use crate::shipped;
use crate::source::{self, Unit};

/// Most files that one unit may pull in from outside of itself.
const OUTSIDE_MAX: usize = 5_000;

/// The files of a unit and all that they import, by the name that they have in the pool.
#[derive(Debug, Default)]
pub(crate) struct FileSet {
    pub(crate) files: BTreeMap<String, Entry>,
    /// Names of the unit's own files.
    pub(crate) own: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    /// As the user knows the file.
    pub(crate) display: String,
    pub(crate) package: String,
    pub(crate) content: Content,
    /// Names of imported files, those of the compiler left out.
    pub(crate) imports: Vec<String>,
    /// An import was not found: compiling is of no use.
    pub(crate) incomplete: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Text(String),
    /// An encoded `FileDescriptorProto`, with its custom options.
    Encoded(Vec<u8>),
}

/// The files that the compiler brings along, all under `google/protobuf/`.
const BUILT_IN: [&str; 12] = [
    "any.proto",
    "api.proto",
    "compiler/plugin.proto",
    "descriptor.proto",
    "duration.proto",
    "empty.proto",
    "field_mask.proto",
    "source_context.proto",
    "struct.proto",
    "timestamp.proto",
    "type.proto",
    "wrappers.proto",
];

/// Whether the compiler brings this file along.
pub(crate) fn is_built_in(name: &str) -> bool {
    name.strip_prefix("google/protobuf/").is_some_and(|name| BUILT_IN.contains(&name))
}

/// Finds all files of a unit.
pub(crate) fn resolve(unit: &Unit, problems: &mut Vec<Diagnostic>) -> FileSet {
    let mut set = FileSet::default();
    for (label, bytes) in &unit.descriptor_sets {
        descriptors::add(label, bytes, &mut set, problems);
    }
    let mut finder = Finder::new(unit, &set);
    finder.run(problems);
    for (at, file) in finder.files.into_iter().enumerate() {
        if at < unit.protos.len() {
            set.own.insert(file.name.clone());
        }
        set.files.entry(file.name.clone()).or_insert(file.entry);
    }
    descriptors::complete(&mut set);
    set
}

/// A file on the way into the set.
struct Found {
    name: String,
    path: String,
    header: Header,
    entry: Entry,
}

struct Finder<'a> {
    unit: &'a Unit,
    described: &'a FileSet,
    /// The unit's own first, then what they import.
    files: Vec<Found>,
    by_name: BTreeMap<String, usize>,
    by_path: BTreeMap<String, usize>,
    /// By the last part of the path, the unit's own only.
    by_file_name: BTreeMap<String, Vec<usize>>,
    roots: BTreeSet<PathBuf>,
}

/// What an import turned out to be.
enum Target {
    /// The compiler has it.
    BuiltIn,
    /// It is in the set under this name.
    Named(String),
    Missing,
}

impl<'a> Finder<'a> {
    fn new(unit: &'a Unit, described: &'a FileSet) -> Self {
        let mut finder = Finder {
            unit,
            described,
            files: Vec::new(),
            by_name: BTreeMap::new(),
            by_path: BTreeMap::new(),
            by_file_name: BTreeMap::new(),
            roots: BTreeSet::new(),
        };
        for proto in &unit.protos {
            let at = finder.add(&proto.path, &proto.text);
            let file_name = proto.path.rsplit('/').next().unwrap_or_default().to_owned();
            finder.by_file_name.entry(file_name).or_default().push(at);
        }
        finder.find_roots();
        finder
    }

    fn add(&mut self, path: &str, text: &str) -> usize {
        let header = header::scan(text);
        let name = self.name_for(path, &header.package);
        let entry = Entry {
            display: path.to_owned(),
            package: header.package.clone(),
            content: Content::Text(text.to_owned()),
            imports: Vec::new(),
            incomplete: false,
        };
        let at = self.files.len();
        self.by_name.insert(name.clone(), at);
        self.by_path.insert(path.to_owned(), at);
        self.files.push(Found { name, path: path.to_owned(), header, entry });
        at
    }

    /// The package as a path with the file's name; with as much of the folders as it takes to be the only one.
    fn name_for(&self, path: &str, package: &str) -> String {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let folder = package.replace('.', "/");
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let taken = |name: &String| {
            self.by_name.contains_key(name)
                || self.described.files.contains_key(name)
                || is_built_in(name)
        };
        let candidates = (1..=parts.len())
            .map(|take| format!("{prefix}{}", parts[parts.len() - take..].join("/")));
        let mut candidates = candidates.filter(|name| !taken(name));
        candidates.next().unwrap_or_else(|| format!("{prefix}{}/{path}", self.files.len()))
    }

    /// A folder is a root if an import, or a package, leads from it to a file of the unit.
    fn find_roots(&mut self) {
        let mut roots = BTreeSet::new();
        for (at, file) in self.files.iter().enumerate() {
            let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let package = file.header.package.replace('.', "/");
            if let Some(root) = folder.strip_suffix(&package).filter(|_| !package.is_empty()) {
                roots.insert(PathBuf::from(root));
            }
            for import in &file.header.imports {
                let Some(target) = self.by_path_end(&import.name, at) else { continue };
                if let Some(root) = self.files[target].path.strip_suffix(&import.name) {
                    roots.insert(PathBuf::from(root));
                }
            }
        }
        self.roots = roots;
    }

    fn run(&mut self, problems: &mut Vec<Diagnostic>) {
        let mut at = 0;
        while at < self.files.len() {
            let header = self.files[at].header.clone();
            let mut names = Vec::new();
            let mut incomplete = false;
            for import in &header.imports {
                match self.target(&import.name, at) {
                    Target::BuiltIn => names.push(None),
                    Target::Named(name) => names.push(Some(name)),
                    Target::Missing => {
                        incomplete = true;
                        names.push(None);
                        problems.push(self.missing(at, &import.name, import.range.start));
                    }
                }
            }
            self.rewrite(at, &header, &names);
            let entry = &mut self.files[at].entry;
            entry.incomplete = incomplete;
            entry.imports = names.into_iter().flatten().collect();
            at += 1;
        }
    }

    fn missing(&self, at: usize, import: &str, offset: usize) -> Diagnostic {
        let file = &self.files[at];
        let text = if let Content::Text(text) = &file.entry.content { text } else { "" };
        let place = Place::of_offset(&file.path, text, offset);
        let message = format!("imported file \"{import}\" was not found");
        Diagnostic::error(code::MISSING_FILE, &place, message).help(
            "put it into the service's folder or a folder above, under the path of the import; files of google/api, \
             google/rpc, google/type, google/longrunning and goten/types are part of Bowline",
        )
    }

    fn rewrite(&mut self, at: usize, header: &Header, names: &[Option<String>]) {
        let Content::Text(text) = &mut self.files[at].entry.content else { return };
        for (import, name) in header.imports.iter().zip(names).rev() {
            if let Some(name) = name.as_ref().filter(|name| **name != import.name) {
                text.replace_range(import.range.clone(), name);
            }
        }
    }

    fn target(&mut self, import: &str, from: usize) -> Target {
        if is_built_in(import) {
            return Target::BuiltIn;
        }
        let own = self.by_name.get(import).copied().or_else(|| self.by_path_end(import, from));
        if let Some(at) = own {
            return Target::Named(self.files[at].name.clone());
        }
        if self.described.files.contains_key(import) {
            return Target::Named(import.to_owned());
        }
        match self.on_disk(import, from).or_else(|| self.shipped(import)) {
            Some(at) => Target::Named(self.files[at].name.clone()),
            None => Target::Missing,
        }
    }

    /// The own file whose path ends with the import; of several, the one that shares the most folders with the importer.
    fn by_path_end(&self, import: &str, from: usize) -> Option<usize> {
        let file_name = import.rsplit('/').next()?;
        let importer = &self.files.get(from)?.path;
        let shared = |at: usize| {
            let pairs = self.files[at].path.split('/').zip(importer.split('/'));
            pairs.take_while(|(a, b)| a == b).count()
        };
        let ends = |at: &usize| {
            let rest = self.files[*at].path.strip_suffix(import);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        let candidates = self.by_file_name.get(file_name)?.iter().copied();
        // Of equally near ones the first by path, so that the answer does not change from run to run.
        candidates.filter(ends).max_by_key(|at| (shared(*at), usize::MAX - *at))
    }

    fn on_disk(&mut self, import: &str, from: usize) -> Option<usize> {
        let root = self.unit.root.clone()?;
        let plain = Path::new(import)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain || self.files.len() > self.unit.protos.len() + OUTSIDE_MAX {
            return None;
        }
        let folder =
            PathBuf::from(self.files[from].path.rsplit_once('/').map_or("", |(folder, _)| folder));
        let above =
            folder.ancestors().take_while(|folder| folder.starts_with(&root)).map(Path::to_owned);
        let candidates: Vec<PathBuf> = above.chain(self.roots.iter().cloned()).collect();
        let path =
            candidates.into_iter().map(|root| root.join(import)).find(|path| path.is_file())?;
        let text_path = path.to_string_lossy().into_owned();
        if let Some(at) = self.by_path.get(&text_path) {
            return Some(*at);
        }
        let text = source::read_text(&path, &mut Vec::new())?;
        Some(self.add(&text_path, &text))
    }

    fn shipped(&mut self, import: &str) -> Option<usize> {
        let name = shipped::alias(import).unwrap_or_else(|| import.to_owned());
        if let Some(at) = self.by_path.get(&name) {
            return Some(*at);
        }
        let text = shipped::text(&name)?;
        Some(self.add(&name, text))
    }
}

#[cfg(test)]
mod tests {
    use protox::file::{FileResolver, GoogleFileResolver};

    use super::*;

    #[test]
    fn the_compiler_has_what_it_is_said_to_have() {
        for name in BUILT_IN {
            assert!(
                GoogleFileResolver::new().open_file(&format!("google/protobuf/{name}")).is_ok(),
                "{name}"
            );
        }
        assert!(!is_built_in("google/protobuf/cpp_features.proto"));
    }
}
