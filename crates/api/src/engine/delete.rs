//! The verb delete: what the request says; how it is carried out is the business of `graph::delete`.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::Status;
use bytes::Bytes;

use super::graph::delete::{Asked, Why, Wish};
use super::read::parse_name;
use super::request::{Request, field_name};
use super::{Engine, Route};

impl Engine {
    /// Deletes a resource, and what goes with it.
    ///
    /// `until` is when it is to be finished, as monotonic time.
    /// With `validate_only` nothing is changed and nobody is bound: the answer says whether it could be deleted right now.
    pub(crate) async fn delete(
        self: &Arc<Self>,
        route: &Arc<Route>,
        request: Request<'_>,
        until: Duration,
    ) -> Result<Bytes, Status> {
        let fields = request.fields;
        let field = field_name(&fields.name, "name");
        let name = parse_name(route, &request.text(&fields.name), &field)?;
        let idempotent = self.idempotent(route, "delete", &request)?;
        if let Some(answer) = self.answer_before(route, idempotent.as_ref()).await? {
            return Ok(answer);
        }
        let etag = request.text(&fields.etag);
        let wish = Wish {
            deployment: &route.deployment,
            shape: &route.resource,
            name: &name,
            force: request.flag(&fields.force),
            until,
            why: Why::Asked(Asked { route, request: &request, etag, idempotent }),
        };
        if request.flag(&fields.validate_only) {
            return self.check_deletion(&wish).await;
        }
        self.carry_out_deletion(&wish).await.map(Option::unwrap_or_default)
    }
}
