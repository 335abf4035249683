//! A PostgreSQL server of a test's own: started in well under a second, killed or replicated at will, never left behind.
//!
//! Everything lies in a scratch directory and listens on a free port of the loopback interface; no server that happens to
//! run on the machine is looked at. Here is what tests call. `binaries` finds the programs, `template` prepares data
//! directories, `scratch` says where they go, `ports` picks ports, `guard` ties the server's life to the test's, `tls`
//! makes certificates.

mod binaries;
mod error;
mod guard;
mod options;
mod ports;
mod processes;
mod scratch;
mod template;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

pub use self::binaries::{Account, Binaries};
pub use self::error::PostgresError;
pub use self::options::Options;
pub use self::ports::Port;

use self::binaries::output;
use self::guard::Guard;
use self::scratch::scratch;
use self::template::Template;
use crate::process::PATIENCE;
use crate::wait::eventually_blocking;

/// The superuser of every server.
pub const USER: &str = "postgres";

/// Set by `./x` where PostgreSQL cannot be installed: its text says why, and tests that need it say so and pass.
pub const WITHOUT: &str = "BOWLINE_WITHOUT_POSTGRES";

/// Longest path of a socket that the system takes, less PostgreSQL's own file name.
const SOCKET_FOLDER_BYTES_MAX: usize = 80;

/// A running PostgreSQL. Dropped, it is stopped and its files are removed; if the test process dies, likewise.
#[derive(Debug)]
pub struct Server {
    binaries: Binaries,
    options: Options,
    password: String,
    port: Port,
    /// `None` between [`Server::kill`] and [`Server::restart`].
    guard: Option<Guard>,
    is_standby: bool,
    databases: AtomicU32,
    scratch: TempDir,
}

/// Starts a server, or gives `None` after saying so where [`WITHOUT`] is set.
///
/// # Panics
/// If there is no PostgreSQL or it does not start, with how to install it: a test that does not run is not green.
#[expect(clippy::print_stderr, reason = "a test that is skipped has to be seen")]
pub fn require(options: Options) -> Option<Server> {
    if let Some(reason) = std::env::var_os(WITHOUT) {
        eprintln!("SKIPPED, no PostgreSQL here: {}", reason.display());
        return None;
    }
    match Server::start(options) {
        Ok(server) => Some(server),
        Err(error) => panic!("{}", bowline_base::chain(&error)),
    }
}

impl Server {
    /// Starts a server with a new, empty database cluster. About 0.2 s; the first one on a machine about 1 s more.
    ///
    /// # Errors
    /// [`PostgresError::Missing`] without PostgreSQL's server programs; others if it does not start.
    pub fn start(options: Options) -> Result<Self, PostgresError> {
        let binaries = Binaries::find()?;
        let template = Template::get(&binaries, options.durable)?;
        let scratch = scratch(binaries.account(), options.durable)?;
        template.copy_to(&scratch.path().join("data"))?;
        if options.tls {
            tls::make(scratch.path(), binaries.account())?;
            template::require_tls(&scratch.path().join("data"))?;
        }
        let password = template.password().to_owned();
        Self::run(binaries, options, password, scratch, false)
    }

    fn run(
        binaries: Binaries,
        options: Options,
        password: String,
        scratch: TempDir,
        is_standby: bool,
    ) -> Result<Self, PostgresError> {
        let port = Port::reserve()?;
        let (guard, databases) = (None, AtomicU32::new(0));
        let mut server =
            Self { binaries, options, password, port, guard, is_standby, databases, scratch };
        server.launch()?;
        Ok(server)
    }

    /// `postgres://postgres:PASSWORD@127.0.0.1:PORT/DATABASE`; `postgres` is a database that is always there.
    pub fn url(&self, database: &str) -> String {
        let (password, port) = (&self.password, self.port.number());
        format!("postgres://{USER}:{password}@127.0.0.1:{port}/{database}")
    }

    /// A URL for this server or `other`, whichever takes writes.
    pub fn url_with(&self, other: &Self, database: &str) -> String {
        let (password, a, b) = (&self.password, self.port.number(), other.port.number());
        format!(
            "postgres://{USER}:{password}@127.0.0.1:{a},127.0.0.1:{b}/{database}\
             ?target_session_attrs=read-write"
        )
    }

    /// The password in [`Server::url`], to look for where it must not appear.
    pub fn password(&self) -> &str {
        &self.password
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The folder with the server's Unix socket; `None` if the path of temporary files is too long for one.
    pub fn socket_folder(&self) -> Option<&Path> {
        let folder = self.scratch.path();
        (folder.as_os_str().len() <= SOCKET_FOLDER_BYTES_MAX).then_some(folder)
    }

    /// The certificate that clients have to trust, with [`Options::tls`]. The server's is for `localhost` and `127.0.0.1`.
    pub fn root_certificate(&self) -> Option<PathBuf> {
        self.options.tls.then(|| self.scratch.path().join(tls::ROOT))
    }

    /// Makes an empty database and gives its URL. About 0.05 s.
    ///
    /// # Errors
    /// [`PostgresError::Program`] if the server does not do it.
    pub fn fresh_database(&self) -> Result<String, PostgresError> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// Runs statements with psql, each by itself, and gives what they answer: a line per row, `|` between columns.
    ///
    /// # Errors
    /// [`PostgresError::Program`] with the server's message.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String, PostgresError> {
        let mut psql = self.client("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]);
        psql.args(["-c", statements]);
        output(psql)
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// Ends the server and all its processes at once (SIGKILL), as a crash would; its files stay for [`Server::restart`].
    ///
    /// # Errors
    /// [`PostgresError::Process`] if a process cannot be signalled; [`PostgresError::TimedOut`] if one does not end.
    pub fn kill(&mut self) -> Result<(), PostgresError> {
        let Some(guard) = self.guard.take() else { return Ok(()) };
        let segment = processes::shared_memory(&self.data());
        processes::kill_tree(guard.server())?;
        guard.stop_and_keep()?;
        processes::free_shared_memory(segment);
        Ok(())
    }

    /// Stops every process of the server in its tracks (SIGSTOP): it neither answers nor closes connections.
    ///
    /// # Errors
    /// [`PostgresError::Process`] if a process cannot be signalled.
    pub fn freeze(&self) -> Result<(), PostgresError> {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Undoes [`Server::freeze`].
    ///
    /// # Errors
    /// As [`Server::freeze`].
    pub fn thaw(&self) -> Result<(), PostgresError> {
        self.signal(rustix::process::Signal::CONT)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<(), PostgresError> {
        match &self.guard {
            Some(guard) => processes::signal_tree(guard.server(), signal),
            None => Ok(()),
        }
    }

    /// Starts the server on its files and port again; one that runs is stopped first. Returns when it takes connections.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn restart(&mut self) -> Result<(), PostgresError> {
        if let Some(guard) = self.guard.take() {
            guard.stop_and_keep()?;
        }
        self.launch()
    }

    /// A replica that streams from this server, on files of its own. About 0.5 s.
    ///
    /// # Errors
    /// As [`Server::start`], and [`PostgresError::Program`] if the base backup fails.
    pub fn standby(&self) -> Result<Self, PostgresError> {
        let scratch = scratch(self.binaries.account(), self.options.durable)?;
        let mut backup = self.client("pg_basebackup");
        backup.arg("-D").arg(scratch.path().join("data"));
        // -R writes the connection of the replica into its settings.
        backup.args(["-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        output(backup)?;
        if self.options.tls {
            tls::copy(self.scratch.path(), scratch.path(), self.binaries.account())?;
        }
        let (options, password) = (self.options.clone(), self.password.clone());
        Self::run(self.binaries.clone(), options, password, scratch, true)
    }

    /// Makes commits of this server wait until a replica has flushed them, and returns once one does.
    ///
    /// # Errors
    /// [`PostgresError::TimedOut`] if no replica streams.
    pub fn wait_for_standby_on_commit(&self) -> Result<(), PostgresError> {
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        let query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        eventually_blocking("a synchronous replica", PATIENCE, || {
            match self.sql("postgres", query) {
                Ok(count) if count.trim() == "0" => None,
                other => Some(other.map(drop)),
            }
        })?
    }

    /// Makes a replica the primary; returns when it takes writes.
    ///
    /// # Errors
    /// [`PostgresError::Program`] if it is no replica or does not get there in time.
    pub fn promote(&self) -> Result<(), PostgresError> {
        self.sql("postgres", "DO $$ BEGIN ASSERT pg_promote(true, 60); END $$").map(drop)
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// A client program that connects to this server.
    fn client(&self, program: &str) -> std::process::Command {
        let mut command = self.binaries.command(program);
        command.args(["-h", "127.0.0.1", "-U", USER, "-p"]).arg(self.port.number().to_string());
        command.env("PGPASSWORD", &self.password).env("PGCONNECT_TIMEOUT", "10");
        command
    }

    fn launch(&mut self) -> Result<(), PostgresError> {
        let mut settings = self.options.settings();
        settings.push(format!("unix_socket_directories={}", self.socket_setting()));
        if self.options.tls {
            settings.extend(tls::settings(self.scratch.path()));
        }
        if self.is_standby {
            // The copied settings may name replicas to wait for; this one has none.
            settings.push("synchronous_standby_names=".to_owned());
        }
        let port = self.port.number();
        let guard = Guard::start(&self.binaries, self.scratch.path(), port, &settings)?;
        guard.wait_until_ready(self.scratch.path())?;
        self.guard = Some(guard);
        Ok(())
    }

    fn socket_setting(&self) -> String {
        self.socket_folder().map(|folder| folder.display().to_string()).unwrap_or_default()
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "the developer needs what the server said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("PostgreSQL wrote: {}", error::tail(&self.log()));
        }
        // Frozen processes would take PostgreSQL some seconds to get rid of.
        let _ = self.thaw();
        if let Some(guard) = self.guard.take() {
            // Whatever goes wrong here, the guard itself does the same when this process ends.
            let _ = guard.stop_and_remove();
        }
    }
}
