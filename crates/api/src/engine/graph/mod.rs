//! References at this engine: how its saves and deletions follow the protocol that keeps the graph whole.
//!
//! What is decided is in the crate `graph`; here are the effects. `peers` finds and asks other deployments,
//! `inbound` changes what is kept about those who may refer to a resource. Methods of the mixin: `grants` for those who are
//! about to refer to what is here, `questions` of those who own what is referred to from here, `referrers`, `shadows` and
//! `unfinished` for reading; `shadow_watch` follows shadows, `deletions` tells of deletions, both by `telling`; `wire`,
//! `relation` and `translate` are what these share. `save` settles the references of a save, with what `establish` is granted
//! by others; `delete` is what deletions do, `control` what is left to be done after commits, `waits` and `suggest` what
//! makes it go on soon.

pub(crate) mod control;
pub(crate) mod delete;
pub(crate) mod deletions;
mod establish;
mod grants;
pub(crate) mod inbound;
pub(crate) mod kept;
pub(crate) mod peers;
mod questions;
mod referrers;
pub(crate) mod refused;
mod relation;
pub(crate) mod save;
mod shadow_watch;
mod shadows;
pub(crate) mod suggest;
pub(crate) mod suggested;
mod telling;
mod translate;
mod unfinished;
pub(crate) mod unset;
pub(crate) mod waits;
mod wire;

#[cfg(test)]
mod mixin_tests;

use bowline_base::{Reason, Status, chain};
use bowline_graph::Damaged;

/// What is kept about references does not decode: damage, never anybody's fault who asks.
pub(crate) fn damaged(error: &Damaged) -> Status {
    tracing::error!(error = %chain(error), "stored state of the graph");
    Status::new(Reason::Internal, "what is stored about references is damaged")
}
