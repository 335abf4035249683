//! Consistency tokens: a write says where it is in its deployment's history, and a read that presents that is not older.
//!
//! A token of another deployment asks nothing of this one: a read goes to the owner, and what another deployment owns is
//! not here.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_node::DeploymentId;
use bowline_node::peers::headers::CONSISTENCY_TOKEN;

use super::hop::time_for_peer;
use super::token::Consistency;
use crate::engine::{Deployment, Engine};
use crate::handler::Context;

/// The region of a node that has no others.
const ALONE: &str = "local";
/// The longest time that a read waits for the store to have what its token says.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(5);

impl Engine {
    fn id_of(&self, deployment: &Deployment) -> DeploymentId {
        let region = self.routing.as_ref().map_or_else(|| ALONE.into(), |r| r.region.clone());
        DeploymentId::new(deployment.service.clone(), region)
    }

    /// Puts a token of what this process has written so far, this request's write included, on the answer.
    pub(crate) fn tell_position(&self, deployment: &Deployment, context: &Context) {
        let position = deployment.written();
        let token = Consistency { deployment: self.id_of(deployment), position };
        context.answer_headers.set(CONSISTENCY_TOKEN, token.encode());
    }

    /// Waits until the store has what the request's token says, if it has one.
    ///
    /// # Errors
    /// `INVALID_CONSISTENCY_TOKEN`, or `UNAVAILABLE` if the store does not get there in time.
    pub(crate) async fn await_position(
        &self,
        deployment: &Deployment,
        context: &Context,
    ) -> Result<(), Status> {
        let Some(text) = context.header(CONSISTENCY_TOKEN) else { return Ok(()) };
        let token = Consistency::decode(text).map_err(|error| invalid(&error.to_string()))?;
        if token.deployment != self.id_of(deployment) {
            return Ok(());
        }
        let mut head = deployment.backend.head();
        let era = head.borrow().era;
        if token.position.era != era {
            let why = "it is from another era of the store, such as before a restore";
            return Err(invalid(why));
        }
        let reached = head.wait_for(|head| *head >= token.position);
        let longest = context.deadline.map_or(WAIT_MAX, |d| time_for_peer(d).min(WAIT_MAX));
        tokio::select! {
            biased;
            reached = reached => match reached {
                Ok(_) => Ok(()),
                Err(_) => Err(Status::new(Reason::Unavailable, "the server is stopping")),
            },
            () = self.seams.clock.sleep(longest) => Err(behind(&token.deployment, longest)),
        }
    }
}

fn invalid(why: &str) -> Status {
    let message = format!("{CONSISTENCY_TOKEN}: {why}; read without it");
    Status::new(Reason::InvalidConsistencyToken, message)
}

fn behind(deployment: &DeploymentId, waited: Duration) -> Status {
    let message = format!(
        "{deployment} has not got to what the {CONSISTENCY_TOKEN} says within {} ms",
        waited.as_millis()
    );
    let DeploymentId { service, region } = deployment;
    let region: &Arc<str> = region;
    Status::new(Reason::Unavailable, message)
        .with_metadata("region", &**region)
        .with_metadata("service", &**service)
}
