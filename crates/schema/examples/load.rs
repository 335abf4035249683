//! Loads folders and prints what became of them: `load FOLDER...`; `load --each FOLDER` loads every folder below that has resources.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for people, which also takes the time"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use bowline_schema::model::{Registry, Role};
use bowline_schema::{Source, diagnostic, load};

#[derive(Default)]
struct Counts {
    folders: usize,
    loaded: usize,
    types: usize,
    synthesised_types: usize,
    methods: usize,
    bound: usize,
    references: usize,
    unbound: BTreeMap<String, usize>,
    codes: BTreeMap<&'static str, usize>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let start = Instant::now();
    if arguments.first().is_some_and(|first| first == "--each") {
        let mut counts = Counts::default();
        for folder in folders_with_resources(Path::new(&arguments[1])) {
            each(&folder, &mut counts);
        }
        println!("{:?}", start.elapsed());
        report(&counts);
        return;
    }
    let sources: Vec<Source> = arguments.iter().map(|path| Source::Folder(path.into())).collect();
    let loaded = load(&sources);
    println!("{}", diagnostic::render(&loaded.diagnostics));
    println!("{:?}", start.elapsed());
    for ty in loaded.registry.all_types() {
        println!(
            "{} {} {:?}",
            ty.kind,
            ty.version,
            ty.patterns.iter().map(|p| &p.text).collect::<Vec<_>>()
        );
    }
    let mut counts = Counts::default();
    count(&loaded.registry, &mut counts);
    report(&counts);
}

fn each(folder: &Path, counts: &mut Counts) {
    counts.folders += 1;
    let loaded = load(&[Source::Folder(folder.to_owned())]);
    if !loaded.has_errors() && !loaded.registry.services.is_empty() {
        counts.loaded += 1;
    } else {
        println!("{}: {}", folder.display(), diagnostic::render(&loaded.diagnostics));
    }
    for problem in &loaded.diagnostics {
        *counts.codes.entry(problem.code).or_default() += 1;
        if std::env::var("SHOW").is_ok_and(|code| code == problem.code) {
            println!("{}:{} {}", problem.file, problem.line, problem.message);
        }
    }
    count(&loaded.registry, counts);
}

fn count(registry: &Registry, counts: &mut Counts) {
    let mut made = BTreeSet::new();
    for method in registry.methods.values() {
        counts.methods += usize::from(!method.synthesised);
        match &method.role {
            Role::Standard(binding) => {
                counts.bound += usize::from(!method.synthesised);
                if method.synthesised {
                    made.insert((binding.resource.kind.clone(), binding.resource.version.clone()));
                }
            }
            Role::Action { unbound: Some(reason) } => {
                let words: Vec<&str> = reason
                    .split_whitespace()
                    .filter(|word| !word.starts_with(['`', '"']))
                    .collect();
                *counts.unbound.entry(words.join(" ")).or_default() += 1;
            }
            Role::Action { unbound: None } => {}
        }
    }
    counts.synthesised_types += made.len();
    for ty in registry.all_types() {
        counts.types += 1;
        counts.references += ty.references.len();
    }
}

fn report(counts: &Counts) {
    let Counts { folders, loaded, types, synthesised_types, methods, bound, references, .. } =
        counts;
    println!(
        "folders {loaded}/{folders} types {types} (synthesised {synthesised_types}) methods {bound}/{methods} references {references}"
    );
    println!("unbound {:#?}\ncodes {:?}", counts.unbound, counts.codes);
}

/// Folders that have a proto with a resource in them, not counting folders below.
fn folders_with_resources(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                if text.contains("google.api.resource)") {
                    found.insert(folder.clone());
                }
            }
        }
    }
    found
}
