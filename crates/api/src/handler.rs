//! The one interface between transports (gRPC, REST) and what answers requests (the engine, registered actions).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::Status;
use bowline_node::DeploymentId;
use bowline_schema::model::Method;
use bytes::Bytes;
use futures::stream::BoxStream;
use prost_reflect::DynamicMessage;

use crate::engine::explain::{self, Explain};

/// What a transport knows about a request besides its message.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Time left when the request arrived; the transport enforces it as well.
    pub deadline: Option<Duration>,
    /// Who is connected, for per-client limits: the peer's address without port.
    pub client: Arc<str>,
    /// Headers that the engine looks at, lower-case (`cache-control`, `x-request-id`).
    pub headers: Vec<(String, String)>,
    /// Where a list says how it was read, if the client asked for it; transports hand it on as a header.
    pub explain: Explain,
    /// The deployment that sent this request, if one did and proved it.
    pub caller: Option<DeploymentId>,
    /// The deployment that `caller` meant: where several are served, methods that all of them have need it.
    pub callee: Option<DeploymentId>,
    /// Headers of the answer, for whoever answers to fill.
    pub answer_headers: AnswerHeaders,
}

impl Context {
    /// A request header that the engine is told of, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What the transport sends as headers of the answer, once the handler has answered.
    pub(crate) fn headers_out(&self) -> Vec<(Cow<'static, str>, String)> {
        let mut all = self.answer_headers.all();
        if let Some(explained) = self.explain.header() {
            all.push((explain::HEADER.into(), explained.to_owned()));
        }
        all
    }
}

/// Headers of an answer. All clones are the same place; the transport reads it when the answer, or the stream, is there.
#[derive(Clone, Debug, Default)]
pub struct AnswerHeaders(Arc<Mutex<BTreeMap<Cow<'static, str>, String>>>);

impl AnswerHeaders {
    /// Sets a header; `name` is in lower case. A transport leaves out what it cannot send: `value` is printable ASCII.
    pub fn set(&self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.lock().insert(name.into(), value.into());
    }

    /// What was set so far, by name.
    pub fn all(&self) -> Vec<(Cow<'static, str>, String)> {
        self.lock().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Cow<'static, str>, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer: encoded messages of the method's output type, so that stored bytes pass through undecoded.
pub enum Reply {
    Unary(Bytes),
    Stream(BoxStream<'static, Result<Bytes, Status>>),
}

/// Answers requests of any method of the registry. Transports only translate.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// `request` is of the method's input type. A streaming method answers [`Reply::Stream`].
    async fn call(
        &self,
        method: &Arc<Method>,
        request: DynamicMessage,
        context: Context,
    ) -> Result<Reply, Status>;
}
