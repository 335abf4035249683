//! Writing a backup from snapshots: tables in order, rows in order, in blocks of about a megabyte.

use std::io::Write;

use serde::Serialize;

use super::block::{BlockWriter, Kind};
use super::error::BackupError;
use super::{
    DEPLOYMENTS_MAX, Deployment, Header, TABLES_MAX, Totals, is_of_processes, portable, row,
};
use crate::contract::{NameRange, Position, Row, Snapshot, Table};

/// A block of rows ends after this many bytes.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Rows read at once, at most. Fewer while rows are large.
const PAGE_ROWS_MAX: usize = 512;

/// Bytes of rows read at once, about.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// The block before the rows of a deployment.
#[derive(Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct DeploymentStart {
    #[serde(flatten)]
    pub(super) deployment: Deployment,
    pub(super) era: u64,
    pub(super) sequence: u64,
}

/// The block before the rows of a table.
#[derive(Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct TableStart {
    pub(super) namespace: String,
    pub(super) kind: String,
}

/// The last block.
#[derive(Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct End {
    pub(super) deployments: usize,
    #[serde(flatten)]
    pub(super) totals: Totals,
    /// XXH3-128 of all bytes before this block, in hexadecimal.
    pub(super) xxh3_128: String,
}

/// A backup that is being written. Without [`BackupWriter::finish`] it is none: readers refuse it.
pub struct BackupWriter<W> {
    blocks: BlockWriter<W>,
    deployments: Vec<Deployment>,
    done: usize,
    totals: Totals,
}

impl<W: Write> BackupWriter<W> {
    /// Begins a backup of the deployments that `header` names.
    ///
    /// # Errors
    /// [`BackupError::Write`]; [`BackupError::Unfit`] if there are more than [`DEPLOYMENTS_MAX`].
    pub fn start(out: W, header: &Header) -> Result<Self, BackupError> {
        if header.deployments.len() > DEPLOYMENTS_MAX {
            return Err(BackupError::Unfit("there are too many deployments"));
        }
        let mut blocks = BlockWriter::start(out)?;
        put_facts(&mut blocks, Kind::Header, header)?;
        let deployments = header.deployments.clone();
        Ok(Self { blocks, deployments, done: 0, totals: Totals::default() })
    }

    /// Writes all rows that `snapshot` sees as those of the next deployment of the header, but for those that say
    /// something of running processes ([`is_of_processes`]). `progress` is told the totals after every page.
    ///
    /// Memory: one page of rows. Compresses and writes on the thread that polls it, a block at a time.
    ///
    /// # Errors
    /// [`BackupError::Store`], [`BackupError::Write`], or that there is no next deployment.
    pub async fn deployment(
        &mut self,
        snapshot: &mut dyn Snapshot,
        progress: &mut (dyn FnMut(Totals) + Send),
    ) -> Result<Totals, BackupError> {
        let deployment = self.deployments.get(self.done).ok_or(BackupError::Undeclared)?.clone();
        let Position { era, sequence } = snapshot.position();
        put_facts(
            &mut self.blocks,
            Kind::Deployment,
            &DeploymentStart { deployment, era, sequence },
        )?;
        let mut tables = snapshot.tables().await?;
        tables.retain(|table| !is_of_processes(table));
        if tables.len() > TABLES_MAX {
            return Err(BackupError::Unfit("a deployment has too many tables"));
        }
        let before = self.totals;
        for table in tables {
            self.table(snapshot, table, progress).await?;
        }
        let own = Totals {
            tables: self.totals.tables - before.tables,
            rows: self.totals.rows - before.rows,
            bytes: self.totals.bytes - before.bytes,
        };
        put_facts(&mut self.blocks, Kind::DeploymentEnd, &own)?;
        self.done += 1;
        Ok(own)
    }

    /// Writes the end, by which a reader knows that it has everything.
    ///
    /// # Errors
    /// [`BackupError::Write`]; [`BackupError::Undeclared`] if deployments are missing.
    pub fn finish(mut self) -> Result<(W, Totals), BackupError> {
        if self.done != self.deployments.len() {
            return Err(BackupError::Undeclared);
        }
        let xxh3_128 = format!("{:032x}", self.blocks.checksum());
        let end = End { deployments: self.done, totals: self.totals, xxh3_128 };
        put_facts(&mut self.blocks, Kind::End, &end)?;
        Ok((self.blocks.finish()?, self.totals))
    }

    async fn table(
        &mut self,
        snapshot: &mut dyn Snapshot,
        table: Table,
        progress: &mut (dyn FnMut(Totals) + Send),
    ) -> Result<(), BackupError> {
        let start =
            TableStart { namespace: table.namespace.to_string(), kind: table.kind.to_string() };
        put_facts(&mut self.blocks, Kind::Table, &start)?;
        self.totals.tables += 1;
        let mut range = NameRange::all(table);
        let mut block = Vec::new();
        // Carefully at first: nothing is known of the size of these rows.
        let mut limit = 16;
        loop {
            let page = snapshot.scan(&range, limit, false).await?;
            let largest = page.iter().map(|(name, row)| row::bytes_of(name, row)).max();
            let last = page.last().filter(|_| page.len() == limit).map(|(name, _)| name.clone());
            for (name, row) in page {
                self.add(&mut block, &name, &portable(&range.table, row))?;
            }
            progress(self.totals);
            let Some(last) = last else { break };
            // A NUL at the end makes the smallest name above it.
            range.from = format!("{last}\0");
            limit = next_limit(largest.unwrap_or(1), limit);
        }
        self.flush(&mut block)
    }

    fn add(&mut self, block: &mut Vec<u8>, name: &str, row: &Row) -> Result<(), BackupError> {
        let bytes = row::bytes_of(name, row);
        if !block.is_empty() && block.len() + bytes > BLOCK_BYTES {
            self.flush(block)?;
        }
        row::put(block, name, row);
        self.totals.rows += 1;
        self.totals.bytes += bytes as u64;
        Ok(())
    }

    fn flush(&mut self, block: &mut Vec<u8>) -> Result<(), BackupError> {
        if !block.is_empty() {
            self.blocks.block(Kind::Rows, block)?;
            block.clear();
        }
        Ok(())
    }
}

/// How many rows to read next: more than last time only step by step, and as many as the largest rows seen allow.
fn next_limit(largest: usize, limit: usize) -> usize {
    (PAGE_BYTES / largest.max(1)).clamp(1, PAGE_ROWS_MAX.min(limit * 2))
}

fn put_facts<W: Write>(
    blocks: &mut BlockWriter<W>,
    kind: Kind,
    facts: &impl Serialize,
) -> Result<(), BackupError> {
    let json = serde_json::to_vec(facts).map_err(|error| BackupError::Write(error.into()))?;
    blocks.block(kind, &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_large_rows_are_short() {
        assert_eq!(next_limit(100, 16), 32);
        assert_eq!(next_limit(100, 400), PAGE_ROWS_MAX);
        assert_eq!(next_limit(1024 * 1024, 400), 2);
        assert_eq!(next_limit(usize::MAX, 400), 1);
    }
}
