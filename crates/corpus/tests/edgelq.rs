//! Six published EdgeLQ API skeletons, with protos of our own for what they name: loaded as one system, every type goes round.
//!
//! The skeletons are not part of this repository; without them the test says so and passes.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it is skipped"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bowline_corpus::package::{self, PackageReport};
use bowline_corpus::report::Report;
use bowline_schema::Source;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Lays skeletons and protos as the published SDK has them: `edgelq/iam/proto/api-skeleton-v1.yaml` beside `v1/*.proto`.
fn lay(skeletons: &Path, target: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(skeletons).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some((service, version)) =
            name.strip_suffix(".yaml").and_then(|name| name.split_once('-'))
        else {
            continue;
        };
        let proto = target.join("edgelq").join(service).join("proto");
        std::fs::create_dir_all(&proto).unwrap();
        std::fs::copy(&path, proto.join(format!("api-skeleton-{version}.yaml"))).unwrap();
        copy_protos(&repository().join("tests/edgelq").join(service).join("proto"), &proto);
        count += 1;
    }
    count
}

fn copy_protos(from: &Path, to: &Path) {
    for version in std::fs::read_dir(from).unwrap() {
        let version = version.unwrap();
        let folder = to.join(version.file_name());
        std::fs::create_dir_all(&folder).unwrap();
        for file in std::fs::read_dir(version.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
        }
    }
}

fn report() -> Option<PackageReport> {
    let skeletons = repository().join("../shared/data/api-skeletons");
    if !skeletons.is_dir() {
        eprintln!("SKIPPED: the EdgeLQ skeletons are not at {}", skeletons.display());
        return None;
    }
    let target = tempfile::tempdir().unwrap();
    assert_eq!(lay(&skeletons, target.path()), 6);
    Some(package::run("edgelq", Source::Folder(target.path().to_owned()), &BTreeSet::new()))
}

#[test]
fn every_type_of_the_published_skeletons_goes_round() {
    let Some(report) = report() else { return };
    assert_eq!(report.load_errors, Vec::<String>::new());
    let total = Report::of(vec![report.clone()]);
    assert_eq!(total.failures, [], "{:#?}", total.failures);
    assert!(report.types.len() >= 40, "{} types", report.types.len());
    assert_eq!(total.types_passed, total.types);
    assert!(total.types_watched_stream > 0);
}
