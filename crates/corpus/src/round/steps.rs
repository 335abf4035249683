//! The steps of a round, how each ended, and the report of a type.

use std::collections::BTreeMap;

use bowline_schema::model::ResourceType;
use serde::Serialize;

use super::Failure;

/// One thing that a round checks, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The type is in the registry.
    Load,
    /// The OpenAPI document of its version is sound.
    OpenApi,
    /// It has at least one standard method.
    Bind,
    Create,
    Get,
    /// The same as JSON.
    RestGet,
    BatchGet,
    List,
    Filter,
    Order,
    Page,
    Update,
    WatchOne,
    /// Over a stream, or in the change log for types without a watch method.
    Watch,
    /// The other name patterns of the type.
    Patterns,
    /// Made from JSON.
    RestCreate,
    Delete,
    /// Reads of a type that cannot be created: nothing is there.
    Empty,
    /// The round itself: it came to its end without a panic.
    Round,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    NotApplicable(String),
    Failed(String),
}

/// How the round of one type went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypeReport {
    pub kind: String,
    pub version: String,
    /// The watch ran over a stream; otherwise it was looked up in the change log.
    pub watched_stream: bool,
    pub steps: BTreeMap<Step, Outcome>,
    /// The second round, over the service that Bowline makes, of types whose own service has not all methods.
    pub synthesised: Option<BTreeMap<Step, Outcome>>,
}

impl TypeReport {
    /// A type that did not come as far as its round.
    pub fn failed(kind: &str, version: &str, step: Step, reason: impl Into<String>) -> Self {
        let steps = BTreeMap::from([(step, Outcome::Failed(reason.into()))]);
        Self {
            kind: kind.to_owned(),
            version: version.to_owned(),
            watched_stream: false,
            steps,
            synthesised: None,
        }
    }

    /// The round went through everything from create over a watch stream to delete.
    pub fn is_whole(&self) -> bool {
        let passed = |step: &Step| self.steps.get(step) == Some(&Outcome::Passed);
        self.watched_stream && [Step::Create, Step::Watch, Step::Delete].iter().all(passed)
    }

    /// How the steps of both rounds ended.
    pub fn outcomes(&self) -> impl Iterator<Item = (Step, &Outcome)> {
        let second = self.synthesised.iter().flatten();
        self.steps.iter().chain(second).map(|(step, outcome)| (*step, outcome))
    }

    pub fn passed(&self) -> bool {
        let failed = self.failures().next().is_some();
        !failed && self.outcomes().any(|(_, outcome)| *outcome == Outcome::Passed)
    }

    pub fn failures(&self) -> impl Iterator<Item = (Step, &str)> {
        self.outcomes().filter_map(|(step, outcome)| match outcome {
            Outcome::Failed(reason) => Some((step, reason.as_str())),
            Outcome::Passed | Outcome::NotApplicable(_) => None,
        })
    }
}

/// Collects outcomes while a round runs. A step that failed once stays failed.
#[derive(Debug, Default)]
pub(super) struct Log {
    steps: BTreeMap<Step, Outcome>,
    pub(super) watched_stream: bool,
}

impl Log {
    /// Notes how a step went and gives its result if it passed.
    pub(super) fn note<T>(&mut self, step: Step, result: Result<T, Failure>) -> Option<T> {
        match result {
            Ok(value) => {
                if !matches!(self.steps.get(&step), Some(Outcome::Failed(_))) {
                    self.steps.insert(step, Outcome::Passed);
                }
                Some(value)
            }
            Err(failure) => {
                self.fail(step, failure.to_string());
                None
            }
        }
    }

    pub(super) fn skip(&mut self, step: Step, why: &str) {
        self.steps.entry(step).or_insert_with(|| Outcome::NotApplicable(why.to_owned()));
    }

    pub(super) fn fail(&mut self, step: Step, reason: String) {
        let first = matches!(self.steps.get(&step), Some(Outcome::Failed(_)));
        if !first {
            self.steps.insert(step, Outcome::Failed(reason));
        }
    }

    pub(super) fn report(self, ty: &ResourceType) -> TypeReport {
        TypeReport {
            kind: ty.kind.clone(),
            version: ty.version.clone(),
            watched_stream: self.watched_stream,
            steps: self.steps,
            synthesised: None,
        }
    }
}
