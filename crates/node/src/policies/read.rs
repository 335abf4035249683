//! How the policy of one holder is read: from the deployment that owns the holder, which has it, or has kept the policy of
//! one that it deleted as long as anything below may be left.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status, chain};
use bowline_wire::bowline::mixin::v1::method::GET_DELETION;
use bowline_wire::bowline::mixin::v1::{Deletion, GetDeletionRequest, VersionedName};
use bowline_wire::goten::types::MultiRegionPolicy;
use prost::{DecodeError, Message as _};

use super::kind::HolderKind;
use super::{Known, PolicyStore, missing};
use crate::id::DeploymentId;
use crate::owners::Owners as _;
use crate::peers::{Call, headers};
use crate::place::Holder;
use crate::policy::Policy;

/// The longest that one question to an owner may take.
const QUESTION_MAX: Duration = Duration::from_secs(5);
/// The same where something is known that counts without an answer.
const QUESTION_AGAIN_MAX: Duration = Duration::from_secs(1);

/// Whose policy is asked for, and for how long.
struct Asking<'a> {
    kind: &'a HolderKind,
    holder: &'a Holder,
    longest: Duration,
}

impl PolicyStore {
    /// What the holder's owner says; a deployment that is not the owner says who is. `is_known`: there is something to go
    /// by if it does not answer.
    ///
    /// # Errors
    /// `RESOURCE_NOT_FOUND` if there is no such holder, nor a deletion of it that is not finished; `UNAVAILABLE`.
    pub(super) async fn read_from_owner(
        &self,
        kind: &HolderKind,
        holder: &Holder,
        is_known: bool,
    ) -> Result<Known, Status> {
        let longest = if is_known { QUESTION_AGAIN_MAX } else { QUESTION_MAX };
        let asking = Asking { kind, holder, longest };
        let place = kind.places.of(&holder.name).ok_or_else(|| missing(holder))?;
        // A holder's own holder has a shorter name, so this ends.
        let owner = Box::pin(self.owner(&kind.service, &place)).await?;
        match self.ask_owner(&asking, owner.region).await {
            Err(status) if status.reason == Reason::NotOwned => {
                self.doubt(&kind.service, &place);
                let region = status.metadata.get("region").cloned().ok_or(status)?;
                self.ask_owner(&asking, region.into()).await
            }
            known => known,
        }
    }

    /// Its policy as the deployment in this region has it.
    async fn ask_owner(&self, asking: &Asking<'_>, region: Arc<str>) -> Result<Known, Status> {
        let Asking { kind, holder, longest } = asking;
        let to = DeploymentId::new(kind.service.clone(), region);
        let unreadable = |error: DecodeError| {
            tracing::error!(holder = %holder.name, error = %chain(&error), "read a policy");
            Status::new(Reason::Internal, format!("the policy of {} cannot be read", holder.name))
        };
        let get = Call::unary(kind.get_path(), kind.get_request(&holder.name))
            .within(Some(*longest))
            .with_header(headers::FORWARDED, "1");
        match self.peers.call(&self.me, &to, get).await.and_then(|answer| answer.unary()) {
            Ok(body) => {
                let policy = kind.decode(&body).map_err(unreadable)?;
                Ok(Known::active(Arc::new(policy)))
            }
            Err(status) if status.reason == Reason::ResourceNotFound => {
                let policy = self.ask_deletion(asking, &to).await?.map_err(unreadable)?;
                Ok(Known::deleting(Arc::new(policy)))
            }
            Err(status) => Err(status),
        }
    }

    /// The policy that a holder had when it was deleted; empty if it had none of its own.
    async fn ask_deletion(
        &self,
        asking: &Asking<'_>,
        to: &DeploymentId,
    ) -> Result<Result<Policy, DecodeError>, Status> {
        let target = VersionedName {
            version: asking.kind.version().to_owned(),
            kind: asking.holder.kind.to_string(),
            name: asking.holder.name.to_string(),
        };
        let request = GetDeletionRequest { target: Some(target) };
        let call = Call::unary(GET_DELETION, request.encode_to_vec()).within(Some(asking.longest));
        let answer = self.peers.call(&self.me, to, call).await?.unary()?;
        let policy = Deletion::decode(answer)
            .and_then(|deletion| MultiRegionPolicy::decode(deletion.policy.as_slice()));
        Ok(policy.map(|policy| Policy::from(&policy)))
    }
}
