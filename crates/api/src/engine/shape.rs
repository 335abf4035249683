//! What the engine works out once per resource type, so that requests do not.

use std::sync::Arc;

use bowline_schema::model::ResourceType;
use bowline_store::{Key, Table};

/// A type with its table.
pub(crate) struct Shape {
    pub(crate) ty: Arc<ResourceType>,
    pub(crate) table: Table,
}

impl Shape {
    pub(crate) fn of(ty: &Arc<ResourceType>) -> Self {
        let table = Table { namespace: ty.version.as_str().into(), kind: ty.kind.as_str().into() };
        Self { ty: ty.clone(), table }
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key { table: self.table.clone(), name: name.into() }
    }
}
