//! The way to another deployment: a call of one of its methods, however it travels.
//!
//! Over the network it is a gRPC call; within one process, and in the simulator, the same call without a socket. Calls
//! carry what the protocol needs beside the message as headers; whoever implements [`Peers`] adds the caller's identity.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::Status;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::id::DeploymentId;

/// A call of a method of another deployment.
#[derive(Clone, Debug)]
pub struct Call {
    /// `/package.Service/Method`.
    pub path: Arc<str>,
    /// The encoded request.
    pub message: Bytes,
    /// Time left; no answer after it counts. Streams: the time until the first message.
    pub deadline: Option<Duration>,
    /// Lower-case names. Nothing here is trusted by the callee unless it follows from the caller's identity.
    pub headers: Vec<(String, String)>,
}

/// What a deployment answered.
pub enum Answer {
    Unary {
        /// The encoded response.
        message: Bytes,
        headers: Vec<(String, String)>,
    },
    /// Encoded responses; ends after the first error. Dropping it ends the call.
    Stream(BoxStream<'static, Result<Bytes, Status>>),
}

impl Answer {
    /// The message of a unary answer.
    ///
    /// # Errors
    /// `INTERNAL` if the answer is a stream.
    pub fn unary(self) -> Result<Bytes, Status> {
        match self {
            Self::Unary { message, .. } => Ok(message),
            Self::Stream(_) => Err(Status::new(
                bowline_base::Reason::Internal,
                "a stream came instead of one answer",
            )),
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
