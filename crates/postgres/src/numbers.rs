//! Numbers of namespaces, kinds and indexes: kept in memory, made in the database before they are first written under.
//!
//! A number never changes and is never given to another name, so what is known here stays true. They are made in a
//! transaction of their own, which takes its turn with commits by locking the same row.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bowline_store::{Batch, Condition, Range, StoreError, Table, Write, batch};
use tokio_postgres::Row as SqlRow;

use crate::connect::Session;
use crate::failure::{Failure, corrupt};
use crate::flight::{Flight, Value};
use crate::rank;
use crate::row::{State, column, name_at};

/// A kind as rows and entries have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) number: i32,
    /// In the order of names.
    pub(crate) rank: Arc<[u8]>,
}

/// What was read from the database, or made there.
#[derive(Debug, Default)]
pub(crate) struct Known {
    namespaces: HashMap<Arc<str>, i32>,
    kinds: BTreeMap<Arc<str>, Kind>,
    indexes: HashMap<Arc<str>, i32>,
    tables: BTreeSet<(i32, i32)>,
    namespace_names: HashMap<i32, Arc<str>>,
    kind_names: HashMap<i32, Arc<str>>,
}

/// Names that must have numbers.
#[derive(Debug, Default)]
pub(crate) struct Names {
    namespaces: BTreeSet<Arc<str>>,
    kinds: BTreeSet<Arc<str>>,
    indexes: BTreeSet<Arc<str>>,
    /// Those that rows are put into.
    tables: BTreeSet<Table>,
}

#[derive(Debug, Default)]
pub(crate) struct Numbers(RwLock<Known>);

const NAMESPACES: &str = "SELECT number, name FROM namespaces";
const KINDS: &str = "SELECT number, name, rank FROM kinds";
const INDEXES: &str = "SELECT number, name FROM indexes";
const TABLES: &str = "SELECT namespace, kind FROM tables";
const NEW_NAMESPACE: &str = "INSERT INTO namespaces (number, name, space) VALUES ($1, $2, $3)";
const NEW_KIND: &str = "INSERT INTO kinds (number, name, rank) VALUES ($1, $2, $3)";
const NEW_INDEX: &str = "INSERT INTO indexes (number, name) VALUES ($1, $2)";
const NEW_TABLE: &str =
    "INSERT INTO tables (namespace, kind) VALUES ($1, $2) ON CONFLICT (namespace, kind) DO NOTHING";
const SET_SPACE: &str = "UPDATE state SET last_space = $1 WHERE id = 1";

impl Numbers {
    pub(crate) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all numbers. Cost: a round trip; there are as many as a deployment has kinds.
    pub(crate) async fn load(&self, session: &Session) -> Result<(), Failure> {
        let mut flight = Flight::new(session);
        for sql in [NAMESPACES, KINDS, INDEXES, TABLES] {
            flight.query(session.statement(sql).await?, Vec::new());
        }
        let mut answers = Vec::new();
        for answer in flight.run().await {
            answers.push(answer?.rows());
        }
        let known = Known::read(&answers)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// Makes what is not there, and answers whether anything was not. Nothing to do, as a rule.
    pub(crate) async fn ensure(&self, session: &Session, names: &Names) -> Result<bool, Failure> {
        if self.known().has(names) {
            return Ok(false);
        }
        session.client.batch_execute("BEGIN").await?;
        let locked = session.client.query(&session.statement(State::LOCK).await?, &[]).await?;
        let state = State::read(&locked)?;
        self.load(session).await?;
        let missing = self.known().missing(names, state.last_space);
        for (sql, values) in missing {
            let mut flight = Flight::new(session);
            flight.execute(session.statement(sql).await?, values);
            for answer in flight.run().await {
                answer?;
            }
        }
        session.client.batch_execute("COMMIT").await?;
        self.load(session).await?;
        Ok(true)
    }
}

impl Known {
    fn read(answers: &[Vec<SqlRow>]) -> Result<Self, StoreError> {
        let [namespaces, kinds, indexes, tables] = answers else {
            return Err(corrupt("numbers cannot be read"));
        };
        let mut known = Self::default();
        for row in namespaces {
            let (number, name): (i32, _) = (column(row, 0)?, name_at(row, 1)?);
            known.namespace_names.insert(number, name.clone());
            known.namespaces.insert(name, number);
        }
        for row in kinds {
            let (number, name) = (column(row, 0)?, name_at(row, 1)?);
            known.kind_names.insert(number, name.clone());
            let rank = column::<&[u8]>(row, 2)?.into();
            known.kinds.insert(name, Kind { number, rank });
        }
        for row in indexes {
            known.indexes.insert(name_at(row, 1)?, column(row, 0)?);
        }
        for row in tables {
            known.tables.insert((column(row, 0)?, column(row, 1)?));
        }
        Ok(known)
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<i32> {
        self.namespaces.get(name).copied()
    }

    pub(crate) fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name)
    }

    pub(crate) fn index(&self, name: &str) -> Option<i32> {
        self.indexes.get(name).copied()
    }

    /// Namespace and kind.
    pub(crate) fn table(&self, table: &Table) -> Option<(i32, i32)> {
        Some((self.namespace(&table.namespace)?, self.kind(&table.kind)?.number))
    }

    pub(crate) fn table_of(&self, namespace: i32, kind: i32) -> Option<Table> {
        let namespace = self.namespace_names.get(&namespace)?.clone();
        Some(Table { namespace, kind: self.kind_names.get(&kind)?.clone() })
    }

    /// The highest rank of all kinds whose name is below `name`.
    pub(crate) fn rank_below(&self, name: &str) -> Option<Arc<[u8]>> {
        let below = self.kinds.range::<str, _>((Bound::Unbounded, Bound::Excluded(name)));
        below.last().map(|(_, kind)| kind.rank.clone())
    }

    fn has(&self, names: &Names) -> bool {
        let has_table = |table| self.table(table).is_some_and(|t| self.tables.contains(&t));
        names.namespaces.iter().all(|name| self.namespaces.contains_key(name))
            && names.kinds.iter().all(|name| self.kinds.contains_key(name))
            && names.indexes.iter().all(|name| self.indexes.contains_key(name))
            && names.tables.iter().all(has_table)
    }

    /// The statements that make what is missing.
    fn missing(&self, names: &Names, last_space: i32) -> Vec<(&'static str, Vec<Value<'static>>)> {
        let mut statements: Vec<(&'static str, Vec<Value<'static>>)> = Vec::new();
        let mut new = Self::default();
        let mut space = last_space;
        let mut last = self.namespaces.values().copied().max().unwrap_or(0);
        for name in names.namespaces.iter().filter(|name| self.namespace(name).is_none()) {
            (last, space) = (last + 1, space + 1);
            let bytes = name.as_bytes().to_vec();
            statements
                .push((NEW_NAMESPACE, vec![Box::new(last), Box::new(bytes), Box::new(space)]));
            new.namespaces.insert(name.clone(), last);
        }
        statements.push((SET_SPACE, vec![Box::new(space)]));
        for (name, kind) in self.new_kinds(names) {
            let (bytes, rank) = (name.as_bytes().to_vec(), kind.rank.to_vec());
            statements
                .push((NEW_KIND, vec![Box::new(kind.number), Box::new(bytes), Box::new(rank)]));
            new.kinds.insert(name, kind);
        }
        let mut last = self.indexes.values().copied().max().unwrap_or(0);
        for name in names.indexes.iter().filter(|name| self.index(name).is_none()) {
            last += 1;
            statements.push((NEW_INDEX, vec![Box::new(last), Box::new(name.as_bytes().to_vec())]));
        }
        for table in &names.tables {
            let namespace = self.namespace(&table.namespace);
            let namespace = namespace.or_else(|| new.namespace(&table.namespace));
            let kind = self.kind(&table.kind).or_else(|| new.kind(&table.kind));
            if let (Some(namespace), Some(kind)) = (namespace, kind) {
                statements.push((NEW_TABLE, vec![Box::new(namespace), Box::new(kind.number)]));
            }
        }
        statements
    }

    fn new_kinds(&self, names: &Names) -> Vec<(Arc<str>, Kind)> {
        let mut all = self.kinds.clone();
        let last = all.values().map(|kind| kind.number).max().unwrap_or(0);
        let mut new = Vec::new();
        let missing = names.kinds.iter().filter(|name| self.kind(name).is_none());
        for (number, name) in (last + 1..).zip(missing) {
            let low = all.range::<Arc<str>, _>(..name.clone()).last().map(|(_, k)| k.rank.clone());
            let high = all.range::<Arc<str>, _>(name.clone()..).next().map(|(_, k)| k.rank.clone());
            let rank = rank::between(low.as_deref(), high.as_deref()).into();
            let kind = Kind { number, rank };
            all.insert(name.clone(), kind.clone());
            new.push((name.clone(), kind));
        }
        new
    }
}

impl Names {
    /// All that `batches` name, in conditions too: what is not there while a condition is judged could be made by
    /// another process just then.
    pub(crate) fn of<'b>(batches: impl IntoIterator<Item = &'b Batch>) -> Self {
        let mut names = Self::default();
        for batch in batches {
            batch.conditions.iter().for_each(|condition| names.add_condition(condition));
            batch.writes.iter().for_each(|write| names.add_write(write));
        }
        names
    }

    fn add_table(&mut self, table: &Table) {
        // Most batches of a group are about the same few tables.
        if !self.namespaces.contains(&table.namespace) {
            self.namespaces.insert(table.namespace.clone());
        }
        if !self.kinds.contains(&table.kind) {
            self.kinds.insert(table.kind.clone());
        }
    }

    fn add_condition(&mut self, condition: &Condition) {
        match condition {
            Condition::RowAt { key, .. }
            | Condition::RowAbsent { key }
            | Condition::FieldIs { key, .. }
            | Condition::FieldAtMost { key, .. }
            | Condition::NotRemovedSince { key, .. } => self.add_table(&key.table),
            Condition::NoRowInRange { range: Range::Names(range) } => self.add_table(&range.table),
            Condition::NoRowInRange { range: Range::Index(range) } => {
                self.namespaces.insert(range.index.namespace.clone());
                self.indexes.insert(range.index.name.clone());
            }
        }
    }

    fn add_write(&mut self, write: &Write) {
        if let Some(key) = batch::key_of(write) {
            self.add_table(&key.table);
        }
        match write {
            Write::Put { key, row, .. } => {
                if !self.tables.contains(&key.table) {
                    self.tables.insert(key.table.clone());
                }
                self.add_indexes(&row.extract);
            }
            Write::Reindex { extract, .. } => self.add_indexes(extract),
            Write::Remove { .. } => {}
            Write::Swap { a, b } => self.namespaces.extend([a.clone(), b.clone()]),
            Write::Drop { namespace } => {
                self.namespaces.insert(namespace.clone());
            }
        }
    }

    fn add_indexes(&mut self, extract: &bowline_store::Extract) {
        for entry in extract.entries() {
            if !self.indexes.contains(entry.index) {
                self.indexes.insert(entry.index.into());
            }
        }
    }
}
