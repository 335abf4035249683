//! From protos and manifests to an immutable registry.

pub mod http;
pub mod model;
pub mod pattern;
