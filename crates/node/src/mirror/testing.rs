//! Meta deployments for tests: a few rows each, with the real protocol of watches and the methods that registration needs.
//!
//! Writes go to the deployment of the control region, wherever they come in, as routing would have it. A deployment can be
//! cut off, can forget its log, and can break its snapshots off half-way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bowline_base::{Reason, Status};
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_wire::goten::meta::v1 as wire;
use bowline_wire::goten::types::Meta;
use bowline_wire::meta::{MetaResource, SERVICE};
use bowline_wire::standard::{Create, Get, List, Listed, Update};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::unfold;
use prost::Message;
use tokio::sync::watch;

use crate::id::DeploymentId;
use crate::peers::{Answer, Call, Peers, headers, unreachable};

/// Changes in one message; small, so that every snapshot has several.
const CHUNK: usize = 2;

/// A registry with the meta service, as programs load it.
pub(crate) fn registry() -> Arc<Registry> {
    static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| {
        let loaded = load(&[bowline_wire::meta::source()]);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        Arc::new(loaded.registry)
    });
    REGISTRY.clone()
}

pub(crate) fn meta(region: &str) -> DeploymentId {
    DeploymentId::new(SERVICE, region)
}

/// Some meta deployments.
pub(crate) struct World {
    control: DeploymentId,
    nodes: Mutex<BTreeMap<DeploymentId, Node>>,
    /// Grows with everything that happens anywhere.
    moved: watch::Sender<u64>,
}

#[derive(Default)]
struct Node {
    is_cut: bool,
    /// Grows with every cut: streams of before end.
    epoch: u64,
    /// Streams end after this many messages of a snapshot.
    breaks_snapshots_after: Option<usize>,
    /// By type (`Region`).
    tables: BTreeMap<&'static str, Table>,
    /// Of the newest change.
    sequence: u64,
    /// Tokens of before are too old.
    oldest: u64,
    watches_opened: u64,
    /// What the next writes are answered with.
    refusals: VecDeque<Status>,
}

#[derive(Default)]
struct Table {
    rows: BTreeMap<String, Bytes>,
    log: Vec<(u64, String)>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    #[prost(int32, tag = "9")]
    kind: i32,
    #[prost(string, tag = "10")]
    resume_token: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) changes: Vec<RowChange>,
    #[prost(bool, tag = "4")]
    pub(super) is_current: bool,
    #[prost(string, tag = "5")]
    pub(super) resume_token: String,
    #[prost(int64, tag = "6")]
    pub(super) snapshot_size: i64,
    #[prost(bool, tag = "7")]
    pub(super) is_soft_reset: bool,
    #[prost(bool, tag = "8")]
    pub(super) is_hard_reset: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RowChange {
    #[prost(message, optional, tag = "3")]
    pub(super) removed: Option<Removed>,
    #[prost(message, optional, tag = "4")]
    pub(super) current: Option<Current>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Removed {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Current {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) body: Bytes,
}

impl World {
    /// Meta deployments in `regions`; the first one is the control region.
    pub(crate) fn new(regions: &[&str]) -> Arc<Self> {
        let nodes = regions.iter().map(|region| (meta(region), Node::default())).collect();
        Arc::new(Self {
            control: meta(regions[0]),
            nodes: Mutex::new(nodes),
            moved: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeploymentId, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, region: &str, change: impl FnOnce(&mut Node) -> R) -> R {
        let result = change(self.lock().get_mut(&meta(region)).unwrap());
        self.moved.send_modify(|moved| *moved += 1);
        result
    }

    pub(crate) fn put<R: MetaResource>(&self, region: &str, resource: R) {
        self.change(region, |node| node.put(resource));
    }

    pub(crate) fn remove<R: MetaResource>(&self, region: &str, name: &str) {
        self.change(region, |node| {
            node.sequence += 1;
            let table = node.tables.entry(R::SINGULAR).or_default();
            table.rows.remove(name);
            table.log.push((node.sequence, name.to_owned()));
        });
    }

    /// What is stored in the control region.
    pub(crate) fn get<R: MetaResource>(&self, name: &str) -> Option<R> {
        let nodes = self.lock();
        let row = nodes[&self.control].tables.get(R::SINGULAR)?.rows.get(name)?;
        Some(R::decode(row.clone()).unwrap())
    }

    /// Nobody reaches the deployment any more, and its streams break.
    pub(crate) fn cut(&self, region: &str) {
        self.change(region, |node| {
            node.is_cut = true;
            node.epoch += 1;
        });
    }

    pub(crate) fn heal(&self, region: &str) {
        self.change(region, |node| node.is_cut = false);
    }

    /// Tokens of before cannot be honoured any more.
    pub(crate) fn forget_log(&self, region: &str) {
        self.change(region, |node| {
            node.sequence += 1;
            node.oldest = node.sequence;
        });
    }

    pub(crate) fn break_snapshots_after(&self, region: &str, messages: Option<usize>) {
        self.change(region, |node| node.breaks_snapshots_after = messages);
    }

    /// The next writes in the control region fail like that, one each.
    pub(crate) fn refuse(&self, refusals: impl IntoIterator<Item = Status>) {
        self.lock().get_mut(&self.control).unwrap().refusals.extend(refusals);
    }

    pub(crate) fn watches_opened(&self, region: &str) -> u64 {
        self.lock()[&meta(region)].watches_opened
    }

    fn unary(&self, to: &DeploymentId, call: &Call) -> Result<Bytes, Status> {
        let mut nodes = self.lock();
        for id in [to, &self.control] {
            if nodes.get(id).is_none_or(|node| node.is_cut) {
                return Err(unreachable(id, "cut off"));
            }
        }
        let node = nodes.get_mut(&self.control).unwrap();
        let answer = answer::<wire::Region>(node, call)
            .or_else(|| answer::<wire::Service>(node, call))
            .or_else(|| answer::<wire::Resource>(node, call))
            .or_else(|| answer::<wire::Deployment>(node, call));
        drop(nodes);
        self.moved.send_modify(|moved| *moved += 1);
        answer.unwrap_or_else(|| panic!("{} is not served here", call.path))
    }

    fn stream(self: &Arc<Self>, to: &DeploymentId, call: &Call) -> Result<Stream, Status> {
        let mut nodes = self.lock();
        let node = nodes.get_mut(to).filter(|node| !node.is_cut);
        let node = node.ok_or_else(|| unreachable(to, "cut off"))?;
        assert_eq!(call.header(headers::LOCAL), Some("1"));
        let request = WatchRequest::decode(call.message.clone()).unwrap();
        assert_eq!(request.kind, 1, "a stateless watch");
        node.watches_opened += 1;
        let ty = ["Region", "Service", "Resource", "Deployment"]
            .into_iter()
            .find(|ty| call.path.ends_with(&format!("{ty}Service/Watch{ty}s")))
            .unwrap();
        let token: Option<u64> = (!request.resume_token.is_empty())
            .then(|| request.resume_token.parse())
            .transpose()
            .map_err(|_| Status::new(Reason::InvalidResumeToken, "damaged"))?;
        let mut stream = Stream {
            world: self.clone(),
            id: to.clone(),
            ty,
            epoch: node.epoch,
            cursor: token,
            told: 0,
            out: VecDeque::new(),
            moved: self.moved.subscribe(),
        };
        if token.is_some_and(|token| token < node.oldest) {
            stream.cursor = None;
            stream.out.push_back(WatchResponse {
                is_hard_reset: true,
                snapshot_size: -1,
                ..WatchResponse::default()
            });
        }
        Ok(stream)
    }
}

impl Node {
    fn put<R: MetaResource>(&mut self, resource: R) {
        self.sequence += 1;
        let name = resource.name().to_owned();
        let table = self.tables.entry(R::SINGULAR).or_default();
        table.log.push((self.sequence, name.clone()));
        table.rows.insert(name, resource.encode_to_vec().into());
    }

    fn get<R: MetaResource>(&self, name: &str) -> Option<R> {
        let row = self.tables.get(R::SINGULAR)?.rows.get(name)?;
        Some(R::decode(row.clone()).unwrap())
    }
}

/// `None` if the method is not one of the type's.
fn answer<R: MetaResource + Stamped>(
    node: &mut Node,
    call: &Call,
) -> Option<Result<Bytes, Status>> {
    use bowline_wire::meta::StandardVerb as Verb;
    let all = [Verb::Get, Verb::List, Verb::Create, Verb::Update];
    let verb = all.into_iter().find(|verb| R::path(*verb) == *call.path)?;
    let message = call.message.clone();
    Some(match verb {
        Verb::Get => {
            let name = Get::decode(message).unwrap().name;
            let missing = || Status::new(Reason::ResourceNotFound, format!("no {name}"));
            node.get::<R>(&name).ok_or_else(missing).map(|row| row.encode_to_vec().into())
        }
        Verb::List => {
            let prefix = format!("{}/", List::decode(message).unwrap().parent);
            let rows = node.tables.get(R::SINGULAR).into_iter().flat_map(|table| &table.rows);
            let rows = rows.filter(|(name, _)| name.starts_with(&prefix));
            let resources = rows.map(|(_, row)| R::decode(row.clone()).unwrap()).collect();
            Ok(Listed { resources, ..Listed::default() }.encode_to_vec().into())
        }
        Verb::Create => {
            let resource = Create::<R>::decode(message).unwrap().resource.unwrap();
            write(node, resource, None)
        }
        Verb::Update => {
            let update = Update::<R>::decode(message).unwrap();
            write(node, update.resource.unwrap(), Some(update.etag))
        }
        Verb::Delete => unreachable!("nobody deletes"),
    })
}

fn write<R: MetaResource + Stamped>(
    node: &mut Node,
    mut resource: R,
    etag: Option<String>,
) -> Result<Bytes, Status> {
    if let Some(status) = node.refusals.pop_front() {
        return Err(status);
    }
    let stored = node.get::<R>(resource.name());
    match (&stored, etag) {
        (Some(_), None) => return Err(Status::new(Reason::ResourceExists, "is there already")),
        (None, Some(_)) => return Err(Status::new(Reason::ResourceNotFound, "is not there")),
        (Some(stored), Some(etag)) => {
            let version = stored.metadata().map(|meta| meta.resource_version.clone());
            if version.unwrap_or_default() != etag {
                return Err(Status::new(Reason::Conflict, "was written meanwhile"));
            }
        }
        (None, None) => {}
    }
    resource.stamp(node.sequence + 1);
    node.put(resource.clone());
    Ok(resource.encode_to_vec().into())
}

/// Resources that get a resource version.
trait Stamped {
    fn stamp(&mut self, version: u64);
}

macro_rules! stamped {
    ($($ty:ident)*) => {$(
        impl Stamped for wire::$ty {
            fn stamp(&mut self, version: u64) {
                let meta = self.metadata.get_or_insert_with(Meta::default);
                meta.resource_version = version.to_string();
            }
        }
    )*};
}
stamped!(Region Service Resource Deployment);

#[async_trait]
impl Peers for Arc<World> {
    async fn call(
        &self,
        _from: &DeploymentId,
        to: &DeploymentId,
        call: Call,
    ) -> Result<Answer, Status> {
        if !call.streams {
            return Ok(Answer::Unary { message: self.unary(to, &call)?, headers: Vec::new() });
        }
        let stream = self.stream(to, &call)?;
        let next = |mut stream: Stream| async move {
            let next = stream.next().await?;
            Some((next.map(|message| Bytes::from(message.encode_to_vec())), stream))
        };
        Ok(Answer::Stream(unfold(stream, next).boxed()))
    }
}

/// A watch that is open.
struct Stream {
    world: Arc<World>,
    id: DeploymentId,
    ty: &'static str,
    epoch: u64,
    /// The snapshot is told up to here; `None`: not yet.
    cursor: Option<u64>,
    told: usize,
    out: VecDeque<WatchResponse>,
    moved: watch::Receiver<u64>,
}

impl Stream {
    async fn next(&mut self) -> Option<Result<WatchResponse, Status>> {
        loop {
            self.moved.mark_unchanged();
            if let Some(next) = self.ready() {
                return Some(next);
            }
            self.moved.changed().await.ok()?;
        }
    }

    fn ready(&mut self) -> Option<Result<WatchResponse, Status>> {
        let world = self.world.clone();
        let nodes = world.lock();
        let node = &nodes[&self.id];
        if node.epoch != self.epoch {
            return Some(Err(unreachable(&self.id, "cut off")));
        }
        if node.breaks_snapshots_after.is_some_and(|after| self.told >= after) {
            return Some(Err(unreachable(&self.id, "broke off")));
        }
        if self.out.is_empty() {
            self.refill(node);
        }
        self.told += 1;
        self.out.pop_front().map(Ok)
    }

    fn refill(&mut self, node: &Node) {
        let empty = Table::default();
        let table = node.tables.get(self.ty).unwrap_or(&empty);
        let names: Vec<&String> = match self.cursor {
            None => table.rows.keys().collect(),
            Some(cursor) if cursor == node.sequence => return,
            Some(cursor) => {
                let late = table.log.iter().filter(|(sequence, _)| *sequence > cursor);
                late.map(|(_, name)| name).collect()
            }
        };
        let changes: Vec<RowChange> = names.iter().map(|name| change(table, name)).collect();
        for chunk in changes.chunks(CHUNK) {
            let changes = chunk.to_vec();
            self.out.push_back(WatchResponse {
                changes,
                snapshot_size: -1,
                ..WatchResponse::default()
            });
        }
        self.cursor = Some(node.sequence);
        self.out.push_back(WatchResponse {
            is_current: true,
            resume_token: node.sequence.to_string(),
            snapshot_size: -1,
            ..WatchResponse::default()
        });
    }
}

fn change(table: &Table, name: &str) -> RowChange {
    match table.rows.get(name) {
        Some(row) => {
            RowChange { current: Some(Current { body: row.clone() }), ..RowChange::default() }
        }
        None => {
            RowChange { removed: Some(Removed { name: name.to_owned() }), ..RowChange::default() }
        }
    }
}
