//! What an id may look like: always (any segment of a name), and for a new resource of a type.

use std::collections::HashMap;
use std::sync::{LazyLock, RwLock};

use bowline_schema::id_pattern;
use bowline_schema::model::ResourceType;
use regex::Regex;

use super::{ID_BYTES_MAX, NameError, WILDCARD};

/// Most compiled id patterns that are kept; beyond it they are compiled each time.
const ID_PATTERNS_MAX: usize = 4096;

/// Checks the id of a resource that is about to be made.
///
/// The type's own id pattern decides if it has one; otherwise letters, digits and the marks that URL paths may have.
///
/// # Errors
/// [`NameError::BadId`] with the reason.
pub fn check_new_id(ty: &ResourceType, id: &str) -> Result<(), NameError> {
    if id.is_empty() {
        return Err(refused(id, "it is empty"));
    }
    if id.len() > ID_BYTES_MAX {
        return Err(refused(id, &format!("it is longer than {ID_BYTES_MAX} bytes")));
    }
    if id == WILDCARD {
        return Err(refused(id, "a lone \"-\" stands for any id"));
    }
    if !fits_pattern(ty, id) {
        let pattern = ty.id_pattern.as_deref().unwrap_or_default();
        return Err(refused(id, &format!("it does not match {pattern}")));
    }
    if ty.id_pattern.is_none() && !is_segment(id) {
        return Err(refused(id, "it has a character that names cannot have"));
    }
    Ok(())
}

pub(super) fn refused(id: &str, problem: &str) -> NameError {
    NameError::BadId { id: super::shown(id), problem: problem.to_owned() }
}

/// Whether `text` can be a segment of any name: letters, digits, and what RFC 3986 allows in a path segment.
///
/// `*` is left out, being a wildcard of HTTP templates; `.` and `..` are, because proxies resolve them.
pub(super) fn is_segment(text: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "-._~!$&'()+,;=:@%".contains(c);
    !text.is_empty() && text != "." && text != ".." && text.chars().all(allowed)
}

/// Whether the id matches the whole of the type's id pattern; true if it has none.
pub(super) fn fits_pattern(ty: &ResourceType, id: &str) -> bool {
    match &ty.id_pattern {
        None => true,
        Some(pattern) => compiled(pattern).is_none_or(|regex| regex.is_match(id)),
    }
}

/// The anchored regexp; `None` if it does not compile, which is the schema's diagnostic, not the client's fault.
fn compiled(pattern: &str) -> Option<Regex> {
    static CACHE: LazyLock<RwLock<HashMap<String, Option<Regex>>>> = LazyLock::new(RwLock::default);
    let read = CACHE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(found) = read.get(pattern) {
        return found.clone();
    }
    drop(read);
    let regex = id_pattern::compile(pattern).ok();
    let mut write = CACHE.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    if write.len() < ID_PATTERNS_MAX {
        write.insert(pattern.to_owned(), regex.clone());
    }
    regex
}
