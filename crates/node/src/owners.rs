//! Who owns what: the question that every request asks first.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::Status;

use crate::ownership::Ownership;
use crate::place::{Place, Scope};
use crate::policy::Policy;

/// Who owns what is at a place.
///
/// A name with a region belongs to that region, also if the policy does not allow it there: where a region is neither
/// enabled nor deployed, a request is best answered on the spot, by the refusal to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The deployment of the service in this region is the only one that writes there.
    pub region: Arc<str>,
    /// Grows whenever the place gets another owner; 1 as long as it never had another.
    pub epoch: u64,
    /// The policy of the place's holder, or of the service where the place has none.
    pub policy: Arc<Policy>,
    /// The place's holder is gone, and its deletion is not finished: what is there goes on by the policy that the holder had,
    /// and nothing new is made.
    pub is_deleting: bool,
}

impl Owner {
    /// Whether resources may be made in the owning region.
    pub fn is_allowed(&self) -> bool {
        self.policy.is_enabled(&self.region)
    }
}

/// Answers who owns what. A warm answer costs no I/O.
#[async_trait]
pub trait Owners: Send + Sync + 'static {
    /// The owner of what is at `place` among the deployments of `service`.
    ///
    /// # Errors
    /// `RESOURCE_NOT_FOUND` if there is no holder of the place, nor a deletion of it that is not finished; `UNAVAILABLE` naming the region that would have to say.
    async fn owner(&self, service: &str, place: &Place) -> Result<Owner, Status>;

    /// The regions in which resources of `service` within `scope` can be owned.
    ///
    /// # Errors
    /// As [`Owners::owner`].
    async fn regions(&self, service: &str, scope: &Scope) -> Result<BTreeSet<Arc<str>>, Status>;

    /// The rows of this deployment of `service`, as its engine has loaded them: they count from now on.
    ///
    /// Called once for each service when an engine starts.
    fn attach(&self, service: &str, rows: Arc<Ownership>) {
        let _ = (service, rows);
    }

    /// The place is about to change hands, or not: until the policy that decides about it is read anew, it is not settled.
    fn released(&self, place: &Place) {
        let _ = place;
    }

    /// Whether the policy has been read since [`Owners::released`].
    fn is_settled(&self, place: &Place) -> bool {
        let _ = place;
        true
    }

    /// Reads the answer for `place` anew next time: somebody who must know disagreed.
    fn doubt(&self, service: &str, place: &Place);
}
