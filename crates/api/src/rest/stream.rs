//! Streaming answers over HTTP: newline-delimited JSON, or server-sent events where the client asks for them.
//!
//! NDJSON: each line is one message of the method's output type, as it is. If the stream fails, its last
//! line is `{"error": {...}}` as in AIP-193, and no message of a watch has a field of that name.
//! Events: the same in `data:`, with the resume token, if the message has one, as the event's `id:`, so that
//! a browser that reconnects resumes; failures are events named `error`. Comments keep idle connections open.

use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowline_base::{Seams, Status};
use bowline_schema::model::{Method, Response as Answer, Role};
use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::{self, BoxStream, StreamExt};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response};
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};

use super::failure::http_code;
use super::json_write::{WriteOptions, message_to_json, to_text};
use super::respond::decode;
use crate::wire_errors;

/// How often an idle stream of events says that it is alive.
pub(super) const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(15);

/// How a client gets a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    Events,
}

/// The response of a streaming method. It ends when `messages` does, or when the client goes.
pub(super) fn streaming(
    method: &Method,
    messages: BoxStream<'static, Result<Bytes, Status>>,
    form: Form,
    write: WriteOptions,
    seams: Seams,
) -> Response<Body> {
    let framer = Framer {
        output: method.descriptor.output(),
        token: resume_token_field(method),
        form,
        // A line is one line, whatever was asked for.
        write: WriteOptions { pretty: false, ..write },
    };
    let state = State { messages, framer, seams, ended: false };
    let chunks = stream::unfold(state, next_chunk).map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(chunks));
    let media = match form {
        Form::Lines => "application/x-ndjson",
        Form::Events => "text/event-stream",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that collect responses would hold changes back.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    headers.insert(unbuffered, HeaderValue::from_static("no"));
    response
}

/// The field of a watch's messages that a client resumes from.
fn resume_token_field(method: &Method) -> Option<FieldDescriptor> {
    let Role::Standard(binding) = &method.role else { return None };
    match &binding.response {
        Answer::Watch(watch) => watch.resume_token.clone(),
        _ => None,
    }
}

struct State {
    messages: BoxStream<'static, Result<Bytes, Status>>,
    framer: Framer,
    seams: Seams,
    ended: bool,
}

async fn next_chunk(mut state: State) -> Option<(Bytes, State)> {
    if state.ended {
        return None;
    }
    let next = match state.framer.form {
        Form::Lines => state.messages.next().await,
        Form::Events => {
            let quiet = state.seams.clock.sleep(KEEP_ALIVE_PERIOD);
            match select(state.messages.next(), quiet).await {
                Either::Left((next, _)) => next,
                Either::Right(_) => return Some((Bytes::from_static(b": keep-alive\n\n"), state)),
            }
        }
    };
    let framed = match next? {
        Ok(encoded) => decode(&state.framer.output, encoded).map(|m| state.framer.message(&m)),
        Err(status) => Err(status),
    };
    let chunk = framed.unwrap_or_else(|status| {
        state.ended = true;
        state.framer.failure(&status)
    });
    Some((chunk, state))
}

struct Framer {
    output: MessageDescriptor,
    token: Option<FieldDescriptor>,
    form: Form,
    write: WriteOptions,
}

impl Framer {
    fn message(&self, message: &DynamicMessage) -> Bytes {
        let text = message_to_json(message, self.write);
        let id = self.token.as_ref().and_then(|field| token_text(message, field));
        self.frame("", id.as_deref(), &text)
    }

    fn failure(&self, status: &Status) -> Bytes {
        let error = wire_errors::to_json(status, http_code(status).as_u16());
        self.frame("event: error\n", None, &to_text(&error, self.write))
    }

    fn frame(&self, event: &str, id: Option<&str>, text: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(text.len() + 64);
        if self.form == Form::Lines {
            out.extend_from_slice(text);
        } else {
            out.extend_from_slice(event.as_bytes());
            if let Some(id) = id {
                out.extend_from_slice(format!("id: {id}\n").as_bytes());
            }
            // Compact JSON has no line ends, so one `data:` line holds it.
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(text);
            out.push(b'\n');
        }
        out.push(b'\n');
        out.into()
    }
}

/// A resume token as the `id:` of an event; none if the message has none, or one that a line cannot hold.
fn token_text(message: &DynamicMessage, field: &FieldDescriptor) -> Option<String> {
    match message.get_field(field).as_ref() {
        Value::String(text) => {
            let fits = !text.is_empty() && !text.contains(['\n', '\r', '\0']);
            fits.then(|| text.clone())
        }
        Value::Bytes(bytes) if !bytes.is_empty() => Some(URL_SAFE_NO_PAD.encode(bytes)),
        _ => None,
    }
}
