//! Name patterns of resource types (AIP-122, AIP-123): `projects/{project}/regions/{region}/devices/{device}`.
//!
//! A pattern is parsed once, at load; matching allocates one short list. Which characters an id may have is not decided here.

mod covers;

/// Longest pattern text, in bytes, and most segments.
const BYTES_MAX: usize = 2048;
const SEGMENTS_MAX: usize = 64;
/// Variables that take several segments; more would make matching slow on hostile names.
const MULTI_MAX: usize = 2;

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As declared.
    pub text: String,
    pub segments: Vec<PatternSegment>,
}

/// One `/`-separated part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternSegment {
    /// `devices`
    Literal(String),
    /// `{device}`; one that takes several segments (`{path=**}`, or an id pattern that allows `/`) has `multi`.
    Variable { name: String, multi: bool },
    /// `{a}~{b}`: several variables and the separators between them.
    Complex { variables: Vec<String>, separators: Vec<char> },
    /// `*` as the whole pattern: any name.
    Wildcard,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} in pattern \"{pattern}\"")]
pub struct PatternError {
    pub pattern: String,
    pub problem: &'static str,
}

impl Pattern {
    /// Parses `collection/{id}/...`, `{a}~{b}` (also `-`, `_`, `.`), `{path=**}`, singletons (`projects/{project}/settings`), and `*`.
    ///
    /// # Errors
    /// [`PatternError`] for empty segments, unbalanced braces, variables without or with the same name, and sizes beyond bounds.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let fail = |problem| PatternError { pattern: text.chars().take(200).collect(), problem };
        if text.len() > BYTES_MAX {
            return Err(fail("too many characters"));
        }
        let trimmed = text.strip_suffix('/').unwrap_or(text).trim_start_matches('/');
        if trimmed == "*" {
            return Ok(Pattern { text: text.to_owned(), segments: vec![PatternSegment::Wildcard] });
        }
        let segments = split(trimmed)
            .into_iter()
            .map(parse_segment)
            .collect::<Result<Vec<_>, _>>()
            .map_err(fail)?;
        let pattern = Pattern { text: text.to_owned(), segments };
        pattern.check().map_err(fail)?;
        Ok(pattern)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.segments.len() > SEGMENTS_MAX {
            return Err("too many segments");
        }
        let multi = self.segments.iter().filter(|s| s.is_multi()).count();
        if multi > MULTI_MAX {
            return Err("too many variables that take several segments");
        }
        let mut names = self.variables();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        if names.len() < count { Err("the same variable twice") } else { Ok(()) }
    }

    /// Names of the variables, in order.
    pub fn variables(&self) -> Vec<&str> {
        self.segments.iter().flat_map(PatternSegment::variables).collect()
    }

    /// Whether any name at all matches.
    pub fn is_wildcard(&self) -> bool {
        self.segments == [PatternSegment::Wildcard]
    }

    /// The values of the variables if the name has this pattern; segments are never empty. A wildcard pattern captures nothing.
    ///
    /// Cost: linear in the name, quadratic if a variable takes several segments.
    pub fn match_name<'p, 'n>(&'p self, name: &'n str) -> Option<Vec<(&'p str, &'n str)>> {
        if self.is_wildcard() {
            return (!name.is_empty()).then(Vec::new);
        }
        let mut values = Vec::with_capacity(4);
        match_segments(&self.segments, name, &mut values).then_some(values)
    }

    /// The name with these values; `None` if a variable has no value or an empty one, or for a wildcard pattern.
    pub fn render(&self, value_of: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let value = |variable: &str| value_of(variable).filter(|value| !value.is_empty());
        let mut parts = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            parts.push(match segment {
                PatternSegment::Literal(text) => text.clone(),
                PatternSegment::Variable { name, .. } => value(name)?,
                PatternSegment::Complex { variables, separators } => {
                    let mut part = value(variables.first()?)?;
                    for (variable, separator) in variables.iter().skip(1).zip(separators) {
                        part.push(*separator);
                        part.push_str(&value(variable)?);
                    }
                    part
                }
                PatternSegment::Wildcard => return None,
            });
        }
        Some(parts.join("/"))
    }

    /// How many segments at the end are the resource's own: its collection and its id, or the singleton's literal.
    fn own_segments(&self) -> usize {
        let is_literal = |from_end: usize| {
            let at = self.segments.len().checked_sub(from_end);
            matches!(at.and_then(|at| self.segments.get(at)), Some(PatternSegment::Literal(_)))
        };
        match (is_literal(1), is_literal(2)) {
            (false, true) => 2,
            _ => 1,
        }
    }

    /// The parent's pattern: everything before the own collection; `None` for one without parent, and for a wildcard.
    pub fn parent(&self) -> Option<Pattern> {
        let segments = &self.segments[..self.segments.len().saturating_sub(self.own_segments())];
        if segments.is_empty() || self.is_wildcard() {
            return None;
        }
        Some(Pattern::from_segments(segments.to_vec()))
    }

    /// A pattern with the text that these segments have.
    pub fn from_segments(segments: Vec<PatternSegment>) -> Pattern {
        let text = segments.iter().map(PatternSegment::to_string).collect::<Vec<_>>().join("/");
        Pattern { text, segments }
    }

    /// The last literal, `devices`; empty if there is none.
    pub fn collection(&self) -> &str {
        let literal = |segment: &'_ PatternSegment| matches!(segment, PatternSegment::Literal(_));
        match self.segments.iter().rev().find(|s| literal(s)) {
            Some(PatternSegment::Literal(text)) => text,
            _ => "",
        }
    }

    /// Whether the last segment is a literal: one resource per parent, no id of its own.
    pub fn is_singleton(&self) -> bool {
        matches!(self.segments.last(), Some(PatternSegment::Literal(_)))
    }

    /// The variable of the own id; `None` for singletons, wildcards, and ids made of several variables.
    pub fn id_variable(&self) -> Option<&str> {
        match self.segments.last()? {
            PatternSegment::Variable { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Whether names have a segment for the region: the literal `collection` (`regions`) followed by a variable.
    pub fn is_regional(&self, collection: &str) -> bool {
        self.region_variable(collection).is_some()
    }

    /// The variable after the literal `collection`.
    pub fn region_variable(&self, collection: &str) -> Option<&str> {
        self.segments.windows(2).find_map(|pair| match pair {
            [PatternSegment::Literal(text), PatternSegment::Variable { name, .. }]
                if text == collection =>
            {
                Some(name.as_str())
            }
            _ => None,
        })
    }

    /// The pattern without its last two segments if these are the region's; `None` otherwise.
    pub(crate) fn without_region(&self, collection: &str) -> Option<Pattern> {
        let rest = self.segments.len().checked_sub(2)?;
        let tail = Pattern::from_segments(self.segments[rest..].to_vec());
        (rest > 0 && tail.is_regional(collection))
            .then(|| Pattern::from_segments(self.segments[..rest].to_vec()))
    }

    /// The pattern with all variables called `*`: equal for patterns that match the same names.
    pub fn shape(&self) -> String {
        let shape = |segment: &PatternSegment| match segment {
            PatternSegment::Literal(text) => text.clone(),
            PatternSegment::Variable { multi: true, .. } => "**".to_owned(),
            PatternSegment::Variable { .. } | PatternSegment::Wildcard => "*".to_owned(),
            PatternSegment::Complex { separators, .. } => separators
                .iter()
                .fold("*".to_owned(), |text, separator| format!("{text}{separator}*")),
        };
        self.segments.iter().map(shape).collect::<Vec<_>>().join("/")
    }

    /// The shape with complex ids as one `*`, as path templates have it: `projects/*/devices/*`.
    pub fn template(&self) -> String {
        let part = |segment: &PatternSegment| match segment {
            PatternSegment::Literal(text) => text.clone(),
            PatternSegment::Variable { multi: true, .. } | PatternSegment::Wildcard => {
                "**".to_owned()
            }
            PatternSegment::Variable { .. } | PatternSegment::Complex { .. } => "*".to_owned(),
        };
        self.segments.iter().map(part).collect::<Vec<_>>().join("/")
    }

    /// Lets the own id contain `/`.
    pub(crate) fn allow_slash_in_id(&mut self) {
        if let Some(PatternSegment::Variable { multi, .. }) = self.segments.last_mut() {
            *multi = true;
        }
    }
}

impl PatternSegment {
    fn is_multi(&self) -> bool {
        matches!(self, PatternSegment::Variable { multi: true, .. })
    }

    fn variables(&self) -> Vec<&str> {
        match self {
            PatternSegment::Variable { name, .. } => vec![name],
            PatternSegment::Complex { variables, .. } => {
                variables.iter().map(String::as_str).collect()
            }
            PatternSegment::Literal(_) | PatternSegment::Wildcard => Vec::new(),
        }
    }
}

impl std::fmt::Display for PatternSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PatternSegment::Literal(text) => f.write_str(text),
            PatternSegment::Variable { name, multi: false } => write!(f, "{{{name}}}"),
            PatternSegment::Variable { name, multi: true } => write!(f, "{{{name}=**}}"),
            PatternSegment::Complex { variables, separators } => {
                for (at, variable) in variables.iter().enumerate() {
                    if let Some(separator) = at.checked_sub(1).and_then(|at| separators.get(at)) {
                        write!(f, "{separator}")?;
                    }
                    write!(f, "{{{variable}}}")?;
                }
                Ok(())
            }
            PatternSegment::Wildcard => f.write_str("*"),
        }
    }
}

/// Splits at `/` outside braces, so that `{x=a/*}` stays whole.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0usize);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_segment(text: &str) -> Result<PatternSegment, &'static str> {
    if text.is_empty() {
        return Err("an empty segment");
    }
    if !text.contains(['{', '}']) {
        return if text.contains('*') {
            Err("a `*` that is not the whole pattern")
        } else {
            Ok(PatternSegment::Literal(text.to_owned()))
        };
    }
    let (mut variables, mut separators, mut rest) = (Vec::new(), Vec::new(), text);
    loop {
        let inner = rest.strip_prefix('{').ok_or("a variable that does not fill its segment")?;
        let (variable, after) = inner.split_once('}').ok_or("a `{` without `}`")?;
        variables.push(parse_variable(variable)?);
        let mut chars = after.chars();
        match chars.next() {
            None => break,
            Some(separator @ ('~' | '-' | '_' | '.' | ':' | '@' | ',')) => {
                separators.push(separator)
            }
            Some(_) => return Err("a separator that is none of `~`, `-`, `_`, `.`"),
        }
        rest = chars.as_str();
    }
    match <[_; 1]>::try_from(variables) {
        Ok([(name, multi)]) => Ok(PatternSegment::Variable { name, multi }),
        Err(variables) => {
            let variables = variables.into_iter().map(|(name, _)| name).collect();
            Ok(PatternSegment::Complex { variables, separators })
        }
    }
}

/// `device`, `path=**`, `device=*`.
fn parse_variable(text: &str) -> Result<(String, bool), &'static str> {
    let (name, template) = text.split_once('=').unwrap_or((text, "*"));
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(fine) {
        return Err("a variable without a proper name");
    }
    Ok((name.to_owned(), template.contains("**") || template.contains('/')))
}

fn match_segments<'p, 'n>(
    segments: &'p [PatternSegment],
    name: &'n str,
    values: &mut Vec<(&'p str, &'n str)>,
) -> bool {
    let Some((first, others)) = segments.split_first() else {
        return false;
    };
    // Each candidate end of the first segment, the nearest first; one that takes a single segment has one candidate.
    let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
    let candidates = if first.is_multi() { usize::MAX } else { 1 };
    for end in ends.take(candidates) {
        let mark = values.len();
        let (part, rest) = name.split_at(end);
        let tail = rest.strip_prefix('/');
        let fits = !part.is_empty() && match_segment(first, part, values);
        let done = match tail {
            None => others.is_empty(),
            Some(tail) => !others.is_empty() && fits && match_segments(others, tail, values),
        };
        if fits && done {
            return true;
        }
        values.truncate(mark);
    }
    false
}

fn match_segment<'p, 'n>(
    segment: &'p PatternSegment,
    part: &'n str,
    values: &mut Vec<(&'p str, &'n str)>,
) -> bool {
    match segment {
        PatternSegment::Literal(text) => text == part,
        PatternSegment::Variable { name, .. } => {
            values.push((name, part));
            true
        }
        PatternSegment::Complex { variables, separators } => {
            match_complex(variables, separators, part, values)
        }
        PatternSegment::Wildcard => true,
    }
}

/// Splits at the first place of each separator; each part must be non-empty. A lone `-` is the wildcard for all of them.
fn match_complex<'p, 'n>(
    variables: &'p [String],
    separators: &[char],
    part: &'n str,
    values: &mut Vec<(&'p str, &'n str)>,
) -> bool {
    if part == "-" {
        values.extend(variables.iter().map(|variable| (variable.as_str(), part)));
        return true;
    }
    let mut rest = part;
    for (at, variable) in variables.iter().enumerate() {
        let (value, after) = match separators.get(at) {
            Some(separator) => match rest.split_once(*separator) {
                Some(pair) => pair,
                None => return false,
            },
            None => (rest, ""),
        };
        if value.is_empty() {
            return false;
        }
        values.push((variable, value));
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests;
