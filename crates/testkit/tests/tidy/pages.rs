//! One page per error reason, and no page for what is none.

use std::collections::BTreeSet;

use bowline_base::Reason;

use crate::files::Tree;

const FOLDER: &str = "docs/errors/";

/// Pages that are not about one reason: the index, and the codes of schema diagnostics.
const OTHERS: &[&str] = &["README", "schema"];

pub(crate) fn mismatches(tree: &Tree) -> Vec<String> {
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.name()).collect();
    let pages: BTreeSet<&str> = tree
        .files
        .iter()
        .filter_map(|f| f.path.strip_prefix(FOLDER)?.strip_suffix(".md"))
        .filter(|name| !OTHERS.contains(name))
        .collect();
    let index = tree.find("docs/errors/README.md").map_or("", |f| f.text.as_str());
    let missing = reasons.difference(&pages).map(|name| format!("{FOLDER}{name}.md: is missing"));
    let extra = pages.difference(&reasons).map(|name| format!("{FOLDER}{name}.md: no such reason"));
    let unlisted = reasons.iter().filter(|name| !index.contains(&format!("]({name}.md)")));
    let unlisted = unlisted.map(|name| format!("{FOLDER}README.md: does not link {name}.md"));
    missing.chain(extra).chain(unlisted).collect()
}
