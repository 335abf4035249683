//! What a fleet is made of, and its start.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bowline_api::engine::{Action, Hook, Save};
use bowline_api::limits::Limits;
use bowline_api::server::Server;
use bowline_base::{Seams, Status};
use bowline_node::environment::{Beginning, Patience};
use bowline_node::identity::{KeyFolder, KeyPair, Signers};
use bowline_node::network::NetworkPeers;
use bowline_node::{DeploymentId, Peers};
use bowline_store::Backend;
use bowline_wire::meta::SERVICE as META;
use tokio::net::TcpListener;

use super::load::{self, Services};
use super::nearby::Nearby;
use super::part::Part;
use super::site::{Assembled, Site, SiteError, SiteParts, are_empty, begin};
use super::stores::{PlannedStores, open_all, pictures};
use super::{Fleet, FleetError, Served};
use crate::config::{Config, Identity, Mode, Plan};
use crate::meta;

/// See [`Fleet::builder`].
pub struct FleetBuilder {
    config: Config,
    part: Part,
    limits: Limits,
    patience: Patience,
    seams: Seams,
    actions: BTreeMap<String, Arc<dyn Action>>,
    hooks: BTreeMap<String, Vec<Arc<dyn Hook>>>,
}

impl Fleet {
    /// All deployments of a configuration in this process, one port per region.
    pub fn builder(config: Config) -> FleetBuilder {
        FleetBuilder {
            config,
            part: Part::All,
            limits: Limits::default(),
            patience: Patience::default(),
            seams: Seams::real(),
            actions: meta::actions(),
            hooks: meta::hooks(),
        }
    }
}

impl FleetBuilder {
    /// Runs this deployment alone, on its own port; the others are processes of their own.
    pub fn only(mut self, deployment: DeploymentId) -> Self {
        self.part = Part::Deployment(deployment);
        self
    }

    /// Runs the deployments of this region, on its port; the other regions are processes of their own.
    pub fn only_region(mut self, region: impl Into<Arc<str>>) -> Self {
        self.part = Part::Region(region.into());
        self
    }

    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long a start waits for others.
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Replaces clock, randomness and tasks.
    pub fn seams(mut self, seams: Seams) -> Self {
        self.seams = seams;
        self
    }

    /// Serves the method at `path` (`/package.Service/Method`), which must not be a standard one, in every region.
    pub fn action_handler(mut self, path: impl Into<String>, action: Arc<dyn Action>) -> Self {
        self.actions.insert(path.into(), action);
        self
    }

    /// Runs `hook` before every save of `kind` in every region, after the hooks already given.
    pub fn before_save<F>(mut self, kind: impl Into<String>, hook: F) -> Self
    where
        F: Fn(&mut Save<'_>) -> Result<(), Status> + Send + Sync + 'static,
    {
        self.hooks.entry(kind.into()).or_default().push(Arc::new(hook));
        self
    }

    /// Loads, takes the ports, opens the stores, and starts; returns when all deployments answer requests.
    ///
    /// # Errors
    /// [`FleetError`]
    pub async fn start(self) -> Result<Fleet, FleetError> {
        let services = load::load(&self.config)?;
        let mode = match &self.part {
            Part::All | Part::Region(_) => Mode::Together,
            Part::Deployment(_) => Mode::Apart,
        };
        let mut plan = services.plan(&self.config, mode)?;
        self.part.check(&plan)?;
        // Before anything is opened, so that a port that is taken costs nothing.
        let ports = self.take_ports(&mut plan).await?;
        let ids: Vec<DeploymentId> =
            ports.iter().flat_map(|port| &port.deployments).cloned().collect();
        let keys = self.keys(&ids).await?;
        for (id, planned) in &plan.deployments {
            keys.signers.set_generation(id, planned.generation);
        }
        let assembly = Assembly { plan: Arc::new(plan), services, keys, builder: self };
        assembly.start(ports).await
    }

    async fn take_ports(&self, plan: &mut Plan) -> Result<Vec<Port>, FleetError> {
        let mut ports = Vec::new();
        for (region, deployments) in self.part.of(plan) {
            let first = deployments.first().and_then(|id| plan.deployments.get(id));
            let Some(asked) = first.map(|deployment| deployment.listen) else { continue };
            let failed = |source| FleetError::Listen { region: region.clone(), source };
            let listener = Server::bind(asked).await.map_err(failed)?;
            if asked.port() == 0
                && let Ok(real) = listener.local_addr()
            {
                deployments.iter().for_each(|id| plan.found_port(id, real.port()));
            }
            ports.push(Port { region, deployments, listener });
        }
        Ok(ports)
    }

    /// The keys of the deployments that run here, and everybody's public ones.
    async fn keys(&self, ids: &[DeploymentId]) -> Result<Keys, FleetError> {
        let (identity, seams, ids) =
            (self.config.identity.clone(), self.seams.clone(), ids.to_vec());
        let read = move || -> Result<Keys, FleetError> {
            let (own, everybody) = match identity {
                Identity::Made(folder) => {
                    let folder = KeyFolder::new(folder, seams.clone());
                    let made = ids.iter().map(|id| Ok((id.clone(), folder.make(id)?)));
                    (made.collect::<Result<Vec<_>, FleetError>>()?, folder)
                }
                Identity::Given { private, public } => {
                    let private = KeyFolder::new(private, seams.clone());
                    let read = ids.iter().map(|id| Ok((id.clone(), private.private(id)?)));
                    let own = read.collect::<Result<Vec<(DeploymentId, KeyPair)>, FleetError>>()?;
                    (own, KeyFolder::new(public, seams.clone()))
                }
            };
            Ok(Keys { signers: Arc::new(Signers::new(seams, own)), everybody })
        };
        let done = self.seams.blocking(read).await;
        done.ok_or(FleetError::Interrupted)?
    }
}

/// A region's deployments in this process, and where they listen.
struct Port {
    region: Arc<str>,
    deployments: Vec<DeploymentId>,
    listener: TcpListener,
}

struct Keys {
    signers: Arc<Signers>,
    everybody: KeyFolder,
}

/// Everything that is known before anything is started.
struct Assembly {
    builder: FleetBuilder,
    plan: Arc<Plan>,
    services: Services,
    keys: Keys,
}

/// What a region's site is built on.
struct Ground {
    region: Arc<str>,
    deployments: Vec<DeploymentId>,
    backends: HashMap<String, Arc<dyn Backend>>,
    beginning: Beginning,
    listener: TcpListener,
}

impl Assembly {
    /// Opens, starts and joins; what was started is stopped again if something fails.
    async fn start(self, ports: Vec<Port>) -> Result<Fleet, FleetError> {
        // Regions do not wait for each other: a store waits several times until it is open.
        let grounds =
            futures::future::try_join_all(ports.into_iter().map(|port| self.ground(port)));
        let grounds = grounds.await?;
        let backends = grounds.iter().flat_map(|ground| &ground.backends);
        let users = backends.filter(|(service, _)| *service != META).map(|(_, backend)| backend);
        let was_empty = are_empty(users).await.map_err(FleetError::Read)?;
        let nearby = Arc::new(self.nearby(&grounds));
        let mut started = Vec::new();
        let begun = self.start_sites(grounds, &nearby, &mut started).await;
        let joined = match begun {
            Ok(assembled) => join(assembled).await,
            Err(error) => Err(error),
        };
        let sites = match joined {
            Ok(sites) => sites,
            Err(error) => {
                futures::future::join_all(started.iter().map(Server::stop)).await;
                return Err(error);
            }
        };
        let sites = sites.into_iter().zip(started);
        let Services { registry, diagnostics, .. } = self.services;
        Ok(Fleet {
            plan: self.plan,
            registry,
            sites: sites.map(|(site, server)| Served { site, server }).collect(),
            nearby,
            diagnostics,
            was_empty,
        })
    }

    async fn ground(&self, port: Port) -> Result<Ground, FleetError> {
        let Port { region, deployments, listener } = port;
        let seams = &self.builder.seams;
        let stores = PlannedStores { plan: &self.plan, seams };
        let backends = open_all(&stores, &deployments).await?;
        let failed = |source| FleetError::Assemble { region: region.clone(), source };
        let first = deployments.first().and_then(|id| Some((id, self.plan.deployments.get(id)?)));
        let (id, planned) = first.ok_or_else(|| failed(SiteError::NoMeta))?;
        let pictures = pictures(&planned.storage, &self.builder.config.data, id, seams);
        let begun = begin(&self.plan, &self.services.registry, pictures).await;
        let beginning = begun.map_err(failed)?;
        Ok(Ground { region, deployments, backends, beginning, listener })
    }

    /// Deployments of other processes are asked over the network; where all are here there is nobody else.
    fn nearby(&self, grounds: &[Ground]) -> Nearby {
        let (seams, signers) = (self.builder.seams.clone(), self.keys.signers.clone());
        let first = grounds.first().filter(|_| self.builder.part != Part::All);
        let beyond = first.map(|ground| -> Arc<dyn Peers> {
            let picture = ground.beginning.picture();
            Arc::new(NetworkPeers::new(seams.clone(), signers.clone(), picture))
        });
        Nearby::new(signers, seams, beyond)
    }

    /// Everything that runs here answers before anything registers, for they register with each other.
    async fn start_sites(
        &self,
        grounds: Vec<Ground>,
        nearby: &Arc<Nearby>,
        started: &mut Vec<Server>,
    ) -> Result<Vec<(Arc<str>, Assembled)>, FleetError> {
        let mut assembled = Vec::new();
        for ground in grounds {
            let region = ground.region.clone();
            let (parts, listener) = self.parts(ground, nearby);
            let failed = |source| FleetError::Assemble { region: region.clone(), source };
            let site = Assembled::new(parts).map_err(failed)?;
            nearby.put(site.deployments(), site.engine());
            let failed = |source| FleetError::Serve { region: region.clone(), source };
            let server = Server::start_on(site.engine().clone(), listener).await.map_err(failed)?;
            started.push(server);
            assembled.push((region, site));
        }
        Ok(assembled)
    }

    fn parts(&self, ground: Ground, nearby: &Arc<Nearby>) -> (SiteParts, TcpListener) {
        let FleetBuilder { limits, seams, actions, hooks, patience, .. } = &self.builder;
        let parts = SiteParts {
            region: ground.region,
            deployments: ground.deployments,
            plan: self.plan.clone(),
            registry: self.services.registry.clone(),
            backends: ground.backends,
            beginning: ground.beginning,
            peers: nearby.clone(),
            keys: Arc::new(self.keys.everybody.clone()),
            limits: limits.clone(),
            patience: *patience,
            seams: seams.clone(),
            actions: actions.clone(),
            hooks: hooks.clone(),
        };
        (parts, ground.listener)
    }
}

/// Registers all sites and waits until each is known and has its picture.
async fn join(assembled: Vec<(Arc<str>, Assembled)>) -> Result<Vec<Site>, FleetError> {
    let mut sites = Vec::new();
    for (region, site) in assembled {
        let failed = |source| FleetError::Assemble { region: region.clone(), source };
        sites.push(site.join().map_err(failed)?);
    }
    let ready = sites.iter().map(|site| async {
        let failed = |status| FleetError::Refused { region: site.region().clone(), status };
        site.environment().ready().await.map_err(failed)
    });
    futures::future::try_join_all(ready).await?;
    Ok(sites)
}
