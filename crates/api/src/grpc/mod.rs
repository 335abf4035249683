//! Dynamic gRPC: any method of the registry, by its path, without generated code.
//!
//! Messages stay bytes where they can: a plain get is answered from the cache without decoding anything, and answers
//! of the engine are handed on as they were stored. Reflection and health are the ordinary tonic services.

mod service;
mod side;

pub use bowline_node::network::BytesCodec;
pub use service::{ClientAddress, GrpcService};
pub(crate) use side::side_services;
