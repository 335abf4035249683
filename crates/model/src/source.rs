//! What a source's database does: saves, fences, answers to questions, consequences of deletions.

use crate::epoch::Epoch;
use crate::mistake::Mistake;
use crate::owner;
use crate::state::{
    About, Answer, Answering, Behaviour, Blockade, Breach, Life, Message, Reference, SAVES, Save,
    Source, Stage, State,
};
use crate::world::World;

/// The conditions of a save's commit: the referrer's version, and for what is new no fence above the granted epoch.
pub(crate) fn may_commit(world: &World, source: &Source, save: &Save) -> bool {
    let read_again = source.first[usize::from(save.referrer)] && save.read_first;
    let same = save.fresh || (world.has(Mistake::RowVersionReturns) && read_again);
    match save.stage {
        Stage::Asked => false,
        Stage::Granted { epoch, .. } => same && source.fence.is_none_or(|f| f <= epoch),
        Stage::NothingNew { .. } => same,
    }
}

/// A save reads its referrer, and asks the target's owner if anything is new.
pub(crate) fn begin(world: &World, state: &mut State, at: u8, referrer: u8, behaviour: Behaviour) {
    let source = &mut state.sources[usize::from(at)];
    let Some(slot) = source.saves.iter().position(Option::is_none) else { return };
    let held = source.referrers[usize::from(referrer)];
    let unasked =
        held.filter(|h| h.behaviour == behaviour || world.has(Mistake::StricterIsNothingNew));
    source.saves[slot] = Some(Save {
        referrer,
        behaviour,
        stage: unasked.map_or(Stage::Asked, |h| Stage::NothingNew { uid: h.uid }),
        fresh: true,
        before_fence: false,
        read_first: source.first[usize::from(referrer)],
    });
    let (fence, slot) = (source.fence, slot_number(slot));
    if unasked.is_none() {
        state.send(Message::Establish { source: at, blockade: Blockade::Of(slot), fence });
    }
}

fn slot_number(slot: usize) -> u8 {
    u8::try_from(slot).unwrap_or(u8::MAX)
}

pub(crate) fn commit(world: &World, state: &mut State, at: u8, slot: u8) {
    let source = &mut state.sources[usize::from(at)];
    let Some(save) = source.saves[usize::from(slot)].take() else { return };
    forget(source, slot);
    let (uid, asked) = match save.stage {
        Stage::Asked => return,
        Stage::Granted { uid, .. } => (uid, true),
        Stage::NothingNew { uid } => (uid, false),
    };
    let place = usize::from(save.referrer);
    let before = source.referrers[place];
    let reference = Reference { uid, behaviour: save.behaviour };
    let created = before.is_none();
    write(world, source, save.referrer, Some(reference), created);
    let same = |b: Reference| b.uid == uid && b.behaviour >= save.behaviour;
    if !before.is_some_and(same) {
        owner::judge_tie(state, uid);
    }
    if asked {
        close(world, state, at, slot);
        state.send(Message::Confirm { source: at });
    }
}

/// Writes a referrer. Saves that have read it are out of date from now on.
fn write(world: &World, source: &mut Source, referrer: u8, to: Option<Reference>, first: bool) {
    source.referrers[usize::from(referrer)] = to;
    if world.has(Mistake::RowVersionReturns) {
        source.first[usize::from(referrer)] = first;
    }
    for save in source.saves.iter_mut().flatten().filter(|s| s.referrer == referrer) {
        save.fresh = false;
    }
}

pub(crate) fn fail(world: &World, state: &mut State, source: u8, slot: u8) {
    let here = &mut state.sources[usize::from(source)];
    let save = here.saves[usize::from(slot)].take();
    forget(here, slot);
    if save.is_some_and(|s| !matches!(s.stage, Stage::NothingNew { .. })) {
        close(world, state, source, slot);
        state.send(Message::Withdraw { source });
    }
}

/// A save that asked is over: its request may still arrive, but nobody waits for the answer. Its blockade is one of many.
fn close(world: &World, state: &mut State, source: u8, slot: u8) {
    let ours = Blockade::Of(slot);
    let request = |m: &Message| match *m {
        Message::Establish { source: s, blockade, fence } if (s, blockade) == (source, ours) => {
            Some(fence)
        }
        _ => None,
    };
    let fences: Vec<_> = state.network.iter().filter_map(request).collect();
    state.network.retain(|m| request(m).is_none());
    if !world.has(Mistake::GrantOutlivesSave) {
        let answer = |m: &Message| matches!(*m, Message::Granted { source: s, slot: of, .. } if (s, of) == (source, slot));
        state.network.retain(|m| !answer(m));
    }
    for fence in fences.into_iter() {
        state.send(Message::Establish { source, blockade: Blockade::Over, fence });
    }
    if let Some(row) = &mut state.owner.inbound {
        let blockades = &mut row.blockades[usize::from(source)];
        let epoch = blockades[ours.place()].take();
        let over = &mut blockades[Blockade::Over.place()];
        *over = (*over).max(epoch);
    }
}

/// A user removes the reference; where versions return, by removing the referrer and making it anew without one.
pub(crate) fn drop_reference(world: &World, source: &mut Source, referrer: u8) {
    write(world, source, referrer, None, true);
}

pub(crate) fn drop_fence(source: &mut Source) {
    source.fence = None;
    // The fence's version is a condition of the answer.
    source.answering = None;
    for save in source.saves.iter_mut().flatten() {
        save.before_fence = false;
    }
}

pub(crate) fn granted(source: &mut Source, slot: u8, uid: u8, epoch: Epoch) {
    if let Some(save) = source.saves[usize::from(slot)].as_mut().filter(|s| s.stage == Stage::Asked)
    {
        save.stage = Stage::Granted { uid, epoch };
    }
}

/// Writes the fence. It is kept for the saves that are marked here.
fn raise_fence(source: &mut Source, epoch: Epoch, open: [bool; SAVES]) {
    source.fence = Some(epoch);
    for (save, open) in source.saves.iter_mut().zip(open) {
        if let Some(save) = save {
            save.before_fence = open;
        }
    }
}

/// A question arrives. What holds no BLOCK reference binds itself by its answer to whether it does; to whether it holds
/// any, it does so whatever the answer is. If a fence binds it already, nothing is written.
pub(crate) fn ask(world: &World, state: &mut State, at: u8, about: About, epoch: Epoch) {
    let source = &mut state.sources[usize::from(at)];
    if about == About::Blockers && source.holds(Some(Behaviour::Block)) {
        state.send(Message::Blocked { source: at, epoch });
        return;
    }
    let holds = source.holds(None);
    let unfenced = match about {
        About::Blockers => world.has(Mistake::NoFence),
        About::Referrers => world.has(Mistake::HoldsNoneUnfenced) && !holds,
    };
    if unfenced || source.fence.is_some_and(|f| f >= epoch) {
        state.send(answered(at, about, epoch, holds));
        return;
    }
    if source.answering.is_some() {
        return;
    }
    let open = source.saves.map(|save| save.is_some());
    let open = source.view.take().unwrap_or(open);
    source.answering = Some(Answering { about, epoch, holds, open });
    if !world.slow_answers {
        commit_answer(state, at);
    }
}

/// Commits the fence and answers, if what the answer denies is still so and nobody else has touched the fence.
pub(crate) fn commit_answer(state: &mut State, at: u8) {
    let source = &mut state.sources[usize::from(at)];
    let Some(Answering { about, epoch, holds, open }) = source.answering.take() else { return };
    let denies_still = match about {
        _ if !holds => !source.holds(None),
        About::Blockers => !source.holds(Some(Behaviour::Block)),
        About::Referrers => true,
    };
    if denies_still {
        raise_fence(source, epoch, open);
        state.send(answered(at, about, epoch, holds));
    }
}

fn answered(source: u8, about: About, epoch: Epoch, holds: bool) -> Message {
    match about {
        About::Blockers => Message::NotBlocked { source, epoch, holds },
        About::Referrers => Message::Holds { source, epoch, any: holds },
    }
}

pub(crate) fn take_view(source: &mut Source) {
    source.view = Some(source.saves.map(|save| save.is_some()));
}

/// A save has ended: what takes its place is another one.
fn forget(source: &mut Source, slot: u8) {
    let views = source.answering.iter_mut().map(|a| &mut a.open).chain(&mut source.view);
    for open in views {
        open[usize::from(slot)] = false;
    }
}

/// The target's deletion is told: one reference to it goes at a time.
pub(crate) fn consequence(world: &World, state: &mut State, at: u8, uid: u8) {
    let by_name = world.has(Mistake::EventMatchedByName);
    let source = &mut state.sources[usize::from(at)];
    let meant = |r: &Option<Reference>| r.is_some_and(|r| by_name || r.uid == uid);
    let Some(referrer) = source.referrers.iter().position(meant) else { return };
    let was = source.referrers[referrer];
    write(world, source, slot_number(referrer), None, true);
    let dying = |r: Reference| state.owner.life == Life::Deleting && r.uid == state.owner.uid;
    if !was.is_some_and(dying) {
        state.breach = Some(Breach::ConsequenceWithoutReason);
    }
}

/// What the owner makes of an answer to its question whether it is blocked.
pub(crate) fn answer(blocked: bool, holds: bool) -> Answer {
    if blocked { Answer::Blocked } else { Answer::Free { holds } }
}
