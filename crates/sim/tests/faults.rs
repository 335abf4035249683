//! Every planted fault is found, soon: otherwise runs that hold say nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

use bowline_sim::Fault;
use bowline_sim::run::run;

/// Among these seeds each fault must be found.
const SEEDS: std::ops::Range<u64> = 100..180;

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
