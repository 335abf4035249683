//! A writer: creates, updates and removes rows of its own, one commit after the other, and notes what it was told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bowline_store::{
    Backend, Batch, CommitError, Condition, Position, Row, StoreError, Value, Version, Write,
};

use super::{Errors, KINDS, PATIENCE, Shared, allow, key, policy};

/// So many names does a writer use.
const NAMES: u64 = 6;

/// Every so often it removes a row instead of updating it.
const REMOVES: u64 = 5;

/// What one writer knows.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Each acknowledged commit: the name, and the version that it wrote or `None` if it removed the row.
    pub(crate) acknowledged: BTreeMap<Position, (String, Option<Version>)>,
    /// What the rows are, as far as the writer knows.
    pub(crate) known: BTreeMap<String, Option<Version>>,
    /// Commits whose answer was lost: name and what the row would be.
    pub(crate) lost: Vec<(String, Option<Version>)>,
    /// How many of those turned out to have happened.
    pub(crate) lost_and_done: u64,
    pub(crate) errors: Errors,
}

pub(crate) async fn write(backend: Arc<dyn Backend>, writer: u64, shared: Arc<Shared>) -> Ledger {
    let mut ledger = Ledger::default();
    for step in 1.. {
        if shared.stop.load(Ordering::SeqCst) {
            break;
        }
        // A backend in memory never makes anybody wait, and then nobody else would run.
        tokio::task::yield_now().await;
        let name = format!("w{writer:02}/{}", step % NAMES);
        let before = ledger.known.get(&name).copied().flatten();
        let after = if before.is_some() && step % REMOVES == 0 { None } else { Some(step) };
        match backend.commit(batch(&name, before, after)).await {
            Ok(position) => {
                shared.acknowledged.fetch_add(1, Ordering::SeqCst);
                let twice = ledger.acknowledged.insert(position, (name.clone(), after));
                assert!(twice.is_none(), "two commits at {position:?}");
                ledger.known.insert(name, after);
            }
            Err(CommitError::Store(error)) => {
                allow(&mut ledger.errors, &error);
                shared.asking.fetch_add(1, Ordering::SeqCst);
                let found = resolve(&*backend, &name, &mut ledger.errors).await;
                shared.asking.fetch_sub(1, Ordering::SeqCst);
                assert!(found == before || found == after, "{name}: {found:?} was never written");
                ledger.lost_and_done += u64::from(found == after);
                ledger.lost.push((name.clone(), after));
                ledger.known.insert(name, found);
            }
            // Nobody else writes these rows: it was a commit of this writer, and it was run twice.
            Err(error) => panic!("{name} from {before:?} to {after:?}: {error}"),
        }
    }
    ledger
}

/// Two rows at a time, and the policy must be on.
fn batch(name: &str, before: Option<Version>, after: Option<Version>) -> Batch {
    let state =
        Condition::FieldIs { key: policy(), field: "state".into(), value: Value::text("on") };
    let mut batch = Batch { conditions: vec![state], writes: Vec::new() };
    for kind in KINDS {
        let key = key(kind, name);
        batch.conditions.push(match before {
            Some(version) => Condition::RowAt { key: key.clone(), version },
            None => Condition::RowAbsent { key: key.clone() },
        });
        batch.writes.push(match after {
            Some(version) => {
                Write::put(key, Row::new(version, format!("{name} {version} ").repeat(20)))
            }
            None => Write::Remove { key },
        });
    }
    batch
}

/// Asks what became of a commit, until somebody answers.
async fn resolve(backend: &dyn Backend, name: &str, errors: &mut Errors) -> Option<Version> {
    let (mut seen, key) = (Vec::<StoreError>::new(), key(KINDS[0], name));
    let asked = tokio::time::timeout(PATIENCE, async {
        loop {
            match backend.get(&key).await {
                Ok((row, _)) => return row.map(|row| row.version),
                Err(error) => seen.push(error),
            }
            tokio::task::yield_now().await;
        }
    });
    let Ok(found) = asked.await else {
        panic!("no server answers: {} errors, the last {:?}", seen.len(), seen.last());
    };
    seen.iter().for_each(|error| allow(errors, error));
    found
}
