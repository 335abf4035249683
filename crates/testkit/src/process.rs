//! A server process under test: started, waited for, stopped politely or killed in the middle of things.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{TimedOut, eventually_blocking};

/// What the program prints, alone on a line, once it serves.
const READY: &str = "ready on ";

/// How long a server may take to serve or to end. Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("start {}", program.display())]
    Start {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the server ended before it served; it wrote: {log}")]
    EndedEarly { log: String },
    #[error("the server did not serve within {within:?}")]
    NotReady { within: Duration },
    #[error("signal the server")]
    Signal(#[source] rustix::io::Errno),
    #[error("wait for the server")]
    Wait(#[source] std::io::Error),
    #[error(transparent)]
    StillRuns(#[from] TimedOut),
}

/// A running server process. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Of each port: what it is for, and its URL. Never empty.
    urls: Vec<(String, String)>,
}

impl Server {
    /// Starts `program` with `args` and waits for its line `ready on http://ADDR`.
    ///
    /// Give `--listen 127.0.0.1:0` among `args`: the port that the system picks is in the line, and no two tests collide.
    ///
    /// # Errors
    /// [`ServerError`] if it cannot be started, ends early, or does not serve within [`PATIENCE`].
    pub fn start<S: AsRef<std::ffi::OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Self, ServerError> {
        Self::start_all(program, args, 1)
    }

    /// The same for a server with several ports: waits for that many lines, `ready on http://ADDR for PURPOSE`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_all<S: AsRef<std::ffi::OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = S>,
        ports: usize,
    ) -> Result<Self, ServerError> {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| ServerError::Start { program: program.to_owned(), source })?;
        let log = drain(child.stderr.take());
        let lines = first_lines(child.stdout.take());
        let urls = (0..ports.max(1)).map(|_| ready(&lines)).collect::<Result<Vec<_>, _>>();
        match urls {
            Ok(urls) => Ok(Self { child, urls }),
            Err(error) => Err(give_up(child, &log, error)),
        }
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The URL of the port that is for `purpose`.
    pub fn url_for(&self, purpose: &str) -> Option<&str> {
        let found = self.urls.iter().find(|(known, _)| known == purpose);
        found.map(|(_, url)| url.as_str())
    }

    /// `http://127.0.0.1:41234`
    pub fn url(&self) -> &str {
        self.urls.first().map_or("", |(_, url)| url)
    }

    /// `127.0.0.1:41234`
    pub fn address(&self) -> &str {
        self.url().trim_start_matches("http://")
    }

    /// Ends the process at once, as a power cut would (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// [`ServerError::Wait`] if the system cannot tell.
    pub fn kill(mut self) -> Result<(), ServerError> {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        self.child.wait().map(drop).map_err(ServerError::Wait)
    }

    /// Asks the process to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// [`ServerError::StillRuns`] if it does not end within [`PATIENCE`].
    pub fn stop(mut self) -> Result<ExitStatus, ServerError> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(ServerError::Signal)?;
        let child = &mut self.child;
        let ended = eventually_blocking("the end of the server", PATIENCE, || {
            child.try_wait().transpose()
        })?;
        ended.map_err(ServerError::Wait)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program `name` as cargo built it beside the running test, or what `BOWLINE_BIN` names.
///
/// Tests of the crate that has the program should use `env!("CARGO_BIN_EXE_...")` instead, which cargo builds for them.
pub fn built_program(name: &str) -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("BOWLINE_BIN") {
        return Some(PathBuf::from(given));
    }
    // Tests lie in target/PROFILE/deps, programs in target/PROFILE.
    let test = std::env::current_exe().ok()?;
    let program = test.parent()?.parent()?.join(name);
    program.is_file().then_some(program)
}

/// Sends each line of `stdout` until it ends; reading goes on so that the process never blocks on a full pipe.
#[expect(clippy::disallowed_methods, reason = "a pipe can only be drained beside the test")]
fn first_lines(stdout: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(stdout) = stdout {
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The test has what it wanted; the rest is only taken off the pipe.
                let _ = sender.send(line);
            }
        });
    }
    receiver
}

/// Collects all that the process says on `stderr`, sent once at its end.
#[expect(clippy::disallowed_methods, reason = "a pipe can only be drained beside the test")]
fn drain(stderr: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(mut stderr) = stderr {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // What could be read is worth more than why the rest could not.
            let _ = stderr.read_to_end(&mut text);
            let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
        });
    }
    receiver
}

/// What the next port is for, and its URL.
fn ready(lines: &Receiver<String>) -> Result<(String, String), RecvTimeoutError> {
    loop {
        let line = lines.recv_timeout(PATIENCE)?;
        if let Some(said) = line.strip_prefix(READY) {
            let (url, purpose) =
                said.trim().split_once(" for ").unwrap_or_else(|| (said.trim(), ""));
            return Ok((purpose.to_owned(), url.to_owned()));
        }
    }
}

fn give_up(mut child: Child, log: &Receiver<String>, error: RecvTimeoutError) -> ServerError {
    // The process is of no use any more, whether it still runs or not.
    let _ = child.kill();
    let _ = child.wait();
    match error {
        RecvTimeoutError::Timeout => ServerError::NotReady { within: PATIENCE },
        RecvTimeoutError::Disconnected => {
            ServerError::EndedEarly { log: log.recv_timeout(PATIENCE).unwrap_or_default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Server, ServerError> {
        Server::start(Path::new("/bin/sh"), ["-c", script])
    }

    #[test]
    fn the_address_comes_from_the_ready_line() {
        let server =
            shell("echo loading; echo ready on http://127.0.0.1:4711; exec cat /dev/zero >&2")
                .expect("it says that it is ready");
        assert_eq!(server.url(), "http://127.0.0.1:4711");
        assert_eq!(server.address(), "127.0.0.1:4711");
        server.kill().expect("it is gone");
    }

    #[test]
    fn each_port_is_known_by_what_it_is_for() {
        let script =
            "echo ready on http://a for eu; echo ready on http://b for us; exec cat /dev/zero >&2";
        let server =
            Server::start_all(Path::new("/bin/sh"), ["-c", script], 2).expect("it is ready");
        assert_eq!((server.url(), server.url_for("us")), ("http://a", Some("http://b")));
    }

    #[test]
    fn a_server_that_ends_early_is_quoted() {
        let error = shell("echo no such folder >&2; exit 1").expect_err("it never serves");
        assert_eq!(
            error.to_string(),
            "the server ended before it served; it wrote: no such folder\n"
        );
    }

    #[test]
    fn a_polite_stop_reaches_the_process() {
        let server =
            shell("trap 'exit 7' TERM; echo ready on http://x; while :; do sleep 0.01; done")
                .expect("it says that it is ready");
        assert_eq!(server.stop().expect("it ends").code(), Some(7));
    }
}
