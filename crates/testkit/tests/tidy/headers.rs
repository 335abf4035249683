//! Every source file has a header, and belongs to a crate.

use crate::files::{File, Tree};

pub(crate) fn missing(tree: &Tree) -> Vec<String> {
    let silent = |f: &&File| !f.text.starts_with("//! ");
    tree.with_extension("rs").filter(silent).map(|f| format!("{}:1: no header", f.path)).collect()
}

/// Files below a `src` or `tests` folder that no other file declares as a module.
pub(crate) fn orphans(tree: &Tree) -> Vec<String> {
    tree.with_extension("rs")
        .filter(|f| !is_crate_root(&f.path))
        .filter(|f| !is_declared(tree, f))
        .map(|f| format!("{}: belongs to no crate", f.path))
        .collect()
}

/// Files that cargo itself finds.
fn is_crate_root(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else { return true };
    let folder_name = folder.rsplit('/').next().unwrap_or(folder);
    matches!(name, "lib.rs" | "main.rs" | "build.rs")
        || matches!(folder_name, "bin" | "tests" | "examples" | "benches" | "fuzz_targets")
}

/// `a/b.rs` and `a/b/mod.rs` are declared in `a.rs`, `a/mod.rs`, or a crate's root in `a`.
fn is_declared(tree: &Tree, file: &File) -> bool {
    let stem = file.path.trim_end_matches(".rs").trim_end_matches("/mod");
    let Some((folder, module)) = stem.rsplit_once('/') else { return true };
    let declaration = [format!("mod {module};"), format!("mod r#{module};")];
    let declares = |parent: &&File| {
        // Each file of a `tests` folder is a crate of its own, which may declare what lies beside it.
        let beside = parent.folder() == folder && is_crate_root(&parent.path);
        let above =
            parent.path == format!("{folder}/mod.rs") || parent.path == format!("{folder}.rs");
        (beside || above) && declaration.iter().any(|words| parent.text.contains(words.as_str()))
    };
    tree.with_extension("rs").any(|parent| declares(&parent))
}
