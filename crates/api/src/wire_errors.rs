//! How a failed request looks on the wire: `google.rpc` details for gRPC, AIP-193 JSON for REST.
//!
//! Both are made from one bounded public view of the status: internal errors lose their text here (it
//! goes to the log, once), and long lists and texts are cut, because gRPC carries them in trailers
//! that clients limit to a few KiB. What a reason means is said by `bowline_base::Reason`.

use std::borrow::Cow;
use std::time::Duration;

use bowline_base::{Detail, FieldViolation, PreconditionViolation, Reason, Status};
pub use bowline_node::network::{ERROR_DOMAIN, tonic_code};
use serde_json::{Value, json};

/// Longest message, in bytes; the rest is cut.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// Longest text in a detail (a field path, a description, a subject, a metadata value), in bytes.
pub const DETAIL_TEXT_BYTES_MAX: usize = 256;

/// Most violations that one error lists.
pub const VIOLATIONS_MAX: usize = 10;

/// What a client reads instead of the text of an internal error.
const INTERNAL_MESSAGE: &str =
    "something that should be impossible happened; the server's log has the cause";

/// The status as gRPC sends it, with details in `grpc-status-details-bin`.
///
/// Call it once per failed request: an internal error is logged here.
pub fn to_tonic(status: &Status) -> tonic::Status {
    let status = public(status);
    bowline_node::network::to_tonic(&status)
}

/// The status as the JSON body of AIP-193, with `http_code` as its `error.code`.
///
/// Call it once per failed request: an internal error is logged here.
pub fn to_json(status: &Status, http_code: u16) -> Value {
    let status = public(status);
    let mut details = vec![json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": status.reason.name(),
        "domain": ERROR_DOMAIN,
        "metadata": status.metadata,
    })];
    details.extend(status.details.iter().map(detail_json));
    json!({"error": {
        "code": http_code,
        "message": status.message,
        "status": status.code().name(),
        "details": details,
    }})
}

/// What a client may see of `status`, within the limits of this file.
///
/// Call it once per failed request: an internal error is logged here.
pub(crate) fn public(status: &Status) -> Status {
    if status.reason == Reason::Internal {
        tracing::error!(message = %status.message, metadata = ?status.metadata, "internal error");
        return Status::new(Reason::Internal, INTERNAL_MESSAGE);
    }
    let cut_pair = |(k, v): (&String, &String)| (cut_detail(k), cut_detail(v));
    Status {
        reason: status.reason,
        message: cut(&status.message, MESSAGE_BYTES_MAX).into_owned(),
        metadata: status.metadata.iter().take(VIOLATIONS_MAX).map(cut_pair).collect(),
        details: status.details.iter().map(bounded).collect(),
    }
}

fn bounded(detail: &Detail) -> Detail {
    let field = |v: &FieldViolation| FieldViolation {
        field: cut_detail(&v.field),
        description: cut_detail(&v.description),
    };
    let precondition = |v: &PreconditionViolation| PreconditionViolation {
        kind: cut_detail(&v.kind),
        subject: cut_detail(&v.subject),
        description: cut_detail(&v.description),
    };
    match detail {
        Detail::BadRequest(all) => {
            Detail::BadRequest(all.iter().take(VIOLATIONS_MAX).map(field).collect())
        }
        Detail::Precondition(all) => {
            Detail::Precondition(all.iter().take(VIOLATIONS_MAX).map(precondition).collect())
        }
        Detail::Resource { kind, name } => {
            Detail::Resource { kind: cut_detail(kind), name: cut_detail(name) }
        }
        Detail::Retry { after } => Detail::Retry { after: *after },
    }
}

fn cut_detail(text: &str) -> String {
    cut(text, DETAIL_TEXT_BYTES_MAX).into_owned()
}

/// At most `bytes_max` bytes of `text`, ending in `…` if something is missing.
fn cut(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8()));
    Cow::Owned(format!("{}…", &text[..end]))
}

fn detail_json(detail: &Detail) -> Value {
    match detail {
        Detail::BadRequest(violations) => json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": violations.iter()
                .map(|v| json!({"field": v.field, "description": v.description}))
                .collect::<Vec<_>>(),
        }),
        Detail::Precondition(violations) => json!({
            "@type": "type.googleapis.com/google.rpc.PreconditionFailure",
            "violations": violations.iter()
                .map(|v| json!({"type": v.kind, "subject": v.subject, "description": v.description}))
                .collect::<Vec<_>>(),
        }),
        Detail::Resource { kind, name } => json!({
            "@type": "type.googleapis.com/google.rpc.ResourceInfo",
            "resourceType": kind,
            "resourceName": name,
        }),
        Detail::Retry { after } => json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": duration_text(*after),
        }),
    }
}

/// A duration as proto3 JSON writes it: `1.5s`.
fn duration_text(duration: Duration) -> String {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    // A Duration has fewer than 10^9 nanoseconds beside its seconds, which fits.
    let nanos = i32::try_from(duration.subsec_nanos()).unwrap_or(0);
    prost_types::Duration { seconds, nanos }.to_string()
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    fn bad_model() -> Status {
        Status::bad_field(Reason::InvalidField, "device.spec.model", "is required")
            .with_metadata("kind", "fleet.example.com/Device")
            .with(Detail::Resource {
                kind: "fleet.example.com/Device".into(),
                name: "devices/d".into(),
            })
            .with(Detail::Retry { after: Duration::from_millis(1500) })
    }

    #[test]
    fn grpc_carries_every_detail() {
        let tonic = to_tonic(&bad_model());
        assert_eq!(tonic.code(), tonic::Code::InvalidArgument);
        let details = tonic.get_error_details();
        let info = details.error_info().expect("always there");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_FIELD", "bowline"));
        assert_eq!(info.metadata["kind"], "fleet.example.com/Device");
        let violations = &details.bad_request().expect("given").field_violations;
        assert_eq!(violations[0].field, "device.spec.model");
        assert_eq!(details.resource_info().expect("given").resource_name, "devices/d");
        let retry = details.retry_info().expect("given").retry_delay;
        assert_eq!(retry, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn rest_carries_the_same_as_aip_193_json() {
        let body = serde_json::to_string_pretty(&to_json(&bad_model(), 400)).unwrap();
        expect_test::expect![[r#"
            {
              "error": {
                "code": 400,
                "message": "device.spec.model: is required",
                "status": "INVALID_ARGUMENT",
                "details": [
                  {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "INVALID_FIELD",
                    "domain": "bowline",
                    "metadata": {
                      "kind": "fleet.example.com/Device"
                    }
                  },
                  {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [
                      {
                        "field": "device.spec.model",
                        "description": "is required"
                      }
                    ]
                  },
                  {
                    "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                    "resourceType": "fleet.example.com/Device",
                    "resourceName": "devices/d"
                  },
                  {
                    "@type": "type.googleapis.com/google.rpc.RetryInfo",
                    "retryDelay": "1.500s"
                  }
                ]
              }
            }"#]]
        .assert_eq(&body);
    }

    #[test]
    fn an_internal_error_shows_nothing_of_its_cause() {
        let status = Status::new(Reason::Internal, "password of the database is hunter2")
            .with_metadata("table", "secret_table");
        let json = to_json(&status, 500).to_string();
        assert!(!json.contains("hunter2") && !json.contains("secret_table"), "{json}");
        assert!(!to_tonic(&status).message().contains("hunter2"));
    }

    #[test]
    fn a_huge_error_fits_in_trailers() {
        let many = (0..1000)
            .map(|i| FieldViolation {
                field: format!("é{i}").repeat(500),
                description: "é".repeat(5000),
            })
            .collect();
        let status =
            Status::new(Reason::InvalidField, "é".repeat(100_000)).with(Detail::BadRequest(many));
        let tonic = to_tonic(&status);
        assert!(tonic.message().len() <= MESSAGE_BYTES_MAX);
        assert!(
            tonic.details().len() + tonic.message().len() < 8 << 10,
            "{}",
            tonic.details().len()
        );
    }

    #[test]
    fn every_reason_has_the_http_code_of_its_canonical_code() {
        for reason in Reason::ALL {
            let code = i32::from(tonic_code(reason.code()));
            assert_eq!(code, reason.code() as i32, "{reason:?}");
        }
    }
}
