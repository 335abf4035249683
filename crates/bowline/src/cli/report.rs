//! Printing a failure for people: code, reason, message, what is known besides, what to do. Never a debug dump.

use std::fmt::Write as _;

use bowline::{FleetError, StartError, storage};
use bowline_api::server::ServeError;
use bowline_store::backup::{BackupError, RestoreError};
use tonic_types::StatusExt;

use super::error::Error;
use super::violations;

/// Renders `error` as the lines that go to standard error, without the final line break.
pub(crate) fn render(error: &Error, color: bool) -> String {
    let label = if color { "\x1b[1;31merror:\x1b[0m" } else { "error:" };
    let mut text = match error {
        Error::Server(status) => format!("{label} {}", clean(&server_line(status))),
        other => format!("{label} {}", clean(&bowline_base::chain(other).to_string())),
    };
    for line in notes(error) {
        let _ = write!(text, "\n  {}", clean(&line));
    }
    text
}

/// What a server says reaches a terminal: control characters other than line breaks are shown, not obeyed.
fn clean(text: &str) -> String {
    text.chars()
        .map(
            |c| {
                if c.is_control() && c != '\n' && c != '\t' {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            },
        )
        .collect()
}

/// `NOT_FOUND (RESOURCE_NOT_FOUND): no device is called ...`
fn server_line(status: &tonic::Status) -> String {
    let code = code_name(status.code());
    match status.get_details_error_info() {
        Some(info) if !info.reason.is_empty() => {
            format!("{code} ({}): {}", info.reason, status.message())
        }
        _ => format!("{code}: {}", status.message()),
    }
}

fn notes(error: &Error) -> Vec<String> {
    match error {
        Error::UnknownType { near, .. } if near.is_empty() => {
            vec!["hint: `bowline api` lists the types of the server".to_owned()]
        }
        Error::UnknownType { near, .. } => {
            vec![format!("hint: did you mean {}? `bowline api` lists all types", near.join(" or "))]
        }
        Error::AmbiguousType { candidates, .. } => {
            vec![format!("hint: say which one: {}", candidates.join(", "))]
        }
        Error::UnknownVersion { known, .. } => vec![format!("hint: it has {}", known.join(", "))],
        Error::UnknownName { near, .. } => {
            near.iter().map(|p| format!("a name may look like {p}")).collect()
        }
        Error::AmbiguousName { candidates, .. } => {
            vec![format!("hint: put the type before the name: {}", candidates.join(", "))]
        }
        Error::NameOfOtherType { patterns, .. } => {
            patterns.iter().map(|p| format!("its names look like {p}")).collect()
        }
        Error::NoMethod { .. } => {
            vec!["hint: `bowline api describe TYPE` shows its methods".to_owned()]
        }
        Error::Connect { .. } => {
            vec![
                "hint: is it running? `bowline up FOLDER` starts one; --server says where it is"
                    .to_owned(),
            ]
        }
        Error::NoMeta { .. } => {
            vec![
                "hint: it was started without a configuration; `bowline up -f bowline.yaml` starts a fleet, see \
                 docs/deployments.md"
                    .to_owned(),
            ]
        }
        Error::Server(status) => server_notes(status),
        Error::Exists { path } if path.extension().is_some_and(|e| e == "db" || e == "db-wal") => {
            vec![NOT_EMPTY.to_owned()]
        }
        Error::Exists { .. } => {
            vec!["hint: --overwrite replaces it once the new one is complete".to_owned()]
        }
        Error::Restore { source: RestoreError::NotEmpty { .. }, .. } => vec![NOT_EMPTY.to_owned()],
        Error::Backup(BackupError::NewerFormat { .. }) => {
            vec!["hint: restore it with the program that wrote it, or a newer one".to_owned()]
        }
        Error::RestoreInterrupted => {
            vec!["hint: the same restore again clears it away first".to_owned()]
        }
        Error::NoServices => {
            vec!["hint: a service has a type with a name pattern, or a method".to_owned()]
        }
        Error::NoStores | Error::NoStore { .. } => vec![NO_DATA.to_owned()],
        Error::Store(error) if is_absent(error) => vec![NO_DATA.to_owned()],
        Error::Start(error) => start_hint(error).map(str::to_owned).into_iter().collect(),
        Error::Fleet(error) => fleet_hint(error).map(str::to_owned).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn start_hint(error: &StartError) -> Option<&'static str> {
    match error {
        StartError::Serve(ServeError::Listen { source, .. }) if is_taken(source) => {
            Some("hint: another process listens there; --listen takes another address")
        }
        StartError::Store(error) if is_in_use(error) => Some(IN_USE),
        _ => None,
    }
}

fn fleet_hint(error: &FleetError) -> Option<&'static str> {
    match error {
        FleetError::Listen { source: ServeError::Listen { source, .. }, .. }
            if is_taken(source) =>
        {
            Some(
                "hint: another process listens there; `listen` in the configuration takes another address",
            )
        }
        FleetError::Store(error) if is_in_use(error) => Some(IN_USE),
        _ => None,
    }
}

fn is_taken(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AddrInUse
}

fn is_in_use(error: &storage::OpenError) -> bool {
    matches!(error, storage::OpenError::Embedded(bowline_store::OpenError::InUse { .. }))
}

fn is_absent(error: &storage::OpenError) -> bool {
    match error {
        storage::OpenError::Embedded(bowline_store::OpenError::File { source, .. }) => {
            source.kind() == std::io::ErrorKind::NotFound
        }
        _ => false,
    }
}

const NO_DATA: &str =
    "hint: --data or --store says where the data is, or -f with the configuration of a fleet";

const IN_USE: &str =
    "hint: only one process serves a file; stop the other one, or name another place with --data";

const NOT_EMPTY: &str = "hint: only an empty store takes a backup; move what is there aside, or name another \
     place with --data or --store";

fn server_notes(status: &tonic::Status) -> Vec<String> {
    let details = status.get_error_details();
    let mut lines = violations::lines(&details, status.message());
    if let Some(resource) = details.resource_info() {
        lines.push(format!("resource: {} {}", resource.resource_type, resource.resource_name));
    }
    if let Some(after) = details.retry_info().and_then(|retry| retry.retry_delay) {
        lines.push(format!("try again in {}", human_seconds(after)));
    }
    if let Some(help) = details.help() {
        lines.extend(help.links.iter().map(|link| format!("help: {}", link.url)));
    }
    match details.error_info() {
        Some(info) if is_reason(&info.reason) => {
            lines.push(format!("page: docs/errors/{}.md", info.reason));
        }
        _ => {}
    }
    lines
}

/// Whether the reason is one of this project, which has a page for each.
fn is_reason(name: &str) -> bool {
    bowline_base::Reason::ALL.iter().any(|reason| reason.name() == name)
}

fn human_seconds(duration: std::time::Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

pub(crate) fn code_name(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::Ok => "OK",
        tonic::Code::Cancelled => "CANCELLED",
        tonic::Code::Unknown => "UNKNOWN",
        tonic::Code::InvalidArgument => "INVALID_ARGUMENT",
        tonic::Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        tonic::Code::NotFound => "NOT_FOUND",
        tonic::Code::AlreadyExists => "ALREADY_EXISTS",
        tonic::Code::PermissionDenied => "PERMISSION_DENIED",
        tonic::Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        tonic::Code::FailedPrecondition => "FAILED_PRECONDITION",
        tonic::Code::Aborted => "ABORTED",
        tonic::Code::OutOfRange => "OUT_OF_RANGE",
        tonic::Code::Unimplemented => "UNIMPLEMENTED",
        tonic::Code::Internal => "INTERNAL",
        tonic::Code::Unavailable => "UNAVAILABLE",
        tonic::Code::DataLoss => "DATA_LOSS",
        tonic::Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use expect_test::expect;
    use tonic_types::ErrorDetails;

    use super::*;

    fn failed(code: tonic::Code, message: &str, details: ErrorDetails) -> Error {
        tonic::Status::with_error_details(code, message, details).into()
    }

    #[test]
    fn every_bad_field_is_named_with_its_problem() {
        let mut details = ErrorDetails::new();
        details.set_error_info("INVALID_FIELD", "bowline", HashMap::new());
        details.add_bad_request_violation("device.spec.model", "is required");
        details.add_bad_request_violation("device.name", "has a bad id");
        let error = failed(tonic::Code::InvalidArgument, "2 fields are wrong", details);
        expect![[r#"
            error: INVALID_ARGUMENT (INVALID_FIELD): 2 fields are wrong
              field device.spec.model: is required
              field device.name: has a bad id
              page: docs/errors/INVALID_FIELD.md"#]]
        .assert_eq(&render(&error, false));
    }

    #[test]
    fn a_reason_of_another_program_has_no_page() {
        let mut details = ErrorDetails::new();
        details.set_error_info("API_DISABLED", "googleapis.com", HashMap::new());
        let error = failed(tonic::Code::PermissionDenied, "no", details);
        expect!["error: PERMISSION_DENIED (API_DISABLED): no"].assert_eq(&render(&error, false));
    }

    #[test]
    fn escapes_of_a_server_do_not_reach_the_terminal() {
        let error = failed(tonic::Code::Internal, "\u{1b}[2Jboo", ErrorDetails::new());
        assert!(!render(&error, false).contains('\u{1b}'));
    }

    #[test]
    fn a_port_that_is_taken_says_how_to_take_another() {
        let address = "127.0.0.1:7400".parse().unwrap();
        let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        let error = Error::Start(StartError::Serve(ServeError::Listen { address, source }));
        expect![[r#"
            error: listen on 127.0.0.1:7400: address in use
              hint: another process listens there; --listen takes another address"#]]
        .assert_eq(&render(&error, false));
    }

    #[test]
    fn an_unknown_type_suggests_near_ones() {
        let error = Error::UnknownType { text: "devics".into(), near: vec!["devices".into()] };
        expect![[r#"
            error: no type is called "devics"
              hint: did you mean devices? `bowline api` lists all types"#]]
        .assert_eq(&render(&error, false));
    }
}
