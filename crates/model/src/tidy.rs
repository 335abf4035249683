//! What two states differ in without any difference to what can follow: it is taken out after every step.
//!
//! Each rule here drops only what cannot have an effect any more, or ends earlier what can only fail. `docs/model.md` has the reasons.

use crate::epoch::Epoch;
use crate::mistake::Mistake;
use crate::owner;
use crate::source;
use crate::state::{Answer, Blockade, Life, Listing, Message, Owner, Save, Source, Stage, State};
use crate::world::World;

/// Brings a state into the form that stands for all that are like it.
pub(crate) fn tidy(world: &World, state: &mut State) {
    if !world.reduced {
        return;
    }
    end_doomed_attempt(world, &mut state.owner);
    end_doomed_saves(world, state);
    forget_heeded_fences(world, state);
    let mut network = std::mem::take(&mut state.network);
    network.retain(|message| matters(world, state, message));
    state.network = network;
    if !world.has(Mistake::GrantOutlivesSave) {
        forget_lesser_grants(state);
    }
    if world.renames() {
        rename(state);
    }
    state.network.sort_unstable();
    state.network.dedup();
    if world.renames() && world.sources == 2 {
        let other = swapped(state);
        if order(&other) < order(state) {
            *state = other;
        }
    }
}

/// An attempt whose target, epoch or count of grants is another one by now cannot come to a verdict.
fn end_doomed_attempt(world: &World, owner: &mut Owner) {
    let Some(deleter) = &owner.deleter else { return };
    let epoch = owner.inbound.is_some_and(|row| row.epoch == deleter.epoch);
    let active = owner.life == Life::Active && owner.uid == deleter.uid;
    let counted = deleter.undisturbed || world.has(Mistake::ComparedByValue);
    if !(epoch && active && counted) {
        owner.deleter = None;
    }
}

/// A save whose referrer has changed, or that a later fence is above, fails as soon as it looks.
fn end_doomed_saves(world: &World, state: &mut State) {
    for at in 0..world.sources {
        for slot in 0..world.saves {
            let here = &state.sources[usize::from(at)];
            let save = here.saves[usize::from(slot)].as_ref();
            if save.is_some_and(|save| is_doomed(world, here, save)) {
                source::fail(world, state, at, slot);
            }
        }
    }
}

fn is_doomed(world: &World, here: &Source, save: &Save) -> bool {
    let stale = !save.fresh && !world.has(Mistake::RowVersionReturns);
    let fenced = match save.stage {
        Stage::Granted { epoch, .. } => save.before_fence && here.fence.is_some_and(|f| f > epoch),
        _ => false,
    };
    stale || (fenced && !world.has(Mistake::FenceDroppedEarly))
}

/// A fence that a request names makes a difference only while the owner would grant less.
fn forget_heeded_fences(world: &World, state: &mut State) {
    let row = state.owner.inbound.map(|row| row.epoch);
    let floor = row.unwrap_or_else(|| owner::start(world, &state.owner));
    if world.has(Mistake::EpochRestarts) {
        return;
    }
    for message in &mut state.network {
        if let Message::Establish { fence, .. } = message {
            *fence = fence.filter(|f| *f > floor);
        }
    }
}

/// Of two answers to one save for the same target, whatever the lesser allows the greater allows.
fn forget_lesser_grants(state: &mut State) {
    let grant = |m: &Message| match *m {
        Message::Granted { source, slot, uid, epoch } => Some(((source, slot, uid), epoch)),
        _ => None,
    };
    let grants: Vec<_> = state.network.iter().filter_map(grant).collect();
    let lesser = |(of, epoch)| grants.iter().any(|(other, e)| *other == of && *e > epoch);
    state.network.retain(|m| !grant(m).is_some_and(lesser));
}

/// Whether the message can still have an effect.
fn matters(world: &World, state: &State, message: &Message) -> bool {
    let source = |at: u8| &state.sources[usize::from(at)];
    let fences = |at: u8, epoch: Epoch| source(at).fence.is_none_or(|f| f < epoch);
    let save = |at: u8, slot: u8| source(at).saves[usize::from(slot)].as_ref();
    match *message {
        Message::Establish { source, blockade: Blockade::Of(slot), .. } => {
            save(source, slot).is_some()
        }
        Message::Granted { source, slot, .. } => {
            let asks = save(source, slot).is_some_and(|s| s.stage == Stage::Asked);
            asks || world.has(Mistake::GrantOutlivesSave)
        }
        Message::IsBlocked { source, epoch } => {
            fences(source, epoch) || is_awaited(&state.owner, source, epoch)
        }
        Message::Blocked { source, epoch } | Message::NotBlocked { source, epoch, .. } => {
            is_awaited(&state.owner, source, epoch)
        }
        Message::HasSubscriber { source, epoch } => {
            fences(source, epoch) || is_of_use(&state.owner, source, epoch)
        }
        Message::Holds { source, epoch, .. } => is_of_use(&state.owner, source, epoch),
        Message::Deleted { uid, .. } => {
            let dying = state.owner.life == Life::Deleting && state.owner.uid == uid;
            dying || world.has(Mistake::EventMatchedByName)
        }
        Message::Confirm { .. } => world.blockades || world.clearing,
        Message::Withdraw { .. } => world.blockades || world.has(Mistake::WithdrawalDropsSource),
        Message::Establish { .. } => true,
    }
}

/// Whether the process that deletes waits for this answer.
fn is_awaited(owner: &Owner, source: u8, epoch: Epoch) -> bool {
    let asks = owner.deleter.filter(|d| d.epoch == epoch);
    asks.is_some_and(|d| d.answers[usize::from(source)] == Answer::Awaited)
}

/// Whether an answer about what the source holds would change the row.
fn is_of_use(owner: &Owner, source: u8, epoch: Epoch) -> bool {
    let at = usize::from(source);
    let Some(row) = &owner.inbound else { return false };
    let listing = row.sources[at];
    let purging = owner.life == Life::Deleting && row.epoch == epoch && listing != Listing::No;
    let older = row.blockades[at].iter().flatten().any(|b| *b < epoch);
    purging || listing == Listing::Leaving(epoch) || older
}

/// Names epochs by their rank, the present target 2 and all former ones 1. Only their order is ever looked at,
/// and a new one is always above all, so what can follow is the same.
fn rename(state: &mut State) {
    let mut all = Vec::new();
    each_epoch(state, |epoch| all.push(*epoch));
    all.sort_unstable();
    all.dedup();
    let rank = |epoch: Epoch| all.partition_point(|e| *e <= epoch);
    let number = |epoch| u8::try_from(rank(epoch)).unwrap_or(u8::MAX);
    each_epoch(state, |epoch| *epoch = Epoch { ownership: 0, number: number(*epoch) });
    state.owner.sequence = u8::try_from(all.len()).unwrap_or(u8::MAX);
    let last = state.owner.uid;
    if last > 2 {
        each_uid(state, |uid| *uid = if *uid == last { 2 } else { 1 });
    }
}

fn each_epoch(state: &mut State, mut change: impl FnMut(&mut Epoch)) {
    if let Some(row) = &mut state.owner.inbound {
        change(&mut row.epoch);
        row.blockades.iter_mut().flatten().flatten().for_each(&mut change);
        for listing in &mut row.sources {
            if let Listing::Leaving(epoch) = listing {
                change(epoch);
            }
        }
    }
    if let Some(deleter) = &mut state.owner.deleter {
        change(&mut deleter.epoch);
    }
    for source in &mut state.sources {
        source.fence.iter_mut().for_each(&mut change);
        source.answering.iter_mut().for_each(|answering| change(&mut answering.epoch));
        for save in source.saves.iter_mut().flatten() {
            if let Stage::Granted { epoch, .. } = &mut save.stage {
                change(epoch);
            }
        }
    }
    for message in &mut state.network {
        match message {
            Message::Establish { fence, .. } => fence.iter_mut().for_each(&mut change),
            Message::Granted { epoch, .. }
            | Message::IsBlocked { epoch, .. }
            | Message::Blocked { epoch, .. }
            | Message::NotBlocked { epoch, .. }
            | Message::HasSubscriber { epoch, .. }
            | Message::Holds { epoch, .. } => change(epoch),
            Message::Confirm { .. } | Message::Withdraw { .. } | Message::Deleted { .. } => {}
        }
    }
}

fn each_uid(state: &mut State, mut change: impl FnMut(&mut u8)) {
    change(&mut state.owner.uid);
    if let Some(reference) = &mut state.owner.local {
        change(&mut reference.uid);
    }
    if let Some(deleter) = &mut state.owner.deleter {
        change(&mut deleter.uid);
    }
    for source in &mut state.sources {
        source.referrers.iter_mut().flatten().for_each(|r| change(&mut r.uid));
        for save in source.saves.iter_mut().flatten() {
            if let Stage::Granted { uid, .. } | Stage::NothingNew { uid } = &mut save.stage {
                change(uid);
            }
        }
    }
    for message in &mut state.network {
        if let Message::Granted { uid, .. } | Message::Deleted { uid, .. } = message {
            change(uid);
        }
    }
}

/// The same with the two sources in each other's place. They are alike in all that they can do.
fn swapped(state: &State) -> State {
    let mut other = state.clone();
    other.sources.swap(0, 1);
    if let Some(row) = &mut other.owner.inbound {
        row.sources.swap(0, 1);
        row.blockades.swap(0, 1);
    }
    if let Some(deleter) = &mut other.owner.deleter {
        deleter.answers.swap(0, 1);
    }
    for message in &mut other.network {
        let source = message.source_mut();
        *source = 1 - *source;
    }
    other.network.sort_unstable();
    other
}

/// What the two forms of a state are compared by. They are the same state if nothing here differs.
fn order(state: &State) -> impl Ord + '_ {
    let row = state.owner.inbound.map(|row| (row.sources, row.blockades));
    let answers = state.owner.deleter.map(|d| d.answers);
    (state.sources, row, answers, &state.network)
}

#[cfg(test)]
mod tests {
    use stateright::Model;

    use super::*;
    use crate::protocol::Protocol;

    /// Every state within so many steps.
    fn states(world: World, depth: usize) -> Vec<State> {
        let protocol = Protocol { world };
        let mut all = protocol.init_states();
        let mut edge = all.clone();
        for _ in 0..depth {
            edge = edge.iter().flat_map(|state| protocol.next_states(state)).collect();
            edge.sort_by_key(|state| format!("{state:?}"));
            edge.dedup();
            all.extend_from_slice(&edge);
        }
        all
    }

    #[test]
    fn a_tidy_state_stays_as_it_is() {
        let world = World { sources: 2, clearing: true, raises: None, ..World::SMALL };
        for state in states(world, 7) {
            let mut again = state.clone();
            tidy(&world, &mut again);
            assert_eq!(again, state);
        }
    }

    #[test]
    fn what_was_swapped_twice_is_the_same() {
        let world = World { sources: 2, ..World::SMALL };
        for state in states(world, 7) {
            assert_eq!(swapped(&swapped(&state)), state);
        }
    }

    #[test]
    fn renaming_keeps_the_order_of_epochs() {
        let world = World { clearing: true, raises: Some(3), ..World::SMALL };
        for state in states(world, 8) {
            let (mut before, mut after, mut renamed) = (Vec::new(), Vec::new(), state);
            each_epoch(&mut renamed, |epoch| before.push(*epoch));
            rename(&mut renamed);
            each_epoch(&mut renamed, |epoch| after.push(*epoch));
            for (a, b) in before.iter().zip(&after) {
                for (c, d) in before.iter().zip(&after) {
                    assert_eq!(a.cmp(c), b.cmp(d), "{before:?} {after:?}");
                }
            }
        }
    }
}
