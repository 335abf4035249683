//! A fleet: the deployments of a configuration that run in this process, one engine and one port per region.
//!
//! `load` compiles the services once, [`site`] puts the deployments of one region together without any socket, `nearby` is
//! the way between sites of one process, `bootstrap` what they know of each other from the configuration alone. Here they
//! get their ports and are started and stopped together. A fleet goes the same way with all deployments or only one.

pub mod bootstrap;
mod builder;
mod load;
mod nearby;
mod part;
pub mod site;
mod stores;

use std::net::SocketAddr;
use std::sync::Arc;

use bowline_api::server::{ServeError, Server};
use bowline_base::Status;
use bowline_node::environment::Serving;
use bowline_node::identity::FolderError;
use bowline_schema::diagnostic::Diagnostic;
use bowline_schema::model::Registry;
use bowline_store::StoreError;

use crate::config::{ConfigError, Plan};
use crate::storage::OpenError;

pub use builder::FleetBuilder;
pub use load::{Services, load};
pub use nearby::Nearby;
pub use site::{Assembled, Site, SiteError, SiteParts};
pub use stores::{PlannedStores, Stores};

/// Running deployments.
pub struct Fleet {
    plan: Arc<Plan>,
    registry: Arc<Registry>,
    /// In the order of the configuration's regions.
    sites: Vec<Served>,
    nearby: Arc<Nearby>,
    diagnostics: Vec<Diagnostic>,
    was_empty: bool,
}

/// A site and its port.
struct Served {
    site: Site,
    server: Server,
}

/// Why a fleet does not start.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The deployment that was asked for is none of the configuration.
    #[error("{problem}")]
    NoDeployment { problem: String },
    #[error("the port of {region} cannot be had")]
    Listen {
        region: Arc<str>,
        #[source]
        source: ServeError,
    },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("the stores cannot be read")]
    Read(#[source] StoreError),
    #[error("the keys of the deployments cannot be had")]
    Keys(#[from] FolderError),
    #[error("interrupted while starting")]
    Interrupted,
    #[error("assemble {region}")]
    Assemble {
        region: Arc<str>,
        #[source]
        source: SiteError,
    },
    /// A deployment can never be registered with the meta service.
    #[error("{region}: {}", status.message)]
    Refused { region: Arc<str>, status: Status },
    #[error("serve {region}")]
    Serve {
        region: Arc<str>,
        #[source]
        source: ServeError,
    },
}

impl Fleet {
    /// Where each region listens, in the order of the configuration; the real port if it was asked for any.
    pub fn addresses(&self) -> impl Iterator<Item = (&Arc<str>, SocketAddr)> {
        self.sites.iter().map(|served| (served.site.region(), served.server.address()))
    }

    /// The sites of this process, in the order of the configuration's regions.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().map(|served| &served.site)
    }

    /// What runs, here and in other processes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// All services of the fleet.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Warnings of the services' files.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether no service but the meta service had a resource here when the fleet started.
    pub fn was_empty(&self) -> bool {
        self.was_empty
    }

    /// Completes when a deployment that runs here was declared gone, and says which: it must not go on.
    pub async fn gone(&self) -> String {
        let waits = self.sites().map(|site| {
            let mut serving = site.environment().serving();
            Box::pin(async move {
                match serving.wait_for(|now| *now != Serving::Yes).await {
                    Ok(now) => now.to_string(),
                    // Its environment has ended, and with it the site: nothing more will be said.
                    Err(_) => std::future::pending().await,
                }
            })
        });
        futures::future::select_all(waits).await.0
    }

    /// Ends watches, lets open requests finish (at most some seconds), closes the stores.
    pub async fn stop(&self) {
        // All at once: a request of one region may wait for another.
        futures::future::join_all(self.sites.iter().map(|served| served.server.stop())).await;
        let environments = self.sites.iter().map(|served| served.site.environment().keep());
        futures::future::join_all(environments).await;
        for served in &self.sites {
            self.nearby.remove(served.site.deployments());
        }
    }
}
