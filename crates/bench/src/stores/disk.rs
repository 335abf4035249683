//! The disk itself: how often a page can be appended to a file and flushed by one writer.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Error;

const PAGE: [u8; 4096] = [7; 4096];

/// Flushes per second over about `time`. Blocks.
pub(crate) fn flush_rate(path: &Path, time: Duration) -> Result<f64, Error> {
    let failed = || format!("write {}", path.display());
    let mut file = File::create(path).map_err(Error::io(failed()))?;
    let start = Instant::now();
    let mut flushes = 0;
    while start.elapsed() < time {
        file.write_all(&PAGE).map_err(Error::io(failed()))?;
        file.sync_data().map_err(Error::io(failed()))?;
        flushes += 1;
    }
    let rate = f64::from(flushes) / start.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path).map_err(Error::io(format!("remove {}", path.display())))?;
    Ok(rate)
}
