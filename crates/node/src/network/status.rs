//! A failed request as gRPC carries it, there and back: code, message, and `google.rpc` details.
//!
//! Neither direction cuts or hides anything; what clients may see is decided where requests are answered.

use std::collections::BTreeMap;

use bowline_base::{Code, Detail, FieldViolation, PreconditionViolation, Reason, Status};
use tonic_types::{BadRequest, ErrorDetail, ErrorInfo, PreconditionFailure};
use tonic_types::{ResourceInfo, RetryInfo, StatusExt};

/// `google.rpc.ErrorInfo.domain` of every error that Bowline itself makes.
pub const ERROR_DOMAIN: &str = "bowline";

/// The status with its details.
pub fn to_tonic(status: &Status) -> tonic::Status {
    let metadata = status.metadata.clone().into_iter();
    let info = ErrorInfo::new(
        status.reason.name(),
        ERROR_DOMAIN,
        metadata.collect::<std::collections::HashMap<_, _>>(),
    );
    let details = std::iter::once(info.into()).chain(status.details.iter().map(detail_out));
    tonic::Status::with_error_details_vec(
        tonic_code(status.code()),
        status.message.clone(),
        details.collect::<Vec<_>>(),
    )
}

/// What a Bowline deployment answered; `None` if the failure is none that one has answered, but the transport's own.
///
/// A reason that this build does not know, from a newer one, becomes the most general reason of the same code.
pub fn from_tonic(status: &tonic::Status) -> Option<Status> {
    let details = status.check_error_details_vec().ok()?;
    let info = details.iter().find_map(|detail| match detail {
        ErrorDetail::ErrorInfo(info) if info.domain == ERROR_DOMAIN => Some(info),
        _ => None,
    })?;
    let known = Reason::ALL.iter().copied().find(|reason| reason.name() == info.reason);
    let metadata: BTreeMap<_, _> = info.metadata.clone().into_iter().collect();
    Some(Status {
        reason: known.unwrap_or_else(|| general_reason(status.code())),
        message: status.message().to_owned(),
        metadata,
        details: details.iter().filter_map(detail_in).collect(),
    })
}

/// gRPC's own type for a canonical code.
pub fn tonic_code(code: Code) -> tonic::Code {
    match code {
        Code::Cancelled => tonic::Code::Cancelled,
        Code::Unknown => tonic::Code::Unknown,
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::NotFound => tonic::Code::NotFound,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Aborted => tonic::Code::Aborted,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::Unimplemented => tonic::Code::Unimplemented,
        Code::Internal => tonic::Code::Internal,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
    }
}

/// The reason that says least beyond its code.
fn general_reason(code: tonic::Code) -> Reason {
    match code {
        tonic::Code::InvalidArgument | tonic::Code::OutOfRange => Reason::InvalidField,
        tonic::Code::DeadlineExceeded => Reason::DeadlineExceeded,
        tonic::Code::NotFound => Reason::ResourceNotFound,
        tonic::Code::AlreadyExists => Reason::ResourceExists,
        tonic::Code::PermissionDenied => Reason::CallerRefused,
        tonic::Code::Unauthenticated => Reason::CallerNotIdentified,
        tonic::Code::ResourceExhausted => Reason::TooManyRequests,
        tonic::Code::FailedPrecondition => Reason::FailedPrecondition,
        tonic::Code::Aborted => Reason::Conflict,
        tonic::Code::Unimplemented => Reason::MethodNotImplemented,
        tonic::Code::Unavailable | tonic::Code::Cancelled => Reason::Unavailable,
        tonic::Code::Ok | tonic::Code::Unknown | tonic::Code::Internal | tonic::Code::DataLoss => {
            Reason::Internal
        }
    }
}

fn detail_out(detail: &Detail) -> ErrorDetail {
    match detail {
        Detail::BadRequest(violations) => {
            let out =
                |v: &FieldViolation| tonic_types::FieldViolation::new(&v.field, &v.description);
            BadRequest::new(violations.iter().map(out).collect::<Vec<_>>()).into()
        }
        Detail::Precondition(violations) => {
            let out = |v: &PreconditionViolation| {
                tonic_types::PreconditionViolation::new(&v.kind, &v.subject, &v.description)
            };
            PreconditionFailure::new(violations.iter().map(out).collect::<Vec<_>>()).into()
        }
        Detail::Resource { kind, name } => ResourceInfo::new(kind, name, "", "").into(),
        Detail::Retry { after } => RetryInfo::new(Some(*after)).into(),
    }
}

/// `None`: the error info itself, and details that Bowline never sends.
fn detail_in(detail: &ErrorDetail) -> Option<Detail> {
    match detail {
        ErrorDetail::BadRequest(bad) => {
            let back = |v: &tonic_types::FieldViolation| FieldViolation {
                field: v.field.clone(),
                description: v.description.clone(),
            };
            Some(Detail::BadRequest(bad.field_violations.iter().map(back).collect()))
        }
        ErrorDetail::PreconditionFailure(failure) => {
            let back = |v: &tonic_types::PreconditionViolation| PreconditionViolation {
                kind: v.r#type.clone(),
                subject: v.subject.clone(),
                description: v.description.clone(),
            };
            Some(Detail::Precondition(failure.violations.iter().map(back).collect()))
        }
        ErrorDetail::ResourceInfo(info) => Some(Detail::Resource {
            kind: info.resource_type.clone(),
            name: info.resource_name.clone(),
        }),
        ErrorDetail::RetryInfo(info) => info.retry_delay.map(|after| Detail::Retry { after }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    fn detail() -> impl Strategy<Value = Detail> {
        let field = (".{0,20}", ".{0,20}")
            .prop_map(|(field, description)| FieldViolation { field, description });
        let precondition =
            (".{0,20}", ".{0,20}", ".{0,20}").prop_map(|(kind, subject, description)| {
                PreconditionViolation { kind, subject, description }
            });
        prop_oneof![
            vec(field, 0..4).prop_map(Detail::BadRequest),
            vec(precondition, 0..4).prop_map(Detail::Precondition),
            (".{0,20}", ".{0,20}").prop_map(|(kind, name)| Detail::Resource { kind, name }),
            (0u64..1_000_000_000, 0u32..1_000_000_000)
                .prop_map(|(s, n)| Detail::Retry { after: Duration::new(s, n) }),
        ]
    }

    prop_compose! {
        fn status()(
            reason in proptest::sample::select(Reason::ALL),
            message in ".{0,100}",
            metadata in btree_map(".{0,10}", ".{0,20}", 0..4),
            details in vec(detail(), 0..4),
        ) -> Status {
            Status { reason, message, metadata, details }
        }
    }

    proptest! {
        #[test]
        fn what_was_answered_is_what_is_read(status in status()) {
            prop_assert_eq!(from_tonic(&to_tonic(&status)), Some(status.clone()));
            // Also through the headers that it travels in.
            let headers = to_tonic(&status).into_http::<()>().into_parts().0.headers;
            let arrived = tonic::Status::from_header_map(&headers).unwrap();
            prop_assert_eq!(from_tonic(&arrived), Some(status));
        }

        #[test]
        fn damaged_details_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            let status = tonic::Status::with_details(tonic::Code::Aborted, "m", bytes.into());
            let _ = from_tonic(&status);
        }
    }

    #[test]
    fn failures_of_the_transport_are_nobodys_answer() {
        assert_eq!(from_tonic(&tonic::Status::unavailable("tcp connect error")), None);
        let foreign = ErrorInfo::new("STOCKOUT", "example.com", std::collections::HashMap::new());
        let foreign =
            tonic::Status::with_error_details_vec(tonic::Code::Aborted, "", vec![foreign.into()]);
        assert_eq!(from_tonic(&foreign), None);
    }

    #[test]
    fn a_reason_of_a_newer_build_becomes_a_general_one_of_its_code() {
        let newer = ErrorInfo::new("NEWER", ERROR_DOMAIN, std::collections::HashMap::new());
        for reason in Reason::ALL {
            let code = tonic_code(reason.code());
            let sent = tonic::Status::with_error_details_vec(code, "m", vec![newer.clone().into()]);
            let read = from_tonic(&sent).unwrap();
            assert_eq!((read.code(), &*read.message), (reason.code(), "m"));
        }
    }
}
