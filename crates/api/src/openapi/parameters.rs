//! Parameters of operations: path variables, and request fields in the query.

use bowline_schema::model::Method;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::hints;
use super::options::Behaviour;
use super::schemas::Schemas;
use super::template::OpenPath;

/// How deep messages in a query are followed.
const QUERY_DEPTH_MAX: usize = 3;

/// The variables of `path`.
pub(super) fn in_path(path: &OpenPath, method: &Method, schemas: &mut Schemas<'_>) -> Vec<Value> {
    let input = method.descriptor.input();
    let parameters = path.parameters.iter().enumerate().map(|(at, parameter)| {
        let field = field_at(&input, &parameter.field_path);
        let later = path.parameters.get(at + 1..).unwrap_or_default();
        let is_last = later.iter().all(|other| other.field_path != parameter.field_path);
        let mut schema = match &field {
            Some(field) if parameter.is_whole_field && !matches!(field.kind(), Kind::String) => {
                schemas.field_type(field)
            }
            _ if parameter.is_rest => json!({"type": "string", "minLength": 1}),
            _ => hints::id_in_name(method, &parameter.field_path)
                .filter(|_| is_last)
                .unwrap_or_else(hints::segment_schema),
        };
        let mut text = match parameter.is_whole_field {
            true => format!("The field `{}`.", parameter.field_path),
            false => format!("Part of the field `{}`.", parameter.field_path),
        };
        if parameter.is_rest {
            text.push_str(" May have several segments.");
            schema["x-multi-segment"] = json!(true);
        }
        json!({"name": parameter.name, "in": "path", "required": true, "description": text, "schema": schema})
    });
    parameters.collect()
}

/// All fields of the request that neither the path nor the body gives.
pub(super) fn in_query(
    method: &Method,
    path_fields: &[String],
    body: &str,
    schemas: &mut Schemas<'_>,
) -> Vec<Value> {
    let mut found = Vec::new();
    if body != "*" {
        let mut walk = Walk { method, path_fields, found: &mut found, schemas };
        walk.message(&method.descriptor.input(), &mut Vec::new(), body);
    }
    found
}

struct Walk<'w, 'c> {
    method: &'w Method,
    path_fields: &'w [String],
    found: &'w mut Vec<Value>,
    schemas: &'w mut Schemas<'c>,
}

impl Walk<'_, '_> {
    fn message(
        &mut self,
        message: &MessageDescriptor,
        above: &mut Vec<FieldDescriptor>,
        body: &str,
    ) {
        for field in message.fields() {
            if above.is_empty() && field.name() == body {
                continue;
            }
            above.push(field.clone());
            let name = above.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
            if !self.path_fields.contains(&name) {
                self.field(&field, above);
            }
            above.pop();
        }
    }

    fn field(&mut self, field: &FieldDescriptor, above: &mut Vec<FieldDescriptor>) {
        let kind = field.kind();
        match &kind {
            _ if field.is_map() => {}
            Kind::Message(inner) if !fits_in_query(inner) => {
                let is_plain = !inner.full_name().starts_with("google.protobuf.");
                if is_plain && !field.is_list() && above.len() < QUERY_DEPTH_MAX {
                    self.message(inner, above, "");
                }
            }
            _ => {
                let parameter = self.parameter(field, above);
                self.found.push(parameter);
            }
        }
    }

    fn parameter(&mut self, field: &FieldDescriptor, above: &[FieldDescriptor]) -> Value {
        let name = above.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".");
        let mut parameter = json!({"name": name, "in": "query"});
        if above.len() == 1 && Behaviour::of(field).required {
            parameter["required"] = json!(true);
        }
        if let Some(text) = self.schemas.comments.of(&field.parent_file(), field.path()) {
            parameter["description"] = json!(text);
        }
        parameter["schema"] = self.schemas.field_type(field);
        if above.len() == 1 {
            hints::refine(&mut parameter, field, self.method);
        }
        parameter
    }
}

/// Messages that have a text form: times, masks, wrapped scalars.
fn fits_in_query(message: &MessageDescriptor) -> bool {
    let Some(name) = message.full_name().strip_prefix("google.protobuf.") else { return false };
    match name {
        "Timestamp" | "Duration" | "FieldMask" => true,
        "Value" | "ListValue" => false,
        wrapper => wrapper.ends_with("Value"),
    }
}

fn field_at(input: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    let mut field: Option<FieldDescriptor> = None;
    for part in path.split('.') {
        let inner = match &field {
            None => input.clone(),
            Some(last) => last.kind().as_message()?.clone(),
        };
        field = Some(inner.get_field_by_name(part)?);
    }
    field
}
