//! What the engine works out once per resource type, so that requests do not.

use std::sync::Arc;

use bowline_graph::index::{enter, mark_active, mark_deleting};
use bowline_graph::{Aside, Held, References};
use bowline_node::place::Places;
use bowline_node::policy::PolicyField;
use bowline_resource::document::{Document, DocumentError};
use bowline_resource::index::DeclaredIndex;
use bowline_schema::model::{MetadataPlace, Registry, ResourceType};
use bowline_store::{Extract, Index, Key, Row, RowId, Table, layout};

/// A type with its table and its indexes.
pub(crate) struct Shape {
    pub(crate) ty: Arc<ResourceType>,
    pub(crate) table: Table,
    pub(crate) indexes: Vec<DeclaredIndex>,
    /// Where its names belong; `None` where there are no other deployments.
    pub(crate) places: Option<Places>,
    /// Where a policy holder has its policy.
    pub(crate) policy: Option<PolicyField>,
    /// What its resources can refer to.
    pub(crate) references: References,
}

impl Shape {
    pub(crate) fn of(registry: &Registry, ty: &Arc<ResourceType>, places: Option<Places>) -> Self {
        let table = layout::resources(&ty.version, &ty.kind);
        let policy = ty.policy_holder.then(|| PolicyField::of(&ty.message)).flatten();
        let references = References::of_type(registry, ty);
        let indexes = DeclaredIndex::of_type(ty);
        Self { ty: ty.clone(), table, indexes, places, policy, references }
    }

    /// Whether its resources have shadows: others can refer to them, and they to others.
    pub(crate) fn has_shadows(&self) -> bool {
        !self.ty.opt_outs.constraints
    }

    /// Whether a deletion leaves something for a namesake made later: holders of policies, where there are regions.
    pub(crate) fn leaves_behind(&self) -> bool {
        self.policy.is_some() && self.places.is_some()
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key { table: self.table.clone(), name: name.into() }
    }

    /// One of the indexes, as the store knows it.
    pub(crate) fn stored_index(&self, index: &DeclaredIndex) -> Index {
        Index { namespace: self.table.namespace.clone(), name: index.name().into() }
    }

    /// What conditions and indexes look at in a resource. `is_marked`: its deletion has committed.
    pub(crate) fn extract(
        &self,
        document: &Document,
        id: RowId,
        references: &[Held],
        is_marked: bool,
    ) -> Extract {
        let extract = Extract::builder();
        let mut extract = match (is_marked, self.has_shadows()) {
            (true, _) => mark_deleting(extract, id, references),
            (false, true) => mark_active(enter(extract, references), id),
            (false, false) => enter(extract, references),
        };
        for index in &self.indexes {
            for value in index.values(document) {
                extract = extract.entry(index.name(), value.into());
            }
        }
        extract.build()
    }
}

/// The resource in a row of its type's table.
///
/// # Errors
/// If the bytes are not what the type says.
pub(crate) fn document_of(ty: &Arc<ResourceType>, row: &Row) -> Result<Document, DocumentError> {
    // What is beside concerns nobody else, so it is not decoded for the others.
    let metadata = match ty.metadata {
        MetadataPlace::Beside => aside_of(row).metadata,
        _ => bytes::Bytes::new(),
    };
    Document::decode(ty.clone(), &row.body, &metadata)
}

/// What is kept beside the document of a row; nothing if it does not decode, which is logged.
pub(crate) fn aside_of(row: &Row) -> Aside {
    Aside::decode(&row.aside).unwrap_or_else(|error| {
        tracing::error!(id = %row.id.0, error = %bowline_base::chain(&error), "stored resource");
        Aside::default()
    })
}
