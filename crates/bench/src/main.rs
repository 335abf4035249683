//! `bowline-bench`: what Bowline costs, measured on real processes, each figure beside its limit from the same run.
//!
//! One file per bench in `benches`; `load` makes requests, `process` runs servers, `bare` is the server with nothing behind
//! it, `stores` are the databases that the bench `store` compares, `report` prints and writes. `docs/benchmarks.md` says what each bench measures.
#![expect(clippy::disallowed_methods, reason = "a bench measures real time on a real runtime")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tables and progress are for people"
)]

mod bare;
mod benches;
mod client;
mod codec;
mod error;
mod item;
mod load;
mod options;
mod process;
mod raw;
mod report;
mod rows;
mod stage;
mod stores;

use std::process::ExitCode;

use clap::Parser;

use error::Error;
use options::Options;
use stage::Stage;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let run = async {
        match (&options.bare_server, &options.resident) {
            (Some(body), _) => bare::serve(body).await,
            (None, Some(store)) => stores::resident::run(store).await,
            (None, None) => run(&options).await,
        }
    };
    // Dropping the run ends the servers and removes the data.
    let result = tokio::select! {
        result = run => result,
        () = told_to_stop() => Err(Error::Interrupted),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Completes on SIGINT or SIGTERM.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        // Then the system's way remains: the process ends at once.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn run(options: &Options) -> Result<(), Error> {
    let names = benches::chosen(&options.names)?;
    for name in names {
        eprintln!("bench: {name} ...");
        let stage = Stage::set_up()?;
        let figures = benches::run(name, &stage, options).await?;
        report::publish(stage.reports(), name, &figures)?;
    }
    Ok(())
}
