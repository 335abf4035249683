//! One port for everything: gRPC, gRPC-Web, REST, reflection and health, on HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_base::Seams;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt};

use crate::engine::Engine;
use crate::grpc::{ClientAddress, GrpcService, side_services};
use crate::rest;

/// Streams that one HTTP/2 connection may have open.
const STREAMS_PER_CONNECTION_MAX: u32 = 10_000;
/// Streams that a client opened and gave up before they were looked at; with more of them the connection ends. The
/// library's own limit is 20, which one client that runs into its deadlines reaches, and another deployment, whose
/// connection carries the calls of many, sooner.
const GIVEN_UP_MAX: usize = 10_000;
/// How long open requests may take to finish once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Bytes that an HTTP/2 peer may send ahead on one stream and on one connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("build reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// A server that is accepting connections.
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    stopped: CancellationToken,
    engine: Arc<Engine>,
}

impl Server {
    /// Listens on `address` (port 0: any free one) and serves `engine`.
    ///
    /// # Errors
    /// The address cannot be listened on, or the descriptors do not fit together.
    pub async fn start(engine: Arc<Engine>, address: SocketAddr) -> Result<Self, ServeError> {
        Self::start_on(engine, Self::bind(address).await?).await
    }

    /// Takes an address before there is anything to serve; who connects meanwhile waits.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
        let bound = TcpListener::bind(address).await;
        bound.map_err(|source| ServeError::Listen { address, source })
    }

    /// Serves `engine` to whoever connects to `listener`.
    ///
    /// # Errors
    /// The descriptors do not fit together.
    pub async fn start_on(engine: Arc<Engine>, listener: TcpListener) -> Result<Self, ServeError> {
        let side = side_services(engine.registry()).await.map_err(ServeError::Reflection)?;
        let unspecified = SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        let address = listener
            .local_addr()
            .map_err(|source| ServeError::Listen { address: unspecified, source })?;
        let front = Arc::new(Front::new(engine.clone(), side));
        let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
        let seams = engine.seams.clone();
        let accepting = accept(listener, front, seams.clone(), stop.clone(), stopped.clone());
        seams.tasks.spawn("accept", Box::pin(accepting));
        Ok(Self { address, stop, stopped, engine })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets open requests finish (bounded), ends watches, and closes the stores.
    pub async fn stop(&self) {
        self.engine.watches.close();
        self.stop.cancel();
        self.stopped.cancelled().await;
        self.engine.close().await;
    }
}

async fn accept(
    listener: TcpListener,
    front: Arc<Front>,
    seams: Seams,
    stop: CancellationToken,
    stopped: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly; trying again at once would spin.
                    tracing::warn!(%error, "accept");
                    seams.clock.sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        serve_connection(stream, peer, &front, &seams, &graceful);
    }
    drop(listener);
    tokio::select! {
        biased;
        () = graceful.shutdown() => {}
        () = seams.clock.sleep(DRAIN) => tracing::warn!("open requests were cut off"),
    }
    stopped.cancel();
}

fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    front: &Arc<Front>,
    seams: &Seams,
    graceful: &GracefulShutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "set TCP_NODELAY");
    }
    let client: Arc<str> = peer.ip().to_string().into();
    let front = front.clone();
    let service = hyper::service::service_fn(move |request| {
        let (front, client) = (front.clone(), client.clone());
        async move { Ok::<_, Infallible>(front.serve(request, client).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_pending_accept_reset_streams(GIVEN_UP_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    seams.tasks.spawn(
        "connection",
        Box::pin(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        }),
    );
}

/// Decides by content type and path who answers a request.
struct Front {
    grpc: GrpcService,
    side: Routes,
    rest: rest::Router,
}

impl Front {
    fn new(engine: Arc<Engine>, side: Routes) -> Self {
        let rest = rest::Router::for_engine(&engine);
        Self { grpc: GrpcService::new(engine), side, rest }
    }

    async fn serve(
        &self,
        mut request: http::Request<Incoming>,
        client: Arc<str>,
    ) -> http::Response<Body> {
        match Protocol::of(&request) {
            Protocol::Rest => {
                let answer = self.rest.call(request.map(axum::body::Body::new), client).await;
                answer.map(Body::new)
            }
            protocol => {
                request.extensions_mut().insert(ClientAddress(client));
                self.serve_grpc(request.map(Body::new), protocol).await
            }
        }
    }

    async fn serve_grpc(
        &self,
        request: http::Request<Body>,
        protocol: Protocol,
    ) -> http::Response<Body> {
        let path = request.uri().path();
        let is_side = path.starts_with("/grpc.reflection.") || path.starts_with("/grpc.health.");
        let answer = match (is_side, protocol) {
            (false, Protocol::GrpcWeb) => {
                GrpcWebLayer::new().layer(self.grpc.clone()).oneshot(request).await
            }
            (false, _) => self.grpc.clone().call(request).await,
            (true, Protocol::GrpcWeb) => {
                GrpcWebLayer::new().layer(self.side.clone()).oneshot(request).await
            }
            (true, _) => self.side.clone().oneshot(request).await,
        };
        answer.unwrap_or_else(|never| match never {})
    }
}

/// How a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    GrpcWeb,
    Rest,
}

impl Protocol {
    fn of<B>(request: &http::Request<B>) -> Self {
        let content_type = request.headers().get(http::header::CONTENT_TYPE);
        match content_type.map(http::HeaderValue::as_bytes) {
            Some(kind) if kind.starts_with(b"application/grpc-web") => Self::GrpcWeb,
            Some(kind) if kind.starts_with(b"application/grpc") => Self::Grpc,
            _ => Self::Rest,
        }
    }
}
