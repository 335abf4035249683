//! Backups: all rows of deployments as of one moment each, in one file that any backend takes back.
//!
//! [`BackupWriter`] writes one from snapshots, [`BackupReader`] reads one and judges every byte, [`Restore`] puts what it
//! reads into an empty store. All three hold a block in memory and no more, whatever the size of the store.
//! The format is in `block` (how bytes are framed) and `row` (how rows are); `docs/backup.md` has it for people.
//!
//! Not here: opening stores and files, which the program does; documents as JSON, which are derived from what is here.

mod block;
mod error;
mod mark;
mod read;
mod restore;
mod row;
mod write;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use block::FORMAT;
pub use error::{BackupError, RestoreError};
pub use mark::is_unfinished;
pub use read::{BackupReader, Contents, DeploymentContents, Part, check};
pub use restore::{Guard, Restore, Restored};
pub use write::BackupWriter;

use crate::contract::{Extract, Row, Table};
use crate::{layout, upkeep};

/// Most deployments in one file.
pub const DEPLOYMENTS_MAX: usize = 4_096;

/// Most tables of one deployment.
pub const TABLES_MAX: usize = 65_536;

/// What a file says of itself at its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the program that wrote it.
    pub program: String,
    /// When it was begun, RFC 3339.
    pub created: String,
    /// What is in it, in order.
    pub deployments: Vec<Deployment>,
}

/// Whose rows they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Deployment {
    pub service: String,
    pub region: String,
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.service, self.region)
    }
}

/// How much was written or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub tables: u64,
    pub rows: u64,
    /// Of names, bodies and all else that rows hold, before compression.
    pub bytes: u64,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.tables += other.tables;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// Whether the rows of a table say something of processes that run now, and would be wrong anywhere else.
///
/// All other rows go into a backup, those of internal tables too.
pub fn is_of_processes(table: &Table) -> bool {
    *table == layout::common(INCARNATIONS) || *table == layout::common(mark::KIND)
}

/// A row as a backup has it: what is said of readable forms would not be true of what is made of it.
fn portable(table: &Table, row: Row) -> Row {
    let of_readable = |name: &str| name.rsplit(' ').next() == Some(upkeep::READABLE);
    let is_said = *table == layout::common(DERIVED)
        && row.extract.fields().any(|(name, _)| of_readable(name));
    if !is_said {
        return row;
    }
    let mut extract = Extract::builder();
    for (name, value) in row.extract.fields().filter(|(name, _)| !of_readable(name)) {
        extract = extract.field(name, value);
    }
    for entry in row.extract.entries() {
        extract = extract.entry(entry.index, entry.value);
    }
    Row { extract: extract.build(), ..row }
}

/// What of that which is derived is complete, by table; see [`upkeep`].
const DERIVED: &str = "~index";

/// Server processes with their low-water marks; see [`layout`].
const INCARNATIONS: &str = "~incarnation";

#[cfg(test)]
mod conversions;
#[cfg(test)]
mod tests;
