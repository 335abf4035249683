//! What a person fixes of all worlds: to look into a failure by taking out what it does not need, or to look at one thing.

use std::fmt;
use std::str::FromStr;

use super::{Plan, Trouble};

/// Something that a world can be without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Crashes,
    Pauses,
    Cuts,
    Clocks,
    /// Processes that begin with an old picture.
    Blindness,
    /// Messages that are lost.
    Losses,
    /// Messages that come twice.
    Doubles,
    /// Messages that are late by far.
    Delays,
    /// Streams that break.
    Breaks,
    /// Disks that fail, or say that they have.
    DiskFaults,
    /// Changes of policies.
    Policies,
    /// Projects that go and come back.
    Projects,
    References,
    /// What holds resources that are deleted asynchronously.
    Finalizers,
    /// Requests that are asked again.
    Retries,
    /// Types of the services' first, or second, version.
    FirstVersion,
    SecondVersion,
}

impl Part {
    pub const ALL: [(Self, &str); 17] = [
        (Self::Crashes, "crashes"),
        (Self::Pauses, "pauses"),
        (Self::Cuts, "cuts"),
        (Self::Clocks, "clocks"),
        (Self::Blindness, "blindness"),
        (Self::Losses, "losses"),
        (Self::Doubles, "doubles"),
        (Self::Delays, "delays"),
        (Self::Breaks, "breaks"),
        (Self::DiskFaults, "disk-faults"),
        (Self::Policies, "policies"),
        (Self::Projects, "projects"),
        (Self::References, "references"),
        (Self::Finalizers, "finalizers"),
        (Self::Retries, "retries"),
        (Self::FirstVersion, "v1"),
        (Self::SecondVersion, "v2"),
    ];

    /// The names of all, as they are given on the command line.
    pub fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|(_, name)| *name).collect()
    }

    fn take_out(self, plan: &mut Plan) {
        let Plan { network, disk, usage, .. } = plan;
        match self {
            Self::Crashes => never(plan, Trouble::Crash),
            Self::Pauses => never(plan, Trouble::Pause),
            Self::Cuts => never(plan, Trouble::Cut),
            Self::Clocks => never(plan, Trouble::Clock),
            Self::Blindness => never(plan, Trouble::Blind),
            Self::Losses => network.lost = 0.0,
            Self::Doubles => network.doubled = 0.0,
            Self::Delays => network.straggles = 0.0,
            Self::Breaks => network.breaks = 0.0,
            Self::DiskFaults => {
                (disk.fails, disk.answer_lost, disk.read_fails) = (0.0, 0.0, 0.0);
            }
            Self::Policies => usage.policy_changes = 0.0,
            Self::Projects => usage.project_deletions = 0.0,
            Self::References => usage.references = 0.0,
            Self::Finalizers => usage.finalizers = 0.0,
            Self::Retries => usage.retries = 0.0,
            Self::FirstVersion => usage.kinds.retain(|(kind, _)| kind.version() != "v1"),
            Self::SecondVersion => usage.kinds.retain(|(kind, _)| kind.version() != "v2"),
        }
    }
}

fn never(plan: &mut Plan, what: Trouble) {
    let meant = plan.weights.iter_mut().filter(|(trouble, _)| *trouble == what);
    meant.for_each(|(_, weight)| *weight = 0);
}

/// What is not drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    pub without: Vec<Part>,
    pub regions: Option<usize>,
    pub clients: Option<usize>,
    /// Of each client.
    pub requests: Option<usize>,
    pub projects: Option<u64>,
    pub names: Option<u64>,
}

impl Pins {
    pub(super) fn apply(&self, mut plan: Plan) -> Plan {
        self.without.iter().for_each(|part| part.take_out(&mut plan));
        let usage = &mut plan.usage;
        plan.regions = self.regions.unwrap_or(plan.regions);
        usage.clients = self.clients.unwrap_or(usage.clients);
        usage.requests = self.requests.unwrap_or(usage.requests);
        usage.projects = self.projects.unwrap_or(usage.projects);
        usage.names = self.names.unwrap_or(usage.names);
        plan
    }
}

/// As it is given on the command line.
impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.without.iter().map(ToString::to_string).collect();
        if !parts.is_empty() {
            write!(f, " --without {}", parts.join(","))?;
        }
        let counts = [
            ("regions", self.regions.map(|count| count as u64)),
            ("clients", self.clients.map(|count| count as u64)),
            ("requests", self.requests.map(|count| count as u64)),
            ("projects", self.projects),
            ("names", self.names),
        ];
        for (name, count) in counts {
            count.map_or(Ok(()), |count| write!(f, " --{name} {count}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(part, _)| part == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

/// A text that names no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such part of a world; there are {}", Part::names().join(", "))]
pub struct UnknownPart;

impl FromStr for Part {
    type Err = UnknownPart;

    fn from_str(text: &str) -> Result<Self, UnknownPart> {
        let named = Self::ALL.iter().find(|(_, name)| *name == text);
        named.map(|(part, _)| *part).ok_or(UnknownPart)
    }
}
