//! What the engine works out once per resource type, so that requests do not.

use std::sync::Arc;

use bowline_node::place::Places;
use bowline_node::policy::PolicyField;
use bowline_resource::document::Document;
use bowline_resource::index::DeclaredIndex;
use bowline_schema::model::ResourceType;
use bowline_store::{Extract, Index, Key, Table, layout};

/// A type with its table and its indexes.
pub(crate) struct Shape {
    pub(crate) ty: Arc<ResourceType>,
    pub(crate) table: Table,
    pub(crate) indexes: Vec<DeclaredIndex>,
    /// Where its names belong; `None` where there are no other deployments.
    pub(crate) places: Option<Places>,
    /// Where a policy holder has its policy.
    pub(crate) policy: Option<PolicyField>,
}

impl Shape {
    pub(crate) fn of(ty: &Arc<ResourceType>, places: Option<Places>) -> Self {
        let table = layout::resources(&ty.version, &ty.kind);
        let policy = ty.policy_holder.then(|| PolicyField::of(&ty.message)).flatten();
        Self { ty: ty.clone(), table, indexes: DeclaredIndex::of_type(ty), places, policy }
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key { table: self.table.clone(), name: name.into() }
    }

    /// One of the indexes, as the store knows it.
    pub(crate) fn stored_index(&self, index: &DeclaredIndex) -> Index {
        Index { namespace: self.table.namespace.clone(), name: index.name().into() }
    }

    /// What conditions and indexes look at in a resource.
    pub(crate) fn extract(&self, document: &Document) -> Extract {
        let mut extract = Extract::builder();
        for index in &self.indexes {
            for value in index.values(document) {
                extract = extract.entry(index.name(), value.into());
            }
        }
        extract.build()
    }
}
