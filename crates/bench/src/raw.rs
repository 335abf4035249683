//! The limit of `create`: the store's own measuring stick, SQLite with our tables and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use bowline_base::Seams;
use bowline_store::Row;
use bowline_store::baseline::{BaselineOptions, create_rows};
use bytes::Bytes;

use crate::error::Error;
use crate::item::{self, PROJECT};
use crate::process::own_cpu;
use crate::rows;
use crate::stage::Stage;

/// Rows of the run that finds out how many fit into the time.
const ROWS_TRIED: u64 = 4_000;
const ROWS_MAX: u64 = 2_000_000;
/// Rows of one flush at most, as in our store.
const GROUP_MAX: usize = 256;

/// What the raw store does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub(crate) rows_per_second: f64,
    /// CPU time per row, in microseconds.
    pub(crate) cpu: f64,
}

/// Rows per second that are written in groups of as many rows as there are clients, for about `time`.
///
/// Full groups are the best that so many waiting clients can give.
pub(crate) async fn rate(
    stage: &Stage,
    body: &Bytes,
    clients: usize,
    time: Duration,
) -> Result<Raw, Error> {
    let group = clients.min(GROUP_MAX) as u64;
    let tried =
        run(stage, body, BaselineOptions { rows: ROWS_TRIED, group, with_log: true }).await?;
    let rows = ((tried.rows_per_second * time.as_secs_f64()) as u64).clamp(ROWS_TRIED, ROWS_MAX);
    run(stage, body, BaselineOptions { rows, group, with_log: true }).await
}

/// One run on a new file, which is removed afterwards.
async fn run(stage: &Stage, body: &Bytes, options: BaselineOptions) -> Result<Raw, Error> {
    let path: PathBuf = stage.write("raw/empty", &[])?.with_file_name("raw.db");
    let body = body.clone();
    // Nothing else happens in this process meanwhile.
    let cpu = own_cpu()?;
    let took = tokio::task::spawn_blocking(move || {
        create_rows(&path, options, &Seams::real(), |n| {
            let row = Row { id: rows::id(n), ..Row::new(n + 1, body.clone()) };
            (item::name(PROJECT, n), row)
        })
    });
    let took = took.await.expect("the raw store does not panic").map_err(Error::Raw)?;
    let cpu = own_cpu()? - cpu;
    stage.remove("raw")?;
    let rows = options.rows as f64;
    Ok(Raw { rows_per_second: rows / took.as_secs_f64(), cpu: cpu.as_secs_f64() * 1e6 / rows })
}
