//! `fleet`: three regions of four services and the meta service in one process: how fast it starts, with and without data,
//! and what it costs while nothing happens.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::options::Options;
use crate::process::Server;
use crate::report::{Figure, median};
use crate::stage::{Stage, repository};

const STARTS: usize = 7;
const GOAL_MS: f64 = 1_000.0;
const GOAL_MIB: f64 = 150.0;
/// Longer than two periods of progress messages of the watches between deployments.
const IDLE: Duration = Duration::from_secs(12);

const REGIONS: [&str; 3] = ["eu", "us", "ap"];
const SERVICES: [&str; 4] = ["iam", "secrets", "devices", "applications"];

pub(crate) async fn run(stage: &Stage, _: &Options) -> Result<Vec<Figure>, Error> {
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        fresh.push(start(stage, "fleet").await?);
        again.push(start(stage, "fleet").await?);
        stage.remove("fleet")?;
    }
    let server = serve(stage, "fleet").await?;
    let idle = idle(&server).await?;
    server.stop().await?;
    Ok(figures(&fresh, &again, &idle))
}

struct Idle {
    mib: f64,
    /// Of one core.
    cpu_percent: f64,
}

async fn idle(server: &Server) -> Result<Idle, Error> {
    let (cpu, start) = (server.cpu()?, Instant::now());
    tokio::time::sleep(IDLE).await;
    let used = server.cpu()? - cpu;
    let cpu_percent = 100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64();
    Ok(Idle { mib: server.resident()? as f64 / f64::from(1 << 20), cpu_percent })
}

/// Milliseconds until it is ready.
async fn start(stage: &Stage, data: &str) -> Result<f64, Error> {
    let server = serve(stage, data).await?;
    let took = server.started_in().as_secs_f64() * 1e3;
    server.stop().await?;
    Ok(took)
}

async fn serve(stage: &Stage, data: &str) -> Result<Server, Error> {
    let mut text = format!("store: {data}\nidentity: {data}/identity\nregions:\n");
    for region in REGIONS {
        text += &format!("  {region}: {{ listen: 127.0.0.1:0 }}\n");
    }
    text += "services:\n";
    for service in SERVICES {
        text += &format!("  - {}\n", repository("examples/fleet").join(service).display());
    }
    let config = stage.write("bowline.yaml", text.as_bytes())?;
    let args: [OsString; 3] = ["up".into(), "-f".into(), config.into_os_string()];
    Server::start(stage.program(), args, &stage.path("fleet.log")).await
}

fn figures(fresh: &[f64], again: &[f64], idle: &Idle) -> Vec<Figure> {
    let figure = |metric, times: &[f64]| {
        let lowest = times.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = times.iter().copied().fold(0.0, f64::max);
        Figure::lower(metric, median(times.iter().copied()), "ms")
            .goal(GOAL_MS)
            .note(format!("median of {STARTS}, {lowest:.0} to {highest:.0} ms"))
    };
    vec![
        figure("fleet start fresh", fresh).note("makes keys, registers everything"),
        figure("fleet start again", again).note("with the picture of before"),
        Figure::lower("fleet idle memory", idle.mib, "MiB").goal(GOAL_MIB),
        Figure::lower("fleet idle CPU", idle.cpu_percent, "% of a core"),
    ]
}
