//! The way to other deployments over the network: gRPC to the addresses that the picture has.
//!
//! The messages stay bytes, errors come back with their details, and whoever stops waiting ends the call on the other
//! side as well. Not here: retries, and which deployment to ask.

mod address;
mod channels;
mod codec;
mod status;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::{Reason, Seams, Status};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, select};
use tokio::sync::watch;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, KeyAndValueRef, MetadataMap};
use tracing::Instrument;

pub use codec::BytesCodec;
pub use status::{ERROR_DOMAIN, from_tonic, to_tonic, tonic_code};

use crate::id::DeploymentId;
use crate::identity::Signers;
use crate::peers::{Answer, Call, Peers, first_within, naming, span, unreachable};
use crate::picture::Picture;
use channels::{Channel, Channels};

/// The callee is told this much less than the time left, at most a tenth of it, so that its own word on being late
/// comes in time: it says more than silence.
const EARLIER_MAX: Duration = Duration::from_millis(50);

/// Reaches deployments by gRPC, at the addresses of a picture.
#[derive(Debug)]
pub struct NetworkPeers {
    seams: Seams,
    signers: Arc<Signers>,
    picture: watch::Receiver<Arc<Picture>>,
    channels: Channels,
    /// The picture that the channels were last compared with.
    compared: Mutex<Arc<Picture>>,
}

impl NetworkPeers {
    /// `signers` has the keys of all deployments on whose behalf calls are made. Connects to nobody yet.
    pub fn new(
        seams: Seams,
        signers: Arc<Signers>,
        picture: watch::Receiver<Arc<Picture>>,
    ) -> Self {
        let compared = Mutex::new(picture.borrow().clone());
        Self { seams, signers, picture, channels: Channels::default(), compared }
    }

    fn channel(
        &self,
        from: &DeploymentId,
        to: &DeploymentId,
        call: &Call,
    ) -> Result<Channel, Status> {
        let picture = self.picture.borrow().clone();
        self.drop_old_channels(&picture);
        let address = address::of(&picture, from, to)
            .ok_or_else(|| unreachable(to, "no address of it is known"))?;
        self.channels.get(address, call.streams).map_err(|error| unreachable(to, error))
    }

    fn drop_old_channels(&self, picture: &Arc<Picture>) {
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&compared, picture) {
            self.channels.keep(&address::all(picture));
            *compared = picture.clone();
        }
    }

    /// Does `work` within the time that a call has.
    async fn within<T>(
        &self,
        to: &DeploymentId,
        deadline: Option<Duration>,
        work: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, Status> {
        let work = async { work.await.map_err(|status| failure(to, &status)) };
        let Some(deadline) = deadline else { return work.await };
        match select(std::pin::pin!(work), self.seams.clock.sleep(deadline)).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => Err(silence(to, deadline)),
        }
    }

    async fn unary(
        &self,
        channel: Channel,
        to: &DeploymentId,
        call: Call,
    ) -> Result<Answer, Status> {
        let request = request(&call)?;
        let path = path(&call)?;
        let mut channel = channel;
        let answered = self.within(to, call.deadline, async {
            ready(&mut channel).await?;
            channel.unary(request, path, BytesCodec).await
        });
        let (metadata, message, _) = answered.await?.into_parts();
        Ok(Answer::Unary { message, headers: headers(&metadata) })
    }

    async fn stream(
        &self,
        channel: Channel,
        to: &DeploymentId,
        call: Call,
    ) -> Result<Answer, Status> {
        let began = self.seams.clock.monotonic();
        let request = request(&call)?;
        let path = path(&call)?;
        let mut channel = channel;
        let opened = self.within(to, call.deadline, async {
            ready(&mut channel).await?;
            channel.server_streaming(request, path, BytesCodec).await
        });
        let messages = opened.await?.into_inner();
        let callee = to.clone();
        let messages = messages.map(move |m| m.map_err(|status| failure(&callee, &status))).boxed();
        let Some(deadline) = call.deadline else { return Ok(Answer::Stream(messages)) };
        let took = self.seams.clock.monotonic().saturating_sub(began);
        let left = deadline.saturating_sub(took);
        Ok(Answer::Stream(first_within(to, messages, &self.seams, left)))
    }
}

#[async_trait]
impl Peers for NetworkPeers {
    async fn call(
        &self,
        from: &DeploymentId,
        to: &DeploymentId,
        mut call: Call,
    ) -> Result<Answer, Status> {
        self.signers.sign(from, to, &mut call)?;
        let channel = self.channel(from, to, &call)?;
        let span = span(from, to, &call);
        async {
            if call.streams {
                self.stream(channel, to, call).await
            } else {
                self.unary(channel, to, call).await
            }
        }
        .instrument(span)
        .await
    }
}

/// Completes when the channel can take a call, which a pool of connections always can.
async fn ready(channel: &mut Channel) -> Result<(), tonic::Status> {
    channel.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))
}

fn request(call: &Call) -> Result<tonic::Request<Bytes>, Status> {
    let mut request = tonic::Request::new(call.message.clone());
    for (name, value) in &call.headers {
        let key = AsciiMetadataKey::from_bytes(name.as_bytes());
        let value = AsciiMetadataValue::try_from(value.as_str());
        let (Ok(key), Ok(value)) = (key, value) else {
            return Err(Status::new(Reason::Internal, format!("the header {name} cannot be sent")));
        };
        request.metadata_mut().append(key, value);
    }
    if let Some(deadline) = call.deadline.filter(|_| !call.streams) {
        request.set_timeout(deadline.saturating_sub(EARLIER_MAX.min(deadline / 10)));
    }
    Ok(request)
}

fn path(call: &Call) -> Result<http::uri::PathAndQuery, Status> {
    let bad = |_| Status::new(Reason::Internal, format!("{} is no path of a method", call.path));
    call.path.parse().map_err(bad)
}

/// Headers of the answer that are text.
fn headers(metadata: &MetadataMap) -> Vec<(String, String)> {
    let text = |entry| match entry {
        KeyAndValueRef::Ascii(key, value) => {
            Some((key.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        }
        KeyAndValueRef::Binary(..) => None,
    };
    metadata.iter().filter_map(text).filter(|(name, _)| name.starts_with("bowline-")).collect()
}

/// What a failed call means to the caller: what the callee answered, or that it could not be reached.
fn failure(to: &DeploymentId, status: &tonic::Status) -> Status {
    if let Some(answered) = from_tonic(status) {
        return naming(to, answered);
    }
    match status.code() {
        tonic::Code::OutOfRange => {
            Status::new(Reason::LimitExceeded, format!("the answer of {to} is too large"))
        }
        tonic::Code::Unimplemented => {
            Status::new(Reason::MethodNotImplemented, format!("{to} does not have this method"))
        }
        _ => {
            // Addresses and causes are for the log, not for clients.
            tracing::info!(%to, code = ?status.code(), error = %causes(status), "call failed");
            unreachable(to, "the connection failed")
        }
    }
}

fn silence(to: &DeploymentId, deadline: Duration) -> Status {
    unreachable(to, format!("it did not answer within {} ms", deadline.as_millis()))
}

/// The text of an error with those of its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
