//! Settings of a store on PostgreSQL.

use std::fmt;
use std::time::Duration;

use bowline_store::tail::TailLimits;

/// The URL of a database, with its password; shows neither in logs nor in errors.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// `postgres://user:password@host:port,host2:port2/database?sslmode=verify-full&sslrootcert=/path`.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl")
    }
}

/// Settings of a [`crate::Postgres`] store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    pub url: DatabaseUrl,
    /// The schema of the deployment; made if it is not there. At most 63 bytes.
    pub schema: String,
    /// Connections that commit. With two, one gathers a group while the other waits for the disk.
    pub writers: usize,
    /// Connections for single reads, which are sent one after the other without waiting.
    pub reads_max: usize,
    /// Snapshots held at a time, a connection each; asking for one more waits. Never ask for a second one while
    /// holding one.
    pub snapshots_max: usize,
    /// Batches that share one transaction at most.
    pub group_batches_max: usize,
    /// A group takes no more batches once its rows have this many bytes.
    pub group_bytes_max: usize,
    /// Batches that wait for a writer before committing has to wait to be accepted.
    pub queue_batches_max: usize,
    /// Changes in the log.
    pub log_changes_max: u64,
    /// Bytes of rows in the log, about.
    pub log_bytes_max: u64,
    /// Newest changes that are also in memory, so that watching near the head reads nothing.
    pub tail_changes_max: usize,
    /// Bytes of those.
    pub tail_bytes_max: usize,
    /// Whether processes wake each other by `NOTIFY`. Off for engines that do not have it and for poolers that do not
    /// pass it on; then `poll_interval` is how long changes of other processes take.
    pub notify: bool,
    /// How often to look for changes of other processes if nothing wakes us.
    pub poll_interval: Duration,
    /// Whether documents are kept as `jsonb` beside their bytes, with a view per kind.
    pub readable: bool,
    /// How long a commit or read goes on finding a server that answers before it is given up.
    pub answer_deadline: Duration,
    /// How long one exchange with a server may take before another connection is tried.
    pub flight_timeout: Duration,
    /// How long to wait for a server to accept a connection, for each host.
    pub connect_timeout: Duration,
    /// How long the server lets a transaction that commits stand still, in case this process does.
    pub stall_timeout: Duration,
    /// How long the server lets a snapshot stand still.
    pub snapshot_timeout: Duration,
}

impl PostgresOptions {
    /// Defaults for the database at `url`.
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            schema: "bowline".to_owned(),
            writers: 2,
            reads_max: 4,
            snapshots_max: 16,
            group_batches_max: 512,
            group_bytes_max: 8 * 1024 * 1024,
            queue_batches_max: 4096,
            log_changes_max: 1_000_000,
            log_bytes_max: 1024 * 1024 * 1024,
            tail_changes_max: 100_000,
            tail_bytes_max: 32 * 1024 * 1024,
            notify: true,
            poll_interval: Duration::from_secs(1),
            readable: true,
            answer_deadline: Duration::from_secs(30),
            flight_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            stall_timeout: Duration::from_secs(5),
            snapshot_timeout: Duration::from_secs(300),
        }
    }

    /// The log in memory never reaches back further than settings allow the one in the database.
    pub(crate) fn tail_limits(&self) -> TailLimits {
        let count = usize::try_from(self.log_changes_max).unwrap_or(usize::MAX);
        let bytes = usize::try_from(self.log_bytes_max).unwrap_or(usize::MAX);
        TailLimits {
            changes_max: self.tail_changes_max.min(count),
            bytes_max: self.tail_bytes_max.min(bytes),
        }
    }
}
