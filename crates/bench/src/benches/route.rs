//! `route`: gets and durable creates where the resource is owned, and the same through another region: what a hop costs.
//!
//! Two regions, a process each, on one machine: the network between them costs nothing, the protocol all it has. What is
//! measured beside the forwarded request is the same request at its owner, so their ratio is the price of the hop.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;

use crate::client::Client;
use crate::error::Error;
use crate::item::{self, Maker, PROJECT};
use crate::load::{Outcome, closed};
use crate::options::Options;
use crate::process::Server;
use crate::report::{Figure, median};
use crate::stage::Stage;

const ROUND: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 4;
/// One client shows what a hop takes, many what it costs.
const CROWDS: [usize; 2] = [1, 64];
/// Resources that are read in turn.
const ITEMS: u64 = 1_000;
/// The first region is the control region, which owns all items of the bench.
const REGIONS: [&str; 2] = ["owner", "other"];

/// What is asked.
#[derive(Clone, Copy)]
enum Asked {
    Get,
    Create,
}

/// Rounds of one kind of request from one number of clients, at the owner and at the other region.
struct Pair {
    asked: Asked,
    clients: usize,
    local: Vec<Outcome>,
    forwarded: Vec<Outcome>,
}

pub(crate) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    let configuration = configuration(stage)?;
    let [owner, other] = REGIONS.map(|region| start(stage, &configuration, region));
    // Each waits for the other's meta service.
    let (owner, other) = tokio::try_join!(owner, other)?;
    let (at_owner, at_other) = (connect(&owner).await?, connect(&other).await?);
    let maker = Arc::new(Maker::unfitted());
    item::make_project(&at_owner, PROJECT).await?;
    item::fill(&at_owner, &maker, PROJECT, 0..ITEMS).await?;
    let next = Arc::new(AtomicU64::new(ITEMS));
    let asks = [Asked::Get, Asked::Create];
    let mut pairs: Vec<Pair> = Vec::new();
    for clients in CROWDS {
        pairs.extend(asks.map(|asked| Pair::new(asked, clients)));
    }
    for pair in &pairs {
        pair.round(&at_owner, &maker, &next, WARM_UP).await?;
        pair.round(&at_other, &maker, &next, WARM_UP).await?;
    }
    for _ in 0..options.rounds {
        for pair in &mut pairs {
            let time = options.time(ROUND);
            let (local, forwarded) = (
                pair.round(&at_owner, &maker, &next, time).await?,
                pair.round(&at_other, &maker, &next, time).await?,
            );
            pair.local.push(local);
            pair.forwarded.push(forwarded);
        }
    }
    other.stop().await?;
    owner.stop().await?;
    Ok(pairs.iter().flat_map(Pair::figures).collect())
}

/// Two regions on free ports.
fn configuration(stage: &Stage) -> Result<std::path::PathBuf, Error> {
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("find a free port"))?;
        Ok::<_, Error>(listener.local_addr().map_err(Error::io("find a free port"))?.port())
    };
    let (first, second) = (free()?, free()?);
    let [owner, other] = REGIONS;
    let text = format!(
        "regions:\n  {owner}: {{ listen: 127.0.0.1:{first} }}\n  {other}: {{ listen: 127.0.0.1:{second} }}\n\
         store: ./route\nidentity: ./route/identity\nservices: [service]\n"
    );
    stage.write("route.yaml", text.as_bytes())
}

async fn start(
    stage: &Stage,
    configuration: &std::path::Path,
    region: &str,
) -> Result<Server, Error> {
    let file = configuration.as_os_str();
    let args = ["up".as_ref(), "-f".as_ref(), file, "--region".as_ref(), region.as_ref()];
    Server::start(stage.program(), args, &stage.path(&format!("{region}.log"))).await
}

async fn connect(server: &Server) -> Result<Client, Error> {
    // Behind the URL stands which region it is.
    let url = server.url().split_whitespace().next().unwrap_or_default();
    Client::connect(url, CONNECTIONS).await
}

impl Pair {
    fn new(asked: Asked, clients: usize) -> Self {
        Self { asked, clients, local: Vec::new(), forwarded: Vec::new() }
    }

    async fn round(
        &self,
        client: &Client,
        maker: &Arc<Maker>,
        next: &Arc<AtomicU64>,
        time: Duration,
    ) -> Result<Outcome, Error> {
        let (client, maker, asked) = (client.clone(), maker.clone(), self.asked);
        closed(self.clients, time, next, move |worker, n| {
            let (path, request): (_, Bytes) = match asked {
                Asked::Get => (item::GET, item::get_request(item::name(PROJECT, n % ITEMS))),
                Asked::Create => (item::CREATE, maker.create_request(PROJECT, n)),
            };
            let client = client.clone();
            async move { client.unary(worker, path, request).await.map(drop).map_err(Error::call(path)) }
        })
        .await
    }

    fn figures(&self) -> Vec<Figure> {
        let what = match self.asked {
            Asked::Get => "get",
            Asked::Create => "create",
        };
        // Each number of clients has figures of its own.
        let what = format!("{what}, {} at once", self.clients);
        let of = |rounds: &[Outcome], figure: &dyn Fn(&Outcome) -> f64| {
            median(rounds.iter().map(figure))
        };
        let pair = |figure: &dyn Fn(&Outcome) -> f64| {
            (of(&self.forwarded, figure), of(&self.local, figure))
        };
        let clients = "limit: the same at the owner";
        let (rate, local_rate) = pair(&Outcome::per_second);
        let (p50, local_p50) = pair(&|outcome| outcome.quantile_ms(0.5));
        let (p99, local_p99) = pair(&|outcome| outcome.quantile_ms(0.99));
        vec![
            Figure::higher(format!("{what}, forwarded"), rate, "1/s")
                .limit(local_rate)
                .note(clients),
            Figure::lower(format!("{what}, forwarded, p50"), p50, "ms")
                .limit(local_p50)
                .note(clients),
            Figure::lower(format!("{what}, forwarded, p99"), p99, "ms")
                .limit(local_p99)
                .note(clients),
        ]
    }
}
