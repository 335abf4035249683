//! HTTP path templates as OpenAPI paths: `{name=projects/*/devices/*}` is `projects/{project}/devices/{device}`.

use std::collections::{BTreeMap, BTreeSet};

use bowline_schema::http::{Segment, Template, Variable};
use bowline_schema::model::{ResourceType, ServiceVersion};
use bowline_schema::pattern::{Pattern, PatternSegment};

/// A path of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenPath {
    /// `/v1/projects/{project}/devices/{device}:verb`.
    pub(super) text: String,
    pub(super) parameters: Vec<PathParameter>,
}

/// One `{…}` of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathParameter {
    pub(super) name: String,
    /// The request field that it is a part of, or the whole of.
    pub(super) field_path: String,
    /// The whole value of the field is this one parameter.
    pub(super) is_whole_field: bool,
    /// Several segments (`**`).
    pub(super) is_rest: bool,
}

/// Gives each set of equal paths one spelling: OpenAPI takes paths as equal that differ only in names.
#[derive(Default)]
pub(super) struct Spellings {
    by_shape: BTreeMap<String, OpenPath>,
}

impl Spellings {
    /// The path of `template`, in the spelling that came first among equals.
    pub(super) fn path(&mut self, version: &ServiceVersion, template: &Template) -> OpenPath {
        let own = open_path(version, template);
        let known = self.by_shape.entry(template.shape()).or_insert_with(|| own.clone());
        // The names are those of the first; which field each belongs to is this template's own.
        let named = known.parameters.iter().zip(own.parameters);
        let parameters =
            named.map(|(first, own)| PathParameter { name: first.name.clone(), ..own }).collect();
        OpenPath { text: known.text.clone(), parameters }
    }
}

fn open_path(version: &ServiceVersion, template: &Template) -> OpenPath {
    let mut path = OpenPath { text: String::new(), parameters: Vec::new() };
    let mut used = BTreeSet::new();
    for (at, segment) in template.segments.iter().enumerate() {
        path.text.push('/');
        if let Segment::Literal(text) = segment {
            path.text.push_str(text);
            continue;
        }
        let variable = template.variables.iter().find(|v| v.start <= at && at < v.end);
        let name = unique(variable_name(version, template, variable, at), &mut used);
        path.text.push_str(&format!("{{{name}}}"));
        path.parameters.push(PathParameter {
            name,
            field_path: variable.map(|v| v.field_path.clone()).unwrap_or_default(),
            is_whole_field: variable.is_some_and(|v| v.end - v.start == 1),
            is_rest: *segment == Segment::Rest,
        });
    }
    if let Some(verb) = &template.verb {
        path.text.push(':');
        path.text.push_str(verb);
    }
    path
}

/// `device`, then `device2`, `device3`.
fn unique(name: String, used: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|n| format!("{name}{n}"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|name| !used.contains(name));
    let free = free.unwrap_or(name);
    used.insert(free.clone());
    free
}

fn variable_name(
    version: &ServiceVersion,
    template: &Template,
    variable: Option<&Variable>,
    at: usize,
) -> String {
    let segments = template.segments.as_slice();
    let Some(variable) = variable else { return from_collection(segments, at) };
    if variable.end - variable.start == 1 {
        let last = variable.field_path.rsplit('.').next().unwrap_or("name");
        // `{name=**}` and `{secret}` are called as their field is.
        return identifier(last);
    }
    let slice = segments.get(variable.start..variable.end).unwrap_or_default();
    let patterns =
        version.types.iter().flat_map(|t: &std::sync::Arc<ResourceType>| t.patterns.iter());
    let mut names =
        patterns.filter_map(|pattern| name_in_pattern(pattern, slice, at - variable.start));
    names.next().unwrap_or_else(|| from_collection(segments, at))
}

/// What `pattern` calls the segment `at`, if it begins as `slice` does up to there.
fn name_in_pattern(pattern: &Pattern, slice: &[Segment], at: usize) -> Option<String> {
    let fits = |(ours, theirs): (&Segment, &PatternSegment)| match (ours, theirs) {
        (Segment::Literal(a), PatternSegment::Literal(b)) => a == b,
        (Segment::One, PatternSegment::Variable { .. } | PatternSegment::Complex { .. }) => true,
        (Segment::Rest, PatternSegment::Variable { multi, .. }) => *multi,
        _ => false,
    };
    let upto = slice.get(..=at)?;
    if pattern.segments.len() < upto.len() || !upto.iter().zip(&pattern.segments).all(fits) {
        return None;
    }
    match pattern.segments.get(at)? {
        PatternSegment::Variable { name, .. } => Some(identifier(name)),
        PatternSegment::Complex { variables, .. } => Some(identifier(&variables.join("_"))),
        _ => None,
    }
}

/// `devices/*` is a `device`.
fn from_collection(segments: &[Segment], at: usize) -> String {
    let before = at.checked_sub(1).and_then(|before| segments.get(before));
    match before {
        Some(Segment::Literal(collection)) => identifier(&singular(collection)),
        _ => "id".to_owned(),
    }
}

fn singular(word: &str) -> String {
    match word {
        _ if word.ends_with("ies") && word.len() > 4 => format!("{}y", &word[..word.len() - 3]),
        _ if word.ends_with("sses") || word.ends_with("xes") => word[..word.len() - 2].to_owned(),
        _ if word.ends_with('s') && !word.ends_with("ss") && word.len() > 1 => {
            word[..word.len() - 1].to_owned()
        }
        _ => word.to_owned(),
    }
}

/// Letters, digits and `_` only, so that tools can make a variable of it.
fn identifier(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
