//! What a store costs as it grows: rows and pages that a commit touches, its time, and memory.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_store::{Backend, Batch, Key, SqliteOptions};

use crate::error::Error;
use crate::options::Options;
use crate::report::{Figure, median};
use crate::rows;
use crate::stage::Stage;
use crate::stores::ours;
use crate::stores::pages::{Frames, Meter, Records, Touched};
use crate::stores::postgres::Postgres;
use crate::stores::resident::{self, Resident, scattered};

/// Resources of one commit, so that groups are of one size however the clients come.
const GROUP: u64 = 64;
const GROUPS: u64 = 40;
/// Lines of the change log: few, so that it is full, and as many old lines go as new ones come, at every size.
const LOG_CHANGES: u64 = 2_560;
/// Commits before those that count: all lines of the log are theirs, not those of the larger commits of the fill.
const GROUPS_WARM_UP: u64 = LOG_CHANGES / GROUP + 10;
/// A tenth of the resources, and a tenth of those.
const STEPS: [u64; 3] = [100, 10, 1];
const GOAL_GROWTH: f64 = 1.2;
const GOAL_TIME_GROWTH: f64 = 2.0;

/// What commits cost at one size.
#[derive(Clone, Copy, Debug)]
struct Step {
    rows: u64,
    updates: Cost,
    creates: Cost,
}

/// Per resource, on average; the time is that of the whole commit in the middle.
#[derive(Clone, Copy, Debug)]
struct Cost {
    touched: Touched,
    commit_ms: f64,
}

/// A store that grows.
struct Growing {
    store: Arc<dyn Backend>,
    meter: Meter,
    /// Resources with lower numbers are there.
    count: u64,
    /// Resources that were updated, ever.
    updated: u64,
}

pub(super) async fn run(
    stage: &Stage,
    postgres: &Postgres,
    options: &Options,
) -> Result<Vec<Figure>, Error> {
    let path = stage.write("sizes/empty", &[])?.with_file_name("store.db");
    let settings = SqliteOptions { log_changes_max: LOG_CHANGES, ..SqliteOptions::default() };
    let cache = settings.writer_cache_bytes;
    let store = ours::open_sqlite(&path, settings)?;
    let meter = Meter::Sqlite(Box::new(Frames::open(&path)?));
    let steps = grow("SQLite", Growing { store, meter, count: 0, updated: 0 }, options).await?;
    let cache = format!("page cache {} MiB", cache >> 20);
    let mut figures = growth_figures("SQLite", &steps, &cache);
    figures.push(memory_figure(&resident(stage, &path).await?));
    stage.remove("sizes")?;
    let store = postgres.open_store(|options| options.log_changes_max = LOG_CHANGES).await?;
    let meter = Meter::Postgres(Records::connect(postgres).await?);
    let steps = grow("PostgreSQL", Growing { store, meter, count: 0, updated: 0 }, options).await?;
    let cache = format!("shared_buffers {}", postgres.setting("shared_buffers").await?);
    figures.extend(growth_figures("PostgreSQL", &steps, &cache));
    postgres.drop_store().await?;
    Ok(figures)
}

async fn grow(name: &str, mut growing: Growing, options: &Options) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for divisor in STEPS {
        let rows = options.resources / divisor;
        eprintln!("bench: store: {name} with {rows} resources ...");
        ours::fill(&growing.store, growing.count..rows).await?;
        growing.count = growing.count.max(rows);
        steps.push(growing.step(rows).await?);
    }
    growing.store.close().await.map_err(Error::Store)?;
    Ok(steps)
}

impl Growing {
    async fn step(&mut self, rows: u64) -> Result<Step, Error> {
        self.meter.settle().await?;
        for _ in 0..GROUPS_WARM_UP {
            let batch = self.next_updates().await?;
            self.commit(batch).await?;
        }
        let updates = self.cost(false).await?;
        let creates = self.cost(true).await?;
        Ok(Step { rows, updates, creates })
    }

    async fn cost(&mut self, is_create: bool) -> Result<Cost, Error> {
        let sequence = self.store.head().borrow().sequence;
        self.meter.start(sequence).await?;
        let mut times = Vec::new();
        for _ in 0..GROUPS {
            let batch = if is_create { self.next_creates() } else { self.next_updates().await? };
            times.push(self.commit(batch).await?.as_secs_f64() * 1e3);
            self.meter.committed()?;
        }
        let total = self.meter.stop().await?;
        let resources = (GROUPS * GROUP) as f64;
        let touched = Touched { rows: total.rows / resources, pages: total.pages / resources };
        Ok(Cost { touched, commit_ms: median(times) })
    }

    async fn commit(&self, batch: Batch) -> Result<Duration, Error> {
        let start = Instant::now();
        self.store.commit(batch).await.map_err(Error::Commit)?;
        Ok(start.elapsed())
    }

    fn next_creates(&mut self) -> Batch {
        let (head, is_readable) = (*self.store.head().borrow(), self.store.wants_readable());
        let numbers = self.count..self.count + GROUP;
        self.count = numbers.end;
        rows::together(numbers.map(|n| rows::create(n, head, is_readable)))
    }

    /// Updates of resources all over the store, as they are found now.
    async fn next_updates(&mut self) -> Result<Batch, Error> {
        let numbers: Vec<u64> =
            (self.updated..self.updated + GROUP).map(|n| scattered(n, self.count)).collect();
        self.updated += GROUP;
        let keys: Vec<Key> = numbers.iter().map(|n| rows::key(rows::make(*n, 1).name)).collect();
        let mut snapshot = self.store.snapshot().await.map_err(Error::Store)?;
        let found = snapshot.batch_get(&keys).await.map_err(Error::Store)?;
        drop(snapshot);
        let (version, is_readable) =
            (self.store.head().borrow().sequence + 1, self.store.wants_readable());
        let updates = numbers.iter().zip(found).map(|(number, found)| {
            let found = found.ok_or_else(|| Error::Wrong(format!("no row {number}")))?;
            Ok(rows::update(*number, found.version, version, is_readable))
        });
        Ok(rows::together(updates.collect::<Result<Vec<_>, Error>>()?))
    }
}

/// Memory of a process that does nothing but keep the store at `path`.
async fn resident(stage: &Stage, path: &Path) -> Result<Resident, Error> {
    eprintln!("bench: store: memory of a process with this store ...");
    let mut command = tokio::process::Command::new(stage.own_program());
    command.arg(resident::FLAG).arg(path).kill_on_drop(true);
    command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::inherit());
    let output = command.output().await.map_err(Error::io("run a process that keeps a store"))?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        Error::Wrong(format!("the process that keeps a store said no sizes: {error}"))
    })
}

fn growth_figures(store: &str, steps: &[Step], cache: &str) -> Vec<Figure> {
    let part = |what: &str, unit, goal, of: &dyn Fn(&Step) -> f64| {
        let values: Vec<f64> = steps.iter().map(of).collect();
        let (smallest, largest) = (values[0], values[values.len() - 1]);
        let all =
            steps.iter().zip(&values).map(|(step, value)| format!("{}: {value:.2}", step.rows));
        Figure::lower(format!("{store} {what}"), largest, unit)
            .limit(smallest)
            .goal(smallest * goal)
            .note(all.collect::<Vec<_>>().join(", "))
    };
    let pages = "pages/resource";
    vec![
        part("rows per update", "rows", GOAL_GROWTH, &|step| step.updates.touched.rows),
        part("pages per update", pages, GOAL_GROWTH, &|step| step.updates.touched.pages),
        part("time of 64 updates", "ms", GOAL_TIME_GROWTH, &|step| step.updates.commit_ms)
            .note(cache),
        part("rows per create", "rows", GOAL_GROWTH, &|step| step.creates.touched.rows),
        part("pages per create", pages, GOAL_GROWTH, &|step| step.creates.touched.pages),
        part("time of 64 creates", "ms", GOAL_TIME_GROWTH, &|step| step.creates.commit_ms)
            .note(cache),
    ]
}

fn memory_figure(resident: &Resident) -> Figure {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let caches =
        "caches: rows 64 MiB, writer's pages 64 MiB, each reader's 2 MiB, newest changes 32 MiB";
    Figure::lower("SQLite memory", mib(resident.written), "MiB")
        .limit(mib(resident.opened))
        .note(format!(
            "{} resources; opened {:.0}, all listed {:.0}, 300,000 read {:.0}, 20,000 created {:.0} MiB; {caches}",
            resident.rows,
            mib(resident.opened),
            mib(resident.listed),
            mib(resident.read),
            mib(resident.written),
        ))
}
