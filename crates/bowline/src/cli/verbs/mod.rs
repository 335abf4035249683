//! The client commands, one file each; all work over the public API only.

pub(crate) mod api;
pub(crate) mod apply;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod update;
pub(crate) mod watch;

use bowline_base::Seams;

use super::args::ServerArgs;
use super::calls::Session;
use super::catalog::Catalog;
use super::client::Client;
use super::error::Error;

/// Connects and learns what the server has.
pub(crate) async fn open(args: &ServerArgs) -> Result<Session, Error> {
    let client = Client::connect(args).await?;
    let catalog = Catalog::fetch(&client).await?;
    Ok(Session { client, catalog, seams: Seams::real(), version: args.api_version.clone() })
}
