//! Opening a watch: the request is checked whole before the stream starts.

use std::collections::VecDeque;
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_resource::page::query_hash;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};

use super::feed::Feed;
use super::message::WatchShape;
use super::one::One;
use super::start::{self, Start};
use super::stateful::Stateful;
use super::stateless::{Phase, Stateless};
use crate::engine::request::Request;
use crate::engine::select::Selection;
use crate::engine::{Engine, Route, errors};
use crate::handler::Context;

type Messages = BoxStream<'static, Result<Bytes, Status>>;

/// Where a STATELESS watch begins, and whom its tokens are for.
pub(crate) struct Origin {
    /// The token of this deployment's store; empty: none.
    pub(crate) token: String,
    /// The client is told to drop all it has.
    pub(crate) is_reset: bool,
    /// Tokens say that they are of this region; `None`: they are for somebody who knows.
    pub(crate) region: Option<Arc<str>>,
}

impl Engine {
    /// Starts a watch of a collection.
    pub(crate) async fn watch(
        self: &Arc<Self>,
        route: &Arc<Route>,
        request: Request<'_>,
        context: &Context,
    ) -> Result<Messages, Status> {
        let kind = request.enum_name(&request.fields.watch.kind).unwrap_or_default();
        if kind.ends_with("STATELESS") {
            let token = request.text(&request.fields.watch.resume_token);
            let origin = Origin { token, is_reset: false, region: None };
            self.watch_stateless(route, &request, context, origin).await
        } else {
            let watch = Stateful::open(self, route, &request, context)?;
            Ok(unfold(watch, |mut w| async { w.next().await.map(|m| (m, w)) }).boxed())
        }
    }

    /// Starts a STATELESS watch of a collection, as far as it is in this deployment.
    pub(crate) async fn watch_stateless(
        self: &Arc<Self>,
        route: &Arc<Route>,
        request: &Request<'_>,
        context: &Context,
        origin: Origin,
    ) -> Result<Messages, Status> {
        let fields = request.fields;
        for (field, is_set) in [
            (&fields.page_token, !request.text(&fields.page_token).is_empty()),
            (&fields.order_by, !request.text(&fields.order_by).is_empty()),
            (&fields.page_size, request.number(&fields.page_size) != 0),
        ] {
            if let (Some(field), true) = (field, is_set) {
                let why =
                    "is only for STATEFUL watches; a STATELESS watch has no order and no pages";
                return Err(Status::bad_field(Reason::InvalidField, field.name(), why));
            }
        }
        let selection = Selection::of_collection(&route.resource.ty, request, &self.limits)?;
        let query_hash = watch_hash(route, request);
        let chunk = chunk_size(request, self.limits.watch_chunk_max)?;
        let start = self.start_of(route, request, &origin, query_hash).await?;
        let shape = shape_of(route)?;
        let open = self.watches.open(context)?;
        let from = match start {
            Start::After(position) => position,
            Start::Snapshot | Start::Reset => *route.deployment.backend.head().borrow(),
        };
        let feed = feed(self, route, &selection, from);
        let phase = match start {
            Start::After(_) => Phase::CatchUp { until: from },
            Start::Snapshot | Start::Reset => Phase::Snapshot { after: None },
        };
        let mut watch = Stateless {
            engine: self.clone(),
            route: route.clone(),
            selection,
            shape,
            feed,
            chunk,
            query_hash,
            region: origin.region,
            phase,
            out: VecDeque::new(),
            _open: open,
        };
        if start == Start::Reset {
            watch.hard_reset();
        }
        Ok(unfold(watch, |mut w| async { w.next().await.map(|m| (m, w)) }).boxed())
    }

    async fn start_of(
        &self,
        route: &Route,
        request: &Request<'_>,
        origin: &Origin,
        query_hash: u64,
    ) -> Result<Start, Status> {
        let fields = &request.fields.watch;
        let hub = &route.deployment.hub;
        let token = &origin.token;
        if origin.is_reset {
            return Ok(Start::Reset);
        }
        match request.submessage(&fields.starting_time) {
            Some(time) if token.is_empty() => start::from_time(hub, timestamp(&time)?).await,
            _ => start::from_token(hub, token, query_hash),
        }
    }

    /// Starts a watch of one resource.
    pub(crate) async fn watch_one(
        self: &Arc<Self>,
        route: &Arc<Route>,
        request: Request<'_>,
        context: &Context,
    ) -> Result<Messages, Status> {
        let watch = One::open(self, route, &request, context).await?;
        Ok(unfold(watch, |mut w| async { w.next().await.map(|m| (m, w)) }).boxed())
    }
}

/// A feed for what `selection` can see.
pub(super) fn feed(
    engine: &Engine,
    route: &Route,
    selection: &Selection,
    from: bowline_store::Position,
) -> Feed {
    let scope = selection.scope.clone();
    let prefix = scope.prefix();
    // The hub knows whole segments only.
    let prefix = &prefix[..prefix.rfind('/').map_or(0, |at| at + 1)];
    Feed::open(
        &route.deployment.hub,
        &route.resource.table,
        prefix,
        Box::new({
            let scope = scope.clone();
            move |name| scope.contains(name)
        }),
        from,
        &engine.seams,
        engine.watches.closing(),
    )
}

pub(crate) fn shape_of(route: &Route) -> Result<WatchShape, Status> {
    WatchShape::of(&route.resource.ty, &route.binding.response)
        .ok_or_else(|| Status::new(Reason::Internal, "the method's response is not one of a watch"))
}

/// Changes in one message: what the request says, at most the limit, which is the default too.
pub(crate) fn chunk_size(request: &Request<'_>, max: usize) -> Result<usize, Status> {
    let wish = request.number(&request.fields.watch.max_chunk_size);
    match usize::try_from(wish) {
        Ok(0) => Ok(max),
        Ok(wish) if wish <= max => Ok(wish),
        Ok(wish) => Err(errors::limit("max_chunk_size", wish, max, "changes")),
        Err(_) => {
            Err(Status::bad_field(Reason::InvalidField, "max_chunk_size", "must not be negative"))
        }
    }
}

/// What a resume token is bound to: everything that decides what the watch shows.
fn watch_hash(route: &Route, request: &Request<'_>) -> u64 {
    let fields = request.fields;
    let mask = request.mask(&fields.field_mask).unwrap_or_default().join(",");
    query_hash(&[
        "watch",
        &route.resource.table.namespace,
        &route.resource.table.kind,
        &request.text(&fields.parent),
        &request.text(&fields.filter),
        &mask,
        &request.enum_name(&fields.view).unwrap_or_default(),
    ])
}

fn timestamp(message: &prost_reflect::DynamicMessage) -> Result<jiff::Timestamp, Status> {
    let number = |name: &str| message.get_field_by_name(name).map(|v| v.into_owned());
    let seconds = number("seconds").and_then(|v| v.as_i64()).unwrap_or(0);
    let nanos = number("nanos").and_then(|v| v.as_i32()).unwrap_or(0);
    jiff::Timestamp::new(seconds, nanos).map_err(|_| {
        Status::bad_field(Reason::InvalidField, "starting_time", "is not a valid timestamp")
    })
}
