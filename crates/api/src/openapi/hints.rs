//! What a binding knows beyond the types: how ids look, and examples of masks, orders and filters.

use bowline_resource::name::ID_BYTES_MAX;
use bowline_schema::model::{Binding, Method, ResourceType, Role, Verb};
use prost_reflect::{FieldDescriptor, Kind};
use serde_json::{Value, json};

use super::options::Behaviour;

/// Ids as people write them. Letters of other scripts and more marks are accepted; tools need not make them up.
const ID_PATTERN: &str = "^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$";

/// The schema of one segment of a name.
pub(super) fn segment_schema() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": ID_BYTES_MAX, "pattern": ID_PATTERN})
}

/// The schema of an id of this type.
fn id_schema(ty: &ResourceType) -> Value {
    let mut schema = segment_schema();
    if let Some(pattern) = &ty.id_pattern {
        schema["pattern"] = json!(format!("^(?:{pattern})$"));
    }
    schema
}

/// The schema of the last segment of the name that `field_path` takes, if that is the name of the method's resource.
pub(super) fn id_in_name(method: &Method, field_path: &str) -> Option<Value> {
    let binding = binding(method)?;
    let names_one =
        matches!(binding.verb, Verb::Get | Verb::Update | Verb::Delete | Verb::WatchOne);
    let own_name = binding.request.name.as_ref().is_some_and(|field| field.name() == field_path);
    let in_resource = binding.request.resource.as_ref().is_some_and(|field| {
        field_path.strip_prefix(field.name())
            == Some(&format!(".{}", binding.resource.name_field.name()))
    });
    (names_one && (own_name || in_resource)).then(|| id_schema(&binding.resource))
}

/// Adds to the query parameter of `field`, a field of the request itself, what the binding knows of it.
pub(super) fn refine(parameter: &mut Value, field: &FieldDescriptor, method: &Method) {
    let Some(binding) = binding(method) else { return };
    let (fields, ty) = (&binding.request, &binding.resource);
    let is = |bound: &Option<FieldDescriptor>| bound.as_ref() == Some(field);
    if is(&fields.resource_id) {
        parameter["schema"] = id_schema(ty);
    } else if is(&fields.page_size) {
        // AIP-158: a negative size is refused.
        parameter["schema"]["minimum"] = json!(0);
    }
    let example = if is(&fields.order_by) {
        Some(format!("{} desc", ty.name_field.name()))
    } else if is(&fields.update_mask) || is(&fields.field_mask) {
        settable(ty).map(|field| field.json_name().to_owned())
    } else if is(&fields.filter) {
        ty.standard.display_name.as_ref().map(|field| format!("{} = \"example\"", field.name()))
    } else {
        None
    };
    if let Some(example) = example {
        parameter["example"] = json!(example);
    }
}

/// The first field that a client may change.
fn settable(ty: &ResourceType) -> Option<FieldDescriptor> {
    let is_open = |field: &FieldDescriptor| {
        let behaviour = Behaviour::of(field);
        let is_metadata =
            matches!(field.kind(), Kind::Message(m) if m.full_name() == "goten.types.Meta");
        *field != ty.name_field && !is_metadata && !behaviour.output_only && !behaviour.immutable
    };
    ty.message.fields().find(is_open)
}

fn binding(method: &Method) -> Option<&Binding> {
    match &method.role {
        Role::Standard(binding) => Some(binding),
        Role::Action { .. } => None,
    }
}
