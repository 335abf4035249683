//! What controllers run on: work that is found in rows, spread over processes, tried again and shown.
//!
//! A [`Controller`] finds items and works off batches of them; [`run`] is its life: woken by a [`Bell`], by timers, and when
//! this process's part of the ring changes ([`lease`]). `agenda` decides, without I/O, what is due: one queue for each
//! peer or type, each with a backoff of its own, so that one that is broken never stops the rest. [`Board`] shows how it
//! stands. Nothing here knows references, or what the work is.

pub mod agenda;
pub mod bell;
pub mod lease;
pub mod retry;
pub mod runtime;
pub mod status;

pub use agenda::{Fate, Item};
pub use bell::{Bell, Heard, Listener};
pub use runtime::{Controller, Parts, Trouble, Worked, run};
pub use status::{Board, Report, Status};
