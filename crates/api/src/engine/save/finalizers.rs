//! Finalisers of a resource that is saved: refusals of those that must not be there, as clients are told. The rules are in
//! `resource::metadata`.

use bowline_base::{Detail, PreconditionViolation, Reason, Status};
use bowline_resource::metadata::{FinalizerError, Meta, check_finalizers};
use bowline_schema::model::{MetadataPlace, ResourceType};

use crate::engine::request::Request;
use crate::engine::{Engine, errors};

impl Engine {
    /// Checks the finalisers in the metadata that a resource is about to have instead of `before`.
    ///
    /// # Errors
    /// `INVALID_FIELD` naming the field; `FAILED_PRECONDITION` where some are added to what is being deleted;
    /// `LIMIT_EXCEEDED`.
    pub(super) fn check_finalizers(
        &self,
        ty: &ResourceType,
        request: &Request<'_>,
        before: &Meta,
        after: &Meta,
    ) -> Result<(), Status> {
        let (is, max) = (after.finalizers.len(), self.limits.finalizers_max);
        if is > max && is > before.finalizers.len() {
            return Err(errors::limit("the number of finalizers", is, max, "finalizers"));
        }
        check_finalizers(ty, before, after).map_err(|error| {
            let at = match &error {
                FinalizerError::NotAsync { .. } | FinalizerError::TooLate { .. } => String::new(),
                FinalizerError::BadName { at, .. } | FinalizerError::Twice { at, .. } => {
                    format!("[{at}]")
                }
            };
            let resource = request.fields.resource.as_ref().map(|field| field.name());
            let metadata = match &ty.metadata {
                MetadataPlace::Inside(field) => Some(field.name()),
                _ => None,
            };
            let path: Vec<_> = resource.into_iter().chain(metadata).chain(["finalizers"]).collect();
            let path = path.join(".") + &at;
            match error {
                FinalizerError::TooLate { .. } => too_late(path, &error.to_string()),
                error => Status::bad_field(Reason::InvalidField, path, error.to_string()),
            }
        })
    }
}

fn too_late(path: String, why: &str) -> Status {
    let violation = PreconditionViolation {
        kind: "BEING_DELETED".to_owned(),
        subject: path,
        description: why.to_owned(),
    };
    Status::new(Reason::FailedPrecondition, why).with(Detail::Precondition(vec![violation]))
}
