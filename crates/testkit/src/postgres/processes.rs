//! The processes of a server, found through /proc, and the shared memory that killed ones leave behind.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::error::PostgresError;
use crate::process::PATIENCE;
use crate::wait::eventually_blocking;

/// Kills a process and its children (SIGKILL) and waits until they are gone.
pub(super) fn kill_tree(root: Pid) -> Result<(), PostgresError> {
    // Stopped first, it starts no more children while they are counted.
    signal(root, Signal::STOP)?;
    let mut all = children(root);
    all.push(root);
    all.iter().try_for_each(|pid| signal(*pid, Signal::KILL))?;
    eventually_blocking("the end of PostgreSQL's processes", PATIENCE, || {
        all.iter().all(|pid| !is_alive(*pid)).then_some(())
    })?;
    Ok(())
}

/// Sends a signal to a process and its children.
pub(super) fn signal_tree(root: Pid, what: Signal) -> Result<(), PostgresError> {
    signal(root, what)?;
    children(root).into_iter().try_for_each(|pid| signal(pid, what))
}

fn signal(pid: Pid, what: Signal) -> Result<(), PostgresError> {
    match kill_process(pid, what) {
        // One that has ended meanwhile.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(PostgresError::Process(error)),
    }
}

/// Whether the process runs, or is stopped; one that only waits for its parent to look does not.
pub(super) fn is_alive(pid: Pid) -> bool {
    status(pid.as_raw_nonzero().get()).is_some_and(|(state, _)| state != "Z" && state != "X")
}

fn children(parent: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = parent.as_raw_nonzero().get();
    let own = pids.filter(|pid| status(*pid).is_some_and(|(_, of)| of == parent));
    own.filter_map(Pid::from_raw).collect()
}

/// State and parent of a process.
fn status(pid: i32) -> Option<(String, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// The System V segment by which PostgreSQL keeps a second server off its files.
pub(super) fn shared_memory(data: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    Some(text.lines().nth(6)?.split_whitespace().nth(1)?.to_owned())
}

/// Gives the segment of a killed server back, which nobody else would.
pub(super) fn free_shared_memory(segment: Option<String>) {
    if let Some(id) = segment {
        let mut command = Command::new("ipcrm");
        // Some bytes of kernel memory are no reason to fail a test.
        let _ = command.args(["-m", &id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_ends() {
        let own = rustix::process::getpid();
        assert!(is_alive(own));
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
        let pid = Pid::from_child(&child);
        assert!(children(own).contains(&pid));
        signal(pid, Signal::KILL).expect("it is ours");
        eventually_blocking("a zombie", PATIENCE, || (!is_alive(pid)).then_some(()))
            .expect("it is dead");
        child.wait().expect("its end");
    }
}
