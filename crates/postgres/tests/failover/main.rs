//! What remains true of stores on PostgreSQL while servers are killed, replaced and frozen under load, and what two processes
//! on one database see of each other. `cargo test -p bowline-postgres --test failover -- --nocapture` shows the figures.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and runs in real time"
)]

mod checks;
mod load;
mod neighbours;
mod outages;

use std::sync::Arc;

use bowline_base::Seams;
use bowline_postgres::{DatabaseUrl, Postgres, PostgresOptions};
use bowline_store::Backend;

/// A store as a process of its own would open it.
async fn open(url: &str, adapt: impl FnOnce(&mut PostgresOptions)) -> Arc<dyn Backend> {
    let mut options = PostgresOptions::new(DatabaseUrl::new(url));
    adapt(&mut options);
    Arc::new(Postgres::open(options, Seams::real()).await.unwrap())
}
