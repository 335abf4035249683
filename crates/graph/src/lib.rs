//! References between resources: what is kept of them, and what a save or a deletion comes to.
//!
//! Everything here is pure. `reference` takes references out of documents; `aside`, `inbound`, `fence`, `deletion` and
//! `task` are the rows in which a deployment keeps the graph; `index` is how 'who refers to this?' is answered. Talking
//! to other deployments and committing is the business of the engine.
//!
//! Words: a *source* holds references, an *owner* has their target. A deployment is a source for some targets and the
//! owner of others.

pub mod aside;
pub mod deletion;
pub mod epoch;
pub mod fence;
pub mod grant;
pub mod inbound;
pub mod index;
pub mod plan_delete;
pub mod plan_save;
pub mod question;
pub mod reference;
pub mod task;

pub use aside::{Aside, Held};
pub use epoch::Epoch;
pub use inbound::Inbound;
pub use reference::{Behaviour, Entry, References, TargetName};

/// What is kept does not decode.
#[derive(Debug, thiserror::Error)]
#[error("stored {what} cannot be decoded")]
pub struct Damaged {
    /// `inbound part of iam.example.com/Project`.
    pub what: String,
    #[source]
    pub source: prost::DecodeError,
}
