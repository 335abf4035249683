//! Comparing resources: what was sent with what came back, and what a write may have touched.

use bowline_schema::model::{MetadataPlace, ResourceType};
use prost_reflect::{DynamicMessage, FieldDescriptor, Value};

use super::Failure;
use crate::generate::Plan;

/// The name of a resource.
pub(super) fn name_of(ty: &ResourceType, resource: &DynamicMessage) -> String {
    resource.get_field(&ty.name_field).as_str().unwrap_or_default().to_owned()
}

/// Every field that was sent is there as it was sent, but for what only goes in and what the server manages.
pub(super) fn kept(
    plan: &Plan<'_>,
    sent: &DynamicMessage,
    got: &DynamicMessage,
) -> Result<(), Failure> {
    for (field, value) in sent.fields() {
        let path = field.name();
        let hides =
            |list: &[String]| list.iter().any(|p| p == path || p.starts_with(&format!("{path}.")));
        if plan.is_managed(path)
            || hides(&plan.ty.fields.input_only)
            || hides(&plan.ty.fields.output_only)
        {
            continue;
        }
        if *got.get_field(&field) != *value {
            return Err(differs(path, value, &got.get_field(&field)));
        }
    }
    Ok(())
}

/// Two states are equal but for the standard fields that every write moves.
pub(super) fn same(plan: &Plan<'_>, a: &DynamicMessage, b: &DynamicMessage) -> Result<(), Failure> {
    let fields = plan.ty.message.fields().filter(|field| !moves(plan, field));
    for field in fields {
        if a.get_field(&field) != b.get_field(&field) {
            return Err(differs(field.name(), &a.get_field(&field), &b.get_field(&field)));
        }
    }
    Ok(())
}

fn moves(plan: &Plan<'_>, field: &FieldDescriptor) -> bool {
    plan.is_managed(field.name()) && field != &plan.ty.name_field
}

/// The standard fields that the type declares are filled after a create.
pub(super) fn filled(ty: &ResourceType, resource: &DynamicMessage) -> Result<(), Failure> {
    let standard = &ty.standard;
    for field in [&standard.uid, &standard.etag, &standard.create_time, &standard.update_time] {
        let Some(field) = field else { continue };
        if !resource.has_field(field) {
            return Err(Failure::Wrong(format!("{} is not set by the server", field.name())));
        }
    }
    let MetadataPlace::Inside(field) = &ty.metadata else { return Ok(()) };
    let metadata = resource.get_field(field).into_owned();
    let set = |name: &str| metadata.as_message().is_some_and(|m| m.has_field_by_name(name));
    let missing = ["create_time", "update_time", "uuid", "resource_version"]
        .into_iter()
        .find(|name| !set(name));
    match missing {
        Some(name) => Err(Failure::Wrong(format!("metadata.{name} is not set by the server"))),
        None => Ok(()),
    }
}

fn differs(path: &str, expected: &Value, got: &Value) -> Failure {
    Failure::Wrong(format!("field {path} is {}, expected {}", short(got), short(expected)))
}

/// A value for people, cut to a line.
fn short(value: &Value) -> String {
    let text = format!("{value}");
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
