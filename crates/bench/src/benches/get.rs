//! `get`: unary gets of one 600-byte resource each, against a bare tonic server that hands out the same bytes from memory.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;

use crate::bare;
use crate::client::Client;
use crate::error::Error;
use crate::item::{self, ITEM_BYTES, Maker, PROJECT};
use crate::load::{Outcome, closed};
use crate::options::Options;
use crate::process::{Server, own_cpu};
use crate::report::{Figure, median};
use crate::stage::Stage;

const ROUND: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);
/// Resources that are read in turn.
const ITEMS: u64 = 1_000;
/// Share of the bare server's rate that is the goal.
const GOAL: f64 = 0.85;

/// A server, the connections to it, and what to ask it.
struct Side {
    server: Server,
    client: Client,
    path: &'static str,
    requests: Arc<Vec<Bytes>>,
}

/// One round on one side.
struct Round {
    outcome: Outcome,
    /// CPU time per request, in microseconds.
    server_cpu: f64,
    client_cpu: f64,
}

pub(crate) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    let connections = usize::from(options.connections);
    let workers = connections * usize::from(options.streams);
    let ours = bowline(stage, connections).await?;
    let body = ours.call(0).await?;
    item::check_len(body.len(), ITEM_BYTES)?;
    let bare = bare_server(stage, connections, &body, ours.requests.clone()).await?;
    if bare.call(0).await? != body {
        return Err(Error::Wrong("the bare server hands out something else".to_owned()));
    }
    let (mut ours_rounds, mut bare_rounds) = (Vec::new(), Vec::new());
    ours.round(workers, WARM_UP).await?;
    bare.round(workers, WARM_UP).await?;
    for _ in 0..options.rounds {
        ours_rounds.push(ours.round(workers, options.time(ROUND)).await?);
        bare_rounds.push(bare.round(workers, options.time(ROUND)).await?);
    }
    ours.server.stop().await?;
    bare.server.stop().await?;
    Ok(figures(&ours_rounds, &bare_rounds, options))
}

async fn bowline(stage: &Stage, connections: usize) -> Result<Side, Error> {
    let server = stage.bowline("get").await?;
    let client = Client::connect(server.url(), connections).await?;
    let maker = Maker::fit(&client).await?;
    item::fill(&client, &maker, PROJECT, 0..ITEMS).await?;
    let requests = (0..ITEMS).map(|n| item::get_request(item::name(PROJECT, n))).collect();
    Ok(Side { server, client, path: item::GET, requests: Arc::new(requests) })
}

async fn bare_server(
    stage: &Stage,
    connections: usize,
    body: &[u8],
    requests: Arc<Vec<Bytes>>,
) -> Result<Side, Error> {
    let server = stage.bare(body).await?;
    let client = Client::connect(server.url(), connections).await?;
    Ok(Side { server, client, path: bare::GET, requests })
}

impl Side {
    async fn call(&self, n: usize) -> Result<Bytes, Error> {
        let request = self.requests[n % self.requests.len()].clone();
        self.client.unary(n, self.path, request).await.map_err(Error::call(self.path))
    }

    async fn round(&self, workers: usize, time: Duration) -> Result<Round, Error> {
        let (client, requests, path) = (self.client.clone(), self.requests.clone(), self.path);
        let (server_cpu, client_cpu) = (self.server.cpu()?, own_cpu()?);
        let outcome = closed(workers, time, &Arc::new(AtomicU64::new(0)), move |worker, n| {
            let client = client.clone();
            let request = requests[n as usize % requests.len()].clone();
            async move { check(client.unary(worker, path, request).await, path) }
        })
        .await?;
        let per_request = |cpu: Duration| cpu.as_secs_f64() * 1e6 / outcome.done as f64;
        let server_cpu = per_request(self.server.cpu()? - server_cpu);
        let client_cpu = per_request(own_cpu()? - client_cpu);
        Ok(Round { outcome, server_cpu, client_cpu })
    }
}

fn check(answer: Result<Bytes, tonic::Status>, path: &'static str) -> Result<(), Error> {
    item::check_len(answer.map_err(Error::call(path))?.len(), ITEM_BYTES)
}

fn figures(ours: &[Round], bare: &[Round], options: &Options) -> Vec<Figure> {
    let of = |rounds: &[Round], figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
    let rate = |round: &Round| round.outcome.per_second();
    let ratios = ours.iter().zip(bare).map(|(o, b)| rate(o) / rate(b));
    let lowest = ratios.clone().fold(f64::INFINITY, f64::min);
    let highest = ratios.fold(0.0, f64::max);
    let clients =
        format!("{} connections with {} streams each", options.connections, options.streams);
    let pair = |metric, unit, figure: &dyn Fn(&Round) -> f64| {
        Figure::lower(metric, of(ours, figure), unit).limit(of(bare, figure))
    };
    vec![
        Figure::higher("get rate", of(ours, &rate), "1/s")
            .limit(of(bare, &rate))
            .goal_of_limit(GOAL)
            .note(format!("{clients}; ratio of single rounds {lowest:.2} to {highest:.2}")),
        pair("get server CPU", "us/request", &|r| r.server_cpu),
        pair("get client CPU", "us/request", &|r| r.client_cpu)
            .note("shares the machine with the server"),
        pair("get p50", "ms", &|r| r.outcome.quantile_ms(0.5)).note("at the highest rate"),
        pair("get p99", "ms", &|r| r.outcome.quantile_ms(0.99)).note("at the highest rate"),
    ]
}
