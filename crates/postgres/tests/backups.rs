//! Backups of stores on PostgreSQL: from and to other backends, and restores that do not come to their end.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and runs in real time"
)]

mod ways;

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_base::Seams;
use bowline_store::backup::{
    BackupReader, BackupWriter, Deployment, Guard, Header, Part, Restore, is_unfinished,
};
use bowline_store::{
    Backend, Changes, Extract, Index, IndexRange, Key, Memory, NameRange, Position, Row, RowId,
    Table, Value, Write,
};
use bowline_testkit::postgres::{Options, require};

use self::ways::{batch, key, open, options, put, table};

type Dump = BTreeMap<Table, BTreeMap<String, Row>>;

async fn dump(backend: &dyn Backend) -> Dump {
    let mut snapshot = backend.snapshot().await.unwrap();
    let mut dump = Dump::new();
    for table in snapshot.tables().await.unwrap() {
        let rows = snapshot.scan(&NameRange::all(table.clone()), 10_000, false).await.unwrap();
        let rows = rows.into_iter().map(|(name, row)| (name.to_string(), row));
        dump.insert(table, rows.collect());
    }
    dump
}

fn internal(kind: &str, name: &str) -> Key {
    Key { table: Table { namespace: "~".into(), kind: kind.into() }, name: name.into() }
}

async fn fill(store: &dyn Backend) {
    for n in 1..=30_u64 {
        let extract = Extract::builder().field("f", Value::number(n)).entry("by", Value::number(n));
        let row = Row {
            id: RowId(u128::from(n) << 100),
            version: u64::MAX - n,
            body: vec![n as u8; 10_000].into(),
            aside: "beside".into(),
            extract: extract.build(),
        };
        store.commit(batch(vec![Write::put(key(&format!("d{n:02}")), row)])).await.unwrap();
    }
    let odd = ["", "\0", "a\0b", "\u{10FFFF}", "é"].map(|name| put(name, 1));
    store.commit(batch(odd.to_vec())).await.unwrap();
    let answer = Write::put(internal("~request", "r"), Row::new(1, "done"));
    store.commit(batch(vec![answer])).await.unwrap();
}

async fn backup(store: &dyn Backend) -> Vec<u8> {
    let deployments = vec![Deployment { service: "s".into(), region: "local".into() }];
    let header = Header { deployments, ..Header::default() };
    let mut writer = BackupWriter::start(Vec::new(), &header).unwrap();
    let mut snapshot = store.snapshot().await.unwrap();
    writer.deployment(snapshot.as_mut(), &mut |_| {}).await.unwrap();
    writer.finish().unwrap().0
}

/// Puts the rows and answers what is left to do, and where the history was.
async fn put_rows(file: &[u8], store: Arc<dyn Backend>) -> (Restore, Position) {
    let mut restore = Restore::begin(store, Guard::Marked, &Seams::real()).await.unwrap();
    let (mut reader, mut at) = (BackupReader::open(file).unwrap(), Position::default());
    loop {
        match reader.part().unwrap() {
            Part::Deployment { position, .. } => at = position,
            Part::Rows { table, rows } => restore.rows(&table, rows).await.unwrap(),
            Part::DeploymentEnd(_) => {}
            Part::End(_) => return (restore, at),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_history_are_the_same_after_a_move_there_and_back() {
    let Some(server) = require(Options::default()) else { return };
    let source = Memory::new();
    fill(&source).await;
    let first = backup(&source).await;
    let store = Arc::new(open(options(&server.url("postgres"), "moved")).await);
    let (restore, at) = put_rows(&first, store.clone()).await;
    assert_eq!(restore.finish(at).await.unwrap().position, at);
    assert_eq!(dump(&*store).await, dump(&source).await);
    assert!(!is_unfinished(&*store).await.unwrap());

    let range =
        IndexRange::exactly(Index { namespace: "v1".into(), name: "by".into() }, Value::number(7));
    let hits = store.snapshot().await.unwrap().scan_index(&range, None, 9, false).await.unwrap();
    assert_eq!(hits.len(), 1, "entries came along");
    let written = store.commit(batch(vec![put("new", 1)])).await.unwrap();
    let Changes::Page { changes, .. } = store.changes(at, 10).await.unwrap() else {
        panic!("a watch that has seen everything can go on");
    };
    assert_eq!(changes.iter().map(|c| c.position).collect::<Vec<_>>(), [written]);

    let again: Arc<dyn Backend> = Arc::new(Memory::new());
    let (restore, at) = put_rows(&backup(&*store).await, again.clone()).await;
    restore.finish(at).await.unwrap();
    assert_eq!(dump(&*again).await, dump(&*store).await);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_restore_is_known_and_the_next_one_clears_it_away() {
    let Some(server) = require(Options::default()) else { return };
    let open = || open(options(&server.url("postgres"), "half"));
    let source = Memory::new();
    fill(&source).await;
    let file = backup(&source).await;
    let store = Arc::new(open().await);
    let mut half = Restore::begin(store.clone(), Guard::Marked, &Seams::real()).await.unwrap();
    // More than one batch, so that some of it is in the database.
    for n in 0..5_000 {
        let row = (format!("gone{n}").into(), Row::new(1, "x"));
        half.rows(&table("v9"), vec![row]).await.unwrap();
    }
    drop(half);
    store.close().await.unwrap();

    let store = Arc::new(open().await);
    assert!(is_unfinished(&*store).await.unwrap());
    assert!(dump(&*store).await.contains_key(&table("v9")), "half of it is there");
    let (restore, at) = put_rows(&file, store.clone()).await;
    let raised = Position { era: at.era + 1, ..at };
    assert_eq!(restore.finish(raised).await.unwrap().position, raised);
    assert!(!is_unfinished(&*store).await.unwrap());
    assert_eq!(dump(&*store).await, dump(&source).await);
    let old = store.changes(at, 10).await.unwrap();
    assert!(matches!(old, Changes::TooOld { .. }), "{old:?}");
    store.close().await.unwrap();
}

/// Two processes on one schema: one writes two rows together, the other takes backups.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_beside_a_writing_process_is_a_state_that_was() {
    let Some(server) = require(Options::default()) else { return };
    let open = || open(options(&server.url("postgres"), "busy"));
    let (writer, reader) = (Arc::new(open().await), open().await);
    let between = (0..500).map(|n| put(&format!("m{n:04}"), 1)).collect();
    writer.commit(batch(between)).await.unwrap();
    let writing = {
        let writer = writer.clone();
        tokio::spawn(async move {
            for version in 1.. {
                writer.commit(batch(vec![put("a", version), put("z", version)])).await.unwrap();
            }
        })
    };
    let mut seen = 0;
    while seen < 20 {
        let again: Arc<dyn Backend> = Arc::new(Memory::new());
        let (restore, at) = put_rows(&backup(&reader).await, again.clone()).await;
        restore.finish(at).await.unwrap();
        let rows = dump(&*again).await.remove(&table("v1")).unwrap();
        let [a, z] = ["a", "z"].map(|name| rows.get(name).map(|row| row.version));
        assert_eq!(a, z, "the two rows are of different commits");
        seen = a.unwrap_or(0);
    }
    writing.abort();
    writer.close().await.unwrap();
    reader.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_of_a_database_are_listed_and_none_is_made() {
    let Some(server) = require(Options::default()) else { return };
    let url = server.url("postgres");
    let list = || async {
        bowline_postgres::schemas(&options(&url, "asked"), Seams::real()).await.unwrap()
    };
    assert_eq!(list().await, Vec::<String>::new());
    server.sql("postgres", "CREATE SCHEMA other; CREATE TABLE other.rows (a int)").unwrap();
    for schema in ["b", "a.example.com"] {
        open(options(&url, schema)).await.close().await.unwrap();
    }
    assert_eq!(list().await, ["a.example.com", "b"]);
}
