//! Comments of proto files, where the descriptors carry them.

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

/// The comment before a message.
pub(crate) fn of_message(message: &MessageDescriptor) -> Option<String> {
    find(message.parent_pool(), message.parent_file().name(), message.path())
}

/// The comment before or beside a field.
pub(crate) fn of_field(field: &FieldDescriptor) -> Option<String> {
    let message = field.parent_message();
    find(message.parent_pool(), message.parent_file().name(), field.path())
}

fn find(pool: &DescriptorPool, file: &str, path: &[i32]) -> Option<String> {
    let file = pool.get_file_by_name(file)?;
    let info = file.file_descriptor_proto().source_code_info.as_ref()?;
    let location = info.location.iter().find(|location| location.path == path)?;
    let comment = location.leading_comments.as_ref().or(location.trailing_comments.as_ref())?;
    let lines: Vec<_> = comment.lines().map(str::trim).collect();
    let text = lines.join("\n").trim().to_owned();
    (!text.is_empty()).then_some(text)
}
