//! What an update asks for, and the preconditions that it brings.

use std::sync::Arc;

use bowline_base::Status;
use bowline_resource::document::Document;
use bowline_resource::mask::Mask;
use bowline_schema::model::ResourceType;
use prost_reflect::DynamicMessage;

use super::parse_mask;
use crate::engine::errors;
use crate::engine::request::{Request, field_name, mask_paths};

/// What an update asks for, read from its request once.
pub(super) struct Change<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) resource: DynamicMessage,
    /// Empty if the request has none.
    pub(super) mask: Mask,
    /// The etag of the request, or the one in the resource.
    etag: String,
    /// Fields that must still be as they are in this message.
    expected: Option<(DynamicMessage, Mask)>,
}

impl<'a> Change<'a> {
    pub(super) fn of(
        ty: &Arc<ResourceType>,
        request: &'a Request<'a>,
        resource: DynamicMessage,
    ) -> Result<Self, Status> {
        let fields = request.fields;
        let paths = request.mask(&fields.update_mask).unwrap_or_default();
        let mask = parse_mask(ty, &paths, &field_name(&fields.update_mask, "update_mask"))?;
        let mut etag = request.text(&fields.etag);
        if let (true, Some(field)) = (etag.is_empty(), &ty.standard.etag) {
            etag = resource.get_field(field).as_str().unwrap_or_default().to_owned();
        }
        let expected = expected_state(ty, request)?;
        Ok(Self { request, resource, mask, etag, expected })
    }

    pub(super) fn check_preconditions(&self, before: &Document, name: &str) -> Result<(), Status> {
        let ty = &before.ty;
        if !self.etag.is_empty() && !etag_matches(before, &self.etag) {
            return Err(errors::conflict(ty, name, "has another etag now"));
        }
        if let Some((expected, mask)) = &self.expected {
            let expected = Document::new(ty.clone(), expected.clone());
            if mask.changed(before, &expected) {
                return Err(errors::conflict(ty, name, "is not in the state that cas expects"));
            }
        }
        Ok(())
    }
}

/// Whether a client's etag is that of the document; its plain resource version will do as well.
pub(crate) fn etag_matches(document: &Document, etag: &str) -> bool {
    etag == document.etag() || etag == document.meta().resource_version
}

/// `cas`: the state that the client expects, and which fields of it count (all without a mask).
fn expected_state(
    ty: &Arc<ResourceType>,
    request: &Request<'_>,
) -> Result<Option<(DynamicMessage, Mask)>, Status> {
    let Some(cas) = request.submessage(&request.fields.cas) else { return Ok(None) };
    let part = |name: &str| {
        let value = cas.get_field_by_name(name).map(|v| v.into_owned());
        match value {
            Some(prost_reflect::Value::Message(message)) => Some(message),
            _ => None,
        }
    };
    let Some(state) = part("conditional_state") else { return Ok(None) };
    let paths = part("field_mask").map(|mask| mask_paths(&mask)).unwrap_or_default();
    let mask = if paths.is_empty() {
        Mask::everything(&ty.message)
    } else {
        parse_mask(ty, &paths, "cas.field_mask")?
    };
    Ok(Some((state, mask)))
}
