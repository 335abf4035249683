//! What remains of a policy holder that is deleted: its policy, as long as the deletion is not finished, so that what is below
//! it has an owner; and from then on a row, so that a namesake made later takes over properly.

use std::sync::Arc;

use bowline_base::Status;
use bowline_node::ownership::{self, Claim};
use bowline_node::{Holder, Part, Place};
use bowline_store::{Condition, Key, Write};
use bowline_wire::goten::types::MultiRegionPolicy;
use prost::Message as _;

use super::rows_of;
use crate::engine::select::decode;
use crate::engine::shape::Shape;
use crate::engine::{Deployment, Engine, errors};

impl Engine {
    /// The encoded `goten.types.MultiRegionPolicy` of a holder that is about to be deleted; empty if it says none, or is no
    /// holder. It is of whatever is in the row now: the deletion's commit requires the version that was read before.
    ///
    /// Cost: a read, for holders only.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn kept_policy(
        &self,
        deployment: &Deployment,
        shape: &Shape,
        key: &Key,
    ) -> Result<Vec<u8>, Status> {
        let Some(field) = shape.policy.as_ref().filter(|_| shape.leaves_behind()) else {
            return Ok(Vec::new());
        };
        let found = deployment.backend.get(key).await;
        let (row, _) = found.map_err(|error| errors::store(&error))?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let policy = field.read(&decode(&shape.ty, &key.name, &row)?.body).unwrap_or_default();
        Ok(MultiRegionPolicy::from(&policy).encode_to_vec())
    }

    /// What is written when the name of a deleted holder is free, and on which condition: the row of its part without a
    /// region, with nobody as its owner. Whoever makes a namesake finds it, and asks everybody to follow.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn leave_behind(
        &self,
        deployment: &Deployment,
        shape: &Shape,
        name: &str,
    ) -> Result<Option<(Condition, Write)>, Status> {
        if !shape.leaves_behind() {
            return Ok(None);
        }
        let holder = Holder { kind: shape.ty.kind.as_str().into(), name: name.into() };
        let place = Place { holder: Some(holder), part: Part::Control };
        let seen = rows_of(deployment)?.refresh(&place).await;
        let seen = seen.map_err(|error| errors::store(&error))?;
        let epoch = seen.as_ref().map_or(ownership::FIRST_EPOCH, |claim| claim.epoch) + 1;
        let left = Claim { owner: Arc::default(), epoch };
        Ok(Some((ownership::unchanged(&place, seen.as_ref()), ownership::put(&place, &left))))
    }
}
