//! The tower service behind every gRPC path: finds the method, runs it, turns errors into gRPC's.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_schema::model::Method;
use bytes::Bytes;
use futures::future::{BoxFuture, Either};
use futures::stream::{BoxStream, StreamExt};
use prost_reflect::DynamicMessage;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::server::{Grpc, ServerStreamingService, UnaryService};
use tonic::{Request, Response};

use super::codec::BytesCodec;
use crate::engine::Engine;
use crate::engine::explain::{Explain, HEADER};
use crate::handler::{Context, Handler, Reply};
use crate::wire_errors::to_tonic;

/// The address of the client, put into a request's extensions by the server.
#[derive(Clone, Debug)]
pub struct ClientAddress(pub Arc<str>);

/// Headers that are handed to the engine and to actions.
const HEADERS_KEPT: [&str; 3] = ["cache-control", "x-request-id", "traceparent"];

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
            let path = request.uri().path();
            let status = Status::new(Reason::MethodNotFound, format!("no method {path} here"));
            // gRPC says UNIMPLEMENTED for a method that a server does not have.
            let mut status = to_tonic(&status);
            status = tonic::Status::unimplemented(status.message().to_owned());
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
        if let Some(body) = self.engine.get_from_memory(&self.method.path, request.get_ref()) {
            return Either::Left(ready(Ok(Response::new(body))));
        }
        let call = self.clone();
        Either::Right(Box::pin(async move {
            let context = context(&request);
            let explain = context.explain.clone();
            match call.run(request, context).await {
                Ok(Reply::Unary(bytes)) => Ok(explained(Response::new(bytes), &explain)),
                Ok(Reply::Stream(_)) => Err(tonic::Status::internal("answer is a stream")),
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
            let context = context(&request);
            let messages = match call.run(request, context).await {
                Ok(Reply::Stream(messages)) => messages,
                Ok(Reply::Unary(bytes)) => futures::stream::iter([Ok(bytes)]).boxed(),
                Err(status) => return Err(to_tonic(&status)),
            };
            Ok(Response::new(messages.map(|m| m.map_err(|status| to_tonic(&status))).boxed()))
        })
    }
}

impl Call {
    async fn run(&self, request: Request<Bytes>, context: Context) -> Result<Reply, Status> {
        let message = decode(&self.method, request.get_ref())?;
        self.engine.call(&self.method, message, context).await
    }
}

/// Decodes a request; the decoder bounds nesting itself.
fn decode(method: &Method, bytes: &Bytes) -> Result<DynamicMessage, Status> {
    DynamicMessage::decode(method.descriptor.input(), bytes.as_ref()).map_err(|error| {
        let what = method.descriptor.input().full_name().to_owned();
        Status::bad_field(
            Reason::MalformedBody,
            "",
            format!("the request is not a {what}: {error}"),
        )
    })
}

fn context(request: &Request<Bytes>) -> Context {
    let metadata = request.metadata();
    let text = |name: &str| metadata.get(name).and_then(|v| v.to_str().ok());
    let client = request.extensions().get::<ClientAddress>();
    let headers = HEADERS_KEPT.iter().filter_map(|name| {
        let value = text(name)?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    Context {
        deadline: text("grpc-timeout").and_then(timeout),
        client: client.map_or_else(|| "unknown".into(), |address| address.0.clone()),
        headers: headers.collect(),
        explain: Explain::of_header(text(HEADER)),
    }
}

/// The answer, with how it was found if the client wanted to know.
fn explained(mut response: Response<Bytes>, explain: &Explain) -> Response<Bytes> {
    if let Some(value) = explain.header().and_then(|text| MetadataValue::try_from(text).ok()) {
        response.metadata_mut().insert(HEADER, value);
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
