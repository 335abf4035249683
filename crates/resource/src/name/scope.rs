//! Which names a list or watch covers: those under a parent, whose ids may be wildcards.

use bowline_schema::model::ResourceType;
use bowline_schema::pattern::{Pattern, PatternSegment};

use super::{
    NameError, WILDCARD, matching, not_a_name, not_a_parent, relative, split, strip_domain,
};

/// A set of names of one type, with the narrowest range of the name index that holds them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    prefix: String,
    /// A name is in the scope if it fits one of these; `None` for every name.
    alternatives: Option<Vec<Vec<Part>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    One,
    /// One or more segments.
    Several,
}

impl Scope {
    /// Every resource of the type.
    pub fn all(_ty: &ResourceType) -> Self {
        Self { prefix: String::new(), alternatives: None }
    }

    /// The resources right under `parent`; ids may be `-` for any; the empty parent covers everything.
    ///
    /// # Errors
    /// [`NameError::BadParent`] if no pattern has such a parent, or what is malformed in it.
    pub fn of_parent(ty: &ResourceType, parent: &str) -> Result<Self, NameError> {
        let parent = strip_domain(parent);
        if parent.is_empty() {
            return Ok(Self::all(ty));
        }
        let parts = split(parent)?;
        let under = |pattern: &Pattern| alternatives_under(pattern, &parts);
        let alternatives: Vec<_> = ty.patterns.iter().flat_map(under).collect();
        if alternatives.is_empty() {
            return Err(not_a_parent(ty, parent));
        }
        Ok(Self::of_alternatives(alternatives))
    }

    /// The resources that a name covers: one, or several if it has wildcards (`projects/-/devices/d`).
    ///
    /// # Errors
    /// [`NameError::NoPattern`], or what is malformed in the name.
    pub fn of_name(ty: &ResourceType, name: &str) -> Result<Self, NameError> {
        let text = relative(ty, name)?;
        let parts = split(text)?;
        let fits = |pattern: &Pattern| matching::match_name(pattern, &parts).is_some();
        if !ty.patterns.iter().any(fits) {
            return Err(not_a_name(ty, text));
        }
        Ok(Self::of_alternatives(vec![fixed(&parts)]))
    }

    fn of_alternatives(alternatives: Vec<Vec<Part>>) -> Self {
        let prefixes = alternatives.iter().map(|parts| prefix_of(parts));
        let prefix = prefixes.reduce(|a, b| common_prefix(&a, &b)).unwrap_or_default();
        Self { prefix, alternatives: Some(alternatives) }
    }

    pub(super) fn alternatives(&self) -> Option<&[Vec<Part>]> {
        self.alternatives.as_deref()
    }

    /// Every name in the scope starts with this, so the index range `prefix..prefix_end(prefix)` holds them all.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the scope is every name of the type.
    pub fn is_all(&self) -> bool {
        self.alternatives.is_none()
    }

    /// Whether the resource of this (relative, well-formed) name is in the scope.
    pub fn contains(&self, name: &str) -> bool {
        let Some(alternatives) = &self.alternatives else { return true };
        if !name.starts_with(&self.prefix) {
            return false;
        }
        let parts: Vec<&str> = name.split('/').collect();
        alternatives.iter().any(|alternative| covers(alternative, &parts))
    }
}

/// The end (exclusive) of the range of texts that start with `prefix`, in byte order; `None`: there is no end.
pub fn prefix_end(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        if let Some(next) = next_char(last) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// The next character in byte order of UTF-8, which is the order of code points.
fn next_char(c: char) -> Option<char> {
    (u32::from(c) + 1..=u32::from(char::MAX)).take(0x0801).find_map(char::from_u32)
}

/// Names of `pattern` under the parent `parts`.
fn alternatives_under(pattern: &Pattern, parts: &[&str]) -> Vec<Vec<Part>> {
    let segments = &pattern.segments;
    if matches!(segments.as_slice(), [PatternSegment::Wildcard]) {
        let mut under = fixed(parts);
        under.push(Part::Several);
        return vec![under];
    }
    let fits = |len: &usize| *len > 0 && matching::fits_prefix(&segments[..*len], parts);
    let lens = matching::parent_lens(segments).filter(fits);
    lens.map(|len| {
        let mut under = fixed(parts);
        under.extend(segments[len..].iter().map(open));
        under
    })
    .collect()
}

/// Segments of a name or parent as they were given, `-` for any.
fn fixed(parts: &[&str]) -> Vec<Part> {
    let part = |text: &&str| match *text {
        WILDCARD => Part::One,
        text => Part::Text(text.to_owned()),
    };
    parts.iter().map(part).collect()
}

/// A segment of the pattern that was not given.
fn open(segment: &PatternSegment) -> Part {
    match segment {
        PatternSegment::Literal(text) => Part::Text(text.clone()),
        PatternSegment::Variable { multi: true, .. } | PatternSegment::Wildcard => Part::Several,
        PatternSegment::Variable { .. } | PatternSegment::Complex { .. } => Part::One,
    }
}

/// The text before the first wildcard, with the `/` before it.
fn prefix_of(parts: &[Part]) -> String {
    let mut prefix = String::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            prefix.push('/');
        }
        match part {
            Part::Text(text) => prefix.push_str(text),
            Part::One | Part::Several => break,
        }
    }
    prefix
}

fn common_prefix(a: &str, b: &str) -> String {
    a.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x).collect()
}

/// Depth is the length of the alternative, which is that of a pattern.
fn covers(alternative: &[Part], parts: &[&str]) -> bool {
    match (alternative.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((Part::Text(text), rest)), Some((part, after))) => {
            text == part && covers(rest, after)
        }
        (Some((Part::One, rest)), Some((_, after))) => covers(rest, after),
        (Some((Part::Several, rest)), Some(_)) => {
            (1..=parts.len()).any(|len| covers(rest, &parts[len..]))
        }
        _ => false,
    }
}
