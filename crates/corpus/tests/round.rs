//! The whole round over small protos of our own, one file for each style that real APIs have: no network is needed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use bowline_corpus::package::{self, PackageReport};
use bowline_corpus::report::Report;
use bowline_corpus::round::{Outcome, Step};
use bowline_schema::Source;

fn round_of(name: &str, text: &str, kinds: &[&str]) -> PackageReport {
    let files = vec![(format!("corpus/{name}/v1/{name}.proto"), text.to_owned())];
    let kinds: BTreeSet<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let report = package::run(name, Source::Files { service_yaml: None, files }, &kinds);
    assert_eq!(report.load_errors, Vec::<String>::new());
    let failures = Report::of(vec![report.clone()]).failures;
    assert_eq!(failures, [], "{failures:#?}");
    report
}

/// The steps of the only type that ran, by how they ended.
fn steps(report: &PackageReport, kind: &str, passed: bool) -> Vec<Step> {
    let ty = report.types.iter().find(|ty| ty.kind.ends_with(kind)).unwrap();
    let wanted = |outcome: &Outcome| (*outcome == Outcome::Passed) == passed;
    ty.steps.iter().filter(|(_, outcome)| wanted(outcome)).map(|(step, _)| *step).collect()
}

#[test]
fn a_topic_that_is_its_own_request_goes_the_whole_way() {
    let text = include_str!("protos/topics.proto");
    let report = round_of("topics", text, &["topics.example.com/Topic"]);
    assert_eq!((report.methods.bound, report.methods.standard_looking), (5, 5));
    let passed = steps(&report, "Topic", true);
    assert_eq!(
        passed,
        [
            Step::Create,
            Step::Get,
            Step::RestGet,
            Step::List,
            Step::Page,
            Step::Update,
            Step::WatchOne,
            Step::Watch,
            Step::Delete
        ]
    );
}

#[test]
fn a_key_with_output_only_fields_and_a_oneof_goes_the_whole_way() {
    let text = include_str!("protos/keys.proto");
    let report = round_of("keys", text, &["keys.example.com/CryptoKey"]);
    assert_eq!((report.methods.bound, report.methods.standard_looking), (4, 4));
    assert_eq!(report.methods.actions, 1);
    let skipped = steps(&report, "CryptoKey", false);
    assert_eq!(skipped, [Step::BatchGet, Step::Patterns, Step::Delete]);
}

#[test]
fn a_cluster_with_operations_goes_the_whole_way() {
    let text = include_str!("protos/clusters.proto");
    let report = round_of("clusters", text, &["clusters.example.com/Cluster"]);
    assert_eq!((report.methods.bound, report.methods.standard_looking), (5, 5));
    let skipped = steps(&report, "Cluster", false);
    assert_eq!(skipped, [Step::BatchGet, Step::Patterns]);
}

#[test]
fn types_without_a_service_are_watched_over_a_stream() {
    let text = include_str!("protos/views.proto");
    let kinds =
        ["views.example.com/KeywordView", "views.example.com/Report", "views.example.com/Settings"];
    let report = round_of("views", text, &kinds);
    assert_eq!(report.types.len(), 3);
    assert!(report.types.iter().all(|ty| ty.watched_stream));
    assert_eq!(steps(&report, "KeywordView", false), [Step::Patterns]);
    assert_eq!(steps(&report, "Report", false), []);
}

#[test]
fn a_kind_that_the_loader_does_not_have_is_a_failure() {
    let text = include_str!("protos/topics.proto");
    let files = vec![("corpus/topics/v1/topics.proto".to_owned(), text.to_owned())];
    let kinds = BTreeSet::from(["topics.example.com/Lost".to_owned()]);
    let report = package::run("topics", Source::Files { service_yaml: None, files }, &kinds);
    let failures = Report::of(vec![report]).failures;
    assert_eq!(failures.len(), 1);
    assert_eq!(
        (failures[0].kind.as_str(), failures[0].step),
        ("topics.example.com/Lost", Step::Load)
    );
}

#[test]
fn broken_protos_fail_and_do_not_panic() {
    let files = vec![("corpus/broken/v1/broken.proto".to_owned(), "message {".to_owned())];
    let report =
        package::run("broken", Source::Files { service_yaml: None, files }, &BTreeSet::new());
    assert!(!report.loaded());
    assert!(!Report::of(vec![report]).reaches_goal());
}
