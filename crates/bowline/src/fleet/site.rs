//! The deployments of one region in one process: one engine, its routing, and who may call it. No sockets here.
//!
//! The simulator starts the same sites, over its own stores, peers and seams.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bowline_api::engine::{Action, Engine, Hook, Parts};
use bowline_api::limits::Limits;
use bowline_api::routing::Routing;
use bowline_base::Seams;
use bowline_node::environment::{Beginning, Environment, EnvironmentParts, Patience, PictureStore};
use bowline_node::identity::{KeySource, Verifier};
use bowline_node::mirror::MethodError;
use bowline_node::policies::{PolicyStore, PolicyStoreParts};
use bowline_node::{DeploymentId, Peers, Picture};
use bowline_schema::model::Registry;
use bowline_store::{Backend, StoreError, Table};
use tokio::sync::watch;

use super::bootstrap;
use crate::config::Plan;

/// What the deployments of one region are made of.
pub struct SiteParts {
    pub region: Arc<str>,
    /// Those that run here: all of the region, or some. Never empty.
    pub deployments: Vec<DeploymentId>,
    pub plan: Arc<Plan>,
    /// All services of the fleet: also those that are elsewhere govern names here.
    pub registry: Arc<Registry>,
    /// By service name, one for each of `deployments`.
    pub backends: HashMap<String, Arc<dyn Backend>>,
    /// The picture before anything answered; see [`begin`].
    pub beginning: Beginning,
    /// The way to all deployments, these among them. It signs calls from here.
    pub peers: Arc<dyn Peers>,
    /// Public keys of all deployments.
    pub keys: Arc<dyn KeySource>,
    pub limits: Limits,
    pub patience: Patience,
    pub seams: Seams,
    /// By method path; those of other regions' services are passed over.
    pub actions: BTreeMap<String, Arc<dyn Action>>,
    /// By kind, likewise.
    pub hooks: BTreeMap<String, Vec<Arc<dyn Hook>>>,
}

/// A site cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error(transparent)]
    Engine(#[from] bowline_api::engine::StartError),
    #[error("the meta service cannot be followed")]
    Meta(#[from] MethodError),
    #[error("the meta service is not loaded")]
    NoMeta,
}

/// The picture with which a site begins: what the configuration says, and what was kept in `store`.
///
/// # Errors
/// [`SiteError::NoMeta`]
pub async fn begin(
    plan: &Plan,
    registry: &Registry,
    store: Arc<dyn PictureStore>,
) -> Result<Beginning, SiteError> {
    let bootstrap = bootstrap::bootstrap(plan, registry).ok_or(SiteError::NoMeta)?;
    Ok(Beginning::load(bootstrap, store).await)
}

/// A site whose engine answers, and which nobody knows of yet.
pub struct Assembled {
    site: Unregistered,
    beginning: Beginning,
    environment: EnvironmentParts,
}

struct Unregistered {
    region: Arc<str>,
    deployments: Vec<DeploymentId>,
    engine: Arc<Engine>,
    owners: Arc<PolicyStore>,
}

/// The running deployments of one region.
pub struct Site {
    site: Unregistered,
    environment: Environment,
}

impl Assembled {
    /// Starts the engine, which answers what reaches it from now on.
    ///
    /// # Errors
    /// [`SiteError::Engine`]
    pub fn new(parts: SiteParts) -> Result<Self, SiteError> {
        let picture = parts.beginning.picture();
        let services: Vec<Arc<str>> =
            parts.deployments.iter().map(|id| id.service.clone()).collect();
        let owners = PolicyStore::start(PolicyStoreParts {
            region: parts.region.clone(),
            services,
            registry: parts.registry.clone(),
            picture: picture.clone(),
            peers: parts.peers.clone(),
            seams: parts.seams.clone(),
        });
        let verifier = verifier(&parts, picture.clone());
        let routing = Routing {
            region: parts.region.clone(),
            owners: owners.clone(),
            peers: parts.peers.clone(),
            picture,
        };
        let served = Served { registry: &parts.registry, deployments: &parts.deployments };
        let (actions, hooks) = (served.actions(&parts.actions), served.hooks(&parts.hooks));
        let environment = environment(&parts)?;
        let engine = Engine::start(Parts {
            registry: parts.registry,
            limits: parts.limits,
            seams: parts.seams,
            backends: parts.backends,
            actions,
            hooks,
            routing: Some(Arc::new(routing)),
            callers: Some(Arc::new(verifier)),
        })?;
        let site =
            Unregistered { region: parts.region, deployments: parts.deployments, engine, owners };
        Ok(Self { site, beginning: parts.beginning, environment })
    }

    pub fn engine(&self) -> &Arc<Engine> {
        &self.site.engine
    }

    /// Those that run here, in the order of the plan's services.
    pub fn deployments(&self) -> &[DeploymentId] {
        &self.site.deployments
    }

    /// Makes the deployments known to the others; they are once [`Environment::ready`] is done. They must be reachable by
    /// now, for the meta deployment of a site is asked like all others.
    ///
    /// # Errors
    /// [`SiteError::Meta`]
    pub fn join(self) -> Result<Site, SiteError> {
        let environment = Environment::start(self.beginning, self.environment)?;
        Ok(Site { site: self.site, environment })
    }
}

impl Site {
    pub fn region(&self) -> &Arc<str> {
        &self.site.region
    }

    /// Those that run here, in the order of the plan's services.
    pub fn deployments(&self) -> &[DeploymentId] {
        &self.site.deployments
    }

    pub fn engine(&self) -> &Arc<Engine> {
        &self.site.engine
    }

    /// Who is known, and how far the start is.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Who owns what.
    pub fn owners(&self) -> &Arc<PolicyStore> {
        &self.site.owners
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("deployments", &self.site.deployments).finish_non_exhaustive()
    }
}

fn environment(parts: &SiteParts) -> Result<EnvironmentParts, SiteError> {
    let ids = parts.deployments.iter();
    let registrations =
        ids.filter_map(|id| bootstrap::registration(&parts.plan, &parts.registry, id));
    Ok(EnvironmentParts {
        me: parts.deployments.first().cloned().ok_or(SiteError::NoMeta)?,
        registrations: registrations.collect(),
        registry: parts.registry.clone(),
        peers: parts.peers.clone(),
        seams: parts.seams.clone(),
        patience: parts.patience,
    })
}

fn verifier(parts: &SiteParts, picture: watch::Receiver<Arc<Picture>>) -> Verifier {
    let admits = move |caller: &DeploymentId, generation: u64, to: &DeploymentId| {
        picture.borrow().admits(caller, generation, to)
    };
    Verifier::new(parts.seams.clone(), parts.deployments.clone(), parts.keys.clone(), admits)
}

/// What of a program's code belongs to the services of a site.
struct Served<'a> {
    registry: &'a Registry,
    deployments: &'a [DeploymentId],
}

impl Served<'_> {
    fn has(&self, service: &str) -> bool {
        self.deployments.iter().any(|id| *id.service == *service)
    }

    fn actions(&self, all: &BTreeMap<String, Arc<dyn Action>>) -> HashMap<String, Arc<dyn Action>> {
        let method = |path: &String| self.registry.methods.get(path);
        // One of a path that no service has is left for the engine to refuse.
        let own = all.iter().filter(|(path, _)| method(path).is_none_or(|m| self.has(&m.service)));
        own.map(|(path, action)| (path.clone(), action.clone())).collect()
    }

    fn hooks(
        &self,
        all: &BTreeMap<String, Vec<Arc<dyn Hook>>>,
    ) -> HashMap<String, Vec<Arc<dyn Hook>>> {
        let first = |kind: &String| self.registry.types.get(kind).and_then(|types| types.first());
        let own = all.iter().filter(|(kind, _)| first(kind).is_none_or(|ty| self.has(&ty.service)));
        own.map(|(kind, hooks)| (kind.clone(), hooks.clone())).collect()
    }
}

/// Whether no store has a row of a resource.
pub(crate) async fn are_empty(
    backends: impl Iterator<Item = &Arc<dyn Backend>>,
) -> Result<bool, StoreError> {
    for backend in backends {
        let tables = backend.snapshot().await?.tables().await?;
        if !tables.iter().all(Table::is_internal) {
            return Ok(false);
        }
    }
    Ok(true)
}
