//! The public surface: dynamic gRPC, reflection, REST, watch, errors.

pub mod engine;
pub mod grpc;
pub mod handler;
pub mod inward;
pub mod limits;
pub mod openapi;
pub mod rest;
pub mod routing;
pub mod server;
mod watch;
mod wire;
pub mod wire_errors;
