//! The disk itself: how often one writer can write a page and flush it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Error;

const PAGE: [u8; 4096] = [7; 4096];
/// Pages of a file that is written over, from its beginning again when its end is reached.
const PAGES: u64 = 4_096;

/// Where pages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Behind the end of the file, whose new size has to be flushed, too.
    Behind,
    /// Over pages that the file has already, as in logs that are used again.
    Over,
}

/// Flushes per second over about `time`. Blocks.
pub(crate) fn flush_rate(path: &Path, place: Place, time: Duration) -> Result<f64, Error> {
    let failed = || format!("write {}", path.display());
    let file = File::create(path).map_err(Error::io(failed()))?;
    let write = |page: u64| file.write_all_at(&PAGE, page * PAGE.len() as u64);
    if place == Place::Over {
        (0..PAGES).try_for_each(write).map_err(Error::io(failed()))?;
        file.sync_all().map_err(Error::io(failed()))?;
    }
    let start = Instant::now();
    let mut flushes = 0;
    while start.elapsed() < time {
        let page = if place == Place::Over { flushes % PAGES } else { flushes };
        write(page).and_then(|()| file.sync_data()).map_err(Error::io(failed()))?;
        flushes += 1;
    }
    let rate = flushes as f64 / start.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path).map_err(Error::io(format!("remove {}", path.display())))?;
    Ok(rate)
}
