//! Backups between backends, and of a file that is being written to.

use std::path::Path;
use std::sync::Arc;

use bowline_base::Seams;

use super::tests::{Dump, backup, dump, fill, key, restore};
use super::*;
use crate::contract::{Backend, Batch, CommitError, Position, Row, RowId, Snapshot, Write};
use crate::memory::Memory;
use crate::sqlite::{OpenError, Sqlite, SqliteOptions};

fn sqlite(path: &Path) -> Arc<Sqlite> {
    Arc::new(Sqlite::open(path, SqliteOptions::default(), Seams::real()).unwrap())
}

async fn view(path: &Path) -> Box<dyn Snapshot> {
    Sqlite::view(path, Seams::real()).await.unwrap()
}

async fn backup_of(snapshot: &mut dyn Snapshot) -> Vec<u8> {
    let deployments = vec![Deployment { service: "s".into(), region: "local".into() }];
    let header = Header { deployments, ..Header::default() };
    let mut writer = BackupWriter::start(Vec::new(), &header).unwrap();
    writer.deployment(snapshot, &mut |_| {}).await.unwrap();
    writer.finish().unwrap().0
}

#[tokio::test]
async fn rows_are_equal_after_a_way_through_both_backends() {
    let folder = tempfile::tempdir().unwrap();
    let source = Memory::new();
    fill(&source).await;
    let first = backup(&source).await;

    let embedded = sqlite(&folder.path().join("s.db"));
    let position = restore(&first, embedded.clone(), Guard::Hidden).await;
    assert_eq!(position, *source.head().borrow());
    assert_eq!(dump(&*embedded).await, dump(&source).await);
    let second = backup(&*embedded).await;
    assert_eq!(second, first, "the same state gives the same bytes, whatever keeps it");

    let memory = Arc::new(Memory::new());
    restore(&second, memory.clone(), Guard::Marked).await;
    assert_eq!(dump(&*memory).await, dump(&source).await);
    embedded.close().await.unwrap();
}

#[tokio::test]
async fn ids_and_entries_work_after_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let source = Memory::new();
    fill(&source).await;
    let store = sqlite(&folder.path().join("s.db"));
    restore(&backup(&source).await, store.clone(), Guard::Marked).await;
    let mut snapshot = store.snapshot().await.unwrap();
    let id = RowId(3 << 64 | 7);
    let devices = key("v1", "Device", "").table;
    let found = snapshot.batch_get_by_id(&devices, &[id]).await.unwrap();
    assert_eq!(found[0].as_ref().map(|(name, _)| &**name), Some("devices/003"));
    let index = crate::Index { namespace: "v1".into(), name: "by".into() };
    let range = crate::IndexRange::exactly(index, crate::Value::number(3));
    let hits = snapshot.scan_index(&range, None, 10, false).await.unwrap();
    assert_eq!(hits.iter().map(|hit| &*hit.key.name).collect::<Vec<_>>(), ["devices/003"]);
    drop(snapshot);
    let again = Write::put(key("v1", "Device", "other"), Row { id, ..Row::new(1, "") });
    let taken = store.commit(Batch { conditions: vec![], writes: vec![again] }).await;
    assert!(matches!(taken, Err(CommitError::IdTaken { .. })));
    store.close().await.unwrap();
}

/// Two rows are always written together by the process that has the file open, while backups read it from beside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "writing has to go on beside")]
async fn a_view_beside_a_writer_is_a_state_that_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = sqlite(&path);
    let between = (0..1_000).map(|n| key("v1", "Pair", &format!("m{n:04}")));
    let writes = between.map(|key| Write::put(key, Row::new(1, ""))).collect();
    store.commit(Batch { conditions: vec![], writes }).await.unwrap();
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            for version in 1.. {
                let both = ["a", "z"].map(|name| key("v1", "Pair", name));
                let writes = both.map(|key| Write::put(key, Row::new(version, ""))).to_vec();
                // Tables that a view may not know yet come up all the time.
                let new = Write::put(key("v1", &format!("Kind{version}"), "x"), Row::new(1, ""));
                let writes = writes.into_iter().chain([new]).collect();
                store.commit(Batch { conditions: vec![], writes }).await.unwrap();
            }
        })
    };
    let mut seen = 0;
    while seen < 30 {
        let mut snapshot = view(&path).await;
        let position = snapshot.position();
        let file = backup_of(&mut *snapshot).await;
        drop(snapshot);
        let again = Arc::new(Memory::new());
        assert_eq!(restore(&file, again.clone(), Guard::Hidden).await, position);
        let mut all = dump(&*again).await;
        let pairs = all.remove(&key("v1", "Pair", "").table).unwrap();
        let [a, z] = ["a", "z"].map(|name| pairs.get(name).map(|row| row.version));
        assert_eq!(a, z, "the two rows are of different commits");
        seen = a.unwrap_or(0);
        assert_eq!(all.len() as u64, seen, "a table is missing or too many");
    }
    writing.abort();
}

#[tokio::test]
async fn a_view_needs_no_process_and_disturbs_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = sqlite(&path);
    fill(&*store).await;
    let full = dump(&*store).await;
    let mut held = view(&path).await;
    // A writer that a view would block could not commit.
    let late = Write::put(key("v1", "Late", "x"), Row::new(1, ""));
    store.commit(Batch { conditions: vec![], writes: vec![late] }).await.unwrap();
    assert_eq!(dump_of(&mut *held).await, full, "a view does not move");
    drop(held);
    store.close().await.unwrap();
    drop(store);
    let before = std::fs::read(&path).unwrap();
    assert_eq!(dump_of(&mut *view(&path).await).await.len(), full.len() + 1);
    assert!(std::fs::read(&path).unwrap() == before, "the file was written to");
    // SQLite makes an empty one to look into, and leaves it.
    let log = std::fs::metadata(folder.path().join("s.db-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0);
    assert_eq!(dump(&*sqlite(&path)).await.len(), full.len() + 1);
}

async fn dump_of(snapshot: &mut dyn Snapshot) -> Dump {
    let memory = Arc::new(Memory::new());
    restore(&backup_of(snapshot).await, memory.clone(), Guard::Hidden).await;
    dump(&*memory).await
}

/// What a killed process leaves is in the write-ahead log, and nobody has recovered it yet.
#[tokio::test]
async fn a_view_sees_what_a_killed_process_had_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder.path().join("s.db"));
    fill(&*store).await;
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["s.db", "s.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.join(name)).unwrap();
    }
    let position = *store.head().borrow();
    let mut left = view(&copy.join("s.db")).await;
    assert_eq!(left.position(), position);
    assert_eq!(dump_of(&mut *left).await, dump(&*store).await);
}

#[tokio::test]
async fn what_is_no_store_cannot_be_viewed() {
    let folder = tempfile::tempdir().unwrap();
    let absent = Sqlite::view(folder.path().join("absent.db"), Seams::real()).await;
    assert!(matches!(absent.err(), Some(OpenError::File { .. })));
    for (name, bytes) in [("empty.db", ""), ("text.db", "this is not a database, it is text")] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let found = Sqlite::view(&path, Seams::real()).await.err();
        assert!(matches!(found, Some(OpenError::NotAStore { .. })), "{found:?}");
    }
}

#[tokio::test]
async fn a_restored_file_refuses_tokens_of_its_past() {
    let folder = tempfile::tempdir().unwrap();
    let source = Memory::new();
    fill(&source).await;
    let before = *source.head().borrow();
    let file = backup(&source).await;
    let store = sqlite(&folder.path().join("s.db"));
    let mut reader = BackupReader::open(&file[..]).unwrap();
    let begun = Restore::begin(store.clone(), Guard::Hidden, &Seams::real()).await;
    let mut into = begun.unwrap();
    loop {
        match reader.part().unwrap() {
            Part::Rows { table, rows } => into.rows(&table, rows).await.unwrap(),
            Part::End(_) => break,
            _ => {}
        }
    }
    let next = Position { era: before.era + 1, ..before };
    assert_eq!(into.finish(next).await.unwrap().position, next);
    store.close().await.unwrap();
    drop(store);
    let store = sqlite(&folder.path().join("s.db"));
    assert_eq!(*store.head().borrow(), next);
    let old = store.changes(before, 10).await.unwrap();
    assert!(matches!(old, crate::Changes::TooOld { .. }), "{old:?}");
    store.close().await.unwrap();
}
