//! The generated round: every resource type of real protos is created, read, listed, changed, watched and deleted.
//!
//! Start at [`run`]: packages are found ([`discover`]), each is loaded and served in memory ([`package`]), and each of
//! its types goes through the public handler ([`round`]) with generated resources ([`generate`]). Test only: nothing of
//! the product depends on this crate, and it uses only what every embedder can use.

pub mod bare;
pub mod discover;
pub mod fetch;
pub mod generate;
pub mod openapi;
pub mod package;
pub mod report;
pub mod round;
pub mod run;
