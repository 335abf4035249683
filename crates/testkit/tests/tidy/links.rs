//! Links in documents and module headers lead to files, and anchors to headings, that exist.

use std::collections::BTreeSet;

use crate::files::{File, Tree};

/// Paths in backticks that start so are meant as files of this repository.
const OUR_FOLDERS: &[&str] = &["crates/", "docs/", "examples/", "proto/", "tests/"];

pub(crate) fn broken(tree: &Tree) -> Vec<String> {
    let documents = tree.with_extension("md").flat_map(|file| {
        let lines = (1..).zip(file.text.lines());
        lines.flat_map(|(at, line)| broken_in(tree, file, at, line)).collect::<Vec<_>>()
    });
    let headers = tree.with_extension("rs").flat_map(|file| {
        let header = |line: &str| line.trim_start().starts_with("//!");
        let lines = (1..).zip(file.text.lines()).filter(|(_, line)| header(line));
        lines.flat_map(|(at, line)| broken_in(tree, file, at, line)).collect::<Vec<_>>()
    });
    documents.chain(headers).collect()
}

fn broken_in(tree: &Tree, file: &File, at: usize, line: &str) -> Vec<String> {
    let links = link_targets(line).filter(|target| !exists(tree, file, target));
    let paths = backticked(line).filter(|path| !path_exists(tree, file, path));
    links.chain(paths).map(|target| format!("{}:{at}: {target}", file.path)).collect()
}

/// What stands in `](...)`, without links to other sites.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let ends = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(target, _)| target).filter(|target| {
        let elsewhere = target.contains("://") || target.starts_with("mailto:");
        // In headers of source files, a name is a link to Rust's documentation.
        let item = target.contains("::") || !target.contains(['/', '.', '#']);
        !elsewhere && !item
    })
}

/// Paths of this repository in backticks; those with placeholders are only forms of paths.
fn backticked(line: &str) -> impl Iterator<Item = &str> {
    let inside = line.split('`').skip(1).step_by(2);
    inside.filter(|text| {
        let ours = OUR_FOLDERS.iter().any(|folder| text.starts_with(folder));
        ours && !text.contains(['<', '*', '{', ' ', '…']) && !text.contains("NAME")
    })
}

fn exists(tree: &Tree, from: &File, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(p, a)| (p, Some(a)));
    let Some(path) = resolve(from, path) else { return false };
    match anchor {
        None => tree.root.join(&path).exists(),
        Some(anchor) => tree.find(&path).is_some_and(|f| anchors(f).contains(anchor)),
    }
}

/// Paths in backticks count from the root, or from the crate of the file.
fn path_exists(tree: &Tree, from: &File, path: &str) -> bool {
    let in_crate = from.path.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
    tree.root.join(path).exists() || tree.root.join(in_crate).join(path).exists()
}

/// `path` from the folder of `from`; `None` if it leaves the repository.
fn resolve(from: &File, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(from.path.clone());
    }
    let mut parts: Vec<&str> = from.folder().split('/').filter(|p| !p.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Anchors of a document's headings, as code hosts make them.
fn anchors(file: &File) -> BTreeSet<String> {
    let headings = file.text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn anchors_are_made_as_code_hosts_make_them() {
    assert_eq!(anchor("Filters, order & pages"), "filters-order--pages");
    assert_eq!(anchor("`./x up`"), "x-up");
}

#[test]
fn a_link_is_read_from_the_folder_of_its_document() {
    let from = File { path: "docs/errors/README.md".to_owned(), text: String::new() };
    assert_eq!(resolve(&from, "../api.md").as_deref(), Some("docs/api.md"));
    assert_eq!(resolve(&from, "../../../etc/passwd"), None);
    let targets: Vec<&str> =
        link_targets("[a](../api.md#b), [c](https://d/e), [f](Self::g)").collect();
    assert_eq!(targets, ["../api.md#b"]);
}
