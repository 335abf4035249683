//! The one interface between transports (gRPC, REST) and what answers requests (the engine, registered actions).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::Status;
use bowline_schema::model::Method;
use bytes::Bytes;
use futures::stream::BoxStream;
use prost_reflect::DynamicMessage;

use crate::engine::explain::Explain;

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
