//! The schema of error responses: AIP-193.

use serde_json::{Value, json};

use super::schemas::Schemas;

/// Name of both components.
pub(super) const COMPONENT: &str = "Error";

/// The `default` response of every operation.
pub(super) fn response() -> Value {
    json!({"$ref": format!("#/components/responses/{COMPONENT}")})
}

/// What [`response`] refers to.
pub(super) fn responses() -> Value {
    let schema = json!({"$ref": format!("#/components/schemas/{COMPONENT}")});
    json!({COMPONENT: {
        "description": "The request failed; `details` has the reason, and what to mend.",
        "content": {"application/json": {"schema": schema}},
    }})
}

/// Adds the component. A message of the service that has the same name was renamed before.
pub(super) fn add(schemas: &mut Schemas<'_>) {
    let detail = json!({
        "type": "object",
        "description": "A message of google.rpc, such as ErrorInfo, BadRequest or PreconditionFailure.",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    });
    schemas.insert(
        COMPONENT,
        json!({
            "type": "object",
            "required": ["error"],
            "properties": {"error": {
                "type": "object",
                "required": ["code", "message", "status", "details"],
                "properties": {
                    "code": {"type": "integer", "description": "The HTTP code."},
                    "message": {"type": "string"},
                    "status": {"type": "string", "description": "The canonical code, such as `NOT_FOUND`."},
                    "details": {"type": "array", "items": detail},
                },
            }},
        }),
    );
}
