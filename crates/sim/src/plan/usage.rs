//! What the clients of a run do: how many there are, which types, versions and behaviours they use, how much they read.

use std::fmt;
use std::time::Duration;

use bowline_graph::Behaviour;

use super::{often, pick};
use crate::references::Field;
use crate::services::Kind;
use crate::world::World;

/// Types that belong together, as both versions have them.
const FAMILIES: [(Kind, Kind); 5] = [
    (Kind::Sensor, Kind::Probe),
    (Kind::Plan, Kind::NewPlan),
    (Kind::Model, Kind::NewModel),
    (Kind::Job, Kind::NewJob),
    (Kind::Unit, Kind::NewUnit),
];

/// How clients use a fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    pub clients: usize,
    /// Requests of each client.
    pub requests: usize,
    /// Longest pause between two requests of a client.
    pub think_max: Duration,
    /// How many projects there are.
    pub projects: u64,
    /// Names of a kind below one parent: few, so that writers meet.
    pub names: u64,
    /// How many resources are made at most before trouble begins.
    pub first_max: usize,
    /// Which types are written, and how likely each is against the others.
    pub kinds: Vec<(Kind, u32)>,
    /// What is asked for, and how likely each is against the others.
    pub verbs: [(Verb, u32); 5],
    /// References of these behaviours are made, for the deleting commit or not.
    pub behaviours: Vec<(Behaviour, bool)>,
    /// How likely a write sets a field that refers.
    pub references: f64,
    /// How likely a write sets the finalizers of what can have some, and how likely a client removes one of something that
    /// is being deleted instead of something else.
    pub finalizers: f64,
    /// How likely a client changes a policy instead of something else.
    pub policy_changes: f64,
    /// How likely a client deletes or makes a project instead of something else.
    pub project_deletions: f64,
    /// How likely a request has an id.
    pub request_ids: f64,
    /// How likely the answer to a write that says nothing is asked for again.
    pub retries: f64,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Create,
    Update,
    Delete,
    Get,
    List,
}

impl Usage {
    pub(super) fn draw(world: &World) -> Self {
        let clients = world.random(|r| r.usize(1..=7));
        let share = |max: u32| world.random(|r| r.u32(0..=max));
        Self {
            clients,
            // Few clients work longer.
            requests: world.random(|r| r.usize(10..=80)) * if clients < 3 { 2 } else { 1 },
            think_max: Duration::from_millis(world.random(|r| r.u64(0..=400))),
            projects: world.random(|r| r.u64(1..=3)),
            names: world.random(|r| r.u64(1..=4)),
            first_max: world.random(|r| r.usize(0..=40)),
            kinds: kinds(world),
            verbs: [
                (Verb::Create, 20 + share(30)),
                (Verb::Update, share(60)),
                (Verb::Delete, 5 + share(30)),
                (Verb::Get, share(20)),
                (Verb::List, share(8)),
            ],
            behaviours: behaviours(world),
            references: if world.chance(0.1) { 0.0 } else { 0.1 + 0.6 * world.random(|r| r.f64()) },
            finalizers: often(world, 1.0),
            policy_changes: often(world, 0.3),
            project_deletions: often(world, 0.1),
            request_ids: world.random(|r| r.f64()),
            retries: often(world, 1.0),
        }
    }

    /// One of the types that are written.
    pub(crate) fn kind(&self, world: &World) -> Kind {
        pick(world, &self.kinds).unwrap_or(Kind::Sensor)
    }

    pub(crate) fn verb(&self, world: &World) -> Verb {
        pick(world, &self.verbs).unwrap_or(Verb::Create)
    }

    /// Whether resources of this type are written.
    pub(crate) fn writes(&self, kind: Kind) -> bool {
        self.kinds.iter().any(|(used, _)| *used == kind)
    }

    /// Whether this field of that type is ever set.
    pub(crate) fn uses(&self, kind: Kind, field: &Field) -> bool {
        let other = field.target.counterpart("").map(|(other, _)| other);
        let other = other.filter(|_| kind.service() != field.target.service());
        let has_targets =
            self.writes(field.target) || other.is_some_and(|other| self.writes(other));
        has_targets && self.behaviours.contains(&(field.behaviour, field.is_sync))
    }
}

/// Most of the types, each in one version or in both.
fn kinds(world: &World) -> Vec<(Kind, u32)> {
    let mut kinds = Vec::new();
    for (before, after) in FAMILIES {
        let weight = if world.chance(0.25) { 0 } else { world.random(|r| r.u32(1..=3)) };
        let versions = [((true, false), 1), ((false, true), 1), ((true, true), 2)];
        let (old, new) = pick(world, &versions).unwrap_or((true, true));
        kinds.extend(old.then_some((before, weight)));
        kinds.extend(new.then_some((after, weight)));
    }
    kinds.retain(|(_, weight)| *weight > 0);
    if kinds.is_empty() { vec![(Kind::Sensor, 1)] } else { kinds }
}

/// Most of them in most worlds.
fn behaviours(world: &World) -> Vec<(Behaviour, bool)> {
    let all = [
        (Behaviour::Block, true),
        (Behaviour::Block, false),
        (Behaviour::Cascade, true),
        (Behaviour::Cascade, false),
        (Behaviour::Unset, true),
        (Behaviour::Unset, false),
    ];
    all.into_iter().filter(|_| !world.chance(0.2)).collect()
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, requests, think_max, projects, names, first_max, .. } = self;
        writeln!(f, "{clients} clients, {requests} requests each, up to {think_max:?} apart")?;
        write!(f, "{projects} projects, {names} names, {first_max} resources at first; writes")?;
        self.kinds.iter().try_for_each(|(kind, weight)| write!(f, " {kind:?} {weight}"))?;
        write!(f, "\nasks to")?;
        self.verbs.iter().try_for_each(|(verb, weight)| write!(f, " {verb:?} {weight}"))?;
        write!(f, "; references {:.3}:", self.references)?;
        for (behaviour, is_sync) in &self.behaviours {
            write!(f, " {behaviour:?}{}", if *is_sync { " at once" } else { "" })?;
        }
        write!(f, "\nfinalizers {:.3}", self.finalizers)?;
        write!(f, ", policies change {:.3}", self.policy_changes)?;
        write!(f, ", projects go {:.3}", self.project_deletions)?;
        write!(f, ", request ids {:.3}, retries {:.3}", self.request_ids, self.retries)
    }
}
