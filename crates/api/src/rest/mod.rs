//! REST/JSON for every method of the registry, by its HTTP rules; nothing is generated.
//!
//! Start at [`Router::call`]: `route` finds the method, `bind` makes its request message, the handler answers,
//! `respond` or `stream` writes the answer. Connections, TLS and gRPC are the server's business, not this one's.

mod bind;
mod cors;
mod failure;
mod json_read;
mod json_write;
mod path;
mod query;
mod respond;
mod route;
mod scalar;
mod site;
mod stream;
mod suggest;
mod trie;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bowline_base::{Reason, Seams, Status};
use bowline_node::Callers;
use bowline_schema::model::{Method, Registry, Role};
use futures::future::{Either, select};
use http::header::{ACCEPT, ALLOW, CONTENT_LENGTH, HOST, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request};
use http_body::Body as _;
use prost_reflect::{DynamicMessage, Kind, Value};

pub use json_read::{NESTING_MAX, check_nesting};
pub use json_write::{WriteOptions, message_to_json};
pub use site::Served;

use crate::engine::Engine;
use crate::handler::{Context, Handler, Reply};
use crate::inward::{self, Edge};
use crate::limits::Limits;
use cors::Cors;
use failure::Failure;
use query::{Query, System};
use route::{Found, Routes, allow_list};
use scalar::scalar_from_text;
use site::Site;
use stream::Form;

/// Request headers that shorten the deadline, in seconds (`2.5`).
const TIMEOUT_HEADERS: [&str; 2] = ["x-request-timeout", "x-server-timeout"];

/// How a [`Router`] behaves.
#[derive(Clone)]
pub struct RestOptions {
    pub seams: Seams,
    /// `message_bytes_max` and `request_deadline` count here.
    pub limits: Limits,
    /// Origins (`https://console.example.com`, or `*`) whose pages may read answers; none by default.
    pub allowed_origins: Vec<String>,
    /// Methods that OpenAPI shows.
    pub served: Served,
    /// Verifies callers that say to be deployments; nobody is believed to be one by default.
    pub callers: Option<Arc<dyn Callers>>,
}

impl RestOptions {
    /// Standard methods are shown, and no other origin is let in.
    pub fn new(seams: Seams, limits: Limits) -> Self {
        let served = Arc::new(|method: &Method| matches!(method.role, Role::Standard(_)));
        Self { seams, limits, allowed_origins: Vec::new(), served, callers: None }
    }
}

/// Answers HTTP requests that are not gRPC. Cheap to share; holds no connection state.
pub struct Router {
    routes: Routes,
    site: Site,
    cors: Cors,
    handler: Arc<dyn Handler>,
    edge: Edge,
    seams: Seams,
    limits: Limits,
}

impl Router {
    /// Builds the tree of all HTTP rules of `registry`. Cost: linear in the rules.
    pub fn new(registry: Arc<Registry>, handler: Arc<dyn Handler>, options: RestOptions) -> Self {
        Self {
            routes: Routes::new(&registry),
            site: Site::new(registry, options.served),
            cors: Cors::new(options.allowed_origins),
            handler,
            edge: Edge::new(options.seams.clone(), options.callers),
            seams: options.seams,
            limits: options.limits,
        }
    }

    /// A router in front of `engine`, with its registry, limits and seams; OpenAPI shows what it serves.
    pub fn for_engine(engine: &Arc<Engine>) -> Self {
        let mut options = RestOptions::new(engine.seams.clone(), engine.limits().clone());
        let shown = engine.clone();
        options.served = Arc::new(move |method| shown.serves(method));
        options.callers = engine.edge.callers().cloned();
        Self::new(engine.registry().clone(), Arc::new(engine.clone()), options)
    }

    /// Answers one request. `client` is the peer's address without its port.
    ///
    /// Never fails: errors are responses, as AIP-193 JSON. Dropping the future, or the body of a streaming
    /// response, ends the work behind it.
    pub async fn call(&self, request: Request<Body>, client: Arc<str>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let origin = self.cors.admitted(&head.headers);
        let mut response = if head.method == http::Method::OPTIONS {
            self.options(&head, origin.is_some()).unwrap_or_else(plain_failure)
        } else {
            self.answer(&head, body, client).await
        };
        if head.method == http::Method::HEAD {
            response = without_body(response);
        }
        let nosniff = HeaderValue::from_static("nosniff");
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        self.cors.mark(&mut response, origin);
        response
    }

    async fn answer(&self, head: &request::Parts, body: Body, client: Arc<str>) -> Response<Body> {
        if matches!(head.method, http::Method::GET | http::Method::HEAD)
            && let Some(page) = self.site.page(head.uri.path())
        {
            return page;
        }
        let deadline = match deadline(&head.headers, self.limits.request_deadline) {
            Ok(deadline) => deadline,
            Err(status) => return plain_failure(status.into()),
        };
        let mut system = System::default();
        let work = Box::pin(self.serve(head, body, client, deadline, &mut system));
        let late = self.seams.clock.sleep(deadline);
        // A stream is past this point as soon as it is open; only its beginning has a deadline.
        let answered = match select(work, late).await {
            Either::Left((answered, _)) => answered,
            Either::Right(_) => Err(Failure::from(too_late(deadline))),
        };
        answered.unwrap_or_else(|failure| failure.into_response(system.write))
    }

    async fn serve(
        &self,
        head: &request::Parts,
        body: Body,
        client: Arc<str>,
        deadline: Duration,
        system: &mut System,
    ) -> Result<Response<Body>, Failure> {
        let mut query = Query::parse(head.uri.query().unwrap_or_default())?;
        let found = match self.routes.find(&head.method, head.uri.path(), host(head)) {
            Ok(found) => found,
            Err(failure) => {
                *system = query.take_system(None).unwrap_or_default();
                return Err(failure);
            }
        };
        let (method, rule) = (&found.route.method, &found.route.rule);
        *system = query.take_system(Some(&method.descriptor.input()))?;
        *system = system.with_accept(head.headers.get(ACCEPT));
        let request = self.request(&found, head, body, &query).await?;
        let deadline = (!method.descriptor.is_server_streaming()).then_some(deadline);
        let context = self.edge.context(|name| text(&head.headers, name), deadline, client).await?;
        let reply = inward::call(&*self.handler, method, request, context.clone()).await?;
        let mut response = match reply {
            Reply::Unary(encoded) => respond::unary(method, rule, encoded, system.write)?,
            Reply::Stream(messages) => {
                let form = if system.events { Form::Events } else { Form::Lines };
                let seams = self.seams.clone();
                stream::streaming(method, messages, form, system.write, seams)
            }
        };
        add_headers(&mut response, &context);
        Ok(response)
    }

    async fn request(
        &self,
        found: &Found<'_, '_>,
        head: &request::Parts,
        body: Body,
        query: &Query,
    ) -> Result<DynamicMessage, Failure> {
        let method = &found.route.method;
        if method.descriptor.is_client_streaming() {
            let text = "a method that takes a stream of requests is served over gRPC only";
            return Err(Status::new(Reason::MethodNotImplemented, text).into());
        }
        let body = bind::read_body(&head.headers, body, self.limits.message_bytes_max).await?;
        let parts = bind::Parts { path: &found.path, query, headers: &head.headers, body };
        let mut request = bind::bind(found.route, &parts)?;
        resume(&mut request, method, &head.headers);
        Ok(request)
    }

    fn options(&self, head: &request::Parts, admitted: bool) -> Result<Response<Body>, Failure> {
        let path = head.uri.path();
        let mut allowed = self.routes.allowed(path)?;
        if self.site.page(path).is_some() {
            allowed.extend(["GET".to_owned(), "HEAD".to_owned()]);
        }
        if allowed.is_empty() {
            return Err(
                Status::new(Reason::MethodNotFound, "nothing is served at this path").into()
            );
        }
        let allow = HeaderValue::from_str(&allow_list(&allowed))
            .map_err(|_| Status::new(Reason::Internal, "an HTTP method that is no token"))?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if admitted && cors::is_preflight(&head.method, &head.headers) {
            cors::permit(&mut response, &allow);
        }
        response.headers_mut().insert(ALLOW, allow);
        Ok(response)
    }
}

fn plain_failure(failure: Failure) -> Response<Body> {
    failure.into_response(WriteOptions::default())
}

/// The same response without its body, but with its length.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Body::empty())
}

/// The host that the client means, without its port.
fn host(head: &request::Parts) -> Option<&str> {
    let header = || head.headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = head.uri.host().or_else(header)?;
    Some(host.split(':').next().unwrap_or(host))
}

/// The time that a request may take: what its headers say, at most `deadline_max`.
fn deadline(headers: &HeaderMap, deadline_max: Duration) -> Result<Duration, Status> {
    for name in TIMEOUT_HEADERS {
        let Some(value) = headers.get(name) else { continue };
        let bad = || Status::bad_field(Reason::InvalidField, name, "expected seconds, like 2.5");
        let seconds: f64 =
            value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
        return Ok(Duration::try_from_secs_f64(seconds).map_err(|_| bad())?.min(deadline_max));
    }
    Ok(deadline_max)
}

fn too_late(deadline: Duration) -> Status {
    let text = format!("the request took longer than its deadline of {deadline:?}");
    Status::new(Reason::DeadlineExceeded, text)
}

/// The value of a header, if it is one and is text.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Adds the headers that whoever answered has set.
fn add_headers(response: &mut Response<Body>, context: &Context) {
    for (name, value) in context.headers_out() {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// A browser that reconnects to a stream of events says the last `id:` that it saw: the resume token.
fn resume(request: &mut DynamicMessage, method: &Method, headers: &HeaderMap) {
    let Role::Standard(binding) = &method.role else { return };
    let Some(field) = &binding.request.watch.resume_token else { return };
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let Some(last) = last.filter(|_| !request.has_field(field)) else { return };
    // A damaged id goes on as it is: the watch refuses damaged tokens with a reason of its own.
    let damaged = || match field.kind() {
        Kind::Bytes => Some(Value::Bytes(last.to_owned().into())),
        _ => None,
    };
    if let Some(value) = scalar_from_text(&field.kind(), last).or_else(damaged) {
        request.set_field(field, value);
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod tests;
