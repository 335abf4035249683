//! What a commit touches: rows written and pages changed, as the databases themselves account for them.
//!
//! SQLite: frames of its write-ahead log are pages. PostgreSQL: records of its write-ahead log are changes of a page each, so
//! a row that goes into a page beside another one counts again.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tokio_postgres::Client;

use super::postgres::Postgres;
use crate::error::Error;

/// What was written between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Touched {
    /// Rows and index entries written, lines of the log added and removed.
    pub(crate) rows: f64,
    pub(crate) pages: f64,
}

/// Counts what is written to one store from [`Meter::start`] to [`Meter::stop`].
pub(crate) enum Meter {
    Sqlite(Box<Frames>),
    Postgres(Records),
}

impl Meter {
    /// Ends what the database does by itself after many writes, so that it does not do it while others are measured.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(frames) => frames.settle().map_err(Error::Sqlite),
            Self::Postgres(records) => records.settle().await.map_err(Error::Postgres),
        }
    }

    /// `sequence`: that of the newest commit.
    pub(crate) async fn start(&mut self, sequence: u64) -> Result<(), Error> {
        match self {
            Self::Sqlite(frames) => frames.start(sequence).map_err(Error::Sqlite),
            Self::Postgres(records) => records.start().await.map_err(Error::Postgres),
        }
    }

    /// To be called after every commit.
    pub(crate) fn committed(&mut self) -> Result<(), Error> {
        match self {
            Self::Sqlite(frames) => frames.look(),
            Self::Postgres(_) => Ok(()),
        }
    }

    pub(crate) async fn stop(&mut self) -> Result<Touched, Error> {
        match self {
            Self::Sqlite(frames) => frames.stop().map_err(Error::Sqlite),
            Self::Postgres(records) => records.stop().await.map_err(Error::Postgres),
        }
    }
}

/// A second connection to an embedded store that follows its write-ahead log.
pub(crate) struct Frames {
    connection: Connection,
    wal: PathBuf,
    /// Where the log was at the last look: how often it had begun anew, and its length in frames.
    seen: (u32, u64),
    frames: u64,
    sequence: i64,
    before: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    entries: i64,
    /// The number of the newest line of the log.
    newest: i64,
    lines: i64,
}

impl Frames {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open(path).map_err(Error::Sqlite)?;
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        let (seen, before) = ((0, 0), Counts::default());
        Ok(Self { connection, wal: wal.into(), seen, frames: 0, sequence: 0, before })
    }

    /// Copies what is in the log into the file.
    fn settle(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    fn start(&mut self, sequence: u64) -> rusqlite::Result<()> {
        self.settle()?;
        self.sequence = sequence.cast_signed();
        self.before = self.counts()?;
        self.seen = (self.begun().unwrap_or(0), self.length()?);
        self.frames = 0;
        Ok(())
    }

    fn counts(&self) -> rusqlite::Result<Counts> {
        const SQL: &str = "
            SELECT (SELECT count(*) FROM entries), (SELECT coalesce(max(id), 0) FROM log), (SELECT count(*) FROM log)";
        self.connection.query_row(SQL, [], |row| {
            Ok(Counts { entries: row.get(0)?, newest: row.get(1)?, lines: row.get(2)? })
        })
    }

    /// Frames in the log since it last began anew.
    fn length(&self) -> rusqlite::Result<u64> {
        let frames: i64 =
            self.connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
        Ok(u64::try_from(frames).unwrap_or(0))
    }

    /// The number in the log's header that rises when it begins anew.
    fn begun(&self) -> std::io::Result<u32> {
        use std::io::Read;
        let mut header = [0; 16];
        std::fs::File::open(&self.wal)?.read_exact(&mut header)?;
        Ok(u32::from_be_bytes([header[12], header[13], header[14], header[15]]))
    }

    fn look(&mut self) -> Result<(), Error> {
        let length = self.length().map_err(Error::Sqlite)?;
        let begun = self.begun().map_err(Error::io("read the header of the write-ahead log"))?;
        let (seen_begun, seen_length) = self.seen;
        self.frames +=
            if begun == seen_begun { length.saturating_sub(seen_length) } else { length };
        self.seen = (begun, length);
        Ok(())
    }

    fn stop(&self) -> rusqlite::Result<Touched> {
        let after = self.counts()?;
        let count = |sql: &str, from: i64| {
            self.connection.query_row(sql, [from], |row| row.get::<_, i64>(0))
        };
        let rows = count("SELECT count(*) FROM rows WHERE version > ?1", self.sequence)?;
        let added = count("SELECT count(*) FROM log WHERE id > ?1", self.before.newest)?;
        let removed = self.before.lines + added - after.lines;
        let rows = rows + added + removed + after.entries - self.before.entries;
        Ok(Touched { rows: rows as f64, pages: self.frames as f64 })
    }
}

/// A connection that reads what the server wrote to its log.
pub(crate) struct Records {
    client: Client,
    from: String,
}

impl Records {
    pub(crate) async fn connect(server: &Postgres) -> Result<Self, Error> {
        let client = server.connect().await?;
        let extension = "CREATE EXTENSION IF NOT EXISTS pg_walinspect";
        client.batch_execute(extension).await.map_err(Error::Postgres)?;
        Ok(Self { client, from: String::new() })
    }

    async fn settle(&self) -> Result<(), tokio_postgres::Error> {
        self.client.execute("VACUUM ANALYZE", &[]).await?;
        self.client.execute("CHECKPOINT", &[]).await.map(drop)
    }

    async fn start(&mut self) -> Result<(), tokio_postgres::Error> {
        self.from = self.flushed().await?;
        Ok(())
    }

    async fn flushed(&self) -> Result<String, tokio_postgres::Error> {
        let row = self.client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await?;
        row.try_get(0)
    }

    /// Records that vacuum writes are not the commits'.
    async fn stop(&self) -> Result<Touched, tokio_postgres::Error> {
        const SQL: &str = r#"
            SELECT "resource_manager/record_type", count
            FROM pg_get_wal_stats($1::text::pg_lsn, $2::text::pg_lsn, true)
            WHERE count > 0"#;
        let to = self.flushed().await?;
        let mut touched = Touched::default();
        for row in self.client.query(SQL, &[&self.from, &to]).await? {
            let (kind, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            let (manager, record) = kind.split_once('/').unwrap_or((&kind, ""));
            let record = record.trim_end_matches("+INIT");
            let writes_row = ["INSERT", "UPDATE", "HOT_UPDATE", "DELETE"].contains(&record);
            let is_row = manager == "Heap" && writes_row;
            let is_index = manager == "Btree" && !["VACUUM", "DELETE"].contains(&record);
            touched.rows += if is_row { count as f64 } else { 0.0 };
            touched.pages += if is_row || is_index { count as f64 } else { 0.0 };
        }
        Ok(touched)
    }
}
