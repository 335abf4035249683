//! Kills a process that writes, again and again, at random moments; opens what it left and looks for what it promised.
//!
//! Runs itself as the process to kill, so it has a `main` of its own. A kill loses nothing that was handed to the operating
//! system; that commits are flushed to the disk as well is a setting, which a test of the backend checks.
#![expect(
    clippy::print_stdout,
    reason = "the writer tells its acknowledgements on standard output"
)]
#![expect(clippy::disallowed_methods, reason = "real processes, tasks and waiting are the subject")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bowline_base::Seams;
use bowline_store::{
    Backend, Batch, Change, Changes, Condition, Key, NameRange, Position, Row, Sqlite,
    SqliteOptions, Table, Write,
};
use bytes::Bytes;

/// Set in the process that writes: the path of the store.
const WRITER: &str = "BOWLINE_CRASH_WRITER";

const ROUNDS: u64 = 25;
const WRITERS: u64 = 12;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    if std::env::args().any(|argument| argument == "--list") {
        // Runners ask for the tests of a binary before they run them; none of them is an ignored one.
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("acknowledged_commits_survive_sigkill: test");
        }
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some(path) = std::env::var_os(WRITER) {
        return runtime.block_on(write_until_killed(Path::new(&path)));
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("crash.db");
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        write_and_kill(&path, random_millis(), &mut acknowledged)?;
        let found = runtime.block_on(Found::read(&path))?;
        found.check(&acknowledged).map_err(|wrong| format!("round {round}: {wrong}"))?;
    }
    let enough = acknowledged.len() as u64 > ROUNDS * WRITERS;
    assert!(enough, "only {} commits were acknowledged: nothing was tested", acknowledged.len());
    runtime.block_on(a_broken_promise_would_be_noticed(&path, &acknowledged))?;
    println!("crash: {ROUNDS} kills, {} acknowledged commits kept", acknowledged.len());
    Ok(())
}

/// Which batch of which writer, and the sequence that it was acknowledged with.
type Acknowledged = BTreeMap<(u64, u64), u64>;

/// How long a writer lives: sometimes hardly, so that it dies while it recovers.
fn random_millis() -> Duration {
    let mut random = [0; 1];
    Seams::real().random.fill(&mut random);
    Duration::from_millis(20 + u64::from(random[0]))
}

fn write_and_kill(
    path: &Path,
    after: Duration,
    acknowledged: &mut Acknowledged,
) -> Result<(), Failed> {
    let mut writer =
        Command::new(std::env::current_exe()?).env(WRITER, path).stdout(Stdio::piped()).spawn()?;
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

fn options() -> SqliteOptions {
    // Checkpoints all the time, so that many kills fall into one.
    SqliteOptions { checkpoint_pages: 20, group_batches_max: 8, ..SqliteOptions::default() }
}

fn key(kind: &str, name: String) -> Key {
    let table = Table { namespace: "v1".into(), kind: kind.into() };
    Key { table, name: name.into() }
}

/// The three rows of one batch: two in the log, one internal. A body says whose it is, and is big enough to fill pages.
fn batch(writer: u64, n: u64) -> Batch {
    let row = Row {
        version: n + 1,
        body: Bytes::from(format!("{writer} {n} ").repeat(60)),
        aside: Bytes::new(),
    };
    let name = format!("w{writer:02}/{n:08}");
    let first = key("First", name.clone());
    let keys = [first.clone(), key("Second", name.clone()), key("~index", name)];
    let puts = keys.into_iter().map(|key| Write::Put { key, row: row.clone() });
    Batch { conditions: vec![Condition::RowAbsent { key: first }], writes: puts.collect() }
}

async fn write_until_killed(path: &Path) -> Result<(), Failed> {
    let store = Arc::new(Sqlite::open(path, options(), Seams::real())?);
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

/// What a killed writer left.
struct Found {
    head: Position,
    /// Names and versions by table.
    rows: [BTreeMap<String, u64>; 3],
    changes: Vec<Arc<Change>>,
}

impl Found {
    async fn read(path: &Path) -> Result<Self, Failed> {
        let store = Sqlite::open(path, options(), Seams::real())?;
        let head = *store.head().borrow();
        let mut rows = <[BTreeMap<String, u64>; 3]>::default();
        let mut snapshot = store.snapshot().await?;
        for (rows, kind) in rows.iter_mut().zip(["First", "Second", "~index"]) {
            let all = NameRange::all(key(kind, String::new()).table);
            let found = snapshot.scan(&all, usize::MAX, false).await?;
            rows.extend(found.into_iter().map(|(name, row)| (name.to_string(), row.version)));
        }
        drop(snapshot);
        let changes = read_log(&store).await?;
        store.close().await?;
        Ok(Self { head, rows, changes })
    }

    /// Nothing acknowledged is missing, nothing is half there, and the log tells the same.
    fn check(&self, acknowledged: &Acknowledged) -> Result<(), String> {
        let [first, second, index] = &self.rows;
        for ((writer, n), sequence) in acknowledged {
            let name = format!("w{writer:02}/{n:08}");
            if first.get(&name) != Some(&(n + 1)) {
                return Err(format!("{name} was acknowledged at {sequence} and is not there"));
            }
            if *sequence > self.head.sequence {
                return Err(format!("{name} has sequence {sequence}, the head is {:?}", self.head));
            }
        }
        if first != second || first != index {
            return Err("some batch is half there".to_owned());
        }
        self.check_log(acknowledged)
    }

    fn check_log(&self, acknowledged: &Acknowledged) -> Result<(), String> {
        let mut commits: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for change in &self.changes {
            commits.entry(change.position.sequence).or_default().push(&change.key.name);
        }
        for names in commits.values() {
            let is_whole = matches!(names.as_slice(), [one, other] if one == other);
            if !is_whole {
                return Err(format!("the log has a commit that changes {names:?}"));
            }
        }
        for ((writer, n), sequence) in acknowledged {
            let name = format!("w{writer:02}/{n:08}");
            if commits.get(sequence).and_then(|names| names.first()) != Some(&name.as_str()) {
                return Err(format!("the log does not tell {name} at {sequence}"));
            }
        }
        if commits.len() != self.rows[0].len() {
            return Err(format!("{} rows, {} commits", self.rows[0].len(), commits.len()));
        }
        Ok(())
    }
}

async fn read_log(store: &Sqlite) -> Result<Vec<Arc<Change>>, Failed> {
    let (mut all, mut from) = (Vec::new(), Position::default());
    loop {
        let Changes::Page { changes, next, at_head } = store.changes(from, 1000).await? else {
            return Err("the log does not reach back to the beginning".into());
        };
        all.extend(changes);
        from = next;
        if at_head {
            return Ok(all);
        }
    }
}

/// The checks above must be able to fail.
async fn a_broken_promise_would_be_noticed(
    path: &Path,
    acknowledged: &Acknowledged,
) -> Result<(), Failed> {
    let mut found = Found::read(path).await?;
    let never_written = BTreeMap::from([((0, u64::MAX - 1), 1)]);
    assert!(found.check(&never_written).is_err(), "a missing write is not noticed");
    let lost = found.rows[2].pop_first();
    assert!(found.check(acknowledged).is_err(), "half a batch is not noticed");
    found.rows[2].extend(lost);
    found.check(acknowledged)?;
    found.changes.pop();
    assert!(found.check(acknowledged).is_err(), "a torn log is not noticed");
    Ok(())
}
