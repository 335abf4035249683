//! What scenarios share: quiet fleets under several seeds, clients, and how to wait for what is to happen.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use bowline_sim::fleet::Fleet;
use bowline_sim::fleet::client::{Client, Wish};
use bowline_sim::judge::Policy;
use bowline_sim::services::Kind;
use bowline_sim::{Ended, Trace, World};

pub const REGIONS: [&str; 3] = ["east", "north", "west"];

/// Runs a scenario in a quiet fleet under several seeds; prints what happened if it fails.
pub fn scenario<F, R>(run: F)
where
    F: Fn(Arc<Fleet>) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    for seed in 0..10 {
        let world = World::new(seed);
        let fleet = Fleet::new(&world, &REGIONS);
        fleet.start_all();
        let running = run(fleet.clone());
        let ended: Result<(), Ended> = world.run(running);
        let tail = world.trace(|trace: &Trace| trace.tail(60));
        fleet.stop();
        world.end();
        assert!(ended.is_ok(), "seed {seed}: {}\n{tail}", ended.unwrap_err());
    }
}

/// The same where references are what it is about: with a project in all regions, whose control region is `west`; and in
/// the end nothing may be left to do.
pub fn references<F, R>(run: F)
where
    F: Fn(Arc<Fleet>) -> R + Send + Sync,
    R: Future<Output = ()> + Send + 'static,
{
    scenario(|fleet| {
        let own = fleet.clone();
        let running = run(fleet);
        async move {
            settled(&own).await;
            running.await;
            done(&own).await;
        }
    });
}

pub fn client(fleet: &Arc<Fleet>, region: &str) -> Client {
    Client { fleet: fleet.clone(), region: region.into(), deadline: Duration::from_secs(5) }
}

pub fn wish(value: &str) -> Wish {
    Wish { value: value.into(), ..Wish::default() }
}

/// A write with this value, which refers to these names by these fields.
pub fn to(value: &str, references: &[(&'static str, &str)]) -> Wish {
    let references = references.iter().map(|(field, name)| {
        let names = if name.is_empty() { Vec::new() } else { vec![(*name).to_owned()] };
        (*field, names)
    });
    Wish { references: references.collect(), ..wish(value) }
}

pub fn policy(control: &str, enabled: &[&str]) -> Option<Policy> {
    let enabled = enabled.iter().map(|region| (*region).to_owned()).collect();
    Some(Policy { enabled, control: control.into() })
}

/// A project whose control region is `west`, and everything known everywhere.
pub async fn settled(fleet: &Arc<Fleet>) {
    let project = Wish { policy: policy("west", &REGIONS), ..wish("0") };
    client(fleet, "east").create(Kind::Project, "projects/p", &project).await.unwrap();
    fleet.world.sleep(Duration::from_secs(10)).await;
}

/// Waits until something is so.
pub async fn until(
    fleet: &Arc<Fleet>,
    what: &str,
    longest: Duration,
    is_so: impl Fn(&Fleet) -> bool,
) {
    let deadline = fleet.world.now() + longest;
    while !is_so(fleet) {
        if fleet.world.now() > deadline {
            fleet.world.fail(format!("after {longest:?} it is not so that {what}"));
            return;
        }
        fleet.world.sleep(Duration::from_micros(200)).await;
    }
}

/// Waits until all work of controllers is done, as long as blockades may need to expire.
pub async fn done(fleet: &Arc<Fleet>) {
    let deadline = fleet.world.now() + Duration::from_secs(75 * 60);
    loop {
        let unfinished = fleet.judge.unfinished();
        let Some(first) = unfinished.first() else { break };
        if fleet.world.now() > deadline {
            fleet.world.fail(first);
            return;
        }
        fleet.world.sleep(Duration::from_secs(1)).await;
    }
    fleet.judge.check_disks(fleet.disks());
}
