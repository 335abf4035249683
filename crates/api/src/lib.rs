//! The public surface: dynamic gRPC, reflection, REST, watch, errors.

pub mod handler;
