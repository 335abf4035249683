//! The limit of `create`: the same rows in the same tables, written by SQLite in groups, and nothing else.
//!
//! One thread writes; clients hand it a row and wait until its group is flushed. There is no API, no condition, no cache and
//! no reader: whatever a store does beyond this, it pays for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::item::{self, PROJECT};
use crate::load::closed;
use crate::stage::Stage;

/// Rows in one group, as many as our store takes.
const GROUP_MAX: usize = 256;
const WARM_UP: Duration = Duration::from_secs(1);

/// The tables of our store that a create writes.
const TABLES: &str = "
CREATE TABLE state (id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, log_changes INTEGER NOT NULL);
INSERT INTO state VALUES (1, 0, 0);
CREATE TABLE rows (
  table_id INTEGER NOT NULL, name TEXT NOT NULL,
  version INTEGER NOT NULL, body BLOB NOT NULL, aside BLOB NOT NULL,
  PRIMARY KEY (table_id, name)
) WITHOUT ROWID;
CREATE TABLE log (
  id INTEGER PRIMARY KEY, table_id INTEGER NOT NULL, name TEXT NOT NULL,
  before_version INTEGER, before_body BLOB, before_aside BLOB,
  after_version INTEGER, after_body BLOB, after_aside BLOB
);
";

/// A row to write, and who waits for it.
struct Job {
    name: String,
    body: Bytes,
    done: oneshot::Sender<()>,
}

/// Rows per second that `clients` get written, each waiting for its row before the next one.
pub(crate) async fn rate(
    stage: &Stage,
    body: &Bytes,
    clients: usize,
    time: Duration,
) -> Result<f64, Error> {
    let folder = stage.path("raw");
    std::fs::create_dir_all(&folder).map_err(Error::io(format!("make {}", folder.display())))?;
    let connection = open(&folder.join("raw.db")).map_err(Error::Raw)?;
    let (sender, jobs) = mpsc::channel(clients);
    let writer = std::thread::spawn(move || write_all(&connection, jobs));
    let next = Arc::new(AtomicU64::new(0));
    let body = body.clone();
    let write = move |_, n| {
        let (sender, body) = (sender.clone(), body.clone());
        async move {
            let (done, is_done) = oneshot::channel();
            let job = Job { name: item::name(PROJECT, n), body, done };
            // The writer tells why it is gone.
            let gone = || Error::Wrong("the raw store ended".to_owned());
            sender.send(job).await.map_err(|_| gone())?;
            is_done.await.map_err(|_| gone())
        }
    };
    closed(clients, WARM_UP, &next, write.clone()).await?;
    let outcome = closed(clients, time, &next, write).await;
    let written = writer.join().expect("the writer does not panic");
    written.map_err(Error::Raw)?;
    stage.remove("raw")?;
    Ok(outcome?.per_second())
}

/// A new file, set up as our store does it.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 16_000)?;
    connection.pragma_update(None, "cache_size", -64 * 1024)?;
    connection.execute_batch(TABLES)?;
    Ok(connection)
}

/// Writes groups until every client is gone.
fn write_all(connection: &Connection, mut jobs: mpsc::Receiver<Job>) -> rusqlite::Result<()> {
    let mut sequence = 0;
    let mut group = Vec::new();
    while let Some(first) = jobs.blocking_recv() {
        group.push(first);
        while group.len() < GROUP_MAX
            && let Ok(job) = jobs.try_recv()
        {
            group.push(job);
        }
        write_group(connection, &group, &mut sequence)?;
        for job in group.drain(..) {
            // Its client is gone when the time is over.
            let _ = job.done.send(());
        }
    }
    Ok(())
}

fn write_group(connection: &Connection, group: &[Job], sequence: &mut i64) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let mut insert = connection.prepare_cached("INSERT INTO rows VALUES (1, ?1, ?2, ?3, x'')")?;
    let mut log = connection
        .prepare_cached("INSERT INTO log VALUES (?1, 1, ?2, NULL, NULL, NULL, ?3, ?4, x'')")?;
    for job in group {
        *sequence += 1;
        insert.execute(params![job.name, *sequence, &*job.body])?;
        log.execute(params![*sequence << 20, job.name, *sequence, &*job.body])?;
    }
    connection
        .prepare_cached("UPDATE state SET sequence = ?1, log_changes = ?1")?
        .execute([*sequence])?;
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raw.db");
        let connection = open(&path).unwrap();
        let (sender, jobs) = mpsc::channel(1_000);
        let mut acknowledged = Vec::new();
        for n in 0..GROUP_MAX as u64 + 10 {
            let (done, is_done) = oneshot::channel();
            let job = Job { name: item::name(PROJECT, n), body: Bytes::from_static(b"x"), done };
            sender.try_send(job).unwrap();
            acknowledged.push(is_done);
        }
        drop(sender);
        write_all(&connection, jobs).unwrap();
        assert!(acknowledged.iter_mut().all(|done| done.try_recv().is_ok()));
        let count = |table: &str| -> i64 {
            let sql = format!("SELECT count(*) FROM {table}");
            Connection::open(&path).unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        let all = acknowledged.len() as i64;
        assert_eq!((count("rows"), count("log")), (all, all));
    }
}
