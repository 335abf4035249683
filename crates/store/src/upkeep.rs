//! What is derived from rows and kept with them (index entries, readable forms), and for which tables it is complete.
//!
//! Each process promises, in its row, what it keeps up with every write ([`Keeps`]). Something counts as *ready* for a
//! table once every row has it; then readers may rely on it. It becomes ready by a pass over the table in bounded
//! slices ([`build`]), begun when every living process keeps it up; a process that does not, takes it back in the same
//! commit that makes it one. So an old binary beside a new one costs time, never a wrong answer.
//!
//! What is derived, and how, is the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::contract::{
    Backend, Batch, CommitError, Condition, Extract, Key, NameRange, NamedRow, Row, Snapshot,
    StoreError, Table, Value, Version, Write,
};
use crate::incarnation::{Incarnation, TurnError, processes};
use crate::layout;

/// Rows looked at in one slice.
const SLICE_ROWS: usize = 128;
/// A slice ends early when the rows that it rewrites reach this many bytes.
const SLICE_BYTES: usize = 2 << 20;
/// Tables whose state is read at once.
const TABLES_MAX: usize = 65_536;

/// The readable form of documents, for stores that keep it. All other names are those of indexes.
pub const READABLE: &str = "~readable";

/// What a process keeps up on every write, by table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeps(BTreeMap<Table, BTreeSet<Arc<str>>>);

impl Keeps {
    pub fn add(&mut self, table: Table, what: impl Into<Arc<str>>) {
        self.0.entry(table).or_default().insert(what.into());
    }

    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.0.keys()
    }

    fn of(&self, table: &Table) -> Option<&BTreeSet<Arc<str>>> {
        self.0.get(table)
    }

    fn has(&self, table: &Table, what: &str) -> bool {
        self.of(table).is_some_and(|kept| kept.contains(what))
    }

    /// What says so in the row of the process: a hash of each promise, in order.
    pub(crate) fn promises(&self) -> Bytes {
        let all =
            self.0.iter().flat_map(|(table, kept)| kept.iter().map(move |what| (table, what)));
        let hashes: BTreeSet<_> = all.map(|(table, what)| promise(table, what)).collect();
        hashes.into_iter().flatten().collect::<Vec<u8>>().into()
    }
}

/// 128 bits, the same in every release: no two promises of a schema are taken for one another.
fn promise(table: &Table, what: &str) -> [u8; 16] {
    let text = format!("{}\0{}\0{what}", table.namespace, table.kind);
    xxhash_rust::xxh3::xxh3_128(text.as_bytes()).to_be_bytes()
}

fn has_promised(process: &Row, table: &Table, what: &str) -> bool {
    let promise = promise(table, what);
    process.aside.chunks_exact(promise.len()).any(|hash| hash == promise)
}

/// What is complete for the rows of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Of the row that says so; 0 if there is none.
    version: Version,
    ready: BTreeSet<Arc<str>>,
    pass: Option<Pass>,
}

/// A pass that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pass {
    what: BTreeSet<Arc<str>>,
    /// All rows up to this name are done.
    after: String,
}

const READY: &str = "ready ";
const PASS: &str = "pass ";

impl Upkeep {
    /// Reads the state of `table`.
    ///
    /// # Errors
    /// What reading fails with.
    pub async fn read(snapshot: &mut dyn Snapshot, table: &Table) -> Result<Self, StoreError> {
        let row = snapshot.batch_get(&[key(table)]).await?.into_iter().next().flatten();
        Ok(row.as_ref().map(Self::of_row).unwrap_or_default())
    }

    pub fn is_ready(&self, what: &str) -> bool {
        self.ready.contains(what)
    }

    fn of_row(row: &Row) -> Self {
        let with = |prefix: &'static str| {
            let names = row.extract.fields().filter_map(move |(name, _)| name.strip_prefix(prefix));
            names.map(Arc::from).collect::<BTreeSet<Arc<str>>>()
        };
        let what = with(PASS);
        let after = String::from_utf8_lossy(&row.body).into_owned();
        let pass = (!what.is_empty()).then_some(Pass { what, after });
        Self { version: row.version, ready: with(READY), pass }
    }

    /// The write that makes this the state, and the condition that it is made of the one that was read.
    fn replace(&self, table: &Table) -> (Condition, Write) {
        let key = key(table);
        let mut extract = Extract::builder();
        for what in &self.ready {
            extract = extract.field(&format!("{READY}{what}"), Value::default());
        }
        for what in self.pass.iter().flat_map(|pass| &pass.what) {
            extract = extract.field(&format!("{PASS}{what}"), Value::default());
        }
        let after = self.pass.as_ref().map(|pass| pass.after.clone()).unwrap_or_default();
        let row = Row { extract: extract.build(), ..Row::new(self.version + 1, after) };
        let condition = match self.version {
            0 => Condition::RowAbsent { key: key.clone() },
            version => Condition::RowAt { key: key.clone(), version },
        };
        (condition, Write::put(key, row))
    }

    /// Leaves only what `keeps` has for `table`; whether that took anything away.
    fn retain(&mut self, table: &Table, keeps: &Keeps) -> bool {
        let before = self.clone();
        self.ready.retain(|what| keeps.has(table, what));
        if let Some(pass) = &mut self.pass {
            pass.what.retain(|what| keeps.has(table, what));
            if pass.what.is_empty() {
                self.pass = None;
            }
        }
        *self != before
    }
}

/// The row of a table: `<namespace>/<kind>`. Those of processes and tables are told apart by the tilde.
fn key(table: &Table) -> Key {
    let name = format!("{}/{}", table.namespace, table.kind).into();
    Key { table: layout::common("~index"), name }
}

fn table_of(name: &str) -> Option<Table> {
    let (namespace, kind) = name.split_once('/')?;
    Some(Table { namespace: namespace.into(), kind: kind.into() })
}

/// Raised by every registration, so that a pass can begin on the condition that nobody came in meanwhile.
fn registrations_key() -> Key {
    Key { table: layout::common("~index"), name: "~registrations".into() }
}

/// A number that every registration of a process raises: while it stays, nothing that was ready is taken back.
///
/// # Errors
/// What reading fails with.
pub async fn registrations(backend: &Arc<dyn Backend>) -> Result<Version, StoreError> {
    let (row, _) = backend.get(&registrations_key()).await?;
    Ok(row.map_or(0, |row| row.version))
}

fn at_version(key: Key, row: Option<&Row>) -> Condition {
    match row {
        Some(row) => Condition::RowAt { key, version: row.version },
        None => Condition::RowAbsent { key },
    }
}

/// What the commit has to hold that registers a process which keeps up `keeps`: it takes back what the process does not.
pub(crate) async fn registration(
    snapshot: &mut dyn Snapshot,
    keeps: &Keeps,
) -> Result<Batch, StoreError> {
    let mut batch = Batch::default();
    let range = NameRange::all(layout::common("~index"));
    let mut registered = None;
    for (name, row) in snapshot.scan(&range, TABLES_MAX, false).await? {
        let Some(table) = table_of(&name) else {
            registered = Some(row);
            continue;
        };
        let mut state = Upkeep::of_row(&row);
        if state.retain(&table, keeps) {
            let (condition, write) = state.replace(&table);
            batch.conditions.push(condition);
            batch.writes.push(write);
        }
    }
    let version = registered.as_ref().map_or(0, |row| row.version);
    batch.conditions.push(at_version(registrations_key(), registered.as_ref()));
    batch.writes.push(Write::put(registrations_key(), Row::new(version + 1, "")));
    Ok(batch)
}

/// What a row is to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    pub extract: Extract,
    pub readable: Option<Bytes>,
}

/// Says what a row is to carry; the same for the same row.
pub trait Derive: Send + Sync {
    /// `None` if the row cannot be read; it is passed over then, as readers do.
    fn derive(&self, table: &Table, name: &str, row: &Row) -> Option<Derived>;
}

/// How far a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All that this process keeps up is ready.
    Complete,
    /// A slice was done; there is more.
    Slice { rows: usize },
    /// Another process is at it, or does not keep up what is wanted: look again later.
    Waits,
}

/// Does the next slice of what is missing for `table`. Not a change of any row: versions stay, nothing is logged.
///
/// Cost: at most [`SLICE_ROWS`] rows read and one commit.
///
/// # Errors
/// What reading or committing fails with; nothing is lost then, the next call goes on.
pub async fn build(
    incarnation: &Arc<Incarnation>,
    table: &Table,
    derive: &dyn Derive,
) -> Result<Progress, CommitError> {
    let turn = incarnation.begin().await?;
    let mut snapshot = incarnation.backend().snapshot().await?;
    let state = Upkeep::read(snapshot.as_mut(), table).await?;
    let kept = incarnation.keeps().of(table).cloned().unwrap_or_default();
    let missing: BTreeSet<_> = kept.difference(&state.ready).cloned().collect();
    if missing.is_empty() {
        return Ok(Progress::Complete);
    }
    let mut batch = Batch::default();
    let pass = match &state.pass {
        Some(pass) if pass.what.is_superset(&missing) => pass.clone(),
        _ => match begin_pass(snapshot.as_mut(), table, missing).await? {
            Some((pass, condition)) => {
                batch.conditions.push(condition);
                pass
            }
            None => return Ok(Progress::Waits),
        },
    };
    let range = NameRange { from: beyond(&pass.after), ..NameRange::all(table.clone()) };
    let rows = snapshot.scan(&range, SLICE_ROWS, false).await?;
    drop(snapshot);
    let slice = slice(table, &rows, &pass, derive);
    let is_last = slice.n_rows == rows.len() && rows.len() < SLICE_ROWS;
    let (condition, write) =
        after_slice(state, pass, is_last, &rows[..slice.n_rows]).replace(table);
    batch.conditions.push(condition);
    batch.writes = slice.writes;
    batch.writes.push(write);
    match turn.commit(batch).await {
        Ok(_) if is_last => Ok(Progress::Complete),
        Ok(_) => Ok(Progress::Slice { rows: slice.n_rows }),
        Err(TurnError::Lost | TurnError::Commit(CommitError::ConditionFailed { .. })) => {
            Ok(Progress::Waits)
        }
        Err(TurnError::Commit(error)) => Err(error),
    }
}

fn after_slice(mut state: Upkeep, mut pass: Pass, is_last: bool, done: &[NamedRow]) -> Upkeep {
    if is_last {
        state.ready.append(&mut pass.what);
        state.pass = None;
    } else {
        if let Some((name, _)) = done.last() {
            pass.after = name.to_string();
        }
        state.pass = Some(pass);
    }
    state
}

/// The smallest name above `name`; the empty name is before all.
fn beyond(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{name}\0") }
}

/// A pass from the start, if every living process keeps up `what`, and the condition that this stays so.
async fn begin_pass(
    snapshot: &mut dyn Snapshot,
    table: &Table,
    what: BTreeSet<Arc<str>>,
) -> Result<Option<(Pass, Condition)>, StoreError> {
    let rows = processes(snapshot).await?;
    let keeps_all = |row: &Row| what.iter().all(|what| has_promised(row, table, what));
    if !rows.iter().all(|(_, row)| keeps_all(row)) {
        return Ok(None);
    }
    let key = registrations_key();
    let row = snapshot.batch_get(std::slice::from_ref(&key)).await?.into_iter().next().flatten();
    Ok(Some((Pass { what, after: String::new() }, at_version(key, row.as_ref()))))
}

struct Slice {
    writes: Vec<Write>,
    /// Rows that it got through.
    n_rows: usize,
}

fn slice(table: &Table, rows: &[NamedRow], pass: &Pass, derive: &dyn Derive) -> Slice {
    let mut slice = Slice { writes: Vec::new(), n_rows: 0 };
    let mut bytes = 0;
    for (name, row) in rows {
        if bytes >= SLICE_BYTES {
            break;
        }
        slice.n_rows += 1;
        let Some(Derived { extract, readable }) = derive.derive(table, name, row) else { continue };
        let readable = readable.filter(|_| pass.what.contains(READABLE));
        if extract == row.extract && readable.is_none() {
            continue;
        }
        bytes += extract.as_bytes().len() + readable.as_ref().map_or(0, Bytes::len);
        let key = Key { table: table.clone(), name: name.clone() };
        slice.writes.push(Write::Reindex { key, version: row.version, extract, readable });
    }
    slice
}

#[cfg(test)]
mod tests;
