//! The OpenAPI document of every service version: it is made without a panic, and every reference in it leads somewhere.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bowline_api::openapi;
use bowline_schema::model::Registry;
use serde_json::Value;

use crate::package::panicked;

/// What is wrong with the documents; empty if nothing is.
pub fn problems(registry: &Registry) -> Vec<String> {
    let mut problems = Vec::new();
    for version in registry.services.iter().flat_map(|service| &service.versions) {
        let (service, name) = (&version.service, &version.version);
        let make = || openapi::document(registry, service, name, &|_| true);
        let found = match catch_unwind(AssertUnwindSafe(make)) {
            Err(panic) => vec![panicked(panic.as_ref())],
            Ok(None) => vec!["there is no document".to_owned()],
            Ok(Some(document)) => dangling(&document),
        };
        problems.extend(found.into_iter().map(|problem| format!("{service} {name}: {problem}")));
    }
    problems
}

/// References that lead nowhere, each once.
fn dangling(document: &Value) -> Vec<String> {
    let mut references = BTreeSet::new();
    let mut waiting = vec![document];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(members) => {
                // A property may itself be called `$ref`; then its value is a schema, not a text.
                references.extend(members.get("$ref").and_then(Value::as_str));
                waiting.extend(members.values());
            }
            _ => {}
        }
    }
    let leads_nowhere = |reference: &&str| {
        let pointer = reference.strip_prefix('#');
        pointer.is_none_or(|pointer| document.pointer(pointer).is_none())
    };
    let dangling = references.into_iter().filter(leads_nowhere);
    dangling.map(|reference| format!("\"{reference}\" leads nowhere")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_that_leads_nowhere_is_found_at_any_depth() {
        let document = json!({
            "paths": { "/a": [{ "$ref": "#/components/schemas/A" }, { "x": { "$ref": "#/components/schemas/B" } }] },
            "components": { "schemas": { "A": { "type": "string" } } },
        });
        assert_eq!(dangling(&document), ["\"#/components/schemas/B\" leads nowhere"]);
    }
}
