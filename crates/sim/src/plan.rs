//! What a seed makes of a world: how bad it is, how many clients, what goes wrong when. Drawn once, printable.
//!
//! Every seed draws how often each kind of trouble comes, often never, so that some runs are about one kind only.

use std::fmt;
use std::time::Duration;

use crate::disk::DiskFaults;
use crate::network::NetworkFaults;
use crate::world::World;

/// How a run goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub clients: usize,
    /// Requests of each client.
    pub requests: usize,
    /// Longest pause between two requests of a client.
    pub think_max: Duration,
    pub network: NetworkFaults,
    pub disk: DiskFaults,
    /// Longest time between two troubles; none if zero.
    pub trouble_every: Duration,
    /// How likely each trouble is, against the others.
    pub weights: [(Trouble, u32); 5],
    /// How likely a client changes a policy instead of something else.
    pub policy_changes: f64,
    /// How likely a write refers to something.
    pub references: f64,
    /// How likely a client deletes or makes a project instead of something else.
    pub project_deletions: f64,
    /// How likely the answer to a write that says nothing is asked for again.
    pub retries: f64,
}

/// What happens to processes and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A process ends and is started again.
    Crash,
    /// A process stands still for a while.
    Pause,
    /// A region is cut off, in one direction or both.
    Cut,
    /// A wall clock jumps.
    Clock,
    /// A process ends, and the one after it has an old picture, in which nobody else is.
    Blind,
}

impl Trouble {
    const ALL: [Self; 5] = [Self::Crash, Self::Pause, Self::Cut, Self::Clock, Self::Blind];
}

impl Plan {
    /// Draws from the world's seed.
    pub fn draw(world: &World) -> Self {
        let weights = Trouble::ALL.map(|trouble| {
            let weight = if world.chance(0.5) { 0 } else { world.random(|r| r.u32(1..=4)) };
            (trouble, weight)
        });
        let often =
            |max: f64| if world.chance(0.5) { 0.0 } else { world.random(|r| r.f64()) * max };
        let millis = |max: u64| Duration::from_millis(world.random(|r| r.u64(0..=max)));
        Self {
            clients: world.random(|r| r.usize(2..=6)),
            requests: world.random(|r| r.usize(10..=80)),
            think_max: millis(400),
            network: NetworkFaults {
                latency: (Duration::from_micros(100), Duration::from_millis(1) + millis(100)),
                straggles: often(0.1),
                lost: often(0.1),
                doubled: often(0.3),
                breaks: often(0.1),
                notice_max: Duration::from_millis(100) + millis(5_000),
            },
            disk: DiskFaults {
                latency_max: millis(if world.chance(0.3) { 300 } else { 20 }),
                fails: often(0.02),
                answer_lost: often(0.02),
                read_fails: often(0.01),
            },
            trouble_every: millis(8_000),
            weights,
            policy_changes: often(0.5),
            references: world.random(|r| r.f64()),
            project_deletions: often(0.1),
            retries: often(1.0),
        }
    }

    /// One of the troubles, by their weights; `None` if all are zero.
    pub fn trouble(&self, world: &World) -> Option<Trouble> {
        let total: u32 = self.weights.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut drawn = world.random(|r| r.u32(0..total));
        for (trouble, weight) in self.weights {
            match drawn.checked_sub(weight) {
                Some(rest) => drawn = rest,
                None => return Some(trouble),
            }
        }
        None
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, disk, .. } = self;
        writeln!(f, "{} clients, {} requests each", self.clients, self.requests)?;
        writeln!(
            f,
            "network: up to {:?}, lost {:.3}, doubled {:.3}, late {:.3}, breaks {:.3}, noticed after {:?}",
            network.latency.1,
            network.lost,
            network.doubled,
            network.straggles,
            network.breaks,
            network.notice_max
        )?;
        writeln!(
            f,
            "disks: up to {:?}, fail {:.3}, answers lost {:.3}, reads fail {:.3}",
            disk.latency_max, disk.fails, disk.answer_lost, disk.read_fails
        )?;
        write!(f, "troubles every {:?}:", self.trouble_every)?;
        for (trouble, weight) in self.weights.iter().filter(|(_, weight)| *weight > 0) {
            write!(f, " {trouble:?} {weight}")?;
        }
        write!(f, "; policies change {:.3}, retries {:.3}", self.policy_changes, self.retries)?;
        let (references, projects) = (self.references, self.project_deletions);
        write!(f, ", references {references:.3}, projects go {projects:.3}")
    }
}
