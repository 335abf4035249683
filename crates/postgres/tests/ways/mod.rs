//! Short ways to stores, batches and rows, for tests of this crate.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and runs in real time"
)]

pub(crate) mod proxy;

use std::time::Duration;

use bowline_base::Seams;
use bowline_postgres::{DatabaseUrl, OpenError, Postgres, PostgresOptions};
use bowline_store::{Backend, Batch, Change, Changes, Key, Position, Row, Table, Write};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn options(url: &str, schema: &str) -> PostgresOptions {
    PostgresOptions { schema: schema.to_owned(), ..PostgresOptions::new(DatabaseUrl::new(url)) }
}

pub(crate) async fn open(options: PostgresOptions) -> Postgres {
    Postgres::open(options, Seams::real()).await.unwrap()
}

/// The error of a store that cannot be opened, as people see it and as developers do.
pub(crate) async fn refused(options: PostgresOptions) -> (OpenError, String) {
    let error = Postgres::open(options, Seams::real()).await.unwrap_err();
    let shown = format!("{} {error:?}", bowline_base::chain(&error));
    (error, shown)
}

pub(crate) fn table(namespace: &str) -> Table {
    Table { namespace: namespace.into(), kind: "devices.example.com/Device".into() }
}

pub(crate) fn key(name: &str) -> Key {
    Key { table: table("v1"), name: name.into() }
}

pub(crate) fn put(name: &str, version: u64) -> Write {
    Write::put(key(name), Row::new(version, format!("body {version}")))
}

pub(crate) fn batch(writes: Vec<Write>) -> Batch {
    Batch { conditions: Vec::new(), writes }
}

/// All changes from the beginning on.
pub(crate) async fn all_changes(store: &dyn Backend) -> Vec<Change> {
    let (mut all, mut from) = (Vec::new(), Position::default());
    loop {
        let Changes::Page { changes, next, at_head } = store.changes(from, 100).await.unwrap()
        else {
            panic!("the log begins after {from:?}");
        };
        all.extend(changes.iter().map(|change| Change::clone(change)));
        from = next;
        if at_head {
            return all;
        }
    }
}
