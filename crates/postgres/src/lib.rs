//! The PostgreSQL backend: a schema per deployment, any number of processes on it, commits in visibility order.
//!
//! Start at [`Postgres`]. `writer` is where commits happen, `snapshot` where views come from, `feed` how processes learn
//! of each other's commits. Not here: how PostgreSQL is installed, replicated or backed up.

mod address;
mod connect;
mod failure;
mod feed;
mod flight;
mod gather;
mod group;
mod log;
mod migrate;
mod needs;
mod net;
mod numbers;
mod options;
mod pool;
mod rank;
mod read;
mod row;
mod schema;
mod schemas;
mod snapshot;
mod store;
mod tls;
mod upkeep;
mod view;
mod views;
mod writer;

pub use failure::OpenError;
pub use options::{DatabaseUrl, PostgresOptions};
pub use schemas::schemas;
pub use store::Postgres;
