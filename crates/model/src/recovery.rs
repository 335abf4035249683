//! Whether a good state can be reached from every state: that nothing gets stuck for ever.
//!
//! The checker cannot ask this (its `eventually` is for paths that end), so the states are gone through here, forwards
//! once and backwards from the good ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use stateright::Model;

use crate::properties;
use crate::protocol::Protocol;
use crate::show;
use crate::state::{Life, State};
use crate::world::World;

/// What a search for stuck states found.
#[derive(Clone, Debug)]
pub struct Recovery {
    pub states: usize,
    /// States from which it was asked for.
    pub concerned: usize,
    /// One that cannot get there, as text, if there is any.
    pub stuck: Option<String>,
}

/// What has to stay possible, whatever has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Some source can refer to the target, from wherever there is an active one.
    SaveLands,
    /// The name can become free, from everywhere.
    NameIsFree,
}

impl Goal {
    fn concerns(self, state: &State) -> bool {
        match self {
            Goal::SaveLands => state.owner.life == Life::Active,
            Goal::NameIsFree => true,
        }
    }

    fn is_reached(self, state: &State) -> bool {
        match self {
            Goal::SaveLands => properties::refers(state),
            Goal::NameIsFree => state.owner.life == Life::Absent,
        }
    }
}

/// Looks for a state from which the goal cannot be reached.
/// Keeps every state: for worlds of up to some hundred thousand.
pub fn recovery(world: World, goal: Goal) -> Recovery {
    let (states, edges) = reachable(&Protocol { world });
    let mut reaches: Vec<bool> = states.iter().map(|s| goal.is_reached(s)).collect();
    let mut open: Vec<usize> = (0..states.len()).filter(|at| reaches[*at]).collect();
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); states.len()];
    for (from, to) in edges {
        before[to as usize].push(from);
    }
    while let Some(at) = open.pop() {
        for from in &before[at] {
            let from = *from as usize;
            if !reaches[from] {
                reaches[from] = true;
                open.push(from);
            }
        }
    }
    let asked: Vec<usize> = (0..states.len()).filter(|at| goal.concerns(&states[*at])).collect();
    let stuck = asked.iter().find(|at| !reaches[**at]);
    Recovery {
        states: states.len(),
        concerned: asked.len(),
        stuck: stuck.map(|at| show::state(&world, &states[*at])),
    }
}

/// All states, and the steps between them by their numbers.
fn reachable(protocol: &Protocol) -> (Vec<State>, Vec<(u32, u32)>) {
    let mut states = protocol.init_states();
    let mut numbers: HashMap<State, u32> = states.iter().cloned().zip(0..).collect();
    let mut edges = Vec::new();
    let mut at = 0;
    while at < states.len() {
        let from = u32::try_from(at).unwrap_or(u32::MAX);
        for next in protocol.next_states(&states[at]) {
            let new = u32::try_from(states.len()).unwrap_or(u32::MAX);
            let to = match numbers.entry(next) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(vacant) => {
                    states.push(vacant.key().clone());
                    *vacant.insert(new)
                }
            };
            edges.push((from, to));
        }
        at += 1;
    }
    (states, edges)
}
