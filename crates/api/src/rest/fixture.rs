//! A small library service, and a handler that writes down what reaches it. Test only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bowline_base::{Clock, Seams, Status};
use bowline_schema::model::{Method, Registry};
use bowline_schema::{Source, load};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use crate::handler::{Context, Handler, Reply};
use crate::limits::Limits;
use crate::rest::{RestOptions, Router};

/// The service of `testdata/library.proto`.
pub(crate) fn registry() -> Arc<Registry> {
    registry_of(include_str!("../../testdata/library.proto"))
}

fn registry_of(proto: &str) -> Arc<Registry> {
    let files = vec![("service.proto".to_owned(), proto.to_owned())];
    let loaded = load(&[Source::Files { service_yaml: None, files }]);
    assert_eq!(loaded.registry.services.len(), 1, "{:?}", loaded.diagnostics);
    Arc::new(loaded.registry)
}

pub(crate) fn message(name: &str) -> MessageDescriptor {
    let pool = &registry().services[0].versions[0].pool;
    pool.get_message_by_name(&format!("example.library.v1.{name}")).unwrap()
}

/// What a handler was asked.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) request: DynamicMessage,
    pub(crate) context: Context,
}

type Answer = Box<dyn Fn(&Method) -> Result<Reply, Status> + Send + Sync>;

/// Keeps the last request, and answers with what the test says; by itself with an empty message.
#[derive(Default)]
pub(crate) struct Recorder {
    seen: Mutex<Option<Seen>>,
    answer: Option<Answer>,
}

impl Recorder {
    pub(crate) fn answering(
        answer: impl Fn(&Method) -> Result<Reply, Status> + Send + Sync + 'static,
    ) -> Self {
        Self { seen: Mutex::default(), answer: Some(Box::new(answer)) }
    }

    pub(crate) fn last(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Handler for Recorder {
    async fn call(
        &self,
        method: &Arc<Method>,
        request: DynamicMessage,
        context: Context,
    ) -> Result<Reply, Status> {
        // Whatever arrives is a message that can go on the wire and come back.
        let bytes = request.encode_to_vec();
        DynamicMessage::decode(method.descriptor.input(), bytes.as_slice()).unwrap();
        let seen = Seen { method: method.descriptor.name().to_owned(), request, context };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        match &self.answer {
            Some(answer) => answer(method),
            None => Ok(Reply::Unary(Bytes::new())),
        }
    }
}

/// A router over the library, with its handler.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) recorder: Arc<Recorder>,
}

pub(crate) fn world(recorder: Recorder) -> World {
    world_with(recorder, |_| {})
}

pub(crate) fn world_with(recorder: Recorder, adapt: impl FnOnce(&mut RestOptions)) -> World {
    let recorder = Arc::new(recorder);
    let mut options = RestOptions::new(Seams::real(), Limits::default());
    options.served = Arc::new(|_| true);
    adapt(&mut options);
    World { router: Router::new(registry(), recorder.clone(), options), recorder }
}

/// A world of the type `Sensor`, with the service that Bowline makes for it.
pub(crate) fn sensors(recorder: Recorder) -> World {
    let recorder = Arc::new(recorder);
    let proto = r#"
        syntax = "proto3";
        package example.sensors.v1;
        import "google/api/resource.proto";
        message Sensor {
          option (google.api.resource) = { type: "sensors.example.com/Sensor" pattern: "sensors/{sensor}" };
          string name = 1;
        }
    "#;
    let options = RestOptions::new(Seams::real(), Limits::default());
    World { router: Router::new(registry_of(proto), recorder.clone(), options), recorder }
}

/// A world whose clock does not wait: every sleep ends when nothing else is ready.
pub(crate) fn hasty_world(recorder: Recorder) -> (World, Arc<HastyClock>) {
    let clock = Arc::new(HastyClock::default());
    let world = world_with(recorder, |options| options.seams.clock = clock.clone());
    (world, clock)
}

#[derive(Default)]
pub(crate) struct HastyClock {
    slept: Mutex<Vec<Duration>>,
}

impl HastyClock {
    /// How long the sleeps would have been, in order.
    pub(crate) fn slept(&self) -> Vec<Duration> {
        self.slept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clock for HastyClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, duration: Duration) -> bowline_base::seams::BoxFuture<()> {
        self.slept.lock().unwrap_or_else(PoisonError::into_inner).push(duration);
        Box::pin(std::future::ready(()))
    }
}

/// An answer as a test reads it.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) code: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The error's reason and message, on one line.
    pub(crate) fn error(&self) -> String {
        let error = &self.json()["error"];
        let reason = error["details"][0]["reason"].as_str().unwrap();
        format!("{} {reason}: {}", self.code, error["message"].as_str().unwrap())
    }
}

impl World {
    pub(crate) async fn send(&self, request: Request<Body>) -> Got {
        let response: Response<Body> = self.router.call(request, "10.0.0.1".into()).await;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Got { code: head.status.as_u16(), headers: head.headers, text }
    }

    /// A request with a JSON body, or none if it is empty.
    pub(crate) async fn ask(&self, method: &str, uri: &str, body: &str) -> Got {
        let mut request = Request::builder().method(method).uri(uri);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// As [`Self::ask`]; the method that was called, and its request as JSON.
    pub(crate) async fn bound(&self, method: &str, uri: &str, body: &str) -> String {
        let got = self.ask(method, uri, body).await;
        assert_eq!(got.code, 200, "{}", got.text);
        let seen = self.recorder.last().unwrap();
        let request = crate::rest::message_to_json(&seen.request, Default::default());
        format!("{} {}", seen.method, String::from_utf8(request).unwrap())
    }
}
