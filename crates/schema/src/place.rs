//! Where in the sources a descriptor is declared.

use prost_reflect::{FieldDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor};

use crate::diagnostic::Place;
use crate::imports::FileSet;

pub(crate) fn of_message(message: &MessageDescriptor, set: &FileSet) -> Place {
    find(&message.parent_file(), message.path(), set)
}

pub(crate) fn of_field(field: &FieldDescriptor, set: &FileSet) -> Place {
    find(&field.parent_file(), field.path(), set)
}

pub(crate) fn of_method(method: &MethodDescriptor, set: &FileSet) -> Place {
    find(&method.parent_file(), method.path(), set)
}

/// The name of the file as the user knows it.
pub(crate) fn display<'a>(file: &'a str, set: &'a FileSet) -> &'a str {
    set.files.get(file).map_or(file, |entry| entry.display.as_str())
}

/// Looks the path up in the source info; cost is linear in the file, which only problems pay.
fn find(file: &FileDescriptor, path: &[i32], set: &FileSet) -> Place {
    let shown = display(file.name(), set);
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location =
        info.and_then(|info| info.location.iter().find(|location| location.path == path));
    match location.map(|location| location.span.as_slice()) {
        Some([line, column, ..]) => Place::at(shown, at(*line), at(*column)),
        _ => Place::file(shown),
    }
}

/// Source info counts from 0.
fn at(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0) + 1
}
