//! The suite that every backend passes: one case per promise of the contract. See [`CASES`] and [`run_all`].
//!
//! A case makes its own stores through a [`Factory`], uses nothing but the contract, and says in one sentence what is
//! wrong. A bug of a backend is written here first. Faults planted on purpose prove that the cases can fail.

mod build;
mod changes;
mod conditions;
#[cfg(test)]
mod faults;
mod isolation;
mod random;
mod restart;
mod scan;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::Seams;
use bowline_base::seams::BoxFuture;

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

    /// What concurrent parts of a case run on.
    fn seams(&self) -> Seams;
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
        (self.check)(factory).await
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

cases! {
    conditions:
        row_at_holds_only_at_that_version
        row_absent_holds_only_without_a_row
        a_range_condition_is_judged_on_what_the_batch_leaves
        a_range_includes_its_start_and_not_its_end
        the_first_failed_condition_is_told_and_nothing_is_written
        a_version_of_a_removed_row_never_holds_again
        a_removal_since_a_position_is_remembered
        a_batch_that_contradicts_itself_is_refused
        a_batch_without_effect_takes_no_position;
    values:
        a_row_comes_back_as_it_was_put
        hostile_names_are_names_like_any_other
        big_rows_are_kept_whole
        tables_do_not_see_each_other
        a_name_that_is_too_long_is_refused;
    scan:
        scans_agree_with_a_model
        a_snapshot_stays_as_it_was;
    isolation:
        what_was_acknowledged_is_read
        no_update_is_lost
        write_skew_is_refused
        no_phantom_slips_in
        a_snapshot_sees_a_batch_wholly_or_not
        batches_of_one_group_fail_alone
        versions_that_a_reader_sees_never_go_back;
    changes:
        a_change_tells_before_and_after
        a_page_holds_whole_commits
        no_change_is_missed_under_concurrent_writers
        changes_from_any_position_lead_to_the_state
        internal_rows_are_not_in_the_log
        removing_nothing_is_no_change
        a_position_that_is_no_longer_kept_is_too_old
        a_position_that_never_was_is_too_old;
    restart:
        everything_is_there_after_reopening
        positions_go_on_after_reopening
        a_closed_store_refuses;
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

/// Runs all `parts` at the same time, as tasks of their own, and answers in their order.
async fn together<T: Send + 'static>(
    seams: &Seams,
    parts: impl IntoIterator<Item = BoxFuture<T>>,
) -> Result<Vec<T>, Failure> {
    let answers: Vec<_> = parts
        .into_iter()
        .map(|part| {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let task = async move { drop(sender.send(part.await)) };
            seams.tasks.spawn("conformance", Box::pin(task));
            receiver
        })
        .collect();
    futures::future::try_join_all(answers)
        .await
        .map_err(|_| Failure::new("a concurrent part of the case panicked"))
}
