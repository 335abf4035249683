//! Bowline as a library: build a node from service folders, register actions and hooks, serve.
//!
//! ```no_run
//! # async fn run() -> Result<(), bowline::StartError> {
//! let node = bowline::Node::builder().folder("services/devices").in_memory().start().await?;
//! println!("ready on http://{}", node.address());
//! node.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Assembly happens in [`node`], the only place that names concrete parts. The command line is in `cli` of the binary.

pub mod config;
pub mod fleet;
pub mod meta;
pub mod node;
pub mod storage;

pub use bowline_api::engine::{Action, ActionRequest, Hook, Save, SaveKind};
pub use bowline_api::handler::Context;
pub use bowline_api::limits::Limits;
pub use bowline_base::{Code, Detail, FieldViolation, Reason, Seams, Status};
pub use config::{Config, ConfigError};
pub use fleet::{Fleet, FleetBuilder, FleetError};
pub use node::{Node, NodeBuilder, StartError};
pub use prost_reflect::{DynamicMessage, ReflectMessage, Value};
pub use storage::Storage;
