//! The list of cases, as a macro: the one place that names them all. What they check is in the modules it names.

/// Calls a macro with all cases: `module: case case …;` for each module.
///
/// [`crate::conformance::CASES`] is made of it, and [`crate::conformance_tests`].
#[macro_export]
macro_rules! conformance_cases {
    ($($callback:tt)+) => {
        $($callback)+! {
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
            fields:
                field_is_holds_only_for_exactly_that_value
                field_at_most_compares_numbers_and_tuples
                conditions_are_judged_on_internal_rows_too
                shared_conditions_do_not_disturb_each_other
                a_field_that_changes_fails_exactly_what_comes_later;
            index_ranges:
                an_index_range_is_judged_on_what_the_batch_leaves
                an_index_range_spans_the_kinds_of_its_namespace_only
                an_index_range_includes_its_start_and_not_its_end
                no_phantom_slips_into_an_index;
            values:
                a_row_comes_back_as_it_was_put
                a_readable_form_changes_nothing
                hostile_names_are_names_like_any_other
                big_rows_are_kept_whole
                tables_do_not_see_each_other
                a_name_that_is_too_long_is_refused;
            extracts:
                an_extract_comes_back_as_it_was_put
                an_extract_beyond_its_limits_is_refused
                reindexing_changes_what_is_found_and_nothing_else
                reindexing_another_version_does_nothing;
            ids:
                rows_are_found_by_id
                an_id_belongs_to_one_row_of_a_table
                an_id_is_given_once_under_concurrent_writers;
            limits:
                a_batch_of_thousands_of_writes_is_one_commit
                many_namespaces_kinds_and_indexes_stay_apart
                the_longest_names_and_values_are_kept
                what_exceeds_a_limit_is_refused;
            scan:
                scans_agree_with_a_model
                a_snapshot_stays_as_it_was;
            index_scan:
                index_scans_agree_with_a_model
                index_pages_join_without_gap_or_repeat
                an_index_entry_never_outlives_its_row
                a_snapshot_keeps_its_index_entries;
            isolation:
                what_was_acknowledged_is_read
                no_update_is_lost
                write_skew_is_refused
                no_phantom_slips_in
                a_snapshot_sees_a_batch_wholly_or_not
                batches_of_one_group_fail_alone
                versions_that_a_reader_sees_never_go_back;
            anomalies:
                write_skew_by_fields_is_refused
                write_skew_by_name_ranges_is_refused
                write_skew_by_index_ranges_is_refused
                what_a_failed_batch_wanted_is_never_seen
                a_snapshot_sees_rows_ids_and_entries_alike
                a_commit_that_is_given_up_happens_wholly_or_not;
            changes:
                a_change_tells_before_and_after
                a_page_holds_whole_commits
                changes_from_any_position_lead_to_the_state
                internal_rows_are_not_in_the_log
                removing_nothing_is_no_change
                a_position_that_is_no_longer_kept_is_too_old
                a_position_that_never_was_is_too_old;
            feed:
                no_change_is_missed_under_concurrent_writers;
            namespaces:
                a_swap_exchanges_rows_entries_and_ids
                a_swap_happens_with_its_batch_or_not_at_all
                a_namespace_can_be_swapped_with_nothing
                a_dropped_namespace_is_empty_at_once_and_can_be_used_again
                snapshots_from_before_a_move_see_what_was
                readers_see_a_swap_wholly_or_not
                the_log_keeps_the_names_from_before_a_swap
                a_namespace_is_not_moved_and_written_at_once
                tables_are_those_that_have_rows;
            eras:
                a_new_start_raises_the_position_and_empties_the_log
                a_new_start_never_goes_back
                positions_of_another_era_are_too_old
                commits_around_a_new_start_are_kept;
            restart:
                everything_is_there_after_reopening
                positions_go_on_after_reopening
                moved_namespaces_stay_moved_after_reopening
                a_new_start_survives_reopening
                a_closed_store_refuses;
            processes:
                processes_see_each_others_commits
                the_head_of_a_process_wakes_for_another
                no_change_is_missed_between_processes
                a_move_by_one_process_is_seen_by_another
                a_new_start_by_one_process_is_seen_by_another;
        }
    };
}

/// One test for each case, in a module for each file of the suite, for crates whose stores take long.
///
/// To be called as `conformance_cases!(bowline_store::conformance_tests)` beside an `async fn check(name: &'static str)`
/// that runs the case of that name and panics if it fails. The crate needs tokio's `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! conformance_tests {
    ($($module:ident: $($name:ident)*;)*) => {$(
        mod $module {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::check(stringify!($name)).await;
            }
        )*}
    )*};
}
