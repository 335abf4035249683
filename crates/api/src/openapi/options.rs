//! What descriptors say beside their types: comments, and `google.api.field_behavior`.

use std::cell::RefCell;
use std::collections::HashMap;

use prost::encoding::WireType;
use prost_reflect::{DynamicMessage, FieldDescriptor, FileDescriptor, Value};

/// `google.api.field_behavior`, in case that the pool lacks the file that defines it.
const FIELD_BEHAVIOR: u32 = 1052;

/// What `google.api.field_behavior` says of one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Behaviour {
    pub(super) required: bool,
    pub(super) output_only: bool,
    pub(super) input_only: bool,
    pub(super) immutable: bool,
}

impl Behaviour {
    pub(super) fn of(field: &FieldDescriptor) -> Self {
        let mut behaviour = Self::default();
        for number in numbers(&field.options()) {
            match number {
                2 => behaviour.required = true,
                3 => behaviour.output_only = true,
                4 => behaviour.input_only = true,
                5 => behaviour.immutable = true,
                _ => {}
            }
        }
        behaviour
    }
}

fn numbers(options: &DynamicMessage) -> Vec<i32> {
    let known = options.extensions().find(|(extension, _)| extension.number() == FIELD_BEHAVIOR);
    if let Some((_, Value::List(values))) = known {
        return values.iter().filter_map(Value::as_enum_number).collect();
    }
    let unknown = options.unknown_fields().filter(|field| field.number() == FIELD_BEHAVIOR);
    unknown.flat_map(unknown_numbers).collect()
}

/// The numbers of one unknown field, as it stands on the wire: packed, or one alone.
fn unknown_numbers(field: &prost_reflect::UnknownField) -> Vec<i32> {
    let mut bytes = Vec::with_capacity(field.encoded_len());
    field.encode(&mut bytes);
    let mut rest = bytes.as_slice();
    let next = || prost::encoding::decode_varint(&mut rest).ok();
    // The key, and for a packed list its length, come first.
    let heads = if field.wire_type() == WireType::LengthDelimited { 2 } else { 1 };
    std::iter::from_fn(next).skip(heads).filter_map(|number| i32::try_from(number).ok()).collect()
}

/// Comments of proto files, by file and descriptor path. Read once for each file.
#[derive(Default)]
pub(super) struct Comments {
    files: RefCell<HashMap<String, HashMap<Vec<i32>, String>>>,
}

impl Comments {
    /// The comment before the thing at `path`; behind it, if there is none before.
    pub(super) fn of(&self, file: &FileDescriptor, path: &[i32]) -> Option<String> {
        let mut files = self.files.borrow_mut();
        let comments = files.entry(file.name().to_owned()).or_insert_with(|| read(file));
        comments.get(path).cloned()
    }
}

fn read(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.map(|info| info.location.as_slice()).unwrap_or_default();
    let comment = |location: &prost_types::source_code_info::Location| {
        let text =
            tidy(location.leading_comments()).or_else(|| tidy(location.trailing_comments()))?;
        Some((location.path.clone(), text))
    };
    locations.iter().filter_map(comment).collect()
}

/// Without the space that follows `//`, and without blank ends.
fn tidy(text: &str) -> Option<String> {
    let lines = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    let text = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
    (!text.is_empty()).then_some(text)
}
