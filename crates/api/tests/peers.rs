//! Calls between deployments, over a socket and without one: who calls, until when, what comes back, and that whoever
//! stops waiting ends the work. Every test runs both ways.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bowline_api::engine::{Action, ActionRequest, Engine, Parts};
use bowline_api::handler::Reply;
use bowline_api::inward;
use bowline_api::limits::Limits;
use bowline_api::server::Server;
use bowline_base::{Detail, FieldViolation, PreconditionViolation, Reason, Seams, Status};
use bowline_node::identity::{KeyPair, Keyring, Signers, Verifier};
use bowline_node::network::NetworkPeers;
use bowline_node::peers::headers::{CALLER, FORWARDED, LOCAL};
use bowline_node::picture::{DeploymentInfo, Picture};
use bowline_node::{Answer, Call, DeploymentId, Peers};
use bowline_schema::load::load;
use bowline_schema::source::Source;
use bowline_store::cache::{CacheOptions, Cached};
use bowline_store::{Backend, Memory};
use bytes::Bytes;
use futures::StreamExt;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

const PROTO: &str = r#"
syntax = "proto3";
package example.test.v1;
import "google/api/annotations.proto";
import "google/api/resource.proto";
import "goten/types/meta.proto";

message Item {
  option (google.api.resource) = { type: "test.example.com/Item" pattern: "items/{item}" singular: "item" plural: "items" };
  string name = 1;
  goten.types.Meta metadata = 2;
}

message Ask { string what = 1; }
message Heard { string what = 1; }

service Probe {
  rpc Answer(Ask) returns (Heard) {
    option (google.api.http) = { get: "/v1/answer" };
  }
  rpc Follow(Ask) returns (stream Heard) {
    option (google.api.http) = { get: "/v1/follow" };
  }
}
"#;

const MANIFEST: &str = "name: test.example.com\nversions:\n  v1: { package: example.test.v1 }\n";
const ANSWER: &str = "/example.test.v1.Probe/Answer";
const FOLLOW: &str = "/example.test.v1.Probe/Follow";
/// A test that waits longer fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    what: String,
}

fn text(what: &str) -> Bytes {
    Text { what: what.to_owned() }.encode_to_vec().into()
}

fn read(bytes: Bytes) -> String {
    Text::decode(bytes).unwrap().what
}

/// Answers as it is asked to, and knows how many calls it has begun and how many of those have ended.
#[derive(Clone)]
struct Probe {
    begun: watch::Sender<usize>,
    ended: watch::Sender<usize>,
}

struct Running(Probe);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.ended.send_modify(|n| *n += 1);
    }
}

impl Probe {
    fn begin(&self) -> Running {
        self.begun.send_modify(|n| *n += 1);
        Running(self.clone())
    }
}

#[async_trait]
impl Action for Probe {
    async fn call(&self, request: ActionRequest) -> Result<Reply, Status> {
        let running = self.begin();
        let what = request.message.get_field_by_name("what").unwrap();
        let context = &request.context;
        context.answer_headers.set("bowline-heard", "yes");
        if request.method.path == FOLLOW {
            let first =
                futures::stream::iter((what.as_str() == Some("one")).then(|| Ok(text("1"))));
            let rest = futures::stream::pending();
            let running = first.chain(rest).map(move |message| {
                let _lives_with_the_stream = &running;
                message
            });
            return Ok(Reply::Stream(running.boxed()));
        }
        match what.as_str().unwrap() {
            "wait" => futures::future::pending().await,
            "log" => {
                tracing::warn!("asked to log");
                Ok(Reply::Unary(text("")))
            }
            "fail" => Err(everything_that_a_status_can_have()),
            _ => {
                let mut told: BTreeMap<_, _> = context.headers.iter().cloned().collect();
                let id = |id: &Option<DeploymentId>| {
                    id.as_ref().map_or_else(|| "-".into(), ToString::to_string)
                };
                told.insert("from".into(), id(&context.caller));
                told.insert("to".into(), id(&context.callee));
                let deadline = context.deadline.map(|d| d.as_millis().to_string());
                told.insert("deadline".into(), deadline.unwrap_or_default());
                Ok(Reply::Unary(text(&serde_json::to_string(&told).unwrap())))
            }
        }
    }
}

fn everything_that_a_status_can_have() -> Status {
    let violation = FieldViolation { field: "a.b".into(), description: "é".into() };
    let precondition = PreconditionViolation {
        kind: "BLOCKED".into(),
        subject: "items/i".into(),
        description: "is in the way".into(),
    };
    Status::new(Reason::NotOwned, "owned elsewhere\n%")
        .with_metadata("region", "asia")
        .with_metadata("epoch", "7")
        .with(Detail::Precondition(vec![precondition]))
        .with(Detail::BadRequest(vec![violation]))
        .with(Detail::Resource { kind: "k".into(), name: "n".into() })
        .with(Detail::Retry { after: Duration::from_millis(1_500) })
}

fn me() -> DeploymentId {
    DeploymentId::new("caller.example.com", "eu")
}

fn to() -> DeploymentId {
    DeploymentId::new("test.example.com", "us")
}

/// Another deployment of the same engine.
fn beside() -> DeploymentId {
    DeploymentId::new("beside.example.com", "us")
}

/// One deployment that is called, and the ways to it.
struct World {
    probe: Probe,
    engine: Arc<Engine>,
    server: Server,
    signers: Arc<Signers>,
    ways: Vec<(&'static str, Arc<dyn Peers>)>,
}

/// Calls without a socket, as deployments of one process do.
struct Direct {
    engine: Arc<Engine>,
    signers: Arc<Signers>,
}

#[async_trait]
impl Peers for Direct {
    async fn call(
        &self,
        from: &DeploymentId,
        to: &DeploymentId,
        mut call: Call,
    ) -> Result<Answer, Status> {
        self.signers.sign(from, to, &mut call)?;
        inward::serve(&self.engine, from, to, call).await
    }
}

impl World {
    async fn new() -> Self {
        Self::with(|_, _, _| Ok(())).await
    }

    async fn with(
        admits: impl Fn(&DeploymentId, u64, &DeploymentId) -> Result<(), Status> + Send + Sync + 'static,
    ) -> Self {
        let (key, _) = KeyPair::generate(&Seams::real());
        let keys: Keyring = [(me(), key.public())].into_iter().collect();
        let verifier = Verifier::new(Seams::real(), [to(), beside()], Arc::new(keys), admits);
        let probe = Probe { begun: watch::channel(0).0, ended: watch::channel(0).0 };
        let engine = engine(&probe, verifier);
        let server = Server::start(engine.clone(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let signers = Arc::new(Signers::new(Seams::real(), [(me(), key)]));
        let info = DeploymentInfo {
            public_address: server.address().to_string().into(),
            ..DeploymentInfo::default()
        };
        let info = Arc::new(info);
        let deployments = [(to(), info.clone()), (beside(), info)].into();
        let picture = watch::channel(Arc::new(Picture { deployments, ..Picture::default() })).1;
        let network = NetworkPeers::new(Seams::real(), signers.clone(), picture);
        let direct = Direct { engine: engine.clone(), signers: signers.clone() };
        let ways: Vec<(_, Arc<dyn Peers>)> =
            vec![("network", Arc::new(network)), ("direct", Arc::new(direct))];
        Self { probe, engine, server, signers, ways }
    }

    /// Sends a REST request with these headers: its status code, head and body.
    async fn rest(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut socket = tokio::net::TcpStream::connect(self.server.address()).await.unwrap();
        let headers: String = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }
}

fn engine(probe: &Probe, verifier: Verifier) -> Arc<Engine> {
    let files = vec![("v1/test.proto".to_owned(), PROTO.to_owned())];
    let loaded = load(&[Source::Files { service_yaml: Some(MANIFEST.to_owned()), files }]);
    assert!(!loaded.registry.services.is_empty(), "{:#?}", loaded.diagnostics);
    let backend: Arc<dyn Backend> = Arc::new(Cached::new(Memory::new(), CacheOptions::default()));
    let action = |path: &str| (path.to_owned(), Arc::new(probe.clone()) as Arc<dyn Action>);
    Engine::start(Parts {
        registry: Arc::new(loaded.registry),
        limits: Limits::default(),
        seams: Seams::real(),
        backends: HashMap::from([("test.example.com".to_owned(), backend)]),
        actions: HashMap::from([action(ANSWER), action(FOLLOW)]),
        hooks: HashMap::new(),
        routing: None,
        callers: Some(Arc::new(verifier)),
    })
    .unwrap()
}

async fn told(peers: &dyn Peers, call: Call) -> (BTreeMap<String, String>, Vec<(String, String)>) {
    match peers.call(&me(), &to(), call).await.unwrap() {
        Answer::Unary { message, headers } => {
            (serde_json::from_str(&read(message)).unwrap(), headers)
        }
        Answer::Stream(_) => panic!("a stream came"),
    }
}

async fn failure(peers: &dyn Peers, call: Call) -> Status {
    peers.call(&me(), &to(), call).await.err().expect("it fails")
}

async fn until(count: &watch::Sender<usize>, n: usize) {
    let mut count = count.subscribe();
    tokio::time::timeout(PATIENCE, count.wait_for(|count| *count == n)).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_callee_knows_who_calls_whom_and_what_travels_with_the_call() {
    let world = World::new().await;
    for (way, peers) in &world.ways {
        let call = Call::unary(ANSWER, text(""))
            .with_header(FORWARDED, "1")
            .with_header("x-request-id", "r")
            .with_header("traceparent", "00-t-s-01")
            .with_header("cookie", "secret");
        let (told, headers) = told(&**peers, call).await;
        let told: Vec<_> = told.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "bowline-forwarded=1",
            "deadline=",
            "from=caller.example.com@eu",
            "to=test.example.com@us",
            "traceparent=00-t-s-01",
            "x-request-id=r",
        ];
        assert_eq!(told, expected, "{way}");
        assert_eq!(headers, [("bowline-heard".to_owned(), "yes".to_owned())], "{way}");
    }
}

#[tokio::test]
async fn a_request_without_an_id_gets_one() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for (_, peers) in &world.ways {
        ids.push(told(&**peers, Call::unary(ANSWER, text(""))).await.0["x-request-id"].clone());
    }
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 36), "{ids:?}");
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_the_callee_logs_says_which_request_it_was_for_and_from_whom() {
    let world = World::new().await;
    let log = Log::default();
    // What no subscriber wants at first is remembered as unwanted, also for this test; so the other threads' one wants all.
    drop(tracing::subscriber::set_global_default(tracing_subscriber::registry()));
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    for (way, peers) in &world.ways {
        let call =
            Call::unary(ANSWER, text("log")).with_header("x-request-id", format!("id-{way}"));
        peers.call(&me(), &to(), call).await.unwrap();
        let text = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
        let line = text.lines().find(|line| line.contains("asked to log")).expect(&text);
        let span = format!(
            "request{{method=/example.test.v1.Probe/Answer request_id=\"id-{way}\" from=caller.example.com@eu}}"
        );
        assert!(line.contains(&span), "{line}");
    }
}

#[tokio::test]
async fn errors_come_back_with_all_that_they_had() {
    let world = World::new().await;
    for (way, peers) in &world.ways {
        let status = failure(&**peers, Call::unary(ANSWER, text("fail"))).await;
        assert_eq!(status, everything_that_a_status_can_have(), "{way}");
        let status = failure(&**peers, Call::unary("/example.test.v1.Probe/Sing", "")).await;
        assert_eq!(status.reason, Reason::MethodNotFound, "{way}");
        let status = failure(&**peers, Call::unary(ANSWER, &b"\x0a\x05x"[..])).await;
        assert_eq!(status.reason, Reason::MalformedBody, "{way}");
    }
}

#[tokio::test]
async fn a_deadline_arrives_and_a_callee_that_is_late_says_so_itself() {
    let world = World::new().await;
    for (way, peers) in &world.ways {
        let call = |what| Call::unary(ANSWER, text(what));
        let (told, _) = told(&**peers, call("").within(Some(Duration::from_secs(9)))).await;
        let deadline: u64 = told["deadline"].parse().unwrap();
        assert!((8_900..=9_000).contains(&deadline), "{way}: {deadline}");
        let late = failure(&**peers, call("wait").within(Some(Duration::from_millis(300)))).await;
        assert_eq!(late.reason, Reason::DeadlineExceeded, "{way}: {late}");
    }
    until(&world.probe.ended, 4).await;
}

#[tokio::test]
async fn a_stream_comes_message_by_message_and_one_that_stays_silent_ends() {
    let world = World::new().await;
    let deadline = Some(Duration::from_millis(200));
    for (way, peers) in &world.ways {
        let open = |what| Call::stream(FOLLOW, text(what)).within(deadline);
        let Answer::Stream(mut messages) = peers.call(&me(), &to(), open("one")).await.unwrap()
        else {
            panic!("one answer came");
        };
        assert_eq!(read(messages.next().await.unwrap().unwrap()), "1", "{way}");
        let quiet = tokio::time::timeout(Duration::from_millis(400), messages.next()).await;
        assert!(quiet.is_err(), "{way}: the deadline is for the first message only");
        let Answer::Stream(mut silent) = peers.call(&me(), &to(), open("")).await.unwrap() else {
            panic!("one answer came");
        };
        let late = silent.next().await.unwrap().unwrap_err();
        assert_eq!(late.reason, Reason::DeadlineExceeded, "{way}: {late}");
        assert!(silent.next().await.is_none(), "{way}");
    }
    until(&world.probe.ended, 4).await;
}

#[tokio::test]
async fn whoever_stops_waiting_ends_the_work() {
    let world = World::new().await;
    for (n, (_, peers)) in world.ways.iter().enumerate() {
        let (from, to) = (me(), to());
        let answer = peers.call(&from, &to, Call::unary(ANSWER, text("wait")));
        tokio::select! {
            _ = answer => panic!("it never answers"),
            () = until(&world.probe.begun, 2 * n + 1) => {}
        }
        until(&world.probe.ended, 2 * n + 1).await;
        let stream = peers.call(&from, &to, Call::stream(FOLLOW, text(""))).await.unwrap();
        until(&world.probe.begun, 2 * n + 2).await;
        assert_eq!(*world.probe.ended.borrow(), 2 * n + 1, "it runs as long as somebody listens");
        drop(stream);
        until(&world.probe.ended, 2 * n + 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_stop_waiting_nobody_else_is_disturbed() {
    let world = World::new().await;
    for (way, peers) in &world.ways {
        let (from, to) = (me(), to());
        let patient = Call::stream(FOLLOW, text("one"));
        let Answer::Stream(mut stream) = peers.call(&from, &to, patient).await.unwrap() else {
            panic!("one answer came");
        };
        let begun = *world.probe.begun.borrow();
        let waiting = peers.call(&from, &to, Call::unary(ANSWER, text("wait")));
        let stormy = async {
            until(&world.probe.begun, begun + 1).await;
            for round in 0..40 {
                let calls = (0..100).map(|i| {
                    let what = if i % 2 == 0 {
                        Call::unary(ANSWER, text("wait"))
                    } else {
                        Call::stream(FOLLOW, text("one"))
                    };
                    peers.call(&from, &to, what)
                });
                let all = futures::future::join_all(calls);
                // Some are sent, some are not, some are answered.
                let _ = tokio::time::timeout(Duration::from_millis(round % 20), all).await;
            }
        };
        tokio::select! {
            answer = waiting => panic!("{way}: {}", answer.err().unwrap()),
            () = stormy => {}
        }
        told(&**peers, Call::unary(ANSWER, text(""))).await;
        assert_eq!(read(stream.next().await.unwrap().unwrap()), "1", "{way}");
        let quiet = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
        assert!(quiet.is_err(), "{way}: the stream goes on");
    }
}

#[tokio::test]
async fn who_is_not_listened_to_is_refused_also_with_a_token_that_was_good_before() {
    let (sender, admitted) = watch::channel(5);
    let world = World::with(move |from, generation, callee| {
        assert_eq!((from, callee), (&me(), &to()));
        let refused = Status::new(Reason::CallerRefused, "old");
        (generation >= *admitted.borrow()).then_some(()).ok_or(refused)
    })
    .await;
    for (way, peers) in &world.ways {
        world.signers.set_generation(&me(), 4);
        let old = failure(&**peers, Call::unary(ANSWER, text(""))).await;
        assert_eq!(old.reason, Reason::CallerRefused, "{way}");
        world.signers.set_generation(&me(), 5);
        told(&**peers, Call::unary(ANSWER, text(""))).await;
        sender.send_replace(6);
        let old = failure(&**peers, Call::unary(ANSWER, text(""))).await;
        assert_eq!(old.reason, Reason::CallerRefused, "{way}");
        sender.send_replace(5);
    }
}

#[tokio::test]
async fn who_is_admitted_to_one_deployment_is_not_served_by_another() {
    let world = World::new().await;
    for (way, peers) in &world.ways {
        let call = Call::unary(ANSWER, text(""));
        let refused = peers.call(&me(), &beside(), call).await.err().map(|status| status.reason);
        assert_eq!(refused, Some(Reason::CallerRefused), "{way}");
    }
    assert_eq!(*world.probe.begun.borrow(), 0);
}

#[tokio::test]
async fn a_call_that_is_not_proved_is_not_served() {
    let world = World::new().await;
    let token = world.signers.token(&me(), &to()).unwrap();
    let elsewhere =
        world.signers.token(&me(), &DeploymentId::new("test.example.com", "asia")).unwrap();
    let serve = |from: DeploymentId, token: Option<&str>| {
        let mut call = Call::unary(ANSWER, text(""));
        call.headers.extend(token.map(|token| (CALLER.to_owned(), token.to_owned())));
        let engine = world.engine.clone();
        async move { inward::serve(&engine, &from, &to(), call).await.err().map(|s| s.reason) }
    };
    assert_eq!(serve(me(), Some(&token)).await, None);
    assert_eq!(serve(me(), None).await, Some(Reason::CallerNotIdentified));
    assert_eq!(serve(me(), Some(&elsewhere)).await, Some(Reason::CallerNotIdentified));
    assert_eq!(serve(me(), Some("e30.e30.")).await, Some(Reason::CallerNotIdentified));
    let somebody = DeploymentId::new("other.example.com", "eu");
    assert_eq!(serve(somebody, Some(&token)).await, Some(Reason::CallerNotIdentified));
    assert_eq!(*world.probe.begun.borrow(), 1, "only the proved call has reached anybody");
}

#[tokio::test]
async fn only_deployments_may_say_what_deployments_say_on_rest() {
    let world = World::new().await;
    let token = world.signers.token(&me(), &to()).unwrap();
    let (code, answer) = world.rest("/v1/answer", &[]).await;
    assert!(code == 200 && answer.contains("bowline-heard: yes"), "{answer}");
    for header in [FORWARDED, LOCAL] {
        let (code, answer) = world.rest("/v1/answer", &[(header, "1")]).await;
        assert!(code == 401 && answer.contains("CALLER_NOT_IDENTIFIED"), "{answer}");
        let (code, _) = world.rest("/v1/answer", &[(header, "1"), (CALLER, "x")]).await;
        assert_eq!(code, 401);
        let (code, answer) = world.rest("/v1/answer", &[(header, "1"), (CALLER, &token)]).await;
        assert!(code == 200 && answer.contains("caller.example.com@eu"), "{answer}");
    }
}

#[tokio::test]
async fn only_deployments_may_say_what_deployments_say_on_grpc_also_where_memory_answers() {
    let world = World::new().await;
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{}", world.server.address()))
            .unwrap()
            .connect()
            .await
            .unwrap();
    let client = tonic::client::Grpc::new(channel);
    let ask = |method: &str, name: &str, headers: Vec<(&'static str, String)>| {
        let mut request = tonic::Request::new(text(name));
        for (name, value) in headers {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        let path = format!("/example.test.v1.{method}").parse().unwrap();
        let mut client = client.clone();
        async move {
            client.ready().await.unwrap();
            let answer = client.unary(request, path, bowline_api::grpc::BytesCodec).await;
            answer.map_err(|status| bowline_node::network::from_tonic(&status).unwrap().reason)
        }
    };
    let create = world.engine.registry().methods["/example.test.v1.ItemService/CreateItem"].clone();
    let mut request = prost_reflect::DynamicMessage::new(create.descriptor.input());
    let field = create.descriptor.input().get_field_by_name("item").unwrap();
    let item = prost_reflect::DynamicMessage::new(field.kind().as_message().unwrap().clone());
    request.set_field_by_name("item_id", prost_reflect::Value::String("i".into()));
    request.set_field(&field, prost_reflect::Value::Message(item));
    world.engine.call_unary(&create.path, request, Default::default()).await.unwrap();
    let get = "ItemService/GetItem";
    for _ in 0..2 {
        assert!(ask(get, "items/i", vec![]).await.is_ok());
    }
    assert!(
        world
            .engine
            .get_from_memory("/example.test.v1.ItemService/GetItem", &text("items/i"))
            .is_some()
    );
    let token = world.signers.token(&me(), &to()).unwrap().to_string();
    for (method, name) in [(get, "items/i"), ("Probe/Answer", "")] {
        for header in [FORWARDED, LOCAL] {
            let said =
                |more: Vec<_>| ask(method, name, [vec![(header, "1".to_owned())], more].concat());
            let refused = Some(Reason::CallerNotIdentified);
            assert_eq!(said(vec![]).await.err(), refused, "{method} {header}");
            assert_eq!(said(vec![(CALLER, "x".to_owned())]).await.err(), refused);
            assert!(said(vec![(CALLER, token.clone())]).await.is_ok(), "{method} {header}");
        }
        let lied = ask(method, name, vec![(CALLER, "x".to_owned())]).await;
        assert_eq!(lied.err(), Some(Reason::CallerNotIdentified));
    }
}
