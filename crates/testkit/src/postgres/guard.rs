//! The process between a test and its PostgreSQL: a small shell script that starts the server and ends it with the test.
//!
//! The test holds the other end of the script's input. However the test ends (SIGKILL too), the pipe closes, and the
//! script stops the server and removes its files. A signal on the parent's death would not do: Linux sends that when the
//! *thread* ends that started the process.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

use super::binaries::Binaries;
use super::error::{PostgresError, tail};
use super::processes;
use crate::process::PATIENCE;
use crate::wait::eventually_blocking;

/// Arguments: the scratch directory, then the server's command line. Says the server's process id first.
///
/// SIGQUIT is PostgreSQL's immediate shutdown, which gives shared memory back; SIGCONT in case it was frozen.
const SCRIPT: &str = r#"
scratch=$1; shift
"$@" >>"$scratch/log" 2>&1 </dev/null &
server=$!
echo "$server"
read -r word || word=remove
kill -QUIT "$server" 2>/dev/null
kill -CONT "$server" 2>/dev/null
wait "$server"
[ "$word" = keep ] || rm -rf "$scratch"
"#;

/// A server process and its guard. Dropped, both end and the files are removed.
#[derive(Debug)]
pub(super) struct Guard {
    script: Child,
    server: Pid,
}

impl Guard {
    /// Starts the server on `scratch/data`; its words go to `scratch/log`.
    pub(super) fn start(
        binaries: &Binaries,
        scratch: &Path,
        port: u16,
        settings: &[String],
    ) -> Result<Self, PostgresError> {
        let mut command = binaries.as_account(Command::new("/bin/sh"));
        command.args(["-c", SCRIPT, "guard"]).arg(scratch).arg(binaries.program("postgres"));
        command.arg("-D").arg(scratch.join("data")).arg("-p").arg(port.to_string());
        for setting in settings {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A group of its own: who kills the test with its whole group does not hit the guard.
        command.process_group(0);
        let failed = |source| PostgresError::Start { program: "/bin/sh".into(), source };
        let mut script = command.spawn().map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = script.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        let server = line.trim().parse().ok().and_then(Pid::from_raw);
        let server = server.ok_or_else(|| PostgresError::EndedEarly { log: log(scratch) })?;
        Ok(Self { script, server })
    }

    /// The server's first process.
    pub(super) fn server(&self) -> Pid {
        self.server
    }

    /// Waits until the server takes connections.
    pub(super) fn wait_until_ready(&self, scratch: &Path) -> Result<(), PostgresError> {
        let file = scratch.join("data/postmaster.pid");
        eventually_blocking("PostgreSQL's readiness", PATIENCE, || {
            if !processes::is_alive(self.server) {
                return Some(Err(PostgresError::EndedEarly { log: log(scratch) }));
            }
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            is_ready(&text, self.server).then_some(Ok(()))
        })?
    }

    /// Stops the server as a crash would leave it; its files stay.
    pub(super) fn stop_and_keep(mut self) -> Result<(), PostgresError> {
        if let Some(mut input) = self.script.stdin.take() {
            // If the script is gone, so is the server.
            let _ = input.write_all(b"keep\n");
        }
        self.wait()
    }

    /// Stops the server and removes its files.
    pub(super) fn stop_and_remove(mut self) -> Result<(), PostgresError> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), PostgresError> {
        drop(self.script.stdin.take());
        let failed = |source| PostgresError::Start { program: "/bin/sh".into(), source };
        eventually_blocking("the end of PostgreSQL", PATIENCE, || {
            self.script.try_wait().transpose()
        })?
        .map(drop)
        .map_err(failed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // After a stop there is nothing left to wait for.
        let _ = self.wait();
    }
}

/// PostgreSQL notes its process id in the first line of the file and what it is doing in the eighth.
fn is_ready(text: &str, server: Pid) -> bool {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_own = lines.first().is_some_and(|line| *line == server.as_raw_nonzero().to_string());
    is_own && lines.get(7) == Some(&"ready")
}

fn log(scratch: &Path) -> String {
    let text = std::fs::read_to_string(scratch.join("log")).unwrap_or_default();
    tail(&text).to_owned()
}
