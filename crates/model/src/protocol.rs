//! The model as the checker sees it: where it begins, what can happen, and what comes of it.

use stateright::{Model, Property};

use crate::action::{self, Action};
use crate::owner;
use crate::properties;
use crate::source;
use crate::state::{About, Left, Life, Message, Owner, REFERRERS, SAVES, SOURCES, Source, State};
use crate::tidy;
use crate::world::World;

/// The protocol in a world.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    pub world: World,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![beginning(&self.world)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        action::possible(&self.world, state, actions);
    }

    /// `None` if the step changes nothing, like most messages that arrive once more.
    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        apply(&self.world, &mut state, action);
        tidy::tidy(&self.world, &mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        properties::all()
    }
}

/// Nothing was ever made.
fn beginning(world: &World) -> State {
    let source = Source {
        referrers: [None; REFERRERS],
        first: [false; REFERRERS],
        fence: None,
        saves: [None; SAVES],
        answering: None,
        view: None,
    };
    State {
        owner: Owner {
            ownership: 0,
            sequence: 0,
            life: Life::Absent,
            uid: 0,
            inbound: None,
            local: None,
            deleter: None,
            picture: None,
        },
        sources: [source; SOURCES],
        network: Vec::new(),
        left: Left {
            raises: world.raises.unwrap_or(0),
            creations: world.creations.unwrap_or(0),
            moves: world.moves,
        },
        breach: None,
    }
}

fn apply(world: &World, state: &mut State, action: Action) {
    match action {
        Action::Create => owner::create(state),
        Action::DeleteAtOnce => owner::delete_at_once(world, state),
        Action::Attempt => owner::attempt(world, state),
        Action::AskOwn => owner::ask_own(state),
        Action::Verdict => owner::verdict(state),
        Action::GiveUp => owner::give_up(&mut state.owner),
        Action::DeleterDies => state.owner.deleter = None,
        Action::Purge => owner::purge(&mut state.owner),
        Action::Clear { source } => owner::clear(world, state, source),
        Action::Expire { source } => owner::expire(world, state, source),
        Action::Move => owner::change_owner(state),
        Action::LocalSave { behaviour } => owner::local_save(&mut state.owner, behaviour),
        Action::LocalDrop | Action::LocalConsequence => state.owner.local = None,
        Action::TakePicture { source } => owner::take_picture(&mut state.owner, source),
        Action::GrantFromPicture { slot } => owner::grant_from_picture(state, slot),
        Action::Deliver(message) => deliver(world, state, message),
        _ => apply_at_source(world, state, action),
    }
}

fn apply_at_source(world: &World, state: &mut State, action: Action) {
    match action {
        Action::Save { source, referrer, behaviour } => {
            source::begin(world, state, source, referrer, behaviour);
        }
        Action::Touch { source, referrer } => {
            let held = state.sources[usize::from(source)].referrers[usize::from(referrer)];
            if let Some(held) = held {
                source::begin(world, state, source, referrer, held.behaviour);
            }
        }
        Action::Commit { source, slot } => source::commit(world, state, source, slot),
        Action::Fail { source, slot } => source::fail(world, state, source, slot),
        Action::Drop { source, referrer } => {
            source::drop_reference(world, &mut state.sources[usize::from(source)], referrer);
        }
        Action::Answer { source } => source::commit_answer(state, source),
        Action::TakeView { source } => {
            source::take_view(&mut state.sources[usize::from(source)]);
        }
        Action::DropFence { source } => {
            source::drop_fence(&mut state.sources[usize::from(source)]);
        }
        _ => {}
    }
}

/// A message arrives, and stays on its way: it may arrive again.
fn deliver(world: &World, state: &mut State, message: Message) {
    let told = |state: &mut State, source, epoch, blocked, holds| {
        owner::is_told(&mut state.owner, source, epoch, source::answer(blocked, holds));
    };
    match message {
        Message::Establish { source, blockade, fence } => {
            owner::establish(world, state, source, blockade, fence);
        }
        Message::Granted { source, slot, uid, epoch } => {
            source::granted(&mut state.sources[usize::from(source)], slot, uid, epoch);
        }
        Message::Confirm { source } => owner::confirm(&mut state.owner, source),
        Message::Withdraw { source } => owner::withdraw(world, &mut state.owner, source),
        Message::IsBlocked { source, epoch } => {
            source::ask(world, state, source, About::Blockers, epoch);
        }
        Message::Blocked { source, epoch } => told(state, source, epoch, true, true),
        Message::NotBlocked { source, epoch, holds } => told(state, source, epoch, false, holds),
        Message::HasSubscriber { source, epoch } => {
            source::ask(world, state, source, About::Referrers, epoch);
        }
        Message::Holds { source, epoch, any } => {
            owner::is_told_what_is_held(&mut state.owner, source, epoch, any);
        }
        Message::Deleted { source, uid } => source::consequence(world, state, source, uid),
    }
}
