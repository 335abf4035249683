//! Actions, states and traces as text.

use std::fmt::{self, Write};

use crate::action::Action;
use crate::state::{
    Answer, Behaviour, Blockade, Breach, Deleter, Inbound, Life, Listing, Message, Reference, Save,
    Source, Stage, State,
};
use crate::world::World;

/// The steps of a path, each with the state that it leads to.
pub(crate) fn trace(world: &World, path: &[(State, Option<Action>)]) -> String {
    let mut text = String::new();
    let actions = path.iter().filter_map(|(_, action)| action.as_ref());
    let states = path.iter().skip(1).map(|(state, _)| state);
    for (number, (action, after)) in (1..).zip(actions.zip(states)) {
        let _ = write!(text, "{number:>3}. {action}\n{}", state(world, after));
    }
    text
}

/// A state in a few lines.
pub(crate) fn state(world: &World, state: &State) -> String {
    let mut text = String::new();
    let owner = &state.owner;
    let life = match owner.life {
        Life::Absent => "absent".to_owned(),
        Life::Active => format!("uid {} active", owner.uid),
        Life::Deleting => format!("uid {} DELETING", owner.uid),
    };
    let _ = write!(text, "     owner: {life}");
    if let Some(row) = &owner.inbound {
        let _ = write!(text, "; {}", Row(world, row));
    }
    if let Some(deleter) = &owner.deleter {
        let _ = write!(text, "; {}", Attempt(world, deleter));
    }
    if let Some(reference) = &owner.local {
        let _ = write!(text, "; own referrer: {reference}");
    }
    text.push('\n');
    for at in 0..world.sources {
        let _ = writeln!(text, "     {}", Deployment(world, at, &state.sources[usize::from(at)]));
    }
    if !state.network.is_empty() {
        let all: Vec<String> = state.network.iter().map(Message::to_string).collect();
        let _ = writeln!(text, "     under way: {}", all.join(", "));
    }
    match state.breach {
        Some(Breach::TieToTheDying) => text.push_str("     a new tie to what is dying or gone\n"),
        Some(Breach::ConsequenceWithoutReason) => {
            text.push_str("     a consequence of the deletion of another target\n");
        }
        None => {}
    }
    text
}

/// Sources are called A and B.
fn name(source: u8) -> char {
    char::from(b'A' + source)
}

struct Row<'a>(&'a World, &'a Inbound);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row(world, row) = self;
        write!(f, "epoch {}", row.epoch)?;
        if row.open {
            f.write_str(" (attempt open)")?;
        }
        for at in 0..world.sources {
            match row.sources[usize::from(at)] {
                Listing::No => {}
                Listing::Listed => write!(f, ", source {}", name(at))?,
                Listing::Leaving(epoch) => write!(f, ", source {} leaving({epoch})", name(at))?,
            }
            let blockades = row.blockades[usize::from(at)];
            for epoch in blockades.iter().flatten() {
                write!(f, ", blockade of {} at {epoch}", name(at))?;
            }
        }
        Ok(())
    }
}

struct Attempt<'a>(&'a World, &'a Deleter);

impl fmt::Display for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attempt(world, deleter) = self;
        write!(f, "deleting uid {} at {}", deleter.uid, deleter.epoch)?;
        if !deleter.undisturbed {
            f.write_str(" (disturbed)")?;
        }
        for at in 0..world.sources {
            let said = match deleter.answers[usize::from(at)] {
                Answer::NotAsked => continue,
                Answer::Awaited => "awaited",
                Answer::Free { holds: true } => "free, holds others",
                Answer::Free { holds: false } => "free, holds none",
                Answer::Blocked => "blocked",
            };
            write!(f, ", {}: {said}", name(at))?;
        }
        match deleter.own {
            None => Ok(()),
            Some(true) => f.write_str(", own: blocked"),
            Some(false) => f.write_str(", own: free"),
        }
    }
}

struct Deployment<'a>(&'a World, u8, &'a Source);

impl fmt::Display for Deployment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deployment(world, at, source) = self;
        write!(f, "{}:", name(*at))?;
        for (number, referrer) in (1..=world.referrers).zip(&source.referrers) {
            match referrer {
                Some(reference) => write!(f, " R{number} {reference}")?,
                None => write!(f, " R{number} -")?,
            }
        }
        if let Some(fence) = source.fence {
            write!(f, "; fence {fence}")?;
        }
        if let Some(answering) = &source.answering {
            write!(f, "; answers at {}", answering.epoch)?;
        }
        for (slot, save) in source.saves.iter().enumerate() {
            if let Some(save) = save {
                write!(f, "; save {} of {save}", slot + 1)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} uid {}", self.behaviour, self.uid)
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Behaviour::Async => "ASYNC",
            Behaviour::Block => "BLOCK",
        })
    }
}

impl fmt::Display for Save {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "R{} to {}", self.referrer + 1, self.behaviour)?;
        match self.stage {
            Stage::Asked => f.write_str(", asks")?,
            Stage::Granted { uid, epoch } => write!(f, ", granted uid {uid} at {epoch}")?,
            Stage::NothingNew { uid } => write!(f, ", keeps uid {uid}")?,
        }
        if self.fresh { Ok(()) } else { f.write_str(", out of date") }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Action::Create => f.write_str("the target is made"),
            Action::DeleteAtOnce => f.write_str("it is deleted; no source is listed"),
            Action::Attempt => f.write_str("a deletion raises the epoch and asks"),
            Action::AskOwn => f.write_str("the own deployment is asked"),
            Action::Verdict => f.write_str("the deletion commits"),
            Action::GiveUp => f.write_str("the deletion is given up"),
            Action::DeleterDies => f.write_str("the process that deletes dies"),
            Action::Purge => f.write_str("the shadow is purged"),
            Action::Clear { source } => write!(f, "the owner begins to clear {}", name(source)),
            Action::Expire { source } => write!(f, "a blockade of {} expires", name(source)),
            Action::Move => f.write_str("the target gets another owner"),
            Action::LocalSave { behaviour } => {
                write!(f, "the own referrer is saved with {behaviour}")
            }
            Action::LocalDrop => f.write_str("the own referrer drops its reference"),
            Action::LocalConsequence => f.write_str("the own referrer follows the deletion"),
            Action::TakePicture { source } => write!(f, "a reader sees {} listed", name(source)),
            Action::GrantFromPicture { slot } => {
                write!(f, "the old picture grants save {}", slot + 1)
            }
            Action::Deliver(message) => write!(f, "arrives: {message}"),
            _ => show_source_action(f, self),
        }
    }
}

fn show_source_action(f: &mut fmt::Formatter<'_>, action: &Action) -> fmt::Result {
    match *action {
        Action::Save { source, referrer, behaviour } => {
            write!(f, "{} begins to save R{} with {behaviour}", name(source), referrer + 1)
        }
        Action::Touch { source, referrer } => {
            write!(f, "{} begins to save R{} as it is", name(source), referrer + 1)
        }
        Action::Commit { source, slot } => write!(f, "{} commits save {}", name(source), slot + 1),
        Action::Fail { source, slot } => write!(f, "save {} of {} fails", slot + 1, name(source)),
        Action::Drop { source, referrer } => {
            write!(f, "R{} of {} drops its reference", referrer + 1, name(source))
        }
        Action::Answer { source } => write!(f, "{} commits its answer", name(source)),
        Action::TakeView { source } => write!(f, "{} looks at what is under way", name(source)),
        Action::DropFence { source } => write!(f, "{} drops its fence", name(source)),
        _ => Ok(()),
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Message::Establish { source, blockade, fence } => {
                write!(f, "{} asks for a grant", name(source))?;
                if blockade == Blockade::Over {
                    f.write_str(" (nobody waits)")?;
                }
                fence.map_or(Ok(()), |fence| write!(f, " (fence {fence})"))
            }
            Message::Granted { source, slot, uid, epoch } => {
                write!(f, "{} is granted uid {uid} at {epoch} for save {}", name(source), slot + 1)
            }
            Message::Confirm { source } => write!(f, "{} confirms", name(source)),
            Message::Withdraw { source } => write!(f, "{} withdraws", name(source)),
            Message::IsBlocked { source, epoch } => {
                write!(f, "does {} block, at {epoch}?", name(source))
            }
            Message::Blocked { source, epoch } => write!(f, "{} blocks, at {epoch}", name(source)),
            Message::NotBlocked { source, epoch, holds } => {
                let what = if holds { "others" } else { "none" };
                write!(f, "{} holds no BLOCK but {what}, at {epoch}", name(source))
            }
            Message::HasSubscriber { source, epoch } => {
                write!(f, "does {} hold any, at {epoch}?", name(source))
            }
            Message::Holds { source, epoch, any } => {
                let what = if any { "some" } else { "none" };
                write!(f, "{} holds {what}, at {epoch}", name(source))
            }
            Message::Deleted { source, uid } => {
                write!(f, "{} is told that uid {uid} is deleted", name(source))
            }
        }
    }
}
