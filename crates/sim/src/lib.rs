//! The simulated world: real deployments, unforked, over time, tasks, network and disks that a seed decides.
//!
//! `world` runs tasks of simulated processes in virtual time; `seams` is what a process sees of it; `disk` and `network`
//! are what can fail under a process. Nothing here knows sockets, threads or the operating system's clock, so a seed tells
//! a whole run. Start at [`World`].

pub mod disk;
pub mod fleet;
pub mod judge;
pub mod network;
pub mod plan;
pub mod planted;
pub mod references;
pub mod run;
mod seams;
pub mod services;
mod timer;
pub mod trace;
mod workload;
pub mod world;

pub use disk::{Disk, DiskFaults};
pub use judge::Judge;
pub use network::{Deliver, Meddling, Network, NetworkFaults};
pub use planted::Fault;
pub use trace::Trace;
pub use world::{Ended, ProcessId, World};
