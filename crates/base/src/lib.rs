//! The bottom of the house: canonical status, error reasons, and the seams for time, randomness and tasks.
//!
//! Everything above may use this crate; it uses none of ours. Nothing here knows resources or protocols.

pub mod chain;
pub mod reason;
pub mod seams;
pub mod status;

pub use chain::chain;
pub use reason::Reason;
pub use seams::{Clock, Random, Seams, Tasks};
pub use status::{Code, Detail, FieldViolation, PreconditionViolation, Status};
