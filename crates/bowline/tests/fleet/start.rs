//! How fast a whole fleet starts in one process, and how much memory it takes while nothing happens.

use bowline_base::Seams;

use crate::lab::{Fleet, META, Shape};

/// Mebibytes of a whole fleet that does nothing; a build without optimisation is no smaller.
const IDLE_MIB_MAX: u64 = 150;

#[test]
fn a_whole_fleet_takes_little() {
    let clock = Seams::real().clock;
    let begin = clock.monotonic();
    let fleet = Fleet::start("fleet-start", Shape::Together);
    let took = clock.monotonic() - begin;
    assert_eq!(fleet.names(META, "us", "deployment").len(), 15);
    let memory = resident_mib(fleet.servers["all"].id());
    // The time is for people to see: other tests run meanwhile. `./x bench fleet` measures it alone.
    println!("15 deployments in one process: ready after {took:?}, {memory} MiB resident");
    assert!(memory < IDLE_MIB_MAX, "{memory} MiB");
}

fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}
