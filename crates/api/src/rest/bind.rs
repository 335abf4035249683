//! From a matched HTTP request to the message that the method takes: body, then query, then path.

use axum::body::Body;
use bowline_base::{Reason, Status};
use bowline_schema::http::HttpRule;
use bowline_schema::model::{Method, Role};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};

use super::failure::Failure;
use super::json_read::{find_field, mask_from_text, read_field, read_message};
use super::path::RequestPath;
use super::query::{Query, put, value_from_text};
use super::scalar::scalar_form;
use super::trie::Route;

/// The parts of an HTTP request that its message is made of.
pub(super) struct Parts<'a> {
    pub(super) path: &'a RequestPath<'a>,
    pub(super) query: &'a Query,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Bytes,
}

/// How much of a body that is too long is read and thrown away, in bytes. A client that is cut off while it
/// sends would see a broken connection, and not the error.
const DISCARDED_BYTES_MAX: usize = 32 << 20;

/// Reads the body, at most `bytes_max` bytes of it; a longer one is refused before its memory is taken.
///
/// # Errors
/// 400 if it is too long or the client breaks off, 415 if it is compressed.
pub(super) async fn read_body(
    headers: &HeaderMap,
    mut body: Body,
    bytes_max: usize,
) -> Result<Bytes, Failure> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let status = Status::new(Reason::MalformedBody, "compressed bodies are not read over REST");
        return Err(Failure::from(status).with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut read = BytesMut::with_capacity(if declared <= bytes_max { declared } else { 0 });
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let broken = |_| Status::new(Reason::MalformedBody, "the body ended before its end");
        // Trailers have no meaning here.
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        length += data.len();
        if length <= bytes_max && declared <= bytes_max {
            read.extend_from_slice(&data);
        } else if length > bytes_max.saturating_add(DISCARDED_BYTES_MAX) {
            break;
        }
    }
    if length > bytes_max {
        let text = format!("the body is larger than {bytes_max} bytes");
        return Err(Status::new(Reason::LimitExceeded, text).into());
    }
    Ok(read.freeze())
}

/// Makes the request message of `route`.
///
/// # Errors
/// 400 naming the field, with line and column for JSON; 415 for a body that is not JSON.
pub(super) fn bind(route: &Route, parts: &Parts<'_>) -> Result<DynamicMessage, Failure> {
    let (method, rule) = (&route.method, &route.rule);
    let mut message = bind_body(method, rule, parts)?;
    let mut taken: Vec<&str> = Vec::new();
    // A body that takes all fields, and is empty, leaves them to the query.
    if !rule.body.is_empty() && (rule.body != "*" || !parts.body.is_empty()) {
        taken.push(&rule.body);
    }
    taken.extend(rule.template.variables.iter().map(|variable| variable.field_path.as_str()));
    parts.query.apply(&mut message, &taken)?;
    bind_path(&mut message, rule, parts.path)?;
    Ok(message)
}

fn bind_path(
    message: &mut DynamicMessage,
    rule: &HttpRule,
    path: &RequestPath<'_>,
) -> Result<(), Status> {
    for variable in &rule.template.variables {
        let text = path.capture(&rule.template, variable);
        let bad = |why: String| Status::bad_field(Reason::InvalidField, &variable.field_path, why);
        let fields = field_path(&message.descriptor(), &variable.field_path)
            .ok_or_else(|| bad("is in the path template, and not in the request".to_owned()))?;
        let Some(leaf) = fields.last().filter(|leaf| !leaf.is_list() && !leaf.is_map()) else {
            return Err(bad("cannot be given in the path".to_owned()));
        };
        let value = value_from_text(&leaf.kind(), &text)
            .ok_or_else(|| bad(format!("expected {}", scalar_form(&leaf.kind()))))?;
        put(message, &fields, value);
    }
    Ok(())
}

/// The fields along a dotted path of proto names; `None` if one does not exist.
pub(super) fn field_path(
    descriptor: &MessageDescriptor,
    path: &str,
) -> Option<Vec<FieldDescriptor>> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    for part in path.split('.') {
        let inner = match fields.last() {
            None => descriptor.clone(),
            Some(last) => last.kind().as_message().filter(|_| !last.is_list())?.clone(),
        };
        fields.push(find_field(&inner, part)?);
    }
    Some(fields)
}

fn bind_body(
    method: &Method,
    rule: &HttpRule,
    parts: &Parts<'_>,
) -> Result<DynamicMessage, Failure> {
    let input = method.descriptor.input();
    let mut message = DynamicMessage::new(input.clone());
    if rule.body.is_empty() {
        return if parts.body.is_empty() { Ok(message) } else { Err(no_body(rule)) };
    }
    if parts.body.is_empty() {
        return Ok(message);
    }
    if rule.body == "*" {
        if is_http_body(&input) {
            return Ok(raw_body(&input, parts));
        }
        check_json(parts.headers)?;
        return Ok(read_message(&input, &parts.body, "")?.message);
    }
    let field = find_field(&input, &rule.body).ok_or_else(|| {
        Status::new(Reason::Internal, format!("{} has no body field {}", method.path, rule.body))
    })?;
    match field.kind() {
        Kind::Message(inner) if !field.is_list() && !field.is_map() => {
            if is_http_body(&inner) {
                message.set_field(&field, Value::Message(raw_body(&inner, parts)));
                return Ok(message);
            }
            check_json(parts.headers)?;
            let read = read_message(&inner, &parts.body, field.name())?;
            message.set_field(&field, Value::Message(read.message));
            imply_mask(&mut message, method, rule, parts.query, read.mentioned);
        }
        _ => {
            check_json(parts.headers)?;
            if let Some(value) = read_field(&field, &parts.body)? {
                message.set_field(&field, value);
            }
        }
    }
    Ok(message)
}

fn no_body(rule: &HttpRule) -> Failure {
    let text = format!("{} {} takes no body", rule.method, rule.template.text);
    Failure::from(Status::new(Reason::MalformedBody, text))
}

fn is_http_body(descriptor: &MessageDescriptor) -> bool {
    descriptor.full_name() == "google.api.HttpBody"
}

/// A `google.api.HttpBody`: the bytes as they came, with their type.
fn raw_body(descriptor: &MessageDescriptor, parts: &Parts<'_>) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let media = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // The fields are those of the published type; another shape under its name stays empty.
    let media = Value::String(media.unwrap_or_default().to_owned());
    let _ = message.try_set_field_by_name("content_type", media);
    let _ = message.try_set_field_by_name("data", Value::Bytes(parts.body.clone()));
    message
}

/// Only JSON is read. A form or plain text is refused, also because browsers send these across origins unasked.
fn check_json(headers: &HeaderMap) -> Result<(), Failure> {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return Ok(());
    }
    let said =
        if essence.is_empty() { "no content type".to_owned() } else { format!("`{essence}`") };
    let text = format!("the body has {said}; send `content-type: application/json`");
    let status = Status::new(Reason::MalformedBody, text);
    Err(Failure::from(status).with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// A patch without a mask changes what its body mentions (AIP-134), also what it sets to null or a default.
///
/// The name is never part of it: the path gives it. An explicit mask in the query comes later and wins.
fn imply_mask(
    message: &mut DynamicMessage,
    method: &Method,
    rule: &HttpRule,
    query: &Query,
    mentioned: Vec<String>,
) {
    let Role::Standard(binding) = &method.role else { return };
    let (Some(mask), Some(resource)) = (&binding.request.update_mask, &binding.request.resource)
    else {
        return;
    };
    let is_patch_of_resource = rule.method == "PATCH" && rule.body == resource.name();
    if !is_patch_of_resource || query.names(mask) {
        return;
    }
    let Kind::Message(descriptor) = mask.kind() else { return };
    let name_field = binding.resource.name_field.name();
    let paths: Vec<_> = mentioned.into_iter().filter(|path| path != name_field).collect();
    if !paths.is_empty() {
        let value = mask_from_text(&descriptor, &paths.join(","));
        message.set_field(mask, Value::Message(value));
    }
}
