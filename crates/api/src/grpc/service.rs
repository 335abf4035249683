//! The tower service behind every gRPC path: finds the method, runs it, turns errors into gRPC's.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bowline_base::Status;
use bowline_schema::model::Method;
use bytes::Bytes;
use futures::future::{BoxFuture, Either};
use futures::stream::{BoxStream, StreamExt};
use tonic::body::Body;
use tonic::metadata::{AsciiMetadataKey, KeyRef, MetadataValue};
use tonic::server::{Grpc, ServerStreamingService, UnaryService};
use tonic::{Request, Response};

use super::BytesCodec;
use crate::engine::Engine;
use crate::handler::{Context, Reply};
use crate::inward::{self, decode, no_method};
use crate::wire_errors::to_tonic;

/// The address of the client, put into a request's extensions by the server.
#[derive(Clone, Debug)]
pub struct ClientAddress(pub Arc<str>);

/// Serves every method of an engine's registry.
#[derive(Clone)]
pub struct GrpcService {
    engine: Arc<Engine>,
}

impl GrpcService {
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    async fn serve(self, request: http::Request<Body>) -> http::Response<Body> {
        let Some(method) = self.engine.registry().methods.get(request.uri().path()).cloned() else {
            let status = to_tonic(&no_method(request.uri().path()));
            // gRPC says UNIMPLEMENTED for a method that a server does not have; the reason stays.
            let (message, details) = (status.message(), status.details());
            let details = Bytes::copy_from_slice(details);
            let status = tonic::Status::with_details(tonic::Code::Unimplemented, message, details);
            return status.into_http();
        };
        let max = self.engine.limits().message_bytes_max;
        let mut grpc =
            Grpc::new(BytesCodec).apply_max_message_size_config(Some(max), Some(usize::MAX));
        let call = Call { engine: self.engine, method };
        if call.method.descriptor.is_client_streaming() {
            let message = format!("{} streams requests, which is not supported", call.method.path);
            return tonic::Status::unimplemented(message).into_http();
        }
        if call.method.descriptor.is_server_streaming() {
            grpc.server_streaming(call, request).await
        } else {
            grpc.unary(call, request).await
        }
    }
}

impl tower::Service<http::Request<Body>> for GrpcService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.serve(request).await) })
    }
}

/// One call of one method.
#[derive(Clone)]
struct Call {
    engine: Arc<Engine>,
    method: Arc<Method>,
}

type Answer<T> = Result<Response<T>, tonic::Status>;

impl UnaryService<Bytes> for Call {
    type Response = Bytes;
    type Future = Either<Ready<Answer<Bytes>>, BoxFuture<'static, Answer<Bytes>>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        if is_plain(&request)
            && let Some(body) = self.engine.get_from_memory(&self.method.path, request.get_ref())
        {
            return Either::Left(ready(Ok(Response::new(body))));
        }
        let call = self.clone();
        Either::Right(Box::pin(async move {
            match call.run(request).await {
                Ok((Reply::Unary(bytes), context)) => Ok(with_headers(bytes, &context)),
                Ok((Reply::Stream(_), _)) => Err(tonic::Status::internal("answer is a stream")),
                Err(status) => Err(to_tonic(&status)),
            }
        }))
    }
}

impl ServerStreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, tonic::Status>>;
    type Future = BoxFuture<'static, Answer<Self::ResponseStream>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let call = self.clone();
        Box::pin(async move {
            let (messages, context) = match call.run(request).await {
                Ok((Reply::Stream(messages), context)) => (messages, context),
                Ok((Reply::Unary(bytes), context)) => {
                    (futures::stream::iter([Ok(bytes)]).boxed(), context)
                }
                Err(status) => return Err(to_tonic(&status)),
            };
            let messages = messages.map(|m| m.map_err(|status| to_tonic(&status))).boxed();
            Ok(with_headers(messages, &context))
        })
    }
}

impl Call {
    async fn run(&self, request: Request<Bytes>) -> Result<(Reply, Context), Status> {
        let context = context(self, &request).await?;
        let message = decode(&self.method, request.get_ref())?;
        let reply = inward::call(&self.engine, &self.method, message, context.clone()).await?;
        Ok((reply, context))
    }
}

/// The context of a request, once its caller is known if it says to be a deployment.
async fn context(call: &Call, request: &Request<Bytes>) -> Result<Context, Status> {
    let metadata = request.metadata();
    let text = |name: &str| metadata.get(name).and_then(|v| v.to_str().ok());
    let client = request.extensions().get::<ClientAddress>();
    let client = client.map_or_else(|| "unknown".into(), |address| address.0.clone());
    let deadline = text("grpc-timeout").and_then(timeout);
    call.engine.edge.context(|name| text(name).map(str::to_owned), deadline, client).await
}

/// Whether no header of a request is one of ours: those ask for more than the answer, or must be proved.
fn is_plain(request: &Request<Bytes>) -> bool {
    let is_ours = |key: KeyRef<'_>| match key {
        KeyRef::Ascii(key) => key.as_str().starts_with("bowline-"),
        KeyRef::Binary(_) => false,
    };
    !request.metadata().keys().any(is_ours)
}

/// The answer with the headers that whoever answered has set.
fn with_headers<T>(message: T, context: &Context) -> Response<T> {
    let mut response = Response::new(message);
    for (name, value) in context.headers_out() {
        let name = AsciiMetadataKey::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, MetadataValue::try_from(value)) {
            response.metadata_mut().insert(name, value);
        }
    }
    response
}

/// Reads `grpc-timeout`: up to 8 digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("1H"), Some(Duration::from_secs(3600)));
        for bad in ["", "m", "123456789S", "-1S", "5x", "é"] {
            assert_eq!(timeout(bad), None, "{bad:?}");
        }
    }
}
