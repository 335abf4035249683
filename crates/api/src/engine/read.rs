//! Get and batch get.

use std::collections::BTreeSet;

use bowline_base::{Reason, Status};
use bowline_resource::name;
use bowline_schema::model::Response;
use bytes::Bytes;

use super::request::{Request, field_name};
use super::select::Selection;
use super::{Engine, Route, errors};
use crate::wire;

impl Engine {
    pub(crate) async fn get(&self, route: &Route, request: Request<'_>) -> Result<Bytes, Status> {
        let selection = Selection::of_names(&route.resource.ty, &request)?;
        let text = request.text(&request.fields.name);
        let name = parse_name(route, &text, &field_name(&request.fields.name, "name"))?;
        let found = route.deployment.backend.get(&route.resource.key(&name)).await;
        let (row, _) = found.map_err(|error| errors::store(&error))?;
        let row = row.ok_or_else(|| errors::not_found(&route.resource.ty, &name))?;
        let body = selection.view_row(&name, &row)?;
        body.ok_or_else(|| errors::not_found(&route.resource.ty, &name))
    }

    pub(crate) async fn batch_get(
        &self,
        route: &Route,
        request: Request<'_>,
    ) -> Result<Bytes, Status> {
        let selection = Selection::of_names(&route.resource.ty, &request)?;
        let names = self.names_of(route, &request)?;
        let keys: Vec<_> = names.iter().map(|name| route.resource.key(name)).collect();
        let failed = |error| errors::store(&error);
        let mut snapshot = route.deployment.backend.snapshot().await.map_err(failed)?;
        let rows = snapshot.batch_get(&keys).await.map_err(failed)?;
        drop(snapshot);
        let Response::BatchGet { items, missing } = &route.binding.response else {
            return Err(Status::new(Reason::Internal, "not the response of a batch get"));
        };
        let mut buffer = bytes::BytesMut::new();
        for (name, row) in names.iter().zip(rows) {
            let body = match row {
                Some(row) => selection.view_row(name, &row)?,
                None => None,
            };
            match (body, missing) {
                (Some(body), _) => wire::put_bytes(&mut buffer, items.number(), &body),
                (None, Some(field)) => {
                    wire::put_bytes(&mut buffer, field.number(), name.as_bytes());
                }
                // A response without a place for what is missing answers all or nothing (AIP-231).
                (None, None) => return Err(errors::not_found(&route.resource.ty, name)),
            }
        }
        Ok(buffer.freeze())
    }

    /// The names of a batch get: checked, duplicates collapsed, in order.
    pub(crate) fn names_of(
        &self,
        route: &Route,
        request: &Request<'_>,
    ) -> Result<Vec<String>, Status> {
        let texts = request.texts(&request.fields.names);
        let max = self.limits.batch_get_max;
        if texts.len() > max {
            return Err(errors::limit("names", texts.len(), max, "names"));
        }
        let mut seen = BTreeSet::new();
        let mut names = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let name = parse_name(route, text, &format!("names[{index}]"))?;
            if seen.insert(name.clone()) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Checks a name of one resource (no wildcards) and gives it in relative form.
pub(crate) fn parse_name(route: &Route, text: &str, field: &str) -> Result<String, Status> {
    if text.is_empty() {
        return Err(Status::bad_field(Reason::InvalidField, field, "is required"));
    }
    match name::parse(&route.resource.ty, text) {
        Ok(parsed) => Ok(parsed.text),
        Err(error) => Err(Status::bad_field(Reason::InvalidName, field, error.to_string())),
    }
}
