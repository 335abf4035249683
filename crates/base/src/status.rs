//! The canonical status: what every failed request turns into, once, at the edge.
//!
//! A [`Status`] has a [`Code`] (gRPC's canonical codes), a [`Reason`] with a documentation page, a message for people,
//! and typed details. How details look on the wire (`google.rpc.*`) is the API crate's business.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Reason;

/// gRPC's canonical codes, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    /// The name as AIP-193 JSON writes it: `INVALID_ARGUMENT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// The HTTP status that google.rpc.Code documents for this code.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Cancelled => 499,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::DeadlineExceeded => 504,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::PermissionDenied => 403,
            Self::Unauthenticated => 401,
            Self::ResourceExhausted => 429,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
        }
    }
}

/// One bad field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path from the request message, `device.spec.model`; empty for the request as a whole.
    pub field: String,
    pub description: String,
}

/// One thing that stands in the way of a request that is otherwise well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreconditionViolation {
    /// What kind of precondition, in UPPER_SNAKE.
    pub kind: String,
    /// What it is about, usually a resource name.
    pub subject: String,
    pub description: String,
}

/// A typed detail of a status; each becomes one `google.rpc` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    BadRequest(Vec<FieldViolation>),
    Precondition(Vec<PreconditionViolation>),
    /// The resource that the failure is about.
    Resource {
        kind: String,
        name: String,
    },
    /// When a client may try again.
    Retry {
        after: Duration,
    },
}

/// A failed request: code, reason, message for people, details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub reason: Reason,
    pub message: String,
    /// Facts for programs, as in `google.rpc.ErrorInfo.metadata`.
    pub metadata: BTreeMap<String, String>,
    pub details: Vec<Detail>,
}

impl Status {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), metadata: BTreeMap::new(), details: Vec::new() }
    }

    /// A request with one bad field. `field` is the path from the request message.
    pub fn bad_field(
        reason: Reason,
        field: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        let violation = FieldViolation { field: field.into(), description: description.into() };
        let message = if violation.field.is_empty() {
            violation.description.clone()
        } else {
            format!("{}: {}", violation.field, violation.description)
        };
        Self::new(reason, message).with(Detail::BadRequest(vec![violation]))
    }

    pub fn with(mut self, detail: Detail) -> Self {
        self.details.push(detail);
        self
    }

    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    pub fn code(&self) -> Code {
        self.reason.code()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code().name(), self.reason.name(), self.message)
    }
}

impl std::error::Error for Status {}
