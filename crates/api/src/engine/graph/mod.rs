//! References at this engine: how its saves and deletions follow the protocol that keeps the graph whole.
//!
//! What is decided is in the crate `graph`; here are the effects. `peers` finds and asks other deployments.

pub(crate) mod peers;
pub(crate) mod unset;
