//! Names that fit their patterns: every variable gets an id, and what a parent or a reference target is called.

use bowline_schema::id_pattern;
use bowline_schema::model::{Registry, ResourceType, Target};
use bowline_schema::pattern::{Pattern, PatternSegment};

/// A name with the parts that requests want by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub text: String,
    /// Empty for the root.
    pub parent: String,
    /// Empty for a singleton.
    pub id: String,
}

/// Ids that an id pattern may like, the plainest first.
const IDS: &[&str] = &[
    "alpha",
    "a1b2c3d4",
    "alpha-one",
    "Alpha",
    "1234567",
    "ALPHA",
    "alpha.one",
    "alpha_one",
    "alpha/beta",
    "1.2.3",
    "alpha/beta/gamma",
    "us-west1",
    "a.b.c/d",
    "01234567-89ab-7cde-8f01-23456789abcd",
    "0123456789abcdef0123456789abcdef",
    "alpha@example.com",
    "a",
    "1",
    "en",
    "en-US",
];

/// The pattern that the round uses: the first that has an id of its own, otherwise the first that can be rendered.
pub fn main_pattern(ty: &ResourceType) -> Option<&Pattern> {
    let usable = || ty.patterns.iter().filter(|pattern| !pattern.is_wildcard());
    let has_variable =
        |pattern: &&Pattern| !pattern.variables().is_empty() && !pattern.is_singleton();
    usable().find(has_variable).or_else(|| usable().next())
}

/// A name of `pattern`; `id` is the wanted own id, with `own` made from it if the pattern has an opinion.
pub fn name(ty: &ResourceType, pattern: &Pattern, id: &str) -> Name {
    let own = own_segments(pattern);
    let (above, last) = pattern.segments.split_at(pattern.segments.len() - own);
    let parent: Vec<String> = above.iter().map(parent_segment).collect();
    let own_id = match last.last() {
        Some(PatternSegment::Literal(_)) | None => String::new(),
        Some(segment) => own_id(ty, segment, id),
    };
    let mut parts = parent.clone();
    for segment in last {
        match segment {
            PatternSegment::Literal(text) => parts.push(text.clone()),
            _ => parts.push(own_id.clone()),
        }
    }
    Name { text: parts.join("/"), parent: parent.join("/"), id: own_id }
}

/// What a reference to this target may hold.
pub fn reference(registry: &Registry, target: &Target) -> String {
    let first = |kind: &str| registry.types.get(kind).and_then(|types| types.last());
    match target {
        Target::Kind(kind) => match first(kind) {
            Some(ty) => named(ty).text,
            None => external(kind),
        },
        Target::ParentOf(kind) => match first(kind) {
            Some(ty) => Some(named(ty).parent).filter(|p| !p.is_empty()).unwrap_or_else(any),
            None => any(),
        },
        Target::Any => any(),
    }
}

fn named(ty: &ResourceType) -> Name {
    match main_pattern(ty) {
        Some(pattern) => name(ty, pattern, "target"),
        None => Name { text: any(), parent: String::new(), id: String::new() },
    }
}

fn any() -> String {
    "projects/project1".to_owned()
}

/// A plausible name of a kind that no loaded service has.
fn external(kind: &str) -> String {
    let type_name = kind.rsplit('/').next().unwrap_or(kind).to_lowercase();
    let plain: String = type_name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("projects/project1/{plain}s/target")
}

/// How many segments at the end are the resource's own: collection and id, or the literal of a singleton.
fn own_segments(pattern: &Pattern) -> usize {
    match pattern.segments.as_slice() {
        [.., PatternSegment::Literal(_), last] if !matches!(last, PatternSegment::Literal(_)) => 2,
        _ => 1,
    }
}

fn parent_segment(segment: &PatternSegment) -> String {
    match segment {
        PatternSegment::Literal(text) => text.clone(),
        PatternSegment::Variable { name, .. } => format!("{}1", plain(name)),
        PatternSegment::Complex { variables, separators } => complex(variables, separators, "1"),
        PatternSegment::Wildcard => "any".to_owned(),
    }
}

fn own_id(ty: &ResourceType, segment: &PatternSegment, id: &str) -> String {
    match segment {
        PatternSegment::Complex { variables, separators } => complex(variables, separators, id),
        _ => liked_id(ty, id),
    }
}

/// An id that the type's id pattern allows, distinct for distinct `id` where the pattern leaves room for that.
fn liked_id(ty: &ResourceType, id: &str) -> String {
    let Some(pattern) = &ty.id_pattern else { return id.to_owned() };
    let Ok(regex) = id_pattern::compile(pattern) else { return id.to_owned() };
    let salt = id.bytes().fold(0u32, |sum, byte| (sum * 31 + u32::from(byte)) % 10);
    let bases = [id].into_iter().chain(IDS.iter().copied());
    let salted = bases.flat_map(|base| [base.to_owned(), format!("{base}{salt}")]);
    let ids: Vec<String> = salted.filter(|id| regex.is_match(id)).collect();
    let own = ids
        .iter()
        .find(|i| *i == id)
        .or_else(|| ids.iter().find(|i| i.ends_with(&salt.to_string())));
    own.or_else(|| ids.first()).cloned().unwrap_or_else(|| id.to_owned())
}

/// `a1~b1`: values without any separator.
fn complex(variables: &[String], separators: &[char], id: &str) -> String {
    let mut text = String::new();
    for (at, variable) in variables.iter().enumerate() {
        if let Some(separator) = at.checked_sub(1).and_then(|at| separators.get(at)) {
            text.push(*separator);
        }
        text.push_str(&plain(variable));
        text.push_str(&plain(id));
    }
    text
}

/// Letters and digits only, in lower case.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
