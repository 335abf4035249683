//! The fleet example in three regions, as one process and as one process for each deployment: the same tests on both.
//!
//! `lab` runs the fleet and the program as its client, `suite` is what must hold either way; `faults` takes processes and
//! links away, `start` measures, `mistakes` is what is said when a fleet cannot start.

mod backups;
mod faults;
mod lab;
mod mistakes;
mod start;
mod suite;
