//! Planted faults are found: otherwise runs that hold say nothing. All of them, which takes minutes: `./x sim --planted`.
#![allow(clippy::unwrap_used, reason = "tests")]

use bowline_sim::Fault;
use bowline_sim::run::run;

/// Among these seeds each fault must be found.
const SEEDS: std::ops::Range<u64> = 0..100;

fn is_found(fault: Fault, by: &str) {
    let failure = { SEEDS }.find_map(|seed| run(seed, Some(fault)).failure);
    let failure = failure.unwrap_or_else(|| panic!("{fault} is not found in seeds {SEEDS:?}"));
    let text = failure.to_string();
    assert!(text.contains(by), "{fault} is found, but by this: {text}");
}

#[test]
fn commits_without_ownership_rows_are_found() {
    is_found(Fault::OwnershipIgnored, "S4");
}

#[test]
fn a_release_that_is_not_kept_is_found() {
    is_found(Fault::ReleaseUnkept, "");
}

#[test]
fn requests_that_are_carried_out_twice_are_found() {
    is_found(Fault::RequestIdsForgotten, "");
}

#[test]
fn requests_that_are_forwarded_twice_are_found() {
    is_found(Fault::ForwardedForgotten, "was forwarded to");
}

#[test]
fn acknowledged_writes_that_are_lost_are_found() {
    is_found(Fault::WritesLost, "S6");
}

#[test]
fn lists_that_hide_what_they_could_not_ask_are_found() {
    is_found(Fault::ListsSilent, "leaves out");
}

#[test]
fn saves_that_do_not_look_whether_their_targets_are_still_there_are_found() {
    is_found(Fault::TargetsUnchecked, "");
}

#[test]
fn names_that_are_free_too_soon_are_found() {
    is_found(Fault::NamesFreeTooSoon, "still taken");
}

#[test]
fn owners_who_are_told_that_nothing_blocks_are_found() {
    is_found(Fault::BlockersHidden, "");
}

#[test]
fn deletions_that_overlook_whom_nobody_referred_to_before_are_found() {
    is_found(Fault::VerdictDespiteInbound, "");
}

#[test]
fn confirmations_that_drop_sources_are_found() {
    is_found(Fault::ConfirmDropsSource, "");
}

#[test]
fn sources_that_are_let_go_too_soon_are_found() {
    is_found(Fault::ReferencesHidden, "");
}

#[test]
fn namesakes_of_what_was_deleted_are_found() {
    is_found(Fault::NamesakesTold, "");
}

#[test]
fn names_that_are_told_in_one_version_only_are_found() {
    is_found(Fault::NamesToldOnce, "");
}

#[test]
fn purges_of_what_is_held_are_found() {
    is_found(Fault::PurgeDespiteFinalizers, "was held by");
}

#[test]
fn deletions_that_forget_to_mark_are_found() {
    is_found(Fault::MarksUnwritten, "does not say so");
}

#[test]
fn lost_commits_that_are_made_without_reading_again_are_found() {
    is_found(Fault::LostUnread, "");
}
