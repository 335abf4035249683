//! Name patterns of resource types (AIP-122, AIP-123): `projects/{project}/regions/{region}/devices/{device}`.

/// A parsed pattern.
#[derive(Clone, Debug)]
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
