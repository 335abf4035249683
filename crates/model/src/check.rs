//! Running the checker: over a whole world, or until it finds what a mistake leads to.

use std::collections::BTreeMap;

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::action::Action;
use crate::properties;
use crate::protocol::Protocol;
use crate::show;
use crate::state::State;
use crate::world::World;

/// What was seen of a world that was explored to its end.
#[derive(Clone, Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Steps that were taken between them.
    pub steps: usize,
    /// Steps of the longest of all shortest paths.
    pub depth: usize,
    /// Properties that do not hold.
    pub violations: Vec<Finding>,
    /// What happened of what must be possible: name, and steps of an example.
    pub possible: BTreeMap<&'static str, usize>,
}

/// A property that does not hold, with the path that shows it.
#[derive(Clone, Debug)]
pub struct Finding {
    pub property: &'static str,
    pub steps: usize,
    /// The steps with the state after each, for people.
    pub trace: String,
}

/// Explores the whole world on so many threads. Memory grows with its states: about 100 bytes for each, and more for those at the edge.
pub fn explore(world: World, threads: usize) -> Report {
    let protocol = Protocol { world };
    let checker = protocol.checker().threads(threads).spawn_bfs().join();
    let mut report = Report {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        violations: Vec::new(),
        possible: BTreeMap::new(),
    };
    for (property, path) in checker.discoveries() {
        if properties::POSSIBLE.contains(&property) {
            report.possible.insert(property, path.into_actions().len());
        } else {
            report.violations.push(finding(&protocol, property, path));
        }
    }
    report.violations.sort_by_key(|f| (f.steps, f.property));
    report
}

/// A shortest path to a violation of this property, if there is one. The world should hold a mistake.
pub fn find(world: World, property: &'static str) -> Option<Finding> {
    let mut best = violation(world, property, None)?;
    // The checker finishes its batch after the first discovery, and may report a longer one.
    while let Some(shorter) = violation(world, property, Some(best.steps + 1)) {
        best = shorter;
    }
    Some(best)
}

/// A violation in states of fewer than `below` levels, where the beginning is the first level.
fn violation(world: World, property: &'static str, below: Option<usize>) -> Option<Finding> {
    let protocol = Protocol { world };
    let mut builder = protocol.checker().finish_when(HasDiscoveries::AnyOf([property].into()));
    if let Some(depth) = below {
        builder = builder.target_max_depth(depth);
    }
    let path = builder.spawn_bfs().join().discovery(property)?;
    Some(finding(&protocol, property, path))
}

fn finding(protocol: &Protocol, property: &'static str, path: Path<State, Action>) -> Finding {
    let path = path.into_vec();
    let steps = path.len() - 1;
    Finding { property, steps, trace: show::trace(&protocol.world, &path) }
}
