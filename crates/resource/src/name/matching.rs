//! Matching the segments of a name or parent against one pattern.
//!
//! Segments are well-formed when they come here. Work is bounded by the pattern's length and the number of segments;
//! only patterns with several multi-segment variables look at a split more than once.

use bowline_schema::pattern::{Pattern, PatternSegment};

use super::WILDCARD;

/// How a name fits a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matched {
    /// For each pattern segment, where its name segments begin; one more at the end.
    starts: Vec<usize>,
    /// Where the resource's own segments (`devices/d`) begin, in the name.
    pub(super) own_start: usize,
    /// The last pattern segment is an id, not the literal of a singleton.
    pub(super) ends_with_id: bool,
}

impl Matched {
    /// The resource's own id; several segments where the pattern allows it.
    pub(super) fn own_id(&self, parts: &[&str]) -> String {
        let last = self.starts.len().saturating_sub(2);
        parts[self.starts[last]..].join("/")
    }

    /// Variables of `pattern` with their values.
    pub(super) fn variables(&self, pattern: &Pattern, parts: &[&str]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (index, segment) in pattern.segments.iter().enumerate() {
            let text = parts[self.starts[index]..self.starts[index + 1]].join("/");
            match segment {
                PatternSegment::Variable { name, .. } => found.push((name.clone(), text)),
                PatternSegment::Complex { variables, separators } => {
                    let values = split_complex(&text, separators).unwrap_or_default();
                    let values = values.into_iter().map(str::to_owned);
                    found.extend(variables.iter().cloned().zip(values));
                }
                PatternSegment::Literal(_) | PatternSegment::Wildcard => {}
            }
        }
        found
    }
}

/// What must follow a parent to make a name.
pub(super) struct Tail<'a> {
    pub(super) literals: Vec<&'a str>,
    pub(super) has_id: bool,
}

/// Matches a whole name. An id segment also takes the wildcard.
pub(super) fn match_name(pattern: &Pattern, parts: &[&str]) -> Option<Matched> {
    let mut starts = Vec::with_capacity(pattern.segments.len() + 1);
    if !fits(&pattern.segments, parts, 0, &mut starts) {
        return None;
    }
    let own = own_len(&pattern.segments);
    let own_start = starts[pattern.segments.len() - own];
    let ends_with_id = !matches!(
        pattern.segments.last(),
        Some(PatternSegment::Literal(_) | PatternSegment::Wildcard) | None
    );
    Some(Matched { starts, own_start, ends_with_id })
}

/// What follows `parent` in a name of this pattern, if it is a parent of it.
pub(super) fn tail<'a>(pattern: &'a Pattern, parent: &[&str]) -> Option<Tail<'a>> {
    let segments = &pattern.segments;
    if matches!(segments.as_slice(), [PatternSegment::Wildcard]) {
        return Some(Tail { literals: Vec::new(), has_id: true });
    }
    let at =
        parent_lens(segments).find(|len| fits(&segments[..*len], parent, 0, &mut Vec::new()))?;
    let literals = segments[at..].iter().filter_map(|segment| match segment {
        PatternSegment::Literal(text) => Some(text.as_str()),
        _ => None,
    });
    let has_id = !matches!(segments.last(), Some(PatternSegment::Literal(_)));
    Some(Tail { literals: literals.collect(), has_id })
}

/// The parent's part of a pattern, as declared; empty for the root.
pub(super) fn parent_text(pattern: &Pattern) -> String {
    let own = own_len(&pattern.segments);
    let parts: Vec<&str> = pattern.text.split('/').collect();
    parts[..parts.len().saturating_sub(own)].join("/")
}

/// How many of the last segments are the resource's own: collection and id, or the literal of a singleton.
fn own_len(segments: &[PatternSegment]) -> usize {
    match segments {
        [.., PatternSegment::Literal(_), last] if !matches!(last, PatternSegment::Literal(_)) => 2,
        _ => 1.min(segments.len()),
    }
}

/// How many segments a parent may have. Fixed segments before the collection (`projects/{p}/global/networks/{n}`) may
/// be left out of it, so there can be several.
pub(super) fn parent_lens(segments: &[PatternSegment]) -> impl Iterator<Item = usize> + '_ {
    let longest = segments.len() - own_len(segments);
    (0..=longest).rev().scan(true, |go_on, len| {
        if !*go_on {
            return None;
        }
        *go_on = len > 0 && matches!(segments[len - 1], PatternSegment::Literal(_));
        Some(len)
    })
}

/// Whether `parts` from `at` on fit `segments`, noting where each begins. Depth is the pattern's length.
fn fits(segments: &[PatternSegment], parts: &[&str], at: usize, starts: &mut Vec<usize>) -> bool {
    starts.push(at);
    let Some((first, rest)) = segments.split_first() else {
        if at == parts.len() {
            return true;
        }
        starts.pop();
        return false;
    };
    let (least, most) = match first {
        PatternSegment::Wildcard | PatternSegment::Variable { multi: true, .. } => {
            (1, parts.len().saturating_sub(at))
        }
        _ => (1, 1),
    };
    let fit = (least..=most).any(|len| {
        at + len <= parts.len()
            && takes(first, &parts[at..at + len])
            && fits(rest, parts, at + len, starts)
    });
    if !fit {
        starts.pop();
    }
    fit
}

fn takes(segment: &PatternSegment, parts: &[&str]) -> bool {
    match segment {
        PatternSegment::Literal(text) => parts == [text.as_str()],
        PatternSegment::Variable { .. } | PatternSegment::Wildcard => true,
        PatternSegment::Complex { separators, .. } => {
            parts == [WILDCARD] || split_complex(parts[0], separators).is_some()
        }
    }
}

/// Splits `a~b` at its separators, in their order; values are never empty.
fn split_complex<'a>(text: &'a str, separators: &[char]) -> Option<Vec<&'a str>> {
    let mut rest = text;
    let mut values = Vec::with_capacity(separators.len() + 1);
    for separator in separators {
        let (value, after) = rest.split_once(*separator)?;
        values.push(value);
        rest = after;
    }
    values.push(rest);
    values.iter().all(|value| !value.is_empty()).then_some(values)
}

/// Whether `parts` fit exactly these segments of a pattern.
pub(super) fn fits_prefix(segments: &[PatternSegment], parts: &[&str]) -> bool {
    fits(segments, parts, 0, &mut Vec::new())
}
