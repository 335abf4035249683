//! Field behaviours (AIP-203) applied to messages: dropping what clients may not set, finding what is missing.
//!
//! Rules are dotted proto paths without keys or indexes, as the schema lists them. How they steer an update is in
//! [`crate::update`].

use bowline_schema::model::ResourceType;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};

/// A sorted list of paths, asked about one path at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paths<'a>(pub(crate) &'a [String]);

impl Paths<'_> {
    pub(crate) fn has(self, path: &str) -> bool {
        self.0.binary_search_by(|probe| probe.as_str().cmp(path)).is_ok()
    }

    /// Whether a listed path goes on below `path`.
    pub(crate) fn has_below(self, path: &str) -> bool {
        if path.is_empty() {
            return !self.0.is_empty();
        }
        let below = format!("{path}.");
        let at = self.0.partition_point(|probe| probe.as_str() < below.as_str());
        self.0.get(at).is_some_and(|found| found.starts_with(&below))
    }
}

/// `path.name`, or `name` at the top.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Clears every field that clients may not set, at any depth; metadata and the name are left alone.
pub fn clear_output_only(ty: &ResourceType, body: &mut DynamicMessage) {
    for field in server_fields(ty) {
        body.clear_field(field);
    }
    let name = ty.name_field.name();
    let paths: Vec<_> = ty.fields.output_only.iter().filter(|p| *p != name).cloned().collect();
    let paths: Vec<_> = paths.into_iter().filter(|p| !is_metadata(ty, p)).collect();
    clear(body, Paths(&paths), "");
}

/// Clears every field that is never given back, at any depth.
pub fn clear_input_only(ty: &ResourceType, body: &mut DynamicMessage) {
    clear(body, Paths(&ty.fields.input_only), "");
}

/// Standard fields that only the server sets.
pub(crate) fn server_fields(ty: &ResourceType) -> impl Iterator<Item = &FieldDescriptor> {
    let standard = &ty.standard;
    [
        &standard.uid,
        &standard.etag,
        &standard.create_time,
        &standard.update_time,
        &standard.delete_time,
        &standard.reconciling,
    ]
    .into_iter()
    .flatten()
}

/// Whether a path leads into the metadata in the resource, which has rules of its own
/// ([`crate::metadata::WRITABLE`]).
fn is_metadata(ty: &ResourceType, path: &str) -> bool {
    match &ty.metadata {
        bowline_schema::model::MetadataPlace::Inside(field) => {
            let rest = path.strip_prefix(field.name());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        }
        _ => false,
    }
}

/// Clears the listed paths below `at`. Depth is that of the deepest path.
pub(crate) fn clear(message: &mut DynamicMessage, paths: Paths<'_>, at: &str) {
    if !paths.has_below(at) {
        return;
    }
    let set: Vec<_> = message.fields().map(|(field, _)| field).collect();
    for field in set {
        let path = join(at, field.name());
        if paths.has(&path) {
            message.clear_field(&field);
        } else if paths.has_below(&path) {
            for_each_message(message.get_field_mut(&field), &mut |m| clear(m, paths, &path));
        }
    }
}

/// Shows every message that a field's value holds: itself, its items, its map values.
pub(crate) fn for_each_message(value: &mut Value, visit: &mut dyn FnMut(&mut DynamicMessage)) {
    match value {
        Value::Message(message) => visit(message),
        Value::List(items) => items.iter_mut().filter_map(Value::as_message_mut).for_each(visit),
        Value::Map(entries) => {
            entries.values_mut().filter_map(Value::as_message_mut).for_each(visit);
        }
        _ => {}
    }
}

/// The required fields that are not set, with indexes and keys left out, sorted and each once.
///
/// A field inside a message counts only where the message is there. Numbers and booleans without presence never count
/// as missing: their default may be meant. A case of a oneof is missing only if no case is set, since there can be but
/// one. What the server sets is not asked of clients.
pub fn missing_required(ty: &ResourceType, body: &DynamicMessage) -> Vec<String> {
    let server: Vec<_> = server_fields(ty).map(|field| field.name()).collect();
    let asked = |path: &&String| {
        let first = path.split('.').next().unwrap_or_default();
        let is_name = **path == ty.name_field.name();
        !is_name
            && !server.contains(&first)
            && !is_metadata(ty, path)
            && !Paths(&ty.fields.output_only).has(path)
    };
    let required = ty.fields.required.iter().filter(asked);
    required.filter(|path| is_missing(body, path)).cloned().collect()
}

/// Like [`missing_required`], for a resource that is stored already: what is for input only was dropped after the create
/// (AIP-203), so it cannot be asked for once more.
pub fn missing_after_update(ty: &ResourceType, body: &DynamicMessage) -> Vec<String> {
    let mut missing = missing_required(ty, body);
    let dropped = |path: &str| {
        let covers = |listed: &String| {
            let rest = path.strip_prefix(listed.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        ty.fields.input_only.iter().any(covers)
    };
    missing.retain(|path| !dropped(path));
    missing
}

fn is_missing(message: &DynamicMessage, path: &str) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    let Some(field) = message.descriptor().get_field_by_name(first) else { return false };
    let Some(rest) = rest else {
        return !is_set(message, &field) && tells_absence(&field);
    };
    if !message.has_field(&field) {
        return false;
    }
    let missing = |value: &Value| value.as_message().is_some_and(|m| is_missing(m, rest));
    match &*message.get_field(&field) {
        Value::List(items) => items.iter().any(missing),
        Value::Map(entries) => entries.values().any(missing),
        value => missing(value),
    }
}

/// Whether the field is set, or another case of its oneof.
fn is_set(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    match field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
        Some(oneof) => oneof.fields().any(|case| message.has_field(&case)),
        None => message.has_field(field),
    }
}

/// Whether an unset field of this kind cannot be meant as its default.
fn tells_absence(field: &FieldDescriptor) -> bool {
    field.supports_presence()
        || field.is_list()
        || field.is_map()
        || matches!(field.kind(), Kind::String | Kind::Bytes | Kind::Enum(_))
}

#[cfg(test)]
mod tests;
