//! From the files of a unit to one descriptor pool, with every problem of every file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use miette::{Diagnostic as _, SourceCode};
use prost_reflect::DescriptorPool;
use protox::file::{File, FileResolver, GoogleFileResolver};

use crate::diagnostic::{Diagnostic, Place, code};
use crate::header;
use crate::imports::{Content, FileSet, is_built_in};
use crate::shipped;

/// A compiler that files can be added to after others were compiled.
pub(crate) struct Compiler {
    inner: protox::Compiler,
    files: Rc<RefCell<BTreeMap<String, Content>>>,
    /// Files that did not compile, or import one that did not.
    pub(crate) failed: BTreeSet<String>,
}

struct Files(Rc<RefCell<BTreeMap<String, Content>>>);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if is_built_in(name) {
            return GoogleFileResolver::new().open_file(name);
        }
        match self.0.borrow().get(name) {
            Some(Content::Text(text)) if shipped::text(name) == Some(text) => {
                parse_shipped(name, text)
            }
            Some(Content::Text(text)) => File::from_source(name, text),
            Some(Content::Encoded(bytes)) => {
                File::decode_file_descriptor_proto(bytes.as_slice()).map_err(protox::Error::new)
            }
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Parses a shipped file, each of which nearly every service imports, only once in the life of the program.
fn parse_shipped(name: &str, text: &str) -> Result<File, protox::Error> {
    static PARSED: Mutex<BTreeMap<String, File>> = Mutex::new(BTreeMap::new());
    let mut parsed = PARSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = parsed.get(name) {
        return Ok(file.clone());
    }
    let file = File::from_source(name, text)?;
    parsed.insert(name.to_owned(), file.clone());
    Ok(file)
}

impl Compiler {
    pub(crate) fn new() -> Self {
        let files = Rc::new(RefCell::new(BTreeMap::new()));
        let inner = protox::Compiler::with_file_resolver(Files(Rc::clone(&files)));
        Compiler { inner, files, failed: BTreeSet::new() }
    }

    /// Compiles all files of a set, imported ones first, and goes on after a file that fails.
    pub(crate) fn add_all(&mut self, set: &FileSet, problems: &mut Vec<Diagnostic>) {
        for (name, entry) in &set.files {
            self.files.borrow_mut().insert(name.clone(), entry.content.clone());
        }
        for name in in_order(set, &mut self.failed, problems) {
            let Some(entry) = set.files.get(&name) else { continue };
            let hopeless =
                entry.incomplete || entry.imports.iter().any(|import| self.failed.contains(import));
            if hopeless || !self.compile(&name, set, problems) {
                self.failed.insert(name);
            }
        }
    }

    fn compile(&mut self, name: &str, set: &FileSet, problems: &mut Vec<Diagnostic>) -> bool {
        let display = |name: &str| {
            set.files.get(name).map_or(name, |entry| entry.display.as_str()).to_owned()
        };
        let too_deep = match self.files.borrow().get(name) {
            Some(Content::Text(text)) => {
                header::too_deep(text).map(|at| Place::of_offset(display(name), text, at))
            }
            _ => None,
        };
        if let Some(place) = too_deep {
            problems.push(Diagnostic::error(code::BAD_PROTO, &place, "nested too deep"));
            return false;
        }
        match self.open(name) {
            Ok(()) => true,
            Err(error) => {
                let file = display(error.file().unwrap_or(name));
                problems.extend(to_diagnostics(&file, &error));
                false
            }
        }
    }

    /// Opens a file with the compiler, whose libraries panic on some malformed descriptors: a panic is an error like any other.
    ///
    /// After one, what was compiled so far may be half a file and is thrown away; nothing of the unit can be served.
    fn open(&mut self, name: &str) -> Result<(), protox::Error> {
        let inner = &mut self.inner;
        let opened = catch_unwind(AssertUnwindSafe(|| inner.open_file(name).map(|_| ())));
        opened.unwrap_or_else(|_| {
            self.inner = protox::Compiler::with_file_resolver(Files(Rc::default()));
            self.failed.extend(self.files.borrow().keys().cloned());
            Err(protox::Error::new(
                "the file is malformed in a way that the compiler cannot handle",
            ))
        })
    }

    /// Compiles one more file, whose imports are all known.
    pub(crate) fn add_text(&mut self, name: &str, text: &str) -> Result<(), Vec<Diagnostic>> {
        self.files.borrow_mut().insert(name.to_owned(), Content::Text(text.to_owned()));
        self.open(name).map_err(|error| to_diagnostics(name, &error))
    }

    /// Makes the shipped files known that a text imports, where the unit has no copy of its own. Those that were added, with their texts.
    pub(crate) fn add_shipped(&mut self, text: &str) -> Vec<(String, String)> {
        let imports = |text: &str| header::scan(text).imports.into_iter().map(|import| import.name);
        let mut waiting: Vec<String> = imports(text).collect();
        let mut added = Vec::new();
        while let Some(name) = waiting.pop() {
            let known = is_built_in(&name) || self.files.borrow().contains_key(&name);
            let Some(text) = shipped::text(&name).filter(|_| !known) else { continue };
            waiting.extend(imports(text));
            self.files.borrow_mut().insert(name.clone(), Content::Text(text.to_owned()));
            added.push((name, text.to_owned()));
        }
        added
    }

    pub(crate) fn pool(&self) -> DescriptorPool {
        self.inner.descriptor_pool()
    }
}

/// Files in an order in which each comes after what it imports; circles are reported and left out.
fn in_order(
    set: &FileSet,
    failed: &mut BTreeSet<String>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<String> {
    let mut order = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in set.files.keys() {
        // The path down to the file that is looked at, each with the number of its imports already followed.
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((name, next)) = path.pop() {
            if done.contains(name) {
                continue;
            }
            let Some(entry) = set.files.get(name) else { continue };
            let Some(import) = entry.imports.get(next) else {
                done.insert(name);
                order.push(name.to_owned());
                continue;
            };
            path.push((name, next + 1));
            if let Some(at) = path.iter().position(|(other, _)| other == import) {
                let circle: Vec<&str> =
                    path[at..].iter().map(|(name, _)| *name).chain([import.as_str()]).collect();
                let message =
                    format!("files import each other in a circle: {}", circle.join(" -> "));
                problems.push(Diagnostic::error(
                    code::FILE_CYCLE,
                    &Place::file(&entry.display),
                    message,
                ));
                failed.extend(circle.iter().map(|name| (*name).to_owned()));
            } else if !done.contains(import.as_str()) {
                path.push((import, 0));
            }
        }
    }
    order.retain(|name| !failed.contains(name));
    order
}

fn to_diagnostics(file: &str, error: &protox::Error) -> Vec<Diagnostic> {
    let mut found = vec![to_diagnostic(file, error, error.source_code())];
    for related in error.related().into_iter().flatten() {
        found.push(to_diagnostic(
            file,
            related,
            related.source_code().or_else(|| error.source_code()),
        ));
    }
    found
}

fn to_diagnostic(
    file: &str,
    error: &dyn miette::Diagnostic,
    source: Option<&dyn SourceCode>,
) -> Diagnostic {
    let label = error.labels().and_then(|mut labels| labels.next());
    let contents =
        label.zip(source).and_then(|(label, source)| source.read_span(label.inner(), 0, 0).ok());
    let place = match contents {
        Some(contents) => Place::at(file, contents.line() + 1, contents.column() + 1),
        None => Place::file(file),
    };
    let message = error.to_string();
    let help = error.help().map(|help| help.to_string()).unwrap_or_default();
    Diagnostic::error(code::BAD_PROTO, &place, message).help(help)
}
