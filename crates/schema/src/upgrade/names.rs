//! The name rules of one type: entries of an upgrade file, checked against the patterns of both versions.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Place, code};
use crate::model::ResourceType;
use crate::pattern::{Pattern, PatternSegment};
use crate::upgrade::file::{Form, NameEntry};
use crate::upgrade::{ContextValue, NameRule};

/// Most entries for the names of one type: each conversion tries them one by one.
const ENTRIES_MAX: usize = 64;

/// A type as the one end of its name rules.
pub(super) struct Side<'a> {
    ty: &'a ResourceType,
}

/// What a file says of the names of a type.
#[derive(Default)]
pub(super) struct Declared {
    pub(super) rules: Vec<NameRule>,
    /// Patterns whose names have no counterpart: of the older version, and of the newer.
    removed: Vec<Pattern>,
    added: Vec<Pattern>,
}

impl Declared {
    /// Whether there is an entry for all names of a pattern of this shape, on either side.
    pub(super) fn speaks_of(&self, shape: &str) -> bool {
        let of_rules = self.rules.iter().flat_map(|rule| [&rule.older, &rule.newer]);
        of_rules.chain(&self.removed).chain(&self.added).any(|pattern| pattern.shape() == shape)
    }

    /// The patterns for which there is no rule.
    pub(super) fn bare<'p>(
        &self,
        patterns: &'p [Pattern],
        side: fn(&NameRule) -> &Pattern,
    ) -> Vec<&'p Pattern> {
        let has_rule =
            |pattern: &&Pattern| self.rules.iter().any(|rule| pattern.covers(side(rule)));
        patterns.iter().filter(|pattern| !has_rule(pattern)).collect()
    }

    /// Patterns of the older type for which there is neither a rule nor an entry that says that there is none.
    pub(super) fn unsaid<'p>(&self, patterns: &'p [Pattern]) -> Vec<&'p Pattern> {
        let said = |pattern: &&Pattern| self.removed.iter().any(|gone| pattern.covers(gone));
        let bare = self.bare(patterns, |rule| &rule.older);
        bare.into_iter().filter(|pattern| !said(pattern)).collect()
    }
}

/// Checks the entries for a type's names; wrong ones are reported and left out.
pub(super) fn declared(
    (older, newer): &(Side<'_>, Side<'_>),
    entries: &[NameEntry],
    problems: &mut Vec<Diagnostic>,
) -> Declared {
    let mut found = Declared::default();
    if let Some(entry) = entries.get(ENTRIES_MAX) {
        let message = format!("more than {ENTRIES_MAX} entries for the names of one type");
        problems.push(Diagnostic::error(code::TOO_LARGE, &entry.place, message));
        return found;
    }
    for NameEntry { form, place } in entries {
        match form {
            Form::Removed { older: text } => {
                found.removed.extend(older.pattern(text, place, problems));
            }
            Form::Added { newer: text } => {
                found.added.extend(newer.pattern(text, place, problems));
            }
            Form::Changed { older: from, newer: to, context } => {
                let from = older.pattern(from, place, problems);
                let to = newer.pattern(to, place, problems);
                let (Some(from), Some(to)) = (from, to) else { continue };
                let rule = NameRule { older: from, newer: to, context: context.clone() };
                let before = problems.len();
                check_variables(&rule, place, problems);
                if problems.len() == before {
                    check_regions((older, newer), &rule, place, problems);
                }
                check_others(&found.rules, &rule, place, problems);
                if problems.len() == before {
                    found.rules.push(rule);
                }
            }
        }
    }
    found
}

impl<'a> Side<'a> {
    pub(super) fn of(ty: &'a ResourceType) -> Self {
        Side { ty }
    }

    /// Parses a pattern of an entry, which must be one of the type's, or a special case of one.
    fn pattern(
        &self,
        text: &str,
        place: &Place,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<Pattern> {
        let pattern = match Pattern::parse(text) {
            Ok(pattern) => pattern,
            Err(error) => {
                problems.push(Diagnostic::error(code::BAD_PATTERN, place, error.to_string()));
                return None;
            }
        };
        if self.ty.patterns.iter().any(|own| own.covers(&pattern)) {
            return Some(pattern);
        }
        let Side { ty } = self;
        let message =
            format!("\"{}\" of version {} has no names \"{}\"", ty.kind, ty.version, pattern.text);
        let own: Vec<String> = ty.patterns.iter().map(|own| format!("\"{}\"", own.text)).collect();
        let help = format!(
            "its patterns are {}; an entry has one of them, with ids split or fixed where needed",
            own.join(", ")
        );
        problems.push(Diagnostic::error(code::UPGRADE_PATTERN, place, message).help(help));
        None
    }
}

/// Every variable is on both sides, or on one side and in the context: otherwise the way there, or back, could not tell its value.
fn check_variables(rule: &NameRule, place: &Place, problems: &mut Vec<Diagnostic>) {
    let older: BTreeSet<&str> = rule.older.variables().into_iter().collect();
    let newer: BTreeSet<&str> = rule.newer.variables().into_iter().collect();
    let mut refuse = |message: String, help: String| {
        problems.push(Diagnostic::error(code::UPGRADE_VARIABLE, place, message).help(help));
    };
    for (variable, value) in &rule.context {
        match (older.contains(variable.as_str()), newer.contains(variable.as_str())) {
            (true, true) => refuse(
                format!(
                    "`{variable}` is taken from \"{}\", and stands in both names",
                    value.text()
                ),
                "leave it out of `with`: the name says it".to_owned(),
            ),
            (false, false) => refuse(
                format!("`{variable}` of `with` stands in neither name"),
                format!("write `{{{variable}}}` where its value belongs"),
            ),
            _ => {}
        }
    }
    let unknown = |variable: &&&str| !rule.context.contains_key(**variable);
    for variable in newer.difference(&older).filter(unknown) {
        refuse(
            format!("`{variable}` of \"{}\" comes from nowhere", rule.newer.text),
            format!(
                "take it from context, `with: {{ {variable}: control_region }}`, or write a fixed text in its place"
            ),
        );
    }
    for variable in older.difference(&newer).filter(unknown) {
        refuse(
            format!(
                "`{variable}` of \"{}\" is lost, and the way back could not tell it",
                rule.older.text
            ),
            format!(
                "put `{{{variable}}}` into the newer name, take it from context, `with: {{ {variable}: control_region }}`, or write a fixed text in its place"
            ),
        );
    }
}

/// A conversion must not move a resource to another region.
fn check_regions(
    (older, newer): (&Side<'_>, &Side<'_>),
    rule: &NameRule,
    place: &Place,
    problems: &mut Vec<Diagnostic>,
) {
    let regions = (region(older.ty, &rule.older), region(newer.ty, &rule.newer));
    let by_control = |segment: &PatternSegment| match segment {
        PatternSegment::Variable { name, multi: false } => {
            rule.context.get(name) == Some(&ContextValue::ControlRegion)
        }
        _ => false,
    };
    let stays = match regions {
        (None, None) => true,
        (Some(one), None) | (None, Some(one)) => by_control(one),
        (Some(one), Some(other)) => one == other,
    };
    if !stays {
        let message = format!(
            "\"{}\" and \"{}\" can be of different regions",
            rule.older.text, rule.newer.text
        );
        let help = "a conversion moves no resource: the region is the same on both sides, or it is on one side and `with` takes it from `control_region`";
        problems.push(Diagnostic::error(code::UPGRADE_REGION, place, message).help(help));
    }
}

/// The segment that says the region of what has this name. A type that *is* a region lies in none.
fn region<'p>(ty: &ResourceType, pattern: &'p Pattern) -> Option<&'p PatternSegment> {
    let above = pattern.parent().map_or(0, |parent| parent.segments.len());
    pattern.segments[..above].windows(2).find_map(|pair| match pair {
        [PatternSegment::Literal(text), segment] if *text == ty.region_collection => Some(segment),
        _ => None,
    })
}

/// Two entries must not have the same names on one side.
fn check_others(
    others: &[NameRule],
    rule: &NameRule,
    place: &Place,
    problems: &mut Vec<Diagnostic>,
) {
    let mut clash = |text: &str, side: &str| {
        let message = format!("two entries have the {side} names \"{text}\"");
        let help = "names correspond one to one: of these entries only the first could ever count";
        problems.push(Diagnostic::error(code::UPGRADE_CLASH, place, message).help(help));
    };
    if others.iter().any(|other| other.older.shape() == rule.older.shape()) {
        clash(&rule.older.text, "older");
    }
    if others.iter().any(|other| other.newer.shape() == rule.newer.shape()) {
        clash(&rule.newer.text, "newer");
    }
}
