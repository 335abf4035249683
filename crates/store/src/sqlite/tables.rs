//! Small numbers for (namespace, kind), so that the key of a row is short. A number is never given to another table.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, params};

use super::row::name_at;
use crate::contract::{Batch, Table, Write};

/// All tables that have a number; a table without one has no rows.
#[derive(Debug, Default)]
pub(super) struct Tables(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    ids: HashMap<Table, i64>,
    tables: HashMap<i64, Table>,
}

impl Tables {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut known = Known::default();
        let mut statement = connection.prepare("SELECT id, namespace, kind FROM tables")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let table = Table { namespace: name_at(row, 1)?, kind: name_at(row, 2)? };
            known.add(row.get(0)?, table);
        }
        Ok(Self(RwLock::new(known)))
    }

    pub(super) fn id(&self, table: &Table) -> Option<i64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).ids.get(table).copied()
    }

    pub(super) fn table(&self, id: i64) -> Option<Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).tables.get(&id).cloned()
    }

    /// Gives numbers to the tables that `batches` put rows into.
    ///
    /// In commits of their own, before the rows: a reader must know the table before it can see a row of it.
    pub(super) fn add_missing<'b>(
        &self,
        connection: &Connection,
        batches: impl Iterator<Item = &'b Batch>,
    ) -> rusqlite::Result<()> {
        for write in batches.flat_map(|batch| &batch.writes) {
            let Write::Put { key, .. } = write else { continue };
            if self.id(&key.table).is_none() {
                self.add(connection, &key.table)?;
            }
        }
        Ok(())
    }

    fn add(&self, connection: &Connection, table: &Table) -> rusqlite::Result<()> {
        connection.execute(
            "INSERT INTO tables (namespace, kind) VALUES (?1, ?2)",
            params![&*table.namespace, &*table.kind],
        )?;
        // Own strings: those of a request could keep much else alive.
        let table =
            Table { namespace: Arc::from(&*table.namespace), kind: Arc::from(&*table.kind) };
        let id = connection.last_insert_rowid();
        self.0.write().unwrap_or_else(PoisonError::into_inner).add(id, table);
        Ok(())
    }
}

impl Known {
    fn add(&mut self, id: i64, table: Table) {
        self.ids.insert(table.clone(), id);
        self.tables.insert(id, table);
    }
}
