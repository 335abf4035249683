//! Resource names: parsing against a type's patterns, building from parent and id, checking new ids.
//!
//! Which names a parent covers is in [`scope`], making up an id in [`generate`]. Patterns themselves belong to the
//! schema crate.

mod generate;
mod id;
mod matching;
mod scope;
mod seek;

#[cfg(test)]
mod tests;

use bowline_schema::model::ResourceType;

pub use generate::generate_id;
pub use id::check_new_id;
pub use scope::{Scope, prefix_end};
pub use seek::Seek;

use matching::Matched;

/// Longest name, in bytes, without the `//domain/` of a full name.
pub const NAME_BYTES_MAX: usize = 1024;
/// Most segments of a name; bounds the work of matching patterns that take several segments.
pub const NAME_SEGMENTS_MAX: usize = 64;
/// Longest id of a new resource, in bytes.
pub const ID_BYTES_MAX: usize = 255;
/// The id that stands for any id, in parents and filters.
pub const WILDCARD: &str = "-";

/// A name that fits its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedName {
    /// The relative name: `projects/p/devices/d`, never with a domain.
    pub text: String,
    /// Index of the pattern in the type's list.
    pub pattern: usize,
    /// The name of the parent, as it stands in the name; empty for the root.
    pub parent: String,
    /// Values of the pattern's variables, in its order.
    pub variables: Vec<(String, String)>,
}

impl ParsedName {
    /// The value of a variable of the pattern: `region` gives `eu-1`.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The full name of AIP-122: `//devices.example.com/projects/p/devices/d`.
    pub fn full(&self, ty: &ResourceType) -> String {
        format!("//{}/{}", domain(ty), self.text)
    }
}

/// Why a text is not a name (or parent, or id) of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("name is empty")]
    Empty,
    #[error("name has {bytes} bytes, at most {NAME_BYTES_MAX} are allowed")]
    TooLong { bytes: usize },
    #[error("name has {segments} segments, at most {NAME_SEGMENTS_MAX} are allowed")]
    TooManySegments { segments: usize },
    #[error("segment \"{segment}\" of the name is empty or has a character that names cannot have")]
    BadSegment { segment: String },
    #[error("full name is of \"{domain}\", expected \"{expected}\"")]
    WrongDomain { domain: String, expected: String },
    #[error("\"{name}\" has a wildcard where one resource must be named")]
    Wildcard { name: String },
    #[error("\"{name}\" is not a name of {kind}, expected {}", or_list(.patterns))]
    NoPattern { name: String, kind: String, patterns: Vec<String> },
    #[error("\"{parent}\" is not a parent of {kind}, expected {}", or_list(.patterns))]
    BadParent { parent: String, kind: String, patterns: Vec<String> },
    #[error("id \"{id}\" is not allowed: {problem}")]
    BadId { id: String, problem: String },
}

fn or_list(patterns: &[String]) -> String {
    let quoted: Vec<_> = patterns.iter().map(|p| format!("\"{p}\"")).collect();
    quoted.join(" or ")
}

/// The domain of full names of the type: the part of its kind before the `/`.
pub fn domain(ty: &ResourceType) -> &str {
    ty.kind.split_once('/').map_or(ty.service.as_str(), |(domain, _)| domain)
}

/// Parses the name of one resource of `ty`; a full name (`//domain/...`) is accepted and shortened.
///
/// # Errors
/// Everything but [`NameError::BadParent`]; wildcards are refused.
pub fn parse(ty: &ResourceType, text: &str) -> Result<ParsedName, NameError> {
    let text = relative(ty, text)?;
    let parts = split(text)?;
    let Some((pattern, matched)) = match_any(ty, &parts) else {
        return Err(not_a_name(ty, text));
    };
    if parts.contains(&WILDCARD) {
        return Err(NameError::Wildcard { name: text.to_owned() });
    }
    let parent = parts[..matched.own_start].join("/");
    let variables = matched.variables(&ty.patterns[pattern], &parts);
    Ok(ParsedName { text: text.to_owned(), pattern, parent, variables })
}

/// The name of a new resource under `parent` (empty for the root); `id` is empty for a singleton.
///
/// The first pattern whose parent part fits is taken, in declared order.
///
/// # Errors
/// [`NameError::BadParent`], or what is wrong with the id or the whole.
pub fn build(ty: &ResourceType, parent: &str, id: &str) -> Result<String, NameError> {
    let parent = strip_domain(parent);
    let parts = if parent.is_empty() { Vec::new() } else { split(parent)? };
    if parts.contains(&WILDCARD) {
        return Err(NameError::Wildcard { name: parent.to_owned() });
    }
    let tails = || ty.patterns.iter().filter_map(|pattern| matching::tail(pattern, &parts));
    // One parent can have both, `locations/l/config` and `locations/l/configs/c`: the id tells which is meant.
    let tail = tails().find(|tail| tail.has_id != id.is_empty()).or_else(|| tails().next());
    let tail = tail.ok_or_else(|| not_a_parent(ty, parent))?;
    let mut name: Vec<&str> = parts;
    name.extend(tail.literals);
    match (tail.has_id, id.is_empty()) {
        (true, _) => {
            check_new_id(ty, id)?;
            name.push(id);
        }
        (false, true) => {}
        (false, false) => return Err(id::refused(id, "there is only one, and it has no id")),
    }
    Ok(parse(ty, &name.join("/"))?.text)
}

/// Whether the type's resources have ids of their own (a singleton has none).
pub fn has_id(ty: &ResourceType, parent: &str) -> bool {
    let parts: Vec<&str> = strip_domain(parent).split('/').filter(|p| !p.is_empty()).collect();
    ty.patterns.iter().find_map(|p| matching::tail(p, &parts)).is_none_or(|tail| tail.has_id)
}

/// Splits a full name into domain and relative name; a relative name has no domain.
///
/// Nothing is checked: the rest may be malformed.
pub fn split_domain(text: &str) -> (Option<&str>, &str) {
    match text.strip_prefix("//") {
        Some(full) => full.split_once('/').map_or((Some(full), ""), |(d, rest)| (Some(d), rest)),
        None => (None, text),
    }
}

fn strip_domain(text: &str) -> &str {
    split_domain(text).1
}

/// The relative name in `text`, whose domain, if any, must be the type's.
fn relative<'a>(ty: &ResourceType, text: &'a str) -> Result<&'a str, NameError> {
    let (found, rest) = split_domain(text);
    match found {
        Some(found) if found != domain(ty) && found != ty.service => {
            Err(NameError::WrongDomain { domain: shown(found), expected: domain(ty).to_owned() })
        }
        _ => Ok(rest),
    }
}

/// The segments of a well-formed name; says nothing of any type.
pub(crate) fn split(text: &str) -> Result<Vec<&str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { bytes: text.len() });
    }
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > NAME_SEGMENTS_MAX {
        return Err(NameError::TooManySegments { segments: parts.len() });
    }
    match parts.iter().find(|part| !id::is_segment(part)) {
        Some(bad) => Err(NameError::BadSegment { segment: (*bad).to_owned() }),
        None => Ok(parts),
    }
}

/// The first pattern of the type, in declared order, that the segments fit; wildcards fit any id.
fn match_any(ty: &ResourceType, parts: &[&str]) -> Option<(usize, Matched)> {
    ty.patterns.iter().enumerate().find_map(|(index, pattern)| {
        let matched = matching::match_name(pattern, parts)?;
        let own = parts.last().copied().unwrap_or_default();
        let fits = own == WILDCARD
            || !matched.ends_with_id
            || id::fits_pattern(ty, &matched.own_id(parts));
        fits.then_some((index, matched))
    })
}

fn not_a_name(ty: &ResourceType, name: &str) -> NameError {
    let patterns = ty.patterns.iter().map(|p| p.text.clone()).collect();
    NameError::NoPattern { name: shown(name), kind: ty.kind.clone(), patterns }
}

fn not_a_parent(ty: &ResourceType, parent: &str) -> NameError {
    let mut patterns: Vec<_> = ty.patterns.iter().map(matching::parent_text).collect();
    patterns.dedup();
    NameError::BadParent { parent: shown(parent), kind: ty.kind.clone(), patterns }
}

/// Text from outside, cut to what an error message should hold.
fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 200;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
