//! Work that a commit left to the constraint controller: rows that lie in the order of their shards, so that each process
//! reads its own.

use std::sync::Arc;

use bowline_store::ring::{Shards, shard_of};
use bowline_store::{Key, NameRange, Row, Table, Version, layout};
use bowline_wire::bowline::graph::v1 as stored;
use prost::Message;

use crate::Damaged;

/// Types of tasks, as they stand in rows.
pub mod kind {
    /// Tell owners that references were committed, so that their blockades go.
    pub const CONFIRM_BLOCKADES: &str = "CONFIRM_BLOCKADES";
}

pub fn table() -> Table {
    layout::common("~task")
}

/// Where a task is; the same id gives the same task.
pub fn key(task_type: &str, id: &[u8]) -> Key {
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let name: Arc<str> = format!("{:04}/{task_type}/{hex}", shard_of(id)).into();
    Key { table: table(), name }
}

/// The tasks of these shards.
pub fn range(shards: Shards) -> NameRange {
    let mut range = NameRange::all(table());
    range.from = format!("{:04}", shards.from);
    range.to = Some(format!("{:04}", shards.to));
    range
}

pub fn row(task: &stored::Task, version: Version) -> Row {
    Row::new(version, task.encode_to_vec())
}

/// # Errors
/// If the row is not what [`row`] made.
pub fn of_row(row: &Row) -> Result<stored::Task, Damaged> {
    let damaged = |source| Damaged { what: "task".to_owned(), source };
    stored::Task::decode(row.body.as_ref()).map_err(damaged)
}
