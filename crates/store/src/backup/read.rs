//! Reading a backup part by part, in the order in which it was written; everything is judged before it is handed on.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::block::{Block, BlockReader, Kind};
use super::error::BackupError;
use super::write::{DeploymentStart, End, TableStart};
use super::{DEPLOYMENTS_MAX, Deployment, Header, TABLES_MAX, Totals, is_of_processes, row};
use crate::contract::{INDEX_NAME_BYTES_MAX, NamedRow, Position, Table};

/// What comes next in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The state of this deployment as of `position` follows.
    Deployment { deployment: Deployment, position: Position },
    /// Rows of the table that was named last, in the order of names, after those that were given before.
    Rows { table: Table, rows: Vec<NamedRow> },
    /// All rows of the deployment were given.
    DeploymentEnd(Totals),
    /// Everything was given, and the file is whole.
    End(Totals),
}

/// A backup that is being read.
pub struct BackupReader<R> {
    /// Absent after the end.
    blocks: Option<BlockReader<R>>,
    header: Header,
    /// Deployments that were begun.
    begun: usize,
    open: Option<Open>,
    totals: Totals,
}

/// The deployment that is being read.
#[derive(Debug, Default)]
struct Open {
    table: Option<Table>,
    last_name: Option<Arc<str>>,
    totals: Totals,
}

impl<R: Read> BackupReader<R> {
    /// Reads the header. `input` is read in large pieces and small ones: give it a buffer.
    ///
    /// # Errors
    /// Any of [`BackupError`] that reading can give.
    pub fn open(input: R) -> Result<Self, BackupError> {
        let mut blocks = BlockReader::start(input)?;
        let block = blocks.next_block()?;
        if block.kind != Kind::Header {
            return Err(blocks.wrong("a header was expected"));
        }
        let header: Header = facts(&blocks, &block)?;
        if header.deployments.len() > DEPLOYMENTS_MAX {
            return Err(blocks.wrong("there are too many deployments"));
        }
        let mut sorted = header.deployments.clone();
        sorted.sort();
        sorted.dedup();
        if sorted.len() != header.deployments.len() {
            return Err(blocks.wrong("a deployment is there twice"));
        }
        let totals = Totals::default();
        Ok(Self { blocks: Some(blocks), header, begun: 0, open: None, totals })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next part; [`Part::End`] is the last, and comes again if asked for again.
    ///
    /// Memory: one block, at most a little more than the largest row.
    ///
    /// # Errors
    /// Any of [`BackupError`] that reading can give. What was given before is then not to be trusted to be everything.
    pub fn part(&mut self) -> Result<Part, BackupError> {
        loop {
            let Some(blocks) = &mut self.blocks else { return Ok(Part::End(self.totals)) };
            let block = blocks.next_block()?;
            let part = match (block.kind, &mut self.open) {
                (Kind::Deployment, None) => self.begin(&block)?,
                (Kind::Table, Some(open)) => {
                    open.begin_table(blocks, &block)?;
                    continue;
                }
                (Kind::Rows, Some(open)) => open.rows(blocks, block.payload)?,
                (Kind::DeploymentEnd, Some(_)) => self.end_deployment(&block)?,
                (Kind::End, None) => self.end(&block)?,
                _ => return Err(blocks.wrong("it is of a kind that cannot come here")),
            };
            return Ok(part);
        }
    }

    fn begin(&mut self, block: &Block) -> Result<Part, BackupError> {
        let blocks = self.blocks.as_ref().ok_or(BackupError::Undeclared)?;
        let start: DeploymentStart = facts(blocks, block)?;
        if self.header.deployments.get(self.begun) != Some(&start.deployment) {
            return Err(blocks.wrong("the header does not name this deployment here"));
        }
        self.begun += 1;
        self.open = Some(Open::default());
        let position = Position { era: start.era, sequence: start.sequence };
        Ok(Part::Deployment { deployment: start.deployment, position })
    }

    fn end_deployment(&mut self, block: &Block) -> Result<Part, BackupError> {
        let blocks = self.blocks.as_ref().ok_or(BackupError::Undeclared)?;
        let told: Totals = facts(blocks, block)?;
        let found = self.open.take().unwrap_or_default().totals;
        if told != found {
            return Err(blocks.wrong("the rows before it are not as many as it says"));
        }
        self.totals.add(found);
        Ok(Part::DeploymentEnd(found))
    }

    fn end(&mut self, block: &Block) -> Result<Part, BackupError> {
        let Some(blocks) = self.blocks.take() else { return Ok(Part::End(self.totals)) };
        let end: End = facts(&blocks, block)?;
        let is_all = end.totals == self.totals
            && end.deployments == self.begun
            && self.begun == self.header.deployments.len();
        if !is_all {
            return Err(blocks.wrong("what came before it is not all that it says"));
        }
        if end.xxh3_128 != format!("{:032x}", block.before) {
            return Err(blocks.wrong("the checksum of the whole file is wrong"));
        }
        blocks.finish()?;
        Ok(Part::End(self.totals))
    }
}

impl Open {
    fn begin_table<R: Read>(
        &mut self,
        blocks: &BlockReader<R>,
        block: &Block,
    ) -> Result<(), BackupError> {
        let start: TableStart = facts(blocks, block)?;
        if start.namespace.len().max(start.kind.len()) > INDEX_NAME_BYTES_MAX {
            return Err(blocks.wrong("the name of a table is too long"));
        }
        let table = Table { namespace: start.namespace.into(), kind: start.kind.into() };
        if self.table.as_ref().is_some_and(|last| *last >= table) {
            return Err(blocks.wrong("its table is out of order"));
        }
        if is_of_processes(&table) {
            return Err(blocks.wrong("its table has no place in a backup"));
        }
        self.totals.tables += 1;
        if self.totals.tables > TABLES_MAX as u64 {
            return Err(blocks.wrong("there are too many tables"));
        }
        self.table = Some(table);
        self.last_name = None;
        Ok(())
    }

    fn rows<R: Read>(
        &mut self,
        blocks: &BlockReader<R>,
        mut payload: Bytes,
    ) -> Result<Part, BackupError> {
        let Some(table) = self.table.clone() else {
            return Err(blocks.wrong("it has rows of no table"));
        };
        let mut rows = Vec::new();
        while !payload.is_empty() {
            let (name, row) = row::take(&mut payload).map_err(|problem| blocks.wrong(problem))?;
            if self.last_name.as_ref().is_some_and(|last| *last >= name) {
                return Err(blocks.wrong("its rows are out of order"));
            }
            self.last_name = Some(name.clone());
            self.totals.rows += 1;
            self.totals.bytes += row::bytes_of(&name, &row) as u64;
            rows.push((name, row));
        }
        Ok(Part::Rows { table, rows })
    }
}

fn facts<T: DeserializeOwned, R: Read>(
    blocks: &BlockReader<R>,
    block: &Block,
) -> Result<T, BackupError> {
    serde_json::from_slice(&block.payload).map_err(|_| blocks.wrong("its facts make no sense"))
}

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub header: Header,
    pub deployments: Vec<DeploymentContents>,
    pub totals: Totals,
}

/// What a backup has of one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentContents {
    pub deployment: Deployment,
    pub position: Position,
    /// Rows by table, in the order of tables.
    pub tables: Vec<(Table, u64)>,
}

/// Reads a backup to its end and tells what is in it.
///
/// # Errors
/// Whatever is wrong with it first.
pub fn check(input: impl Read) -> Result<Contents, BackupError> {
    let mut reader = BackupReader::open(input)?;
    let mut deployments: Vec<DeploymentContents> = Vec::new();
    loop {
        match reader.part()? {
            Part::Deployment { deployment, position } => {
                deployments.push(DeploymentContents { deployment, position, tables: Vec::new() });
            }
            Part::Rows { table, rows } => {
                if let Some(last) = deployments.last_mut() {
                    last.add(&table, rows.len() as u64);
                }
            }
            Part::DeploymentEnd(_) => {}
            Part::End(totals) => {
                return Ok(Contents { header: reader.header, deployments, totals });
            }
        }
    }
}

impl DeploymentContents {
    /// Counts rows of a table that is the last one or comes after it.
    pub fn add(&mut self, table: &Table, rows: u64) {
        match self.tables.last_mut() {
            Some((last, counted)) if last == table => *counted += rows,
            _ => self.tables.push((table.clone(), rows)),
        }
    }
}
