//! Server processes that are measured: started, waited for, asked what they cost, stopped.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

use crate::error::Error;

/// What a server prints once it serves, before its URL.
pub(crate) const READY: &str = "ready on ";
/// How long a server may take to serve, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

/// A running server. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    url: String,
    started_in: Duration,
}

impl Server {
    /// Starts `program` and waits for its line `ready on URL`; what it says on stderr goes to the file `log`.
    pub(crate) async fn start<S: AsRef<OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = S>,
        log: &Path,
    ) -> Result<Self, Error> {
        let failed = || format!("start {}", program.display());
        let stderr = File::create(log).map_err(Error::io(format!("write {}", log.display())))?;
        let start = Instant::now();
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(Error::io(failed()))?;
        let ready = ready_line(child.stdout.take(), start);
        // From here on the process is ended whatever happens.
        let mut server = Self { child, url: String::new(), started_in: Duration::ZERO };
        match tokio::time::timeout(PATIENCE, ready).await {
            Ok(Ok((url, started_in))) => {
                (server.url, server.started_in) = (url, started_in);
                Ok(server)
            }
            Ok(Err(_)) => {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                Err(Error::EndedEarly { what: program.display().to_string(), log })
            }
            Err(_) => Err(Error::TooLate { what: failed(), within: PATIENCE }),
        }
    }

    /// `http://127.0.0.1:41234`
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// From before the process was made until its ready line was read.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
    }

    /// CPU time that the process has used so far, of all its threads, in user and system.
    pub(crate) fn cpu(&self) -> Result<Duration, Error> {
        cpu(&self.child.id().to_string())
    }

    /// Memory that the process has resident, in bytes.
    pub(crate) fn resident(&self) -> Result<u64, Error> {
        resident(&self.child.id().to_string())
    }

    /// Asks the server to stop and waits for its end.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)
            .map_err(|errno| Error::io("stop the server")(errno.into()))?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.child.try_wait().map_err(Error::io("wait for the server"))?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::TooLate { what: "the end of the server".to_owned(), within: PATIENCE })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives the URL of the ready line and when it came; goes on reading so that the process never blocks on a full pipe.
fn ready_line(
    stdout: Option<impl Read + Send + 'static>,
    start: Instant,
) -> oneshot::Receiver<(String, Duration)> {
    let (sender, receiver) = oneshot::channel();
    let mut sender = Some(sender);
    if let Some(stdout) = stdout {
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix(READY)
                    && let Some(sender) = sender.take()
                {
                    // A fleet says which region each port is for.
                    let url = url.split_once(" for ").map_or(url, |(url, _)| url);
                    // Nobody listens any more if the bench was interrupted.
                    let _ = sender.send((url.trim().to_owned(), start.elapsed()));
                }
            }
        });
    }
    receiver
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Result<Duration, Error> {
    cpu("self")
}

/// Memory that a process (`self`: this one) has resident, in bytes.
pub(crate) fn resident(pid: &str) -> Result<u64, Error> {
    let status = read_proc(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| Error::Wrong(format!("no VmRSS of process {pid}")))
}

fn cpu(pid: &str) -> Result<Duration, Error> {
    let stat = read_proc(pid, "stat")?;
    let ticks = cpu_ticks(&stat)
        .ok_or_else(|| Error::Wrong(format!("no CPU time in the stat of process {pid}")))?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Fields 14 and 15, counted after the program's name, which may have spaces and brackets in it.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn read_proc(pid: &str, file: &str) -> Result<String, Error> {
    let path = PathBuf::from("/proc").join(pid).join(file);
    std::fs::read_to_string(&path).map_err(Error::io(format!("read {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_hostile_program_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 1 2 3 4 70 30 5 6 20 0 8 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(100));
    }

    #[test]
    fn cpu_time_of_this_process_can_be_read() {
        assert!(own_cpu().is_ok());
    }
}
