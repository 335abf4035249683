//! Every reason that an error can have: one list, each with its code and a page under `docs/errors/`.
//!
//! The name is part of the public API (`google.rpc.ErrorInfo.reason`): add, never rename.

use crate::Code;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $code:ident;)*) => {
        /// Why a request failed; see `docs/errors/<NAME>.md` for what to do about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[doc = $doc])* $variant,)* }

        impl Reason {
            /// All reasons, in the order of this file.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The name on the wire and of the page: `RESOURCE_NOT_FOUND`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The canonical code that this reason always has.
            pub fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }
        }
    };
}

reasons! {
    /// A request field is missing, malformed or not allowed together with another.
    InvalidField = "INVALID_FIELD", InvalidArgument;
    /// A resource name does not match any pattern of its type.
    InvalidName = "INVALID_NAME", InvalidArgument;
    /// A parent is not one that the type can have.
    InvalidParent = "INVALID_PARENT", InvalidArgument;
    /// A reference field does not hold a well-formed name of the type it points to.
    InvalidReference = "INVALID_REFERENCE", InvalidArgument;
    /// The filter does not parse or does not fit the schema.
    InvalidFilter = "INVALID_FILTER", InvalidArgument;
    /// `order_by` does not parse or names a field that cannot be ordered.
    InvalidOrder = "INVALID_ORDER", InvalidArgument;
    /// A field mask names a path that does not exist.
    InvalidMask = "INVALID_MASK", InvalidArgument;
    /// The page token is damaged or was made for another query.
    InvalidPageToken = "INVALID_PAGE_TOKEN", InvalidArgument;
    /// The resume token is damaged or was made for another watch.
    InvalidResumeToken = "INVALID_RESUME_TOKEN", InvalidArgument;
    /// The request body could not be read: not protobuf, not JSON, wrong type, too deep.
    MalformedBody = "MALFORMED_BODY", InvalidArgument;
    /// The request id was used before with another content.
    RequestIdReused = "REQUEST_ID_REUSED", InvalidArgument;
    /// A hook of the service refused the resource.
    ValidationFailed = "VALIDATION_FAILED", InvalidArgument;
    /// No resource has this name.
    ResourceNotFound = "RESOURCE_NOT_FOUND", NotFound;
    /// No such path or method is served here.
    MethodNotFound = "METHOD_NOT_FOUND", NotFound;
    /// A resource of this name exists.
    ResourceExists = "RESOURCE_EXISTS", AlreadyExists;
    /// The resource changed since it was read (etag, cas, or a concurrent write).
    Conflict = "CONFLICT", Aborted;
    /// The operation does not fit the state that the resource is in.
    FailedPrecondition = "FAILED_PRECONDITION", FailedPrecondition;
    /// A message, resource, page or list is larger than a limit.
    LimitExceeded = "LIMIT_EXCEEDED", InvalidArgument;
    /// Too much at once: watches of one client, requests waiting.
    TooManyRequests = "TOO_MANY_REQUESTS", ResourceExhausted;
    /// The method is known and has no handler.
    MethodNotImplemented = "METHOD_NOT_IMPLEMENTED", Unimplemented;
    /// The request took longer than its deadline.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded;
    /// The server is stopping or its store does not answer; safe to try again.
    Unavailable = "UNAVAILABLE", Unavailable;
    /// The resource is written in another region; the metadata says which.
    NotOwned = "NOT_OWNED", Aborted;
    /// The policy that governs the resource does not allow it in that region, or a change of policy has something in its way.
    RegionNotAllowed = "REGION_NOT_ALLOWED", FailedPrecondition;
    /// A registration does not fit what other services and regions have registered.
    RegistrationRefused = "REGISTRATION_REFUSED", FailedPrecondition;
    /// The call is one between deployments, and its caller does not prove to be one.
    CallerNotIdentified = "CALLER_NOT_IDENTIFIED", Unauthenticated;
    /// The calling deployment is not one that may do this: unknown, declared gone, or not a party to it.
    CallerRefused = "CALLER_REFUSED", PermissionDenied;
    /// A reference field names a resource that does not exist.
    ReferenceNotFound = "REFERENCE_NOT_FOUND", FailedPrecondition;
    /// A reference field names a resource that must not be referred to: it is being deleted, or does not allow this service.
    ReferenceRefused = "REFERENCE_REFUSED", FailedPrecondition;
    /// Other resources refer to what is to be deleted, and block that.
    DeletionBlocked = "DELETION_BLOCKED", FailedPrecondition;
    /// A resource of this name is being deleted, and the name is free only when that has finished.
    DeletionPending = "DELETION_PENDING", FailedPrecondition;
    /// The consistency token is damaged, or from before a restore.
    InvalidConsistencyToken = "INVALID_CONSISTENCY_TOKEN", InvalidArgument;
    /// The disk is full or the store refuses to grow.
    StorageFull = "STORAGE_FULL", ResourceExhausted;
    /// Something that should be impossible happened; it is in the server's log.
    Internal = "INTERNAL", Internal;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn every_reason_has_a_page_that_names_its_code() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
        for reason in Reason::ALL {
            let path = format!("{docs}/{}.md", reason.name());
            let page = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{path}: {error}: write what the user can do"));
            assert!(
                page.contains(reason.code().name()),
                "{path} must name {}",
                reason.code().name()
            );
        }
    }
}
