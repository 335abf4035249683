//! References at this engine: how its saves and deletions follow the protocol that keeps the graph whole.
//!
//! What is decided is in the crate `graph`; here are the effects. `peers` finds and asks other deployments,
//! `inbound` changes what is kept about those who may refer to a resource.

pub(crate) mod inbound;
pub(crate) mod peers;
pub(crate) mod unset;

use bowline_base::{Reason, Status, chain};
use bowline_graph::Damaged;

/// What is kept about references does not decode: damage, never anybody's fault who asks.
pub(crate) fn damaged(error: &Damaged) -> Status {
    tracing::error!(error = %chain(error), "stored state of the graph");
    Status::new(Reason::Internal, "what is stored about references is damaged")
}
