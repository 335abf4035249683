//! The limit of cascades: rows of the same size with the same indexes in a bare database, whose own foreign key cascades.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::error::Error;
use crate::item::spread;
use crate::stores::postgres::Postgres;

/// Bytes of a stored device, about.
const BODY_BYTES: usize = 600;

/// A table of targets and one of referrers: found by name, by id, by what they refer to.
const SQLITE: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
CREATE TABLE target (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE referrer (
  name TEXT PRIMARY KEY, id BLOB NOT NULL UNIQUE, version INTEGER NOT NULL, body BLOB NOT NULL,
  target TEXT NOT NULL REFERENCES target (name) ON DELETE CASCADE
);
CREATE INDEX referrer_target ON referrer (target, name);
";

const POSTGRES: &str = "
DROP SCHEMA IF EXISTS cascading CASCADE;
CREATE SCHEMA cascading;
CREATE TABLE cascading.target (name text PRIMARY KEY);
CREATE TABLE cascading.referrer (
  name text PRIMARY KEY, id uuid NOT NULL UNIQUE, version int8 NOT NULL, body bytea NOT NULL,
  target text NOT NULL REFERENCES cascading.target (name) ON DELETE CASCADE
);
CREATE INDEX ON cascading.referrer (target, name);
INSERT INTO cascading.target VALUES ('t');
";

/// How long SQLite takes to delete a target with this many referrers, durably.
pub(super) fn sqlite(file: &Path, referrers: u64) -> Result<Duration, Error> {
    let _ = std::fs::remove_file(file);
    let mut database = Connection::open(file).map_err(Error::Sqlite)?;
    database.execute_batch(SQLITE).map_err(Error::Sqlite)?;
    fill_sqlite(&mut database, referrers).map_err(Error::Sqlite)?;
    let start = Instant::now();
    database.execute("DELETE FROM target", []).map_err(Error::Sqlite)?;
    let took = start.elapsed();
    let left: i64 = database
        .query_row("SELECT count(*) FROM referrer", [], |row| row.get(0))
        .map_err(Error::Sqlite)?;
    match left {
        0 => Ok(took),
        _ => Err(Error::Wrong(format!("{left} rows did not cascade"))),
    }
}

fn fill_sqlite(database: &mut Connection, referrers: u64) -> Result<(), rusqlite::Error> {
    let transaction = database.transaction()?;
    transaction.execute("INSERT INTO target VALUES ('t')", [])?;
    {
        let mut insert = transaction.prepare("INSERT INTO referrer VALUES (?1, ?2, 1, ?3, 't')")?;
        let body = vec![b'n'; BODY_BYTES];
        for n in 0..referrers {
            let name = format!("devices/{:016x}", spread(n));
            insert.execute(params![name, u128::from(n).to_be_bytes(), body])?;
        }
    }
    transaction.commit()
}

/// How long PostgreSQL takes, durably.
pub(super) async fn postgres(database: &Postgres, referrers: u64) -> Result<Duration, Error> {
    let client = database.connect().await?;
    client.batch_execute(POSTGRES).await.map_err(Error::Postgres)?;
    let names: Vec<String> =
        (0..referrers).map(|n| format!("devices/{:016x}", spread(n))).collect();
    let body = vec![b'n'; BODY_BYTES];
    let sql = "INSERT INTO cascading.referrer
               SELECT name, gen_random_uuid(), 1, $2, 't' FROM unnest($1::text[]) AS input (name)";
    client.execute(sql, &[&names, &body]).await.map_err(Error::Postgres)?;
    client.batch_execute("VACUUM ANALYZE cascading.referrer").await.map_err(Error::Postgres)?;
    let start = Instant::now();
    client.execute("DELETE FROM cascading.target", &[]).await.map_err(Error::Postgres)?;
    let took = start.elapsed();
    let row = client.query_one("SELECT count(*) FROM cascading.referrer", &[]).await;
    let left: i64 = row.and_then(|row| row.try_get(0)).map_err(Error::Postgres)?;
    match left {
        0 => Ok(took),
        _ => Err(Error::Wrong(format!("{left} rows did not cascade"))),
    }
}
