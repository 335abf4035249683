//! Whether one pattern is a special case of another.

use super::{Pattern, PatternSegment};

impl Pattern {
    /// Whether every name of `special` has this pattern too: a literal may stand for a variable, several segments for one that takes
    /// several, and parts (`{a}~{b}`) for a whole id. What the variables are called does not matter.
    ///
    /// Cost: linear in the patterns, unless several variables take several segments.
    pub fn covers(&self, special: &Pattern) -> bool {
        self.is_wildcard() || covers(&self.segments, &special.segments)
    }
}

/// Depth is the length of the general pattern.
fn covers(general: &[PatternSegment], special: &[PatternSegment]) -> bool {
    let Some((first, rest)) = general.split_first() else { return special.is_empty() };
    if special.is_empty() {
        return false;
    }
    let most = match first {
        PatternSegment::Variable { multi: true, .. } => special.len(),
        _ => 1,
    };
    (1..=most).any(|len| takes(first, &special[..len]) && covers(rest, &special[len..]))
}

fn takes(general: &PatternSegment, special: &[PatternSegment]) -> bool {
    match (general, special) {
        (PatternSegment::Variable { multi: true, .. }, _) => true,
        (_, [PatternSegment::Variable { multi: true, .. } | PatternSegment::Wildcard]) => false,
        (PatternSegment::Variable { .. }, [_]) => true,
        (PatternSegment::Literal(text), [PatternSegment::Literal(other)]) => text == other,
        (
            PatternSegment::Complex { separators, .. },
            [PatternSegment::Complex { separators: others, .. }],
        ) => others.starts_with(separators),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(general: &str, special: &str) -> bool {
        Pattern::parse(general).unwrap().covers(&Pattern::parse(special).unwrap())
    }

    #[test]
    fn a_special_case_splits_ids_or_fixes_them() {
        assert!(covers("projects/{project}/logs/{log}", "projects/{p}/logs/{l}"));
        assert!(covers("services/{service}/roles/{role}", "services/iam.test/roles/{role}"));
        assert!(covers("items/{item}", "items/{service}-{item}"));
        assert!(covers("items/{item=**}", "items/{service}/{item}"));
        assert!(covers("items/{item=**}/parts/{part}", "items/{a}/{b}/parts/{part}"));
        assert!(covers("pairs/{a}~{b}", "pairs/{a}~{b}~{c}"));
        assert!(covers("*", "items/{item}"));
    }

    #[test]
    fn what_has_other_names_is_no_special_case() {
        assert!(!covers("items/{item}", "items/{service}/{item}"));
        assert!(!covers("items/{item}", "items/{item=**}"));
        assert!(!covers("items/{item}", "things/{item}"));
        assert!(!covers("items/a", "items/{item}"));
        assert!(!covers("pairs/{a}~{b}", "pairs/{a}"));
        assert!(!covers("pairs/{a}~{b}", "pairs/{a}.{b}"));
        assert!(!covers("items/{item}", "items"));
        assert!(!covers("items/{item}", "*"));
    }
}
