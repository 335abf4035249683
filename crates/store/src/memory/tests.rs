//! What only the memory backend does: keeping old versions while a snapshot needs them, and not longer.

use super::*;
use crate::contract::{Extract, Value, Write};

fn key(name: &str) -> Key {
    Key { table: Table { namespace: "v1".into(), kind: "Device".into() }, name: name.into() }
}

/// A row with an id of its own and one index entry, which tells its version.
fn row(name: &str, version: u64) -> Row {
    let extract = Extract::builder().entry("by version", Value::number(version)).build();
    let id = RowId(name.bytes().fold(1, |id, byte| (id << 8) | u128::from(byte)));
    Row { id, extract, ..Row::new(version, "") }
}

async fn put(store: &Memory, name: &str, version: u64) {
    commit(store, Write::put(key(name), row(name, version))).await;
}

async fn commit(store: &Memory, write: Write) {
    store.commit(Batch { conditions: vec![], writes: vec![write] }).await.unwrap();
}

/// How many versions are kept of all rows together.
fn versions(store: &Memory) -> usize {
    store.shared.read().sizes().0
}

#[tokio::test]
async fn without_snapshots_one_version_is_kept_and_none_of_removed_rows() {
    let store = Memory::new();
    for version in 1..10 {
        put(&store, "a", version).await;
        put(&store, "b", version).await;
    }
    assert_eq!(versions(&store), 2);
    commit(&store, Write::Remove { key: key("a") }).await;
    assert_eq!(versions(&store), 1);
    assert_eq!(store.shared.read().entries(), (1, 1));
}

#[tokio::test]
async fn a_dropped_snapshot_frees_what_it_held_with_the_next_commit() {
    let store = Memory::new();
    put(&store, "a", 1).await;
    put(&store, "gone", 1).await;
    let mut snapshot = store.snapshot().await.unwrap();
    put(&store, "a", 2).await;
    commit(&store, Write::Remove { key: key("gone") }).await;
    let rows = snapshot.batch_get(&[key("a"), key("gone")]).await.unwrap();
    assert_eq!(rows, [Some(row("a", 1)), Some(row("gone", 1))]);
    assert_eq!(versions(&store), 4);
    drop(snapshot);
    put(&store, "b", 1).await;
    assert_eq!(store.shared.read().sizes(), (2, 0));
    assert_eq!(store.shared.read().entries(), (2, 2));
}

#[tokio::test]
async fn the_rows_of_a_dropped_namespace_go_when_no_snapshot_sees_them() {
    let store = Memory::new();
    put(&store, "a", 1).await;
    let mut snapshot = store.snapshot().await.unwrap();
    commit(&store, Write::Drop { namespace: "v1".into() }).await;
    assert_eq!(store.get(&key("a")).await.unwrap().0, None);
    assert_eq!(snapshot.batch_get(&[key("a")]).await.unwrap(), [Some(row("a", 1))]);
    drop(snapshot);
    put(&store, "b", 1).await;
    assert_eq!(store.shared.read().sizes(), (1, 0));
}
