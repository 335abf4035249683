//! What only the SQLite backend promises: durability, its file, its limits. The common promises are in `conformance`.

use super::*;
use crate::contract::{
    Changes, Extract, Index, IndexCursor, IndexRange, NameRange, RowId, Table, Value, Write,
};

fn table() -> Table {
    Table { namespace: "v1".into(), kind: "Device".into() }
}

fn key(name: &str) -> Key {
    Key { table: table(), name: name.into() }
}

fn put(name: &str, version: u64, body: &[u8]) -> Batch {
    only(Write::put(key(name), Row::new(version, body.to_vec())))
}

fn only(write: Write) -> Batch {
    Batch { conditions: vec![], writes: vec![write] }
}

/// A folder, and the path of a store in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    (folder, path)
}

fn open(path: &Path) -> Result<Sqlite, OpenError> {
    open_with(path, SqliteOptions::default())
}

fn open_with(path: &Path, options: SqliteOptions) -> Result<Sqlite, OpenError> {
    Sqlite::open(path, options, Seams::real())
}

/// The file as any other program sees it.
fn outside(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

#[tokio::test]
async fn a_row_and_its_position_survive_reopening() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    let position = store.commit(put("a", 1, b"body")).await.unwrap();
    store.close().await.unwrap();
    let store = open(&path).unwrap();
    assert_eq!(*store.head().borrow(), position);
    let (row, at) = store.get(&key("a")).await.unwrap();
    assert_eq!((&*row.unwrap().body, at), (&b"body"[..], position));
}

#[tokio::test]
async fn a_store_that_was_dropped_and_not_closed_keeps_what_was_acknowledged() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    store.commit(put("a", 1, b"body")).await.unwrap();
    drop(store);
    // The writer ends by itself, soon; until then the file is in use.
    let deadline = Seams::real().clock.monotonic() + std::time::Duration::from_secs(10);
    let store = loop {
        match open(&path) {
            Ok(store) => break store,
            Err(OpenError::InUse { .. }) if Seams::real().clock.monotonic() < deadline => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(store.get(&key("a")).await.unwrap().0.is_some());
}

#[tokio::test]
async fn every_commit_is_flushed_before_it_is_answered() {
    let (_folder, path) = place();
    let connection = format::open_writer(&path, &SqliteOptions::default(), &Seams::real()).unwrap();
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    // FULL: the write-ahead log is flushed by every COMMIT.
    assert_eq!(pragma("synchronous"), Ok(2));
    let mode: String =
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_store_is_open_once() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    store.close().await.unwrap();
    open(&path).unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let (_folder, path) = place();
    open(&path).unwrap().close().await.unwrap();
    outside(&path).pragma_update(None, "user_version", format::FORMAT + 1).unwrap();
    let error = open(&path).unwrap_err();
    let expected = (format::FORMAT + 1, format::FORMAT);
    assert!(
        matches!(&error, OpenError::NewerFormat { found, known, .. } if (*found, *known) == expected),
        "{error}"
    );
}

#[tokio::test]
async fn an_older_format_is_refused_with_the_way_out() {
    let (_folder, path) = place();
    open(&path).unwrap().close().await.unwrap();
    outside(&path).pragma_update(None, "user_version", 1).unwrap();
    let error = open(&path).unwrap_err().to_string();
    let expected = format!(
        "has store format 1, and this program reads only format {}: serve it with the program that wrote it, or move it \
         away to start with an empty store",
        format::FORMAT
    );
    assert!(error.ends_with(&expected), "{error}");
}

#[test]
fn files_of_something_else_are_refused_and_left_alone() {
    let (_folder, path) = place();
    std::fs::write(&path, b"some text that is no database, but long enough to be looked at")
        .unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    std::fs::remove_file(&path).unwrap();
    outside(&path).execute_batch("CREATE TABLE mine (a)").unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let (folder, _) = place();
    let error = open(&folder.path().join("no/such/s.db")).unwrap_err();
    assert!(matches!(error, OpenError::File { .. }), "{error}");
}

#[tokio::test]
async fn people_can_read_the_file_with_ordinary_tools_while_it_is_served() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    store.commit(put("projects/p", 7, b"body")).await.unwrap();
    let read = outside(&path).query_row(
        "SELECT k.name, r.name, r.version, CAST(body AS TEXT)
         FROM rows r JOIN kinds k ON r.kind = k.id JOIN namespaces n USING (space)
         WHERE n.name = 'v1'",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    );
    let expected: (String, String, i64, String) =
        ("Device".into(), "projects/p".into(), 7, "body".into());
    assert_eq!(read.unwrap(), expected);
}

#[tokio::test]
async fn a_full_store_refuses_what_does_not_fit_and_goes_on() {
    let (_folder, path) = place();
    let options = SqliteOptions { size_max: Some(2 * 1024 * 1024), ..SqliteOptions::default() };
    let store = open_with(&path, options).unwrap();
    store.commit(put("small", 1, b"x")).await.unwrap();
    let head = *store.head().borrow();
    let (big, small) = (vec![1; 3 * 1024 * 1024], vec![1; 1000]);
    // Together in one group, and yet each for itself.
    let outcomes = futures::join!(
        store.commit(put("a", 1, &small)),
        store.commit(put("big", 1, &big)),
        store.commit(put("b", 1, &small)),
    );
    assert!(outcomes.0.is_ok() && outcomes.2.is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes.1, Err(CommitError::Store(StoreError::Full))), "{outcomes:?}");
    let mut snapshot = store.snapshot().await.unwrap();
    let rows = snapshot.scan(&NameRange::all(table()), 10, false).await.unwrap();
    let names: Vec<_> = rows.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a", "b", "small"]);
    let Changes::Page { changes, .. } = store.changes(head, 10).await.unwrap() else {
        panic!("a page was expected")
    };
    assert_eq!(changes.len(), 2, "the refused batch is not in the log");
}

#[tokio::test]
async fn a_store_that_filled_up_takes_writes_again_once_there_is_room() {
    let (_folder, path) = place();
    let options = SqliteOptions {
        size_max: Some(1024 * 1024),
        log_changes_max: 4,
        ..SqliteOptions::default()
    };
    let store = open_with(&path, options).unwrap();
    let mut written = 0;
    let full = loop {
        match store.commit(put(&format!("r{written}"), 1, &[7; 100_000])).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "the limit does not hold");
    };
    assert!(matches!(full, CommitError::Store(StoreError::Full)), "{full}");
    let removals = (0..written).map(|n| Write::Remove { key: key(&format!("r{n}")) });
    for removal in removals {
        // Removing may itself find no room for its line in the log; the next one has then made some.
        let _ = store.commit(Batch { conditions: vec![], writes: vec![removal] }).await;
    }
    store.commit(put("again", 1, b"x")).await.unwrap();
}

#[tokio::test]
async fn the_log_on_disk_stays_within_its_limits() {
    let (_folder, path) = place();
    let options = SqliteOptions { log_bytes_max: 50_000, ..SqliteOptions::default() };
    let store = open_with(&path, options).unwrap();
    for version in 0..400 {
        store.commit(put("a", version, &[3; 1000])).await.unwrap();
    }
    let head = store.head().borrow().sequence;
    let Changes::TooOld { oldest } = store.changes(Position::default(), 1).await.unwrap() else {
        panic!("the log should have been cut")
    };
    store.close().await.unwrap();
    let lines = outside(&path)
        .query_row("SELECT count(*), sum(length(after_body)) FROM log", [], |row| {
            Ok((row::count_at(row, 0)?, row::count_at(row, 1)?))
        })
        .unwrap();
    assert!(lines.1 <= 50_000 && lines.0 > 10, "{lines:?}");
    assert_eq!(lines.0, head - oldest.sequence);
    let store = open(&path).unwrap();
    let too_old = store.changes(Position::default(), 1).await.unwrap();
    assert_eq!(too_old, Changes::TooOld { oldest }, "what was cut stays cut after reopening");
}

#[tokio::test]
async fn the_write_ahead_log_starts_over_and_does_not_grow_with_what_was_written() {
    let (folder, path) = place();
    let options = SqliteOptions { checkpoint_pages: 50, ..SqliteOptions::default() };
    let store = open_with(&path, options).unwrap();
    for version in 0..600 {
        store.commit(put(&format!("r{}", version % 10), version, &[5; 4000])).await.unwrap();
    }
    let bytes = std::fs::metadata(folder.path().join("s.db-wal")).unwrap().len();
    assert!(bytes < 200 * 4096, "600 commits of more than two pages left {bytes} bytes");
}

#[tokio::test]
async fn a_snapshot_keeps_its_view_while_checkpoints_go_on() {
    let (_folder, path) = place();
    let options = SqliteOptions { checkpoint_pages: 1, ..SqliteOptions::default() };
    let store = open_with(&path, options).unwrap();
    store.commit(put("a", 1, b"old")).await.unwrap();
    let mut snapshot = store.snapshot().await.unwrap();
    for version in 2..50 {
        store.commit(put("a", version, b"new")).await.unwrap();
    }
    let seen = snapshot.batch_get(&[key("a")]).await.unwrap();
    assert_eq!(seen[0].as_ref().map(|row| row.version), Some(1));
}

#[tokio::test]
async fn one_row_can_be_read_while_all_snapshots_are_held() {
    let (_folder, path) = place();
    let options = SqliteOptions { snapshots_max: 1, reads_max: 1, ..SqliteOptions::default() };
    let store = open_with(&path, options).unwrap();
    store.commit(put("a", 1, b"x")).await.unwrap();
    let _held = store.snapshot().await.unwrap();
    assert!(store.get(&key("a")).await.unwrap().0.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_caller_gave_up_returns_its_connection() {
    let (_folder, path) = place();
    let options = SqliteOptions { snapshots_max: 1, ..SqliteOptions::default() };
    let store = open_with(&path, options).unwrap();
    for _ in 0..20 {
        let mut snapshot = store.snapshot().await.unwrap();
        let all = NameRange::all(table());
        // Polled once, then dropped while a thread works on it.
        let _ = futures::poll!(snapshot.scan(&all, 10, false));
    }
    // Waits for ever if a connection was lost.
    let last = tokio::time::timeout(std::time::Duration::from_secs(20), store.snapshot());
    assert!(last.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_dropped_commit_happens_wholly_or_not_and_holds_up_nobody() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    for version in 0..50 {
        let mut writes = put("a", version, b"x").writes;
        writes.extend(put("b", version, b"x").writes);
        let _ = futures::poll!(store.commit(Batch { conditions: vec![], writes }));
    }
    store.commit(put("last", 1, b"x")).await.unwrap();
    let mut snapshot = store.snapshot().await.unwrap();
    let rows = snapshot.batch_get(&[key("a"), key("b"), key("last")]).await.unwrap();
    assert_eq!(rows[0], rows[1]);
    assert!(rows[2].is_some());
}

/// A row with an id, a field and entries in two indexes, one of which all rows share.
fn indexed(n: u64, version: u64, color: &str) -> Row {
    let extract = Extract::builder()
        .field("n", Value::number(n))
        .entry("by-color", Value::text(color))
        .entry("by-number", Value::numbers(&[n, 7]));
    Row { id: RowId(n.into()), extract: extract.build(), ..Row::new(version, vec![9; 100]) }
}

fn by_color(namespace: &str, color: &str) -> IndexRange {
    let index = Index { namespace: namespace.into(), name: "by-color".into() };
    IndexRange::exactly(index, Value::text(color))
}

fn count(path: &Path, table: &str) -> i64 {
    outside(path).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Until nothing is left to be freed.
async fn freed(path: &Path) {
    let deadline = Seams::real().clock.monotonic() + std::time::Duration::from_secs(20);
    while count(path, "dropped") > 0 {
        assert!(Seams::real().clock.monotonic() < deadline, "a dropped space is not freed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_dropped_namespace_is_gone_at_once_and_freed_soon() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    let rows = (1..=2_500).map(|n| Write::put(key(&format!("r{n}")), indexed(n, n, "red")));
    store.commit(Batch { conditions: vec![], writes: rows.collect() }).await.unwrap();
    let mut before = store.snapshot().await.unwrap();
    store.commit(only(Write::Drop { namespace: "v1".into() })).await.unwrap();
    assert_eq!(store.get(&key("r7")).await.unwrap().0, None);
    let mut after = store.snapshot().await.unwrap();
    assert_eq!(after.tables().await.unwrap(), []);
    assert_eq!(after.scan_index(&by_color("v1", "red"), None, 9, false).await.unwrap(), []);
    drop(after);
    store.commit(only(Write::put(key("new"), indexed(7, 1, "red")))).await.unwrap();
    freed(&path).await;
    assert_eq!((count(&path, "rows"), count(&path, "entries")), (1, 2));
    let seen = before.scan_index(&by_color("v1", "red"), None, 10_000, false).await.unwrap();
    assert_eq!(seen.len(), 2_500, "whoever looked before sees what was there");
}

#[tokio::test]
async fn what_was_not_freed_at_the_end_is_freed_after_reopening() {
    let (_folder, path) = place();
    let inline = SqliteOptions { executor: Executor::Inline, ..SqliteOptions::default() };
    let store = open_with(&path, inline).unwrap();
    let rows = (1..=2_500).map(|n| Write::put(key(&format!("r{n}")), indexed(n, n, "red")));
    store.commit(Batch { conditions: vec![], writes: rows.collect() }).await.unwrap();
    store.commit(only(Write::Drop { namespace: "v1".into() })).await.unwrap();
    store.close().await.unwrap();
    assert!(count(&path, "rows") > 0, "one slice was enough, so that nothing is tested");
    let store = open(&path).unwrap();
    freed(&path).await;
    assert_eq!((count(&path, "rows"), count(&path, "entries")), (0, 0));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_swap_costs_no_write_of_a_row_and_survives_reopening() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    let rows = (1..=500).map(|n| Write::put(key(&format!("r{n}")), indexed(n, n, "red")));
    store.commit(Batch { conditions: vec![], writes: rows.collect() }).await.unwrap();
    let mut before = store.snapshot().await.unwrap();
    let swap = || only(Write::Swap { a: "v1".into(), b: "v2".into() });
    store.commit(swap()).await.unwrap();
    let there = Key { table: Table { namespace: "v2".into(), ..table() }, ..key("r7") };
    assert_eq!(store.get(&key("r7")).await.unwrap().0, None);
    assert_eq!(store.get(&there).await.unwrap().0, Some(indexed(7, 7, "red")));
    let seen = before.batch_get(&[key("r7"), there.clone()]).await.unwrap();
    assert_eq!(seen, [Some(indexed(7, 7, "red")), None]);
    drop(before);
    store.close().await.unwrap();
    let store = open(&path).unwrap();
    assert_eq!(store.get(&there).await.unwrap().0, Some(indexed(7, 7, "red")));
    let mut snapshot = store.snapshot().await.unwrap();
    let found = snapshot.batch_get_by_id(&there.table, &[RowId(7), RowId(501)]).await.unwrap();
    assert_eq!(found, [Some(("r7".into(), indexed(7, 7, "red"))), None]);
    let Changes::Page { changes, .. } = store.changes(Position::default(), 1000).await.unwrap()
    else {
        panic!("a page was expected")
    };
    assert!(changes.iter().all(|change| change.key.table == table()), "the log stays true");
}

/// A swap moves both ways under a reader that always finds the row in exactly one of the two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_reads_during_swaps_use_the_spaces_of_their_view() {
    let (_folder, path) = place();
    let store = Arc::new(open(&path).unwrap());
    let there = Key { table: Table { namespace: "v2".into(), ..table() }, ..key("a") };
    let both = [(key("a"), 1), (there.clone(), 2)];
    let puts =
        both.iter().map(|(key, version)| Write::put(key.clone(), indexed(1, *version, "red")));
    store.commit(Batch { conditions: vec![], writes: puts.collect() }).await.unwrap();
    let begun = store.head().borrow().sequence;
    let (done, mut ended) = tokio::sync::oneshot::channel();
    let swapping = store.clone();
    Seams::real().tasks.spawn(
        "swaps",
        Box::pin(async move {
            for _ in 0..200 {
                let swap = Write::Swap { a: "v1".into(), b: "v2".into() };
                swapping.commit(only(swap)).await.unwrap();
            }
            let _ = done.send(());
        }),
    );
    while ended.try_recv().is_err() {
        let (row, position) = store.get(&key("a")).await.unwrap();
        let swaps = position.sequence - begun;
        assert_eq!(row.unwrap().version, 1 + swaps % 2, "after {swaps} swaps");
    }
}

/// How SQLite goes about a statement.
fn plan_of(path: &Path, sql: &str) -> String {
    let connection = outside(path);
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
    steps.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
}

#[test]
fn statements_go_by_the_indexes_that_are_meant_for_them() {
    let (_folder, path) = place();
    drop(open(&path).unwrap());
    let by_id = "SELECT name FROM rows WHERE space = ?1 AND kind = ?2 AND id = ?3";
    expect_test::expect![
        "SEARCH rows USING COVERING INDEX rows_by_id (space=? AND kind=? AND id=?)"
    ]
    .assert_eq(&plan_of(&path, by_id));
    let range = by_color("v1", "red");
    let after = IndexCursor { value: range.from.clone(), kind: "Device".into(), name: "a".into() };
    let plan = |after, descending| {
        let bounds = index::Bounds::new(&range, after, descending);
        plan_of(&path, &index::hits_sql(&bounds.sql, descending))
    };
    expect_test::expect![[r#"
        SEARCH e USING PRIMARY KEY (space=? AND index_id=? AND value>? AND value<?)
        SEARCH k USING COVERING INDEX sqlite_autoindex_kinds_1 (name=?) LEFT-JOIN
        SEARCH r USING PRIMARY KEY (space=? AND kind=? AND name=?) LEFT-JOIN"#]]
    .assert_eq(&plan(None, false));
    expect_test::expect![[r#"
        SEARCH e USING PRIMARY KEY (space=? AND index_id=? AND (value,kind,name)>(?,?,?) AND value<?)
        SEARCH k USING COVERING INDEX sqlite_autoindex_kinds_1 (name=?) LEFT-JOIN
        SEARCH r USING PRIMARY KEY (space=? AND kind=? AND name=?) LEFT-JOIN"#]].assert_eq(&plan(Some(&after), false));
    expect_test::expect![[r#"
        SEARCH e USING PRIMARY KEY (space=? AND index_id=? AND value>? AND (value,kind,name)<(?,?,?))
        SEARCH k USING COVERING INDEX sqlite_autoindex_kinds_1 (name=?) LEFT-JOIN
        SEARCH r USING PRIMARY KEY (space=? AND kind=? AND name=?) LEFT-JOIN"#]].assert_eq(&plan(Some(&after), true));
    let keys = index::keys_sql(&index::Bounds::new(&range, None, false).sql);
    expect_test::expect![[r#"
        SEARCH e USING PRIMARY KEY (space=? AND index_id=? AND value>? AND value<?)
        USE TEMP B-TREE FOR DISTINCT"#]]
    .assert_eq(&plan_of(&path, &keys));
}

#[tokio::test]
async fn an_update_that_changes_no_entry_and_no_id_writes_neither() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    store.commit(only(Write::put(key("a"), indexed(1, 1, "red")))).await.unwrap();
    store.close().await.unwrap();
    // From here on whoever touches an entry is told off by the file itself.
    outside(&path)
        .execute_batch(
            "CREATE TRIGGER no_new BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'new'); END;
             CREATE TRIGGER no_gone BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'gone'); END;
             CREATE TRIGGER no_id BEFORE UPDATE OF id ON rows BEGIN SELECT RAISE(ABORT, 'id'); END;",
        )
        .unwrap();
    let store = open(&path).unwrap();
    store.commit(only(Write::put(key("a"), indexed(1, 2, "red")))).await.unwrap();
    let changed = store.commit(only(Write::put(key("a"), indexed(1, 3, "blue")))).await;
    assert!(changed.is_err(), "the triggers notice nothing");
}

#[tokio::test]
async fn a_sound_file_has_nothing_wrong_and_damage_is_told() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    store.commit(only(Write::put(key("a"), indexed(1, 1, "red")))).await.unwrap();
    assert_eq!(store.check().await.unwrap(), Vec::<String>::new());
    outside(&path).execute("DELETE FROM entries WHERE index_id = 2", []).unwrap();
    assert_eq!(store.check().await.unwrap(), ["row a is missing from an index"]);
    outside(&path).execute("UPDATE rows SET body = x'00'", []).unwrap();
    let damaged = store.get(&key("a")).await;
    assert!(matches!(damaged, Err(StoreError::Corrupt(_))), "{damaged:?}");
    assert_eq!(store.check().await.unwrap().len(), 1);
    outside(&path).execute("DELETE FROM rows", []).unwrap();
    assert_eq!(store.check().await.unwrap(), ["there are 1 index entries, and rows have 0"]);
    let mut snapshot = store.snapshot().await.unwrap();
    let found = snapshot.scan_index(&by_color("v1", "red"), None, 9, false).await;
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");
}

#[tokio::test]
async fn a_start_elsewhere_survives_reopening() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    store.commit(put("a", 1, b"x")).await.unwrap();
    let (old, new) = (*store.head().borrow(), Position { era: 3, sequence: 1_000 });
    store.start_at(new).await.unwrap();
    assert!(matches!(store.start_at(old).await, Err(CommitError::Malformed(_))));
    store.close().await.unwrap();
    let store = open(&path).unwrap();
    assert_eq!(store.get(&key("a")).await.unwrap().1, new);
    assert_eq!(store.changes(old, 9).await.unwrap(), Changes::TooOld { oldest: new });
    let next = store.commit(put("a", 2, b"x")).await.unwrap();
    assert_eq!(next, Position { era: 3, sequence: 1_001 });
    let Changes::Page { changes, .. } = store.changes(new, 9).await.unwrap() else {
        panic!("a page was expected")
    };
    assert_eq!(changes.len(), 1);
}
