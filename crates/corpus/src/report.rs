//! The report of a whole run: totals, failures in groups, and the file for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::package::{Methods, PackageReport};
use crate::round::{Outcome, Step};

/// Least share of types that must pass, in thousandths.
const TYPES_MIN_PERMILLE: usize = 990;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub packages_loaded: usize,
    pub packages: usize,
    pub types_passed: usize,
    pub types: usize,
    pub methods: Methods,
    /// Types whose changes were seen over a watch stream of their own service.
    pub types_watched_stream: usize,
    /// Types that went round once more over a synthesised service, since their own has no create, watch or delete.
    pub types_second_round: usize,
    pub steps: BTreeMap<Step, Tally>,
    pub groups: Vec<Group>,
    pub failures: Vec<FailureLine>,
    pub details: Vec<PackageReport>,
}

/// How often a step ended in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub passed: usize,
    pub not_applicable: usize,
    pub failed: usize,
}

/// Failures that differ in names and numbers only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub count: usize,
    pub step: Step,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureLine {
    pub package: String,
    pub kind: String,
    pub version: String,
    pub step: Step,
    pub reason: String,
}

impl Report {
    pub fn of(mut details: Vec<PackageReport>) -> Self {
        details.sort_by(|a, b| a.package.cmp(&b.package));
        let types = || details.iter().flat_map(|package| &package.types);
        let failures: Vec<FailureLine> = details.iter().flat_map(failures).collect();
        Self {
            packages_loaded: details.iter().filter(|package| package.loaded()).count(),
            packages: details.len(),
            types_passed: types().filter(|ty| ty.passed()).count(),
            types: types().count(),
            methods: details
                .iter()
                .fold(Methods::default(), |sum, package| add(sum, package.methods)),
            types_watched_stream: types().filter(|ty| ty.watched_stream).count(),
            types_second_round: types().filter(|ty| ty.synthesised.is_some()).count(),
            steps: tallies(&details),
            groups: groups(&failures),
            failures,
            details,
        }
    }

    /// All packages load with sound OpenAPI documents, and enough types pass.
    pub fn reaches_goal(&self) -> bool {
        self.packages_loaded == self.packages
            && self.details.iter().all(|package| package.openapi_errors.is_empty())
            && self.types_passed * 1000 >= self.types * TYPES_MIN_PERMILLE
    }

    /// The last line of a run.
    pub fn last_line(&self) -> String {
        format!(
            "corpus: packages {}/{} types {}/{} methods {}/{}",
            self.packages_loaded,
            self.packages,
            self.types_passed,
            self.types,
            self.methods.bound,
            self.methods.standard_looking
        )
    }

    /// Steps and groups of failures, for people.
    pub fn summary(&self) -> String {
        let mut lines = vec![String::new(), "step         passed    n/a  failed".to_owned()];
        for (step, tally) in &self.steps {
            let name = format!("{step:?}");
            let Tally { passed, not_applicable, failed } = tally;
            lines.push(format!("{name:<12} {passed:>6} {not_applicable:>6} {failed:>7}"));
        }
        if !self.groups.is_empty() {
            lines.push(String::new());
            lines.push("failures, in groups:".to_owned());
        }
        for Group { count, step, reason } in &self.groups {
            lines.push(format!("{count:>6} × {step:?}: {reason}"));
        }
        let Methods { actions, synthesised, .. } = self.methods;
        lines.push(String::new());
        lines.push(format!(
            "{actions} methods are actions, {synthesised} methods were synthesised; {} types have a watch of their own; \
             {} types, whose service lacks create, watch or delete, went round again over a synthesised one",
            self.types_watched_stream, self.types_second_round
        ));
        lines.join("\n")
    }
}

/// Everything of a package that failed.
pub fn failures(package: &PackageReport) -> Vec<FailureLine> {
    let whole = |step: Step, reason: &String| FailureLine {
        package: package.package.clone(),
        kind: String::new(),
        version: String::new(),
        step,
        reason: reason.clone(),
    };
    let load = package.load_errors.iter().map(|reason| whole(Step::Load, reason));
    let openapi = package.openapi_errors.iter().map(|reason| whole(Step::OpenApi, reason));
    let types = package.types.iter().flat_map(|ty| {
        ty.failures().map(|(step, reason)| FailureLine {
            package: package.package.clone(),
            kind: ty.kind.clone(),
            version: ty.version.clone(),
            step,
            reason: reason.to_owned(),
        })
    });
    load.chain(openapi).chain(types).collect()
}

fn add(a: Methods, b: Methods) -> Methods {
    Methods {
        bound: a.bound + b.bound,
        standard_looking: a.standard_looking + b.standard_looking,
        actions: a.actions + b.actions,
        synthesised: a.synthesised + b.synthesised,
    }
}

fn tallies(details: &[PackageReport]) -> BTreeMap<Step, Tally> {
    let mut tallies: BTreeMap<Step, Tally> = BTreeMap::new();
    for (step, outcome) in details.iter().flat_map(|p| &p.types).flat_map(|ty| ty.outcomes()) {
        let tally = tallies.entry(step).or_default();
        match outcome {
            Outcome::Passed => tally.passed += 1,
            Outcome::NotApplicable(_) => tally.not_applicable += 1,
            Outcome::Failed(_) => tally.failed += 1,
        }
    }
    tallies
}

/// The most frequent first.
fn groups(failures: &[FailureLine]) -> Vec<Group> {
    let mut counts: BTreeMap<(Step, String), usize> = BTreeMap::new();
    for failure in failures {
        *counts.entry((failure.step, shape(&failure.reason))).or_default() += 1;
    }
    let group = |((step, reason), count)| Group { count, step, reason };
    let mut groups: Vec<Group> = counts.into_iter().map(group).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

/// A reason without what differs from type to type: quoted text and numbers.
fn shape(reason: &str) -> String {
    let mut shape = String::with_capacity(reason.len());
    let mut quoted = None;
    for c in reason.chars() {
        match c {
            c if quoted == Some(c) => {
                quoted = None;
                shape.push(c);
            }
            _ if quoted.is_some() => {}
            '"' | '`' => {
                quoted = Some(c);
                shape.extend([c, '…']);
            }
            c if c.is_ascii_digit() => {
                if !shape.ends_with('N') {
                    shape.push('N');
                }
            }
            c => shape.push(c),
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::TypeReport;

    fn package(name: &str, types: Vec<TypeReport>) -> PackageReport {
        PackageReport { package: name.to_owned(), types, ..PackageReport::default() }
    }

    #[test]
    fn failures_that_differ_in_names_are_one_group() {
        let failed = |kind: &str| {
            TypeReport::failed(
                kind,
                "v1",
                Step::Get,
                format!("resource \"{kind}\" has 7 of 12 fields"),
            )
        };
        let report = Report::of(vec![package("a", vec![failed("A"), failed("B")])]);
        assert_eq!(report.groups.len(), 1);
        assert_eq!(report.groups[0].count, 2);
        assert_eq!(report.groups[0].reason, "resource \"…\" has N of N fields");
    }

    #[test]
    fn the_goal_is_missed_by_one_package_that_does_not_load() {
        let mut broken = package("b", Vec::new());
        broken.load_errors.push("BL001".to_owned());
        let report = Report::of(vec![package("a", Vec::new()), broken]);
        assert!(!report.reaches_goal());
        assert_eq!(report.last_line(), "corpus: packages 1/2 types 0/0 methods 0/0");
    }
}
