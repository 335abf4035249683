//! From protos and manifests to an immutable registry.
//!
//! [`load::load`] takes folders, descriptor sets or texts and gives a [`model::Registry`] with all problems found; nothing is generated,
//! and no compiler has to be installed. Start there; then `model` for what a registry knows, `bind` for how methods are recognised,
//! `synth` for the services that are made where the protos have none.
//!
//! A folder may hold `service.yaml` and protos, `api-skeleton-<version>.yaml` and protos, bare AIP protos, or descriptor sets
//! (`*.binpb`), and any number of such folders.

pub mod compare;
pub mod diagnostic;
pub mod export;
pub mod http;
pub mod id_pattern;
pub mod load;
pub mod model;
pub mod pattern;
pub mod shipped;
pub mod show;
pub mod source;
pub mod upgrade;
pub mod words;

mod bind;
mod borrowed;
mod compile;
mod descriptors;
mod finish;
mod header;
mod imports;
mod link;
mod manifest;
mod marking;
mod options;
mod place;
mod print;
mod routes;
mod scan;
mod skeleton;
mod synth;
mod unit;
mod walk;
mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use load::{Loaded, load};
pub use source::Source;
