//! Work that a commit left to the constraint controller: rows that lie in the order of their shards, so that each process
//! reads its own.

use std::sync::Arc;

use bowline_store::{Key, NameRange, Row, Table, Version, layout};
use bowline_wire::bowline::graph::v1 as stored;
use prost::Message;

use crate::Damaged;

/// Size of the ring over which controllers spread their work.
pub const RING: u32 = 1_024;

/// Types of tasks, as they stand in rows.
pub mod kind {
    /// Tell owners that references were committed, so that their blockades go.
    pub const CONFIRM_BLOCKADES: &str = "CONFIRM_BLOCKADES";
    /// Ask sources of a target whether they still hold references (a blockade has expired, or a reference has gone).
    pub const ASK_SOURCES: &str = "ASK_SOURCES";
}

pub fn table() -> Table {
    layout::common("~task")
}

/// The shard of what has these bytes for an id. FNV-1a, folded.
pub fn shard_of(id: &[u8]) -> u32 {
    let hash = id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash % u64::from(RING)) as u32
}

/// Where a task is; the same id gives the same task.
pub fn key(task_type: &str, id: &[u8]) -> Key {
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let name: Arc<str> = format!("{:04}/{task_type}/{hex}", shard_of(id)).into();
    Key { table: table(), name }
}

/// The tasks of shards `from..to`.
pub fn range(from: u32, to: u32) -> NameRange {
    let mut range = NameRange::all(table());
    range.from = format!("{from:04}");
    range.to = Some(format!("{to:04}"));
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
