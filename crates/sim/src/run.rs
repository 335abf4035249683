//! One run of a seed: chaos, then quiet, then everything must be well.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::join_all;

use crate::disk::DiskFaults;
use crate::fleet::Fleet;
use crate::fleet::client::{Client, Wish};
use crate::network::NetworkFaults;
use crate::plan::{Plan, Trouble};
use crate::planted::Fault;
use crate::services::Kind;
use crate::trace::Trace;
use crate::workload::{PROJECTS, Workload};
use crate::world::{Ended, ProcessId, World};

/// The regions of the fleet of a random run.
const REGIONS: [&str; 3] = ["east", "north", "west"];
/// What a world gets to calm down once nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(60);
/// Within this time everything must be possible in a calm world.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    /// Why it failed, if it did.
    pub failure: Option<Ended>,
    pub steps: u64,
    /// Commits that changed a resource.
    pub commits: u64,
    /// Virtual time that passed.
    pub lasted: Duration,
    /// Equal for equal runs.
    pub hash: u64,
    pub plan: Plan,
    /// The events, one a line.
    pub events: String,
}

impl Report {
    /// The last `n` events.
    pub fn tail(&self, n: usize) -> &str {
        let mut starts = self.events.match_indices('\n').rev().map(|(at, _)| at + 1);
        starts.nth(n).map_or(&self.events, |at| &self.events[at..])
    }
}

/// Runs one seed to its end, with a fault planted or not.
pub fn run(seed: u64, planted: Option<Fault>) -> Report {
    let world = World::new(seed);
    let plan = Plan::draw(&world);
    let fleet = Fleet::planted(&world, &REGIONS, planted);
    let ended = world.run(whole(fleet.clone(), plan.clone()));
    let report = Report {
        seed,
        failure: ended.err(),
        steps: world.trace(Trace::steps),
        commits: fleet.judge.commits(),
        lasted: world.now(),
        hash: world.trace(Trace::hash),
        plan,
        events: world.trace(|trace| trace.tail(usize::MAX)),
    };
    fleet.stop();
    world.end();
    report
}

async fn whole(fleet: Arc<Fleet>, plan: Plan) {
    let workload = Workload::new(fleet.clone(), plan.clone());
    fleet.start_all();
    workload.prepare().await;
    fleet.network.set_faults(plan.network);
    fleet.set_disk_faults(plan.disk);
    let (stop, stopped) = oneshot::channel::<()>();
    let troubles = troubles(fleet.clone(), plan.clone(), stopped);
    fleet.world.spawn(ProcessId::OUTSIDE, "troubles", Box::pin(troubles));
    let clients = (0..plan.clients).map(|_| workload.clone().run());
    join_all(clients).await;
    drop(stop);
    calm(&fleet).await;
    all_is_well(&fleet, &workload).await;
}

/// Makes trouble now and then until it is told to stop.
async fn troubles(fleet: Arc<Fleet>, plan: Plan, mut stopped: oneshot::Receiver<()>) {
    let world = fleet.world.clone();
    loop {
        let pause = world.between(Duration::from_millis(10), plan.trouble_every);
        world.sleep(pause).await;
        if stopped.try_recv().is_err() {
            return;
        }
        let Some(trouble) = plan.trouble(&world) else { return };
        let regions = fleet.regions();
        let region = regions[world.random(|r| r.usize(0..regions.len()))].clone();
        let lasts = world.between(Duration::from_millis(1), Duration::from_secs(10));
        let work = cause(fleet.clone(), trouble, region, lasts);
        world.spawn(ProcessId::OUTSIDE, "trouble", Box::pin(work));
    }
}

async fn cause(fleet: Arc<Fleet>, trouble: Trouble, region: String, lasts: Duration) {
    let world = fleet.world.clone();
    match trouble {
        Trouble::Crash => {
            fleet.crash(&region);
            world.sleep(lasts / 4).await;
            if !fleet.is_running(&region) {
                fleet.start(&region);
            }
        }
        Trouble::Pause => {
            fleet.pause(&region);
            world.sleep(lasts).await;
            fleet.resume(&region);
        }
        Trouble::Cut => {
            let both = world.chance(0.7);
            for other in fleet.regions().iter().filter(|other| **other != region) {
                fleet.network.cut(&region, other);
                if both {
                    fleet.network.cut(other, &region);
                }
            }
            world.sleep(lasts).await;
            fleet.network.heal();
        }
        Trouble::Clock => {
            let millis = world.random(|r| r.i64(-100_000..100_000));
            fleet.jump_clock(&region, millis);
        }
        Trouble::Blind => fleet.restart_blind(&region, lasts).await,
    }
}

/// Nothing goes wrong any more, and what did is mended.
async fn calm(fleet: &Arc<Fleet>) {
    fleet.world.note("from here on all is quiet");
    fleet.network.set_faults(NetworkFaults::QUIET);
    fleet.set_disk_faults(DiskFaults::default());
    // Troubles that are under way end by themselves.
    fleet.world.sleep(CALM).await;
    fleet.network.heal();
    for region in fleet.regions() {
        fleet.resume(region);
        fleet.tell(region);
        if !fleet.is_running(region) {
            fleet.start(region);
        }
    }
    fleet.world.sleep(CALM).await;
}

/// Liveness: what is committed is read everywhere and in full, and everything can be written again.
async fn all_is_well(fleet: &Arc<Fleet>, workload: &Arc<Workload>) {
    fleet.judge.check_disks(fleet.disks());
    for n in 0..PROJECTS {
        settle(fleet, workload, &format!("projects/p{n}")).await;
    }
    for region in fleet.regions() {
        let client = Client { fleet: fleet.clone(), region: region.clone(), deadline: PATIENCE };
        for kind in Kind::ALL {
            check_lists(fleet, &client, kind).await;
        }
        for n in 0..PROJECTS {
            check_writes(fleet, &client, workload, &format!("projects/p{n}")).await;
        }
    }
    fleet.judge.check_disks(fleet.disks());
}

/// Saves a project as it is: that ends what abandoned changes of its policy have left.
async fn settle(fleet: &Arc<Fleet>, workload: &Workload, project: &str) {
    let Some(policy) = fleet.judge.policy(project) else { return };
    let region = fleet.regions()[0].clone();
    let client = Client { fleet: fleet.clone(), region, deadline: PATIENCE };
    let wish = Wish { policy: Some(policy), ..workload.wish() };
    if let Err(status) = client.update(Kind::Project, project, &wish).await {
        let told = format!("{}: {}", status.reason.name(), status.message);
        fleet.world.fail(format!("L: in a calm world {project} cannot be saved as it is: {told}"));
    }
}

async fn check_lists(fleet: &Fleet, client: &Client, kind: Kind) {
    let parents: Vec<String> = match kind {
        Kind::Project | Kind::Model => vec![String::new()],
        Kind::Plan => (0..PROJECTS).map(|n| format!("projects/p{n}")).collect(),
        Kind::Sensor => (0..PROJECTS).map(|n| format!("projects/p{n}/regions/-")).collect(),
    };
    let mut found = std::collections::BTreeMap::new();
    for parent in parents {
        match client.list(kind, &parent, 2).await {
            Ok(listed) if listed.unreachable.is_empty() => found.extend(listed.items),
            Ok(listed) => {
                let told = format!("{:?} as unreachable", listed.unreachable);
                fleet.world.fail(format!("L: in a calm world a list of {kind:?} names {told}"));
            }
            Err(status) => {
                let told = format!("{}: {}", status.reason.name(), status.message);
                fleet.world.fail(format!("L: in a calm world a list of {kind:?} says {told}"));
            }
        }
    }
    let there = fleet.judge.present(kind);
    if found != there {
        fleet.world.fail(format!("L: {} lists {found:?}, but there are {there:?}", client.region));
    }
}

async fn check_writes(fleet: &Fleet, client: &Client, workload: &Workload, project: &str) {
    let Some(policy) = fleet.judge.policy(project) else { return };
    let number = workload.wish().value;
    let mut names = vec![(Kind::Plan, format!("{project}/plans/{number}"))];
    for region in &policy.enabled {
        names.push((Kind::Sensor, format!("{project}/regions/{region}/sensors/{number}")));
    }
    for (kind, name) in names {
        if let Err(status) = client.create(kind, &name, &workload.wish()).await {
            let told = format!("{}: {}", status.reason.name(), status.message);
            fleet.world.fail(format!("L: in a calm world {name} cannot be created: {told}"));
        }
        if let Err(status) = client.delete(kind, &name, &workload.wish()).await {
            let told = format!("{}: {}", status.reason.name(), status.message);
            fleet.world.fail(format!("L: in a calm world {name} cannot be deleted: {told}"));
        }
    }
}
