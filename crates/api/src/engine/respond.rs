//! Answers of writes: the resource, nothing, or a finished operation with the resource in it.

use bowline_base::Seams;
use bowline_schema::model::{ResourceType, Response};
use bytes::Bytes;

use crate::wire;

/// Field numbers of `google.longrunning.Operation` and `google.protobuf.Any`.
mod tags {
    pub(super) const OPERATION_NAME: u32 = 1;
    pub(super) const OPERATION_METADATA: u32 = 2;
    pub(super) const OPERATION_DONE: u32 = 3;
    pub(super) const OPERATION_RESPONSE: u32 = 5;
    pub(super) const ANY_TYPE_URL: u32 = 1;
    pub(super) const ANY_VALUE: u32 = 2;
}

/// Puts `body` (`None` after a delete) into the shape that the method answers with.
pub(crate) fn written(
    response: &Response,
    ty: &ResourceType,
    body: Option<Bytes>,
    seams: &Seams,
) -> Bytes {
    match response {
        Response::Operation { metadata, .. } => {
            let metadata = metadata.as_ref().map(|m| m.full_name().to_owned());
            operation(ty, body, metadata.as_deref(), seams)
        }
        Response::Resource => body.unwrap_or_default(),
        _ => Bytes::new(),
    }
}

/// The answer of a delete: nothing, an operation with nothing in it, or the resource as it last was.
pub(crate) fn deleted(
    response: &Response,
    ty: &ResourceType,
    body: &Bytes,
    seams: &Seams,
) -> Bytes {
    let has_resource =
        matches!(response, Response::Resource | Response::Operation { has_resource: true, .. });
    let body = has_resource.then(|| body.clone());
    written(response, ty, body, seams)
}

/// A finished operation. Its name is unique; there is nothing to wait for, so it is not kept.
fn operation(
    ty: &ResourceType,
    body: Option<Bytes>,
    metadata: Option<&str>,
    seams: &Seams,
) -> Bytes {
    let (kind, value) = match body {
        Some(body) => (ty.message.full_name(), body),
        None => ("google.protobuf.Empty", Bytes::new()),
    };
    wire::build(value.len() + 160, |buffer| {
        let name = format!("operations/{}", seams.new_uid());
        wire::put_bytes(buffer, tags::OPERATION_NAME, name.as_bytes());
        if let Some(metadata) = metadata {
            wire::put_bytes(buffer, tags::OPERATION_METADATA, &any(metadata, &[]));
        }
        wire::put_varint(buffer, tags::OPERATION_DONE, 1);
        wire::put_bytes(buffer, tags::OPERATION_RESPONSE, &any(kind, &value));
    })
}

fn any(full_name: &str, value: &[u8]) -> Bytes {
    wire::build(full_name.len() + value.len() + 32, |buffer| {
        let url = format!("type.googleapis.com/{full_name}");
        wire::put_bytes(buffer, tags::ANY_TYPE_URL, url.as_bytes());
        if !value.is_empty() {
            wire::put_bytes(buffer, tags::ANY_VALUE, value);
        }
    })
}
