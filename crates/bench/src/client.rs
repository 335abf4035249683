//! A gRPC client over a few connections: unary calls and streams of bytes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::codec::BytesCodec;
use crate::error::Error;

/// No call of a bench may hang longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What the server may send ahead, as clients that read a lot set it.
const WINDOW: u32 = 1 << 20;

/// Connections to one server; calls are spread over them by number.
#[derive(Clone)]
pub(crate) struct Client {
    channels: Vec<Channel>,
}

impl Client {
    /// Opens `connections` connections to `url`.
    pub(crate) async fn connect(url: &str, connections: usize) -> Result<Self, Error> {
        Self::connect_from(url, connections, |_| Ipv4Addr::LOCALHOST).await
    }

    /// Opens `connections` connections; number `n` comes from the address `source(n)`, which must be a loopback one.
    pub(crate) async fn connect_from(
        url: &str,
        connections: usize,
        source: impl Fn(usize) -> Ipv4Addr,
    ) -> Result<Self, Error> {
        let mut channels = Vec::new();
        for n in 0..connections {
            channels.push(connect_one(url, source(n)).await?);
        }
        Ok(Self { channels })
    }

    pub(crate) async fn unary(
        &self,
        n: usize,
        path: &'static str,
        message: Bytes,
    ) -> Result<Bytes, Status> {
        let mut grpc = self.grpc(n).await?;
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        let answer = grpc.unary(request, PathAndQuery::from_static(path), BytesCodec).await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn stream(
        &self,
        n: usize,
        path: &'static str,
        message: Bytes,
    ) -> Result<Streaming<Bytes>, Status> {
        let mut grpc = self.grpc(n).await?;
        let path = PathAndQuery::from_static(path);
        let answer = grpc.server_streaming(Request::new(message), path, BytesCodec).await?;
        Ok(answer.into_inner())
    }

    async fn grpc(&self, n: usize) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channels[n % self.channels.len()].clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }
}

async fn connect_one(url: &str, source: Ipv4Addr) -> Result<Channel, Error> {
    let failed = |source| Error::Connect { url: url.to_owned(), source };
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(failed)?
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW);
    let connector = tower::service_fn(move |uri: http::Uri| async move {
        let address: SocketAddr = uri
            .authority()
            .and_then(|authority| authority.as_str().parse().ok())
            .ok_or_else(|| std::io::Error::other("the server's URL has no IP address and port"))?;
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
        socket.connect(address).await.map(TokioIo::new)
    });
    endpoint.connect_with_connector(connector).await.map_err(failed)
}
