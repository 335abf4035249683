//! HTTP rules of `google.api.http`: a parsed path template with its verb and body.
//!
//! Templates follow the grammar of `google/api/http.proto`:
//! `"/" segment {"/" segment} [":" verb]`, `segment = "*" | "**" | LITERAL | "{" path ["=" template] "}"`.

/// One way to reach a method over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    /// `GET`, `PUT`, `POST`, `DELETE`, `PATCH`, or the name of a custom one.
    pub method: String,
    pub template: Template,
    /// Request field that is the body; `*` for all that the path does not bind; empty for none.
    pub body: String,
    /// Response field that is the body; empty for the whole response.
    pub response_body: String,
}

/// A parsed path template; variables are flattened, so that a path is one list of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub segments: Vec<Segment>,
    /// What stands after the last `:`.
    pub verb: Option<String>,
    pub variables: Vec<Variable>,
    /// As written.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Literal(String),
    /// `*`: exactly one segment.
    One,
    /// `**`: zero or more segments, only at the end.
    Rest,
}

/// A variable: the request field that takes the text of `segments[start..end]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// `name`, `device.name`.
    pub field_path: String,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset} of path template \"{template}\"")]
pub struct TemplateError {
    pub template: String,
    pub offset: usize,
    pub problem: &'static str,
}
