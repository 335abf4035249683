//! What references cost a create: local ones, foreign ones, and many that name one target.
//!
//! Each kind of create is measured beside the one that it is to be compared with, in turns, on one server.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;

use super::schema::{
    CREATE_DEVICE, CREATE_PROJECT, CREATE_SITE, Device, UPDATE_DEVICE, create, project, send_all,
    serve, site,
};
use crate::client::Client;
use crate::error::Error;
use crate::load::{Outcome, closed};
use crate::options::Options;
use crate::report::{Figure, median};
use crate::stage::Stage;

const ROUND: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 4;
const CLIENTS: usize = 64;
/// Targets that are named in turn where they are to be distinct.
const TARGETS: u64 = 4_000;

/// What a request refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    TwoLocal,
    OneSite,
    DistinctSites,
    OneProject,
    DistinctProjects,
    /// An update of a device that keeps its foreign reference.
    KeptProject,
    /// An update of a device without references.
    PlainUpdate,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Plain,
        Self::TwoLocal,
        Self::DistinctSites,
        Self::OneSite,
        Self::DistinctProjects,
        Self::OneProject,
        Self::PlainUpdate,
        Self::KeptProject,
    ];

    fn path(self) -> &'static str {
        match self {
            Self::KeptProject | Self::PlainUpdate => UPDATE_DEVICE,
            _ => CREATE_DEVICE,
        }
    }

    fn request(self, n: u64) -> Bytes {
        // Numbers of devices that were made beforehand, to be updated.
        const UPDATED: u64 = 1 << 40;
        let device = Device::number(n);
        let target = n % TARGETS;
        let device = match self {
            Self::Plain => device,
            Self::TwoLocal => {
                Device { site: site(target), spare_site: site((n + 7) % TARGETS), ..device }
            }
            Self::OneSite => Device { site: site(0), ..device },
            Self::DistinctSites => Device { site: site(target), ..device },
            Self::OneProject => Device { project: project(0), ..device },
            Self::DistinctProjects => Device { project: project(target), ..device },
            Self::KeptProject => Device {
                project: project(target),
                notes: notes(n),
                ..Device::number(UPDATED + target)
            },
            Self::PlainUpdate => Device { notes: notes(n), ..Device::number(2 * UPDATED + target) },
        };
        device.request()
    }
}

/// Another text each time, so that every update changes something.
fn notes(n: u64) -> String {
    format!("{n:0300}")
}

/// Rounds of one kind and one number of clients.
struct Series {
    kind: Kind,
    clients: usize,
    rounds: Vec<Outcome>,
}

pub(super) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    let server = serve(stage, "rates", None).await?;
    let client = Client::connect(server.url(), CONNECTIONS).await?;
    prepare(&client).await?;
    let next = Arc::new(AtomicU64::new(0));
    let mut all: Vec<Series> = Vec::new();
    for clients in [CLIENTS, 1] {
        let series = |kind| Series { kind, clients, rounds: Vec::new() };
        all.extend(Kind::ALL.into_iter().map(series));
    }
    for series in &all {
        series.round(&client, &next, WARM_UP).await?;
    }
    for _ in 0..options.rounds {
        for series in &mut all {
            let outcome = series.round(&client, &next, options.time(ROUND)).await?;
            series.rounds.push(outcome);
        }
    }
    server.stop().await?;
    stage.remove("rates")?;
    Ok(figures(&all))
}

/// Makes the targets, and each project a device that refers to it, so that none is referred to for the first time.
async fn prepare(client: &Client) -> Result<(), Error> {
    send_all(client, CREATE_SITE, (0..TARGETS).map(|n| create(site(n)))).await?;
    send_all(client, CREATE_PROJECT, (0..TARGETS).map(|n| create(project(n)))).await?;
    for kind in [Kind::KeptProject, Kind::PlainUpdate] {
        send_all(client, CREATE_DEVICE, (0..TARGETS).map(|n| kind.request(n))).await?;
    }
    Ok(())
}

impl Series {
    async fn round(
        &self,
        client: &Client,
        next: &Arc<AtomicU64>,
        time: Duration,
    ) -> Result<Outcome, Error> {
        let (client, kind) = (client.clone(), self.kind);
        closed(self.clients, time, next, move |worker, n| {
            let (client, path, request) = (client.clone(), kind.path(), kind.request(n));
            async move { client.unary(worker, path, request).await.map(drop).map_err(Error::call(path)) }
        })
        .await
    }

    fn rate(&self) -> f64 {
        median(self.rounds.iter().map(Outcome::per_second))
    }

    fn latency(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.quantile_ms(0.5)))
    }
}

fn figures(all: &[Series]) -> Vec<Figure> {
    let of = |kind, clients| {
        let found = all.iter().find(|series| series.kind == kind && series.clients == clients);
        found.expect("all kinds are measured with each number of clients")
    };
    let beside = |metric: &'static str, kind, other, share: f64| {
        let figure = Figure::higher(metric, of(kind, CLIENTS).rate(), "/s");
        figure.limit(of(other, CLIENTS).rate()).goal_of_limit(share)
    };
    let p50 = |metric: &'static str, kind, other| {
        Figure::lower(metric, of(kind, 1).latency(), "ms").limit(of(other, 1).latency())
    };
    vec![
        beside("create, 2 local references", Kind::TwoLocal, Kind::Plain, 0.80)
            .note("limit: no reference"),
        beside("create, all name one local target", Kind::OneSite, Kind::DistinctSites, 0.90)
            .note("limit: distinct local targets"),
        beside(
            "create, all name one foreign target",
            Kind::OneProject,
            Kind::DistinctProjects,
            0.70,
        )
        .note("limit: distinct foreign targets, each referred to before"),
        p50("create, 1 foreign reference, p50", Kind::OneProject, Kind::Plain)
            .note("one client; limit: no reference"),
        p50("create, 2 local references, p50", Kind::TwoLocal, Kind::Plain)
            .note("one client; limit: no reference"),
        p50("update, foreign reference kept, p50", Kind::KeptProject, Kind::PlainUpdate)
            .note("one client; limit: update without reference"),
    ]
}
