//! Backends that break one promise each, to see that the suite notices. Tests only.
//!
//! A good backend is wrapped: `batches` spoils what goes in, `reads` what comes out. What cannot be done by wrapping
//! batches and answers is in `early`.

mod batches;
pub(super) mod early;
mod reads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::watch;

use self::reads::FaultySnapshot;
use crate::contract::{
    Backend, Batch, Change, Changes, CommitError, Extract, Key, Position, Row, RowId, Snapshot,
    StoreError, Table, Version, Write,
};

macro_rules! faults {
    ($($fault:ident: $($case:ident)+;)*) => {
        /// One thing done wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Fault {
            $($fault),*
        }

        impl Fault {
            /// All faults, each with the cases that must notice it.
            pub(super) const ALL: &'static [(Self, &'static [&'static str])] =
                &[$((Self::$fault, &[$(stringify!($case)),+])),*];
        }
    };
}

faults! {
    DropsFirstCondition:
        row_at_holds_only_at_that_version
        row_absent_holds_only_without_a_row
        a_version_of_a_removed_row_never_holds_again
        batches_of_one_group_fail_alone
        write_skew_is_refused;
    DropsLastCondition: no_phantom_slips_in;
    DropsNameRanges:
        a_range_condition_is_judged_on_what_the_batch_leaves
        write_skew_by_name_ranges_is_refused;
    DropsIndexRanges:
        an_index_range_is_judged_on_what_the_batch_leaves
        an_index_range_spans_the_kinds_of_its_namespace_only
        write_skew_by_index_ranges_is_refused;
    DropsFieldIs:
        field_is_holds_only_for_exactly_that_value
        a_field_that_changes_fails_exactly_what_comes_later
        write_skew_by_fields_is_refused;
    DropsFieldAtMost:
        field_at_most_compares_numbers_and_tuples
        a_field_that_changes_fails_exactly_what_comes_later;
    BoundsAreStrict: field_at_most_compares_numbers_and_tuples;
    SharedConditionsTakeTheRow: shared_conditions_do_not_disturb_each_other;
    IgnoresInternalConditions: conditions_are_judged_on_internal_rows_too;
    ForgetsRemovals:
        a_removal_since_a_position_is_remembered
        conditions_are_judged_on_internal_rows_too;
    TellsTheWrongCondition: the_first_failed_condition_is_told_and_nothing_is_written;
    IncludesRangeEnds:
        a_range_includes_its_start_and_not_its_end
        an_index_range_includes_its_start_and_not_its_end;
    JudgesRangesBefore:
        a_range_condition_is_judged_on_what_the_batch_leaves
        an_index_range_is_judged_on_what_the_batch_leaves;
    JudgesBeforeCommit:
        no_update_is_lost
        no_phantom_slips_into_an_index
        write_skew_is_refused
        an_index_range_is_judged_on_what_the_batch_leaves;
    TakesAnyBatch:
        a_batch_that_contradicts_itself_is_refused
        a_name_that_is_too_long_is_refused
        an_extract_beyond_its_limits_is_refused
        what_exceeds_a_limit_is_refused
        a_namespace_is_not_moved_and_written_at_once;
    TakesPositionsForNothing: a_batch_without_effect_takes_no_position;
    CommitsHalfBatches: a_snapshot_sees_a_batch_wholly_or_not;
    CommitsInSteps:
        a_snapshot_sees_a_batch_wholly_or_not
        a_commit_that_is_given_up_happens_wholly_or_not
        readers_see_a_swap_wholly_or_not;
    LosesLateWrites: a_batch_of_thousands_of_writes_is_one_commit;
    DirtyReads: what_a_failed_batch_wanted_is_never_seen;
    LosesAsides: a_row_comes_back_as_it_was_put;
    LosesExtracts: an_extract_comes_back_as_it_was_put;
    KeepsReadableForms: a_readable_form_changes_nothing;
    CutsNames: hostile_names_are_names_like_any_other;
    CutsLongNames: the_longest_names_and_values_are_kept;
    CutsValues: an_extract_comes_back_as_it_was_put index_scans_agree_with_a_model;
    CutsBodies: big_rows_are_kept_whole;
    MixesTables: tables_do_not_see_each_other many_namespaces_kinds_and_indexes_stay_apart;
    ReindexingIsAPut: reindexing_changes_what_is_found_and_nothing_else;
    ReindexesAnyVersion: reindexing_another_version_does_nothing;
    LosesIdsOnUpdate: rows_are_found_by_id;
    IdsAreNotUnique:
        an_id_belongs_to_one_row_of_a_table
        an_id_is_given_once_under_concurrent_writers;
    IdsAreGlobal: an_id_belongs_to_one_row_of_a_table;
    ReadsStaleRows: what_was_acknowledged_is_read versions_that_a_reader_sees_never_go_back;
    SnapshotsMove:
        a_snapshot_stays_as_it_was
        a_snapshot_keeps_its_index_entries
        a_snapshot_sees_rows_ids_and_entries_alike
        snapshots_from_before_a_move_see_what_was;
    ScansLoseTheLastRow: scans_agree_with_a_model;
    IndexKeepsOldEntries: an_index_entry_never_outlives_its_row;
    IndexKeepsRemovedRows: an_index_entry_never_outlives_its_row;
    IndexCursorsRepeat: index_scans_agree_with_a_model index_pages_join_without_gap_or_repeat;
    IndexCursorsSkip: index_scans_agree_with_a_model index_pages_join_without_gap_or_repeat;
    LosesChanges: no_change_is_missed_under_concurrent_writers;
    ReordersChanges: changes_from_any_position_lead_to_the_state;
    RepeatsChanges: removing_nothing_is_no_change;
    TearsCommits: a_page_holds_whole_commits;
    LogsInternalRows: internal_rows_are_not_in_the_log;
    LogCarriesExtracts: a_change_tells_before_and_after;
    LogForgetsIds: a_change_tells_before_and_after;
    LogFollowsSwaps: the_log_keeps_the_names_from_before_a_swap;
    TooOldIsEmpty:
        a_position_that_is_no_longer_kept_is_too_old
        a_position_that_never_was_is_too_old
        positions_of_another_era_are_too_old;
    NumbersBeforeCommit:
        no_change_is_missed_under_concurrent_writers
        no_change_is_missed_between_processes;
    SwapForgetsEntries:
        a_swap_exchanges_rows_entries_and_ids
        a_namespace_can_be_swapped_with_nothing;
    SwapForgetsIds: a_swap_exchanges_rows_entries_and_ids;
    MovesWithoutConditions: a_swap_happens_with_its_batch_or_not_at_all;
    DropLeavesRows: a_dropped_namespace_is_empty_at_once_and_can_be_used_again;
    DropLeavesEntries: a_dropped_namespace_is_empty_at_once_and_can_be_used_again;
    ListsEmptyTables: tables_are_those_that_have_rows;
    IgnoresNewStarts:
        a_new_start_raises_the_position_and_empties_the_log
        commits_around_a_new_start_are_kept;
    StartsGoBack: a_new_start_never_goes_back a_new_start_by_one_process_is_seen_by_another;
    Forgets: everything_is_there_after_reopening positions_go_on_after_reopening;
    LosesTheLastCommit:
        everything_is_there_after_reopening
        positions_go_on_after_reopening
        moved_namespaces_stay_moved_after_reopening;
    ForgetsNewStarts: a_new_start_survives_reopening;
    NeverCloses: a_closed_store_refuses;
    SecondIsAnother: processes_see_each_others_commits a_move_by_one_process_is_seen_by_another;
    SecondIsDeaf: the_head_of_a_process_wakes_for_another;
}

/// What a store was told to do, for one that is to be opened again.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Commit(Batch),
    StartAt(Position),
}

/// What faults remember.
#[derive(Debug, Default)]
struct Notes {
    /// What was read last of each row.
    read: BTreeMap<Key, Option<Row>>,
    /// What was put last, and not removed.
    rows: BTreeMap<Key, Row>,
    /// Rows as they were before they were updated, removed or dropped.
    past: Vec<(Key, Row)>,
    /// Where the rows of a namespace were before all swaps.
    swapped: BTreeMap<Arc<str>, Arc<str>>,
    /// What is being committed.
    pending: BTreeMap<Key, Row>,
    tables: BTreeSet<Table>,
    ids: BTreeMap<RowId, Table>,
    extracts: BTreeMap<(Key, Version), Extract>,
    journal: Vec<Step>,
}

impl Notes {
    fn origin(&self, namespace: &Arc<str>) -> Arc<str> {
        self.swapped.get(namespace).unwrap_or(namespace).clone()
    }

    /// Notes what a batch has done.
    fn note(&mut self, batch: &Batch, fault: Fault) {
        self.journal.push(Step::Commit(batch.clone()));
        for write in &batch.writes {
            match write {
                Write::Put { key, row, .. } => {
                    let before = self.rows.insert(key.clone(), row.clone());
                    if fault == Fault::IndexKeepsOldEntries {
                        self.past.extend(before.map(|row| (key.clone(), row)));
                    }
                    self.tables.insert(key.table.clone());
                    self.ids.insert(row.id, key.table.clone());
                    self.extracts.insert((key.clone(), row.version), row.extract.clone());
                }
                Write::Remove { key } => {
                    let before = self.rows.remove(key);
                    if fault == Fault::IndexKeepsRemovedRows {
                        self.past.extend(before.map(|row| (key.clone(), row)));
                    }
                }
                Write::Swap { a, b } => {
                    let (from_a, from_b) = (self.origin(a), self.origin(b));
                    self.swapped.insert(a.clone(), from_b);
                    self.swapped.insert(b.clone(), from_a);
                }
                Write::Drop { namespace } if fault == Fault::DropLeavesEntries => {
                    let gone = |key: &Key, _: &mut Row| key.table.namespace == *namespace;
                    self.past.extend(self.rows.extract_if(.., gone));
                }
                Write::Drop { .. } | Write::Reindex { .. } => {}
            }
        }
    }
}

/// A good backend behind a fault.
#[derive(Debug)]
pub(super) struct Faulty {
    good: Arc<dyn Backend>,
    fault: Fault,
    notes: Arc<Mutex<Notes>>,
    /// The head of one that hears of nothing.
    deaf: watch::Sender<Position>,
}

impl Faulty {
    pub(super) fn new(good: Arc<dyn Backend>, fault: Fault) -> Self {
        let deaf = watch::Sender::new(Position::default());
        Self { good, fault, notes: Arc::default(), deaf }
    }

    /// What was done so far, by whoever holds the store.
    pub(super) fn journal(&self) -> impl Fn() -> Vec<Step> + Send + Sync + use<> {
        let notes = self.notes.clone();
        move || notes.lock().unwrap().journal.clone()
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    fn changes(&self, changes: &mut Vec<Arc<Change>>, limit: usize) {
        match self.fault {
            Fault::LosesChanges if changes.len() > 1 => drop(changes.remove(0)),
            Fault::ReordersChanges => changes.reverse(),
            Fault::RepeatsChanges => {
                *changes = changes.iter().flat_map(|c| [c.clone(), c.clone()]).collect();
            }
            Fault::TearsCommits => changes.truncate(limit.max(1)),
            _ => changes.iter_mut().for_each(|change| self.change(Arc::make_mut(change))),
        }
    }

    fn change(&self, change: &mut Change) {
        let notes = self.notes();
        let key = change.key.clone();
        for row in [&mut change.before, &mut change.after].into_iter().flatten() {
            match self.fault {
                Fault::LogForgetsIds => row.id = RowId::NONE,
                Fault::LogCarriesExtracts => {
                    let extract = notes.extracts.get(&(key.clone(), row.version));
                    row.extract = extract.cloned().unwrap_or_default();
                }
                _ => {}
            }
        }
        if self.has(Fault::LogFollowsSwaps) {
            change.key.table.namespace = notes.origin(&key.table.namespace);
        }
    }
}

#[async_trait]
impl Backend for Faulty {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let good = self.good.snapshot().await?;
        let (store, notes) = (self.good.clone(), self.notes.clone());
        Ok(Box::new(FaultySnapshot { good, store, notes, fault: self.fault }))
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        let (row, position) = self.good.get(&self.fault.key(key)).await?;
        let mut notes = self.notes();
        let row = match (self.fault, notes.pending.get(key)) {
            (Fault::DirtyReads, Some(pending)) => Some(pending.clone()),
            (Fault::ReadsStaleRows, _) => {
                let before = notes.read.insert(key.clone(), row.clone());
                before.unwrap_or(row)
            }
            _ => row,
        };
        Ok((row, position))
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        if self.has(Fault::TakesAnyBatch) && crate::batch::check(&batch).is_err() {
            return Ok(*self.good.head().borrow());
        }
        let batch = self.prepare(self.fault.batch(&batch)).await?;
        let committed = self.commit_prepared(&batch).await;
        if committed.is_ok() {
            self.notes().note(&batch, self.fault);
        }
        match committed {
            Err(CommitError::ConditionFailed { condition })
                if self.has(Fault::TellsTheWrongCondition) =>
            {
                Err(CommitError::ConditionFailed { condition: condition + 1 })
            }
            outcome => outcome,
        }
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        match self.good.changes(after, limit).await? {
            Changes::TooOld { .. } if self.has(Fault::TooOldIsEmpty) => {
                Ok(Changes::Page { changes: vec![], next: *self.head().borrow(), at_head: true })
            }
            Changes::Page { mut changes, next, at_head } => {
                self.changes(&mut changes, limit);
                Ok(Changes::Page { changes, next, at_head })
            }
            too_old => Ok(too_old),
        }
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        if self.has(Fault::IgnoresNewStarts) {
            return Ok(());
        }
        self.notes().journal.push(Step::StartAt(position));
        match self.good.start_at(position).await {
            Err(CommitError::Malformed(_)) if self.has(Fault::StartsGoBack) => Ok(()),
            outcome => outcome,
        }
    }

    fn head(&self) -> watch::Receiver<Position> {
        match self.fault {
            Fault::SecondIsDeaf => self.deaf.subscribe(),
            _ => self.good.head(),
        }
    }

    async fn close(&self) -> Result<(), StoreError> {
        if self.has(Fault::NeverCloses) {
            return Ok(());
        }
        self.good.close().await
    }
}
