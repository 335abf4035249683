//! `create`: durable creates, against the same rows written by a bare SQLite group commit; then latency below the peak.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::client::Client;
use crate::error::Error;
use crate::item::{self, ITEM_BYTES, Maker, PROJECT};
use crate::load::{self, Outcome, Schedule, closed, histogram, open, record};
use crate::options::Options;
use crate::raw::{self, Raw};
use crate::report::{Figure, median};
use crate::stage::Stage;

const ROUND: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_secs(1);
const STEADY: Duration = Duration::from_secs(15);
const CONNECTIONS: usize = 4;
/// Clients that wait for each create before they make the next.
const CROWDS: [usize; 2] = [64, 256];
/// Share of the raw store's rate that is the goal.
const GOAL: f64 = 0.5;
/// Share of the peak at which latency is measured.
const STEADY_LOAD: f64 = 0.7;
const GOAL_P99_MS: f64 = 25.0;
/// Appends of one page, each flushed, to see what the disk needs for one.
const FLUSHES: usize = 300;

/// A closed loop of creates.
pub(super) struct Round {
    pub(super) outcome: Outcome,
    /// CPU time of the server per create, in microseconds.
    server_cpu: f64,
}

/// Rounds of one number of clients.
struct Crowd {
    clients: usize,
    ours: Vec<Round>,
    raw: Vec<Raw>,
}

pub(crate) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    let mut crowds: Vec<Crowd> = Vec::new();
    for clients in CROWDS {
        crowds.push(Crowd { clients, ours: Vec::new(), raw: Vec::new() });
    }
    let body = stored_body(stage).await?;
    let time = options.time(ROUND);
    for _ in 0..options.rounds {
        for crowd in &mut crowds {
            crowd.raw.push(raw::rate(stage, &body, crowd.clients, time).await?);
            crowd.ours.push(peak(stage, crowd.clients, ITEM_BYTES, [WARM_UP, time]).await?);
        }
    }
    let rate = |crowd: &Crowd| median(crowd.ours.iter().map(|r| r.outcome.per_second()));
    let highest = crowds.iter().map(rate).fold(0.0, f64::max);
    let schedule =
        Schedule { rate: highest * STEADY_LOAD, warm_up: 2 * WARM_UP, time: options.time(STEADY) };
    let flush = flush_latency(stage)?;
    let steady = steady(stage, schedule).await?;
    let mut figures: Vec<Figure> = crowds.iter().flat_map(peak_figures).collect();
    figures.extend(steady_figures(&steady, schedule, &flush));
    Ok(figures)
}

/// The bytes of one resource as our store keeps them, for the raw store to write the same.
async fn stored_body(stage: &Stage) -> Result<Bytes, Error> {
    let server = stage.bowline("create").await?;
    let client = Client::connect(server.url(), 1).await?;
    let maker = Maker::fit(&client).await?;
    let request = maker.create_request(PROJECT, 0);
    let body = client.unary(0, item::CREATE, request).await.map_err(Error::call(item::CREATE))?;
    server.stop().await?;
    stage.remove("create")?;
    Ok(body)
}

/// Creates of `item_bytes` as fast as `clients` can, on a server with an empty store.
pub(super) async fn peak(
    stage: &Stage,
    clients: usize,
    item_bytes: usize,
    [warm_up, time]: [Duration; 2],
) -> Result<Round, Error> {
    let server = stage.bowline("create").await?;
    let client = Client::connect(server.url(), CONNECTIONS).await?;
    let maker = Maker::fit_to(&client, item_bytes).await?;
    let next = Arc::new(AtomicU64::new(0));
    let create = move |worker, n| {
        let (client, request) = (client.clone(), maker.create_request(PROJECT, n));
        async move {
            client
                .unary(worker, item::CREATE, request)
                .await
                .map(drop)
                .map_err(Error::call(item::CREATE))
        }
    };
    closed(clients, warm_up, &next, create.clone()).await?;
    let cpu = server.cpu()?;
    let outcome = closed(clients, time, &next, create).await?;
    let cpu = server.cpu()? - cpu;
    server.stop().await?;
    stage.remove("create")?;
    let server_cpu = cpu.as_secs_f64() * 1e6 / outcome.done as f64;
    Ok(Round { outcome, server_cpu })
}

/// Creates at a fixed rate, long enough for checkpoints to happen.
async fn steady(stage: &Stage, schedule: Schedule) -> Result<Outcome, Error> {
    let server = stage.bowline("create").await?;
    let client = Client::connect(server.url(), CONNECTIONS).await?;
    let maker = Maker::fit(&client).await?;
    let outcome = open(schedule, move |n| {
        let (client, request) = (client.clone(), maker.create_request(PROJECT, n));
        async move {
            let answer = client.unary(n as usize, item::CREATE, request).await;
            answer.map(drop).map_err(Error::call(item::CREATE))
        }
    })
    .await?;
    server.stop().await?;
    stage.remove("create")?;
    Ok(outcome)
}

/// Median and 99th percentile, in ms, of appending a page to a file and flushing it.
fn flush_latency(stage: &Stage) -> Result<(f64, f64), Error> {
    let path = stage.path("flush.bin");
    let failed = || format!("write {}", path.display());
    let mut file = File::create(&path).map_err(Error::io(failed()))?;
    let mut latency = histogram();
    for _ in 0..FLUSHES {
        let start = Instant::now();
        file.write_all(&[7; 4096]).map_err(Error::io(failed()))?;
        file.sync_data().map_err(Error::io(failed()))?;
        record(&mut latency, start.elapsed());
    }
    Ok((load::quantile_ms(&latency, 0.5), load::quantile_ms(&latency, 0.99)))
}

fn peak_figures(crowd: &Crowd) -> Vec<Figure> {
    let of = |figure: &dyn Fn(&Round) -> f64| median(crowd.ours.iter().map(figure));
    let rates = crowd.ours.iter().map(|r| r.outcome.per_second());
    let ratios = rates.zip(&crowd.raw).map(|(ours, raw)| ours / raw.rows_per_second);
    let lowest = ratios.clone().fold(f64::INFINITY, f64::min);
    let highest = ratios.fold(0.0, f64::max);
    let (rate, cpu, p99) = match crowd.clients {
        64 => {
            ("create rate, 64 clients", "create server CPU, 64 clients", "create p99, 64 clients")
        }
        _ => (
            "create rate, 256 clients",
            "create server CPU, 256 clients",
            "create p99, 256 clients",
        ),
    };
    vec![
        Figure::higher(rate, of(&|r| r.outcome.per_second()), "1/s")
            .limit(median(crowd.raw.iter().map(|raw| raw.rows_per_second)))
            .goal_of_limit(GOAL)
            .note(format!("ratio of single rounds {lowest:.2} to {highest:.2}")),
        Figure::lower(cpu, of(&|r| r.server_cpu), "us/request")
            .limit(median(crowd.raw.iter().map(|raw| raw.cpu))),
        Figure::lower(p99, of(&|r| r.outcome.quantile_ms(0.99)), "ms").note("at the highest rate"),
    ]
}

fn steady_figures(steady: &Outcome, schedule: Schedule, flush: &(f64, f64)) -> Vec<Figure> {
    let load = format!("{:.0} creates/s, {STEADY_LOAD} of the peak", schedule.rate);
    let one_flush = "limit: append 4 KiB and flush";
    vec![
        Figure::lower("create p50, steady", steady.quantile_ms(0.5), "ms")
            .limit(flush.0)
            .note(&load)
            .note(one_flush),
        Figure::lower("create p99, steady", steady.quantile_ms(0.99), "ms")
            .limit(flush.1)
            .goal(GOAL_P99_MS)
            .note(one_flush),
        Figure::lower("create p99.9, steady", steady.quantile_ms(0.999), "ms"),
        Figure::lower("create max, steady", steady.max_ms(), "ms")
            .note("a checkpoint that stalls writers shows here"),
    ]
}
