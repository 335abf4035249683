//! The operations of a document: one for each HTTP rule of each served method.

use std::sync::Arc;

use bowline_schema::http::HttpRule;
use bowline_schema::model::{Method, Role, ServiceVersion, Verb};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::options::Behaviour;
use super::schemas::Schemas;
use super::template::{OpenPath, Spellings};
use super::{errors, parameters};

/// HTTP methods that OpenAPI has a place for.
const HTTP_METHODS: [&str; 8] =
    ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// All paths, in the order of the methods. Of two operations in the same place the first is served, and shown.
pub(super) fn paths(
    version: &ServiceVersion,
    served: &dyn Fn(&Method) -> bool,
    schemas: &mut Schemas<'_>,
) -> Map<String, Value> {
    let mut paths = Map::new();
    let mut spellings = Spellings::default();
    let is_shown = |m: &&Arc<Method>| served(m) && !m.descriptor.is_client_streaming();
    for method in version.methods.iter().filter(is_shown) {
        for (index, rule) in method.http.iter().enumerate() {
            let verb = rule.method.to_ascii_lowercase();
            if !HTTP_METHODS.contains(&verb.as_str()) {
                continue;
            }
            let path = spellings.path(version, &rule.template);
            let item = paths.entry(path.text.clone()).or_insert_with(|| json!({}));
            if item.get(&verb).is_none() {
                item[verb] = operation(method, rule, index, &path, schemas);
            }
        }
    }
    paths
}

fn operation(
    method: &Method,
    rule: &HttpRule,
    index: usize,
    path: &OpenPath,
    schemas: &mut Schemas<'_>,
) -> Value {
    let descriptor = &method.descriptor;
    let service = descriptor.parent_service().name().to_owned();
    let suffix = if index == 0 { String::new() } else { format!("_{}", index + 1) };
    let mut operation = json!({
        "operationId": format!("{service}_{}{suffix}", descriptor.name()),
        "tags": [service],
        "summary": summary(method),
    });
    if let Some(text) =
        schemas.comments.of(&descriptor.parent_service().parent_file(), descriptor.path())
    {
        operation["description"] = json!(text);
    }
    let path_fields: Vec<_> =
        rule.template.variables.iter().map(|v| v.field_path.clone()).collect();
    let mut all = parameters::in_path(path, method, schemas);
    all.extend(parameters::in_query(method, &path_fields, &rule.body, schemas));
    if !all.is_empty() {
        operation["parameters"] = Value::Array(all);
    }
    if !rule.body.is_empty() {
        operation["requestBody"] = request_body(method, rule, &path_fields, schemas);
    }
    operation["responses"] = responses(method, rule, schemas);
    if descriptor.is_server_streaming() {
        operation["x-streaming"] = json!(true);
    }
    operation
}

/// What the method does, where its binding says it; otherwise its name in words.
fn summary(method: &Method) -> String {
    let Role::Standard(binding) = &method.role else { return words(method.descriptor.name()) };
    let (one, many) = (words(&binding.resource.singular), words(&binding.resource.plural));
    match binding.verb {
        Verb::Get => format!("Get one {one}"),
        Verb::BatchGet => format!("Get several {many} by name"),
        Verb::List => format!("List {many}"),
        Verb::Create => format!("Create one {one}"),
        Verb::Update => format!("Update one {one}"),
        Verb::Delete => format!("Delete one {one}"),
        Verb::WatchOne => format!("Watch one {one}"),
        Verb::Watch => format!("Watch {many}"),
    }
}

/// `ServiceAccount` as `service account`.
fn words(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 && !out.ends_with(' ') {
            out.push(' ');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn request_body(
    method: &Method,
    rule: &HttpRule,
    path_fields: &[String],
    schemas: &mut Schemas<'_>,
) -> Value {
    let input = method.descriptor.input();
    let field = (rule.body != "*").then(|| input.get_field_by_name(&rule.body)).flatten();
    let (schema, required) = match &field {
        None => (schemas.message(&input), required_fields(&input, "", path_fields)),
        Some(field) => (schemas.field_type(field), body_requirements(method, field, path_fields)),
    };
    let schema = if required.is_empty() {
        schema
    } else {
        // Only this body must have them: answers with a mask, and patches, have a part of the fields.
        json!({"allOf": [schema, {"required": required}]})
    };
    let is_required =
        field.as_ref().is_some_and(|f| Behaviour::of(f).required) || !required.is_empty();
    let media = if is_raw(&input, field.as_ref()) { "*/*" } else { "application/json" };
    json!({"required": is_required, "content": {media: {"schema": schema}}})
}

/// Required fields of a body that is one field of the request. A patch needs none: it says what it changes.
fn body_requirements(
    method: &Method,
    field: &FieldDescriptor,
    path_fields: &[String],
) -> Vec<String> {
    let Role::Standard(binding) = &method.role else { return Vec::new() };
    match field.kind() {
        Kind::Message(message)
            if binding.verb == Verb::Create && !field.is_list() && !field.is_map() =>
        {
            required_fields(&message, &format!("{}.", field.name()), path_fields)
        }
        _ => Vec::new(),
    }
}

/// JSON names of the required fields of `message` that clients may set and the path does not give.
fn required_fields(
    message: &MessageDescriptor,
    prefix: &str,
    path_fields: &[String],
) -> Vec<String> {
    let is_open = |field: &FieldDescriptor| {
        let behaviour = Behaviour::of(field);
        let path = format!("{prefix}{}", field.name());
        let deeper = format!("{path}.");
        let given = path_fields.iter().any(|given| *given == path || given.starts_with(&deeper));
        behaviour.required && !behaviour.output_only && !given
    };
    message.fields().filter(is_open).map(|field| field.json_name().to_owned()).collect()
}

fn is_raw(input: &MessageDescriptor, field: Option<&FieldDescriptor>) -> bool {
    let name = match field {
        None => input.full_name().to_owned(),
        Some(field) => {
            field.kind().as_message().map(|m| m.full_name().to_owned()).unwrap_or_default()
        }
    };
    name == "google.api.HttpBody"
}

fn responses(method: &Method, rule: &HttpRule, schemas: &mut Schemas<'_>) -> Value {
    let output = method.descriptor.output();
    let field = output.get_field_by_name(&rule.response_body);
    let schema = match &field {
        None => schemas.message(&output),
        Some(field) => schemas.field_type(field),
    };
    let content = if method.descriptor.is_server_streaming() {
        json!({
            "application/x-ndjson": {"schema": schema},
            "text/event-stream": {"schema": {"type": "string"}},
        })
    } else if is_raw(&output, field.as_ref()) {
        json!({"*/*": {"schema": schema}})
    } else {
        json!({"application/json": {"schema": schema}})
    };
    let text = match method.descriptor.is_server_streaming() {
        true => {
            "A stream: one message on each line, or in each event. A line with `error` ends it."
        }
        false => "Done.",
    };
    json!({"200": {"description": text, "content": content}, "default": errors::response()})
}
