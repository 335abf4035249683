//! Small numbers for namespaces, kinds and indexes, so that keys are short, and the space that each namespace has.
//!
//! Numbers are given in commits of their own, before any row that needs them, and never to anything else: whoever sees
//! a row knows what its numbers mean. Only the space of a namespace changes; see [`super::spaces`].

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use rusqlite::{Connection, params};

use super::row::name_at;
use super::spaces::{self, Spaces};
use crate::contract::{Batch, Extract, Table, Write};

/// All names that have a number; what has none was never written to.
#[derive(Debug)]
pub(super) struct Names(RwLock<Known>);

#[derive(Debug)]
struct Known {
    namespaces: Numbers,
    kinds: Numbers,
    indexes: Numbers,
    /// As of the newest commit.
    spaces: Arc<Spaces>,
}

#[derive(Debug, Default)]
struct Numbers {
    by_name: HashMap<Arc<str>, i64>,
    by_number: HashMap<i64, Arc<str>>,
}

/// The numbers of a table, as the log has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableNumbers {
    pub(super) namespace: i64,
    pub(super) kind: i64,
}

/// Where the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) space: i64,
    pub(super) kind: i64,
}

impl Place {
    /// No row is here.
    pub(super) const NOWHERE: Self = Self { space: 0, kind: 0 };
}

impl Names {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self(RwLock::new(Known {
            namespaces: Numbers::load(connection, "namespaces")?,
            kinds: Numbers::load(connection, "kinds")?,
            indexes: Numbers::load(connection, "indexes")?,
            spaces: Arc::new(Spaces::load(connection)?),
        })))
    }

    pub(super) fn table(&self, table: &Table) -> Option<TableNumbers> {
        self.known().table(table)
    }

    pub(super) fn namespace(&self, name: &str) -> Option<i64> {
        self.known().namespaces.number(name)
    }

    pub(super) fn index(&self, name: &str) -> Option<i64> {
        self.known().indexes.number(name)
    }

    /// Where the rows of `table` are as of the newest commit, and the generation of the spaces that says so.
    pub(super) fn place_now(&self, table: &Table) -> (Option<Place>, u64) {
        let known = self.known();
        let numbers = known.table(table);
        let place = numbers.and_then(|numbers| known.spaces.place(numbers));
        (place, known.spaces.generation())
    }

    pub(super) fn spaces(&self) -> Arc<Spaces> {
        self.known().spaces.clone()
    }

    /// The spaces after a commit that changed them.
    pub(super) fn set_spaces(&self, spaces: Arc<Spaces>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).spaces = spaces;
    }

    /// The table with these numbers.
    pub(super) fn table_of(&self, numbers: TableNumbers) -> Option<Table> {
        let known = self.known();
        let namespace = known.namespaces.by_number.get(&numbers.namespace)?.clone();
        let kind = known.kinds.by_number.get(&numbers.kind)?.clone();
        Some(Table { namespace, kind })
    }

    pub(super) fn kind_of(&self, number: i64) -> Option<Arc<str>> {
        self.known().kinds.by_number.get(&number).cloned()
    }

    /// All namespaces with their numbers, by name.
    pub(super) fn namespaces(&self) -> Vec<(Arc<str>, i64)> {
        let known = self.known();
        let all = known.namespaces.by_name.iter().map(|(name, number)| (name.clone(), *number));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all
    }

    /// Gives numbers to all that `batches` write to.
    pub(super) fn add_missing<'b>(
        &self,
        connection: &Connection,
        batches: impl Iterator<Item = &'b Batch>,
    ) -> rusqlite::Result<()> {
        for write in batches.flat_map(|batch| &batch.writes) {
            if !self.known().has_all(write) {
                self.add(connection, write)?;
            }
        }
        Ok(())
    }

    fn add(&self, connection: &Connection, write: &Write) -> rusqlite::Result<()> {
        match write {
            Write::Put { key, row, .. } => {
                self.add_namespace(connection, &key.table.namespace)?;
                self.add_kind(connection, &key.table.kind)?;
                self.add_indexes(connection, &row.extract)
            }
            Write::Reindex { extract, .. } => self.add_indexes(connection, extract),
            Write::Swap { a, b } => {
                self.add_namespace(connection, a)?;
                self.add_namespace(connection, b)
            }
            Write::Remove { .. } | Write::Drop { .. } => Ok(()),
        }
    }

    fn add_namespace(&self, connection: &Connection, name: &str) -> rusqlite::Result<()> {
        if self.known().namespaces.has(name) {
            return Ok(());
        }
        let space = spaces::fresh(connection)?;
        let sql = "INSERT INTO namespaces (name, space) VALUES (?1, ?2)";
        connection.execute(sql, params![name, space])?;
        let number = connection.last_insert_rowid();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.namespaces.add(number, name.into());
        known.spaces = Arc::new(known.spaces.with_new(number, space));
        Ok(())
    }

    fn add_kind(&self, connection: &Connection, name: &str) -> rusqlite::Result<()> {
        if self.known().kinds.has(name) {
            return Ok(());
        }
        connection.execute("INSERT INTO kinds (name) VALUES (?1)", [name])?;
        let number = connection.last_insert_rowid();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.kinds.add(number, name.into());
        Ok(())
    }

    fn add_indexes(&self, connection: &Connection, extract: &Extract) -> rusqlite::Result<()> {
        for entry in extract.entries() {
            if self.known().indexes.has(entry.index) {
                continue;
            }
            connection.execute("INSERT INTO indexes (name) VALUES (?1)", [entry.index])?;
            let number = connection.last_insert_rowid();
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            known.indexes.add(number, entry.index.into());
        }
        Ok(())
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn table(&self, table: &Table) -> Option<TableNumbers> {
        let namespace = self.namespaces.number(&table.namespace)?;
        let kind = self.kinds.number(&table.kind)?;
        Some(TableNumbers { namespace, kind })
    }

    fn has_all(&self, write: &Write) -> bool {
        let has_indexes = |extract: &Extract| extract.entries().all(|e| self.indexes.has(e.index));
        match write {
            Write::Put { key, row, .. } => {
                self.table(&key.table).is_some() && has_indexes(&row.extract)
            }
            Write::Reindex { extract, .. } => has_indexes(extract),
            Write::Swap { a, b } => self.namespaces.has(a) && self.namespaces.has(b),
            Write::Remove { .. } | Write::Drop { .. } => true,
        }
    }
}

impl Numbers {
    /// `table`: one of ours, with columns `id` and `name`.
    fn load(connection: &Connection, table: &str) -> rusqlite::Result<Self> {
        let mut numbers = Self::default();
        let mut statement = connection.prepare(&format!("SELECT id, name FROM {table}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            numbers.add(row.get(0)?, name_at(row, 1)?);
        }
        Ok(numbers)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.by_name.get(name).copied()
    }

    fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn add(&mut self, number: i64, name: Arc<str>) {
        self.by_name.insert(name.clone(), number);
        self.by_number.insert(number, name);
    }
}
