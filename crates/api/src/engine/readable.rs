//! The form of a document that people query with SQL: proto3 JSON, made only for stores that keep it.

use bowline_resource::document::Document;
use bytes::Bytes;

use super::deployment::Deployment;
use crate::rest::{WriteOptions, message_to_json};

/// The readable form, if the store of `deployment` wants it. Metadata beside the document is not in it.
pub(crate) fn of(deployment: &Deployment, document: &Document) -> Option<Bytes> {
    let is_wanted = deployment.backend.wants_readable();
    is_wanted.then(|| message_to_json(&document.body, WriteOptions::default()).into())
}
