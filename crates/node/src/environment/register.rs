//! Registers one deployment: looks, plans, writes, and does it again until it holds or cannot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Code, Reason, Status};
use bowline_wire::goten::meta::v1 as wire;
use bowline_wire::meta::MetaResource;
use futures::future::{Either, select, try_join_all};

use super::plan::{Plan, Stored, Write, plan};
use super::registration::Registration;
use super::{Shared, convert};
use crate::backoff::Backoff;
use crate::layering::{self, Fault};
use crate::meta_client::MetaClient;

/// Why an attempt did not succeed.
enum Obstacle {
    /// Services that start at the same time may clear it away.
    Layering(Vec<Fault>),
    /// Another attempt may succeed.
    Failed(Status),
    /// No other attempt will.
    Refused(Status),
}

pub(super) struct Registrar {
    pub(super) shared: Arc<Shared>,
    pub(super) registration: Registration,
    pub(super) client: MetaClient,
}

impl Registrar {
    /// Returns when the deployment is registered.
    ///
    /// # Errors
    /// What keeps it from being registered, whatever else happens.
    pub(super) async fn run(&self) -> Result<(), Status> {
        let mut backoff = Backoff::default();
        let mut layering_since: Option<Duration> = None;
        loop {
            let obstacle = match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(obstacle) => obstacle,
            };
            let now = self.shared.parts.seams.clock.monotonic();
            let waits = match obstacle {
                Obstacle::Refused(status) => return Err(status),
                Obstacle::Failed(status) => {
                    layering_since = None;
                    status.to_string()
                }
                Obstacle::Layering(faults) => {
                    let since = *layering_since.get_or_insert(now);
                    let is_over = now.saturating_sub(since) >= self.shared.parts.patience.imports;
                    if is_over || !faults.iter().all(Fault::may_pass) {
                        return Err(layering::refusal(&faults));
                    }
                    backoff.reset();
                    layering::refusal(&faults).message
                }
            };
            self.note(&waits);
            self.wait(backoff.next(&self.shared.parts.seams), layering_since.is_some()).await;
        }
    }

    /// Waits for a while, or less if the picture changes and that may be of use.
    async fn wait(&self, wait: Duration, for_picture: bool) {
        let shared = &self.shared;
        let mut picture = shared.picture.subscribe();
        let change = async {
            if !for_picture || picture.changed().await.is_err() {
                futures::future::pending::<()>().await;
            }
        };
        let wait = if for_picture { shared.parts.patience.look } else { wait };
        match select(Box::pin(change), shared.parts.seams.clock.sleep(wait)).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    async fn attempt(&self) -> Result<(), Obstacle> {
        let Registration { deployment, service, info } = &self.registration;
        let faults = layering::check(&self.shared.picture.borrow(), deployment, service, info);
        if !faults.is_empty() {
            return Err(Obstacle::Layering(faults));
        }
        self.note("the registry");
        let stored = self.look().await.map_err(judge)?;
        let regions = self.shared.bootstrap.regions();
        let plan = plan(&self.registration, regions.iter().map(AsRef::as_ref), &stored);
        let plan = plan.map_err(|gone| {
            Obstacle::Refused(Status::new(
                Reason::RegistrationRefused,
                format!(
                    "{deployment} was declared gone: its generation is {}, registered is {}",
                    gone.ours, gone.registered
                ),
            ))
        })?;
        if let Some(newer) = plan.newer {
            tracing::warn!(%deployment, generation = service.generation, newer, "a newer configuration registered this service; this one changes nothing of it");
        }
        if !plan.is_empty() {
            tracing::debug!(%deployment, "registering:\n{plan}");
        }
        self.carry_out(plan).await.map_err(judge)
    }

    /// What is registered already, newest from its owners.
    async fn look(&self) -> Result<Stored, Status> {
        let id = &self.registration.deployment;
        let regions = self.shared.bootstrap.regions();
        let regions = try_join_all(regions.iter().map(|region| {
            let name = convert::region_name(region);
            async move { self.client.get::<wire::Region>(&name).await }
        }));
        let service_name = convert::service_name(&id.service);
        let service = self.client.get::<wire::Service>(&service_name);
        let (regions, service) = futures::try_join!(regions, service)?;
        let regions = regions.into_iter().flatten().map(|region| region.name).collect();
        if service.is_none() {
            // What is below a service that does not exist does not exist either, and nobody could say who owns it.
            return Ok(Stored { regions, ..Stored::default() });
        }
        let deployment_name = convert::deployment_name(id);
        let resources = self.client.list::<wire::Resource>(&service_name);
        let deployment = self.client.get::<wire::Deployment>(&deployment_name);
        let (resources, deployment) = futures::try_join!(resources, deployment)?;
        let by_name = |resource: wire::Resource| (resource.name.clone(), resource);
        let resources: BTreeMap<_, _> = resources.into_iter().map(by_name).collect();
        Ok(Stored { regions, service, resources, deployment })
    }

    async fn carry_out(&self, plan: Plan) -> Result<(), Status> {
        let regions = plan.regions.into_iter().map(|region| self.write(Write::Create(region)));
        try_join_all(regions).await?;
        if let Some(service) = plan.service {
            self.write(service).await?;
        }
        let resources = plan.resources.into_iter().map(|resource| self.write(resource));
        let deployment = async {
            match plan.deployment {
                Some(deployment) => self.write(deployment).await,
                None => Ok(()),
            }
        };
        futures::try_join!(try_join_all(resources), deployment)?;
        Ok(())
    }

    async fn write<R: MetaResource>(&self, write: Write<R>) -> Result<(), Status> {
        match write {
            Write::Create(resource) => self.client.create(resource).await?,
            Write::Update(resource, mask) => self.client.update(resource, &mask).await?,
        };
        Ok(())
    }

    fn note(&self, waits_for: &str) {
        self.shared.note(&self.registration.deployment, waits_for);
    }
}

/// Whether another attempt can help: not where the request itself is what is wrong.
fn judge(status: Status) -> Obstacle {
    let is_final = status.code() == Code::InvalidArgument
        || status.code() == Code::Unimplemented
        || status.reason == Reason::RegistrationRefused;
    if is_final { Obstacle::Refused(status) } else { Obstacle::Failed(status) }
}
