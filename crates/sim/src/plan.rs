//! What a seed makes of a world: how large it is, what its clients do, how bad it is, what goes wrong when. Drawn once,
//! printable.
//!
//! Every seed draws which features it uses and which troubles it has, so that some runs are about few of them only: what is
//! always there hides what it prevents. `usage` has what clients do, `pins` what a person may take out of all seeds.

mod pins;
mod usage;

use std::fmt;
use std::time::Duration;

pub use pins::{Part, Pins};
pub use usage::{Usage, Verb};

use crate::disk::DiskFaults;
use crate::network::NetworkFaults;
use crate::world::World;

/// How a run goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How many, of [`crate::run::REGIONS`].
    pub regions: usize,
    pub usage: Usage,
    pub network: NetworkFaults,
    pub disk: DiskFaults,
    /// Longest time between two troubles; none if zero.
    pub trouble_every: Duration,
    /// How likely each trouble is, against the others.
    pub weights: [(Trouble, u32); 5],
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
    /// Draws from the world's seed, and leaves out what `pins` say.
    pub fn draw(world: &World, pins: &Pins) -> Self {
        let weights = Trouble::ALL.map(|trouble| {
            let weight = if world.chance(0.5) { 0 } else { world.random(|r| r.u32(1..=4)) };
            (trouble, weight)
        });
        let often = |max: f64| often(world, max);
        let millis = |max: u64| Duration::from_millis(world.random(|r| r.u64(0..=max)));
        let network = NetworkFaults {
            latency: (Duration::from_micros(100), Duration::from_millis(1) + millis(100)),
            straggles: often(0.1),
            lost: often(0.1),
            doubled: often(0.3),
            breaks: often(0.1),
            notice_max: Duration::from_millis(100) + millis(5_000),
        };
        let disk = DiskFaults {
            latency_max: millis(if world.chance(0.3) { 300 } else { 20 }),
            fails: often(0.02),
            answer_lost: often(0.02),
            read_fails: often(0.01),
        };
        let trouble_every = millis(8_000);
        let regions = pick(world, &[(1, 1), (2, 4), (3, 8), (4, 2)]).unwrap_or(3);
        let usage = Usage::draw(world);
        let drawn = Self { regions, usage, network, disk, trouble_every, weights };
        pins.apply(drawn)
    }

    /// One of the troubles, by their weights; `None` if all are zero.
    pub fn trouble(&self, world: &World) -> Option<Trouble> {
        pick(world, &self.weights)
    }
}

/// Never in half of the seeds.
fn often(world: &World, max: f64) -> f64 {
    if world.chance(0.5) { 0.0 } else { world.random(|r| r.f64()) * max }
}

/// One of these, by their weights; `None` if all are zero.
pub(crate) fn pick<T: Copy>(world: &World, weights: &[(T, u32)]) -> Option<T> {
    let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
    if total == 0 {
        return None;
    }
    let mut drawn = world.random(|r| r.u32(0..total));
    for (what, weight) in weights {
        match drawn.checked_sub(*weight) {
            Some(rest) => drawn = rest,
            None => return Some(*what),
        }
    }
    None
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { regions, usage, network, disk, .. } = self;
        writeln!(f, "{regions} regions, {usage}")?;
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
        let mut troubles = self.weights.iter().filter(|(_, weight)| *weight > 0);
        troubles.try_for_each(|(trouble, weight)| write!(f, " {trouble:?} {weight}"))
    }
}
