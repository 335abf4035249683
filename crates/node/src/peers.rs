//! The way to another deployment: a call of one of its methods, however it travels.
//!
//! Over the network it is a gRPC call; within one process, and in the simulator, the same call without a socket. Calls
//! carry what the protocol needs beside the message as headers; whoever implements [`Peers`] adds the caller's identity.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::seams::BoxFuture;
use bowline_base::{Reason, Seams, Status};
use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::{BoxStream, StreamExt};

use crate::id::DeploymentId;

pub mod headers;

/// A call of a method of another deployment.
#[derive(Clone, Debug)]
pub struct Call {
    /// `/package.Service/Method`.
    pub path: Arc<str>,
    /// The encoded request.
    pub message: Bytes,
    /// Whether the method answers a stream: the wire does not say.
    pub streams: bool,
    /// Time left; no answer after it counts. Streams: the time until the first message.
    pub deadline: Option<Duration>,
    /// Lower-case names. Nothing here is trusted by the callee unless it follows from the caller's identity.
    pub headers: Vec<(String, String)>,
}

impl Call {
    /// A call of a method with one answer, without a deadline of its own.
    pub fn unary(path: impl Into<Arc<str>>, message: impl Into<Bytes>) -> Self {
        let (path, message) = (path.into(), message.into());
        Self { path, message, streams: false, deadline: None, headers: Vec::new() }
    }

    /// A call of a method that answers a stream.
    pub fn stream(path: impl Into<Arc<str>>, message: impl Into<Bytes>) -> Self {
        Self { streams: true, ..Self::unary(path, message) }
    }

    /// The same call with this much time.
    #[must_use]
    pub fn within(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same call with one more header; `name` is in lower case.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Encoded messages of a stream, until it ends or fails.
pub type Messages = BoxStream<'static, Result<Bytes, Status>>;

/// What a deployment answered.
pub enum Answer {
    Unary {
        /// The encoded response.
        message: Bytes,
        headers: Vec<(String, String)>,
    },
    /// Encoded responses; ends after the first error. Dropping it ends the call.
    Stream(Messages),
}

impl Answer {
    /// The message of a unary answer.
    ///
    /// # Errors
    /// `INTERNAL` if the answer is a stream.
    pub fn unary(self) -> Result<Bytes, Status> {
        match self {
            Self::Unary { message, .. } => Ok(message),
            Self::Stream(_) => {
                Err(Status::new(Reason::Internal, "a stream came instead of one answer"))
            }
        }
    }
}

/// Reaches other deployments. A caller never waits for a lock or transaction meanwhile.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Calls a method of `to`, on behalf of `from`.
    ///
    /// # Errors
    /// What `to` answered, unchanged; [`bowline_base::Reason::Unavailable`] with metadata `region` and `service` if it
    /// cannot be reached, which says nothing about whether the call was carried out.
    async fn call(
        &self,
        from: &DeploymentId,
        to: &DeploymentId,
        call: Call,
    ) -> Result<Answer, Status>;
}

/// `to` cannot be reached: `UNAVAILABLE` with metadata `region` and `service`. `why` is a clause for people.
pub fn unreachable(to: &DeploymentId, why: impl std::fmt::Display) -> Status {
    let status = Status::new(Reason::Unavailable, format!("{to} cannot be reached: {why}"));
    naming_always(to, status)
}

/// What `to` answered; its own `UNAVAILABLE` gets metadata `region` and `service`, as callers expect it.
pub fn naming(to: &DeploymentId, status: Status) -> Status {
    if status.reason == Reason::Unavailable && !status.metadata.contains_key("region") {
        naming_always(to, status)
    } else {
        status
    }
}

fn naming_always(to: &DeploymentId, status: Status) -> Status {
    status.with_metadata("region", &*to.region).with_metadata("service", &*to.service)
}

/// The messages of a stream that `to` has opened; it ends with `DEADLINE_EXCEEDED` if the first does not come within `left`.
pub fn first_within(
    to: &DeploymentId,
    messages: Messages,
    seams: &Seams,
    left: Duration,
) -> Messages {
    let text = format!("{to} opened the stream and sent nothing within {} ms", left.as_millis());
    let late = naming_always(to, Status::new(Reason::DeadlineExceeded, text));
    type State = (Messages, Option<(BoxFuture<()>, Status)>);
    let state: State = (messages, Some((seams.clock.sleep(left), late)));
    let next = |(mut messages, timer): State| async move {
        let Some((timer, late)) = timer else {
            return messages.next().await.map(|message| (message, (messages, None)));
        };
        let first = match select(messages.next(), timer).await {
            Either::Left((message, _)) => message?,
            // What comes instead of the stream drops it, which ends the call.
            Either::Right(_) => return Some((Err(late), (futures::stream::empty().boxed(), None))),
        };
        Some((first, (messages, None)))
    };
    futures::stream::unfold(state, next).boxed()
}

/// The span of one call between deployments.
pub fn span(from: &DeploymentId, to: &DeploymentId, call: &Call) -> tracing::Span {
    let request_id = call.header(headers::REQUEST_ID).unwrap_or_default();
    tracing::info_span!("peer_call", %from, %to, method = %call.path, request_id)
}
