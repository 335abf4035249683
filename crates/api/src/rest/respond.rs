//! From the encoded answer of a handler to an HTTP response.

use axum::body::Body;
use bowline_base::{Reason, Status};
use bowline_schema::http::HttpRule;
use bowline_schema::model::Method;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};

use super::json_read::find_field;
use super::json_write::{WriteOptions, field_to_json, message_to_json};

/// The response of a unary method.
///
/// # Errors
/// `INTERNAL` if the bytes are not of the method's output type.
pub(super) fn unary(
    method: &Method,
    rule: &HttpRule,
    encoded: Bytes,
    options: WriteOptions,
) -> Result<Response<Body>, Status> {
    let message = decode(&method.descriptor.output(), encoded)?;
    let field = response_field(method, rule)?;
    let raw = match &field {
        None => is_http_body(&message_kind(method)).then(|| message.clone()),
        Some(field) => http_body_field(&message, field),
    };
    if let Some(raw) = raw {
        return Ok(raw_response(&raw));
    }
    let text = match &field {
        None => message_to_json(&message, options),
        Some(field) => field_to_json(&message, field, options),
    };
    Ok(json_response(text))
}

/// A JSON response that nobody keeps: what it says may change at any time.
pub(super) fn json_response(text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Decodes what a handler answered.
///
/// # Errors
/// `INTERNAL`: handlers answer in the method's output type.
pub(super) fn decode(output: &MessageDescriptor, encoded: Bytes) -> Result<DynamicMessage, Status> {
    DynamicMessage::decode(output.clone(), encoded).map_err(|error| {
        Status::new(Reason::Internal, format!("answer is not a {}: {error}", output.full_name()))
    })
}

fn message_kind(method: &Method) -> Kind {
    Kind::Message(method.descriptor.output())
}

fn response_field(method: &Method, rule: &HttpRule) -> Result<Option<FieldDescriptor>, Status> {
    if rule.response_body.is_empty() {
        return Ok(None);
    }
    let missing = || {
        let text = format!("{} has no response field {}", method.path, rule.response_body);
        Status::new(Reason::Internal, text)
    };
    find_field(&method.descriptor.output(), &rule.response_body).ok_or_else(missing).map(Some)
}

fn is_http_body(kind: &Kind) -> bool {
    kind.as_message().is_some_and(|message| message.full_name() == "google.api.HttpBody")
}

fn http_body_field(message: &DynamicMessage, field: &FieldDescriptor) -> Option<DynamicMessage> {
    if field.is_list() || field.is_map() || !is_http_body(&field.kind()) {
        return None;
    }
    message.get_field(field).as_message().cloned()
}

/// A `google.api.HttpBody` as it is.
fn raw_response(message: &DynamicMessage) -> Response<Body> {
    let data = message.get_field_by_name("data").and_then(|v| v.as_bytes().cloned());
    let mut response = Response::new(Body::from(data.unwrap_or_default()));
    let media =
        message.get_field_by_name("content_type").and_then(|v| v.as_str().map(str::to_owned));
    let media = media.and_then(|media| HeaderValue::from_str(&media).ok());
    let unknown = || HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, media.unwrap_or_else(unknown));
    response
}
