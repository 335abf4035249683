//! The command line: which benches, and how long and with how many clients.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measure Bowline; each figure beside its limit, measured in the same run.
#[derive(Debug, Parser)]
#[command(name = "bowline-bench")]
pub(crate) struct Options {
    /// Benches to run; all of them if none is named
    pub(crate) names: Vec<String>,
    /// Rounds of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Seconds that a round, or a load with a fixed rate, takes
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Connections of the bench `get`
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) connections: u16,
    /// Streams on each connection of the bench `get`
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) streams: u16,
    /// Watches of the bench `idle`
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) watches: u32,
    /// Resources in the largest store of the bench `store`
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    pub(crate) resources: u64,
    /// Be the server that the benches compare with
    #[arg(long, hide = true, value_name = "BODY_FILE")]
    pub(crate) bare_server: Option<PathBuf>,
    /// Be the process whose memory the bench `store` measures
    #[arg(long, hide = true, value_name = "STORE_FILE")]
    pub(crate) resident: Option<PathBuf>,
}

impl Options {
    /// The time of one round, unless the command line says otherwise.
    pub(crate) fn time(&self, usual: Duration) -> Duration {
        self.seconds.unwrap_or(usual)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match seconds {
        0.1..=600.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be from 0.1 to 600".to_owned()),
    }
}
