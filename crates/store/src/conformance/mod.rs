//! The suite that every backend passes: one case per promise of the contract. See [`CASES`], [`run_all`], [`run_case`].
//!
//! A case makes its own stores through a [`Factory`], uses nothing but the contract, and says in one sentence what is
//! wrong. A bug of a backend is written here first. Faults planted on purpose prove that the cases can fail.

mod anomalies;
mod build;
mod cases;
mod changes;
mod conditions;
mod eras;
mod extracts;
#[cfg(test)]
mod faults;
mod feed;
mod fields;
mod ids;
mod index_ranges;
mod index_scan;
mod isolation;
mod limits;
mod namespaces;
mod processes;
mod random;
mod restart;
mod scan;
mod stage;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::Seams;
use bowline_base::seams::BoxFuture;
use futures::future::Either;

use crate::conformance_cases;
use crate::contract::{Backend, CommitError, StoreError};

/// How long a change log a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLength {
    /// At least 10,000 changes.
    Long,
    /// At most [`SHORT_LOG_CHANGES_MAX`] after every commit; the excess may go with the commits that follow.
    Short,
}

/// See [`LogLength::Short`].
pub const SHORT_LOG_CHANGES_MAX: usize = 16;

/// Where the suite gets its stores from.
#[async_trait]
pub trait Factory: Send + Sync {
    /// A new, empty store.
    async fn fresh(&self, log: LogLength) -> Arc<dyn Backend>;

    /// The data of `store`, opened anew; the case has closed it. `None` if nothing outlives a store of this kind.
    async fn reopen(&self, store: Arc<dyn Backend>) -> Option<Arc<dyn Backend>>;

    /// A new, empty store whose commits pause for random moments where their sequence is chosen and nobody sees them yet,
    /// so that mistakes about the order of commits show; like [`Factory::fresh`] where that cannot be had.
    async fn slow(&self) -> Arc<dyn Backend> {
        self.fresh(LogLength::Long).await
    }

    /// The same data as another process opens it while `store` is open; `None` where only one process may.
    async fn second(&self, store: &Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        let _ = store;
        None
    }

    /// What concurrent parts of a case run on.
    fn seams(&self) -> Seams;

    /// A case that takes longer has failed: somebody waits for what never comes.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// What a case found wrong.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(format!("unexpected error: {}", bowline_base::chain(&error)))
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        Self(format!("unexpected error: {}", bowline_base::chain(&error)))
    }
}

type Verdict = Result<(), Failure>;

/// One promise, as a check.
pub struct Case {
    /// The promise, as a name.
    pub name: &'static str,
    check: fn(Arc<dyn Factory>) -> BoxFuture<Verdict>,
}

impl Case {
    /// Checks the promise on stores of `factory`.
    pub async fn run(&self, factory: Arc<dyn Factory>) -> Result<(), Failure> {
        let (seams, patience) = (factory.seams(), factory.patience());
        let deadline = seams.clock.sleep(patience);
        match futures::future::select((self.check)(factory), deadline).await {
            Either::Left((verdict, _)) => verdict,
            Either::Right(_) => Err(Failure(format!("it did not end within {patience:?}"))),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! cases {
    ($($module:ident: $($name:ident)*;)*) => {
        /// All cases, in the order in which a failure is easiest to understand.
        pub const CASES: &[Case] = &[$($(
            Case { name: stringify!($name), check: |factory| Box::pin($module::$name(factory)) },
        )*)*];
    };
}

conformance_cases!(cases);

/// Runs the case of this name, for test frameworks that want to show each of them.
pub async fn run_case(name: &str, factory: Arc<dyn Factory>) -> Result<(), Failure> {
    match CASES.iter().find(|case| case.name == name) {
        Some(case) => case.run(factory).await,
        None => Err(Failure(format!("there is no case {name:?}"))),
    }
}

/// Runs all cases and answers those that failed, with their names.
pub async fn run_all(factory: Arc<dyn Factory>) -> Vec<(&'static str, Failure)> {
    let mut failures = Vec::new();
    for case in CASES {
        if let Err(failure) = case.run(factory.clone()).await {
            failures.push((case.name, failure));
        }
    }
    failures
}

/// Fails the case unless `holds`.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Failure(what())) }
}

/// Fails the case unless both are the same.
fn ensure_same<T: PartialEq + fmt::Debug>(what: &str, found: T, expected: T) -> Verdict {
    ensure(found == expected, || {
        let (found, expected) = (short(&found), short(&expected));
        format!("{what}: found {found}, expected {expected}")
    })
}

/// Long values make unreadable failures.
fn short(value: &impl fmt::Debug) -> String {
    const CHARS_MAX: usize = 600;
    let text = format!("{value:?}");
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Runs all `parts` at the same time, as tasks of their own, and answers in their order. None begins before all are there.
async fn together<T: Send + 'static>(
    seams: &Seams,
    parts: impl IntoIterator<Item = BoxFuture<T>>,
) -> Result<Vec<T>, Failure> {
    let parts: Vec<_> = parts.into_iter().collect();
    let start = Arc::new(tokio::sync::Barrier::new(parts.len()));
    let begin = |part: BoxFuture<T>| {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let start = start.clone();
        let task = async move {
            start.wait().await;
            drop(sender.send(part.await));
        };
        seams.tasks.spawn("conformance", Box::pin(task));
        receiver
    };
    futures::future::try_join_all(parts.into_iter().map(begin))
        .await
        .map_err(|_| Failure::new("a concurrent part of the case panicked"))
}
