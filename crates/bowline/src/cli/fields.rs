//! Finding fields of a message by what people type, and the fields that a JSON document gives.

use bowline_resource::metadata::WRITABLE;
use bowline_schema::model::{MetadataPlace, ResourceType};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};
use serde_json::Value as Json;

use super::json::is_well_known;

/// Deepest nesting of a document that is looked into; the server refuses deeper ones anyhow.
const DEPTH_MAX: usize = 64;

/// A path from a resource: names of proto fields, and at its end perhaps a key of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FieldPath {
    pub(crate) fields: Vec<String>,
    pub(crate) key: Option<String>,
}

impl FieldPath {
    fn of(fields: &[String]) -> Self {
        Self { fields: fields.to_vec(), key: None }
    }

    /// As a field mask has it; dots in a key are escaped.
    pub(crate) fn mask(&self) -> String {
        let mut text = self.fields.join(".");
        if let Some(key) = &self.key {
            text.push('.');
            text.push_str(&key.replace('\\', "\\\\").replace('.', "\\."));
        }
        text
    }

    /// Whether `self` is `other` or something in it.
    pub(crate) fn is_within(&self, other: &str) -> bool {
        let mask = self.mask();
        mask == other || mask.strip_prefix(other).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The value at this path; `None` where a message on the way, or the value itself, is absent.
    pub(crate) fn get(&self, message: &DynamicMessage) -> Option<Value> {
        let (last, parents) = self.fields.split_last()?;
        let mut current = message.clone();
        for name in parents {
            current = match current.get_field_by_name(name)?.into_owned() {
                Value::Message(inner) if current.has_field_by_name(name) => inner,
                _ => return None,
            };
        }
        let field = current.descriptor().get_field_by_name(last)?;
        if field.supports_presence() && !current.has_field(&field) {
            return None;
        }
        let value = current.get_field(&field).into_owned();
        match &self.key {
            None => Some(value),
            Some(key) => {
                value.as_map()?.iter().find(|(k, _)| key_text(k) == *key).map(|(_, v)| v.clone())
            }
        }
    }

    /// Writes the value at this path of `from` to the same place in `to`, or clears it there.
    pub(crate) fn copy(&self, from: &DynamicMessage, to: &mut DynamicMessage) {
        let Some((last, parents)) = self.fields.split_last() else { return };
        let mut target = to;
        for name in parents {
            let inner = target.get_field_by_name_mut(name).and_then(Value::as_message_mut);
            let Some(inner) = inner else { return };
            target = inner;
        }
        match (self.get(from), &self.key) {
            (Some(value), None) => {
                // Both messages are of one type, so the value fits.
                let _ = target.try_set_field_by_name(last, value);
            }
            (None, None) => target.clear_field_by_name(last),
            (value, Some(key)) => {
                let entries = target.get_field_by_name_mut(last).and_then(Value::as_map_mut);
                let Some(entries) = entries else { return };
                entries.retain(|other, _| key_text(other) != *key);
                let source = FieldPath { fields: self.fields.clone(), key: None }.get(from);
                let entry = source.as_ref().and_then(Value::as_map).and_then(|source| {
                    source.keys().find(|other| key_text(other) == *key).cloned()
                });
                if let (Some(value), Some(entry)) = (value, entry) {
                    entries.insert(entry, value);
                }
            }
        }
    }
}

pub(crate) fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(v) => v.to_string(),
        MapKey::I32(v) => v.to_string(),
        MapKey::I64(v) => v.to_string(),
        MapKey::U32(v) => v.to_string(),
        MapKey::U64(v) => v.to_string(),
        MapKey::String(v) => v.clone(),
    }
}

/// The field that `name` means: its proto name, its JSON name, or with dashes.
pub(crate) fn find(descriptor: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    descriptor
        .get_field_by_name(name)
        .or_else(|| descriptor.get_field_by_json_name(name))
        .or_else(|| descriptor.get_field_by_name(&name.replace('-', "_")))
        .ok_or_else(|| unknown_field(descriptor, name))
}

/// Whether a path leads to metadata that callers cannot write, such as the version and the time of creation.
pub(crate) fn is_kept_by_server<T: AsRef<str>>(ty: &ResourceType, path: &[T]) -> bool {
    let MetadataPlace::Inside(metadata) = &ty.metadata else { return false };
    match path {
        [first, second, ..] => {
            first.as_ref() == metadata.name() && !WRITABLE.contains(&second.as_ref())
        }
        _ => false,
    }
}

/// `network_refs` as JSON has it: `networkRefs`.
pub(crate) fn lower_camel(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if std::mem::take(&mut upper) => text.push(c.to_ascii_uppercase()),
            c => text.push(c),
        }
    }
    text
}

fn unknown_field(descriptor: &MessageDescriptor, name: &str) -> String {
    let names: Vec<_> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    match nearest(name, names.iter().map(String::as_str)).as_slice() {
        [] => format!("{} has no field \"{name}\"", descriptor.name()),
        near => format!(
            "{} has no field \"{name}\"; did you mean {}?",
            descriptor.name(),
            near.join(" or ")
        ),
    }
}

/// The fields that `document` gives, as deep as messages go; lists, maps and well-known types are taken as a whole.
///
/// An empty message counts itself. `Err` is the path of a field that does not exist, with the reason.
pub(crate) fn given(
    descriptor: &MessageDescriptor,
    document: &Json,
) -> Result<Vec<FieldPath>, String> {
    let mut found = Vec::new();
    collect(descriptor, document, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn collect(
    descriptor: &MessageDescriptor,
    document: &Json,
    path: &mut Vec<String>,
    found: &mut Vec<FieldPath>,
) -> Result<(), String> {
    let Json::Object(entries) = document else {
        return Err(format!("{}expected a mapping of fields", place(path)));
    };
    if path.len() >= DEPTH_MAX {
        return Err(format!("{}nested deeper than {DEPTH_MAX} levels", place(path)));
    }
    for (name, value) in entries {
        let field =
            find(descriptor, name).map_err(|problem| format!("{}{problem}", place(path)))?;
        path.push(field.name().to_owned());
        match field.kind() {
            Kind::Message(inner)
                if !field.is_list()
                    && !field.is_map()
                    && !is_well_known(&inner)
                    && is_filled(value) =>
            {
                collect(&inner, value, path, found)?;
            }
            _ => found.push(FieldPath::of(path)),
        }
        path.pop();
    }
    Ok(())
}

/// Neither null (the field is to be absent) nor an empty mapping (the message is to be there, empty).
fn is_filled(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Object(entries) => !entries.is_empty(),
        _ => true,
    }
}

fn place(path: &[String]) -> String {
    if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) }
}

/// Up to three of `names` that look most like `text`.
pub(crate) fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = text.to_lowercase();
    let tolerance = 1 + wanted.chars().count() / 4;
    let mut close: Vec<_> = names
        .map(|name| (edit_distance(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= tolerance)
        .collect();
    close.sort();
    close.dedup();
    let best = close.first().map_or(0, |(distance, _)| *distance);
    let best = close.into_iter().take_while(|(distance, _)| *distance == best);
    best.take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Levenshtein's distance; both texts are short words.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::testing::device_type;
    use super::*;

    fn masks(json: serde_json::Value) -> Result<Vec<String>, String> {
        let device = device_type();
        Ok(given(&device.message, &json)?.iter().map(FieldPath::mask).collect())
    }

    #[test]
    fn messages_are_entered_and_maps_are_not() {
        let document = serde_json::json!({
            "displayName": "x",
            "spec": {"model": "m", "tags": ["a"]},
            "metadata": {"labels": {"a": "b"}},
        });
        assert_eq!(
            masks(document).unwrap(),
            ["display_name", "spec.model", "spec.tags", "metadata.labels"]
        );
    }

    #[test]
    fn an_empty_or_null_message_counts_itself() {
        assert_eq!(masks(serde_json::json!({"spec": {}})).unwrap(), ["spec"]);
        assert_eq!(masks(serde_json::json!({"spec": null})).unwrap(), ["spec"]);
    }

    #[test]
    fn a_field_that_does_not_exist_is_named_with_its_place() {
        assert_eq!(
            masks(serde_json::json!({"spec": {"modle": 1}})).unwrap_err(),
            "spec: Spec has no field \"modle\"; did you mean model?"
        );
    }

    #[test]
    fn dots_of_a_key_are_escaped_in_a_mask() {
        let path = FieldPath { fields: vec!["labels".into()], key: Some("a.b".into()) };
        assert_eq!(path.mask(), r"labels.a\.b");
        assert!(path.is_within("labels"));
        assert!(!path.is_within("label"));
    }

    #[test]
    fn a_copied_path_changes_nothing_else() {
        use super::super::json::{from_value, to_value};
        let ty = device_type();
        let message = |json| from_value(&ty.message, json).unwrap();
        let from = message(serde_json::json!({
            "displayName": "new", "metadata": {"labels": {"a": "2"}}, "spec": {"port": 0}
        }));
        let mut to = message(serde_json::json!({
            "displayName": "old", "description": "stays",
            "metadata": {"labels": {"a": "1", "b": "1"}, "tags": ["t"]}, "spec": {"port": 80, "model": "m"}
        }));
        let path = |fields: &[&str], key: Option<&str>| FieldPath {
            fields: fields.iter().map(|f| (*f).to_owned()).collect(),
            key: key.map(str::to_owned),
        };
        path(&["display_name"], None).copy(&from, &mut to);
        path(&["metadata", "labels"], Some("a")).copy(&from, &mut to);
        path(&["spec", "port"], None).copy(&from, &mut to);
        assert_eq!(
            to_value(&to).unwrap(),
            serde_json::json!({
                "displayName": "new", "description": "stays",
                "metadata": {"tags": ["t"], "labels": {"a": "2", "b": "1"}}, "spec": {"model": "m"}
            })
        );
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(nearest("devics", ["devices", "secrets"].into_iter()), ["devices"]);
    }
}
