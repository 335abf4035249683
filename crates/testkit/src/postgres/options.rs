//! How a test wants its PostgreSQL.

/// What a server is started with. The default: nothing is flushed to disk, no TLS.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Lies on the disk and flushes at every commit, as PostgreSQL does by default; for benches, and where the moments
    /// matter that a flush takes. Killed processes lose nothing without it, since the system keeps what they wrote.
    pub durable: bool,
    /// Only encrypted connections over TCP, with passwords by SCRAM; see
    /// [`Server::root_certificate`](super::Server::root_certificate).
    pub tls: bool,
    /// Settings by name, over everything else: `("shared_buffers", "1GB")`.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// A server as in production.
    pub fn durable() -> Self {
        Self { durable: true, ..Self::default() }
    }

    /// A server that is reached over TLS only.
    pub fn tls() -> Self {
        Self { tls: true, ..Self::default() }
    }

    /// With a setting.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `name=value`, later ones win.
    pub(super) fn settings(&self) -> Vec<String> {
        let mut settings: Vec<_> = [
            "listen_addresses=127.0.0.1",
            "max_connections=300",
            // Files in the data directory are removed with it; shared memory objects would outlive a SIGKILL.
            "dynamic_shared_memory_type=mmap",
            "logging_collector=off",
        ]
        .map(str::to_owned)
        .into();
        if !self.durable {
            settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
        }
        settings.extend(self.settings.iter().map(|(name, value)| format!("{name}={value}")));
        settings
    }
}
