//! Deletions that have committed and are not finished: one row each, in the change log, so that importers can watch them
//! from any position.

use bowline_store::{Key, Row, RowId, Table, Version};
use bowline_wire::bowline::mixin::v1 as wire;
use prost::Message;

use crate::Damaged;

/// Outside of the namespaces of API versions, and not internal: its changes are in the log.
pub const NAMESPACE: &str = "deletions";

pub fn table(kind: &str) -> Table {
    Table { namespace: NAMESPACE.into(), kind: kind.into() }
}

/// The row of the resource's deletion; `kind` as the stored version has it.
pub fn key(kind: &str, uid: RowId) -> Key {
    Key { table: table(kind), name: format!("{:032x}", uid.0).into() }
}

/// The row; its body is what watchers are told.
pub fn row(deletion: &wire::Deletion, version: Version) -> Row {
    Row::new(version, deletion.encode_to_vec())
}

/// # Errors
/// If the row is not what [`row`] made.
pub fn of_row(row: &Row) -> Result<wire::Deletion, Damaged> {
    let damaged = |source| Damaged { what: "deletion".to_owned(), source };
    wire::Deletion::decode(row.body.as_ref()).map_err(damaged)
}
