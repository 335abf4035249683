//! Sending a request on to the deployment that answers it, whole and undecoded, and its answer back.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_node::peers::headers::{CONSISTENCY_TOKEN, UNREACHABLE};
use bowline_node::{Answer, Call, DeploymentId};
use bowline_schema::model::Method;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::Routing;
use super::hop::{SentAs, carry, time_for_peer};
use crate::engine::{Engine, explain};
use crate::handler::{Context, Reply};
use crate::watch::closing;

/// Answer headers that a client sees whoever answered.
const BROUGHT_BACK: [&str; 3] = [CONSISTENCY_TOKEN, UNREACHABLE, explain::HEADER];

/// A request as it is sent on, any number of times.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) routing: Arc<Routing>,
    pub(crate) method: Arc<Method>,
    pub(crate) context: Context,
    /// When, in monotonic time, an answer must be there.
    pub(crate) until: Duration,
}

impl Outgoing {
    fn path(&self) -> Arc<str> {
        self.method.path.as_str().into()
    }

    /// The deployment of the method's service in `region`.
    pub(crate) fn deployment(&self, region: &Arc<str>) -> DeploymentId {
        DeploymentId::new(self.method.service.as_str(), region.clone())
    }
}

impl Engine {
    /// Sends `message` on to `region`, and gives the answer of a unary method.
    ///
    /// # Errors
    /// What the region answers; `UNAVAILABLE` naming it if it did not answer in time.
    pub(crate) async fn send(
        &self,
        out: &Outgoing,
        region: &Arc<str>,
        message: Bytes,
        sent: SentAs,
    ) -> Result<Bytes, Status> {
        let call = Call::unary(out.path(), message);
        match self.exchange(out, region, call, sent).await? {
            Answer::Unary { message, headers } => {
                if sent != SentAs::Part {
                    bring_back(headers, &out.context);
                }
                Ok(message)
            }
            Answer::Stream(_) => Err(unexpected()),
        }
    }

    /// As [`Engine::send`], for a method that streams. Dropping the stream ends it on the other side too.
    pub(crate) async fn send_for_stream(
        &self,
        out: &Outgoing,
        region: &Arc<str>,
        message: Bytes,
        sent: SentAs,
    ) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        let call = Call::stream(out.path(), message);
        match self.exchange(out, region, call, sent).await? {
            Answer::Stream(messages) => Ok(messages),
            Answer::Unary { .. } => Err(unexpected()),
        }
    }

    async fn exchange(
        &self,
        out: &Outgoing,
        region: &Arc<str>,
        call: Call,
        sent: SentAs,
    ) -> Result<Answer, Status> {
        let to = out.deployment(region);
        if out.routing.is_disabled(&to) {
            return Err(unreachable(&to, "it is disabled"));
        }
        let left = out.until.saturating_sub(self.seams.clock.monotonic());
        let left = time_for_peer(left);
        let call = carry(call, &out.context, sent).within(Some(left));
        let me = out.routing.me(&to.service);
        tokio::select! {
            biased;
            answer = out.routing.peers.call(&me, &to, call) => answer,
            () = self.seams.clock.sleep(left) => {
                Err(unreachable(&to, "it did not answer in time; a write may still happen there"))
            }
        }
    }

    /// Forwards a request to its owner.
    pub(crate) async fn forward(
        &self,
        out: &Outgoing,
        region: &Arc<str>,
        message: Bytes,
    ) -> Result<Reply, Status> {
        if !out.method.descriptor.is_server_streaming() {
            return self.send(out, region, message, SentAs::Forwarded).await.map(Reply::Unary);
        }
        let open = self.watches.open(&out.context)?;
        let messages = self.send_for_stream(out, region, message, SentAs::Forwarded).await?;
        let closed = self.watches.closing();
        let end = stream::once(async move {
            closed.cancelled_owned().await;
            Err(closing())
        });
        let is_end = |message: &Result<Bytes, Status>| message.is_err();
        let both = stream::select(messages.map(Some).chain(stream::iter([None])), end.map(Some));
        // The stream is over with the peer's, with the first error, or with this node.
        let ended = both.scan((open, false), move |(_, is_over), message| {
            let message = message.filter(|_| !*is_over);
            *is_over = message.as_ref().is_none_or(is_end);
            futures::future::ready(message)
        });
        Ok(Reply::Stream(ended.boxed()))
    }
}

fn bring_back(headers: Vec<(String, String)>, context: &Context) {
    for (name, value) in headers {
        if let Some(known) = BROUGHT_BACK.iter().find(|known| **known == name) {
            context.answer_headers.set(*known, value);
        }
    }
}

fn unexpected() -> Status {
    tracing::error!("a peer streams what is not a stream, or the other way round");
    Status::new(Reason::Internal, "another region answered in a way not understood")
}

pub(crate) fn unreachable(to: &DeploymentId, why: &str) -> Status {
    bowline_node::peers::unreachable(to, why)
}

/// Whether `status` says that a deployment could not answer now, rather than that the request is wrong.
pub(crate) fn is_away(status: &Status) -> bool {
    matches!(
        status.reason,
        Reason::Unavailable | Reason::DeadlineExceeded | Reason::TooManyRequests
    )
}
