//! Field paths: parsing their text, resolving them against a type, and walking a document along one.
//!
//! Names are accepted as `snake_case`, `lowerCamel` or `kebab-case`; a map key is a segment, with `\.` for a dot in it,
//! or quoted in backticks. Sets of paths are masks: see [`crate::mask`].

mod segments;
mod walk;

#[cfg(test)]
mod tests;

use std::fmt;

use bowline_schema::model::{MetadataPlace, ResourceType};
use prost_reflect::{FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use crate::metadata;
use crate::value::{key_from_text, key_text};

pub(crate) use segments::write_key;
pub use segments::{Segment, parse_segments};
pub use walk::Leaf;

/// Longest text of a path, in bytes.
pub const PATH_BYTES_MAX: usize = 4 * 1024;
/// Most segments of a path; bounds recursion along it.
pub const PATH_SEGMENTS_MAX: usize = 64;
/// The first segment of paths into metadata, also where it is kept beside the resource.
pub const METADATA: &str = "metadata";

/// A path that exists in a type.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    pub(crate) root: Root,
    pub(crate) steps: Vec<Step>,
    shape: Shape,
}

/// What a path starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    Resource,
    /// The metadata that is kept beside the resource.
    Beside,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Field(FieldDescriptor),
    /// The value of a map under this key.
    Key(MapKey),
}

/// What is at the end of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    One(Kind),
    List(Kind),
    Map { key: Kind, value: Kind },
}

/// Why a text is not a path of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset} of the path")]
pub struct PathError {
    /// In bytes, from the start of the path's text.
    pub offset: usize,
    pub problem: PathProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    #[error("empty segment")]
    EmptySegment,
    #[error("quote without end")]
    OpenQuote,
    #[error("text after a closing quote")]
    AfterQuote,
    #[error("more than {PATH_BYTES_MAX} bytes or {PATH_SEGMENTS_MAX} segments")]
    TooLong,
    #[error("{message} has no field \"{field}\"{}", did_you_mean(.nearest.as_deref()))]
    NoSuchField { message: String, field: String, nearest: Option<String> },
    #[error("\"{field}\" is of type {kind}, which has no fields")]
    NoFields { field: String, kind: String },
    #[error("\"{key}\" is not a key of a map with {kind} keys")]
    BadKey { key: String, kind: String },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean \"{name}\"?)")).unwrap_or_default()
}

impl Path {
    /// Parses and resolves a path of a resource of `ty`.
    ///
    /// # Errors
    /// [`PathError`] with the place in `text`.
    pub fn parse(text: &str, ty: &ResourceType) -> Result<Self, PathError> {
        Self::resolve(&parse_segments(text)?, ty)
    }

    /// Resolves segments that were parsed before.
    ///
    /// # Errors
    /// [`PathError`] with the offset of the segment that does not fit.
    pub fn resolve(segments: &[Segment], ty: &ResourceType) -> Result<Self, PathError> {
        let Some((first, rest)) = segments.split_first() else {
            return Err(PathError { offset: 0, problem: PathProblem::EmptySegment });
        };
        if is_beside(ty, first) {
            let message = Kind::Message(metadata::descriptor().clone());
            return Self::along(Root::Beside, rest, Shape::One(message));
        }
        Self::along(Root::Resource, segments, Shape::One(Kind::Message(ty.message.clone())))
    }

    fn along(root: Root, segments: &[Segment], start: Shape) -> Result<Self, PathError> {
        let mut path = Self { root, steps: Vec::with_capacity(segments.len()), shape: start };
        let mut before = "the resource";
        for segment in segments {
            let (step, shape) = next(before, &path.shape, segment)?;
            path.steps.push(step);
            path.shape = shape;
            before = &segment.text;
        }
        Ok(path)
    }

    /// What is at the end.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether a list is on the way, so that one resource can have several values at the path.
    pub fn passes_list(&self) -> bool {
        let on_the_way = self.steps.len().saturating_sub(1);
        self.steps[..on_the_way].iter().any(|step| matches!(step, Step::Field(f) if f.is_list()))
    }

    /// Whether the last step is the key of a map.
    pub(crate) fn ends_with_key(&self) -> bool {
        matches!(self.steps.last(), Some(Step::Key(_)))
    }

    /// The value that an unset scalar at the end stands for; none for messages, lists and maps.
    pub(crate) fn default_value(&self) -> Option<Value> {
        match &self.shape {
            Shape::One(Kind::Message(_)) | Shape::List(_) | Shape::Map { .. } => None,
            Shape::One(kind) => match self.steps.last() {
                Some(Step::Field(field)) => Some(field.default_value()),
                _ => Some(Value::default_value(kind)),
            },
        }
    }

    /// The names of the fields on the way, without keys: how references and rules are listed in the schema.
    pub(crate) fn fields_only(&self) -> String {
        let names = self.steps.iter().filter_map(|step| match step {
            Step::Field(field) => Some(field.name()),
            Step::Key(_) => None,
        });
        let names: Vec<_> = names.collect();
        match self.root {
            Root::Resource => names.join("."),
            Root::Beside if names.is_empty() => METADATA.to_owned(),
            Root::Beside => format!("{METADATA}.{}", names.join(".")),
        }
    }
}

/// The text of the path in proto names, quoted where needed; it parses to the same path.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut dot = "";
        if self.root == Root::Beside {
            f.write_str(METADATA)?;
            dot = ".";
        }
        for step in &self.steps {
            f.write_str(dot)?;
            match step {
                Step::Field(field) => f.write_str(field.name())?,
                Step::Key(key) => write_key(f, &key_text(key))?,
            }
            dot = ".";
        }
        Ok(())
    }
}

/// Whether a path that starts so leads into metadata beside the resource. A field of that name comes first.
pub(crate) fn is_beside(ty: &ResourceType, first: &Segment) -> bool {
    matches!(ty.metadata, MetadataPlace::Beside)
        && first.text == METADATA
        && field_named(&ty.message, METADATA).is_none()
}

/// The step that `segment` makes from a value of this shape, and the shape of what is there.
fn next(before: &str, shape: &Shape, segment: &Segment) -> Result<(Step, Shape), PathError> {
    match shape {
        Shape::Map { key, value } => {
            let key = map_key(key, segment)?;
            Ok((Step::Key(key), Shape::One(value.clone())))
        }
        Shape::One(Kind::Message(message)) | Shape::List(Kind::Message(message)) => {
            let field = find_field(message, segment)?;
            let shape = Shape::of(&field);
            Ok((Step::Field(field), shape))
        }
        Shape::One(kind) | Shape::List(kind) => {
            let problem = PathProblem::NoFields { field: before.to_owned(), kind: kind_name(kind) };
            Err(PathError { offset: segment.offset, problem })
        }
    }
}

impl Shape {
    /// The shape of a field's value.
    pub(crate) fn of(field: &FieldDescriptor) -> Self {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => Self::Map {
                key: entry.map_entry_key_field().kind(),
                value: entry.map_entry_value_field().kind(),
            },
            kind if field.is_list() => Self::List(kind),
            kind => Self::One(kind),
        }
    }
}

/// The key that a segment stands for, in a map with keys of this kind.
pub(crate) fn map_key(kind: &Kind, segment: &Segment) -> Result<MapKey, PathError> {
    key_from_text(kind, &segment.text).ok_or_else(|| {
        let problem = PathProblem::BadKey { key: segment.text.clone(), kind: kind_name(kind) };
        PathError { offset: segment.offset, problem }
    })
}

/// The field that a segment stands for.
pub(crate) fn find_field(
    message: &MessageDescriptor,
    segment: &Segment,
) -> Result<FieldDescriptor, PathError> {
    field_named(message, &segment.text).ok_or_else(|| {
        let problem = PathProblem::NoSuchField {
            message: message.name().to_owned(),
            field: segment.text.clone(),
            nearest: nearest(message, &segment.text),
        };
        PathError { offset: segment.offset, problem }
    })
}

/// By proto name, JSON name, or proto name in kebab-case.
fn field_named(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message
        .get_field_by_name(name)
        .or_else(|| message.get_field_by_json_name(name))
        .or_else(|| message.get_field_by_name(&name.replace('-', "_")))
}

/// A field that differs only in case and marks, or that one of the two names starts with.
fn nearest(message: &MessageDescriptor, name: &str) -> Option<String> {
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let wanted = plain(name);
    let close = |field: &FieldDescriptor| {
        let found = plain(field.name());
        found == wanted || (wanted.len() > 2 && found.starts_with(&wanted)) || {
            found.len() > 2 && wanted.starts_with(&found)
        }
    };
    message.fields().find(close).map(|field| field.name().to_owned())
}

/// The kind as protos write it.
pub(crate) fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(values) => values.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_ascii_lowercase(),
    }
}
