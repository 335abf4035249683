//! Tests of the constraint controller over real engines in memory.

mod end;
mod expiry;
mod stream;
mod world;
