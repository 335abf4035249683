//! Commits per second, all contenders in turns: in each round each has its go at each number of clients.

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_store::SqliteOptions;

use crate::benches::create;
use crate::error::Error;
use crate::options::Options;
use crate::report::{Figure, median};
use crate::rows;
use crate::stage::Stage;
use crate::stores::disk::{self, Place};
use crate::stores::etcd::Etcd;
use crate::stores::ours::MakeBatch;
use crate::stores::postgres::Postgres;
use crate::stores::{ours, raw_postgres, raw_sqlite};

const ROUND: Duration = Duration::from_millis(1_000);
const WARM_UP: Duration = Duration::from_millis(250);
const CROWDS: [usize; 3] = [1, 64, 256];
/// A resource over gRPC, with its name and metadata, about as long as key and value of a put.
const API_BYTES: usize = 400;
/// Share of the raw rates that is the goal.
const GOAL_OF_RAW: f64 = 0.7;
const GOAL_OF_ETCD: f64 = 1.0;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Contender {
    Disk(Place),
    RawSqlite,
    OurSqlite,
    /// Rows without index entries, as a put has none.
    PlainSqlite,
    /// `bowline up` on SQLite, over gRPC.
    Api,
    Etcd,
    /// A commit per row on up to 32 connections.
    SinglePostgres,
    /// Full groups from one connection.
    GroupedPostgres,
    OurPostgres,
}

const CONTENDERS: [Contender; 10] = [
    Contender::Disk(Place::Behind),
    Contender::Disk(Place::Over),
    Contender::RawSqlite,
    Contender::OurSqlite,
    Contender::PlainSqlite,
    Contender::Api,
    Contender::Etcd,
    Contender::SinglePostgres,
    Contender::GroupedPostgres,
    Contender::OurPostgres,
];

impl Contender {
    /// Alone, raw groups are raw commits, the API adds the same to each create, and the disk has one writer.
    fn is_in(self, clients: usize) -> bool {
        match self {
            Self::Disk(_) => clients == 1,
            Self::Api | Self::GroupedPostgres => clients > 1,
            _ => true,
        }
    }
}

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
            for contender in order.into_iter().filter(|contender| contender.is_in(clients)) {
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
            Contender::Disk(place) => disk::flush_rate(&self.stage.path("flush.bin"), place, time),
            Contender::RawSqlite => {
                raw_sqlite::create_rate(self.stage.path("raw"), clients, time).await
            }
            Contender::OurSqlite => self.our_sqlite(rows::create, clients).await,
            Contender::PlainSqlite => self.our_sqlite(rows::create_plain, clients).await,
            Contender::Api => {
                let round = create::peak(self.stage, clients, API_BYTES, [WARM_UP, time]).await?;
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

    async fn our_sqlite(&self, make: MakeBatch, clients: usize) -> Result<f64, Error> {
        let path = self.stage.write("sqlite/empty", &[])?.with_file_name("store.db");
        let store = ours::open_sqlite(&path, SqliteOptions::default())?;
        let rate = ours::commit_rate(&store, make, clients, [WARM_UP, self.time]).await?;
        store.close().await.map_err(Error::Store)?;
        self.stage.remove("sqlite")?;
        Ok(rate)
    }

    async fn our_postgres(&self, clients: usize) -> Result<f64, Error> {
        let store = self.postgres.open_store(|_| {}).await?;
        let times = [WARM_UP, self.time];
        let rate = ours::commit_rate(&store, rows::create, clients, times).await?;
        store.close().await.map_err(Error::Store)?;
        self.postgres.drop_store().await?;
        Ok(rate)
    }
}

fn figures(samples: &Samples) -> Vec<Figure> {
    let flushes = |metric: &'static str, place, note| {
        let rates = samples[&(Contender::Disk(place), 1)].iter().copied();
        Figure::higher(metric, median(rates), "1/s").note(note)
    };
    let disk = [
        flushes("disk flushes", Place::Behind, "append 4 KiB, fdatasync, one writer"),
        flushes("disk flushes, in place", Place::Over, "write over 4 KiB, fdatasync, one writer"),
    ];
    let crowds = CROWDS.iter().flat_map(|clients| crowd_figures(samples, *clients));
    disk.into_iter().chain(crowds).collect()
}

fn crowd_figures(samples: &Samples, clients: usize) -> Vec<Figure> {
    use Contender::{
        Api, Etcd, GroupedPostgres, OurPostgres, OurSqlite, PlainSqlite, RawSqlite, SinglePostgres,
    };
    let lines = [
        ("SQLite commits", OurSqlite, RawSqlite, Some(GOAL_OF_RAW), "limit: bare group commit"),
        (
            "SQLite puts, etcd puts",
            PlainSqlite,
            Etcd,
            Some(GOAL_OF_ETCD),
            "both without index entries; etcd over gRPC, ours in process",
        ),
        ("SQLite commits, etcd puts", OurSqlite, Etcd, None, "ours with index entries, in process"),
        ("gRPC creates, etcd puts", Api, Etcd, None, "both over gRPC, ours with the whole API"),
        (
            "PostgreSQL commits",
            OurPostgres,
            SinglePostgres,
            Some(GOAL_OF_RAW),
            "limit: a commit per row, on up to 32 connections",
        ),
        (
            "PostgreSQL commits, one raw writer",
            OurPostgres,
            GroupedPostgres,
            None,
            "limit: full groups from one connection",
        ),
    ];
    let lines = lines.into_iter().filter(|(_, a, b, ..)| a.is_in(clients) && b.is_in(clients));
    let figure = |(name, ours, other, goal, note): (&str, _, _, _, &str)| {
        let (ours, other) = (&samples[&(ours, clients)], &samples[&(other, clients)]);
        compare(format!("{name}, {}", crowd(clients)), ours, other, goal).note(note)
    };
    lines.map(figure).collect()
}

fn crowd(clients: usize) -> String {
    match clients {
        1 => "1 client".to_owned(),
        n => format!("{n} clients"),
    }
}

/// Medians of the rounds beside each other, and how far apart the rounds are.
fn compare(metric: String, ours: &[f64], other: &[f64], goal: Option<f64>) -> Figure {
    let ratios = || ours.iter().zip(other).map(|(ours, other)| ours / other);
    let lowest = ratios().fold(f64::INFINITY, f64::min);
    let highest = ratios().fold(0.0, f64::max);
    let figure = Figure::higher(metric, median(ours.iter().copied()), "1/s")
        .limit(median(other.iter().copied()));
    let figure = match goal {
        Some(share) => figure.goal_of_limit(share),
        None => figure,
    };
    figure.note(format!("rounds {lowest:.2} to {highest:.2}"))
}
