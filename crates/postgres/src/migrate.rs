//! The tables of a deployment's schema, and how they come about: migrations, each in a transaction of its own.
//!
//! A migration runs while programs of the previous format are at work, so it only adds: tables, columns with defaults,
//! indexes. One that older programs cannot live with raises `min_compatible`; those then refuse to open the schema, and
//! to commit if they have it open. Processes that start at the same time take turns by locking the row of
//! `bowline_meta`.
//!
//! | table | what |
//! | --- | --- |
//! | `bowline_meta` | one row: format, and the oldest format whose programs may take part |
//! | `state` | one row: era and sequence of the newest commit, what the log holds. Whoever commits has it locked |
//! | `namespaces` | number and space of each; the space changes by swap and drop |
//! | `kinds` | number of each, and its place in the order of names |
//! | `indexes` | number of each |
//! | `tables` | namespaces and kinds that were ever written together, and the view that was made for them |
//! | `rows` | the rows, keyed by space, kind, name |
//! | `entries` | the index entries |
//! | `log` | one line per change; namespaces by number, so that lines stay true after a swap |
//! | `dropped` | spaces whose rows are still to be removed |
//! | `writers` | the number of the newest group that each committing connection has committed |

use tokio_postgres::error::SqlState;

use crate::connect::{Connector, Session};
use crate::failure::{Failure, OpenError, corrupt};
use crate::row::column;

/// A step from one format to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    /// What the schema has after it.
    pub(crate) format: i32,
    /// The oldest format whose programs may go on.
    pub(crate) min_compatible: i32,
    pub(crate) sql: &'static str,
}

pub(crate) const MIGRATIONS: &[Migration] =
    &[Migration { format: 1, min_compatible: 1, sql: include_str!("migrate/1.sql") }];

/// Makes the schema what `migrations` lead to, if it is not that or newer already.
pub(crate) async fn migrate(
    connector: &Connector,
    session: &Session,
    schema: &str,
    migrations: &[Migration],
) -> Result<(), OpenError> {
    let known = migrations.last().map_or(0, |last| last.format);
    let store = |failure: Failure| OpenError::Store {
        schema: schema.to_owned(),
        source: failure.into_store_error(),
    };
    match look(session, schema).await.map_err(store)? {
        There::Store => {}
        There::Nothing => create(connector, session, schema).await.map_err(store)?,
        There::SomethingElse => {
            return Err(OpenError::NotAStore { schema: schema.to_owned() });
        }
    }
    loop {
        let found = lock_meta(session).await.map_err(store)?;
        if found.min_compatible > known {
            let (schema, needed) = (schema.to_owned(), found.min_compatible);
            return Err(OpenError::NewerFormat { schema, needed, known });
        }
        let Some(next) = migrations.iter().find(|m| m.format > found.format) else {
            return session.client.batch_execute("ROLLBACK").await.map_err(|e| store(e.into()));
        };
        step(session, next).await.map_err(store)?;
    }
}

/// What a schema holds.
enum There {
    Nothing,
    Store,
    SomethingElse,
}

/// One look: between two, others may be making the store.
async fn look(session: &Session, schema: &str) -> Result<There, Failure> {
    let sql =
        "SELECT tablename = 'bowline_meta' FROM pg_tables WHERE schemaname = $1 ORDER BY 1 DESC";
    let rows = session.client.query(sql, &[&schema]).await?;
    Ok(match rows.first().map(|row| column::<bool>(row, 0)).transpose()? {
        None => There::Nothing,
        Some(true) => There::Store,
        Some(false) => There::SomethingElse,
    })
}

/// The schema and the table by which it is known. Others may be doing the same: then they do it.
async fn create(connector: &Connector, session: &Session, schema: &str) -> Result<(), Failure> {
    // Whoever may not create schemas can still be given one.
    let there = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
    if session.client.query_opt(there, &[&schema]).await?.is_none() {
        let schema = format!("CREATE SCHEMA IF NOT EXISTS {}", connector.schema);
        unless_raced(session.client.batch_execute(&schema).await)?;
    }
    // One transaction, so that nobody sees the table without its row, and no kill leaves it so.
    let table = "BEGIN; \
         CREATE TABLE IF NOT EXISTS bowline_meta (id int4 PRIMARY KEY, format int4 NOT NULL, \
         min_compatible int4 NOT NULL); \
         INSERT INTO bowline_meta VALUES (1, 0, 0) ON CONFLICT (id) DO NOTHING; \
         COMMIT";
    let made = session.client.batch_execute(table).await;
    if made.is_err() {
        session.client.batch_execute("ROLLBACK").await?;
    }
    unless_raced(made)
}

/// Takes what a server answers to the later of two that make the same thing for success. The answer comes only after
/// the earlier one's commit, so the thing is there.
fn unless_raced(made: Result<(), tokio_postgres::Error>) -> Result<(), Failure> {
    let raced = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT,
    ];
    match made {
        Err(error) if !error.code().is_some_and(|code| raced.contains(code)) => Err(error.into()),
        _ => Ok(()),
    }
}

struct Found {
    format: i32,
    min_compatible: i32,
}

/// Begins a transaction that keeps other migrations out.
async fn lock_meta(session: &Session) -> Result<Found, Failure> {
    session.client.batch_execute("BEGIN").await?;
    let sql = "SELECT format, min_compatible FROM bowline_meta WHERE id = 1 FOR UPDATE";
    let row = session.client.query_opt(sql, &[]).await?;
    let row = row.ok_or_else(|| corrupt("bowline_meta has no row"))?;
    Ok(Found { format: row.try_get(0)?, min_compatible: row.try_get(1)? })
}

async fn step(session: &Session, migration: &Migration) -> Result<(), Failure> {
    session.client.batch_execute(migration.sql).await?;
    let Migration { format, min_compatible, .. } = migration;
    let finish = format!(
        "UPDATE bowline_meta SET format = {format}, min_compatible = {min_compatible} WHERE id = 1; \
         UPDATE state SET min_compatible = {min_compatible} WHERE id = 1; COMMIT"
    );
    Ok(session.client.batch_execute(&finish).await?)
}

#[cfg(test)]
mod tests;
