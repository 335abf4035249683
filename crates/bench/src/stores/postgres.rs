//! A PostgreSQL server of the bench's own, with its default settings, and connections to it.

use std::path::Path;
use std::sync::Arc;

use bowline_base::Seams;
use bowline_postgres::{DatabaseUrl, PostgresOptions};
use bowline_store::Backend;
use bowline_testkit::postgres::{Options, Server};
use tokio_postgres::{Client, NoTls};

use crate::error::Error;

/// Where our store is in the database.
const SCHEMA: &str = "ours";

/// A running server with one database. Dropped, it is stopped and removed.
pub(crate) struct Postgres {
    _server: Server,
    url: String,
}

impl Postgres {
    /// Starts a server that flushes every commit, as PostgreSQL does by default.
    pub(crate) fn start() -> Result<Self, Error> {
        check_disk(&std::env::temp_dir())?;
        let server = Server::start(Options::durable()).map_err(Error::PostgresServer)?;
        let url = server.fresh_database().map_err(Error::PostgresServer)?;
        Ok(Self { _server: server, url })
    }

    /// `postgres://...`, of its database.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn connect(&self) -> Result<Client, Error> {
        let (client, connection) =
            tokio_postgres::connect(&self.url, NoTls).await.map_err(Error::Postgres)?;
        // It ends with the client; why it ended, the client's calls say.
        tokio::spawn(async { drop(connection.await) });
        Ok(client)
    }

    /// Removes a schema and whatever is in it.
    pub(crate) async fn drop_schema(&self, name: &str) -> Result<(), Error> {
        let sql = format!("DROP SCHEMA IF EXISTS {name} CASCADE");
        self.connect().await?.batch_execute(&sql).await.map_err(Error::Postgres)
    }

    /// Our store in a schema of its own, new.
    pub(crate) async fn open_store(
        &self,
        set: impl FnOnce(&mut PostgresOptions),
    ) -> Result<Arc<dyn Backend>, Error> {
        let mut options = PostgresOptions::new(DatabaseUrl::new(self.url.clone()));
        options.schema = SCHEMA.to_owned();
        set(&mut options);
        let store = bowline_postgres::Postgres::open(options, Seams::real()).await;
        Ok(Arc::new(store.map_err(Error::PostgresStore)?))
    }

    /// A connection that sees the tables of our store without naming their schema.
    pub(crate) async fn connect_to_store(&self) -> Result<Client, Error> {
        let client = self.connect().await?;
        let sql = format!("SET search_path TO {SCHEMA}");
        client.batch_execute(&sql).await.map_err(Error::Postgres)?;
        Ok(client)
    }

    /// Removes what [`Postgres::open_store`] made; the store must be closed.
    pub(crate) async fn drop_store(&self) -> Result<(), Error> {
        self.drop_schema(SCHEMA).await
    }

    /// What autovacuum would do after a while: a database that was just filled has no statistics.
    pub(crate) async fn analyze(&self) -> Result<(), Error> {
        self.connect().await?.batch_execute("VACUUM ANALYZE").await.map_err(Error::Postgres)
    }

    /// A setting of the server, as it would be written.
    pub(crate) async fn setting(&self, name: &str) -> Result<String, Error> {
        let row = self.connect().await?.query_one("SELECT current_setting($1)", &[&name]).await;
        row.and_then(|row| row.try_get(0)).map_err(Error::Postgres)
    }

    /// `PostgreSQL 15.14 ...`, for the report.
    pub(crate) async fn version(&self) -> Result<String, Error> {
        Ok(format!("PostgreSQL {}", self.setting("server_version").await?))
    }
}

/// The server's files are in the system's folder of temporary files; in memory a flush would cost nothing.
fn check_disk(folder: &Path) -> Result<(), Error> {
    const TMPFS: rustix::fs::FsWord = 0x0102_1994;
    let found = rustix::fs::statfs(folder);
    match found.is_ok_and(|found| found.f_type == TMPFS) {
        true => Err(Error::Wrong(format!(
            "{} is in memory; set TMPDIR to a folder on a disk that everybody may enter",
            folder.display()
        ))),
        false => Ok(()),
    }
}
