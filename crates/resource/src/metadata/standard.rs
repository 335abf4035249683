//! Standard AIP fields that a resource declares itself (AIP-148), kept in step with its metadata.

use std::collections::{BTreeMap, HashMap};

use bowline_schema::model::{MetadataPlace, ResourceType};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, Value};

use super::{Meta, etag_of};

/// Fills `uid`, `etag` and the times of `body` from `meta`; fields of unexpected types are left alone.
pub(crate) fn fill(ty: &ResourceType, body: &mut DynamicMessage, meta: &Meta) {
    let standard = &ty.standard;
    fill_text(body, standard.uid.as_ref(), &meta.uuid);
    fill_text(body, standard.etag.as_ref(), &etag_of(meta));
    fill_time(body, standard.create_time.as_ref(), meta.create_time.as_ref());
    fill_time(body, standard.update_time.as_ref(), meta.update_time.as_ref());
    fill_time(body, standard.delete_time.as_ref(), meta.delete_time.as_ref());
    if matches!(ty.metadata, MetadataPlace::Beside) {
        fill_map(body, standard.labels.as_ref(), &meta.labels);
        fill_map(body, standard.annotations.as_ref(), &meta.annotations);
    }
}

/// Takes into `meta` what clients write in standard fields. Types with `metadata` of their own write it there.
pub(crate) fn take_writable(ty: &ResourceType, body: &DynamicMessage, meta: &mut Meta) {
    if !matches!(ty.metadata, MetadataPlace::Beside) {
        return;
    }
    if let Some(labels) = text_map(body, ty.standard.labels.as_ref()) {
        meta.labels = labels;
    }
    if let Some(annotations) = text_map(body, ty.standard.annotations.as_ref()) {
        meta.annotations = annotations;
    }
}

fn fill_text(body: &mut DynamicMessage, field: Option<&FieldDescriptor>, text: &str) {
    let Some(field) = field.filter(|f| f.kind() == Kind::String && !f.is_list()) else { return };
    body.set_field(field, Value::String(text.to_owned()));
}

fn fill_time(
    body: &mut DynamicMessage,
    field: Option<&FieldDescriptor>,
    time: Option<&prost_types::Timestamp>,
) {
    let Some(field) = field.filter(|f| !f.is_list()) else { return };
    let Kind::Message(message) = field.kind() else { return };
    if message.full_name() != "google.protobuf.Timestamp" {
        return;
    }
    let Some(time) = time else { return body.clear_field(field) };
    let mut value = DynamicMessage::new(message);
    value.set_field_by_number(1, Value::I64(time.seconds));
    value.set_field_by_number(2, Value::I32(time.nanos));
    body.set_field(field, Value::Message(value));
}

/// The field, if it is a map of text to text.
fn text_map_field(field: Option<&FieldDescriptor>) -> Option<&FieldDescriptor> {
    field.filter(|field| match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            entry.map_entry_key_field().kind() == Kind::String
                && entry.map_entry_value_field().kind() == Kind::String
        }
        _ => false,
    })
}

fn fill_map(
    body: &mut DynamicMessage,
    field: Option<&FieldDescriptor>,
    map: &BTreeMap<String, String>,
) {
    let Some(field) = text_map_field(field) else { return };
    let entry = |(key, value): (&String, &String)| {
        (MapKey::String(key.clone()), Value::String(value.clone()))
    };
    body.set_field(field, Value::Map(map.iter().map(entry).collect::<HashMap<_, _>>()));
}

fn text_map(
    body: &DynamicMessage,
    field: Option<&FieldDescriptor>,
) -> Option<BTreeMap<String, String>> {
    let field = text_map_field(field)?;
    let value = body.get_field(field);
    let entry = |(key, value): (&MapKey, &Value)| {
        Some((key.as_str()?.to_owned(), value.as_str()?.to_owned()))
    };
    Some(value.as_map()?.iter().filter_map(entry).collect())
}
