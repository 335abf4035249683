//! The suite on our own backends, and on backends with a fault each, where it has to fail.

mod embedded;

use std::sync::Mutex;

use super::faults::early::Early;
use super::faults::{Fault, Faulty, Step};
use super::*;
use crate::memory::{Memory, MemoryOptions};
use crate::observe::{Changed, CommitObserver, Observable};

fn memory(log: LogLength) -> Memory {
    let mut options = MemoryOptions::default();
    if log == LogLength::Short {
        options.log_changes_max = SHORT_LOG_CHANGES_MAX;
    }
    Memory::with_options(options)
}

/// Holds every commit up, a random moment, where its sequence is chosen and nobody sees it yet.
#[derive(Debug)]
struct Slow(Seams);

impl CommitObserver for Slow {
    fn before_visible(&self, _changed: &[Changed]) {
        let mut random = [0];
        self.0.random.fill(&mut random);
        // A thread of the backend is to be held up, not a task.
        std::thread::sleep(Duration::from_micros(2 * u64::from(random[0])));
    }

    fn after_visible(&self, _changed: &[Changed], _committed: bool) {}
}

/// The store, with every commit held up.
fn slowed<B: Observable>(store: B) -> B {
    store.observe(Arc::new(Slow(Seams::real())));
    store
}

async fn check(factory: impl Factory + 'static) {
    let failures = run_all(Arc::new(factory)).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

struct InMemory;

#[async_trait]
impl Factory for InMemory {
    async fn fresh(&self, log: LogLength) -> Arc<dyn Backend> {
        Arc::new(memory(log))
    }

    async fn reopen(&self, _store: Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        None
    }

    async fn slow(&self) -> Arc<dyn Backend> {
        Arc::new(slowed(memory(LogLength::Long)))
    }

    /// Itself: the best that two processes on one database can look like.
    async fn second(&self, store: &Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        Some(store.clone())
    }

    fn seams(&self) -> Seams {
        Seams::real()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms() {
    check(InMemory).await;
}

#[tokio::test]
async fn memory_conforms_on_one_thread() {
    check(InMemory).await;
}

type Journal = Box<dyn Fn() -> Vec<Step> + Send + Sync>;

struct WithFault {
    fault: Fault,
    /// What the newest store was told to do.
    journal: Mutex<Option<Journal>>,
}

#[async_trait]
impl Factory for WithFault {
    async fn fresh(&self, log: LogLength) -> Arc<dyn Backend> {
        if self.fault == Fault::NumbersBeforeCommit {
            return Arc::new(Early::new(Arc::new(memory(log)), self.seams()));
        }
        let store = Faulty::new(Arc::new(memory(log)), self.fault);
        *self.journal.lock().unwrap() = Some(Box::new(store.journal()));
        Arc::new(store)
    }

    /// A store that does again what the closed one did, except for what the fault forgets.
    async fn reopen(&self, _closed: Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        let mut journal = self.journal.lock().unwrap().take().map(|journal| journal())?;
        match self.fault {
            Fault::Forgets => journal.clear(),
            Fault::LosesTheLastCommit => drop(journal.pop()),
            Fault::ForgetsNewStarts => journal.retain(|step| matches!(step, Step::Commit(_))),
            _ => {}
        }
        let store = memory(LogLength::Long);
        for step in journal {
            match step {
                Step::Commit(batch) => drop(store.commit(batch).await),
                Step::StartAt(position) => drop(store.start_at(position).await),
            }
        }
        Some(Arc::new(store))
    }

    async fn second(&self, store: &Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        match self.fault {
            Fault::SecondIsAnother => Some(self.fresh(LogLength::Long).await),
            _ => Some(store.clone()),
        }
    }

    fn seams(&self) -> Seams {
        Seams::real()
    }

    fn patience(&self) -> Duration {
        // Only who waits for what never comes takes as long.
        Duration::from_secs(if self.fault == Fault::SecondIsDeaf { 1 } else { 20 })
    }
}

fn with(fault: Fault) -> Arc<dyn Factory> {
    Arc::new(WithFault { fault, journal: Mutex::default() })
}

/// Each fault fails the cases that are named with it, and each case fails with some fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_planted_fault_is_found_and_every_case_can_fail() {
    let mut unfailed: Vec<_> = CASES.iter().map(|case| case.name).collect();
    let mut unnoticed = Vec::new();
    for (fault, cases) in Fault::ALL {
        for case in *cases {
            match run_case(case, with(*fault)).await {
                Err(_) => unfailed.retain(|name| name != case),
                Ok(()) => unnoticed.push((fault, case)),
            }
        }
    }
    assert!(unnoticed.is_empty(), "faults that were not noticed: {unnoticed:#?}");
    assert_eq!(unfailed, Vec::<&str>::new(), "these cases have not been seen to fail");
}

/// Without a fault, the store that the faults are planted in does what it should, reopening included.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_under_the_faults_is_good() {
    // This fault shows only where a second process is asked for its head.
    let cases = CASES.iter().filter(|case| !case.name.contains("process"));
    for case in cases {
        case.run(with(Fault::SecondIsAnother)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_that_are_handed_out_before_the_commit_lose_changes() {
    let naive = with(Fault::NumbersBeforeCommit);
    let failure = run_case("no_change_is_missed_under_concurrent_writers", naive).await;
    let told = failure.unwrap_err().to_string();
    assert!(told.starts_with("a follower saw"), "{told}");
}

#[tokio::test]
async fn a_case_that_is_not_there_is_an_error() {
    assert!(run_case("no such case", with(Fault::Forgets)).await.is_err());
}
