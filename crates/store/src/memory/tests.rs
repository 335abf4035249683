//! What only the memory backend does: keeping old versions while a snapshot needs them, and not longer.

use super::*;
use crate::contract::Write;

fn key(name: &str) -> Key {
    Key { table: Table { namespace: "v1".into(), kind: "Device".into() }, name: name.into() }
}

fn row(version: u64) -> Row {
    Row { version, body: bytes::Bytes::new(), aside: bytes::Bytes::new() }
}

async fn put(store: &Memory, name: &str, version: u64) {
    let writes = vec![Write::Put { key: key(name), row: row(version) }];
    store.commit(Batch { conditions: vec![], writes }).await.unwrap();
}

async fn remove(store: &Memory, name: &str) {
    let writes = vec![Write::Remove { key: key(name) }];
    store.commit(Batch { conditions: vec![], writes }).await.unwrap();
}

/// How many versions are kept of all rows together.
fn versions(store: &Memory) -> usize {
    store.shared.read().tables.values().flat_map(|table| table.values()).map(Vec::len).sum()
}

#[tokio::test]
async fn without_snapshots_one_version_is_kept_and_none_of_removed_rows() {
    let store = Memory::new();
    for version in 1..10 {
        put(&store, "a", version).await;
        put(&store, "b", version).await;
    }
    assert_eq!(versions(&store), 2);
    remove(&store, "a").await;
    assert_eq!(versions(&store), 1);
}

#[tokio::test]
async fn a_dropped_snapshot_frees_what_it_held_with_the_next_commit() {
    let store = Memory::new();
    put(&store, "a", 1).await;
    put(&store, "gone", 1).await;
    let mut snapshot = store.snapshot().await.unwrap();
    put(&store, "a", 2).await;
    remove(&store, "gone").await;
    let rows = snapshot.batch_get(&[key("a"), key("gone")]).await.unwrap();
    assert_eq!(rows, [Some(row(1)), Some(row(1))]);
    assert_eq!(versions(&store), 4);
    drop(snapshot);
    put(&store, "b", 1).await;
    assert_eq!(versions(&store), 2);
    assert!(store.shared.read().stale.is_empty());
}
