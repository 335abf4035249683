//! `ReleaseOwnership`: another deployment changes a policy and asks this one to give up a part, or to take note that it
//! gets it. The answer binds: it is a commit, which holds only if nothing is owned there.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_node::ownership::{self, Claim};
use bowline_node::picture::META;
use bowline_node::{Holder, Part, Place};
use bowline_store::incarnation::TurnError;
use bowline_store::{Batch, CommitError, Condition, NameRange, Range, Snapshot, layout};
use bowline_wire::bowline::mixin::v1::release_ownership_response::Obstacle;
use bowline_wire::bowline::mixin::v1::{ReleaseOwnershipRequest, ReleaseOwnershipResponse};

use super::rows_of;
use crate::engine::{Deployment, Engine, errors};
use crate::handler::Context;

/// Up to here obstacles are counted.
const COUNT_MAX: usize = 1_000;
/// So many of them are named.
const NAMED_MAX: usize = 10;
/// The method's longest name, in bytes: as long as any name of a resource.
const NAME_BYTES_MAX: usize = 1_024;
const ATTEMPTS_MAX: usize = 16;

/// Which row a claim may take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Any of an earlier epoch. The same claim once more is the same request once more.
    Earlier,
    /// Any of an earlier epoch, and no other change has written this one: so each epoch begins one change only.
    Begun,
    /// That of the epoch before, by which the same change began.
    Own,
}

/// What stands against giving up a place.
pub(super) struct Obstacles {
    count: usize,
    named: Vec<Obstacle>,
}

impl Engine {
    /// Answers the method for the deployment that the caller meant.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` unless a deployment asks; `CALLER_REFUSED` unless it is one of the holder's service.
    pub(crate) async fn release_ownership(
        &self,
        request: &ReleaseOwnershipRequest,
        context: &Context,
    ) -> Result<ReleaseOwnershipResponse, Status> {
        let place = place_of(request)?;
        let claim = claim_of(request)?;
        let deployment = self.asked_to_release(request, context)?;
        self.release(deployment, &place, &claim, Over::Earlier).await
    }

    /// The deployment that is asked, if the caller may ask.
    fn asked_to_release(
        &self,
        request: &ReleaseOwnershipRequest,
        context: &Context,
    ) -> Result<&Arc<Deployment>, Status> {
        let (deployment, caller) = self.asked(context)?;
        let keeper = match request.holder_kind.split_once('/') {
            Some((service, _)) => service,
            None => META,
        };
        if &*caller.service != keeper {
            let message = format!("{caller} does not keep that policy; deployments of {keeper} do");
            return Err(Status::new(Reason::CallerRefused, message));
        }
        Ok(deployment)
    }

    /// Commits that `place` belongs to `wanted.owner` from `wanted.epoch` on, unless this deployment owns something there.
    pub(super) async fn release(
        &self,
        deployment: &Deployment,
        place: &Place,
        wanted: &Claim,
        over: Over,
    ) -> Result<ReleaseOwnershipResponse, Status> {
        let rows = rows_of(deployment)?;
        for _ in 0..ATTEMPTS_MAX {
            let turn = deployment.begin().await?;
            let seen = rows.refresh(place).await.map_err(|error| errors::store(&error))?;
            if let Some(answer) = answer_by(seen.as_ref(), wanted, over) {
                return Ok(answer);
            }
            let ranges = self.ranges_left(deployment, place, wanted);
            let obstacles = obstacles(deployment, &ranges).await?;
            if obstacles.count > 0 {
                return Ok(refused(&obstacles, seen.as_ref()));
            }
            let mut conditions = vec![ownership::unchanged(place, seen.as_ref())];
            conditions.extend(
                ranges
                    .into_iter()
                    .map(|range| Condition::NoRowInRange { range: Range::Names(range) }),
            );
            if let Some(routing) = &self.routing {
                routing.owners.released(place);
            }
            let writes = vec![ownership::put(place, wanted)];
            match turn.commit(Batch { conditions, writes }).await {
                Ok(_) => {
                    rows.note(place, wanted.clone());
                    return Ok(released(wanted));
                }
                Err(TurnError::Lost | TurnError::Commit(CommitError::ConditionFailed { .. })) => {}
                Err(TurnError::Commit(error)) => return Err(errors::commit(&error)),
            }
        }
        Err(Status::new(Reason::Conflict, format!("{place} is written by many at once; retry")))
    }

    /// Where nothing may be: nowhere, if this deployment is the one that gets the place.
    fn ranges_left(
        &self,
        deployment: &Deployment,
        place: &Place,
        wanted: &Claim,
    ) -> Vec<NameRange> {
        let is_mine = self.routing.as_ref().is_some_and(|routing| routing.region == wanted.owner);
        if is_mine { Vec::new() } else { ranges_at(deployment, place) }
    }
}

/// Ranges of names in which all that a deployment has at a place is, in order: resources, and names that deletions keep
/// taken. Whoever gets the place would not know of these, and they can be finished by their owner only.
fn ranges_at(deployment: &Deployment, place: &Place) -> Vec<NameRange> {
    let mut tables: Vec<_> = deployment.shapes.iter().collect();
    tables.sort_by_key(|(table, _)| *table);
    let ranges = tables.into_iter().flat_map(|(table, shape)| {
        let places = shape.places.as_ref().filter(|places| !places.is_everywhere());
        let names = places.map(|places| places.names_at(place)).unwrap_or_default();
        let taken = layout::aliases(&shape.ty.version, &shape.ty.kind);
        names.into_iter().flat_map(move |names| {
            [table, &taken].map(|table| NameRange::prefix(table.clone(), &names.prefix))
        })
    });
    ranges.collect()
}

/// What is in the ranges, as of one moment.
async fn obstacles(deployment: &Deployment, ranges: &[NameRange]) -> Result<Obstacles, Status> {
    let mut found = Obstacles { count: 0, named: Vec::new() };
    let snapshot = deployment.backend.snapshot().await;
    let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
    for range in ranges {
        let left = COUNT_MAX - found.count;
        if left == 0 {
            break;
        }
        count(snapshot.as_mut(), range, left, &mut found).await?;
    }
    Ok(found)
}

async fn count(
    snapshot: &mut dyn Snapshot,
    range: &NameRange,
    limit: usize,
    found: &mut Obstacles,
) -> Result<(), Status> {
    let rows = snapshot.scan(range, limit, false).await.map_err(|error| errors::store(&error))?;
    found.count += rows.len();
    let room = NAMED_MAX - found.named.len();
    found.named.extend(
        rows.iter().take(room).map(|(name, _)| Obstacle {
            kind: range.table.kind.to_string(),
            name: name.to_string(),
        }),
    );
    Ok(())
}

/// The answer, if the row already says enough for one.
fn answer_by(seen: Option<&Claim>, wanted: &Claim, over: Over) -> Option<ReleaseOwnershipResponse> {
    let is_open = |seen: &Claim| match over {
        Over::Earlier | Over::Begun => seen.epoch < wanted.epoch,
        Over::Own => seen.epoch + 1 == wanted.epoch,
    };
    let seen = seen.filter(|seen| !is_open(seen))?;
    // The same request once more has the same answer; any other comes too late.
    let is_released = over == Over::Earlier && seen == wanted;
    Some(ReleaseOwnershipResponse { released: is_released, ..said(Some(seen)) })
}

fn released(claim: &Claim) -> ReleaseOwnershipResponse {
    ReleaseOwnershipResponse { released: true, ..said(Some(claim)) }
}

fn refused(obstacles: &Obstacles, seen: Option<&Claim>) -> ReleaseOwnershipResponse {
    ReleaseOwnershipResponse {
        obstacle_count: i64::try_from(obstacles.count).unwrap_or(i64::MAX),
        obstacles: obstacles.named.clone(),
        ..said(seen)
    }
}

fn said(claim: Option<&Claim>) -> ReleaseOwnershipResponse {
    let epoch = claim.map_or(ownership::FIRST_EPOCH, |claim| claim.epoch);
    ReleaseOwnershipResponse {
        epoch: i64::try_from(epoch).unwrap_or(i64::MAX),
        owner_region: claim.map(|claim| claim.owner.to_string()).unwrap_or_default(),
        ..ReleaseOwnershipResponse::default()
    }
}

fn place_of(request: &ReleaseOwnershipRequest) -> Result<Place, Status> {
    let bad = |field: &str, why: &str| Status::bad_field(Reason::InvalidField, field, why);
    let texts = [&request.holder_kind, &request.holder_name, &request.part_region];
    if texts.iter().any(|text| text.len() > NAME_BYTES_MAX) {
        return Err(bad("", "a text is longer than any name"));
    }
    let holder = match (request.holder_kind.as_str(), request.holder_name.as_str()) {
        ("", "") => None,
        ("", _) | (_, "") => return Err(bad("holder_name", "kind and name come together")),
        (kind, _) if !kind.contains('/') => return Err(bad("holder_kind", "is no kind")),
        (kind, name) => Some(Holder { kind: kind.into(), name: name.into() }),
    };
    let part = match request.part_region.as_str() {
        "" => Part::Control,
        region => Part::Region(region.into()),
    };
    Ok(Place { holder, part })
}

fn claim_of(request: &ReleaseOwnershipRequest) -> Result<Claim, Status> {
    let epoch = u64::try_from(request.epoch).ok().filter(|epoch| *epoch > ownership::FIRST_EPOCH);
    let epoch = epoch.ok_or_else(|| {
        Status::bad_field(Reason::InvalidField, "epoch", "is not above the first one")
    })?;
    Ok(Claim { owner: request.owner_region.as_str().into(), epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody(epoch: u64) -> Claim {
        Claim { owner: Arc::default(), epoch }
    }

    /// Whether the row may be written, or else whether the answer is that it says so already.
    fn answer(seen: u64, wanted: u64, over: Over) -> Option<bool> {
        answer_by(Some(&nobody(seen)), &nobody(wanted), over).map(|answer| answer.released)
    }

    #[test]
    fn a_request_that_comes_again_is_answered_again_and_a_late_one_is_refused() {
        assert_eq!(answer(7, 8, Over::Earlier), None);
        assert_eq!(answer(8, 8, Over::Earlier), Some(true));
        assert_eq!(answer(9, 8, Over::Earlier), Some(false));
    }

    #[test]
    fn no_change_takes_the_row_of_another_one_for_its_own() {
        assert_eq!(answer(7, 8, Over::Begun), None);
        assert_eq!(answer(8, 8, Over::Begun), Some(false), "another change began with it");
        assert_eq!(answer(7, 8, Over::Own), None);
        assert_eq!(answer(8, 8, Over::Own), Some(false), "another change began after this one");
        assert_eq!(answer(6, 8, Over::Own), Some(false));
    }
}
