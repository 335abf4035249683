//! Finding packages: folders with protos that define resources, and which kinds these files declare.
//!
//! Kinds are read from the text, apart from the loader, so that a type that the loader loses shows as a failure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a resource definition begins with.
const OPTION: &str = "option (google.api.resource)";

/// A folder of protos.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Relative to the folder that was searched: `google/cloud/secretmanager/v1`.
    pub name: String,
    pub folder: PathBuf,
    /// `secretmanager.googleapis.com/Secret`, of the files in the folder itself.
    pub kinds: BTreeSet<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("read {}", path.display())]
pub struct DiscoverError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Every package below `root`, by name. Symbolic links are not followed.
///
/// # Errors
/// A folder or file cannot be read.
pub fn packages(root: &Path) -> Result<Vec<Package>, DiscoverError> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |source| DiscoverError { path: folder.clone(), source };
        let mut kinds = BTreeSet::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let file_type = entry.file_type().map_err(failed)?;
            if file_type.is_dir() {
                folders.push(path);
            } else if file_type.is_file() && path.extension().is_some_and(|e| e == "proto") {
                let read = std::fs::read(&path);
                let text = read.map_err(|source| DiscoverError { path: path.clone(), source })?;
                kinds.extend(declared(&String::from_utf8_lossy(&text)));
            }
        }
        if !kinds.is_empty() {
            let name = folder.strip_prefix(root).unwrap_or(&folder).to_string_lossy().into_owned();
            found.push(Package { name, folder, kinds });
        }
    }
    found.sort();
    Ok(found)
}

/// Kinds of the messages that a file annotates, without what stands in comments.
fn declared(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let options = code.match_indices(OPTION).map(|(at, _)| &code[at + OPTION.len()..]);
    options.filter_map(kind).collect()
}

/// The first string after `type:` or `.type =`.
fn kind(option: &str) -> Option<String> {
    let value = &option[option.find("type")?..];
    let mut quoted = value.splitn(3, '"');
    quoted.next()?;
    quoted.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_messages_and_not_of_comments() {
        let text = r#"
            //  option (google.api.resource) = { type: "a.example.com/Comment" };
            option (google.api.resource_definition) = { type: "a.example.com/Definition" };
            message A {
              option (google.api.resource) = {
                pattern: "as/{a}"
                type: "a.example.com/A"
              };
            }
            message B { option (google.api.resource).type = "a.example.com/B"; }
        "#;
        let kinds: Vec<_> = declared(text).into_iter().collect();
        assert_eq!(kinds, ["a.example.com/A", "a.example.com/B"]);
    }

    #[test]
    fn only_folders_with_resources_are_packages() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("x/v1");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(root.path().join("x/plain.proto"), "message A {}").unwrap();
        let text = "message A { option (google.api.resource) = { type: \"x.example.com/A\" }; }";
        std::fs::write(folder.join("a.proto"), text).unwrap();
        let found = packages(root.path()).unwrap();
        assert_eq!(found.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["x/v1"]);
    }
}
