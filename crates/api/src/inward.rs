//! How a request gets in: what every transport does between having read a request and calling the handler.
//!
//! [`Edge`] makes the [`Context`] of a request from its headers, and lets nobody say what only deployments may say.
//! [`serve`] is a transport without a socket, for deployments of the same process and for the simulator. Not here: how
//! requests and answers look on a wire (`grpc`, `rest`).

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Seams, Status};
use bowline_node::peers::headers::{CALLER, DEPLOYMENTS_ONLY, KEPT, REQUEST_ID};
use bowline_node::peers::{first_within, naming};
use bowline_node::{Answer, Call, Callers, DeploymentId, Identified};
use bowline_schema::model::Method;
use bytes::Bytes;
use futures::stream::StreamExt;
use prost_reflect::DynamicMessage;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::engine::Engine;
use crate::engine::explain::{self, Explain};
use crate::handler::{Context, Handler, Reply};
use crate::wire_errors;

/// What a transport needs to let requests in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Edge {
    seams: Seams,
    /// `None`: there are no other deployments, and nobody is believed to be one.
    callers: Option<Arc<dyn Callers>>,
}

impl Edge {
    pub(crate) fn new(seams: Seams, callers: Option<Arc<dyn Callers>>) -> Self {
        Self { seams, callers }
    }

    pub(crate) fn callers(&self) -> Option<&Arc<dyn Callers>> {
        self.callers.as_ref()
    }

    /// The context of a request. `header` gives the value of a header by its lower-case name.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` or `CALLER_REFUSED` if it says what only a deployment may say, or says to be one, and is
    /// none that is listened to.
    pub(crate) async fn context(
        &self,
        header: impl Fn(&'static str) -> Option<String> + Send,
        deadline: Option<Duration>,
        client: Arc<str>,
    ) -> Result<Context, Status> {
        let kept = |name: &&'static str| Some(((*name).to_owned(), header(name)?));
        let headers: Vec<_> = KEPT.iter().filter_map(kept).collect();
        let explain = Explain::of_header(header(explain::HEADER).as_deref());
        let token = header(CALLER);
        // The closure must not live on across the wait below: it may look into what cannot move between threads.
        drop(header);
        let identified = self.identify(token.as_deref()).await?;
        if identified.is_none() {
            refuse_deployments_words(&headers)?;
        }
        let mut context = Context { deadline, client, headers, explain, ..Context::default() };
        if let Some(Identified { from, to }) = identified {
            context.caller = Some(from);
            context.callee = Some(to);
        }
        self.name_request(&mut context);
        Ok(context)
    }

    async fn identify(&self, token: Option<&str>) -> Result<Option<Identified>, Status> {
        match (token, &self.callers) {
            (None, _) => Ok(None),
            (Some(token), Some(callers)) => callers.identify(token).await.map(Some),
            (Some(_), None) => Err(not_identified("this server has no deployments beside it")),
        }
    }

    /// Where requests may go on to other deployments, each has an id by which all of them log it.
    fn name_request(&self, context: &mut Context) {
        if self.callers.is_some() && context.header(REQUEST_ID).is_none() {
            let id = self.seams.new_uid().to_string();
            context.headers.push((REQUEST_ID.to_owned(), id));
        }
    }
}

/// Hands a request to what answers it. Whatever is logged meanwhile says which request it was.
pub(crate) async fn call(
    handler: &dyn Handler,
    method: &Arc<Method>,
    request: DynamicMessage,
    context: Context,
) -> Result<Reply, Status> {
    check_callee(method, &context)?;
    let span = span(method, &context);
    handler.call(method, request, context).instrument(span).await
}

/// A caller was admitted to one deployment, and several share an engine. Methods that are not of one service are any's.
fn check_callee(method: &Method, context: &Context) -> Result<(), Status> {
    match &context.callee {
        Some(callee) if !method.service.is_empty() && *callee.service != *method.service => {
            let message = format!("{} is not a method of {callee}", method.path);
            Err(Status::new(Reason::CallerRefused, message))
        }
        _ => Ok(()),
    }
}

/// The span of a request that has an id; the others have nothing to be found by.
fn span(method: &Method, context: &Context) -> Span {
    let Some(request_id) = context.header(REQUEST_ID) else { return Span::none() };
    let span = tracing::info_span!("request", method = %method.path, request_id, from = Empty);
    if let Some(caller) = &context.caller {
        span.record("from", tracing::field::display(caller));
    }
    span
}

fn refuse_deployments_words(headers: &[(String, String)]) -> Result<(), Status> {
    match headers.iter().find(|(name, _)| DEPLOYMENTS_ONLY.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let text = format!("only deployments may send {name}, and the request has no {CALLER}");
            Err(not_identified(text))
        }
    }
}

fn not_identified(message: impl Into<String>) -> Status {
    Status::new(Reason::CallerNotIdentified, message)
}

/// Decodes a request; the decoder bounds nesting itself.
///
/// # Errors
/// `MALFORMED_BODY`.
pub(crate) fn decode(method: &Method, bytes: &Bytes) -> Result<DynamicMessage, Status> {
    DynamicMessage::decode(method.descriptor.input(), bytes.as_ref()).map_err(|error| {
        let what = method.descriptor.input().full_name().to_owned();
        Status::bad_field(
            Reason::MalformedBody,
            "",
            format!("the request is not a {what}: {error}"),
        )
    })
}

/// Serves `call`, which `from` sent to its deployment `to` here, as if it had come through a socket.
///
/// The proof of who calls is in the call's headers, as everywhere, and is verified here. Dropping the future, or the
/// stream that it gives, ends the work.
///
/// # Errors
/// What a client would read: bounded, and nothing of the causes of internal errors.
pub async fn serve(
    engine: &Arc<Engine>,
    from: &DeploymentId,
    to: &DeploymentId,
    call: Call,
) -> Result<Answer, Status> {
    let answer = serve_unbounded(engine, from, to, call).await;
    answer.map_err(|status| naming(to, wire_errors::public(&status)))
}

async fn serve_unbounded(
    engine: &Arc<Engine>,
    from: &DeploymentId,
    to: &DeploymentId,
    call: Call,
) -> Result<Answer, Status> {
    let Some(method) = engine.registry().methods.get(&*call.path).cloned() else {
        return Err(no_method(&call.path));
    };
    let max = engine.limits().message_bytes_max;
    if call.message.len() > max {
        let text = format!("the request has {} bytes; the limit is {max}", call.message.len());
        return Err(Status::new(Reason::LimitExceeded, text));
    }
    let header = |name: &'static str| call.header(name).map(str::to_owned);
    let client = from.to_string().into();
    let deadline = (!method.descriptor.is_server_streaming()).then_some(call.deadline).flatten();
    let context = engine.edge.context(header, deadline, client).await?;
    let is_meant = |context: &Context| {
        context.caller.as_ref() == Some(from) && context.callee.as_ref() == Some(to)
    };
    if !is_meant(&context) {
        return Err(not_identified(format!("the call is not proved to be one of {from} to {to}")));
    }
    let request = decode(&method, &call.message)?;
    let began = engine.seams.clock.monotonic();
    let reply = self::call(engine, &method, request, context.clone()).await?;
    let took = engine.seams.clock.monotonic().saturating_sub(began);
    let left = call.deadline.map(|deadline| deadline.saturating_sub(took));
    Ok(match (answer(reply, &context, to), left) {
        (Answer::Stream(messages), Some(left)) => {
            Answer::Stream(first_within(to, messages, &engine.seams, left))
        }
        (answer, _) => answer,
    })
}

fn answer(reply: Reply, context: &Context, to: &DeploymentId) -> Answer {
    match reply {
        Reply::Unary(message) => {
            let headers = context.headers_out().into_iter();
            Answer::Unary { message, headers: headers.map(|(n, v)| (n.into_owned(), v)).collect() }
        }
        Reply::Stream(messages) => {
            let to = to.clone();
            let bounded = move |message: Result<Bytes, Status>| {
                message.map_err(|status| naming(&to, wire_errors::public(&status)))
            };
            Answer::Stream(messages.map(bounded).boxed())
        }
    }
}

/// What is asked for is nothing that this server has.
pub(crate) fn no_method(path: &str) -> Status {
    Status::new(Reason::MethodNotFound, format!("no method {path} here"))
}
