//! What a server says of single fields and resources when it refuses a request, as lines for people: bad fields, references
//! to what is not there, and what blocks a deletion.

use tonic_types::{BadRequest, ErrorDetails, PreconditionViolation};

/// Most violations of one kind that are printed; more help nobody.
const VIOLATIONS_MAX: usize = 20;
/// Type of a violation: a reference that cannot be made.
const REFERENCE: &str = "REFERENCE";
/// Type of a violation: a resource that refers to the one that was to be deleted.
const REFERRER: &str = "REFERRER";
/// In the metadata of a refused deletion: how many block it, and with a deployment behind it how many of those it has.
const BLOCKERS: &str = "blockers";
/// Deployments that did not show what they hold.
const UNASKED: &str = "unasked";

/// `message` is what was said already: where it is all that there is about a single field, it is not said again.
pub(crate) fn lines(details: &ErrorDetails, message: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(bad) = details.bad_request().filter(|bad| !is_said(bad, message)) {
        push(&mut lines, &bad.field_violations, |bad| match bad.field.as_str() {
            "" => bad.description.clone(),
            field => format!("field {field}: {}", bad.description),
        });
    }
    match details.precondition_failure().map(|failure| &failure.violations[..]) {
        // The message names the only one, with its field.
        Some([only]) if only.r#type == REFERENCE => {}
        Some(all) => push(&mut lines, all, violation),
        None => {}
    }
    lines.extend(blockers(details));
    lines
}

fn is_said(bad: &BadRequest, message: &str) -> bool {
    match &*bad.field_violations {
        [only] => message == format!("{}: {}", only.field, only.description),
        _ => false,
    }
}

fn violation(violation: &PreconditionViolation) -> String {
    let PreconditionViolation { r#type, subject, description } = violation;
    match &**r#type {
        REFERENCE => format!("reference to {subject}, {description}"),
        REFERRER => format!("blocked by {subject}: {description}"),
        other => format!("blocked by {subject} ({other}): {description}"),
    }
}

fn push<V>(lines: &mut Vec<String>, all: &[V], line: impl Fn(&V) -> String) {
    lines.extend(all.iter().take(VIOLATIONS_MAX).map(line));
    if all.len() > VIOLATIONS_MAX {
        lines.push(format!("... and {} more", all.len() - VIOLATIONS_MAX));
    }
}

/// How many block a deletion and where they are, as far as the lines before do not tell.
fn blockers(details: &ErrorDetails) -> Vec<String> {
    let Some(metadata) = details.error_info().map(|info| &info.metadata) else {
        return Vec::new();
    };
    let named = details.precondition_failure().map_or(0, |failure| failure.violations.len());
    let mut lines = Vec::new();
    if let Some(count) = metadata.get(BLOCKERS).filter(|count| **count != named.to_string()) {
        lines.push(format!("these are {} of {count}", named.min(VIOLATIONS_MAX)));
    }
    let at = |(key, count): (&String, &String)| {
        let deployment = key.strip_prefix(BLOCKERS)?.strip_prefix('.')?;
        Some((deployment.to_owned(), count.clone()))
    };
    let mut by_deployment: Vec<_> = metadata.iter().filter_map(at).collect();
    by_deployment.sort();
    if by_deployment.len() > 1 {
        let each = by_deployment.iter().map(|(at, count)| format!("{count} at {at}"));
        lines.push(format!("there are {}", each.collect::<Vec<_>>().join(", ")));
    }
    if let Some(unasked) = metadata.get(UNASKED) {
        lines.push(format!("there may be more: no answer from {unasked}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use expect_test::expect;

    use super::*;

    fn refused(metadata: &[(&str, &str)]) -> ErrorDetails {
        let metadata = metadata.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let mut details = ErrorDetails::new();
        details.set_error_info("ANY", "bowline", metadata.collect::<HashMap<String, String>>());
        details
    }

    fn text(details: &ErrorDetails, message: &str) -> String {
        lines(details, message).join("\n")
    }

    #[test]
    fn what_the_message_says_of_one_field_is_not_repeated() {
        let mut details = refused(&[]);
        details.add_bad_request_violation("filter", "expected a value");
        expect![""].assert_eq(&text(&details, "filter: expected a value"));
        details.add_bad_request_violation("order_by", "is empty");
        expect![[r#"
            field filter: expected a value
            field order_by: is empty"#]]
        .assert_eq(&text(&details, "2 fields are wrong"));
    }

    #[test]
    fn all_that_blocks_is_listed() {
        let mut details = refused(&[("blockers", "2"), ("blockers.devices.test@eu", "2")]);
        for name in ["a", "b"] {
            let subject = format!("//devices.test/projects/p/devices/{name}");
            details.add_precondition_failure_violation("REFERRER", subject, "model refers to m");
        }
        expect![[r#"
            blocked by //devices.test/projects/p/devices/a: model refers to m
            blocked by //devices.test/projects/p/devices/b: model refers to m"#]]
        .assert_eq(&text(&details, "referred to"));
    }

    #[test]
    fn what_blocks_and_is_not_listed_is_counted() {
        let mut details = refused(&[
            ("blockers", "more than 1000"),
            ("blockers.devices.test@us", "more than 1000"),
            ("blockers.apps.test@eu", "3"),
            ("unasked", "apps.test@us"),
        ]);
        let subject = "//devices.test/projects/p/devices/a";
        details.add_precondition_failure_violation("REFERRER", subject, "model refers to m");
        expect![[r#"
            blocked by //devices.test/projects/p/devices/a: model refers to m
            these are 1 of more than 1000
            there are 3 at apps.test@eu, more than 1000 at devices.test@us
            there may be more: no answer from apps.test@us"#]]
        .assert_eq(&text(&details, "referred to"));
    }

    #[test]
    fn references_that_cannot_be_made_block_nothing() {
        let mut details = refused(&[]);
        let mut add = |target: &str, why: &str| {
            details.add_precondition_failure_violation("REFERENCE", target, why);
        };
        add("//iam.test/projects/p", "parent: it does not exist");
        add("//devices.test/models/m", "spec.model: it is being deleted");
        expect![[r#"
            reference to //iam.test/projects/p, parent: it does not exist
            reference to //devices.test/models/m, spec.model: it is being deleted"#]]
        .assert_eq(&text(&details, "refers to what does not exist (and 1 more)"));
    }
}
