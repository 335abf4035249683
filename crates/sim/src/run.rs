//! One run of a seed: chaos, then quiet, then everything must be well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::join_all;

use crate::disk::DiskFaults;
use crate::fleet::Fleet;
use crate::fleet::client::{Client, Wish};
use crate::judge::{Counts, Policy};
use crate::network::NetworkFaults;
use crate::plan::{Pins, Plan, Trouble};
use crate::planted::Fault;
use crate::services::Kind;
use crate::trace::Trace;
use crate::workload::Workload;
use crate::world::{Ended, ProcessId, World};

/// The regions of the fleets of random runs, which have the first of them.
pub const REGIONS: [&str; 4] = ["east", "north", "west", "south"];
/// What a world gets to calm down once nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(60);
/// Within this time everything must be possible in a calm world.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long controllers have in a calm world until nothing is left to do, twice: blockades expire after five minutes of a
/// clock that may have been wrong by an hour, so after the first time all clocks jump. Together it is less than the half hour
/// after which controllers hear all deletions anew: what is heard is not to be missed until then.
const DONE_WITHIN: Duration = Duration::from_secs(10 * 60);
/// Until all have heard of the last change of a policy; what is taken for the owner without asking lives for ten seconds.
const HEARD: Duration = Duration::from_secs(15);
/// How far they jump then.
const OVERDUE_MILLIS: i64 = 75 * 60_000;
/// How often it is looked whether they are done.
const LOOK: Duration = Duration::from_secs(5);
/// How wrong a wall clock gets, either way.
const CLOCK_JUMP_MILLIS: i64 = 3_600_000;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    /// Why it failed, if it did.
    pub failure: Option<Ended>,
    pub steps: u64,
    /// Commits that changed a resource.
    pub commits: u64,
    /// What of references it came across.
    pub counts: Counts,
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
    run_pinned(seed, planted, &Pins::default())
}

/// The same, with something of it fixed.
pub fn run_pinned(seed: u64, planted: Option<Fault>, pins: &Pins) -> Report {
    let world = World::new(seed);
    let plan = Plan::draw(&world, pins);
    let regions = &REGIONS[..plan.regions.clamp(1, REGIONS.len())];
    let fleet = Fleet::planted(&world, regions, planted);
    let ended = world.run(whole(fleet.clone(), plan.clone()));
    let report = Report {
        seed,
        failure: ended.err(),
        steps: world.trace(Trace::steps),
        commits: fleet.judge.commits(),
        counts: fleet.judge.counts(),
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
    let workload = Workload::new(fleet.clone(), &plan);
    fleet.start_all();
    workload.prepare().await;
    fleet.network.set_faults(plan.network);
    fleet.set_disk_faults(plan.disk);
    let (stop, stopped) = oneshot::channel::<()>();
    let troubles = troubles(fleet.clone(), plan.clone(), stopped);
    fleet.world.spawn(ProcessId::OUTSIDE, "troubles", Box::pin(troubles));
    let clients = (0..plan.usage.clients).map(|_| workload.clone().run());
    join_all(clients).await;
    drop(stop);
    calm(&fleet).await;
    // What nobody owns is finished by nobody.
    for project in workload.projects() {
        settle(&fleet, &workload, &project).await;
    }
    all_is_done(&fleet, &workload).await;
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
            let millis = world.random(|r| r.i64(-CLOCK_JUMP_MILLIS..CLOCK_JUMP_MILLIS));
            fleet.set_clock(&region, millis);
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
        fleet.set_clock(region, 0);
        if !fleet.is_running(region) {
            fleet.start(region);
        }
    }
    fleet.world.sleep(CALM).await;
}

/// Liveness of the graph: controllers come to an end with everything that nothing stands in the way of.
async fn all_is_done(fleet: &Arc<Fleet>, workload: &Workload) {
    if is_done(fleet, workload).await {
        return;
    }
    for region in fleet.regions() {
        fleet.set_clock(region, OVERDUE_MILLIS);
    }
    if !is_done(fleet, workload).await {
        let unfinished = fleet.judge.unfinished();
        fleet.world.fail(unfinished.first().map_or("L1: work is done and not done", |one| one));
    }
}

/// Waits until nothing is left to do, so long as [`DONE_WITHIN`]. Those who hold what is being deleted let it go.
async fn is_done(fleet: &Arc<Fleet>, workload: &Workload) -> bool {
    let began = fleet.world.now();
    while fleet.world.now() <= began + DONE_WITHIN {
        if fleet.judge.unfinished().is_empty() {
            return true;
        }
        workload.let_all_go().await;
        fleet.world.sleep(LOOK).await;
    }
    false
}

/// Liveness: what is committed is read everywhere and in full, and everything can be written again.
async fn all_is_well(fleet: &Arc<Fleet>, workload: &Arc<Workload>) {
    fleet.world.sleep(HEARD).await;
    fleet.judge.check_disks(fleet.disks());
    for region in fleet.regions() {
        let client = Client { fleet: fleet.clone(), region: region.clone(), deadline: PATIENCE };
        check_lists(fleet, &client, workload, Kind::Project).await;
        for kind in workload.kinds() {
            check_lists(fleet, &client, workload, kind).await;
        }
        for project in workload.projects() {
            check_writes(fleet, &client, workload, &project).await;
        }
    }
    fleet.judge.check_disks(fleet.disks());
}

/// Saves a project as it is: that ends what abandoned changes of its policy have left.
async fn settle(fleet: &Arc<Fleet>, workload: &Workload, project: &str) {
    let Some(policy) = policy(fleet, project) else { return };
    let region = fleet.regions()[0].clone();
    let client = Client { fleet: fleet.clone(), region, deadline: PATIENCE };
    let wish = Wish { policy: Some(policy), ..workload.wish() };
    if let Err(status) = client.update(Kind::Project, project, &wish).await {
        let told = format!("{}: {}", status.reason.name(), status.message);
        fleet.world.fail(format!("L: in a calm world {project} cannot be saved as it is: {told}"));
    }
}

/// Of a project that is there.
fn policy(fleet: &Fleet, project: &str) -> Option<Policy> {
    let is_there = fleet.judge.present(Kind::Project).contains_key(project);
    fleet.judge.policy(project).filter(|_| is_there)
}

async fn check_lists(fleet: &Fleet, client: &Client, workload: &Workload, kind: Kind) {
    let parents: BTreeSet<String> = workload.projects().map(|p| kind.parent(&p)).collect();
    let mut found = BTreeMap::new();
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
    let Some(policy) = policy(fleet, project) else { return };
    let number = workload.wish().value;
    let id = number.to_string();
    let mut names = BTreeSet::new();
    for kind in workload.kinds().filter(|kind| !kind.parent(project).is_empty()) {
        // The same name many times, where there is no region in it.
        names.extend(policy.enabled.iter().map(|region| (kind, kind.name(project, region, &id))));
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
