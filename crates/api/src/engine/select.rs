//! What a list or watch shows: which resources (scope and filter) and how much of each (mask and view).
//!
//! One piece of code for lists and watches, so that both always agree.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_resource::document::Document;
use bowline_resource::filter::Filter;
use bowline_resource::mask::{Mask, MaskError};
use bowline_resource::name::Scope;
use bowline_resource::view::{self, View};
use bowline_schema::model::ResourceType;
use bowline_store::Row;
use bytes::Bytes;
use prost::Message;
use prost_reflect::Kind;

use super::errors;
use super::request::{Request, field_name};
use super::shape::document_of;
use crate::limits::Limits;

pub(crate) struct Selection {
    pub(crate) ty: Arc<ResourceType>,
    pub(crate) scope: Scope,
    pub(crate) filter: Filter,
    /// Empty: everything is shown.
    pub(crate) mask: Mask,
}

impl Selection {
    /// Reads parent, filter, mask and view of a list or watch request.
    pub(crate) fn of_collection(
        ty: &Arc<ResourceType>,
        request: &Request<'_>,
        limits: &Limits,
    ) -> Result<Self, Status> {
        let fields = request.fields;
        let parent = request.text(&fields.parent);
        let mut filter = parse_filter(ty, request, limits)?;
        let scope = match Scope::of_parent(ty, &parent) {
            Ok(scope) => scope,
            Err(error) => {
                filter = filter_by_parent(ty, &parent, &filter).ok_or_else(|| {
                    let field = field_name(&fields.parent, "parent");
                    Status::bad_field(Reason::InvalidParent, field, error.to_string())
                })?;
                Scope::all(ty)
            }
        };
        Ok(Self { ty: ty.clone(), scope, filter, mask: parse_mask(ty, request)? })
    }

    /// Reads mask and view of a request for resources by name.
    pub(crate) fn of_names(ty: &Arc<ResourceType>, request: &Request<'_>) -> Result<Self, Status> {
        let mask = parse_mask(ty, request)?;
        Ok(Self { ty: ty.clone(), scope: Scope::all(ty), filter: Filter::everything(), mask })
    }

    /// Every resource in scope is shown whole: stored bytes can be handed on.
    pub(crate) fn passes_all(&self) -> bool {
        self.filter.is_everything() && self.mask.is_empty()
    }

    pub(crate) fn matches(&self, document: &Document) -> bool {
        self.filter.matches(document)
    }

    /// The bytes that a client sees of `document`; `stored` are its whole bytes if they are at hand.
    pub(crate) fn view(&self, document: &Document, stored: Option<Bytes>) -> Bytes {
        match stored {
            Some(stored) if self.mask.is_empty() => stored,
            _ => self.mask.project(&document.body).encode_to_vec().into(),
        }
    }

    /// The bytes that a client sees of a stored row, or `None` if it is not selected.
    pub(crate) fn view_row(&self, name: &str, row: &Row) -> Result<Option<Bytes>, Status> {
        Ok(self.look_at(name, row)?.map(|seen| seen.body))
    }

    /// Judges a stored row; decodes it only if a filter or a mask needs it.
    pub(crate) fn look_at(&self, name: &str, row: &Row) -> Result<Option<Seen>, Status> {
        if !self.scope.contains(name) {
            return Ok(None);
        }
        if self.passes_all() {
            return Ok(Some(Seen { body: row.body.clone(), document: None }));
        }
        let document = decode(&self.ty, name, row)?;
        if !self.matches(&document) {
            return Ok(None);
        }
        let body = self.view(&document, Some(row.body.clone()));
        Ok(Some(Seen { body, document: Some(document) }))
    }
}

/// A selected row.
pub(crate) struct Seen {
    pub(crate) body: Bytes,
    /// The decoded resource, if it had to be decoded.
    pub(crate) document: Option<Document>,
}

/// Decodes a stored row.
pub(crate) fn decode(ty: &Arc<ResourceType>, name: &str, row: &Row) -> Result<Document, Status> {
    document_of(ty, row).map_err(|error| errors::damaged(ty, name, &error))
}

fn parse_filter(
    ty: &Arc<ResourceType>,
    request: &Request<'_>,
    limits: &Limits,
) -> Result<Filter, Status> {
    let text = request.text(&request.fields.filter);
    let field = || field_name(&request.fields.filter, "filter");
    if text.len() > limits.filter_bytes_max {
        return Err(errors::limit(&field(), text.len(), limits.filter_bytes_max, "bytes"));
    }
    Filter::parse(&text, ty)
        .map_err(|error| Status::bad_field(Reason::InvalidFilter, field(), error.to_string()))
}

/// For types whose parent is a field and not a part of the name (Resource Manager's projects): `filter`, and the parent.
///
/// `None` if the type has no such field.
fn filter_by_parent(ty: &ResourceType, parent: &str, filter: &Filter) -> Option<Filter> {
    let field = ty.message.get_field_by_name("parent")?;
    if field.kind() != Kind::String || field.is_list() {
        return None;
    }
    let escaped = parent.replace('\\', "\\\\").replace('"', "\\\"").replace('*', "\\*");
    let by_parent = format!("parent = \"{escaped}\"");
    let text =
        if filter.is_everything() { by_parent } else { format!("{by_parent} AND ({filter})") };
    Filter::parse(&text, ty).ok()
}

fn parse_mask(ty: &Arc<ResourceType>, request: &Request<'_>) -> Result<Mask, Status> {
    let fields = request.fields;
    let paths = request.mask(&fields.field_mask).unwrap_or_default();
    let view = request.enum_name(&fields.view).unwrap_or_default();
    let bad = |error: &MaskError| {
        let field = field_name(&fields.field_mask, "view");
        Status::bad_field(Reason::InvalidMask, field, bowline_base::chain(error).to_string())
    };
    let mask = Mask::parse(&paths, ty).map_err(|error| bad(&error))?;
    let shown = view::effective(ty, View::of_enum_value(&view), &mask);
    Ok(shown.map_err(|error| bad(&error))?.unwrap_or_else(|| Mask::empty(&ty.message)))
}
