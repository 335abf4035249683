//! Ownership at the writes of this engine: whether a resource may be written here, and what its commit requires so that
//! this still holds when it lands.
//!
//! Routing has brought a request to where its owner should be; here that is checked, and bound to the commit. `moves`
//! plans what a change of a policy asks of others, `change` asks them, `release` is what they do when asked, `deleted` is what
//! remains of a policy holder.

use std::collections::BTreeSet;
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_graph::TargetName;
use bowline_node::ownership::{self, Claim};
use bowline_node::{Owner, Ownership, Part, Place};
use bowline_resource::metadata::Meta;
use bowline_schema::model::ResourceType;
use bowline_store::Condition;

use super::graph::refused;
use super::hooks::SaveKind;
use super::shape::Shape;
use super::{Deployment, Engine, Route, decorate, errors};
use crate::routing::Routing;

pub(crate) mod change;
mod deleted;
mod moves;
mod release;

use change::PolicyChange;

/// What an engine among others knows about the resource that it is about to write.
pub(crate) struct Guard {
    /// `None` for types that know no regions.
    at: Option<Owned>,
}

/// The place of the resource, which this deployment owns as far as it knows.
struct Owned {
    place: Place,
    owner: Owner,
    /// What the ownership row said before anything was decided.
    claim: Option<Claim>,
    /// Its policy holder is gone for good, so nobody says any more who owns it: see [`orphaned`].
    is_orphaned: bool,
}

impl Engine {
    /// Whether the resource `name` may be written here. `None` where there are no other deployments.
    ///
    /// To be asked again whenever a commit was lost.
    ///
    /// # Errors
    /// `NOT_OWNED` with the region and epoch that it has instead; `REGION_NOT_ALLOWED` if its policy does not allow it
    /// in that region; `REFERENCE_REFUSED` for what would be made below a policy holder that is being deleted.
    pub(crate) async fn guard(
        &self,
        route: &Route,
        name: &str,
        save: Option<SaveKind>,
    ) -> Result<Option<Guard>, Status> {
        self.guard_of(&route.deployment, &route.resource, name, save).await
    }

    /// The same for a resource that no request is about. One whose policy holder is gone for good can no longer be saved;
    /// without `save` it is guarded all the same, so that it can follow what it refers to.
    ///
    /// # Errors
    /// As [`Engine::guard`].
    pub(crate) async fn guard_of(
        &self,
        deployment: &Deployment,
        shape: &Shape,
        name: &str,
        save: Option<SaveKind>,
    ) -> Result<Option<Guard>, Status> {
        let (Some(routing), Some(places)) = (&self.routing, &shape.places) else {
            return Ok(None);
        };
        let ty = &shape.ty;
        let Some(place) = places.of(name) else {
            return if places.is_everywhere() {
                Ok(Some(Guard { at: None }))
            } else {
                Err(Status::new(Reason::Internal, format!("\"{name}\" belongs nowhere")))
            };
        };
        let rows = rows_of(deployment)?;
        rows.load().await.map_err(|error| errors::store(&error))?;
        // Before the owner is asked: what changes in between then fails the commit.
        let claim = rows.claim(&place);
        let mut owner = routing.owners.owner(&ty.service, &place).await;
        let is_deleting = owner.as_ref().is_ok_and(|owner| owner.is_deleting);
        if is_deleting && save == Some(SaveKind::Create) {
            // Its deletion may be finished, and the holder there anew.
            routing.owners.doubt(&ty.service, &place);
            owner = routing.owners.owner(&ty.service, &place).await;
        }
        if save == Some(SaveKind::Create) && !routing.owners.is_settled(&place) {
            return Err(unsettled(ty, name, &place));
        }
        check_one_holder([&place])?;
        let owned = match owner {
            Err(gone) if gone.reason == Reason::ResourceNotFound && save.is_none() => {
                orphaned(&routing.region, place, claim)
            }
            owner => Owned { place, owner: owner?, claim, is_orphaned: false },
        };
        owned.check(routing, ty, name, save)?;
        Ok(Some(Guard { at: Some(owned) }))
    }

    /// What the commit of a resource requires, so that it is still owned here when it lands; see [`Engine::guard`].
    pub(crate) fn ownership_conditions(&self, guard: Option<&Guard>) -> Option<Condition> {
        let owned = guard?.at.as_ref()?;
        // Not only the owner: what was given up and has come back since is another matter.
        Some(ownership::unchanged(&owned.place, owned.claim.as_ref()))
    }

    /// A commit was lost: what it had asked of others is given back, and the row of its place is read anew.
    pub(crate) async fn lost(
        &self,
        route: &Route,
        guard: Option<&Guard>,
        change: &PolicyChange,
    ) -> Result<(), Status> {
        if !change.is_empty() {
            self.give_back(route, change).await;
        }
        self.refresh(route, guard).await
    }

    /// Reads the row of the place anew: a commit that required it was lost, maybe because of it.
    pub(crate) async fn refresh(&self, route: &Route, guard: Option<&Guard>) -> Result<(), Status> {
        self.refresh_of(&route.deployment, guard).await
    }

    /// The same for a resource that no request is about.
    pub(crate) async fn refresh_of(
        &self,
        deployment: &Deployment,
        guard: Option<&Guard>,
    ) -> Result<(), Status> {
        let Some(owned) = guard.and_then(|guard| guard.at.as_ref()) else { return Ok(()) };
        let rows = rows_of(deployment)?;
        let seen = rows.refresh(&owned.place).await.map_err(|error| errors::store(&error))?;
        if let Some(routing) = self.routing.as_ref().filter(|_| seen != owned.claim) {
            // Another process of this deployment was asked to release the place, and this one has not been told.
            routing.owners.released(&owned.place);
        }
        Ok(())
    }
}

impl Guard {
    /// Epoch at which the place is owned here; 0 for types that know no regions.
    pub(crate) fn epoch(&self) -> u64 {
        self.at.as_ref().map_or(0, |owned| owned.owner.epoch)
    }

    /// Fills in what metadata says about ownership.
    pub(crate) fn decorate(&self, meta: &mut Meta, ty: &ResourceType, name: &str) {
        match &self.at {
            Some(owned) => {
                let has_holder = owned.place.holder.is_some();
                decorate::decorate(meta, ty, name, &owned.owner, has_holder);
            }
            None => decorate::decorate_everywhere(meta, ty, name),
        }
    }
}

/// What is left at a place whose policy holder is gone for good, since it never referred to the holder: the type or the rule
/// of its parent says that it need not. It belongs to whoever has it, unless its row names another. A place is given up only
/// where nothing is left; should somebody say anew who owns it, that changes the row, which therefore has to stay as it is.
fn orphaned(region: &Arc<str>, place: Place, claim: Option<Claim>) -> Owned {
    let named = claim.as_ref().map(|claim| &claim.owner).filter(|owner| !owner.is_empty());
    let owner = Owner {
        region: named.unwrap_or(region).clone(),
        epoch: claim.as_ref().map_or(ownership::FIRST_EPOCH, |claim| claim.epoch),
        policy: Arc::default(),
        is_deleting: false,
    };
    Owned { place, owner, claim, is_orphaned: true }
}

impl Owned {
    fn check(
        &self,
        routing: &Routing,
        ty: &ResourceType,
        name: &str,
        save: Option<SaveKind>,
    ) -> Result<(), Status> {
        let is_made = save == Some(SaveKind::Create);
        if self.is_orphaned {
            return match self.owner.region == routing.region {
                true => Ok(()),
                false => Err(not_owned(ty, name, &self.owner)),
            };
        }
        if is_made && self.owner.is_deleting {
            return Err(below_deleting(ty, name, &self.place));
        }
        let is_nobodys = self.claim.as_ref().is_some_and(|claim| claim.owner.is_empty());
        if (is_made || is_nobodys) && !self.owner.is_allowed() {
            return Err(region_not_allowed(ty, name, &self.owner, &self.place));
        }
        let is_claimed_here = self.claim.as_ref().is_none_or(|claim| claim.owner == routing.region);
        if self.owner.region != routing.region || !is_claimed_here {
            return Err(not_owned(ty, name, &self.owner));
        }
        Ok(())
    }
}

pub(crate) fn rows_of(deployment: &Deployment) -> Result<&Arc<Ownership>, Status> {
    let missing =
        || Status::new(Reason::Internal, "a deployment among others has no ownership rows");
    deployment.ownership.as_ref().ok_or_else(missing)
}

/// Somebody else writes there.
pub(crate) fn not_owned(ty: &ResourceType, name: &str, owner: &Owner) -> Status {
    let message = format!(
        "{} \"{name}\" is written in region {}; ask there, or retry",
        ty.singular, owner.region
    );
    Status::new(Reason::NotOwned, message)
        .with_metadata("region", &*owner.region)
        .with_metadata("epoch", owner.epoch.to_string())
        .with_metadata("kind", &ty.kind)
        .with_metadata("name", name)
}

fn region_not_allowed(ty: &ResourceType, name: &str, owner: &Owner, place: &Place) -> Status {
    let enabled = owner.policy.enabled_regions.join(", ");
    let whose = place.holder.as_ref().map_or(&*ty.service, |holder| &*holder.name);
    let region = match &place.part {
        Part::Control => &owner.region,
        Part::Region(region) => region,
    };
    let message = format!(
        "{} \"{name}\" cannot be in region {region}; the policy of {whose} enables {enabled}",
        ty.singular
    );
    Status::new(Reason::RegionNotAllowed, message)
        .with_metadata("region", &**region)
        .with_metadata("policy", whose)
        .with_metadata("enabled", enabled)
}

/// Somebody changes the policy, and whoever keeps it cannot be asked what it says.
fn unsettled(ty: &ResourceType, name: &str, place: &Place) -> Status {
    let whose = place.holder.as_ref().map_or(&*ty.service, |holder| &*holder.name);
    let message = format!(
        "{} \"{name}\" cannot be made now: the policy of {whose} is being changed, and cannot be read",
        ty.singular
    );
    Status::new(Reason::Unavailable, message)
}

/// Nothing begins below what is about to be gone, whether or not it would refer to it.
fn below_deleting(ty: &ResourceType, name: &str, place: &Place) -> Status {
    let (kind, holder) = place.holder.as_ref().map_or(("", ""), |h| (&*h.kind, &*h.name));
    let target = TargetName::new(kind, &*ty.version, holder);
    refused::parent_is_deleting(ty, name, target)
}

/// One write is under one holder only, so that one policy decides about it.
///
/// Each request writes one resource today; requests that write several pass all their places here.
///
/// # Errors
/// `INVALID_FIELD` naming both holders.
pub(crate) fn check_one_holder<'p>(
    places: impl IntoIterator<Item = &'p Place>,
) -> Result<(), Status> {
    let holders = places.into_iter().map(|place| place.holder.as_ref().map(|holder| &*holder.name));
    let holders: BTreeSet<_> = holders.collect();
    // The one without a name comes first in the set, and is named last.
    let mut names = holders.into_iter().rev().map(|name| name.unwrap_or("none"));
    match (names.next(), names.next()) {
        (Some(one), Some(other)) => {
            let why =
                format!("one request writes below one policy holder, not below {one} and {other}");
            Err(Status::bad_field(Reason::InvalidField, "", why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bowline_node::Holder;

    use super::*;

    #[test]
    fn one_request_writes_below_one_holder() {
        let at = |project: Option<&str>, part: Part| {
            let holder = |name: &str| Holder { kind: "iam.test/Project".into(), name: name.into() };
            Place { holder: project.map(holder), part }
        };
        let one = at(Some("projects/p"), Part::Control);
        let same = at(Some("projects/p"), Part::Region("eu".into()));
        assert_eq!(check_one_holder([&one, &same, &one]), Ok(()));
        let refused = |other: Place| check_one_holder([&one, &other]).unwrap_err().message;
        expect_test::expect![
            "one request writes below one policy holder, not below projects/q and projects/p"
        ]
        .assert_eq(&refused(at(Some("projects/q"), Part::Control)));
        expect_test::expect![
            "one request writes below one policy holder, not below projects/p and none"
        ]
        .assert_eq(&refused(at(None, Part::Control)));
    }
}
