//! What the owner's database does: grants, attempts, verdicts, questions' answers, purges.

use crate::epoch::Epoch;
use crate::mistake::Mistake;
use crate::state::{
    Answer, Behaviour, Blockade, Breach, Deleter, Inbound, Life, Listing, Message, Owner,
    Reference, SAVES, SOURCES, State,
};
use crate::world::World;

/// The epoch that a row begins at which is made now: above all that this owner has granted.
pub(crate) fn start(world: &World, owner: &Owner) -> Epoch {
    if world.has(Mistake::EpochRestarts) {
        return Epoch { ownership: 0, number: 1 };
    }
    Epoch { ownership: owner.ownership, number: owner.sequence + 1 }
}

/// The next epoch of a row: the owner's own where that is greater, one more than there is otherwise.
fn next(owner: &Owner, now: Epoch) -> Epoch {
    let own = Epoch { ownership: owner.ownership, number: owner.sequence + 1 };
    own.max(Epoch { number: now.number + 1, ..now })
}

fn fresh_row(world: &World, owner: &mut Owner) -> Inbound {
    let epoch = start(world, owner);
    owner.sequence = owner.sequence.max(epoch.number);
    Inbound {
        epoch,
        open: false,
        sources: [Listing::No; SOURCES],
        blockades: [[None; SAVES + 1]; SOURCES],
    }
}

/// Raises the epoch in a commit that is not an attempt's; that ends the attempt that there is.
fn raise(world: &World, owner: &mut Owner, row: &mut Inbound) {
    row.epoch = if world.has(Mistake::EpochRestarts) {
        Epoch { number: row.epoch.number + 1, ..row.epoch }
    } else {
        next(owner, row.epoch)
    };
    if row.epoch.ownership == owner.ownership {
        owner.sequence = owner.sequence.max(row.epoch.number);
    }
    row.open = false;
    disturb(owner);
}

/// A grant, a transfer or a new epoch has raised the count of grants.
fn disturb(owner: &mut Owner) {
    if let Some(deleter) = &mut owner.deleter {
        deleter.undisturbed = false;
    }
}

pub(crate) fn create(state: &mut State) {
    let owner = &mut state.owner;
    owner.uid += 1;
    owner.life = Life::Active;
    state.left.creations = state.left.creations.saturating_sub(1);
}

pub(crate) fn delete_at_once(world: &World, state: &mut State) {
    let owner = &mut state.owner;
    owner.life = Life::Deleting;
    let row = match owner.inbound {
        Some(row) => row,
        None => fresh_row(world, owner),
    };
    owner.inbound = Some(Inbound { open: false, ..row });
    purge_if_alone(owner);
}

pub(crate) fn attempt(world: &World, state: &mut State) {
    let owner = &mut state.owner;
    let Some(mut row) = owner.inbound else { return };
    if !world.has(Mistake::AttemptKeepsEpoch) {
        raise(world, owner, &mut row);
        state.left.raises = state.left.raises.saturating_sub(1);
    }
    row.open = true;
    let answer = |l: Listing| if l == Listing::No { Answer::NotAsked } else { Answer::Awaited };
    owner.inbound = Some(row);
    owner.deleter = Some(Deleter {
        uid: owner.uid,
        epoch: row.epoch,
        undisturbed: true,
        answers: row.sources.map(answer),
        own: None,
        seen: world.has(Mistake::ComparedByValue).then_some(row),
    });
    for source in listed(&row) {
        state.send(Message::IsBlocked { source, epoch: row.epoch });
    }
}

fn listed(row: &Inbound) -> impl Iterator<Item = u8> + use<> {
    let sources = row.sources;
    (0..).zip(sources).filter(|(_, l)| *l != Listing::No).map(|(at, _)| at)
}

pub(crate) fn ask_own(state: &mut State) {
    let blocks = state.owner.local.is_some_and(|r| r.behaviour == Behaviour::Block);
    if let Some(deleter) = &mut state.owner.deleter {
        deleter.own = Some(blocks);
    }
}

/// Commits the deletion; its conditions hold. What is to be told and asked afterwards is under way from now on.
pub(crate) fn verdict(state: &mut State) {
    let owner = &mut state.owner;
    let (Some(deleter), Some(mut row)) = (owner.deleter.take(), owner.inbound) else { return };
    for (listing, answer) in row.sources.iter_mut().zip(deleter.answers) {
        *listing = match (*listing, answer) {
            (Listing::No, _) | (_, Answer::Free { holds: false }) => Listing::No,
            _ => Listing::Listed,
        };
    }
    row.open = false;
    row.blockades = [[None; SAVES + 1]; SOURCES];
    owner.life = Life::Deleting;
    owner.inbound = Some(row);
    purge_if_alone(owner);
    let (uid, epoch) = (owner.uid, row.epoch);
    for source in listed(&row) {
        state.send(Message::Deleted { source, uid });
        state.send(Message::HasSubscriber { source, epoch });
    }
}

/// Verdict and purge are one commit if nothing is left to wait for.
fn purge_if_alone(owner: &mut Owner) {
    let waits = owner.inbound.is_some_and(|r| r.sources.iter().any(|l| *l != Listing::No));
    if !waits && owner.local.is_none() {
        purge(owner);
    }
}

pub(crate) fn purge(owner: &mut Owner) {
    owner.life = Life::Absent;
    owner.inbound = None;
    owner.picture = None;
}

/// The process that deletes stops. Ending its own mark is a courtesy.
pub(crate) fn give_up(owner: &mut Owner) {
    let Some(deleter) = owner.deleter.take() else { return };
    if let Some(row) = owner.inbound.as_mut().filter(|r| r.epoch == deleter.epoch) {
        row.open = false;
    }
}

pub(crate) fn clear(world: &World, state: &mut State, source: u8) {
    let owner = &mut state.owner;
    let Some(mut row) = owner.inbound else { return };
    if !world.has(Mistake::ClearingKeepsEpoch) {
        raise(world, owner, &mut row);
        state.left.raises = state.left.raises.saturating_sub(1);
    }
    row.sources[usize::from(source)] = Listing::Leaving(row.epoch);
    owner.inbound = Some(row);
    state.send(Message::HasSubscriber { source, epoch: row.epoch });
}

pub(crate) fn expire(world: &World, state: &mut State, source: u8) {
    let owner = &mut state.owner;
    let Some(mut row) = owner.inbound else { return };
    let at = usize::from(source);
    if world.has(Mistake::ExpiryDropsSource) {
        row.sources[at] = Listing::No;
        row.blockades[at] = [None; SAVES + 1];
        owner.inbound = Some(row);
        return;
    }
    raise(world, owner, &mut row);
    state.left.raises = state.left.raises.saturating_sub(1);
    owner.inbound = Some(row);
    state.send(Message::HasSubscriber { source, epoch: row.epoch });
}

/// The row goes to the next owner as it is. What was under way at the former one cannot commit any more.
pub(crate) fn change_owner(state: &mut State) {
    let owner = &mut state.owner;
    owner.ownership += 1;
    owner.sequence = 0;
    owner.deleter = None;
    state.left.moves -= 1;
}

pub(crate) fn local_save(owner: &mut Owner, behaviour: Behaviour) {
    owner.local = Some(Reference { uid: owner.uid, behaviour });
}

/// `EstablishReferences` arrives. A refusal is not a step: the save that gets none fails all the same.
pub(crate) fn establish(
    world: &World,
    state: &mut State,
    source: u8,
    blockade: Blockade,
    fence: Option<Epoch>,
) {
    let owner = &mut state.owner;
    if owner.life != Life::Active {
        return;
    }
    let fence = fence.filter(|_| !world.has(Mistake::EpochRestarts));
    let standing = owner.inbound.filter(|row| writes_nothing(world, row, source, fence));
    let epoch = match standing {
        Some(row) => row.epoch,
        None => write_grant(world, owner, source, blockade, fence),
    };
    let uid = owner.uid;
    if let Blockade::Of(slot) = blockade {
        state.send(Message::Granted { source, slot, uid, epoch });
    }
}

/// Whether the grant is the row as it is: the source is listed, no attempt is open, the fence is heeded.
pub(crate) fn writes_nothing(
    world: &World,
    row: &Inbound,
    source: u8,
    fence: Option<Epoch>,
) -> bool {
    let listed = match row.sources[usize::from(source)] {
        Listing::No => false,
        Listing::Listed => true,
        Listing::Leaving(_) => world.has(Mistake::ReadOnlyWhileLeaving),
    };
    let quiet = !row.open || world.has(Mistake::ReadOnlyWhileAttemptOpen);
    world.read_only_grants && listed && quiet && fence.is_none_or(|f| f <= row.epoch)
}

fn write_grant(
    world: &World,
    owner: &mut Owner,
    source: u8,
    blockade: Blockade,
    fence: Option<Epoch>,
) -> Epoch {
    let mut row = match owner.inbound {
        Some(row) => row,
        None => fresh_row(world, owner),
    };
    row.epoch = fence.map_or(row.epoch, |f| f.max(row.epoch));
    if row.epoch.ownership == owner.ownership {
        owner.sequence = owner.sequence.max(row.epoch.number);
    }
    let at = usize::from(source);
    let keeps = world.has(Mistake::GrantKeepsLeavingMark) && row.sources[at] != Listing::No;
    if !keeps {
        row.sources[at] = Listing::Listed;
    }
    if world.blockades {
        row.blockades[at][blockade.place()] = Some(row.epoch);
    }
    row.open = false;
    owner.inbound = Some(row);
    if !world.has(Mistake::GrantNotCounted) {
        disturb(owner);
    }
    row.epoch
}

pub(crate) fn confirm(owner: &mut Owner, source: u8) {
    let at = usize::from(source);
    let Some(row) = &mut owner.inbound else { return };
    row.blockades[at][Blockade::Over.place()] = None;
    if owner.life == Life::Active && matches!(row.sources[at], Listing::Leaving(_)) {
        row.sources[at] = Listing::Listed;
    }
}

pub(crate) fn withdraw(world: &World, owner: &mut Owner, source: u8) {
    let at = usize::from(source);
    let Some(row) = &mut owner.inbound else { return };
    row.blockades[at][Blockade::Over.place()] = None;
    let others = row.blockades[at].iter().any(Option::is_some);
    if world.has(Mistake::WithdrawalDropsSource) && !others {
        row.sources[at] = Listing::No;
    }
}

/// An answer to `CheckIfResourceIsBlocked` reaches the process that asked.
pub(crate) fn is_told(owner: &mut Owner, source: u8, epoch: Epoch, answer: Answer) {
    if let Some(deleter) = owner.deleter.as_mut().filter(|d| d.epoch == epoch) {
        deleter.answers[usize::from(source)] = answer;
    }
}

/// An answer to `CheckIfResourceHasDeletionSubscriber`: of a leaving source, of an expired blockade, or after the verdict.
pub(crate) fn is_told_what_is_held(owner: &mut Owner, source: u8, epoch: Epoch, any: bool) {
    let at = usize::from(source);
    let Some(row) = &mut owner.inbound else { return };
    for blockade in &mut row.blockades[at] {
        *blockade = blockade.filter(|b| *b >= epoch);
    }
    let gone = owner.life == Life::Deleting && row.epoch == epoch && !any;
    row.sources[at] = match row.sources[at] {
        _ if gone => Listing::No,
        Listing::Leaving(e) if e == epoch && any => Listing::Listed,
        Listing::Leaving(e) if e == epoch => Listing::No,
        listing => listing,
    };
}

pub(crate) fn take_picture(owner: &mut Owner, source: u8) {
    owner.picture = owner.inbound.map(|row| (source, owner.uid, row.epoch));
}

pub(crate) fn grant_from_picture(state: &mut State, slot: u8) {
    if let Some((source, uid, epoch)) = state.owner.picture {
        state.send(Message::Granted { source, slot, uid, epoch });
    }
}

/// Notes a commit that ties a referrer anew to a target that is not there, or will not be.
pub(crate) fn judge_tie(state: &mut State, uid: u8) {
    if !state.is_active(uid) {
        state.breach = Some(Breach::TieToTheDying);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateright::Model;

    use crate::protocol::Protocol;

    /// A target with one grant to source 0.
    fn granted() -> State {
        let protocol = Protocol { world: World::SMALL };
        let mut state = protocol.init_states().remove(0);
        create(&mut state);
        establish(&World::SMALL, &mut state, 0, Blockade::Of(0), None);
        state
    }

    #[test]
    fn a_grant_to_a_listed_source_writes_nothing() {
        let mut state = granted();
        let before = state.owner;
        establish(&World::SMALL, &mut state, 0, Blockade::Of(0), None);
        assert_eq!(state.owner, before);
        establish(&World::SMALL, &mut state, 1, Blockade::Of(0), None);
        assert_ne!(state.owner, before, "another source is listed");
    }

    #[test]
    fn a_grant_writes_while_an_attempt_is_open_and_ends_it() {
        let mut state = granted();
        attempt(&World::SMALL, &mut state);
        assert!(state.owner.inbound.is_some_and(|row| row.open));
        establish(&World::SMALL, &mut state, 0, Blockade::Of(0), None);
        assert!(state.owner.inbound.is_some_and(|row| !row.open));
        assert!(state.owner.deleter.is_some_and(|d| !d.undisturbed));
    }

    #[test]
    fn a_fence_above_the_epoch_is_heeded() {
        let mut state = granted();
        let fence = Epoch { ownership: 0, number: 9 };
        establish(&World::SMALL, &mut state, 0, Blockade::Of(0), Some(fence));
        assert_eq!(state.owner.inbound.map(|row| row.epoch), Some(fence));
        attempt(&World::SMALL, &mut state);
        assert!(state.owner.inbound.is_some_and(|row| row.epoch > fence));
    }

    #[test]
    fn a_new_owner_raises_above_the_former_one() {
        let mut state = granted();
        let before = state.owner.inbound.map(|row| row.epoch);
        state.left.moves = 1;
        change_owner(&mut state);
        attempt(&World::SMALL, &mut state);
        let after = state.owner.inbound.map(|row| row.epoch);
        assert_eq!(after, Some(Epoch { ownership: 1, number: 1 }));
        assert!(after > before);
    }
}
