//! `start`: from making the process to its ready line, for the fleet example: with no data, and again with its sample data.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::Error;
use crate::options::Options;
use crate::report::{Figure, median};
use crate::stage::{Stage, repository};

const STARTS: usize = 11;
const GOAL_MS: f64 = 300.0;

pub(crate) async fn run(stage: &Stage, _: &Options) -> Result<Vec<Figure>, Error> {
    let fleet = repository("examples/fleet");
    let (mut fresh, mut again, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        fresh.push(start(stage, &fleet, "fresh").await?);
        stage.remove("fresh")?;
        bare.push(start_bare(stage).await?);
    }
    seed(stage, &fleet).await?;
    for _ in 0..STARTS {
        again.push(start(stage, &fleet, "seeded").await?);
    }
    Ok(figures(&fresh, &again, &bare))
}

async fn start(stage: &Stage, folder: &Path, data: &str) -> Result<f64, Error> {
    let server = stage.bowline_with(folder, data).await?;
    let took = ms(server.started_in());
    server.stop().await?;
    Ok(took)
}

async fn start_bare(stage: &Stage) -> Result<f64, Error> {
    let server = stage.bare(&[]).await?;
    let took = ms(server.started_in());
    server.stop().await?;
    Ok(took)
}

/// Applies the sample data as a user would, so that later starts find data.
async fn seed(stage: &Stage, fleet: &Path) -> Result<(), Error> {
    let server = stage.bowline_with(fleet, "seeded").await?;
    let mut command = Command::new(stage.program());
    command.arg("apply").arg("-f").arg(fleet.join("sample")).args(["--server", server.url()]);
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output
        .expect("running a program does not panic")
        .map_err(Error::io("apply the sample data"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Wrong(format!("the sample data was not applied: {said}")));
    }
    server.stop().await
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn figures(fresh: &[f64], again: &[f64], bare: &[f64]) -> Vec<Figure> {
    let figure = |metric, times: &[f64]| {
        let lowest = times.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = times.iter().copied().fold(0.0, f64::max);
        Figure::lower(metric, median(times.iter().copied()), "ms")
            .limit(median(bare.iter().copied()))
            .goal(GOAL_MS)
            .note(format!("median of {STARTS}, {lowest:.0} to {highest:.0} ms"))
    };
    vec![
        figure("start fresh", fresh)
            .note("the files of the programs and protos are in the page cache"),
        figure("start with data", again),
    ]
}
