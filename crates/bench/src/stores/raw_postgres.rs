//! The limits of our PostgreSQL backend: prepared statements that write the same rows, with no store around them.
//!
//! Two ways. *Single*: every client commits its own row, on 32 connections at most, so PostgreSQL itself groups the flushes;
//! the log line takes its number from a sequence, since a common counter row would make the commits wait for each other (so it
//! gives no order that a reader could rely on, which ours does). *Grouped*: one connection that writes a full group per
//! statement, with a counter row, as the fastest way there is for one writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::postgres::Postgres;
use crate::error::Error;
use crate::load::closed;
use crate::rows::{self, NewRow};

const CONNECTIONS_MAX: usize = 32;
/// Rows of one statement at most, as in our store.
const GROUP_MAX: usize = 256;
const SCHEMA: &str = "raw";

const TABLES: &str = "
DROP SCHEMA IF EXISTS raw CASCADE;
CREATE SCHEMA raw;
CREATE TABLE raw.rows (
  space int4 NOT NULL, kind int4 NOT NULL, name bytea NOT NULL, id uuid, version int8 NOT NULL,
  body bytea NOT NULL, aside bytea NOT NULL, extracted bytea NOT NULL, readable jsonb,
  PRIMARY KEY (space, kind, name)
);
CREATE UNIQUE INDEX ON raw.rows (space, kind, id) WHERE id IS NOT NULL;
CREATE TABLE raw.entries (
  space int4 NOT NULL, index_number int4 NOT NULL, value bytea NOT NULL, kind_rank bytea NOT NULL, name bytea NOT NULL,
  PRIMARY KEY (space, index_number, value, kind_rank, name)
);
CREATE TABLE raw.log (
  sequence int8 NOT NULL, line int4 NOT NULL, namespace int4 NOT NULL, kind int4 NOT NULL, name bytea NOT NULL,
  before_id uuid, before_version int8, before_body bytea, before_aside bytea,
  after_id uuid, after_version int8, after_body bytea, after_aside bytea, size int8 NOT NULL,
  PRIMARY KEY (sequence, line)
);
CREATE INDEX ON raw.log (namespace, kind, name, sequence) WHERE after_version IS NULL;
CREATE SEQUENCE raw.sequence CACHE 32;
CREATE TABLE raw.state (id int PRIMARY KEY, sequence bigint NOT NULL);
INSERT INTO raw.state VALUES (1, 0);
";

/// A row, its entries and its log line in one statement.
const SINGLE: &str = r"
WITH
  r AS (INSERT INTO raw.rows VALUES (1, 1, $1, $2, $3, $4, '', $5, $6::text::jsonb)),
  e AS (INSERT INTO raw.entries VALUES (1, 1, $7, '\x01', $1), (1, 2, $8, '\x01', $1))
INSERT INTO raw.log
VALUES (nextval('raw.sequence'), 1, 1, 1, $1, NULL, NULL, NULL, NULL, $2, $3, $4, '', 400)";

/// As many as the arrays are long, and the counter.
const GROUPED: &str = r"
WITH
  input AS MATERIALIZED (
    SELECT * FROM unnest(
      $1::bytea[], $2::uuid[], $3::int8[], $4::bytea[], $5::bytea[], $6::text[], $7::bytea[], $8::bytea[]
    ) AS input (name, id, version, body, extracted, readable, site, model)
  ),
  r AS (
    INSERT INTO raw.rows
    SELECT 1, 1, name, id, version, body, ''::bytea, extracted, readable::jsonb FROM input
  ),
  e AS (
    INSERT INTO raw.entries
    SELECT 1, 1, site, '\x01'::bytea, name FROM input UNION ALL SELECT 1, 2, model, '\x01'::bytea, name FROM input
  ),
  l AS (
    INSERT INTO raw.log
    SELECT version, 1, 1, 1, name, NULL, NULL, NULL, NULL, id, version, body, ''::bytea, 400 FROM input
  )
UPDATE raw.state SET sequence = $9 WHERE id = 1";

/// One row's parameters, in the order of both statements.
struct Values {
    name: Vec<u8>,
    id: Uuid,
    version: i64,
    body: Vec<u8>,
    extract: Vec<u8>,
    readable: String,
    site: Vec<u8>,
    model: Vec<u8>,
}

impl Values {
    fn of(number: u64) -> Self {
        let NewRow { name, row, site, model } = rows::make(number, number + 1);
        Self {
            readable: String::from_utf8_lossy(&rows::readable(&name)).into_owned(),
            name: name.into_bytes(),
            id: Uuid::from_u128(row.id.0),
            version: row.version.cast_signed(),
            body: row.body.to_vec(),
            extract: row.extract.as_bytes().to_vec(),
            site: site.into_bytes(),
            model: model.into_bytes(),
        }
    }
}

/// Commits per second of so many clients, each with one open at any time, on `min(clients, 32)` connections.
pub(crate) async fn single_rate(
    server: &Postgres,
    clients: usize,
    warm_up: Duration,
    time: Duration,
) -> Result<f64, Error> {
    make_tables(server).await?;
    let mut connections = Vec::new();
    for _ in 0..clients.min(CONNECTIONS_MAX) {
        connections.push(Arc::new(prepared(server, SINGLE).await?));
    }
    let connections = Arc::new(connections);
    let create = move |worker: usize, number| {
        let connection = connections[worker % connections.len()].clone();
        async move { insert_one(&connection.0, &connection.1, &Values::of(number)).await }
    };
    let next = Arc::new(AtomicU64::new(0));
    closed(clients, warm_up, &next, create.clone()).await?;
    let outcome = closed(clients, time, &next, create).await?;
    check_count(server, next.load(Ordering::Relaxed)).await?;
    server.drop_schema(SCHEMA).await?;
    Ok(outcome.per_second())
}

/// Rows per second of one connection that writes as many rows per statement as there are clients.
pub(crate) async fn grouped_rate(
    server: &Postgres,
    clients: usize,
    warm_up: Duration,
    time: Duration,
) -> Result<f64, Error> {
    make_tables(server).await?;
    let (client, statement) = prepared(server, GROUPED).await?;
    let (start, group) = (Instant::now(), clients.min(GROUP_MAX) as u64);
    let (mut number, mut first, mut counts_from) = (0, 0, start);
    while start.elapsed() < warm_up + time {
        insert_group(&client, &statement, number..number + group).await?;
        number += group;
        if counts_from == start && start.elapsed() >= warm_up {
            (first, counts_from) = (number, Instant::now());
        }
    }
    let rate = (number - first) as f64 / counts_from.elapsed().as_secs_f64();
    check_count(server, number).await?;
    server.drop_schema(SCHEMA).await?;
    Ok(rate)
}

async fn make_tables(server: &Postgres) -> Result<(), Error> {
    server.connect().await?.batch_execute(TABLES).await.map_err(Error::Postgres)
}

async fn prepared(server: &Postgres, sql: &str) -> Result<(Client, Statement), Error> {
    let client = server.connect().await?;
    let statement = client.prepare(sql).await.map_err(Error::Postgres)?;
    Ok((client, statement))
}

async fn insert_one(client: &Client, sql: &Statement, row: &Values) -> Result<(), Error> {
    let values: [&(dyn ToSql + Sync); 8] = [
        &row.name,
        &row.id,
        &row.version,
        &row.body,
        &row.extract,
        &row.readable,
        &row.site,
        &row.model,
    ];
    client.execute(sql, &values).await.map(drop).map_err(Error::Postgres)
}

async fn insert_group(
    client: &Client,
    sql: &Statement,
    numbers: std::ops::Range<u64>,
) -> Result<(), Error> {
    let sequence = numbers.end.cast_signed();
    let rows: Vec<Values> = numbers.map(Values::of).collect();
    fn column<'r, T>(rows: &'r [Values], part: impl Fn(&'r Values) -> T) -> Vec<T> {
        rows.iter().map(part).collect()
    }
    let values: [&(dyn ToSql + Sync); 9] = [
        &column(&rows, |row| &row.name[..]),
        &column(&rows, |row| row.id),
        &column(&rows, |row| row.version),
        &column(&rows, |row| &row.body[..]),
        &column(&rows, |row| &row.extract[..]),
        &column(&rows, |row| &*row.readable),
        &column(&rows, |row| &row.site[..]),
        &column(&rows, |row| &row.model[..]),
        &sequence,
    ];
    client.execute(sql, &values).await.map(drop).map_err(Error::Postgres)
}

/// What is counted has to be there.
async fn check_count(server: &Postgres, expected: u64) -> Result<(), Error> {
    let sql = "SELECT (SELECT count(*) FROM raw.rows), (SELECT count(*) FROM raw.entries), (SELECT count(*) FROM raw.log)";
    let row = server.connect().await?.query_one(sql, &[]).await.map_err(Error::Postgres)?;
    let count = |column| row.try_get::<_, i64>(column).map_err(Error::Postgres);
    let (rows, entries, lines) = (count(0)?, count(1)?, count(2)?);
    let expected = expected.cast_signed();
    match rows == expected && lines == expected && entries == expected * rows::ENTRIES as i64 {
        true => Ok(()),
        false => Err(Error::Wrong(format!(
            "of {expected} raw commits there are {rows} rows, {entries} entries and {lines} lines of the log"
        ))),
    }
}
