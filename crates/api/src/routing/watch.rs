//! Watches over several regions: which regions, from where, and who merges them.
//!
//! Resume tokens that clients hold say of which region each place is, also where one region is all that is watched: a
//! place in one store's log means nothing in another's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_node::Scope;
use bowline_node::peers::headers::{LOCAL, PART};
use futures::FutureExt;
use futures::stream::unfold;
use prost::Message;
use prost_reflect::{DynamicMessage, Value};

use super::forward::Outgoing;
use super::hop::SentAs;
use super::plan::Plan;
use super::sources::{Messages, Opener};
use super::token::ResumeOf;
use super::{watch_stateful, watch_stateless};
use crate::engine::request::Request;
use crate::engine::{Engine, Route};
use crate::handler::{Context, Reply};
use crate::watch::Origin;

/// How long the opening of one region's stream may take.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// A watch over several regions, before it has opened anything.
pub(crate) struct Wanted<'a> {
    pub(crate) out: &'a Outgoing,
    pub(crate) route: &'a Arc<Route>,
    pub(crate) request: Request<'a>,
    /// What is watched, to notice regions that join later.
    pub(crate) scope: Option<Scope>,
}

impl Engine {
    pub(crate) async fn watch_routed(
        self: &Arc<Self>,
        out: &Outgoing,
        route: &Arc<Route>,
        message: DynamicMessage,
        plan: Plan,
        scope: Option<Scope>,
    ) -> Result<Messages, Status> {
        let request = Request::new(&route.binding, message);
        let me = &out.routing.region;
        let mut regions = match plan {
            Plan::Merge(regions) => regions,
            _ => BTreeSet::from([me.clone()]),
        };
        let is_alone = |regions: &BTreeSet<Arc<str>>| regions.iter().all(|region| region == me);
        let kind = request.enum_name(&request.fields.watch.kind).unwrap_or_default();
        if !kind.ends_with("STATELESS") {
            if is_alone(&regions) {
                return self.watch_here(route, request.message, out.context.clone()).await;
            }
            let wanted = Wanted { out, route, request, scope };
            let watch = watch_stateful::open(self, wanted, regions).await?;
            return Ok(Box::pin(unfold(watch, |mut w| async { w.next().await.map(|m| (m, w)) })));
        }
        let (mut tokens, is_reset) = self.resume(out, &request)?;
        regions.extend(tokens.keys().cloned());
        if is_alone(&regions) {
            self.await_position(&route.deployment, &out.context).await?;
            let token = tokens.remove(me).unwrap_or_default();
            let origin = Origin { token, is_reset, region: Some(me.clone()) };
            return self.watch_stateless(route, &request, &out.context, origin).await;
        }
        let regions = regions.into_iter().map(|region| {
            let token = tokens.remove(&region).unwrap_or_default();
            (region, token)
        });
        let regions = regions.collect();
        let wanted = Wanted { out, route, request, scope };
        let watch = watch_stateless::open(self, wanted, regions, is_reset).await?;
        Ok(Box::pin(unfold(watch, |mut w| async { w.next().await.map(|m| (m, w)) })))
    }

    /// Where each region goes on; and whether the client has to drop all it has, since a region of it is no more.
    fn resume(
        &self,
        out: &Outgoing,
        request: &Request<'_>,
    ) -> Result<(BTreeMap<Arc<str>, String>, bool), Status> {
        let text = request.text(&request.fields.watch.resume_token);
        if text.is_empty() {
            return Ok((BTreeMap::new(), false));
        }
        let tokens = ResumeOf::decode(&text).map_err(|error| {
            Status::bad_field(Reason::InvalidResumeToken, "resume_token", error.to_string())
        })?;
        let service = &out.method.service;
        let is_there = |region: &Arc<str>| out.routing.is_deployed(service, region);
        if tokens.0.keys().all(is_there) {
            return Ok((tokens.0, false));
        }
        Ok((BTreeMap::new(), true))
    }

    /// A watch of this deployment alone.
    async fn watch_here(
        self: &Arc<Self>,
        route: &Arc<Route>,
        message: DynamicMessage,
        context: Context,
    ) -> Result<Messages, Status> {
        match self.call_here(route, message, context).await? {
            Reply::Stream(messages) => Ok(messages),
            Reply::Unary(_) => Err(Status::new(Reason::Internal, "a watch does not stream")),
        }
    }

    /// Opens one region's part of a watch, this one's too.
    pub(crate) fn opener(self: &Arc<Self>, wanted: &Wanted<'_>, sent: SentAs) -> Opener {
        let (engine, out) = (self.clone(), wanted.out.clone());
        let (route, template) = (wanted.route.clone(), wanted.request.message.clone());
        Arc::new(move |region, token| {
            let (engine, mut out) = (engine.clone(), out.clone());
            let (route, mut message) = (route.clone(), template.clone());
            if let Some(field) = &route.binding.request.watch.resume_token {
                message.set_field(field, Value::String(token));
            }
            async move {
                if region == out.routing.region {
                    let context = as_deployment(&out, sent);
                    return engine.watch_here(&route, message, context).await;
                }
                out.until = engine.seams.clock.monotonic().saturating_add(OPEN_MAX);
                let message = message.encode_to_vec().into();
                engine.send_for_stream(&out, &region, message, sent).await
            }
            .boxed()
        })
    }

    /// The regions that a watch should listen to by now; nothing if that cannot be told.
    pub(crate) async fn regions_now(
        &self,
        out: &Outgoing,
        scope: Option<&Scope>,
    ) -> BTreeSet<Arc<str>> {
        let Some(scope) = scope else { return BTreeSet::new() };
        let service = &out.method.service;
        let regions = out.routing.owners.regions(service, scope).await.unwrap_or_default();
        regions.into_iter().filter(|region| out.routing.is_deployed(service, region)).collect()
    }
}

/// The context by which this deployment asks itself what it asks others.
fn as_deployment(out: &Outgoing, sent: SentAs) -> Context {
    let mut context = super::hop::begun_anew(&out.context);
    context.caller = Some(out.routing.me(&out.method.service));
    let mut says = |name: &str| context.headers.push((name.to_owned(), "1".to_owned()));
    says(LOCAL);
    if sent == SentAs::Part {
        says(PART);
    }
    context
}
