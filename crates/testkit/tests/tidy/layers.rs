//! The order of the crates, and one place for the versions of what they depend on.

use crate::files::{File, Tree};

/// A crate uses only crates before it in this list; the same list is in ARCHITECTURE.md.
const ORDER: &[&str] = &[
    "bowline-base",
    "bowline-schema",
    "bowline-resource",
    "bowline-store",
    "bowline-postgres",
    "bowline-wire",
    "bowline-node",
    "bowline-graph",
    "bowline-control",
    "bowline-api",
    "bowline-synchronizer",
    "bowline",
    // Test and measuring only; nothing above may need them to run.
    "bowline-sim",
    "bowline-bench",
    "bowline-corpus",
    "bowline-model",
];

/// Uses `base` alone, so that every crate can use it in its tests.
const TESTKIT: &str = "bowline-testkit";

/// Starts servers to compare with as tests do.
const BENCH: &str = "bowline-bench";

/// One line of a dependency table.
struct Dependency<'a> {
    line: usize,
    name: &'a str,
    rest: &'a str,
    dev: bool,
}

pub(crate) fn violations(tree: &Tree) -> Vec<String> {
    manifests(tree)
        .flat_map(|file| {
            let package = package_name(file);
            let ours = dependencies(file).into_iter().filter(|d| is_ours(d.name));
            ours.filter_map(move |d| {
                let problem = forbidden(package, &d)?;
                Some(format!("{}:{}: {problem}", file.path, d.line))
            })
        })
        .collect()
}

pub(crate) fn unpinned(tree: &Tree) -> Vec<String> {
    manifests(tree)
        .flat_map(|file| {
            let loose = |d: &Dependency<'_>| !d.rest.contains("workspace = true");
            let loose = dependencies(file).into_iter().filter(loose);
            loose.map(|d| format!("{}:{}: {}", file.path, d.line, d.name)).collect::<Vec<_>>()
        })
        .collect()
}

fn forbidden(package: &str, dependency: &Dependency<'_>) -> Option<String> {
    if dependency.name == TESTKIT {
        let may = dependency.dev || package == BENCH;
        return (!may).then(|| format!("{TESTKIT} is for tests and benches only"));
    }
    if package == TESTKIT {
        let base = dependency.name == "bowline-base";
        return (!base).then(|| format!("{TESTKIT} uses only bowline-base"));
    }
    let place = |name: &str| ORDER.iter().position(|n| *n == name);
    match (place(package), place(dependency.name)) {
        // What is not in the list (examples) may use everything.
        (None, _) => None,
        (Some(_), None) => Some(format!("{} is not in the list of crates", dependency.name)),
        (Some(user), Some(used)) => {
            (used >= user).then(|| format!("{package} must not use {}", dependency.name))
        }
    }
}

fn is_ours(name: &str) -> bool {
    name == "bowline" || name.starts_with("bowline-")
}

/// Manifests of packages; the workspace's own has no package. A fuzz folder is a workspace of its own.
fn manifests(tree: &Tree) -> impl Iterator<Item = &File> {
    let package = |f: &&File| f.path.ends_with("Cargo.toml") && f.text.contains("[package]");
    tree.files.iter().filter(package).filter(|f| !f.text.contains("[workspace]"))
}

fn package_name(file: &File) -> &str {
    let name = file.text.lines().find_map(|line| line.strip_prefix("name = \""));
    name.map_or("", |name| name.trim_end_matches('"'))
}

fn dependencies(file: &File) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let mut table = "";
    for (line, text) in (1..).zip(file.text.lines()) {
        if text.starts_with('[') {
            table = text.trim_matches(['[', ']']);
        } else if table.ends_with("dependencies")
            && let Some(end) = text.find([' ', '.', '='])
            && !text.starts_with('#')
        {
            let dev = table.ends_with("dev-dependencies");
            found.push(Dependency { line, name: &text[..end], rest: &text[end..], dev });
        }
    }
    found
}

#[test]
fn an_upward_dependency_is_found() {
    let dependency = Dependency { line: 1, name: "bowline-api", rest: "", dev: false };
    assert!(forbidden("bowline-store", &dependency).is_some());
    assert!(forbidden("bowline", &dependency).is_none());
    assert!(forbidden("embedded-example", &dependency).is_none());
}

#[test]
fn the_testkit_stays_out_of_programs_and_below_everything() {
    let at = |name, dev| Dependency { line: 1, name, rest: "", dev };
    assert!(forbidden("bowline", &at(TESTKIT, false)).is_some());
    assert!(forbidden("bowline", &at(TESTKIT, true)).is_none());
    assert!(forbidden(TESTKIT, &at("bowline-store", true)).is_some());
}
