//! Writers that keep a ledger of what was acknowledged, readers that follow the change feed, and what must be true of both
//! when servers were killed meanwhile. Works on any backend; made of `writer`, `reader` and `verdict`.

pub(crate) mod faulty;
pub(crate) mod reader;
pub(crate) mod verdict;
pub(crate) mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bowline_store::{Backend, Batch, Extract, Key, Position, Row, StoreError, Table, Value, Write};

use self::reader::Reader;
use self::verdict::Verdict;
use self::writer::Ledger;

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The kinds of one commit's rows: they are written together, always.
pub(crate) const KINDS: [&str; 2] = ["First", "Second"];

/// Errors that were seen and allowed, by kind.
pub(crate) type Errors = BTreeMap<String, u64>;

pub(crate) fn key(kind: &str, name: &str) -> Key {
    let table = Table { namespace: "v1".into(), kind: kind.into() };
    Key { table, name: name.into() }
}

/// A row that every commit requires to be as it is.
pub(crate) fn policy() -> Key {
    key("Policy", "p")
}

/// Many writers and some readers at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    writers: Vec<tokio::task::JoinHandle<Ledger>>,
    readers: Vec<Reader>,
    judge: Arc<dyn Backend>,
}

/// What the writers look at between two commits.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) stop: AtomicBool,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) asking: AtomicU64,
}

impl Load {
    /// Starts `writers` writers, spread over `backends`, and a reader on each of `backends`.
    pub(crate) async fn start(backends: &[Arc<dyn Backend>], writers: usize) -> Self {
        let judge = backends[0].clone();
        let extract = Extract::builder().field("state", Value::text("on")).build();
        let row = Row { extract, ..Row::new(1, "policy") };
        let put = Write::put(policy(), row);
        let start = judge.commit(Batch { conditions: vec![], writes: vec![put] }).await.unwrap();
        let shared = Arc::new(Shared::default());
        let readers =
            backends.iter().map(|backend| Reader::start(backend.clone(), start)).collect();
        let writer = |n: usize| {
            let backend = backends[n % backends.len()].clone();
            tokio::spawn(writer::write(backend, n as u64, shared.clone()))
        };
        let writers = (0..writers).map(writer).collect();
        Self { shared: shared.clone(), writers, readers, judge }
    }

    /// Commits that were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits for so many more acknowledged commits.
    pub(crate) async fn more(&self, commits: u64) {
        let goal = self.acknowledged() + commits;
        self.wait("more acknowledged commits", goal, &self.shared.acknowledged).await;
    }

    /// Waits until all writers ask what became of a commit that was not answered.
    pub(crate) async fn nobody_is_answered(&self) {
        self.wait("writers without an answer", self.writers.len() as u64, &self.shared.asking)
            .await;
    }

    async fn wait(&self, what: &str, goal: u64, counter: &AtomicU64) {
        let reached = || {
            // A dead writer fails the test in the end; until then there is nothing to wait for.
            let dead = self.writers.iter().any(tokio::task::JoinHandle::is_finished);
            let is_there = counter.load(Ordering::SeqCst) >= goal || dead;
            async move { is_there.then_some(()) }
        };
        bowline_testkit::eventually(what, PATIENCE, reached).await.unwrap();
    }

    /// Lets the writers finish and the readers catch up, and compares what they know with what is there.
    pub(crate) async fn finish(self) -> Verdict {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut ledgers = Vec::new();
        for writer in self.writers {
            let ledger = tokio::time::timeout(PATIENCE, writer).await;
            ledgers.push(ledger.expect("a writer hangs").unwrap());
        }
        let (state, position) = state(&*self.judge).await;
        let mut feeds = Vec::new();
        for reader in self.readers {
            feeds.push(reader.read_to(position).await);
        }
        Verdict { ledgers, feeds, state }
    }
}

/// All rows that the writers wrote: version by name, for each kind.
async fn state(backend: &dyn Backend) -> ([BTreeMap<String, u64>; 2], Position) {
    let mut snapshot = backend.snapshot().await.unwrap();
    let mut state = <[BTreeMap<String, u64>; 2]>::default();
    for (kind, rows) in KINDS.iter().zip(&mut state) {
        let all = bowline_store::NameRange::all(key(kind, "").table);
        let found = snapshot.scan(&all, usize::MAX, false).await.unwrap();
        rows.extend(found.into_iter().map(|(name, row)| (name.to_string(), row.version)));
    }
    (state, snapshot.position())
}

/// Counts an error that a killed server may cause; every other one fails the test.
pub(crate) fn allow(errors: &mut Errors, error: &StoreError) {
    let text = bowline_base::chain(error).to_string();
    assert!(matches!(error, StoreError::Unavailable(_)), "no client can retry this: {text}");
    *errors.entry(text).or_default() += 1;
}
