//! How many durable creates a second, and how fast each, beside the bare SQLite loop with the same rows.
//!
//! `cargo run --release -p bowline-store --example rate [FOLDER] [ROWS] [CHECKPOINT_PAGES] [CREATES_PER_SECOND]`
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::disallowed_methods, reason = "it measures with the real clock and tasks")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bowline_base::Seams;
use bowline_store::baseline::{BaselineOptions, create_rows};
use bowline_store::{
    Backend, Batch, CacheOptions, Cached, Condition, Extract, Key, Row, RowId, Sqlite,
    SqliteOptions, Table, Value, Write,
};
use hdrhistogram::Histogram;

type Failed = Box<dyn std::error::Error + Send + Sync>;

const BODY_BYTES: usize = 300;

/// Microseconds of processor time that threads of this process have used, where the system tells; `name`: only those.
///
/// On a busy machine this says more than rates do.
fn cpu_micros(name: Option<&str>) -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let used = tasks.flatten().filter_map(|task| {
        let comm = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let used = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos: f64 = used.split(' ').next()?.parse().ok()?;
        name.is_none_or(|name| comm.trim() == name).then_some(nanos / 1000.0)
    });
    used.sum()
}

fn main() -> Result<(), Failed> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().unwrap_or_else(|| "target/rate".to_owned()));
    let rows: u64 = args.next().map_or(Ok(60_000), |n| n.parse())?;
    let mut options = SqliteOptions::default();
    if let Some(pages) = args.next() {
        options.checkpoint_pages = pages.parse()?;
    }
    std::fs::create_dir_all(&folder)?;
    let probe = Probe { folder: folder.clone(), options };
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some(rate) = args.next() {
        let times = runtime.block_on(open_loop(&probe, rows, rate.parse()?))?;
        println!("at {rate}/s: {}", quantiles(&times));
        return Ok(());
    }
    for (clients, rows) in [(1, rows / 20), (64, rows), (256, rows)] {
        let raw = raw(&folder, rows, clients, true)?;
        let bare = raw_rate(&folder, rows, clients)?;
        println!("{clients:>4} clients: bare loop {raw:>7.0}/s (without log {bare:>7.0}/s)");
        let store = runtime.block_on(all_work(&probe, rows, clients))?;
        println!("      create against the bare loop: {:.2}", store / raw);
        if clients == 256 {
            let rate = store * 0.7;
            let times = runtime.block_on(open_loop(&probe, rows, rate))?;
            println!("at 70 % of that ({rate:.0}/s): {}", quantiles(&times));
        }
    }
    runtime.block_on(reads(&probe))
}

fn raw_rate(folder: &Path, rows: u64, clients: u64) -> Result<f64, Failed> {
    raw(folder, rows, clients, false)
}

fn raw(folder: &Path, rows: u64, group: u64, with_log: bool) -> Result<f64, Failed> {
    let path = fresh(folder, "raw.db");
    let options = BaselineOptions { rows, group, with_log };
    let cpu = cpu_micros(None);
    let time = create_rows(&path, options, &Seams::real(), |n| (name(n), row(n, 1, n)))?;
    println!(
        "      bare loop: {:.1} us of processor per row",
        (cpu_micros(None) - cpu) / rows as f64
    );
    Ok(rows as f64 / time.as_secs_f64())
}

/// A path at which there is no store.
fn fresh(folder: &Path, name: &str) -> PathBuf {
    for end in ["", "-wal", "-shm", ".lock"] {
        // It need not be there.
        let _ = std::fs::remove_file(folder.join(format!("{name}{end}")));
    }
    folder.join(name)
}

fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Names in random order, as ids that people or machines choose are.
fn name(n: u64) -> String {
    format!("projects/p{}/devices/{:016x}", n % 100, mixed(n + 1))
}

/// A row with an id that rises, a field and two index entries: one of few values, and one of its own.
fn row(n: u64, version: u64, color: u64) -> Row {
    let body: Vec<u8> =
        (0..BODY_BYTES as u64 / 8).flat_map(|at| mixed(n * 1000 + at).to_le_bytes()).collect();
    let extract = Extract::builder()
        .field("lifecycle", Value::number(1))
        .entry("by-color", Value::numbers(&[color % 20]))
        .entry("by-serial", Value::numbers(&[mixed(n + 7), 1]));
    let id = RowId((u128::from(n + 1) << 64) | u128::from(mixed(n)));
    Row { id, extract: extract.build(), ..Row::new(version, body) }
}

fn key(n: u64) -> Key {
    let table = Table { namespace: "v1".into(), kind: "devices.example.com/Device".into() };
    Key { table, name: name(n).into() }
}

/// What clients do to row after row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Create,
    /// The entries stay as they are.
    Update,
    /// One of two entries becomes another one.
    UpdateEntry,
}

impl Work {
    fn batch(self, n: u64) -> Batch {
        let key = key(n);
        let (condition, row) = match self {
            Self::Create => (Condition::RowAbsent { key: key.clone() }, row(n, 1, n)),
            Self::Update => (Condition::RowAt { key: key.clone(), version: 1 }, row(n, 2, n)),
            Self::UpdateEntry => {
                (Condition::RowAt { key: key.clone(), version: 2 }, row(n, 3, n + 1))
            }
        };
        Batch { conditions: vec![condition], writes: vec![Write::put(key, row)] }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::UpdateEntry => "update an entry",
        }
    }
}

/// Where and how stores are opened.
struct Probe {
    folder: PathBuf,
    options: SqliteOptions,
}

impl Probe {
    fn open(&self, name: &str) -> Result<Arc<Cached<Sqlite>>, Failed> {
        let path = fresh(&self.folder, name);
        let store = Sqlite::open(path, self.options.clone(), Seams::real())?;
        Ok(Arc::new(Cached::new(store, CacheOptions::default())))
    }
}

fn times() -> Result<Histogram<u64>, Failed> {
    Ok(Histogram::new(3)?)
}

/// All kinds of work on one store, and the rate of the creates.
async fn all_work(probe: &Probe, rows: u64, clients: u64) -> Result<f64, Failed> {
    let store = probe.open("store.db")?;
    let mut creates = 0.0;
    for work in [Work::Create, Work::Update, Work::UpdateEntry] {
        let (rate, times) = closed_loop(&store, work, rows, clients).await?;
        println!("      {} {rate:>7.0}/s  {}", work.name(), quantiles(&times));
        if work == Work::Create {
            creates = rate;
        }
    }
    store.close().await?;
    Ok(creates)
}

/// Each client takes its next row when it is done with the last one.
async fn closed_loop(
    store: &Arc<Cached<Sqlite>>,
    work: Work,
    rows: u64,
    clients: u64,
) -> Result<(f64, Histogram<u64>), Failed> {
    let next = Arc::new(AtomicU64::new(0));
    let (begun, cpu) = (Instant::now(), cpu_micros(None));
    let writer = cpu_micros(Some("store-writer"));
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (store, next) = (store.clone(), next.clone());
            tokio::spawn(async move {
                let mut times = times()?;
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= rows {
                        return Ok::<_, Failed>(times);
                    }
                    let begun = Instant::now();
                    store.commit(work.batch(n)).await?;
                    times.record(micros(begun.elapsed()))?;
                }
            })
        })
        .collect();
    let mut all = times()?;
    for task in tasks {
        all.add(task.await??)?;
    }
    let rate = rows as f64 / begun.elapsed().as_secs_f64();
    println!(
        "      {:.1} us of processor per row, {:.1} of them the writer's",
        (cpu_micros(None) - cpu) / rows as f64,
        (cpu_micros(Some("store-writer")) - writer) / rows as f64
    );
    Ok((rate, all))
}

/// Creates start at a fixed rate, whether or not earlier ones are done; waiting to start counts.
async fn open_loop(probe: &Probe, rows: u64, rate: f64) -> Result<Histogram<u64>, Failed> {
    let store = probe.open("paced.db")?;
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for n in 0..rows {
        let due = begun + Duration::from_secs_f64(n as f64 / rate);
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            store.commit(Work::Create.batch(n)).await?;
            Ok::<_, Failed>(due.elapsed())
        }));
    }
    let mut all = times()?;
    for task in tasks {
        all.record(micros(task.await??))?;
    }
    store.close().await?;
    Ok(all)
}

/// Gets that miss and gets that hit the cache.
async fn reads(probe: &Probe) -> Result<(), Failed> {
    const ROWS: u64 = 5_000;
    let store = probe.open("reads.db")?;
    futures::future::try_join_all((0..ROWS).map(|n| store.commit(Work::Create.batch(n)))).await?;
    for what in ["miss", "hit"] {
        let begun = Instant::now();
        for n in 0..ROWS {
            store.get(&key(n)).await?;
        }
        println!("get, {what}: {:.2} us", begun.elapsed().as_secs_f64() * 1e6 / ROWS as f64);
    }
    let keys: Vec<_> = (0..ROWS).map(key).collect();
    let begun = Instant::now();
    let found = keys.iter().filter(|key| store.cached(&key.table, &key.name).is_some()).count();
    let each = begun.elapsed().as_secs_f64() * 1e6 / ROWS as f64;
    println!("cached: {each:.2} us, {found} of {ROWS} found");
    store.close().await?;
    Ok(())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn quantiles(times: &Histogram<u64>) -> String {
    let at = |q| times.value_at_quantile(q) as f64 / 1000.0;
    format!(
        "p50 {:.1} ms  p99 {:.1} ms  p99.9 {:.1} ms  max {:.1} ms",
        at(0.5),
        at(0.99),
        at(0.999),
        times.max() as f64 / 1000.0
    )
}
