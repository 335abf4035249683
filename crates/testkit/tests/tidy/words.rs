//! Words that must not be committed: paths of somebody's machine, hosts of registries, unfinished work.

use crate::files::Tree;

/// This file and its like name what they look for.
const EXEMPT: &[&str] = &["crates/testkit/tests/tidy/words.rs"];

/// In any file.
const ANYWHERE: &[(&str, &str)] = &[
    ("/work/", "a path of one machine"),
    ("/home/", "a path of one machine"),
    ("/root/", "a path of one machine"),
    ("/Users/", "a path of one machine"),
    ("registry.npmjs.org", "a registry's host; name the package"),
    ("files.pythonhosted.org", "a registry's host; name the package"),
    ("pypi.org/simple", "a registry's host; name the package"),
    ("static.crates.io", "a registry's host; name the package"),
    ("deb.debian.org", "a registry's host; name the package"),
    ("<<<<<<< ", "a conflict of a merge"),
];

/// In Rust sources.
const IN_CODE: &[(&str, &str)] = &[
    ("todo!(", "unfinished"),
    ("unimplemented!(", "unfinished"),
    ("dbg!(", "left from debugging"),
    ("FIXME", "file an issue, or do it"),
    ("TODO", "file an issue, or do it"),
    ("XXX", "file an issue, or do it"),
    ("pub use self::*", "names need an address"),
    ("#[ignore", "a test that does not run is none"),
];

pub(crate) fn found(tree: &Tree) -> Vec<String> {
    let files = tree.files.iter().filter(|f| !EXEMPT.contains(&f.path.as_str()));
    files
        .flat_map(|file| {
            let code = if file.path.ends_with(".rs") { IN_CODE } else { &[] };
            let lines = (1..).zip(file.text.lines());
            lines.flat_map(move |(at, line)| {
                let bad = ANYWHERE.iter().chain(code).filter(|(word, _)| line.contains(word));
                bad.map(move |(word, why)| format!("{}:{at}: `{word}`: {why}", file.path))
                    .collect::<Vec<_>>()
            })
        })
        .collect()
}
