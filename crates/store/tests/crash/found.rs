//! What a store holds that ended badly, and what must be true of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bowline_base::Seams;
use bowline_store::{Backend, Change, Changes, IndexRange, NameRange, Position, Row, Sqlite};

use crate::Failed;
use crate::writer::{Acknowledged, index, key, name, options};

/// All that is in a store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) head: Position,
    /// By table, and by name.
    pub(crate) rows: [BTreeMap<String, Row>; 3],
    /// Names in the order of the index.
    indexed: Vec<String>,
    pub(crate) changes: Vec<Arc<Change>>,
}

impl Found {
    pub(crate) async fn read(path: &Path) -> Result<Self, Failed> {
        let store = Sqlite::open(path, options(20), Seams::real())?;
        let head = *store.head().borrow();
        let mut rows = <[BTreeMap<String, Row>; 3]>::default();
        let mut snapshot = store.snapshot().await?;
        for (rows, kind) in rows.iter_mut().zip(["First", "Second", "~index"]) {
            let all = NameRange::all(key(kind, String::new()).table);
            let found = snapshot.scan(&all, usize::MAX, false).await?;
            rows.extend(found.into_iter().map(|(name, row)| (name.to_string(), row)));
        }
        let all = IndexRange::all(index());
        let hits = snapshot.scan_index(&all, None, usize::MAX, false).await?;
        let indexed = hits.into_iter().map(|hit| hit.key.name.to_string()).collect();
        drop(snapshot);
        let changes = read_log(&store).await?;
        store.close().await?;
        Ok(Self { head, rows, indexed, changes })
    }

    /// Nothing acknowledged is missing, nothing is half there, and the log tells the same.
    pub(crate) fn check(&self, acknowledged: &Acknowledged) -> Result<(), String> {
        let [first, second, index] = &self.rows;
        for ((writer, n), sequence) in acknowledged {
            let name = name(*writer, *n);
            if first.get(&name).map(|row| row.version) != Some(n + 1) {
                return Err(format!("{name} was acknowledged at {sequence} and is not there"));
            }
            if *sequence > self.head.sequence {
                return Err(format!("{name} has sequence {sequence}, the head is {:?}", self.head));
            }
        }
        if !first.keys().eq(second.keys()) || !first.keys().eq(index.keys()) {
            return Err("some batch is half there".to_owned());
        }
        if !first.keys().eq(&self.indexed) {
            return Err("the index and the rows tell different things".to_owned());
        }
        self.check_log(acknowledged)
    }

    fn check_log(&self, acknowledged: &Acknowledged) -> Result<(), String> {
        let mut commits: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for change in &self.changes {
            commits.entry(change.position.sequence).or_default().push(&change.key.name);
        }
        for names in commits.values() {
            let is_whole = matches!(names.as_slice(), [one, other] if one == other);
            if !is_whole {
                return Err(format!("the log has a commit that changes {names:?}"));
            }
        }
        for ((writer, n), sequence) in acknowledged {
            let name = name(*writer, *n);
            if commits.get(sequence).and_then(|names| names.first()) != Some(&name.as_str()) {
                return Err(format!("the log does not tell {name} at {sequence}"));
            }
        }
        if commits.len() != self.rows[0].len() {
            return Err(format!("{} rows, {} commits", self.rows[0].len(), commits.len()));
        }
        Ok(())
    }
}

async fn read_log(store: &Sqlite) -> Result<Vec<Arc<Change>>, Failed> {
    let (mut all, mut from) = (Vec::new(), Position::default());
    loop {
        let Changes::Page { changes, next, at_head } = store.changes(from, 1000).await? else {
            return Err("the log does not reach back to the beginning".into());
        };
        all.extend(changes);
        from = next;
        if at_head {
            return Ok(all);
        }
    }
}
