//! The engine's refusals, each worded once, and the mapping of errors from below to a status.

use bowline_base::{Detail, Reason, Status, chain};
use bowline_schema::model::{Method, ResourceType, Role};
use bowline_store::{CommitError, StoreError};

pub(crate) fn not_found(ty: &ResourceType, name: &str) -> Status {
    Status::new(Reason::ResourceNotFound, format!("{} \"{name}\" does not exist", ty.singular))
        .with(Detail::Resource { kind: ty.kind.clone(), name: name.to_owned() })
        .with_metadata("kind", &ty.kind)
        .with_metadata("name", name)
}

pub(crate) fn exists(ty: &ResourceType, name: &str) -> Status {
    Status::new(Reason::ResourceExists, format!("{} \"{name}\" exists already", ty.singular))
        .with(Detail::Resource { kind: ty.kind.clone(), name: name.to_owned() })
        .with_metadata("kind", &ty.kind)
        .with_metadata("name", name)
}

/// The name is kept taken by a deletion that has not finished.
pub(crate) fn deletion_pending(ty: &ResourceType, name: &str) -> Status {
    let message = format!(
        "{} \"{name}\" is being deleted; its name is free when that has finished",
        ty.singular
    );
    Status::new(Reason::DeletionPending, message)
        .with(Detail::Resource { kind: ty.kind.clone(), name: name.to_owned() })
        .with_metadata("kind", &ty.kind)
        .with_metadata("name", name)
}

pub(crate) fn conflict(ty: &ResourceType, name: &str, why: &str) -> Status {
    Status::new(
        Reason::Conflict,
        format!("{} \"{name}\" {why}; read it again and retry", ty.singular),
    )
    .with(Detail::Resource { kind: ty.kind.clone(), name: name.to_owned() })
}

pub(crate) fn limit(what: &str, is: usize, max: usize, unit: &str) -> Status {
    Status::new(Reason::LimitExceeded, format!("{what} is {is} {unit}; the limit is {max}"))
        .with_metadata("limit", max.to_string())
}

pub(crate) fn no_handler(method: &Method) -> Status {
    let name = method.path.trim_start_matches('/');
    let why = match &method.role {
        Role::Action { unbound: Some(reason) } => {
            format!(" (not served as a standard method: {reason})")
        }
        _ => String::new(),
    };
    let message = format!(
        "{name} has no handler{why}; register one with NodeBuilder::action(\"{}\", ...)",
        method.path
    );
    Status::new(Reason::MethodNotImplemented, message)
}

/// A write came where only reads are answered.
pub(crate) fn no_write() -> Status {
    Status::new(Reason::Internal, "a write was taken for a read")
}

/// Turns a store failure into a status, and logs it where it is handled: here.
pub(crate) fn store(error: &StoreError) -> Status {
    match error {
        StoreError::Closed => Status::new(Reason::Unavailable, "the server is stopping"),
        StoreError::Full => Status::new(Reason::StorageFull, "the disk of the store is full"),
        StoreError::Unavailable(_) => {
            tracing::warn!(error = %chain(error), "store does not answer");
            Status::new(Reason::Unavailable, "the store does not answer")
        }
        StoreError::Corrupt(_) | StoreError::Failed(_) => {
            tracing::error!(error = %chain(error), "store failed");
            Status::new(Reason::Internal, "the store failed; the server's log has the cause")
        }
    }
}

/// A commit that failed for another reason than one of its conditions.
pub(crate) fn commit(error: &CommitError) -> Status {
    match error {
        CommitError::Store(error) => store(error),
        CommitError::ConditionFailed { .. } => {
            Status::new(Reason::Conflict, "the resource changed while it was written; retry")
        }
        CommitError::IdTaken { .. } | CommitError::Malformed(_) => {
            tracing::error!(error = %chain(error), "batch refused");
            Status::new(Reason::Internal, "the write could not be put together")
        }
    }
}

/// Stored bytes that do not decode: damage, never the client's fault.
pub(crate) fn damaged(ty: &ResourceType, name: &str, error: &dyn std::fmt::Display) -> Status {
    tracing::error!(kind = %ty.kind, name, %error, "stored resource does not decode");
    Status::new(Reason::Internal, format!("stored {} \"{name}\" is damaged", ty.singular))
}
