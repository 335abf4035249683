//! The one place that knows the YAML library: text to typed values, with places for what is wrong.

use serde::de::DeserializeOwned;

use crate::diagnostic::{Diagnostic, Place, code};

/// Largest manifest that is read, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// Reads one document. Keys that the type does not have are the type's own business (`#[serde(flatten)]`).
///
/// # Errors
/// One diagnostic, at the place that the parser complains about.
pub(crate) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Diagnostic> {
    if text.len() > BYTES_MAX {
        let message = format!("the manifest is larger than {BYTES_MAX} bytes");
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
