//! Lists of 100,000 rows, whole and narrowed by an index, beside the bare statements that read the same rows.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_store::{
    Backend, Index, IndexCursor, IndexRange, NameRange, Snapshot, SqliteOptions, Value,
};

use crate::error::Error;
use crate::options::Options;
use crate::report::{Figure, median};
use crate::rows;
use crate::stage::Stage;
use crate::stores::ours;
use crate::stores::postgres::Postgres;

const ROWS: u64 = 100_000;
const PAGE: usize = 1_000;
/// What filters ask for.
const SITE: u64 = 42;
const MODEL: u64 = 4;

/// In the order of the primary key, which both stores have.
const RAW_SQLITE: &str =
    "SELECT name, id, version, body, aside, extract FROM rows ORDER BY space, kind, name";
const RAW_POSTGRES: &str =
    "SELECT name, id, version, body, aside, extracted FROM rows ORDER BY space, kind, name";

/// Times in milliseconds, one per round.
#[derive(Default)]
struct Times {
    whole: Vec<f64>,
    raw: Vec<f64>,
    /// One row of a hundred.
    site: Narrowed,
    /// One row of ten.
    model: Narrowed,
}

#[derive(Default)]
struct Narrowed {
    by_index: Vec<f64>,
    by_reading_all: Vec<f64>,
    found: usize,
}

pub(super) async fn run(
    stage: &Stage,
    postgres: &Postgres,
    options: &Options,
) -> Result<Vec<Figure>, Error> {
    eprintln!("bench: store: lists of {ROWS} rows ...");
    let path = stage.write("lists/empty", &[])?.with_file_name("store.db");
    let sqlite = ours::open_sqlite(&path, SqliteOptions::default())?;
    ours::fill(&sqlite, 0..ROWS).await?;
    let in_postgres = postgres.open_store(|_| {}).await?;
    ours::fill(&in_postgres, 0..ROWS).await?;
    postgres.analyze().await?;
    let (mut embedded, mut server) = (Times::default(), Times::default());
    // The first round warms up.
    for _ in 0..=options.rounds {
        embedded.raw.push(ms(raw_sqlite(&path).await?));
        measure(&sqlite, &mut embedded).await?;
        server.raw.push(ms(raw_postgres(postgres).await?));
        measure(&in_postgres, &mut server).await?;
    }
    for store in [sqlite, in_postgres] {
        store.close().await.map_err(Error::Store)?;
    }
    stage.remove("lists")?;
    postgres.drop_store().await?;
    Ok([figures("SQLite", &embedded), figures("PostgreSQL", &server)].concat())
}

async fn measure(store: &Arc<dyn Backend>, times: &mut Times) -> Result<(), Error> {
    let mut snapshot = store.snapshot().await.map_err(Error::Store)?;
    let (took, found) = scan(&mut *snapshot, |_| true).await?;
    check_count("rows", found, ROWS as usize)?;
    times.whole.push(ms(took));
    let (site, model) = (rows::site(SITE), rows::model(MODEL));
    times.site.measure(&mut *snapshot, rows::BY_SITE, &site).await?;
    times.model.measure(&mut *snapshot, rows::BY_MODEL, &model).await
}

impl Narrowed {
    async fn measure(
        &mut self,
        snapshot: &mut dyn Snapshot,
        index: &str,
        value: &str,
    ) -> Result<(), Error> {
        let value = Value::text(value);
        let (took, found) = scan_index(snapshot, index, &value).await?;
        self.by_index.push(ms(took));
        let has_value = |row: &bowline_store::Row| {
            row.extract.entries().any(|entry| entry.index == index && entry.value == value)
        };
        let (took, expected) = scan(snapshot, has_value).await?;
        self.by_reading_all.push(ms(took));
        self.found = found;
        check_count("rows by index", found, expected)
    }
}

/// Reads all rows in pages and counts those that `is_wanted`.
async fn scan(
    snapshot: &mut dyn Snapshot,
    is_wanted: impl Fn(&bowline_store::Row) -> bool,
) -> Result<(Duration, usize), Error> {
    let start = Instant::now();
    let (mut range, mut found) = (NameRange::all(rows::table()), 0);
    loop {
        let page = snapshot.scan(&range, PAGE, false).await.map_err(Error::Store)?;
        found += page.iter().filter(|(_, row)| is_wanted(row)).count();
        match page.last() {
            Some((name, _)) if page.len() == PAGE => range.from = format!("{name}\0"),
            _ => return Ok((start.elapsed(), found)),
        }
    }
}

async fn scan_index(
    snapshot: &mut dyn Snapshot,
    index: &str,
    value: &Value,
) -> Result<(Duration, usize), Error> {
    let start = Instant::now();
    let index = Index { namespace: rows::table().namespace, name: index.into() };
    let range = IndexRange::exactly(index, value.clone());
    let (mut after, mut found) = (None::<IndexCursor>, 0);
    loop {
        let page = snapshot.scan_index(&range, after.as_ref(), PAGE, false).await;
        let page = page.map_err(Error::Store)?;
        found += page.len();
        match page.last() {
            Some(hit) if page.len() == PAGE => {
                let (kind, name) = (hit.key.table.kind.clone(), hit.key.name.clone());
                after = Some(IndexCursor { value: hit.value.clone(), kind, name });
            }
            _ => return Ok((start.elapsed(), found)),
        }
    }
}

/// The same rows by one statement; each column is looked at, none is copied.
async fn raw_sqlite(path: &Path) -> Result<Duration, Error> {
    let path = path.to_owned();
    let run = tokio::task::spawn_blocking(move || -> rusqlite::Result<_> {
        let connection = rusqlite::Connection::open(path)?;
        let mut statement = connection.prepare(RAW_SQLITE)?;
        let columns = statement.column_count();
        let (start, mut found) = (Instant::now(), 0);
        let mut answer = statement.query([])?;
        while let Some(row) = answer.next()? {
            for column in 0..columns {
                std::hint::black_box(row.get_ref(column)?);
            }
            found += 1;
        }
        Ok((start.elapsed(), found))
    });
    let run = run.await.expect("reading does not panic");
    let (took, found) = run.map_err(Error::Sqlite)?;
    check_count("raw rows", found, ROWS as usize).map(|()| took)
}

async fn raw_postgres(postgres: &Postgres) -> Result<Duration, Error> {
    let client = postgres.connect_to_store().await?;
    let statement = client.prepare(RAW_POSTGRES).await.map_err(Error::Postgres)?;
    let start = Instant::now();
    let found = client.query(&statement, &[]).await.map_err(Error::Postgres)?;
    let took = start.elapsed();
    check_count("raw rows", found.len(), ROWS as usize).map(|()| took)
}

fn check_count(what: &str, found: usize, expected: usize) -> Result<(), Error> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::Wrong(format!("{found} {what}, not {expected}"))),
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn figures(store: &str, times: &Times) -> Vec<Figure> {
    let after_warm_up = |times: &[f64]| median(times.iter().skip(1).copied());
    let narrowed = |name: &str, times: &Narrowed| {
        Figure::lower(
            format!("{store} list, {name}, by index"),
            after_warm_up(&times.by_index),
            "ms",
        )
        .limit(after_warm_up(&times.by_reading_all))
        .note(format!("{} rows; limit: reading all rows", times.found))
    };
    vec![
        Figure::lower(format!("{store} list of 100,000"), after_warm_up(&times.whole), "ms")
            .limit(after_warm_up(&times.raw))
            .note(format!("pages of {PAGE}; limit: one bare SELECT")),
        narrowed("1 %", &times.site),
        narrowed("10 %", &times.model),
    ]
}
