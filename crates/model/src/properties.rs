//! What must hold in every state, and what must be possible.

use stateright::Property;

use crate::owner;
use crate::protocol::Protocol;
use crate::state::{
    Answer, Behaviour, Blockade, Breach, Life, Listing, Message, Reference, Source, State,
};
use crate::world::World;

/// A committed reference's target has a shadow with its uid.
pub const S1: &str = "S1: a reference's target has a shadow";
/// No BLOCK reference to a target whose deletion has committed.
pub const S2: &str = "S2: what is being deleted is not blocked";
/// No reference is committed to a target whose deletion has committed.
pub const S3: &str = "S3: no new reference to what is being deleted";
/// What refers is listed as a source: nothing removes a source on which a committed reference relies.
pub const LISTED: &str = "the deployment of a reference is listed as a source";
/// A reference is removed by rule only if its own target is being deleted.
pub const REASON: &str = "a consequence has its reason";

pub(crate) const DELETED: &str = "a deletion succeeds";
pub(crate) const BLOCKED: &str = "a deletion is blocked";
pub(crate) const WAITS: &str = "a deleted target waits for its referrers";
pub(crate) const ANEW: &str = "a target made anew is referred to";
pub(crate) const AFTER_ATTEMPT: &str = "a save lands after an attempt that was given up";
pub(crate) const READ_ONLY: &str = "a grant writes nothing";
pub(crate) const ANEW_AT_FENCED: &str =
    "a target made anew is referred to where its namesake was fenced";

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::<Protocol>::always(S1, |_, state| {
            foreign(state).chain(local(state)).all(|r| exists(state, r))
        }),
        Property::<Protocol>::always(S2, |_, state| {
            let dying = state.owner.life == Life::Deleting;
            !dying || !foreign(state).chain(local(state)).any(|r| blocks(state, r))
        }),
        Property::<Protocol>::always(S3, |_, state| state.breach != Some(Breach::TieToTheDying)),
        Property::<Protocol>::always(LISTED, |_, state| sources_are_listed(state)),
        Property::<Protocol>::always(REASON, |_, state| {
            state.breach != Some(Breach::ConsequenceWithoutReason)
        }),
        Property::<Protocol>::sometimes(DELETED, |_, state| {
            state.owner.life == Life::Absent && state.owner.uid > 0
        }),
        Property::<Protocol>::sometimes(BLOCKED, |_, state| {
            state.owner.deleter.is_some_and(|d| d.answers.contains(&Answer::Blocked))
        }),
        Property::<Protocol>::sometimes(WAITS, |_, state| {
            state.owner.life == Life::Deleting && foreign(state).next().is_some()
        }),
        Property::<Protocol>::sometimes(ANEW, |_, state| state.owner.uid > 1 && refers(state)),
        Property::<Protocol>::sometimes(AFTER_ATTEMPT, |_, state| lands_after_attempt(state)),
        Property::<Protocol>::sometimes(READ_ONLY, |model, state| {
            grants_read_only(&model.world, state)
        }),
        Property::<Protocol>::sometimes(ANEW_AT_FENCED, |_, state| {
            let fenced = |s: &Source| {
                let anew = |r: &Reference| r.uid > 1 && state.is_active(r.uid);
                s.fence.is_some() && s.referrers.iter().flatten().any(anew)
            };
            state.sources.iter().any(fenced)
        }),
    ]
}

/// What must be possible in every world that allows it.
pub const POSSIBLE: [&str; 7] =
    [DELETED, BLOCKED, WAITS, ANEW, AFTER_ATTEMPT, READ_ONLY, ANEW_AT_FENCED];

fn foreign(state: &State) -> impl Iterator<Item = Reference> + '_ {
    state.sources.iter().flat_map(|s| s.referrers.iter().flatten().copied())
}

fn local(state: &State) -> impl Iterator<Item = Reference> + '_ {
    state.owner.local.iter().copied()
}

fn exists(state: &State, reference: Reference) -> bool {
    state.owner.life != Life::Absent && state.owner.uid == reference.uid
}

fn blocks(state: &State, reference: Reference) -> bool {
    reference.uid == state.owner.uid && reference.behaviour == Behaviour::Block
}

/// Neither a withdrawal nor anything else removes a source on which a committed reference relies.
fn sources_are_listed(state: &State) -> bool {
    let listed = |at: usize| state.owner.inbound.is_some_and(|row| row.sources[at] != Listing::No);
    let relies = |s: &Source| s.referrers.iter().any(Option::is_some);
    state.sources.iter().enumerate().all(|(at, s)| !relies(s) || listed(at))
}

pub(crate) fn refers(state: &State) -> bool {
    foreign(state).any(|r| state.is_active(r.uid))
}

/// A BLOCK reference is committed although its source has fenced at the row's epoch: the question found it free,
/// so the reference came afterwards, by a grant that ended the mark. Only where deletions alone ask questions.
fn lands_after_attempt(state: &State) -> bool {
    let Some(row) = state.owner.inbound.filter(|row| !row.open) else { return false };
    let after = |s: &Source| s.fence == Some(row.epoch) && s.holds(Some(Behaviour::Block));
    state.owner.life == Life::Active && state.sources.iter().any(after)
}

/// A request is under way whose grant would write nothing, to a save that waits for it.
fn grants_read_only(world: &World, state: &State) -> bool {
    let Some(row) = state.owner.inbound.filter(|_| state.owner.life == Life::Active) else {
        return false;
    };
    let free = |m: &Message| match *m {
        Message::Establish { source, blockade: Blockade::Of(_), fence } => {
            owner::writes_nothing(world, &row, source, fence)
        }
        _ => false,
    };
    state.network.iter().any(free)
}

/// What must hold in every state.
pub const INVARIANTS: [&str; 5] = [S1, S2, S3, LISTED, REASON];
