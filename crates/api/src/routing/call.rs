//! Routing of one request: what it is about, who owns that, and then the engine here, or the way there.
//!
//! Pure decisions are in `target` and `plan`. A disagreement about ownership is settled by asking anew, once.

use std::collections::BTreeSet;
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_node::place::Places;
use bowline_node::{Place, Scope};
use bowline_schema::model::{Method, Verb};
use bowline_store::layout;
use prost::Message;
use prost_reflect::DynamicMessage;

use super::Routing;
use super::action::{self, Said};
use super::forward::Outgoing;
use super::hop::Hop;
use super::plan::{Owned, Plan, Target, plan};
use super::target::target;
use crate::engine::request::Request;
use crate::engine::{Engine, Route};
use crate::handler::{Context, Reply};

/// How often a request is routed: once more after a disagreement about the owner.
const ATTEMPTS: usize = 2;

impl Engine {
    /// Answers a standard request where its owner is.
    pub(crate) async fn call_routed(
        self: &Arc<Self>,
        routing: &Arc<Routing>,
        method: &Arc<Method>,
        route: &Arc<Route>,
        message: DynamicMessage,
        context: Context,
    ) -> Result<Reply, Status> {
        let hop = Hop::of(&context);
        let Some(places) = route.resource.places.as_ref().filter(|_| !hop.is_local()) else {
            return self.call_here(route, message, context).await;
        };
        let out = self.outgoing(routing, method, &context);
        let request = Request::new(&route.binding, message);
        match target(route, places, &request) {
            Target::Nothing if route.binding.verb == Verb::Watch => {
                let message = request.message;
                self.watch_routed(&out, route, message, Plan::Local, None).await.map(Reply::Stream)
            }
            Target::Nothing => self.call_here(route, request.message, context).await,
            Target::Many => self.batch_get_routed(&out, route, places, request).await,
            Target::Scope(scope) => {
                let regions = self.regions(routing, route, &scope).await?;
                self.call_collection(&out, route, request.message, regions, &scope).await
            }
            Target::One(place) => self.call_owner(&out, route, request.message, &place).await,
        }
    }

    /// A request as it would be sent on.
    pub(crate) fn outgoing(
        &self,
        routing: &Arc<Routing>,
        method: &Arc<Method>,
        context: &Context,
    ) -> Outgoing {
        let longest = self.limits.request_deadline;
        let deadline = context.deadline.map_or(longest, |deadline| deadline.min(longest));
        Outgoing {
            routing: routing.clone(),
            method: method.clone(),
            context: context.clone(),
            until: self.seams.clock.monotonic().saturating_add(deadline),
        }
    }

    /// Answers a request about one place.
    async fn call_owner(
        self: &Arc<Self>,
        out: &Outgoing,
        route: &Arc<Route>,
        message: DynamicMessage,
        place: &Place,
    ) -> Result<Reply, Status> {
        let is_write = matches!(route.binding.verb, Verb::Create | Verb::Update | Verb::Delete);
        let mut message = Some(message);
        for attempt in 1.. {
            let is_last = attempt == ATTEMPTS;
            let refused = match self.plan_for(out, place).await? {
                Plan::Local => {
                    // Only a write can find out that it is not the owner, and be tried again.
                    let kept = (is_write && !is_last).then(|| message.clone()).flatten();
                    let message = message.take().ok_or_else(lost)?;
                    let answer = self.call_here(route, message, out.context.clone()).await;
                    message_back(&mut { kept }, answer)
                }
                Plan::Forward(region) => {
                    let encoded = message.as_ref().ok_or_else(lost)?.encode_to_vec();
                    let answer = self.forward(out, &region, encoded.into()).await;
                    message_back(&mut message, answer)
                }
                Plan::NotOwned { region, epoch } => {
                    Err((not_owned(place, &region, epoch), message.take()))
                }
                Plan::Merge(_) => Err((lost(), None)),
            };
            match refused {
                Ok(reply) => return Ok(reply),
                Err((status, Some(kept))) if status.reason == Reason::NotOwned && !is_last => {
                    out.routing.owners.doubt(&out.method.service, place);
                    message = Some(kept);
                }
                Err((status, _)) => return Err(status),
            }
        }
        Err(lost())
    }

    async fn plan_for(&self, out: &Outgoing, place: &Place) -> Result<Plan, Status> {
        let (routing, service) = (&out.routing, out.method.service.as_str());
        let owner = routing.owners.owner(service, place).await?;
        let owned = Owned::By { region: owner.region, epoch: owner.epoch };
        let hop = Hop::of(&out.context);
        Ok(plan(&routing.region, hop, &owned, |region| routing.is_deployed(service, region)))
    }

    /// The regions that a collection request is about.
    async fn regions(
        &self,
        routing: &Routing,
        route: &Route,
        scope: &Scope,
    ) -> Result<BTreeSet<Arc<str>>, Status> {
        let service = &route.deployment.service;
        match routing.owners.regions(service, scope).await {
            // Nothing can be below a holder that is not there; so says a list in one region too.
            Err(status)
                if status.reason == Reason::ResourceNotFound
                    && route.binding.verb == Verb::List =>
            {
                Ok(BTreeSet::new())
            }
            regions => regions,
        }
    }

    async fn call_collection(
        self: &Arc<Self>,
        out: &Outgoing,
        route: &Arc<Route>,
        message: DynamicMessage,
        regions: BTreeSet<Arc<str>>,
        scope: &Scope,
    ) -> Result<Reply, Status> {
        let (routing, service) = (&out.routing, out.method.service.as_str());
        let hop = Hop::of(&out.context);
        let is_deployed = |region: &str| routing.is_deployed(service, region);
        let plan = plan(&routing.region, hop, &Owned::In(regions), is_deployed);
        if route.binding.verb == Verb::Watch {
            return self
                .watch_routed(out, route, message, plan, Some(scope.clone()))
                .await
                .map(Reply::Stream);
        }
        match plan {
            Plan::Merge(regions) => {
                let request = Request::new(&route.binding, message);
                self.list_merged(out, route, request, regions).await.map(Reply::Unary)
            }
            _ => self.call_here(route, message, out.context.clone()).await,
        }
    }

    /// Answers an action that names a resource where the resource's owner is; `None`: here.
    pub(crate) async fn call_action_routed(
        self: &Arc<Self>,
        routing: &Arc<Routing>,
        method: &Arc<Method>,
        message: &DynamicMessage,
        context: &Context,
    ) -> Option<Result<Reply, Status>> {
        if Hop::of(context).is_local() {
            return None;
        }
        let out = self.outgoing(routing, method, context);
        let place = match action::said(method, message) {
            Said::Names(names) => self.place_of_action(method, &names)?,
            Said::Region(region) => {
                let is_here = *region == *routing.region || Hop::of(context) != Hop::First;
                if is_here {
                    return None;
                }
                let message = message.encode_to_vec().into();
                return Some(self.forward(&out, &region.into(), message).await);
            }
        };
        for attempt in 1..=ATTEMPTS {
            let region = match self.plan_for(&out, &place).await {
                Ok(Plan::Forward(region)) => region,
                Ok(Plan::NotOwned { .. }) if attempt < ATTEMPTS => {
                    routing.owners.doubt(&method.service, &place);
                    continue;
                }
                Ok(Plan::NotOwned { region, epoch }) => {
                    return Some(Err(not_owned(&place, &region, epoch)));
                }
                Ok(Plan::Local | Plan::Merge(_)) => return None,
                Err(status) => return Some(Err(status)),
            };
            match self.forward(&out, &region, message.encode_to_vec().into()).await {
                Err(status) if status.reason == Reason::NotOwned && attempt < ATTEMPTS => {
                    routing.owners.doubt(&method.service, &place);
                }
                answer => return Some(answer),
            }
        }
        None
    }

    /// The place of the first of `names` that has one, by the types of the method's version: as a name, else as a parent.
    fn place_of_action(&self, method: &Method, names: &[String]) -> Option<Place> {
        let deployment = self.deployments.iter().find(|d| *d.service == *method.service)?;
        let service = self.registry.service(&method.service)?;
        let version = service.versions.iter().find(|v| v.version == method.version)?;
        let places: Vec<&Places> = version
            .types
            .iter()
            .filter_map(|ty| deployment.shapes.get(&layout::resources(&ty.version, &ty.kind)))
            .filter_map(|shape| shape.places.as_ref())
            .collect();
        let of_name = |name: &String| places.iter().find_map(|places| places.of(name));
        let of_parent = |name: &String| {
            places.iter().find_map(|places| places.scope(name).and_then(Scope::into_place))
        };
        names.iter().find_map(of_name).or_else(|| names.iter().find_map(of_parent))
    }
}

/// The answer; or the failure with the message that another attempt can be made with.
fn message_back(
    message: &mut Option<DynamicMessage>,
    answer: Result<Reply, Status>,
) -> Result<Reply, (Status, Option<DynamicMessage>)> {
    answer.map_err(|status| (status, message.take()))
}

/// This deployment is not the owner, as far as it knows, and must not send the request on once more.
pub(crate) fn not_owned(place: &Place, region: &str, epoch: u64) -> Status {
    let message = format!("{place} is owned in {region}, since epoch {epoch}");
    Status::new(Reason::NotOwned, message)
        .with_metadata("region", region)
        .with_metadata("epoch", epoch.to_string())
}

fn lost() -> Status {
    Status::new(Reason::Internal, "a request could not be routed")
}
