//! A node: services from folders, a store for each, the engine over them, one port.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bowline_api::engine::{Action, ActionRequest, Engine, Hook, Parts, Save};
use bowline_api::handler::Context;
use bowline_api::limits::Limits;
use bowline_api::server::{ServeError, Server};
use bowline_base::{Seams, Status};
use bowline_node::DeploymentId;
use bowline_schema::diagnostic::{self, Diagnostic};
use bowline_schema::load::{self, Loaded};
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_store::{Backend, StoreError};
use prost_reflect::DynamicMessage;

use crate::fleet::site::are_empty;
use crate::storage::{OpenError, REGION, Storage};

/// Where a node listens unless told otherwise.
pub const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7400);

/// What a node is made of; see [`Node::builder`].
pub struct NodeBuilder {
    sources: Vec<Source>,
    address: SocketAddr,
    storage: Storage,
    limits: Limits,
    seams: Seams,
    actions: HashMap<String, Arc<dyn Action>>,
    hooks: HashMap<String, Vec<Arc<dyn Hook>>>,
}

/// A node that serves.
pub struct Node {
    engine: Arc<Engine>,
    server: Server,
    diagnostics: Vec<Diagnostic>,
    was_empty: bool,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing can be served; the diagnostics say why, file by file.
    #[error("no service could be loaded\n{}", diagnostic::render(diagnostics))]
    Schema { diagnostics: Vec<Diagnostic> },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("the stores cannot be read")]
    Read(#[source] StoreError),
    #[error("assemble the node")]
    Assemble(#[from] bowline_api::engine::StartError),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl Node {
    /// A node without services, on [`DEFAULT_ADDRESS`], with its data in `./bowline-data`.
    pub fn builder() -> NodeBuilder {
        NodeBuilder {
            sources: Vec::new(),
            address: DEFAULT_ADDRESS,
            storage: Storage::Folder(PathBuf::from("bowline-data")),
            limits: Limits::default(),
            seams: Seams::real(),
            actions: HashMap::new(),
            hooks: HashMap::new(),
        }
    }

    /// Where the node listens; the real port if it was asked for any.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The services that are served.
    pub fn registry(&self) -> &Arc<Registry> {
        self.engine.registry()
    }

    /// What was found while loading: warnings, and errors of services that are left out.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether no service had a resource when the node started.
    pub fn was_empty(&self) -> bool {
        self.was_empty
    }

    /// An empty request for a method, `/package.Service/Method`; `None` if there is no such method.
    pub fn request_for(&self, path: &str) -> Option<DynamicMessage> {
        let method = self.registry().methods.get(path)?;
        Some(DynamicMessage::new(method.descriptor.input()))
    }

    /// Calls a unary method without the network, as a client would.
    ///
    /// # Errors
    /// What the method answers.
    pub async fn call(
        &self,
        path: &str,
        request: DynamicMessage,
    ) -> Result<DynamicMessage, Status> {
        self.engine.call_unary(path, request, Context::default()).await
    }

    /// Ends watches, lets open requests finish (at most some seconds), closes the stores.
    pub async fn stop(&self) {
        self.server.stop().await;
    }
}

impl NodeBuilder {
    /// Serves the services in this folder; may be called several times.
    pub fn folder(self, folder: impl Into<PathBuf>) -> Self {
        self.source(Source::Folder(folder.into()))
    }

    /// Serves what this source describes: a folder, a descriptor set, or files in memory.
    pub fn source(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// Listens here; port 0 is any free one.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Keeps data in files below this folder, which is made if it is not there.
    pub fn data(self, folder: impl Into<PathBuf>) -> Self {
        self.storage(Storage::Folder(folder.into()))
    }

    /// Keeps data in memory only: for tests.
    pub fn in_memory(self) -> Self {
        self.storage(Storage::Memory)
    }

    /// Keeps data there.
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Replaces clock, randomness and tasks, as a simulator does.
    pub fn seams(mut self, seams: Seams) -> Self {
        self.seams = seams;
        self
    }

    /// Serves the method at `path` (`/package.Service/Method`), which must not be a standard one.
    pub fn action<F, R>(self, path: impl Into<String>, action: F) -> Self
    where
        F: Fn(ActionRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<DynamicMessage, Status>> + Send + 'static,
    {
        self.action_handler(path, Arc::new(action))
    }

    /// Like [`NodeBuilder::action`], for handlers that are types of their own, or that stream.
    pub fn action_handler(mut self, path: impl Into<String>, action: Arc<dyn Action>) -> Self {
        self.actions.insert(path.into(), action);
        self
    }

    /// Runs `hook` before every save of `kind` (`devices.example.com/Device`), after the hooks already given.
    pub fn before_save<F>(mut self, kind: impl Into<String>, hook: F) -> Self
    where
        F: Fn(&mut Save<'_>) -> Result<(), Status> + Send + Sync + 'static,
    {
        self.hooks.entry(kind.into()).or_default().push(Arc::new(hook));
        self
    }

    /// Loads, opens, assembles and serves; returns when the node answers requests.
    ///
    /// # Errors
    /// A [`StartError`]. A service with errors is left out as long as another one can be served.
    pub async fn start(self) -> Result<Node, StartError> {
        let Loaded { registry, diagnostics, .. } = load::load(&self.sources);
        if registry.services.is_empty() {
            return Err(StartError::Schema { diagnostics });
        }
        let backends = open_stores(&self.storage, &registry, &self.seams).await?;
        let was_empty = are_empty(backends.values()).await.map_err(StartError::Read)?;
        let parts = Parts {
            registry: Arc::new(registry),
            limits: self.limits,
            seams: self.seams,
            backends,
            actions: self.actions,
            hooks: self.hooks,
            routing: None,
            callers: None,
        };
        let engine = Engine::start(parts)?;
        let server = Server::start(engine.clone(), self.address).await?;
        Ok(Node { engine, server, diagnostics, was_empty })
    }
}

/// Opens the stores of all services at the same time, since each waits several times.
async fn open_stores(
    storage: &Storage,
    registry: &Registry,
    seams: &Seams,
) -> Result<HashMap<String, Arc<dyn Backend>>, OpenError> {
    let opening = registry.services.iter().map(|service| async {
        let id = DeploymentId::new(service.name.as_str(), REGION);
        let opened = storage.open(&id, seams).await?;
        Ok::<_, OpenError>((service.name.clone(), opened))
    });
    Ok(futures::future::try_join_all(opening).await?.into_iter().collect())
}
