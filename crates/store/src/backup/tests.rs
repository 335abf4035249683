//! Backups of stores in memory: round trips, damage of every kind, hostile files, unfinished restores.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_base::Seams;
use bytes::Bytes;
use expect_test::expect;

use super::block::{BlockWriter, Kind};
use super::*;
use crate::contract::{
    Backend, Batch, Changes, Condition, Extract, Key, NameRange, Position, Row, RowId, Value, Write,
};
use crate::memory::Memory;

/// Everything that a store shows.
pub(super) type Dump = BTreeMap<Table, BTreeMap<String, Row>>;

pub(super) async fn dump(backend: &dyn Backend) -> Dump {
    let mut snapshot = backend.snapshot().await.unwrap();
    let mut dump = Dump::new();
    for table in snapshot.tables().await.unwrap() {
        let rows = snapshot.scan(&NameRange::all(table.clone()), usize::MAX, false).await.unwrap();
        let rows = rows.into_iter().map(|(name, row)| (name.to_string(), row));
        dump.insert(table, rows.collect());
    }
    dump
}

pub(super) fn key(namespace: &str, kind: &str, name: &str) -> Key {
    let table = Table { namespace: namespace.into(), kind: kind.into() };
    Key { table, name: name.into() }
}

async fn put(backend: &dyn Backend, key: Key, row: Row) -> Position {
    let writes = vec![Write::put(key, row)];
    backend.commit(Batch { conditions: vec![], writes }).await.unwrap()
}

/// Rows of all shapes: without a body, with a large one, with hostile names; several tables, internal ones too.
pub(super) async fn fill(backend: &dyn Backend) {
    let extract = |n: u64| {
        let value = Value::number(n);
        Extract::builder().field("phase", Value::text("up")).entry("by", value).build()
    };
    for n in 0..40_u64 {
        let id = RowId(u128::from(n) << 64 | 7);
        let body = Bytes::from(vec![n as u8; n as usize * 40]);
        let row = Row { id, version: u64::MAX - n, body, aside: "x".into(), extract: extract(n) };
        put(backend, key("v1", "Device", &format!("devices/{n:03}")), row).await;
    }
    for name in ["", "\0", "a\0b", "\u{10FFFF}", "é/ü", &"n".repeat(2_048)] {
        put(backend, key("v2", "Odd\0kind", name), Row::new(0, "")).await;
    }
    let noise: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    put(backend, key("v2", "Large", "one"), Row::new(1, noise)).await;
    put(backend, key("~", "~request", "v1/Create/7"), Row::new(3, "done")).await;
    put(backend, key("~alias/v0", "Device", "old"), Row { id: RowId(9), ..Row::new(1, "") }).await;
}

fn header(services: &[&str]) -> Header {
    let deployment =
        |service: &&str| Deployment { service: (*service).into(), region: "local".into() };
    Header {
        program: "0.0.0".into(),
        created: "2026-01-01T00:00:00Z".into(),
        deployments: services.iter().map(deployment).collect(),
    }
}

pub(super) async fn backup(backend: &dyn Backend) -> Vec<u8> {
    let mut writer = BackupWriter::start(Vec::new(), &header(&["s"])).unwrap();
    let mut snapshot = backend.snapshot().await.unwrap();
    writer.deployment(snapshot.as_mut(), &mut |_| {}).await.unwrap();
    writer.finish().unwrap().0
}

/// Restores the one deployment of `file`, continuing its history.
pub(super) async fn restore(file: &[u8], backend: Arc<dyn Backend>, guard: Guard) -> Position {
    let mut restore = Restore::begin(backend, guard, &Seams::real()).await.unwrap();
    let mut reader = BackupReader::open(file).unwrap();
    let mut at = Position::default();
    loop {
        match reader.part().unwrap() {
            Part::Deployment { position, .. } => at = position,
            Part::Rows { table, rows } => restore.rows(&table, rows).await.unwrap(),
            Part::DeploymentEnd(_) => {}
            Part::End(_) => return restore.finish(at).await.unwrap().position,
        }
    }
}

async fn small() -> Vec<u8> {
    let store = Memory::new();
    for name in ["a", "b"] {
        put(&store, key("v1", "Device", name), Row::new(7, "body")).await;
    }
    put(&store, key("v1", "Shelf", "s"), Row::new(7, vec![0; 600])).await;
    backup(&store).await
}

#[tokio::test]
async fn every_row_comes_back() {
    let store = Memory::new();
    fill(&store).await;
    let file = backup(&store).await;
    let again = Arc::new(Memory::new());
    let position = restore(&file, again.clone(), Guard::Hidden).await;
    assert_eq!(dump(&*again).await, dump(&store).await);
    assert_eq!(position, *store.head().borrow());
    assert_eq!(backup(&*again).await, file, "the same state gives the same bytes");
}

#[tokio::test]
async fn an_empty_store_comes_back_empty() {
    let file = backup(&Memory::new()).await;
    let again = Arc::new(Memory::new());
    assert_eq!(restore(&file, again.clone(), Guard::Hidden).await, Position::default());
    assert_eq!(dump(&*again).await, Dump::new());
}

#[tokio::test]
async fn rows_of_processes_and_claims_of_readable_forms_stay_behind() {
    let store = Memory::new();
    put(&store, key("~", "~incarnation", "p"), Row::new(1, "")).await;
    put(&store, key("~", "~restoring", "restore"), Row::new(1, "")).await;
    let ready = Extract::builder().field("ready ~readable", Value::default());
    let row = Row {
        extract: ready.clone().field("ready phase", Value::default()).build(),
        ..Row::new(1, "")
    };
    put(&store, key("~", "~index", "v1/Device"), row).await;
    let again = Arc::new(Memory::new());
    restore(&backup(&store).await, again.clone(), Guard::Hidden).await;
    let left = dump(&*again).await;
    let kinds: Vec<_> = left.keys().map(|table| &*table.kind).collect();
    assert_eq!(kinds, ["~index"]);
    let fields = left.values().flat_map(BTreeMap::values).flat_map(|row| row.extract.fields());
    assert_eq!(fields.map(|(name, _)| name.to_owned()).collect::<Vec<_>>(), ["ready phase"]);
}

#[tokio::test]
async fn check_tells_what_is_there() {
    let contents = check(&small().await[..]).unwrap();
    let deployment = &contents.deployments[0];
    let tables: Vec<_> = deployment.tables.iter().map(|(t, rows)| (&*t.kind, *rows)).collect();
    assert_eq!(tables, [("Device", 2), ("Shelf", 1)]);
    assert_eq!(deployment.position, Position { era: 0, sequence: 3 });
    assert_eq!((contents.totals.tables, contents.totals.rows), (2, 3));
}

#[tokio::test]
async fn every_flipped_bit_is_noticed() {
    let file = small().await;
    check(&file[..]).unwrap();
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(check(&damaged[..]).is_err(), "the flip of a bit of byte {at} is not noticed");
    }
}

#[tokio::test]
async fn every_cut_is_noticed() {
    let file = small().await;
    for length in 0..file.len() {
        let found = check(&file[..length]).unwrap_err();
        let is_cut =
            matches!(found, BackupError::Truncated { offset, .. } if offset == length as u64);
        assert!(is_cut || length < 12 && matches!(found, BackupError::NotABackup), "{found}");
    }
}

fn said(file: &[u8]) -> String {
    check(file).unwrap_err().to_string()
}

#[tokio::test]
async fn errors_name_the_place() {
    let file = small().await;
    let mut damaged = file.clone();
    let middle = file.windows(4).position(|bytes| bytes == b"body").unwrap();
    damaged[middle] = b'B';
    expect!["the backup is damaged in block 3, at byte 260: its checksum is wrong"]
        .assert_eq(&said(&damaged));
    expect!["the backup ends too early: after byte 300, in block 3"].assert_eq(&said(&file[..300]));
    expect!["this is not a backup"].assert_eq(&said(b"SQLite format 3\0 and so on"));
    let mut longer = file.clone();
    longer.push(0);
    expect!["the backup is damaged in block 8, at byte 619: there is something after the end"]
        .assert_eq(&said(&longer));
    let mut newer = file;
    newer[8] = 9;
    expect!["the backup has format 9, and this program knows formats up to 1"]
        .assert_eq(&said(&newer));
}

type Payload<'p> = (Kind, &'p [u8]);

/// A file of these blocks, with right checksums.
fn blocks(blocks: &[Payload<'_>]) -> Vec<u8> {
    let mut writer = BlockWriter::start(Vec::new()).unwrap();
    for (kind, payload) in blocks {
        writer.block(*kind, payload).unwrap();
    }
    writer.finish().unwrap()
}

const HEADER: Payload<'_> =
    (Kind::Header, br#"{"program":"","created":"","deployments":[{"service":"s","region":"r"}]}"#);
const BEGIN: Payload<'_> =
    (Kind::Deployment, br#"{"service":"s","region":"r","era":0,"sequence":0}"#);
const TABLE: Payload<'_> = (Kind::Table, br#"{"namespace":"v1","kind":"K"}"#);

fn row_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    row::put(&mut bytes, name, &Row::new(1, "x"));
    bytes
}

#[test]
fn files_that_no_program_of_ours_writes_are_refused() {
    let rows = [row_bytes("b"), row_bytes("a")].concat();
    let cut = &row_bytes("a")[..20];
    let huge = [0xff; 5];
    let process: Payload<'_> = (Kind::Table, br#"{"namespace":"~","kind":"~incarnation"}"#);
    let cases: [(&[Payload<'_>], &str); 10] = [
        (&[BEGIN], "a header was expected"),
        (&[(Kind::Header, b"{")], "its facts make no sense"),
        (&[HEADER, TABLE], "it is of a kind that cannot come here"),
        (&[HEADER, BEGIN, (Kind::Rows, b"x")], "it has rows of no table"),
        (&[HEADER, BEGIN, TABLE, TABLE], "its table is out of order"),
        (&[HEADER, BEGIN, process], "its table has no place in a backup"),
        (&[HEADER, BEGIN, TABLE, (Kind::Rows, &rows)], "its rows are out of order"),
        (&[HEADER, BEGIN, TABLE, (Kind::Rows, cut)], "a row is cut off"),
        (&[HEADER, BEGIN, TABLE, (Kind::Rows, &huge)], "a length is too large"),
        (&[HEADER, BEGIN, TABLE, BEGIN], "it is of a kind that cannot come here"),
    ];
    for (file, expected) in cases {
        let found = said(&blocks(file));
        assert!(found.ends_with(expected), "{found:?} does not end with {expected:?}");
    }
}

#[test]
fn a_length_that_is_not_there_takes_no_memory() {
    let mut file = blocks(&[HEADER]);
    // The head of a block of rows that claims to be as long as one may be.
    file.extend([4, 0, 0, 0]);
    let length = u32::try_from(block::ROWS_BYTES_MAX).unwrap().to_le_bytes();
    file.extend([length, length].concat());
    file.extend([0; 8]);
    let error = check(&file[..]).unwrap_err();
    assert!(matches!(error, BackupError::Truncated { block: 1, .. }), "{error}");
    let beyond = file.len() - 9;
    file[beyond] = 0xff;
    assert!(said(&file).ends_with("its header makes no sense"));
}

#[tokio::test]
async fn only_an_empty_store_takes_a_backup() {
    for guard in [Guard::Hidden, Guard::Marked] {
        let store = Arc::new(Memory::new());
        put(&*store, key("v1", "Device", "mine"), Row::new(1, "")).await;
        let refused = Restore::begin(store.clone(), guard, &Seams::real()).await.err().unwrap();
        expect![[r#"the store is not empty: it has rows of Device in "v1""#]]
            .assert_eq(&refused.to_string());
        assert!(!is_unfinished(&*store).await.unwrap(), "what is there is left alone");
    }
}

#[tokio::test]
async fn half_a_restore_shows_and_the_next_one_clears_it_away() {
    let source = Memory::new();
    fill(&source).await;
    let file = backup(&source).await;
    let store: Arc<dyn Backend> = Arc::new(Memory::new());
    let mut half = Restore::begin(store.clone(), Guard::Marked, &Seams::real()).await.unwrap();
    for (namespace, kind) in [("v1", "Gone"), ("~", "~request"), ("~alias/v9", "Gone")] {
        let Key { table, name } = key(namespace, kind, "half");
        half.rows(&table, vec![(name, Row::new(1, ""))]).await.unwrap();
    }
    half.flush().await.unwrap();
    assert!(is_unfinished(&*store).await.unwrap());

    restore(&file, store.clone(), Guard::Marked).await;
    assert!(!is_unfinished(&*store).await.unwrap());
    assert_eq!(dump(&*store).await, dump(&source).await);

    let Key { table, name } = key("v1", "Gone", "late");
    half.rows(&table, vec![(name, Row::new(1, ""))]).await.unwrap();
    let late = half.finish(Position::default()).await.unwrap_err();
    assert!(matches!(late, RestoreError::TakenOver), "{late}");
    assert_eq!(dump(&*store).await, dump(&source).await);
}

#[tokio::test]
async fn history_goes_on_where_it_is_told() {
    let source = Memory::new();
    fill(&source).await;
    let before = *source.head().borrow();
    let file = backup(&source).await;
    let store = Arc::new(Memory::new());
    restore(&file, store.clone(), Guard::Marked).await;
    let written = put(&*store, key("v1", "Device", "new"), Row::new(1, "")).await;
    assert!(written > before);
    let Changes::Page { changes, .. } = store.changes(before, 10).await.unwrap() else {
        panic!("a watch that has seen everything can go on after a move");
    };
    assert_eq!(changes.len(), 1, "neither restored rows nor the mark are changes");
    let earlier = Position { sequence: before.sequence - 1, ..before };
    assert!(matches!(store.changes(earlier, 10).await.unwrap(), Changes::TooOld { .. }));
}

/// Two rows are always written together, many times, while a backup is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "writing has to go on beside")]
async fn a_backup_under_writes_is_a_state_that_was() {
    let store = Arc::new(Memory::new());
    // So many rows between the two that they are read in different pages.
    for n in 0..2_000 {
        put(&*store, key("v1", "Pair", &format!("m{n:04}")), Row::new(1, "")).await;
    }
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            for version in 1.. {
                let both = ["a", "z"].map(|name| key("v1", "Pair", name));
                let writes = both.map(|key| Write::put(key, Row::new(version, ""))).to_vec();
                store.commit(Batch { conditions: vec![], writes }).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let mut seen = 0;
    while seen < 20 {
        let file = backup(&*store).await;
        let again = Arc::new(Memory::new());
        restore(&file, again.clone(), Guard::Hidden).await;
        let rows = dump(&*again).await.remove(&key("v1", "Pair", "").table).unwrap();
        let [a, z] = ["a", "z"].map(|name| rows.get(name).map(|row| row.version));
        assert_eq!(a, z, "the two rows are of different commits");
        seen = a.unwrap_or(0);
    }
    writing.abort();
}

#[tokio::test]
async fn a_writer_keeps_to_its_header() {
    let store = Memory::new();
    let writer = BackupWriter::start(Vec::new(), &header(&["a", "b"])).unwrap();
    assert!(matches!(writer.finish(), Err(BackupError::Undeclared)));
    let mut writer = BackupWriter::start(Vec::new(), &header(&[])).unwrap();
    let mut snapshot = store.snapshot().await.unwrap();
    let more = writer.deployment(snapshot.as_mut(), &mut |_| {}).await;
    assert!(matches!(more, Err(BackupError::Undeclared)));
}

/// Nothing of a marked store is written by whoever lost the mark, even if the store is empty again.
#[tokio::test]
async fn a_mark_that_was_removed_does_not_come_back() {
    let store: Arc<dyn Backend> = Arc::new(Memory::new());
    let seams = Seams::real();
    let begin = || Restore::begin(store.clone(), Guard::Marked, &seams);
    let (first, second) = (begin().await.unwrap(), begin().await.unwrap());
    second.finish(Position { era: 1, sequence: 0 }).await.unwrap();
    let late = first.finish(Position { era: 2, sequence: 0 }).await;
    assert!(matches!(late, Err(RestoreError::TakenOver)));
    assert_eq!(store.head().borrow().era, 1, "it has not moved the history either");
    assert!(!is_unfinished(&*store).await.unwrap());
    let absent = Condition::RowAbsent { key: key("~", "~restoring", "restore") };
    store.commit(Batch { conditions: vec![absent], writes: vec![] }).await.unwrap();
}

fn any_kind() -> impl proptest::strategy::Strategy<Value = Kind> {
    use Kind::{Deployment, DeploymentEnd, End, Header, Rows};
    proptest::sample::select(vec![Header, Deployment, Kind::Table, Rows, DeploymentEnd, End])
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8.., 0..200)) {
        let _ = check(&bytes[..]);
        let mut file = blocks(&[HEADER, BEGIN]);
        file.extend(&bytes);
        proptest::prop_assert!(check(&file[..]).is_err());
    }

    #[test]
    fn no_blocks_make_it_panic(
        tail in proptest::collection::vec((any_kind(), proptest::collection::vec(0_u8..4, 0..60)), 0..6)
    ) {
        let tail = tail.iter().map(|(kind, payload)| (*kind, payload.as_slice()));
        let file: Vec<_> = [HEADER, BEGIN, TABLE].into_iter().chain(tail).collect();
        let _ = check(&blocks(&file)[..]);
    }

    #[test]
    fn rows_come_back(
        name in ".{0,20}", id in 0_u128.., version in 0_u64..,
        body in proptest::collection::vec(0_u8.., 0..300), aside in proptest::collection::vec(0_u8.., 0..3),
    ) {
        let extract = Extract::builder().field("f", Value::text("x")).build();
        let row = Row { id: RowId(id), version, body: body.into(), aside: aside.into(), extract };
        let mut bytes = Vec::new();
        row::put(&mut bytes, &name, &row);
        let mut bytes = Bytes::from(bytes);
        let (found, taken) = row::take(&mut bytes).unwrap();
        proptest::prop_assert_eq!((&*found, taken), (name.as_str(), row));
        proptest::prop_assert!(bytes.is_empty());
    }
}
