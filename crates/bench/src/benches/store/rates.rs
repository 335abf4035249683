//! Commits per second, all contenders in turns: in each round each has its go at each number of clients.

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_store::SqliteOptions;

use crate::benches::create;
use crate::error::Error;
use crate::options::Options;
use crate::report::{Figure, median};
use crate::stage::Stage;
use crate::stores::etcd::Etcd;
use crate::stores::postgres::Postgres;
use crate::stores::{disk, ours, raw_postgres, raw_sqlite};

const ROUND: Duration = Duration::from_millis(1_000);
const WARM_UP: Duration = Duration::from_millis(250);
const CROWDS: [usize; 3] = [1, 64, 256];
/// Share of the raw rates that is the goal.
const GOAL_OF_RAW: f64 = 0.7;
const GOAL_OF_ETCD: f64 = 1.0;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Contender {
    Disk,
    RawSqlite,
    OurSqlite,
    /// `bowline up` on SQLite, over gRPC.
    Api,
    Etcd,
    /// A commit per row on up to 32 connections.
    SinglePostgres,
    /// Full groups from one connection.
    GroupedPostgres,
    OurPostgres,
}

const CONTENDERS: [Contender; 8] = [
    Contender::Disk,
    Contender::RawSqlite,
    Contender::OurSqlite,
    Contender::Api,
    Contender::Etcd,
    Contender::SinglePostgres,
    Contender::GroupedPostgres,
    Contender::OurPostgres,
];

/// Commits per second of one contender at one number of clients, a value per round.
type Samples = BTreeMap<(Contender, usize), Vec<f64>>;

struct Ring<'r> {
    stage: &'r Stage,
    postgres: &'r Postgres,
    etcd: Etcd,
    time: Duration,
}

pub(super) async fn run(
    stage: &Stage,
    postgres: &Postgres,
    options: &Options,
) -> Result<Vec<Figure>, Error> {
    let etcd = Etcd::start(&stage.path("etcd"), &stage.path("etcd.log")).await?;
    let ring = Ring { stage, postgres, etcd, time: options.time(ROUND) };
    let mut samples = Samples::new();
    for round in 0..options.rounds {
        eprintln!("bench: store: commits, round {} of {} ...", round + 1, options.rounds);
        for clients in CROWDS {
            // There and back, so that who comes late has no advantage.
            let mut order = CONTENDERS;
            if round % 2 == 1 {
                order.reverse();
            }
            for contender in order {
                let rate = ring.measure(contender, clients).await?;
                samples.entry((contender, clients)).or_default().push(rate);
            }
        }
    }
    Ok(figures(&samples))
}

impl Ring<'_> {
    async fn measure(&self, contender: Contender, clients: usize) -> Result<f64, Error> {
        let time = self.time;
        match contender {
            Contender::Disk => disk::flush_rate(&self.stage.path("flush.bin"), time),
            Contender::RawSqlite => {
                raw_sqlite::create_rate(self.stage.path("raw"), clients, time).await
            }
            Contender::OurSqlite => self.our_sqlite(clients).await,
            Contender::Api => {
                let round = create::peak(self.stage, clients, WARM_UP, time).await?;
                Ok(round.outcome.per_second())
            }
            Contender::Etcd => self.etcd.put_rate(clients, WARM_UP, time).await,
            Contender::SinglePostgres => {
                raw_postgres::single_rate(self.postgres, clients, WARM_UP, time).await
            }
            Contender::GroupedPostgres => {
                raw_postgres::grouped_rate(self.postgres, clients, WARM_UP, time).await
            }
            Contender::OurPostgres => self.our_postgres(clients).await,
        }
    }

    async fn our_sqlite(&self, clients: usize) -> Result<f64, Error> {
        let path = self.stage.write("sqlite/empty", &[])?.with_file_name("store.db");
        let store = ours::open_sqlite(&path, SqliteOptions::default())?;
        let rate = ours::create_rate(&store, clients, WARM_UP, self.time).await?;
        store.close().await.map_err(Error::Store)?;
        self.stage.remove("sqlite")?;
        Ok(rate)
    }

    async fn our_postgres(&self, clients: usize) -> Result<f64, Error> {
        let store = self.postgres.open_store(|_| {}).await?;
        let rate = ours::create_rate(&store, clients, WARM_UP, self.time).await?;
        store.close().await.map_err(Error::Store)?;
        self.postgres.drop_store().await?;
        Ok(rate)
    }
}

fn figures(samples: &Samples) -> Vec<Figure> {
    let flushes: Vec<f64> =
        CROWDS.iter().flat_map(|clients| &samples[&(Contender::Disk, *clients)]).copied().collect();
    let flush = Figure::higher("disk flushes", median(flushes.iter().copied()), "1/s")
        .note("append 4 KiB, fdatasync, one writer");
    let mut figures = vec![flush];
    for clients in CROWDS {
        let compare = |name: &str, ours, other, goal| {
            compare(format!("{name}, {}", crowd(clients)), samples, (ours, other), clients, goal)
        };
        use Contender::{
            Api, Etcd, GroupedPostgres, OurPostgres, OurSqlite, RawSqlite, SinglePostgres,
        };
        figures.extend([
            compare("SQLite commits", OurSqlite, RawSqlite, Some(GOAL_OF_RAW)),
            compare("SQLite commits, etcd puts", OurSqlite, Etcd, Some(GOAL_OF_ETCD))
                .note("etcd over gRPC, ours in process"),
            compare("gRPC creates, etcd puts", Api, Etcd, Some(GOAL_OF_ETCD))
                .note("both over gRPC"),
            compare("PostgreSQL commits", OurPostgres, SinglePostgres, Some(GOAL_OF_RAW))
                .note("limit: a commit per row, on up to 32 connections"),
            compare("PostgreSQL commits, one raw writer", OurPostgres, GroupedPostgres, None)
                .note("limit: full groups from one connection"),
        ]);
    }
    figures
}

fn crowd(clients: usize) -> String {
    match clients {
        1 => "1 client".to_owned(),
        n => format!("{n} clients"),
    }
}

fn compare(
    metric: String,
    samples: &Samples,
    (ours, other): (Contender, Contender),
    clients: usize,
    goal: Option<f64>,
) -> Figure {
    let (ours, other) = (&samples[&(ours, clients)], &samples[&(other, clients)]);
    let ratios = || ours.iter().zip(other).map(|(ours, other)| ours / other);
    let lowest = ratios().fold(f64::INFINITY, f64::min);
    let highest = ratios().fold(0.0, f64::max);
    let figure = Figure::higher(metric, median(ours.iter().copied()), "1/s")
        .limit(median(other.iter().copied()));
    let figure = match goal {
        Some(share) => figure.goal_of_limit(share),
        None => figure,
    };
    figure.note(format!("ratio of single rounds {lowest:.2} to {highest:.2}"))
}
