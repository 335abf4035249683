//! The engine: answers standard methods from a store, and hands the others to registered actions.
//!
//! A request goes: transport, [`Engine::call`], a verb (`read`, `list`, `save`, `delete`, or `watch`), the deployment's
//! backend. Start at [`Engine::call`]. Not here: how requests arrive (`grpc`, `rest`).

mod actions;
mod controllers;
mod decorate;
mod delete;
mod deployment;
pub(crate) mod errors;
pub mod explain;
pub(crate) mod graph;
mod hooks;
mod idempotency;
pub(crate) mod list;
mod mixin;
mod new_name;
pub(crate) mod ownership;
pub(crate) mod page;
mod plan;
mod prepared;
mod race;
mod read;
mod readable;
pub(crate) mod request;
mod respond;
mod rows;
mod save;
pub(crate) mod select;
mod served;
pub(crate) mod shape;
pub(crate) mod sink;
mod sweep;
mod upkeep;
mod validate;
mod well_formed;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::{Reason, Seams, Status};
use bowline_node::place::Places;
use bowline_node::{Callers, Ownership};
use bowline_schema::model::{Binding, Method, Registry, ResourceType, Role, Service, Verb};
use bowline_store::{Backend, Table};
use bowline_wire::bowline::server::v1::LIST_CONTROLLERS;
use bytes::Bytes;
use prost_reflect::DynamicMessage;

pub use actions::{Action, ActionRequest};
pub use deployment::Deployment;
pub use hooks::{Hook, Save, SaveKind};

use crate::handler::{Context, Handler, Reply};
use crate::inward::Edge;
use crate::limits::Limits;
use crate::routing::Routing;
use crate::watch::Watches;
use crate::wire;
use request::Request;

/// A standard method with everything that answering it needs.
pub(crate) struct Route {
    pub(crate) binding: Arc<Binding>,
    pub(crate) resource: Arc<shape::Shape>,
    pub(crate) deployment: Arc<Deployment>,
}

/// Answers every method of a registry.
pub struct Engine {
    pub(crate) registry: Arc<Registry>,
    pub(crate) limits: Limits,
    pub(crate) seams: Seams,
    pub(crate) deployments: Vec<Arc<Deployment>>,
    routes: HashMap<String, Arc<Route>>,
    /// All types that are known, those of other deployments too.
    pub(crate) shapes: Shapes,
    actions: HashMap<String, Arc<dyn Action>>,
    hooks: HashMap<String, Vec<Arc<dyn Hook>>>,
    pub(crate) watches: Watches,
    pub(crate) routing: Option<Arc<Routing>>,
    pub(crate) edge: Edge,
}

/// What an engine is made of.
pub struct Parts {
    /// All services that are known. With `routing`, those without a backend are served elsewhere.
    pub registry: Arc<Registry>,
    pub limits: Limits,
    pub seams: Seams,
    /// One per service that is served, by its name.
    pub backends: HashMap<String, Arc<dyn Backend>>,
    /// By method path, `/package.Service/Method`.
    pub actions: HashMap<String, Arc<dyn Action>>,
    /// By kind, in the order in which they run.
    pub hooks: HashMap<String, Vec<Arc<dyn Hook>>>,
    /// The way to other deployments; `None`: there are none, and everything is here.
    pub routing: Option<Arc<Routing>>,
    /// Verifies callers that say to be deployments; `None`: nobody is believed to be one.
    pub callers: Option<Arc<dyn Callers>>,
}

impl Engine {
    /// Assembles an engine and starts the change readers of its deployments.
    ///
    /// # Errors
    /// A service has no backend, or an action is registered for a path that no action method has.
    pub fn start(mut parts: Parts) -> Result<Arc<Self>, StartError> {
        let shapes = shapes(&parts.registry, parts.routing.is_some());
        if parts.routing.is_some() {
            let served = served::served(&parts.registry, &parts.backends);
            parts.registry = mixin::with_methods(&served);
        }
        parts.registry = controllers::with_method(&parts.registry);
        let own = Arc::new(controllers::ListControllers);
        parts.actions.insert(LIST_CONTROLLERS.to_owned(), own);
        for path in parts.actions.keys() {
            check_action(&parts.registry, path)?;
        }
        for kind in parts.hooks.keys() {
            if !parts.registry.types.contains_key(kind) {
                return Err(StartError::NoSuchKind { kind: kind.clone() });
            }
        }
        let deployments = start_deployments(&parts, &shapes)?;
        let routes = routes(&parts.registry, &deployments, &shapes);
        let watches = Watches::new(parts.limits.watches_per_client_max);
        let edge = Edge::new(parts.seams.clone(), parts.callers);
        let engine = Arc::new(Self {
            registry: parts.registry,
            limits: parts.limits,
            seams: parts.seams,
            deployments,
            routes,
            shapes,
            actions: parts.actions,
            hooks: parts.hooks,
            watches,
            routing: parts.routing,
            edge,
        });
        sweep::start(&engine);
        graph::control::start(&engine);
        Ok(engine)
    }

    /// Whether a method has something behind it: a standard method, or an action with a handler.
    pub fn serves(&self, method: &Method) -> bool {
        self.routes.contains_key(&method.path) || self.actions.contains_key(&method.path)
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers a plain get from memory, without decoding anything; `None` means: take the ordinary way.
    ///
    /// Always right, because the cache below never shows an older row than the store would.
    pub fn get_from_memory(&self, path: &str, request: &[u8]) -> Option<Bytes> {
        let route = self.routes.get(path)?;
        if route.binding.verb != Verb::Get {
            return None;
        }
        let name_field = route.binding.request.name.as_ref()?;
        let name = wire::only_text(request, name_field.number())?;
        let row = route.deployment.backend.cached(&route.resource.table, name)?;
        Some(row.body)
    }

    /// Ends open watches and finishes what the stores have accepted.
    pub async fn close(&self) {
        self.watches.close();
        for deployment in &self.deployments {
            deployment.close().await;
        }
    }

    /// Takes this process out of the stores, which stay open: other processes need not wait until it is taken for dead.
    ///
    /// Nothing can be written any more.
    pub async fn leave(&self) {
        for deployment in &self.deployments {
            deployment.incarnation.close().await;
        }
    }

    pub(crate) fn hooks_of(&self, kind: &str) -> &[Arc<dyn Hook>] {
        self.hooks.get(kind).map_or(&[], Vec::as_slice)
    }

    async fn call_standard(
        self: &Arc<Self>,
        method: &Arc<Method>,
        route: &Arc<Route>,
        message: DynamicMessage,
        context: Context,
    ) -> Result<Reply, Status> {
        match &self.routing {
            None => self.call_here(route, message, context).await,
            Some(routing) => self.call_routed(routing, method, route, message, context).await,
        }
    }

    /// Answers a standard request from this deployment.
    pub(crate) async fn call_here(
        self: &Arc<Self>,
        route: &Arc<Route>,
        message: DynamicMessage,
        context: Context,
    ) -> Result<Reply, Status> {
        let request = Request::new(&route.binding, message);
        let until = self.until(&context);
        let answer = match route.binding.verb {
            Verb::Create => self.create(route, request, until).await,
            Verb::Update => self.update(route, request, until).await,
            Verb::Delete => self.delete(route, request, until).await,
            _ => return self.read_here(route, request, context).await,
        };
        let answer = answer?;
        self.tell_position(&route.deployment, &context);
        Ok(Reply::Unary(answer))
    }

    async fn read_here(
        self: &Arc<Self>,
        route: &Arc<Route>,
        request: Request<'_>,
        context: Context,
    ) -> Result<Reply, Status> {
        self.await_position(&route.deployment, &context).await?;
        match route.binding.verb {
            Verb::Get => self.get(route, request).await.map(Reply::Unary),
            Verb::BatchGet => self.batch_get(route, request).await.map(Reply::Unary),
            Verb::List => self.list(route, request, &context).await.map(Reply::Unary),
            Verb::Create | Verb::Update | Verb::Delete => Err(errors::no_write()),
            Verb::WatchOne => self.watch_one(route, request, &context).await.map(Reply::Stream),
            Verb::Watch => self.watch(route, request, &context).await.map(Reply::Stream),
        }
    }

    /// When a unary request is to be finished that begins now, as monotonic time.
    pub(crate) fn until(&self, context: &Context) -> Duration {
        self.seams.clock.monotonic().saturating_add(self.time_for(context))
    }

    /// The client's deadline, but never longer than the limit.
    fn time_for(&self, context: &Context) -> Duration {
        let longest = self.limits.request_deadline;
        context.deadline.map_or(longest, |deadline| deadline.min(longest))
    }

    /// Runs a unary request under its deadline.
    async fn within_deadline<T>(
        &self,
        context: &Context,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let deadline = self.time_for(context);
        let timer = self.seams.clock.sleep(deadline);
        tokio::select! {
            biased;
            answer = work => answer,
            () = timer => Err(Status::new(
                Reason::DeadlineExceeded,
                format!("the request did not finish within {} ms; a write may still happen", deadline.as_millis()),
            )),
        }
    }
}

#[async_trait]
impl Handler for Arc<Engine> {
    async fn call(
        &self,
        method: &Arc<Method>,
        request: DynamicMessage,
        context: Context,
    ) -> Result<Reply, Status> {
        if self.routing.is_some() && mixin::is_mixin(method) {
            return self.call_mixin(method, &request, &context).await;
        }
        if let Some(action) = self.actions.get(&method.path) {
            if let Some(routing) = &self.routing
                && let Some(answer) =
                    self.call_action_routed(routing, method, &request, &context).await
            {
                return answer;
            }
            let request =
                ActionRequest::new(self.clone(), method.clone(), request, context.clone());
            return self.within_deadline(&context, action.call(request)).await;
        }
        let Some(route) = self.routes.get(&method.path) else {
            return Err(errors::no_handler(method));
        };
        if matches!(route.binding.verb, Verb::Watch | Verb::WatchOne) {
            return self.call_standard(method, route, request, context).await;
        }
        self.within_deadline(&context.clone(), self.call_standard(method, route, request, context))
            .await
    }
}

/// Why an engine cannot be assembled.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("service {service} has no store")]
    NoBackend { service: String },
    #[error("no method {path}: actions are registered as \"/package.Service/Method\"")]
    NoSuchMethod { path: String },
    #[error("{path} is a standard method, which the engine serves itself; use a hook to change it")]
    StandardMethod { path: String },
    #[error("hook for {kind}, which no loaded service has")]
    NoSuchKind { kind: String },
}

fn check_action(registry: &Registry, path: &str) -> Result<(), StartError> {
    let method = registry.methods.get(path);
    match method.map(|m| &m.role) {
        None => Err(StartError::NoSuchMethod { path: path.to_owned() }),
        Some(Role::Standard(_)) => Err(StartError::StandardMethod { path: path.to_owned() }),
        Some(Role::Action { .. }) => Ok(()),
    }
}

/// By kind and version.
pub(crate) type Shapes = HashMap<(String, String), Arc<shape::Shape>>;

fn shapes(registry: &Registry, has_places: bool) -> Shapes {
    let of_methods = registry.methods.values().filter_map(|method| match &method.role {
        Role::Standard(binding) => Some(&binding.resource),
        Role::Action { .. } => None,
    });
    let mut shapes = Shapes::new();
    for ty in registry.all_types().chain(of_methods) {
        let shape = shapes.entry(shape_key(ty));
        shape.or_insert_with(|| {
            let places = has_places.then(|| Places::of_type(registry, ty));
            Arc::new(shape::Shape::of(registry, ty, places))
        });
    }
    shapes
}

fn shape_key(ty: &ResourceType) -> (String, String) {
    shape_key_of(&ty.kind, &ty.version)
}

pub(crate) fn shape_key_of(kind: &str, version: &str) -> (String, String) {
    (kind.to_owned(), version.to_owned())
}

/// The types whose resources are in the store of `service`.
fn shapes_of(
    registry: &Registry,
    service: &Service,
    shapes: &Shapes,
) -> HashMap<Table, Arc<shape::Shape>> {
    let declared = service.versions.iter().flat_map(|version| &version.types);
    let served = registry.methods.values().filter(|method| *method.service == service.name);
    let served = served.filter_map(|method| match &method.role {
        Role::Standard(binding) => Some(&binding.resource),
        Role::Action { .. } => None,
    });
    let found = declared.chain(served).filter_map(|ty| shapes.get(&shape_key(ty)));
    found.map(|shape| (shape.table.clone(), shape.clone())).collect()
}

fn start_deployments(parts: &Parts, shapes: &Shapes) -> Result<Vec<Arc<Deployment>>, StartError> {
    let services = parts.registry.services.iter();
    services
        .map(|service| {
            let backend = parts.backends.get(&service.name).cloned();
            let backend =
                backend.ok_or_else(|| StartError::NoBackend { service: service.name.clone() })?;
            let shapes = shapes_of(&parts.registry, service, shapes);
            let rows = parts.routing.as_ref().map(|routing| {
                let rows = Ownership::new(backend.clone());
                routing.owners.attach(&service.name, rows.clone());
                rows
            });
            let service = &service.name;
            Ok(Deployment::start(service, backend, rows, shapes, &parts.seams, &parts.limits))
        })
        .collect()
}

fn routes(
    registry: &Registry,
    deployments: &[Arc<Deployment>],
    shapes: &Shapes,
) -> HashMap<String, Arc<Route>> {
    let mut routes = HashMap::new();
    for method in registry.methods.values() {
        let Role::Standard(binding) = &method.role else { continue };
        let deployment = deployments.iter().find(|d| *d.service == *method.service);
        let shape = shapes.get(&shape_key(&binding.resource));
        let (Some(deployment), Some(shape)) = (deployment, shape) else { continue };
        let route = Route {
            binding: binding.clone(),
            resource: shape.clone(),
            deployment: deployment.clone(),
        };
        routes.insert(method.path.clone(), Arc::new(route));
    }
    routes
}
