//! The process that is killed, and its batches.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bowline_base::Seams;
use bowline_store::{
    Backend, Batch, Condition, Extract, Index, Key, NameRange, Row, RowId, Sqlite, SqliteOptions,
    Table, Value, Write,
};
use std::collections::BTreeMap;

use crate::Failed;

/// Set in the process that writes: the path of the store.
pub(crate) const PATH: &str = "BOWLINE_CRASH_WRITER";

/// Set in the process that writes: pages between checkpoints.
const PAGES: &str = "BOWLINE_CRASH_PAGES";

pub(crate) const WRITERS: u64 = 12;

/// Which batch of which writer, and the sequence that it was acknowledged with.
pub(crate) type Acknowledged = BTreeMap<(u64, u64), u64>;

pub(crate) fn options(checkpoint_pages: u32) -> SqliteOptions {
    SqliteOptions { checkpoint_pages, group_batches_max: 8, ..SqliteOptions::default() }
}

pub(crate) fn key(kind: &str, name: String) -> Key {
    let table = Table { namespace: "v1".into(), kind: kind.into() };
    Key { table, name: name.into() }
}

pub(crate) fn name(writer: u64, n: u64) -> String {
    format!("w{writer:02}/{n:08}")
}

/// The index that has an entry for each first row.
pub(crate) fn index() -> Index {
    Index { namespace: "v1".into(), name: "by-writer".into() }
}

/// The three rows of one batch: two in the log, one internal. A body says whose it is, and is big enough to fill pages.
pub(crate) fn batch(writer: u64, n: u64) -> Batch {
    let row = Row::new(n + 1, format!("{writer} {n} ").repeat(60));
    let extract = Extract::builder()
        .field("n", Value::number(n))
        .entry(&index().name, Value::numbers(&[writer, n]));
    let id = RowId((u128::from(n + 1) << 64) | u128::from(writer));
    let first = key("First", name(writer, n));
    let (second, third) = (key("Second", name(writer, n)), key("~index", name(writer, n)));
    let indexed = Row { id, extract: extract.build(), ..row.clone() };
    let writes = vec![
        Write::put(first.clone(), indexed),
        Write::put(second, row.clone()),
        Write::put(third, row),
    ];
    Batch { conditions: vec![Condition::RowAbsent { key: first }], writes }
}

pub(crate) async fn write_until_killed(path: &Path) -> Result<(), Failed> {
    let pages = std::env::var(PAGES)?.parse()?;
    let store = Arc::new(Sqlite::open(path, options(pages), Seams::real())?);
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let range = NameRange::prefix(key("First", String::new()).table, &format!("w{writer:02}/"));
        let written = store.snapshot().await?.scan(&range, usize::MAX, false).await?.len() as u64;
        tasks.push(tokio::spawn(write(store.clone(), writer, written)));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn write(store: Arc<Sqlite>, writer: u64, from: u64) -> Result<(), Failed> {
    for n in from.. {
        let position = store.commit(batch(writer, n)).await?;
        let mut output = std::io::stdout().lock();
        writeln!(output, "{writer} {n} {} .", position.sequence)?;
        output.flush()?;
    }
    Ok(())
}

/// Runs a writer on the store at `path` for a while, and adds what it acknowledged.
pub(crate) fn write_and_kill(
    path: &Path,
    checkpoint_pages: u32,
    after: Duration,
    acknowledged: &mut Acknowledged,
) -> Result<(), Failed> {
    let mut writer = Command::new(std::env::current_exe()?)
        .env(PATH, path)
        .env(PAGES, checkpoint_pages.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = writer.stdout.take().ok_or("the writer has no output")?;
    let reading = std::thread::spawn(move || -> Vec<String> {
        // A last line without its end was not told completely, so nothing was promised.
        let mut lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        let lines: Vec<Vec<u8>> = lines.by_ref().collect();
        lines.into_iter().filter_map(|line| String::from_utf8(line).ok()).collect()
    });
    std::thread::sleep(after);
    writer.kill()?;
    writer.wait()?;
    let lines = reading.join().map_err(|_| "the reader of acknowledgements panicked")?;
    for line in lines {
        let numbers: Vec<u64> = line.split(' ').map_while(|n| n.parse().ok()).collect();
        // Each line ends with a dot, so that half a number is not taken for one.
        if let ([writer, n, sequence], true) = (numbers.as_slice(), line.ends_with(" .")) {
            acknowledged.insert((*writer, *n), *sequence);
        }
    }
    Ok(())
}
