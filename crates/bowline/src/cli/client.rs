//! The connection to a server: unary and streaming calls of any method, with messages known only by descriptor.

use std::time::Duration;

use bowline_api::engine::explain::HEADER as EXPLAIN;
use bowline_schema::model::Method;
use bytes::{Buf, BufMut};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};

use super::args::ServerArgs;
use super::error::Error;

/// Largest answer that is read. Pages of many large resources exceed the 4 MiB that one request may have.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How often an idle connection is checked, so that a watch notices a server that went away without a word.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connected server; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    channel: Channel,
    timeout: Duration,
}

impl Client {
    pub(crate) async fn connect(args: &ServerArgs) -> Result<Self, Error> {
        let endpoint = endpoint(&args.server)?
            .connect_timeout(args.timeout)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let channel = endpoint
            .connect()
            .await
            .map_err(|source| Error::Connect { server: args.server.clone(), source })?;
        Ok(Self { channel, timeout: args.timeout })
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Calls a method that answers once.
    pub(crate) async fn unary(
        &self,
        method: &Method,
        message: DynamicMessage,
    ) -> Result<DynamicMessage, Error> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout);
        let (mut grpc, path, codec) = self.prepare(method).await?;
        Ok(grpc.unary(request, path, codec).await?.into_inner())
    }

    /// The same, with what the server says of how it found its answer.
    pub(crate) async fn unary_explained(
        &self,
        method: &Method,
        message: DynamicMessage,
    ) -> Result<(DynamicMessage, Option<String>), Error> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout);
        request.metadata_mut().insert(EXPLAIN, MetadataValue::from_static("true"));
        let (mut grpc, path, codec) = self.prepare(method).await?;
        let response = grpc.unary(request, path, codec).await?;
        let explained = response.metadata().get(EXPLAIN).and_then(|value| value.to_str().ok());
        let explained = explained.map(str::to_owned);
        Ok((response.into_inner(), explained))
    }

    /// Calls a method that answers with a stream, which may last for ever.
    pub(crate) async fn stream(
        &self,
        method: &Method,
        message: DynamicMessage,
    ) -> Result<Streaming<DynamicMessage>, Error> {
        let (mut grpc, path, codec) = self.prepare(method).await?;
        Ok(grpc.server_streaming(tonic::Request::new(message), path, codec).await?.into_inner())
    }

    async fn prepare(
        &self,
        method: &Method,
    ) -> Result<(tonic::client::Grpc<Channel>, PathAndQuery, DynamicCodec), Error> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        grpc.ready().await.map_err(|error| {
            tonic::Status::unavailable(format!(
                "the connection to the server is gone: {}",
                bowline_base::chain(&error)
            ))
        })?;
        let path = PathAndQuery::try_from(method.path.as_str())
            .map_err(|_| Error::Answer { problem: format!("\"{}\" is not a path", method.path) })?;
        Ok((grpc, path, DynamicCodec { output: method.descriptor.output() }))
    }
}

/// `127.0.0.1:7400` is as good as `http://127.0.0.1:7400`.
pub(crate) fn endpoint(server: &str) -> Result<Endpoint, Error> {
    let bad = |problem| Error::BadServer { server: server.to_owned(), problem };
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    if url.starts_with("https://") {
        return Err(bad("this program speaks plain HTTP/2 only, put a TLS proxy before it"));
    }
    if !url.starts_with("http://") {
        return Err(bad("expected http://HOST:PORT"));
    }
    Endpoint::from_shared(url).map_err(|_| bad("expected http://HOST:PORT"))
}

/// Messages of descriptors instead of generated types.
struct DynamicCodec {
    output: MessageDescriptor,
}

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        DynamicDecoder { output: self.output.clone() }
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = tonic::Status;

    fn encode(
        &mut self,
        item: DynamicMessage,
        target: &mut EncodeBuf<'_>,
    ) -> Result<(), tonic::Status> {
        target.put(item.encode_to_vec().as_slice());
        Ok(())
    }
}

struct DynamicDecoder {
    output: MessageDescriptor,
}

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = tonic::Status;

    fn decode(
        &mut self,
        source: &mut DecodeBuf<'_>,
    ) -> Result<Option<DynamicMessage>, tonic::Status> {
        let bytes = source.copy_to_bytes(source.remaining());
        DynamicMessage::decode(self.output.clone(), bytes)
            .map(Some)
            .map_err(|error| tonic::Status::internal(format!("cannot read the answer: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_be_given_without_scheme() {
        assert_eq!(endpoint("localhost:7400").unwrap().uri().to_string(), "http://localhost:7400/");
    }

    #[test]
    fn a_scheme_that_cannot_be_spoken_is_refused() {
        assert!(endpoint("https://localhost").is_err());
        assert!(endpoint("unix:///tmp/x").is_err());
        assert!(endpoint("http://").is_err());
    }
}
