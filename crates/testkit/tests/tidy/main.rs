//! The repository checks itself: what reviewers would otherwise have to say again and again.
//!
//! Each check gives a list of findings, `path:line: what is wrong`; an empty list is tidy. What may only shrink is in
//! `ratchet.txt` beside this file.

mod files;
mod headers;
mod layers;
mod links;
mod pages;
mod selects;
mod sizes;
mod words;

use files::Tree;

/// Fails with all findings at once.
fn demand(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}\n", findings.join("\n  "));
}

#[test]
fn every_source_file_says_what_lives_there() {
    demand(
        "start the file with `//!`: what lives here and what not",
        headers::missing(&Tree::read()),
    );
}

#[test]
fn every_source_file_is_part_of_a_crate() {
    demand("no `mod` names this file", headers::orphans(&Tree::read()));
}

#[test]
fn crates_use_only_crates_above_them() {
    demand("see the crate list of ARCHITECTURE.md", layers::violations(&Tree::read()));
}

#[test]
fn versions_of_dependencies_stand_in_one_place() {
    demand(
        "pin it in the workspace and write `.workspace = true`",
        layers::unpinned(&Tree::read()),
    );
}

#[test]
fn files_and_functions_only_shrink() {
    demand("split it, or lower its line in ratchet.txt", sizes::overruns(&Tree::read()));
}

#[test]
fn documents_link_to_what_exists() {
    demand("mend the link", links::broken(&Tree::read()));
}

#[test]
fn every_reason_has_a_page_and_every_page_a_reason() {
    demand("docs/errors has one page per reason", pages::mismatches(&Tree::read()));
}

#[test]
fn no_randomness_but_that_of_seams_picks_a_branch() {
    demand("begin it with `biased;`", selects::unbiased(&Tree::read()));
}

#[test]
fn nothing_of_one_machine_and_nothing_unfinished_is_committed() {
    demand("take it out", words::found(&Tree::read()));
}
