//! The limit: a tonic server with nothing behind it. It hands out one body from memory and passes messages on to streams.
//!
//! Built as generated tonic code is: a named service, routed by path, under the transport server with its defaults. The
//! bench starts itself with [`FLAG`] so that the limit, too, is a process of its own.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::path::Path;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::codec::BytesCodec;
use crate::error::Error;
use crate::item::WatchResponse;
use crate::process::READY;

/// The hidden flag that makes this program the bare server.
pub(crate) const FLAG: &str = "--bare-server";

/// Answers the body.
pub(crate) const GET: &str = "/bowline.bench.Bare/Get";
/// Hands its message to all open streams, then answers nothing.
pub(crate) const PUBLISH: &str = "/bowline.bench.Bare/Publish";
/// Gives a first message that says `is_current`, then all that is published.
pub(crate) const SUBSCRIBE: &str = "/bowline.bench.Bare/Subscribe";

/// Messages that a slow stream may be behind.
const BACKLOG: usize = 16 * 1024;

/// Serves on a free port until the future is dropped; prints the ready line.
pub(crate) async fn serve(body: &Path) -> Result<(), Error> {
    let body = std::fs::read(body).map_err(Error::io(format!("read {}", body.display())))?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::io("listen"))?;
    let address = listener.local_addr().map_err(Error::io("listen"))?;
    println!("{READY}http://{address}");
    let bare = Bare { body: body.into(), published: broadcast::channel(BACKLOG).0 };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .add_service(bare)
        .serve_with_incoming(incoming)
        .await
        .map_err(|source| Error::Connect { url: address.to_string(), source })
}

#[derive(Clone)]
struct Bare {
    body: Bytes,
    published: broadcast::Sender<Bytes>,
}

impl NamedService for Bare {
    const NAME: &'static str = "bowline.bench.Bare";
}

impl tower::Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let bare = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(BytesCodec);
            Ok(match request.uri().path() {
                GET => grpc.unary(Get(bare.body), request).await,
                PUBLISH => grpc.unary(Publish(bare.published), request).await,
                SUBSCRIBE => grpc.server_streaming(Subscribe(bare.published), request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

struct Get(Bytes);

impl UnaryService<Bytes> for Get {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(self.0.clone())))
    }
}

struct Publish(broadcast::Sender<Bytes>);

impl UnaryService<Bytes> for Publish {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        // Without a stream nobody wants it.
        let _ = self.0.send(request.into_inner());
        ready(Ok(Response::new(Bytes::new())))
    }
}

struct Subscribe(broadcast::Sender<Bytes>);

impl ServerStreamingService<Bytes> for Subscribe {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let published = BroadcastStream::new(self.0.subscribe())
            .map(|message| message.map_err(|_| Status::data_loss("the stream is too slow")));
        let current = WatchResponse { is_current: true, ..WatchResponse::default() };
        let first = futures::stream::iter([Ok(current.encode_to_vec().into())]);
        ready(Ok(Response::new(first.chain(published).boxed())))
    }
}
