//! References between four services in two regions, by the real program over gRPC: in one process, and in one process for
//! each region with a network between them that can be watched, held up and cut. Where regions do not matter, also without.
//!
//! `lab` runs the fleet and its clients, `tap` is the network. `suite` is what must hold in either form; `network` is what
//! can only be seen, or go wrong, where there are several processes.

mod lab;
mod network;
mod suite;
mod tap;
