//! Tests of upkeep: passes in slices, and processes that keep up more or less than others.

use bowline_base::Seams;

use super::*;
use crate::contract::{Backend, Index, IndexRange};
use crate::memory::Memory;

/// An index of bodies.
struct ByBody;

impl Derive for ByBody {
    fn derive(&self, _: &Table, _: &str, row: &Row) -> Option<Derived> {
        let extract = Extract::builder().entry("by", Value::from(row.body.clone())).build();
        Some(Derived { extract, readable: None })
    }
}

fn table() -> Table {
    Table { namespace: "v1".into(), kind: "Device".into() }
}

fn keeping(backend: &Arc<dyn Backend>, what: &[&str]) -> Arc<Incarnation> {
    let mut keeps = Keeps::default();
    what.iter().for_each(|what| keeps.add(table(), *what));
    Incarnation::new(backend.clone(), Seams::real(), keeps)
}

async fn put(process: &Arc<Incarnation>, names: impl Iterator<Item = String>, extract: bool) {
    let write = |name: String| {
        let row = Row::new(1, "body");
        let key = Key { table: table(), name: name.as_str().into() };
        let derived = ByBody.derive(&table(), &name, &row).unwrap().extract;
        Write::put(key, Row { extract: if extract { derived } else { Extract::default() }, ..row })
    };
    let batch = Batch { conditions: Vec::new(), writes: names.map(write).collect() };
    process.begin().await.unwrap().commit(batch).await.unwrap();
}

async fn step(process: &Arc<Incarnation>) -> Progress {
    build(process, &table(), &ByBody).await.unwrap()
}

async fn is_ready(backend: &Arc<dyn Backend>) -> bool {
    let mut snapshot = backend.snapshot().await.unwrap();
    Upkeep::read(snapshot.as_mut(), &table()).await.unwrap().is_ready("by")
}

async fn entries(backend: &Arc<dyn Backend>) -> usize {
    let range = IndexRange::all(Index { namespace: "v1".into(), name: "by".into() });
    let mut snapshot = backend.snapshot().await.unwrap();
    snapshot.scan_index(&range, None, 100_000, false).await.unwrap().len()
}

fn names(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|n| format!("d{n:05}"))
}

#[tokio::test]
async fn an_empty_table_is_complete_at_once() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let process = keeping(&backend, &["by"]);
    assert!(!is_ready(&backend).await);
    assert_eq!(step(&process).await, Progress::Complete);
    assert!(is_ready(&backend).await);
}

#[tokio::test]
async fn rows_of_before_get_their_entries_in_slices_that_a_restart_goes_on_with() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let old = keeping(&backend, &[]);
    put(&old, names(3 * SLICE_ROWS + 7), false).await;
    old.close().await;
    let position = *backend.head().borrow();
    let process = keeping(&backend, &["by"]);
    assert_eq!(step(&process).await, Progress::Slice { rows: SLICE_ROWS });
    assert_eq!(step(&process).await, Progress::Slice { rows: SLICE_ROWS });
    assert!(!is_ready(&backend).await);
    process.close().await;
    let process = keeping(&backend, &["by"]);
    assert_eq!(step(&process).await, Progress::Slice { rows: SLICE_ROWS });
    assert_eq!(entries(&backend).await, 3 * SLICE_ROWS);
    assert_eq!(step(&process).await, Progress::Complete);
    assert!(is_ready(&backend).await);
    assert_eq!(entries(&backend).await, 3 * SLICE_ROWS + 7);
    let crate::Changes::Page { changes, .. } = backend.changes(position, 10).await.unwrap() else {
        panic!("the log is whole");
    };
    assert_eq!(changes, vec![]);
}

#[tokio::test]
async fn nothing_is_ready_while_a_process_lives_that_does_not_keep_it_up() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let (old, new) = (keeping(&backend, &[]), keeping(&backend, &["by"]));
    put(&old, names(1), false).await;
    assert_eq!(step(&new).await, Progress::Waits);
    assert!(!is_ready(&backend).await);
    old.close().await;
    assert_eq!(step(&new).await, Progress::Complete);
    assert_eq!(entries(&backend).await, 1);
}

#[tokio::test]
async fn a_process_that_does_not_keep_it_up_takes_it_back_as_it_comes() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let new = keeping(&backend, &["by"]);
    assert_eq!(step(&new).await, Progress::Complete);
    let old = keeping(&backend, &["other"]);
    drop(old.begin().await.unwrap());
    assert!(!is_ready(&backend).await);
    assert_eq!(step(&new).await, Progress::Waits);
    put(&old, names(5), false).await;
    old.close().await;
    assert_eq!(step(&new).await, Progress::Complete);
    assert_eq!(entries(&backend).await, 5);
}

#[tokio::test]
async fn a_pass_does_not_survive_a_process_that_came_and_went_meanwhile() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let new = keeping(&backend, &["by"]);
    put(&new, names(SLICE_ROWS + 1), false).await;
    assert_eq!(step(&new).await, Progress::Slice { rows: SLICE_ROWS });
    let old = keeping(&backend, &[]);
    // Behind the place that the pass has reached.
    put(&old, names(1), false).await;
    old.close().await;
    assert_eq!(step(&new).await, Progress::Slice { rows: SLICE_ROWS });
    assert_eq!(step(&new).await, Progress::Complete);
    assert_eq!(entries(&backend).await, SLICE_ROWS + 1);
}

#[tokio::test]
async fn what_is_wanted_later_does_not_take_away_what_is_ready() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let one = keeping(&backend, &["by"]);
    assert_eq!(step(&one).await, Progress::Complete);
    let two = keeping(&backend, &["by", "more"]);
    drop(two.begin().await.unwrap());
    assert!(is_ready(&backend).await);
    assert_eq!(step(&two).await, Progress::Waits);
    one.close().await;
    assert_eq!(step(&two).await, Progress::Complete);
}

#[tokio::test]
async fn a_row_that_is_written_meanwhile_keeps_its_own_entries() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let process = keeping(&backend, &["by"]);
    put(&process, names(SLICE_ROWS + 3), false).await;
    assert_eq!(step(&process).await, Progress::Slice { rows: SLICE_ROWS });
    put(&process, names(SLICE_ROWS + 3), true).await;
    assert_eq!(step(&process).await, Progress::Complete);
    assert_eq!(entries(&backend).await, SLICE_ROWS + 3);
}

/// Rows as people read them, and nothing else.
struct Spelled;

impl Derive for Spelled {
    fn derive(&self, _: &Table, name: &str, row: &Row) -> Option<Derived> {
        let readable = (name != "damaged").then(|| row.body.clone())?;
        Some(Derived { extract: Extract::default(), readable: Some(readable) })
    }
}

#[test]
fn readable_forms_are_written_if_they_are_what_is_missing() {
    let rows = ["a", "damaged", "b"].map(|name| (Arc::from(name), Row::new(7, name.to_owned())));
    let written = |what: &str| {
        let pass = Pass { what: BTreeSet::from([what.into()]), after: String::new() };
        let slice = slice(&table(), &rows, &pass, &Spelled);
        assert_eq!(slice.n_rows, 3);
        let each = slice.writes.into_iter().map(|write| match write {
            Write::Reindex { key, version: 7, readable, .. } => (key.name, readable),
            other => panic!("{other:?}"),
        });
        each.collect::<Vec<_>>()
    };
    let readable = |name: &'static str| (Arc::from(name), Some(Bytes::from(name)));
    assert_eq!(written(READABLE), [readable("a"), readable("b")]);
    assert_eq!(written("by"), []);
}
