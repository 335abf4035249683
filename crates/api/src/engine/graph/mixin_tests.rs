//! The mixin's methods at one engine, with callers of every kind.

mod grants;
mod inbound;
mod questions;
mod reading;
mod routed;
mod shadow_stream;
mod world;
