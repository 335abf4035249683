//! The protos that come with Bowline: the ones that every AIP proto imports, metadata, our own options, and the meta service.
//!
//! They are part of the program, so nothing has to be installed. `google/protobuf/*` are not here: the compiler has them.

use include_dir::{Dir, include_dir};

static PROTOS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../proto");

/// Where published protos import shipped files from under another name.
const ALIASES: &[(&str, &str)] =
    &[("goten-sdk/types/", "goten/types/"), ("goten-sdk/annotations/", "goten/annotations/")];

/// The text of a shipped proto by its import name, `google/api/resource.proto`.
pub fn text(name: &str) -> Option<&'static str> {
    PROTOS.get_file(name)?.contents_utf8()
}

/// Whether a shipped file is there to be imported; the others are of services that come with Bowline.
pub(crate) fn is_common(name: &str) -> bool {
    !name.starts_with("goten/meta/") && PROTOS.get_file(name).is_some()
}

/// The shipped name for an import that other tools spell differently.
pub(crate) fn alias(name: &str) -> Option<String> {
    ALIASES.iter().find_map(|(from, to)| Some(format!("{to}{}", name.strip_prefix(from)?)))
}

/// All shipped protos, as `(import name, text)`, by name.
pub fn all() -> Vec<(String, &'static str)> {
    fn visit(dir: &Dir<'static>, found: &mut Vec<(String, &'static str)>) {
        for file in dir.files() {
            if let Some(text) = file.contents_utf8() {
                found.push((file.path().to_string_lossy().into_owned(), text));
            }
        }
        // The folder is part of the program: its depth is known.
        dir.dirs().for_each(|dir| visit(dir, found));
    }
    let mut found = Vec::new();
    visit(&PROTOS, &mut found);
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_import_paths_lead_to_shipped_files() {
        let name = alias("goten-sdk/types/meta.proto").unwrap();
        assert!(text(&name).unwrap().contains("message Meta"));
    }

    #[test]
    fn every_shipped_file_says_its_package() {
        for (name, text) in all() {
            let folder = name.rsplit_once('/').unwrap().0.replace('/', ".");
            assert!(text.contains(&format!("package {folder};")), "{name}");
        }
    }
}
