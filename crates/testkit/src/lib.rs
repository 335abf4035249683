//! What tests share: a directory of their own, waiting for facts, and servers that can be killed.
//!
//! Test only: a crate may have it as a dev-dependency, and it uses nothing of ours but `base`, so that nothing is compiled
//! twice. `tests/tidy` holds the checks of this repository itself: headers, crate order, sizes, links, words.

pub mod postgres;
pub mod process;
pub mod proxy;
pub mod wait;
pub mod world;

pub use process::{Server, ServerError};
pub use proxy::Proxy;
pub use wait::{TimedOut, eventually, eventually_blocking};
pub use world::World;
