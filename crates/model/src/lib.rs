//! The protocol by which references hold across deployments, as a model small enough to be checked exhaustively.
//!
//! What lives here: one target, the deployments that refer to it, messages that are lost, doubled and late, processes that
//! die, and mistakes to plant. What does not: any code of production, clocks, API versions, meta owners, restores.
//! `docs/model.md` says what is left out and why that is sound.

mod action;
mod check;
mod epoch;
mod mistake;
mod owner;
mod properties;
mod protocol;
mod recovery;
mod show;
mod source;
mod state;
mod tidy;
mod world;
mod worlds;

pub use action::Action;
pub use check::{Finding, Report, explore, find};
pub use epoch::Epoch;
pub use mistake::Mistake;
pub use properties::{INVARIANTS, LISTED, POSSIBLE, REASON, S1, S2, S3};
pub use protocol::Protocol;
pub use recovery::{Goal, Recovery, recovery};
pub use state::State;
pub use world::World;
pub use worlds::{NAMED, for_mistake, named};
