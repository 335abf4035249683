//! A live set of resources of one kind, over all deployments of a service.
//!
//! Each deployment is a *source*, followed by one resumable watch with `bowline-local: 1`, so that it tells only what it
//! has itself. What a source said stays until it says otherwise: **absent is not unreachable**. A source that cannot be
//! reached keeps its entries; one that starts over (a hard reset, or a size that does not agree) has them replaced only
//! when its new snapshot is whole; one that has left the picture is dropped with all it said.
//!
//! `method` has the bytes of the watch, `follow` what its messages add up to, `entries` what is known from all sources,
//! all without I/O; `source` is the life of one watch.

mod entries;
mod follow;
mod method;
mod source;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_base::{Seams, Status};
use futures::future::{Either, select};
use tokio::sync::{oneshot, watch};

use crate::id::DeploymentId;
use crate::peers::Peers;
use crate::picture::Picture;
use entries::Entries;
pub use method::{MethodError, WatchMethod};
use source::Source;

/// Most resources that a mirror keeps unless it is told otherwise.
pub const ENTRIES_MAX: usize = 1_000_000;

/// Why a resource could not be read.
pub type DecodeError = Box<dyn Error + Send + Sync>;

/// Makes of a resource's name and encoded message what the mirror keeps.
pub type Decode<T> = Arc<dyn Fn(&str, &[u8]) -> Result<T, DecodeError> + Send + Sync>;

/// What a [`Mirror`] is made of.
pub struct MirrorParts<T> {
    /// On whose behalf the sources are asked.
    pub me: DeploymentId,
    /// Which kind, and how it is watched. The sources are the deployments of the kind's service.
    pub method: WatchMethod,
    /// The fields that `decode` looks at, to keep messages small and to hear of no other changes; empty: all. The name
    /// is always there.
    pub fields: Vec<String>,
    /// Says which sources there are.
    pub picture: watch::Receiver<Arc<Picture>>,
    pub peers: Arc<dyn Peers>,
    pub seams: Seams,
    /// Most resources that are kept, [`ENTRIES_MAX`] for most uses; what comes beyond is left out, see [`Mirror::is_truncated`].
    pub entries_max: usize,
    pub decode: Decode<T>,
}

/// How it stands with one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHealth {
    pub source: DeploymentId,
    pub state: SourceState,
    /// Whether all that it has was heard at least once.
    pub is_complete: bool,
    /// Resources that could not be read; they stay as they were before.
    pub unreadable: u64,
}

/// What the watch of a source is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// Being opened, or in the middle of a snapshot.
    Starting,
    /// All that the source has is known.
    Current,
    /// Waiting for the next attempt; its entries stay as they were.
    Unreachable { since: Duration, status: Status },
}

/// The set; see the module's header. Dropping it ends its watches.
pub struct Mirror<T> {
    shared: Arc<Shared<T>>,
    /// Dropped with the mirror, which the supervisor notices.
    _stop: oneshot::Sender<Infallible>,
}

/// What mirror and watches share.
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Grows with every change of entries or of completeness.
    version: watch::Sender<u64>,
    entries_max: usize,
}

struct State<T> {
    entries: Entries<T>,
    health: BTreeMap<DeploymentId, SourceHealth>,
}

impl<T: PartialEq + Send + Sync + 'static> Mirror<T> {
    /// Starts to follow all sources; returns at once, see [`Mirror::complete`].
    pub fn start(parts: MirrorParts<T>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::new(Shared {
            state: Mutex::new(State { entries: Entries::default(), health: BTreeMap::new() }),
            version: watch::Sender::new(0),
            entries_max: parts.entries_max,
        });
        let tasks = parts.seams.tasks.clone();
        let supervisor = Supervisor { parts: Arc::new(parts), shared: shared.clone() };
        tasks.spawn(
            "mirror",
            Box::pin(async move {
                select(Box::pin(supervisor.run()), stopped).await;
            }),
        );
        Self { shared, _stop: stop }
    }

    /// What is known of the resource of this name; `None` if no source has said that it has it.
    pub fn get(&self, name: &str) -> Option<Arc<T>> {
        self.shared.lock().entries.get(name)
    }

    /// All that is known, by name. Cost: one pointer per resource.
    pub fn all(&self) -> BTreeMap<Arc<str>, Arc<T>> {
        self.shared.lock().entries.all()
    }

    /// Which source a resource was last heard from.
    pub fn source_of(&self, name: &str) -> Option<DeploymentId> {
        self.shared.lock().entries.source_of(name)
    }

    /// Whether there is a source, and everything that each of them has was heard at least once.
    ///
    /// Goes back to `false` when another source turns up, never because one cannot be reached.
    pub fn is_complete(&self) -> bool {
        self.shared.lock().is_complete()
    }

    /// Waits until [`Mirror::is_complete`].
    pub async fn complete(&self) {
        let mut version = self.shared.version.subscribe();
        // The sender lives as long as `self`.
        let _ = version.wait_for(|_| self.is_complete()).await;
    }

    /// A number that grows whenever an entry changed, came or went, a source became current or unreachable, or
    /// [`Mirror::is_complete`] or [`Mirror::is_truncated`] changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Whether something had to be left out: a name that is not here may exist nevertheless.
    pub fn is_truncated(&self) -> bool {
        self.shared.lock().entries.is_truncated()
    }

    /// How it stands with each source, in order.
    pub fn health(&self) -> Vec<SourceHealth> {
        self.shared.lock().health.values().cloned().collect()
    }
}

impl<T> fmt::Debug for Mirror<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("health", &self.shared.lock().health).finish_non_exhaustive()
    }
}

impl<T> State<T> {
    fn is_complete(&self) -> bool {
        !self.health.is_empty() && self.health.values().all(|health| health.is_complete)
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing below panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state; tells those who wait if `change` says so, or if completeness changed.
    fn change(&self, change: impl FnOnce(&mut State<T>) -> bool) {
        let mut state = self.lock();
        let was_complete = state.is_complete();
        let is_changed = change(&mut state);
        let tell = is_changed || state.is_complete() != was_complete;
        drop(state);
        if tell {
            self.version.send_modify(|version| *version += 1);
        }
    }

    fn health(&self, source: &DeploymentId, change: impl FnOnce(&mut SourceHealth)) {
        self.change(|state| {
            let Some(health) = state.health.get_mut(source) else { return false };
            let before = discriminant(&health.state);
            change(health);
            discriminant(&health.state) != before
        });
    }
}

/// Keeps one watch per source that the picture has.
struct Supervisor<T> {
    parts: Arc<MirrorParts<T>>,
    shared: Arc<Shared<T>>,
}

impl<T: PartialEq + Send + Sync + 'static> Supervisor<T> {
    async fn run(self) {
        let mut picture = self.parts.picture.clone();
        // Dropping a sender ends the watch of its source.
        let mut sources: BTreeMap<DeploymentId, oneshot::Sender<Infallible>> = BTreeMap::new();
        loop {
            let now = picture.borrow_and_update().clone();
            self.leave(&now, &mut sources);
            self.join(&now, &mut sources);
            if picture.changed().await.is_err() {
                // Nobody keeps the picture any more; what it said last stays true.
                futures::future::pending::<()>().await;
            }
        }
    }

    fn leave(
        &self,
        now: &Picture,
        sources: &mut BTreeMap<DeploymentId, oneshot::Sender<Infallible>>,
    ) {
        let gone = sources.extract_if(.., |id, _| !now.deployments.contains_key(id));
        for (id, stop) in gone {
            drop(stop);
            tracing::info!(me = %self.parts.me, source = %id, kind = self.parts.method.kind(), "a source is no more");
            self.shared.change(|state| {
                state.health.remove(&id);
                state.entries.drop_source(&id)
            });
        }
    }

    fn join(
        &self,
        now: &Picture,
        sources: &mut BTreeMap<DeploymentId, oneshot::Sender<Infallible>>,
    ) {
        let service = self.parts.method.service();
        for id in now.deployments.keys().filter(|id| &*id.service == service) {
            if sources.contains_key(id) {
                continue;
            }
            let (stop, stopped) = oneshot::channel();
            sources.insert(id.clone(), stop);
            self.shared.change(|state| {
                state.health.insert(id.clone(), SourceHealth::new(id));
                false
            });
            let source = Source::new(id.clone(), self.parts.clone(), self.shared.clone());
            self.parts.seams.tasks.spawn("mirror source", Box::pin(until(stopped, source.run())));
        }
    }
}

impl SourceHealth {
    fn new(source: &DeploymentId) -> Self {
        Self {
            source: source.clone(),
            state: SourceState::Starting,
            is_complete: false,
            unreadable: 0,
        }
    }
}

/// Runs `work` until the other end of `stopped` is dropped.
async fn until(stopped: oneshot::Receiver<Infallible>, work: impl Future<Output = ()> + Send) {
    match select(stopped, Box::pin(work)).await {
        Either::Left(_) | Either::Right(_) => {}
    }
}
