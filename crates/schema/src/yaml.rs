//! The one place that knows the YAML library: text to typed values, with places for what is wrong.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::diagnostic::{Diagnostic, Place, code};

/// Largest manifest that is read, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// Reads one document. Keys that the type does not have are the type's own business (`#[serde(flatten)]`).
///
/// # Errors
/// One diagnostic, at the place that the parser complains about.
pub(crate) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Diagnostic> {
    if text.len() > BYTES_MAX {
        let message = format!("the file is larger than {BYTES_MAX} bytes");
        return Err(Diagnostic::error(code::TOO_LARGE, &Place::file(file), message));
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map_or_else(
            || Place::file(file),
            |at| Place::at(file, at.line() as usize, at.column() as usize),
        );
        let text = error.to_string();
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("not valid YAML");
        Diagnostic::error(code::BAD_MANIFEST, &place, first.trim().trim_start_matches("error: "))
    })
}

/// Keys that a type does not have, kept aside with `#[serde(flatten)]` so that all of them can be reported.
pub(crate) type Extra = BTreeMap<String, IgnoredAny>;

/// The text of a file, to find the place of a key. The parser gives no places for keys that are only kept aside.
pub(crate) struct Text<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
    /// Where the keys are listed, for those that nobody knows.
    pub(crate) help: &'static str,
}

impl Text<'_> {
    /// The place of a key, found by walking down the path line by line; where the path is lost, the last place that was found,
    /// and the whole file if there is none. The first key is one at the beginning of a line if there is one; a key that is repeated in
    /// the path is the next one of that name.
    pub(crate) fn place(&self, path: &[&str]) -> Place {
        let mut found = Place::file(self.file);
        let mut from = 0;
        for key in path {
            let hits = || {
                let hits = self.text[from..].match_indices(key).map(|(at, _)| from + at);
                hits.filter(|at| self.is_key(*at, key))
            };
            let at_top = |at: &usize| from == 0 && (*at == 0 || self.text[..*at].ends_with('\n'));
            let Some(at) = hits().find(at_top).or_else(|| hits().next()) else { break };
            found = Place::of_offset(self.file, self.text, at);
            from = at + key.len();
        }
        found
    }

    fn is_key(&self, at: usize, key: &str) -> bool {
        let boundary =
            |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && !"_-.".contains(c));
        let after = self.text[at + key.len()..].trim_start_matches(['"', '\'', ' ']);
        boundary(self.text[..at].chars().next_back()) && after.starts_with(':')
    }

    /// Reports the keys that nothing reads.
    pub(crate) fn refuse(&self, extra: &Extra, parent: &[&str], problems: &mut Vec<Diagnostic>) {
        for key in extra.keys() {
            let path: Vec<&str> = parent.iter().copied().chain([key.as_str()]).collect();
            let message = format!("unknown key \"{key}\"");
            problems.push(
                Diagnostic::error(code::UNKNOWN_KEY, &self.place(&path), message).help(self.help),
            );
        }
    }
}
