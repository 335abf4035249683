//! What an answer may say: of a resource, a state that it had between question and answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline_base::{Reason, Status};

use super::{Judge, Known, State};
use crate::services::Kind;

/// So long after a change of policy, also an abandoned one, a deployment may ask the regions that it takes for the owners,
/// and not those that are. Longer than the troubled part of a run; what is listed in the end is looked at apart.
const MOVE_HEARD: Duration = Duration::from_secs(600);

/// A question as its client asked it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub kind: Kind,
    /// Of the resource; of a list, the parent.
    pub name: String,
    pub since: Duration,
    /// What a write writes.
    pub value: String,
    /// Whether the request has an id.
    pub once: bool,
}

/// What a list answered, all pages together.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Names to values.
    pub items: BTreeMap<String, String>,
    pub unreachable: BTreeSet<String>,
    /// A name came twice.
    pub twice: Option<String>,
}

impl Judge {
    /// A create or an update is answered.
    pub fn wrote(&self, asked: &Asked, answer: &Result<String, Status>) {
        let judged = self.known().wrote(asked, answer);
        self.blame(judged.and_then(|()| expected(answer)));
    }

    /// A deletion is answered.
    pub fn deleted(&self, asked: &Asked, answer: &Result<(), Status>) {
        self.graph().asked_to_delete(asked.kind, &asked.name, asked.since, self.world.now());
        let known = self.known();
        let history = known.history(asked);
        let was_removed = history.iter().any(|state| state.value.is_none() || state.is_marked);
        drop(known);
        if answer.is_ok() && !was_removed {
            self.blame(Err(format!("S6: {} is said to be deleted, and never was", asked.name)));
        }
        self.blame(expected(answer));
    }

    /// A read is answered; `None`: it is not there.
    pub fn read(&self, asked: &Asked, answer: &Result<Option<String>, Status>) {
        if let Ok(value) = answer {
            let known = self.known();
            let states = known.between(asked.kind, &asked.name, asked.since);
            drop(known);
            if !states.iter().any(|state| state == value) {
                let name = &asked.name;
                self.blame(Err(format!("a read of {name} says {value:?}, but it was {states:?}")));
            }
        }
        self.blame(expected(answer));
    }

    /// A list is answered.
    pub fn listed(&self, asked: &Asked, answer: &Result<Listed, Status>) {
        if let Ok(listed) = answer {
            let judged = self.known().listed(asked, listed);
            self.blame(judged);
        }
        self.blame(expected(answer));
    }
}

/// No client may see what only a fault of the server explains.
fn expected<T>(answer: &Result<T, Status>) -> Result<(), String> {
    match answer {
        Err(status) if matches!(status.reason, Reason::Internal) => {
            Err(format!("an answer says {}: {}", status.reason.name(), status.message))
        }
        _ => Ok(()),
    }
}

impl Known {
    fn history(&self, asked: &Asked) -> &[State] {
        self.histories.get(&(asked.kind, asked.name.clone())).map_or(&[], Vec::as_slice)
    }

    fn wrote(&self, asked: &Asked, answer: &Result<String, Status>) -> Result<(), String> {
        let (name, value) = (&asked.name, &asked.value);
        let history = self.history(asked);
        let own = history.iter().filter(|state| state.value.as_ref() == Some(value));
        // A write that changes nothing but metadata may follow.
        let mut times = 0;
        let mut last = None;
        for (place, state) in history.iter().enumerate() {
            if state.value.as_ref() == Some(value) {
                times += usize::from(last != Some(place.wrapping_sub(1)));
                last = Some(place);
            }
        }
        let happened = own.count() > 0;
        if asked.once && times > 1 {
            return Err(format!("{value} was to be written to {name} once, and was {times} times"));
        }
        match answer {
            Ok(said) if said != value => {
                Err(format!("the answer to writing {value} to {name} says {said}"))
            }
            Ok(_) if !happened => {
                Err(format!("S6: {name} is said to be {value} now, and never was"))
            }
            // It may have come twice: once while another resource had the name, and was told so, and once later.
            Err(status)
                if status.reason == Reason::ResourceExists
                    && asked.once
                    && happened
                    && !self.was_another(asked) =>
            {
                Err(format!("{value} was written to {name}, and answered with {}", status.message))
            }
            _ => Ok(()),
        }
    }

    /// Whether something that was written otherwise had the name between question and answer.
    fn was_another(&self, asked: &Asked) -> bool {
        let states = self.between(asked.kind, &asked.name, asked.since);
        states.iter().flatten().any(|state| *state != asked.value)
    }

    /// The states that a resource had at some moment after `since`.
    fn between(&self, kind: Kind, name: &str, since: Duration) -> Vec<Option<String>> {
        let mut states = vec![None];
        for state in self.histories.get(&(kind, name.to_owned())).into_iter().flatten() {
            if state.since <= since {
                states.clear();
            }
            states.push(state.value.clone());
        }
        states
    }

    fn listed(&self, asked: &Asked, listed: &Listed) -> Result<(), String> {
        if let Some(name) = &listed.twice {
            return Err(format!("a list has {name} twice"));
        }
        for (name, value) in &listed.items {
            let states = self.between(asked.kind, name, asked.since);
            if !states.iter().any(|state| state.as_ref() == Some(value)) {
                return Err(format!("a list says {name} is {value}, but it was {states:?}"));
            }
        }
        let changed = self.moved.get(asked.name.split("/regions").next().unwrap_or(""));
        let has_moved = changed.is_some_and(|since| *since + MOVE_HEARD > asked.since);
        if has_moved {
            return Ok(());
        }
        let below = format!("{}/", asked.name);
        for ((kind, name), history) in &self.histories {
            let is_meant =
                *kind == asked.kind && (asked.name.is_empty() || name.starts_with(&below));
            let Some(last) = history.last().filter(|last| is_meant && last.since <= asked.since)
            else {
                continue;
            };
            let is_left_out = last.value.is_some() && !listed.items.contains_key(name);
            if is_left_out && !listed.unreachable.contains(&last.region) {
                let told = &listed.unreachable;
                return Err(format!(
                    "a list leaves out {name} of {}, and names only {told:?} as unreachable",
                    last.region
                ));
            }
        }
        Ok(())
    }
}
