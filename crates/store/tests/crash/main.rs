//! Stores that end badly: killed processes, full disks, torn and damaged files. What was promised must be there after it.
//!
//! Runs itself as the process to kill, so it has a `main` of its own.
//!
//! What SQLite notices by itself: every frame of the write-ahead log has a checksum, so a torn or damaged end of it is
//! cut off at the last whole commit. Pages of the file have none; there damage of the structure is noticed when the page
//! is read, and damage of rows and of the change log by the sums that we keep with them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests tell what they did, and the writer its commits"
)]
#![expect(clippy::disallowed_methods, reason = "real processes, tasks and waiting are the subject")]

mod found;
mod full;
mod kill;
mod torn;
mod writer;

use std::path::Path;

type Failed = Box<dyn std::error::Error + Send + Sync>;

type Test = fn(&tokio::runtime::Runtime) -> Result<(), Failed>;

const TESTS: &[(&str, Test)] = &[
    ("acknowledged_commits_survive_sigkill", kill::acknowledged_commits_survive_sigkill),
    (
        "a_full_disk_refuses_commits_and_loses_none",
        full::a_full_disk_refuses_commits_and_loses_none,
    ),
    ("a_torn_log_ends_at_a_whole_commit", torn::a_torn_log_ends_at_a_whole_commit),
    ("a_damaged_page_is_told_or_does_no_harm", torn::a_damaged_page_is_told_or_does_no_harm),
];

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |argument: &str| arguments.iter().any(|a| a == argument);
    if has("--list") {
        // Runners ask for the tests of a binary before they run them; none of them is an ignored one.
        for (name, _) in TESTS.iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some(path) = std::env::var_os(writer::PATH) {
        return runtime.block_on(writer::write_until_killed(Path::new(&path)));
    }
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    for (name, test) in TESTS {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            test(&runtime).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}
