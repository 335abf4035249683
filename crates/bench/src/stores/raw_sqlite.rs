//! The limit of the embedded store: the store's own measuring stick, SQLite with our tables and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bowline_base::Seams;
use bowline_store::baseline::{BaselineOptions, create_rows};

use crate::error::Error;
use crate::rows;

/// Rows of one flush at most, as in our store.
const GROUP_MAX: usize = 256;
/// Groups of the run that finds out how many fit into the time.
const GROUPS_TRIED: u64 = 30;

/// Rows per second, written for about `time` in full groups: the best that so many waiting clients can give.
///
/// `folder` is made and removed.
pub(crate) async fn create_rate(
    folder: PathBuf,
    clients: usize,
    time: Duration,
) -> Result<f64, Error> {
    let run = tokio::task::spawn_blocking(move || {
        let group = clients.min(GROUP_MAX) as u64;
        let tried = run(&folder, group * GROUPS_TRIED, group)?;
        let groups = (tried * time.as_secs_f64() / group as f64) as u64;
        run(&folder, groups.max(GROUPS_TRIED) * group, group)
    });
    run.await.expect("the raw store does not panic")
}

fn run(folder: &Path, rows: u64, group: u64) -> Result<f64, Error> {
    std::fs::create_dir_all(folder).map_err(Error::io("make the folder of the raw store"))?;
    let options = BaselineOptions { rows, group, with_log: true };
    let took = create_rows(&folder.join("raw.db"), options, &Seams::real(), |number| {
        let new = rows::make(number, number + 1);
        (new.name, new.row)
    });
    let took = took.map_err(Error::Raw)?;
    std::fs::remove_dir_all(folder).map_err(Error::io("remove the raw store"))?;
    Ok(rows as f64 / took.as_secs_f64())
}
