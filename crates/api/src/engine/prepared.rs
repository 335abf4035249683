//! A document as it is written: encoded, with what conditions and indexes look at, and as people read it.

use bowline_base::Status;
use bowline_graph::{Aside, Held, index};
use bowline_resource::document::Document;
use bowline_store::{Key, Row, RowId, Version, Write};
use bytes::Bytes;

use super::shape::Shape;
use super::{Deployment, errors, readable};

/// A document that is ready to be written.
pub(crate) struct Prepared {
    pub(crate) row: Row,
    /// The document as people read it, if the store keeps that.
    pub(crate) readable: Option<Bytes>,
}

/// What a row is called, in names and in versions.
#[derive(Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) id: RowId,
    pub(crate) version: Version,
    /// The resource's deletion has committed.
    pub(crate) is_marked: bool,
}

impl Identity {
    /// Of the version of a resource that follows the one in `row`, which is above it, and never above the sequence of the
    /// commit that brings it.
    pub(crate) fn after(row: &Row) -> Self {
        Self { id: row.id, version: row.version + 1, is_marked: index::is_marked(row) }
    }
}

impl Prepared {
    /// Encodes a document that holds `references`.
    pub(crate) fn of(
        deployment: &Deployment,
        shape: &Shape,
        document: &Document,
        references: Vec<Held>,
        identity: Identity,
    ) -> Self {
        let Identity { id, version, is_marked } = identity;
        let (body, metadata) = document.encode();
        let extract = shape.extract(document, id, &references, is_marked);
        let aside = Aside { metadata, references }.encode();
        let row = Row { id, aside, extract, ..Row::new(version, body) };
        Self { row, readable: readable::of(deployment, document) }
    }

    /// # Errors
    /// `LIMIT_EXCEEDED` if it is larger than `max` bytes.
    pub(crate) fn check_size(&self, max: usize) -> Result<(), Status> {
        let len = self.row.body.len() + self.row.aside.len();
        if len > max { Err(errors::limit("the resource", len, max, "bytes")) } else { Ok(()) }
    }

    pub(crate) fn put(self, key: Key) -> Write {
        Write::Put { key, row: self.row, readable: self.readable }
    }
}
