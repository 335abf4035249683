//! Several server processes on one store: one that was taken for dead writes nothing of what it had begun, and goes on.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_api::engine::{Engine, Hook, Parts, Save};
use bowline_api::limits::Limits;
use bowline_base::{Seams, Status};
use bowline_store::{Backend, Batch, Condition, Key, Memory, NameRange, Row, Table, Write, layout};
use serde_json::json;
use support::World;

fn table() -> Table {
    layout::common("~incarnation")
}

async fn processes(backend: &Arc<dyn Backend>) -> Vec<(Arc<str>, Row)> {
    let mut snapshot = backend.snapshot().await.unwrap();
    snapshot.scan(&NameRange::all(table()), 100, false).await.unwrap()
}

/// What another process does with one that it takes for dead.
async fn bury(backend: &Arc<dyn Backend>) {
    for (name, row) in processes(backend).await {
        let key = Key { table: table(), name };
        let conditions = vec![Condition::RowAt { key: key.clone(), version: row.version }];
        backend.commit(Batch { conditions, writes: vec![Write::Remove { key }] }).await.unwrap();
    }
}

/// Buries all processes in the middle of the first save that it sees.
struct Gravedigger {
    backend: Arc<dyn Backend>,
    n_saves: AtomicUsize,
}

impl Hook for Gravedigger {
    fn before_save(&self, _: &mut Save<'_>) -> Result<(), Status> {
        if self.n_saves.fetch_add(1, Ordering::SeqCst) == 0 {
            // The store in memory does everything when it is first asked.
            futures::FutureExt::now_or_never(bury(&self.backend)).expect("it never waits");
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_save_that_was_under_way_when_its_process_was_buried_is_done_anew() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let digger = Arc::new(Gravedigger { backend: backend.clone(), n_saves: AtomicUsize::new(0) });
    let parts = Parts {
        registry: support::registry(),
        limits: Limits::default(),
        seams: Seams::real(),
        backends: HashMap::from([("test.example.com".to_owned(), backend.clone())]),
        actions: HashMap::new(),
        hooks: HashMap::from([(
            "test.example.com/Item".to_owned(),
            vec![digger.clone() as Arc<dyn Hook>],
        )]),
        routing: None,
        callers: None,
    };
    let world = World::around(Engine::start(parts).unwrap());
    let made = world.create_item("one", json!({ "color": "red" })).await.unwrap();
    // The first attempt was refused by the store as a whole, and the hook ran once more for the second.
    assert_eq!(digger.n_saves.load(Ordering::SeqCst), 2);
    let found = world.call("ItemService/GetItem", json!({ "name": "projects/p/items/one" })).await;
    assert_eq!(found.unwrap(), made);
    assert_eq!(processes(&backend).await.len(), 1);
}

#[tokio::test]
async fn processes_leave_when_they_close() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let (one, two) = (
        World::with(backend.clone(), Limits::default()),
        World::with(backend.clone(), Limits::default()),
    );
    one.create_item("one", json!({})).await.unwrap();
    two.create_item("two", json!({})).await.unwrap();
    assert_eq!(processes(&backend).await.len(), 2);
    one.engine.leave().await;
    assert_eq!(processes(&backend).await.len(), 1);
    let refused = one.create_item("three", json!({})).await.unwrap_err();
    assert_eq!(refused.reason, bowline_base::Reason::Unavailable);
    two.create_item("three", json!({})).await.unwrap();
}
