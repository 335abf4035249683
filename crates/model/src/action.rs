//! What can happen next in a world: the choice among it is what the checker exhausts.

use crate::mistake::Mistake;
use crate::state::{Answer, Behaviour, Life, Listing, Message, Reference, State};
use crate::world::World;

/// A step: one commit of one database, or one message that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A target is made, for the first time or anew.
    Create,
    /// A deletion that finds no inbound row, or none that lists a source: its verdict asks nobody, and requires that row.
    DeleteAtOnce,
    /// A deletion raises the epoch, marks the row and asks every source.
    Attempt,
    /// The own deployment is asked as sources are. Only by mistake.
    AskOwn,
    /// The deletion commits.
    Verdict,
    /// The process that deletes stops, and ends the mark that it set.
    GiveUp,
    /// The process that deletes dies.
    DeleterDies,
    Purge,
    /// The owner marks a source as leaving and asks it.
    Clear {
        source: u8,
    },
    /// A blockade has expired: the owner raises the epoch and asks.
    Expire {
        source: u8,
    },
    /// Another deployment becomes the owner.
    Move,
    /// A referrer of the own deployment gets a reference, or a stricter one.
    LocalSave {
        behaviour: Behaviour,
    },
    LocalDrop,
    /// The own deployment works through its index after the deletion.
    LocalConsequence,
    /// A save begins that gives a referrer a reference, or a stricter one.
    Save {
        source: u8,
        referrer: u8,
        behaviour: Behaviour,
    },
    /// A save begins that keeps the reference that there is.
    Touch {
        source: u8,
        referrer: u8,
    },
    Commit {
        source: u8,
        slot: u8,
    },
    /// A save fails, is given up, or its process dies. A withdrawal may be sent, and may arrive.
    Fail {
        source: u8,
        slot: u8,
    },
    /// A user removes a reference.
    Drop {
        source: u8,
        referrer: u8,
    },
    DropFence {
        source: u8,
    },
    /// A source commits the fence of a question that it has read.
    Answer {
        source: u8,
    },
    /// Somebody looks at what is under way. Only by mistake.
    TakeView {
        source: u8,
    },
    /// A reader of the row keeps what it saw. Only by mistake.
    TakePicture {
        source: u8,
    },
    /// The old picture answers. Only by mistake.
    GrantFromPicture {
        slot: u8,
    },
    Deliver(Message),
}

/// Everything that can happen in this state, in an order that depends on it alone.
pub(crate) fn possible(world: &World, state: &State, actions: &mut Vec<Action>) {
    if state.breach.is_some() {
        return;
    }
    owner_actions(world, state, actions);
    if world.local {
        local_actions(state, actions);
    }
    for source in 0..world.sources {
        source_actions(world, state, source, actions);
    }
    actions.extend(state.network.iter().copied().map(Action::Deliver));
}

fn owner_actions(world: &World, state: &State, actions: &mut Vec<Action>) {
    let owner = &state.owner;
    match owner.life {
        Life::Absent => {
            if world.creations.is_none() || state.left.creations > 0 {
                actions.push(Action::Create);
            }
        }
        Life::Active => active_actions(world, state, actions),
        Life::Deleting => {
            let listed = owner.inbound.is_some_and(|r| r.sources.iter().any(|l| *l != Listing::No));
            if !listed && (owner.local.is_none() || world.has(Mistake::OwnDeploymentListed)) {
                actions.push(Action::Purge);
            }
        }
    }
    if let Some(deleter) = &owner.deleter {
        if world.has(Mistake::OwnDeploymentListed) && deleter.own.is_none() {
            actions.push(Action::AskOwn);
        }
        if may_commit(world, state) {
            actions.push(Action::Verdict);
        }
        actions.extend([Action::GiveUp, Action::DeleterDies]);
    }
    if state.left.moves > 0 {
        actions.push(Action::Move);
    }
}

fn active_actions(world: &World, state: &State, actions: &mut Vec<Action>) {
    let sources = state.owner.inbound.iter().flat_map(|row| row.sources);
    let listed = sources.filter(|l| *l != Listing::No).count();
    let blocked = state.owner.local.is_some_and(|r| r.behaviour == Behaviour::Block);
    if listed == 0 && !blocked {
        actions.push(Action::DeleteAtOnce);
    }
    let Some(row) = &state.owner.inbound else { return };
    if may_raise(world, state, listed) {
        actions.push(Action::Attempt);
    }
    for source in 0..world.sources {
        let at = usize::from(source);
        let may = may_raise(world, state, 1);
        if world.clearing && may && row.sources[at] == Listing::Listed {
            actions.push(Action::Clear { source });
        }
        if world.blockades && may && row.blockades[at].iter().any(Option::is_some) {
            actions.push(Action::Expire { source });
        }
        let quiet = row.sources[at] == Listing::Listed && !row.open;
        if world.has(Mistake::ReadOnlyFromOldPicture) && quiet && state.owner.picture.is_none() {
            actions.push(Action::TakePicture { source });
        }
    }
}

/// Whether one more epoch, with so many questions, is within the bounds of the world.
fn may_raise(world: &World, state: &State, questions: usize) -> bool {
    let is_question =
        |m: &&Message| matches!(m, Message::IsBlocked { .. } | Message::HasSubscriber { .. });
    let under_way = state.network.iter().filter(is_question).count();
    let counted = world.raises.is_none() || state.left.raises > 0;
    counted && under_way + questions <= usize::from(world.questions)
}

/// The conditions of the verdict, judged as the store judges them: at the commit.
fn may_commit(world: &World, state: &State) -> bool {
    let (Some(deleter), Some(row)) = (&state.owner.deleter, &state.owner.inbound) else {
        return false;
    };
    let same = if world.has(Mistake::ComparedByValue) {
        deleter
            .seen
            .is_some_and(|seen| (seen.sources, seen.blockades) == (row.sources, row.blockades))
    } else {
        deleter.undisturbed
    };
    let own_is_free = match deleter.own {
        _ if !world.has(Mistake::OwnDeploymentListed) => {
            state.owner.local.is_none_or(|r| r.behaviour != Behaviour::Block)
        }
        said => said == Some(false),
    };
    let free = |a: &Answer| matches!(a, Answer::NotAsked | Answer::Free { .. });
    state.is_active(deleter.uid)
        && row.epoch == deleter.epoch
        && same
        && own_is_free
        && deleter.answers.iter().all(free)
}

fn local_actions(state: &State, actions: &mut Vec<Action>) {
    let owner = &state.owner;
    if owner.life == Life::Active {
        if owner.local.is_none() {
            actions.push(Action::LocalSave { behaviour: Behaviour::Async });
        }
        if owner.local.is_none_or(|r| r.behaviour < Behaviour::Block) {
            actions.push(Action::LocalSave { behaviour: Behaviour::Block });
        }
    }
    if let Some(reference) = owner.local {
        actions.push(Action::LocalDrop);
        if owner.life == Life::Deleting && reference.uid == owner.uid {
            actions.push(Action::LocalConsequence);
        }
    }
}

fn source_actions(world: &World, state: &State, source: u8, actions: &mut Vec<Action>) {
    let here = &state.sources[usize::from(source)];
    let is_free = |slot: &u8| here.saves[usize::from(*slot)].is_none();
    let free = (0..world.saves).any(|slot| is_free(&slot));
    for referrer in 0..world.referrers {
        let held = here.referrers[usize::from(referrer)];
        if free {
            begin_actions(world, source, referrer, held, actions);
        }
        if held.is_some() {
            actions.push(Action::Drop { source, referrer });
        }
    }
    for slot in 0..world.saves {
        let Some(save) = &here.saves[usize::from(slot)] else { continue };
        if crate::source::may_commit(world, here, save) {
            actions.push(Action::Commit { source, slot });
        }
        actions.push(Action::Fail { source, slot });
        let asked = save.stage == crate::state::Stage::Asked;
        if asked && state.owner.picture.is_some_and(|(of, _, _)| of == source) {
            actions.push(Action::GrantFromPicture { slot });
        }
    }
    if here.answering.is_some() {
        actions.push(Action::Answer { source });
    }
    if world.has(Mistake::AnswerFromOldView) && here.view.is_none() {
        actions.push(Action::TakeView { source });
    }
    let needed = here.saves.iter().flatten().any(|s| s.before_fence);
    let droppable = !needed || world.has(Mistake::FenceDroppedEarly);
    if world.fences_dropped && here.fence.is_some() && droppable {
        actions.push(Action::DropFence { source });
    }
}

fn begin_actions(
    world: &World,
    source: u8,
    referrer: u8,
    held: Option<Reference>,
    actions: &mut Vec<Action>,
) {
    if held.is_none() {
        actions.push(Action::Save { source, referrer, behaviour: Behaviour::Async });
    }
    if held.is_none_or(|r| r.behaviour < Behaviour::Block) {
        actions.push(Action::Save { source, referrer, behaviour: Behaviour::Block });
    }
    if world.touch && held.is_some() {
        actions.push(Action::Touch { source, referrer });
    }
}
