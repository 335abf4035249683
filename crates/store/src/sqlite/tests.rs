//! What only the SQLite backend promises: durability, its file, its limits. The common promises are in `conformance`.

use super::*;
use crate::contract::{Table, Write};

fn key(name: &str) -> Key {
    Key { table: Table { namespace: "v1".into(), kind: "Device".into() }, name: name.into() }
}

fn put(name: &str, version: u64, body: &[u8]) -> Batch {
    let row =
        Row { version, body: bytes::Bytes::copy_from_slice(body), aside: bytes::Bytes::new() };
    Batch { conditions: vec![], writes: vec![Write::Put { key: key(name), row }] }
}

fn open(path: &Path) -> Result<Sqlite, OpenError> {
    Sqlite::open(path, SqliteOptions::default(), Seams::real())
}

#[tokio::test]
async fn a_row_and_its_position_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.db");
    let store = open(&path).unwrap();
    let position = store.commit(put("a", 1, b"body")).await.unwrap();
    store.close().await.unwrap();
    let store = open(&path).unwrap();
    assert_eq!(*store.head().borrow(), position);
    let (row, at) = store.get(&key("a")).await.unwrap();
    assert_eq!((&*row.unwrap().body, at), (&b"body"[..], position));
}
