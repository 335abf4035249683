//! Why references of a resource are refused, as clients are told: every field with its target.

use bowline_base::{Detail, PreconditionViolation, Reason, Status};
use bowline_graph::TargetName;
use bowline_graph::reference::PARENT;
use bowline_schema::model::ResourceType;

/// Most violations that are listed; more would help nobody.
const VIOLATIONS_MAX: usize = 100;

/// A field whose target cannot be referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Empty: the parent in the name.
    pub(crate) path: String,
    pub(crate) target: TargetName,
    pub(crate) why: Why,
}

/// See [`Problem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It does not exist.
    NotFound,
    /// Its deletion has committed and not finished.
    Deleting,
    /// Its owner does not want it; a clause in the owner's words.
    Refused(String),
}

impl Why {
    fn text(&self) -> &str {
        match self {
            Self::NotFound => "it does not exist",
            Self::Deleting => "it is being deleted",
            Self::Refused(why) => why,
        }
    }
}

/// The refusal of a save; `None` without problems.
pub(crate) fn refusal(ty: &ResourceType, name: &str, problems: &[Problem]) -> Option<Status> {
    // What is only missing can be made; where something is refused for good, that is what to say first.
    let refused = problems.iter().find(|problem| problem.why != Why::NotFound);
    let first = refused.or_else(|| problems.first())?;
    Some(status(ty, name, first, problems))
}

fn status(ty: &ResourceType, name: &str, first: &Problem, problems: &[Problem]) -> Status {
    let what = format!(
        "{} \"{}\" ({})",
        short_kind(&first.target),
        first.target.name,
        field_of(&first.path)
    );
    let (reason, message) = match &first.why {
        Why::NotFound => (
            Reason::ReferenceNotFound,
            format!("{} \"{name}\" refers to what does not exist: {what}", ty.singular),
        ),
        why => (
            Reason::ReferenceRefused,
            format!("{} \"{name}\" must not refer to {what}: {}", ty.singular, why.text()),
        ),
    };
    let message = match problems.len() {
        1 => message,
        n => format!("{message} (and {} more)", n - 1),
    };
    let violations = problems.iter().take(VIOLATIONS_MAX).map(violation).collect();
    Status::new(reason, message).with(Detail::Precondition(violations))
}

/// The refusal of what would be made below something that is being deleted.
pub(crate) fn parent_is_deleting(ty: &ResourceType, name: &str, parent: TargetName) -> Status {
    let problem = Problem { path: PARENT.to_owned(), target: parent, why: Why::Deleting };
    status(ty, name, &problem, std::slice::from_ref(&problem))
}

fn violation(problem: &Problem) -> PreconditionViolation {
    let Problem { path, target, why } = problem;
    PreconditionViolation {
        kind: "REFERENCE".to_owned(),
        subject: format!("//{}/{}", target.service(), target.name),
        description: format!("{}: {}", field_of(path), why.text()),
    }
}

fn field_of(path: &str) -> &str {
    if path == PARENT { "parent" } else { path }
}

fn short_kind(target: &TargetName) -> &str {
    target.kind.split_once('/').map_or(&*target.kind, |(_, kind)| kind)
}
