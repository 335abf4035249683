//! The environment registry: makes a deployment known to the others, and keeps the picture that it has of them.
//!
//! [`Beginning::load`] gives a picture before anything answers: what the configuration says, and what was kept on disk.
//! [`Environment::start`] then follows the meta deployments of all regions, and registers the deployments of this process
//! through the one of its own region. [`Environment::ready`] waits for both. Whoever had registered the same before, and
//! kept the picture, is ready at once: the meta service may be away.
//!
//! `bootstrap`, `assemble`, `plan`, `convert`, `saved` and `event` decide, without I/O; `keep` and `register` act.
//! Meta deployments must be served before they are ready, for they register with themselves.

mod assemble;
mod bootstrap;
mod convert;
mod event;
mod keep;
mod plan;
mod register;
mod registration;
mod saved;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline_base::{Reason, Seams, Status};
use bowline_schema::model::Registry;
use futures::future::{join_all, select};
use tokio::sync::watch;

use crate::id::DeploymentId;
use crate::meta_client::MetaClient;
use crate::mirror::{MethodError, SourceHealth};
use crate::peers::Peers;
use crate::picture::{META, Picture};
use assemble::{Known, assemble};
pub use bootstrap::{Bootstrap, service_info};
pub use event::{Event, Events, diff};
use keep::Mirrors;
use register::Registrar;
pub use registration::Registration;
use saved::Saved;
pub use store::{FilePictureStore, MemoryPictureStore, PICTURE_BYTES_MAX, PictureStore};

/// Longest wait for one answer of the meta service.
const CALL_MAX: Duration = Duration::from_secs(10);

/// The picture is kept at most this often, so that of many changes in a row not each is written.
const SAVE_PERIOD: Duration = Duration::from_millis(50);

/// The picture before anything answered, and who is told when it changes.
pub struct Beginning {
    bootstrap: Bootstrap,
    store: Arc<dyn PictureStore>,
    saved: Option<Saved>,
    picture: Arc<watch::Sender<Arc<Picture>>>,
}

impl Beginning {
    /// Reads what was kept. What is damaged counts for nothing, with a warning.
    pub async fn load(bootstrap: Bootstrap, store: Arc<dyn PictureStore>) -> Self {
        let saved = load(&*store).await;
        let before = saved.as_ref().map(|saved| Known::of(&saved.picture)).unwrap_or_default();
        let picture = assemble(&bootstrap, &before, &Known::default(), false, &Picture::default());
        Self { bootstrap, store, saved, picture: Arc::new(watch::Sender::new(Arc::new(picture))) }
    }

    /// The picture, now and later; for those that the environment itself builds upon, such as [`Peers`].
    pub fn picture(&self) -> watch::Receiver<Arc<Picture>> {
        self.picture.subscribe()
    }
}

async fn load(store: &dyn PictureStore) -> Option<Saved> {
    let bytes = match store.load().await {
        Ok(bytes) => bytes?,
        Err(error) => {
            tracing::warn!(%error, "the picture of before cannot be read; starting without it");
            return None;
        }
    };
    Saved::decode(&bytes)
        .inspect_err(|error| {
            let error = bowline_base::chain(error);
            tracing::warn!(%error, "the picture of before is damaged; starting without it");
        })
        .ok()
}

/// How often a start that takes long says what it waits for.
const TELL_PERIOD: Duration = Duration::from_secs(2);

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For imported services that are not deployed here, before the registration is refused.
    pub imports: Duration,
    /// For meta deployments outside the control region, before a first start goes on without having heard them.
    pub silent_regions: Duration,
    /// Between looks at the same, where nothing tells of changes.
    pub look: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            imports: Duration::from_secs(60),
            silent_regions: Duration::from_secs(5),
            look: Duration::from_secs(1),
        }
    }
}

/// What an [`Environment`] is made of, beside its [`Beginning`].
pub struct EnvironmentParts {
    /// On whose behalf the meta deployments are watched: one of those that are registered.
    pub me: DeploymentId,
    /// The deployments of this process in one region.
    pub registrations: Vec<Registration>,
    /// Has the types of the meta service.
    pub registry: Arc<Registry>,
    pub peers: Arc<dyn Peers>,
    pub seams: Seams,
    pub patience: Patience,
}

/// The registry of one region's deployments in one process; see the module's header. Dropping it ends its work.
pub struct Environment {
    shared: Arc<Shared>,
    /// Dropped with the environment, which its tasks notice.
    _stop: watch::Sender<()>,
}

/// How far a start is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What each deployment waits for, in words; none of them when it is ready.
    pub waits: BTreeMap<DeploymentId, String>,
    pub is_ready: bool,
    /// Why a deployment cannot be registered; then it will never be ready.
    pub refused: Option<Status>,
}

/// Whether the deployments of this process may go on serving.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Serving {
    #[default]
    Yes,
    /// A deployment was declared gone. It must stop, and join anew with an empty store.
    DeclaredGone { deployment: DeploymentId, ours: u64, registered: u64 },
}

/// How much of the meta service was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    is_whole: bool,
    is_control_whole: bool,
    /// What was not heard, in words.
    missing: BTreeSet<String>,
}

impl Heard {
    fn nothing() -> Self {
        Self {
            is_whole: false,
            is_control_whole: false,
            missing: BTreeSet::from([META.to_owned()]),
        }
    }

    fn missing(&self) -> String {
        let missing: Vec<&str> = self.missing.iter().map(String::as_str).collect();
        missing.join(", ")
    }
}

struct Shared {
    bootstrap: Bootstrap,
    parts: EnvironmentParts,
    picture: Arc<watch::Sender<Arc<Picture>>>,
    mirrors: Mirrors,
    heard: watch::Sender<Heard>,
    progress: watch::Sender<Progress>,
    serving: watch::Sender<Serving>,
    store: Arc<dyn PictureStore>,
    saving: tokio::sync::Mutex<()>,
    /// What is registered, as it is kept with the picture.
    registered: Mutex<BTreeMap<DeploymentId, String>>,
}

impl Environment {
    /// Starts to follow and to register; returns at once.
    ///
    /// # Errors
    /// If the registry lacks the meta service.
    pub fn start(beginning: Beginning, parts: EnvironmentParts) -> Result<Self, MethodError> {
        let Beginning { bootstrap, store, saved, picture } = beginning;
        let mirrors = Mirrors::start(&parts, &picture.subscribe())?;
        let (stop, stopped) = watch::channel(());
        let tasks = parts.seams.tasks.clone();
        let registered = saved.as_ref().map(|saved| saved.registered.clone()).unwrap_or_default();
        let shared = Arc::new(Shared {
            bootstrap,
            parts,
            picture,
            mirrors,
            heard: watch::Sender::new(Heard::nothing()),
            progress: watch::Sender::new(Progress::default()),
            serving: watch::Sender::new(Serving::Yes),
            store,
            saving: tokio::sync::Mutex::new(()),
            registered: Mutex::new(registered),
        });
        shared.look_for_own_generations();
        let before = saved.map(|saved| Known::of(&saved.picture)).unwrap_or_default();
        let keep = keep::run(shared.clone(), before);
        tasks.spawn("environment", Box::pin(until_dropped(stopped.clone(), keep)));
        let register = shared.clone().register_all();
        tasks.spawn("registration", Box::pin(until_dropped(stopped.clone(), register)));
        let tell = shared.clone().tell();
        tasks.spawn("start", Box::pin(until_dropped(stopped.clone(), tell)));
        let save = shared.clone().save_always();
        tasks.spawn("picture", Box::pin(until_dropped(stopped, save)));
        Ok(Self { shared, _stop: stop })
    }

    /// Waits until all deployments are registered and the picture is there.
    ///
    /// # Errors
    /// `REGISTRATION_REFUSED`, or what else keeps a deployment from ever being registered.
    pub async fn ready(&self) -> Result<(), Status> {
        let mut progress = self.shared.progress.subscribe();
        let done = |progress: &Progress| progress.is_ready || progress.refused.is_some();
        // The sender lives as long as `self`.
        let Ok(progress) = progress.wait_for(done).await else { return Ok(()) };
        if progress.is_ready {
            return Ok(());
        }
        progress.refused.clone().map_or(Ok(()), Err)
    }

    /// How far the start is, for people: print it when it changes.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// The picture, now and later.
    pub fn picture(&self) -> watch::Receiver<Arc<Picture>> {
        self.shared.picture.subscribe()
    }

    /// What changes, beginning with what there is.
    pub fn events(&self) -> Events {
        Events::of(self.picture())
    }

    /// Whether to go on serving.
    pub fn serving(&self) -> watch::Receiver<Serving> {
        self.shared.serving.subscribe()
    }

    /// Whether `to`, a deployment of this process, listens to `caller`, which has proved to be that deployment at
    /// `generation`.
    ///
    /// # Errors
    /// `CALLER_REFUSED`; see [`Picture::admits`].
    pub fn admits(
        &self,
        caller: &DeploymentId,
        generation: u64,
        to: &DeploymentId,
    ) -> Result<(), Status> {
        self.shared.picture.borrow().admits(caller, generation, to)
    }

    /// Keeps the picture as it is now: for a clean stop. What was heard a moment before a crash may be lost, and is heard
    /// again.
    pub async fn keep(&self) {
        self.shared.save().await;
    }

    /// How it stands with each meta deployment, by kind.
    pub fn health(&self) -> Vec<(&'static str, Vec<SourceHealth>)> {
        self.shared.mirrors.health()
    }
}

impl Shared {
    /// Registers all deployments of this process, and says so.
    async fn register_all(self: Arc<Self>) {
        if self.is_registered() {
            let deployments = self.parts.registrations.iter().map(|r| r.deployment.to_string());
            let deployments = deployments.collect::<Vec<_>>().join(", ");
            tracing::info!("{deployments} registered before; starting with the picture of before");
            self.progress.send_modify(|progress| progress.is_ready = true);
        }
        self.hear().await;
        let registrations = self.parts.registrations.iter();
        let results = join_all(registrations.map(|registration| self.register(registration))).await;
        for status in results.into_iter().filter_map(Result::err) {
            tracing::error!(%status, "a deployment is not registered");
            self.progress.send_modify(|progress| {
                progress.refused.get_or_insert(status);
            });
        }
        if self.progress.borrow().refused.is_some() {
            return;
        }
        self.see_ourselves().await;
        self.save().await;
        self.progress.send_modify(|progress| {
            progress.waits.clear();
            progress.is_ready = true;
        });
    }

    /// Whether all that is to be registered was registered before, and there is a picture of that time.
    fn is_registered(&self) -> bool {
        let registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        let picture = self.picture.borrow();
        self.parts.registrations.iter().all(|registration| {
            registered.get(&registration.deployment) == Some(&registration.digest())
                && picture.deployments.contains_key(&registration.deployment)
        })
    }

    /// Waits until all meta deployments were heard; a while only for those outside the control region.
    async fn hear(&self) {
        let mut heard = self.heard.subscribe();
        let begin = self.parts.seams.clock.monotonic();
        loop {
            let now = heard.borrow_and_update().clone();
            let left = self.left(begin, self.parts.patience.silent_regions);
            if now.is_whole || now.is_control_whole && left.is_zero() {
                if !now.is_whole {
                    let missing = now.missing();
                    tracing::warn!(missing, "starting without having heard all meta deployments");
                }
                return;
            }
            for registration in &self.parts.registrations {
                self.note(&registration.deployment, &now.missing());
            }
            // Without the control region only a change helps, and then nothing is gained by counting.
            let wait = if left.is_zero() { self.parts.patience.look } else { left };
            select(Box::pin(heard.changed()), self.parts.seams.clock.sleep(wait)).await;
        }
    }

    fn left(&self, since: Duration, limit: Duration) -> Duration {
        limit.saturating_sub(self.parts.seams.clock.monotonic().saturating_sub(since))
    }

    async fn register(self: &Arc<Self>, registration: &Registration) -> Result<(), Status> {
        let id = registration.deployment.clone();
        let client = MetaClient::new(self.parts.peers.clone(), id.clone(), CALL_MAX);
        let registrar =
            Registrar { shared: self.clone(), registration: registration.clone(), client };
        registrar.run().await?;
        tracing::debug!(deployment = %id, "registered");
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        registered.insert(id, registration.digest());
        Ok(())
    }

    /// Waits until the picture has what was registered.
    async fn see_ourselves(&self) {
        let mut picture = self.picture.subscribe();
        let has_all = |picture: &Arc<Picture>| {
            let mut ids = self.parts.registrations.iter().map(|one| &one.deployment);
            ids.all(|id| picture.deployments.contains_key(id))
        };
        // The sender is in `self`.
        let _ = picture.wait_for(has_all).await;
    }

    /// Keeps the picture whenever it changed, once it says more than the configuration does.
    async fn save_always(self: Arc<Self>) {
        let mut picture = self.picture.subscribe();
        while picture.changed().await.is_ok() {
            self.save().await;
            self.parts.seams.clock.sleep(SAVE_PERIOD).await;
        }
    }

    async fn save(&self) {
        // One after the other, and each with what is newest when its turn comes.
        let _turn = self.saving.lock().await;
        let picture = (**self.picture.borrow()).clone();
        let registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let bytes = Saved { picture, registered }.encode();
        if let Err(error) = self.store.save(bytes).await {
            tracing::warn!(%error, "the picture cannot be kept; a restart will need the meta service");
        }
    }

    /// Notes what a deployment waits for.
    fn note(&self, deployment: &DeploymentId, waits_for: &str) {
        self.progress.send_if_modified(|progress| {
            let before = progress.waits.insert(deployment.clone(), waits_for.to_owned());
            before.as_deref() != Some(waits_for)
        });
    }

    /// Logs what a start waits for, if it takes longer than is usual, and again when it is something else.
    async fn tell(self: Arc<Self>) {
        let mut told = String::new();
        loop {
            self.parts.seams.clock.sleep(TELL_PERIOD).await;
            let progress = self.progress.borrow().clone();
            if progress.is_ready || progress.refused.is_some() {
                return;
            }
            let now = progress.to_string();
            if now != told {
                tracing::info!("{now}");
                told = now;
            }
        }
    }

    /// The region that owns the registry.
    fn control_region(&self) -> Arc<str> {
        let picture = self.picture.borrow();
        let meta = picture.services.get(META).map_or(&self.bootstrap.service, |info| info);
        meta.policy.control_region.clone()
    }

    /// Stops serving once a deployment of this process is registered at a higher generation.
    fn look_for_own_generations(&self) {
        let picture = self.picture.borrow().clone();
        for registration in &self.parts.registrations {
            let deployment = &registration.deployment;
            let Some(info) = picture.deployments.get(deployment) else { continue };
            let (ours, registered) = (registration.info.generation, info.generation);
            if registered > ours {
                tracing::error!(%deployment, ours, registered, "this deployment was declared gone; it stops serving and must join anew, empty");
                self.serving.send_replace(Serving::DeclaredGone {
                    deployment: deployment.clone(),
                    ours,
                    registered,
                });
            }
        }
    }
}

impl Serving {
    /// The refusal of every request, if nothing is served any more.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub fn check(&self) -> Result<(), Status> {
        match self {
            Self::Yes => Ok(()),
            Self::DeclaredGone { .. } => Err(Status::new(Reason::Unavailable, self.to_string())),
        }
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("serving"),
            Self::DeclaredGone { deployment, ours, registered } => write!(
                f,
                "{deployment} was declared gone: its generation is {ours}, registered is {registered}"
            ),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(status) = &self.refused {
            return write!(f, "refused: {}", status.message);
        }
        if self.is_ready {
            return f.write_str("ready");
        }
        // Many deployments wait for the same.
        let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (id, waits_for) in &self.waits {
            by_reason.entry(waits_for).or_default().push(id.to_string());
        }
        let told =
            by_reason.iter().map(|(what, who)| format!("{} waits for {what}", who.join(", ")));
        f.write_str(&told.collect::<Vec<_>>().join("; "))
    }
}

/// Runs `work` until the other end of `stopped` is dropped.
async fn until_dropped(mut stopped: watch::Receiver<()>, work: impl Future<Output = ()> + Send) {
    let stop = Box::pin(async move { while stopped.changed().await.is_ok() {} });
    select(stop, Box::pin(work)).await;
}
