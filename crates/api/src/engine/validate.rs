//! What must hold for a resource before it is saved, beyond its types: required fields, references, size.
//!
//! All violations are reported at once, each with its path.

use bowline_base::{Detail, FieldViolation, Reason, Status};
use bowline_resource::document::Document;
use bowline_resource::{reference, rules};
use bowline_schema::model::Registry;

use super::hooks::SaveKind;
use super::well_formed;

/// Checks `document`; paths in errors start with `field`, the request field that the resource came in.
pub(crate) fn check(
    registry: &Registry,
    document: &Document,
    field: &str,
    save: SaveKind,
) -> Result<(), Status> {
    let mut malformed = Vec::new();
    well_formed::check(&document.body, "", 1, &mut malformed);
    if !malformed.is_empty() {
        let violations = malformed.into_iter().map(|(path, why)| violation(field, &path, why));
        return Err(refusal(Reason::InvalidField, violations.collect()));
    }
    let missing = match save {
        SaveKind::Create => rules::missing_required(&document.ty, &document.body),
        SaveKind::Update => rules::missing_after_update(&document.ty, &document.body),
    };
    if !missing.is_empty() {
        let violations = missing.into_iter().map(|path| violation(field, &path, "is required"));
        return Err(refusal(Reason::InvalidField, violations.collect()));
    }
    let malformed = reference::check_syntax(document, registry);
    if malformed.is_empty() {
        return Ok(());
    }
    let violations = malformed
        .into_iter()
        .map(|problem| violation(field, &problem.path, &problem.error.to_string()));
    Err(refusal(Reason::InvalidReference, violations.collect()))
}

fn violation(field: &str, path: &str, description: &str) -> FieldViolation {
    let field = match (field, path) {
        ("", path) => path.to_owned(),
        (field, "") => field.to_owned(),
        (field, path) => format!("{field}.{path}"),
    };
    FieldViolation { field, description: description.to_owned() }
}

fn refusal(reason: Reason, violations: Vec<FieldViolation>) -> Status {
    let first = violations.first();
    let message = first.map_or_else(String::new, |v| format!("{}: {}", v.field, v.description));
    let message = match violations.len() {
        0 | 1 => message,
        n => format!("{message} (and {} more)", n - 1),
    };
    Status::new(reason, message).with(Detail::BadRequest(violations))
}
