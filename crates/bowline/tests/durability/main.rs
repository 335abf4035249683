//! SIGKILL under load: after a restart every acknowledged write is there, and nothing is half done.
//!
//! The real program is killed at random points, many times, over one and the same data: on a disk, and on a PostgreSQL, which
//! is killed too. `BOWLINE_KILLS` sets how often (default 12). With `-- --nocapture` the figures show.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, runs in real time and tells its figures"
)]

mod books;
mod ledger;
mod postgres;
mod processes;
mod watcher;

use std::path::Path;

use bowline_testkit::Server;

const WRITERS: u64 = 16;

/// A server whose data is where `store` says: `["--data", FOLDER]`, `["--store", URL]`.
fn start(store: &[&str]) -> Server {
    let program = Path::new(env!("CARGO_BIN_EXE_bowline"));
    let up = ["up", books::SERVICE, "--listen", "127.0.0.1:0"];
    Server::start(program, up.iter().chain(store)).unwrap()
}
