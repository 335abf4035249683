//! Listening to the deletions of others: one stream for each deployment whose deletions can concern this one, resumed
//! where it was cut, given up when it is silent, begun anew now and then.
//!
//! Only what something here refers to is kept, in memory: whoever tells of it tells again when asked from the start.
//! Nothing can refer to it that does not yet, since its deletion has fenced; so what concerns nobody here never will.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_base::{Reason, Seams, Status};
use bowline_control::retry::Retry;
use bowline_control::{Heard as Ring, Listener, Report, Trouble};
use bowline_node::{Answer, Call, DeploymentId};
use bowline_store::RowId;
use bowline_store::ring::Shards;
use bowline_wire::bowline::mixin::v1::{self as wire, method};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, select};
use prost::Message;
use tokio::sync::oneshot;

use super::consequence::Gone;
use super::{ANSWER_MAX, Here, interested};
use crate::engine::graph::telling::PROGRESS_PERIOD;
use crate::engine::{Deployment, Engine};

/// A stream on which nothing came for so long is given up.
const SILENCE_MAX: Duration = PROGRESS_PERIOD.saturating_mul(3);
/// Longest wait before a stream is opened again: a deployment that is back is to be heard soon.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Failures in a row that are nothing to tell people: while a fleet starts, some do not know each other yet.
const QUIET: u64 = 4;
/// After this long a stream is begun anew from the start, so that nothing is missed for ever.
const LIFE: Duration = Duration::from_secs(1_800);
/// Deletions of one deployment that are kept; those beyond are heard again later.
const KEPT_MAX: usize = 16_384;

/// Deletions that concern this deployment and are not worked off.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<AllKept>);

/// By who told, then by uid.
type AllKept = BTreeMap<DeploymentId, BTreeMap<RowId, Kept>>;

#[derive(Debug)]
struct Kept {
    gone: Arc<Gone>,
    /// When it was last looked whether it still concerns anything.
    looked: Duration,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, AllKept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, by who told, then by uid.
    pub(super) fn all(&self) -> Vec<(DeploymentId, Arc<Gone>)> {
        let all = self.lock();
        let pairs = all.iter().flat_map(|(from, kept)| {
            kept.values().map(move |kept| (from.clone(), kept.gone.clone()))
        });
        pairs.collect()
    }

    pub(super) fn forget(&self, from: &DeploymentId, gone: &Gone) {
        if let Some(kept) = self.lock().get_mut(from) {
            kept.remove(&gone.uid);
        }
    }

    fn count(&self, from: &DeploymentId) -> usize {
        self.lock().get(from).map_or(0, BTreeMap::len)
    }

    /// Whether the last look at it is longer ago than `period`; then this is the look.
    pub(super) fn is_look_due(
        &self,
        from: &DeploymentId,
        gone: &Gone,
        now: Duration,
        period: Duration,
    ) -> bool {
        let mut all = self.lock();
        let kept = all.get_mut(from).and_then(|kept| kept.get_mut(&gone.uid));
        let Some(kept) = kept else { return false };
        let is_due = now.saturating_sub(kept.looked) >= period;
        if is_due {
            kept.looked = now;
        }
        is_due
    }

    /// `false` if there are too many of that deployment.
    fn keep(&self, from: &DeploymentId, gone: Gone, now: Duration) -> bool {
        let mut all = self.lock();
        let kept = all.entry(from.clone()).or_default();
        if kept.len() >= KEPT_MAX && !kept.contains_key(&gone.uid) {
            return false;
        }
        let uid = gone.uid;
        kept.entry(uid).or_insert_with(|| Kept { gone: Arc::new(gone), looked: now });
        true
    }
}

/// Starts to listen to all that concern `deployment`, those that come and go as well.
pub(super) fn start(
    engine: &Arc<Engine>,
    deployment: &Arc<Deployment>,
    here: Here,
    heard: Arc<Heard>,
    referred: BTreeSet<String>,
) {
    let (bell, seams) = (deployment.bell(), engine.seams.clone());
    let picture = engine.routing.as_ref().map(|routing| routing.picture.clone());
    let registry = engine.registry.clone();
    let task = async move {
        // Dropping a sender ends its stream.
        let mut streams: BTreeMap<DeploymentId, oneshot::Sender<Infallible>> = BTreeMap::new();
        let mut picture = picture;
        loop {
            let now = picture.as_mut().map(|picture| picture.borrow_and_update().clone());
            let peers = interested::peers(&here.me, &referred, &registry, now.as_deref());
            streams.retain(|peer, _| peers.contains(peer));
            for peer in peers {
                let begin = || listen(&here, &heard, &peer, &bell, &seams);
                streams.entry(peer.clone()).or_insert_with(begin);
            }
            if wait_for_change(&mut picture, &bell).await == Ring::Closed {
                return;
            }
        }
    };
    engine.seams.tasks.spawn("deletions", Box::pin(task));
}

/// Waits until there may be others to listen to.
async fn wait_for_change(
    picture: &mut Option<tokio::sync::watch::Receiver<Arc<bowline_node::Picture>>>,
    bell: &Listener,
) -> Ring {
    let changed = async {
        let is_changed = match picture {
            Some(picture) => picture.changed().await.is_ok(),
            None => false,
        };
        if !is_changed {
            // Who keeps the picture no more has said all that is known.
            futures::future::pending::<()>().await;
        }
    };
    let mut bell = bell.clone();
    match select(Box::pin(changed), Box::pin(closed(&mut bell))).await {
        Either::Left(_) => Ring::Ring,
        Either::Right(_) => Ring::Closed,
    }
}

/// Completes when the deployment closes.
async fn closed(bell: &mut Listener) {
    while bell.heard().await == Ring::Ring {}
}

fn listen(
    here: &Here,
    heard: &Arc<Heard>,
    peer: &DeploymentId,
    bell: &Listener,
    seams: &Seams,
) -> oneshot::Sender<Infallible> {
    let (stop, stopped) = oneshot::channel();
    let ear = Ear {
        here: here.clone(),
        heard: heard.clone(),
        peer: peer.clone(),
        seams: seams.clone(),
        token: String::new(),
        is_lossy: false,
        told: None,
        failures: 0,
    };
    let mut bell = bell.clone();
    let task = async move {
        let over = select(stopped, Box::pin(closed(&mut bell)));
        select(over, Box::pin(ear.run())).await;
    };
    seams.tasks.spawn("deletions of a peer", Box::pin(task));
    stop
}

/// One stream, again and again.
struct Ear {
    here: Here,
    heard: Arc<Heard>,
    peer: DeploymentId,
    seams: Seams,
    /// Everything before it was taken in.
    token: String,
    /// Something had to be left out, and is to be heard again.
    is_lossy: bool,
    /// The failure that was told last, unless something was heard since.
    told: Option<String>,
    /// Since something was heard.
    failures: u64,
}

impl Ear {
    async fn run(mut self) {
        let mut retry = Retry::default();
        loop {
            let began = self.seams.clock.monotonic();
            let (status, has_heard) = match self.stream(began).await {
                Ok(()) => (None, true),
                Err(End { trouble: Trouble::Over, .. }) => return,
                Err(End { trouble: Trouble::Failed(status), has_heard }) => {
                    (Some(status), has_heard)
                }
            };
            let now = self.seams.clock.monotonic();
            retry = if has_heard { Retry::default() } else { retry };
            if let Some(status) = &status {
                self.tell_failure(status);
            }
            let mut jitter = [0_u8; 1];
            self.seams.random.fill(&mut jitter);
            retry = retry.after(now, jitter[0]);
            self.seams.clock.sleep(retry.due.saturating_sub(now).min(WAIT_MAX)).await;
        }
    }

    /// Logs a failure that lasts unless it was the last thing that was told, and shows it until something is heard again.
    fn tell_failure(&mut self, status: &Status) {
        self.failures += 1;
        if self.failures > QUIET && self.told.as_ref() != Some(&status.message) {
            tracing::info!(me = %self.here.me, peer = %self.peer, error = %status, "deletions are not heard; trying again");
            self.told = Some(status.message.clone());
        }
        let queue = bowline_control::Status {
            controller: "hear".into(),
            queue: self.peer.to_string().into(),
            shards: Shards::NONE,
            pending: 0,
            oldest_millis: None,
            last_error: Some(status.message.as_str().into()),
            failures: self.failures,
            waits_for: None,
            next_try: None,
        };
        let report = Report {
            controller: queue.controller.clone(),
            shards: Shards::NONE,
            run_millis: self.seams.clock.now().as_millisecond(),
            queues: vec![queue],
        };
        self.show(Some(report));
    }

    /// `None`: all is well.
    fn show(&self, report: Option<Report>) {
        let Ok((_, deployment)) = self.here.get() else { return };
        let who: Arc<str> = format!("hear {}", self.peer).into();
        match report {
            Some(report) => deployment.board.tell(&who, report),
            None => deployment.board.forget(&who),
        }
    }

    /// Something was heard.
    fn tell_success(&mut self) {
        if self.told.take().is_some() {
            tracing::info!(me = %self.here.me, peer = %self.peer, "deletions are heard again");
        }
        if std::mem::take(&mut self.failures) > 0 {
            self.show(None);
        }
    }

    /// Follows one stream until it has lived long enough.
    async fn stream(&mut self, began: Duration) -> Result<(), End> {
        let mut has_heard = false;
        let end = |trouble: Trouble, has_heard| End { trouble, has_heard };
        let mut messages = self.open().await.map_err(|trouble| end(trouble, false))?;
        loop {
            let silence = self.seams.clock.sleep(SILENCE_MAX);
            let message = match select(messages.next(), silence).await {
                Either::Left((Some(Ok(message)), _)) => message,
                Either::Left((Some(Err(status)), _)) => return Err(end(status.into(), has_heard)),
                Either::Left((None, _)) => return Err(end(self.failed("ended"), has_heard)),
                Either::Right(_) => return Err(end(self.failed("is silent"), has_heard)),
            };
            let taken = self.take_in(message).await;
            taken.map_err(|trouble| end(trouble, has_heard))?;
            has_heard = true;
            self.tell_success();
            if self.seams.clock.monotonic().saturating_sub(began) > LIFE {
                self.token.clear();
                return Ok(());
            }
        }
    }

    fn failed(&self, why: &str) -> Trouble {
        let message = format!("the stream of deletions of {} {why}", self.peer);
        Trouble::Failed(Status::new(Reason::Unavailable, message))
    }

    async fn open(&mut self) -> Result<bowline_node::peers::Messages, Trouble> {
        let (engine, _) = self.here.get()?;
        if std::mem::take(&mut self.is_lossy) {
            self.token.clear();
        }
        let request = wire::WatchDeletionsRequest { resume_token: self.token.clone() };
        let path = method::WATCH_IMPORTED_SERVICE_DELETIONS;
        let call = Call::stream(path, request.encode_to_vec()).within(Some(ANSWER_MAX));
        match engine.call_peer(&self.here.me, &self.peer, call).await? {
            Answer::Stream(messages) => Ok(messages),
            Answer::Unary { .. } => Err(self.failed("is none")),
        }
    }

    /// Keeps those deletions that something here refers to.
    async fn take_in(&mut self, message: Bytes) -> Result<(), Trouble> {
        let (engine, deployment) = self.here.get()?;
        let message = wire::WatchDeletionsResponse::decode(message)
            .map_err(|_| self.failed("does not decode"))?;
        let mut is_new = false;
        for deletion in &message.deletions {
            let Some(gone) = Gone::of(deletion) else { continue };
            if engine.is_referred_to(&deployment, &gone).await? {
                is_new = true;
                self.is_lossy |= !self.heard.keep(&self.peer, gone, self.seams.clock.monotonic());
            }
        }
        // Only now: a crash, or an error, before this hears of them again.
        if !message.resume_token.is_empty() {
            self.token = message.resume_token;
        }
        if is_new {
            deployment.ring();
        }
        match message.is_current && self.is_lossy && self.has_room() {
            true => Err(self.failed("told more than is kept, and is begun anew")),
            false => Ok(()),
        }
    }

    /// Whether half of what may be kept has been worked off.
    fn has_room(&self) -> bool {
        self.heard.count(&self.peer) < KEPT_MAX / 2
    }
}

/// Why a stream ended, and whether anything had come.
struct End {
    trouble: Trouble,
    has_heard: bool,
}

#[cfg(test)]
mod tests {
    use crate::engine::graph::delete::rule::Cause;

    use super::*;

    fn gone(uid: u128) -> Gone {
        let target = RowId(uid);
        let cause = Cause { root_cause: String::new(), actor: String::new(), target };
        Gone { uid: target, names: Vec::new(), cause, millis: 0 }
    }

    #[test]
    fn what_is_kept_of_one_deployment_is_bounded_and_does_not_displace_that_of_others() {
        let heard = Heard::default();
        let many: DeploymentId = "a.test@eu".parse().unwrap();
        let few: DeploymentId = "b.test@eu".parse().unwrap();
        let keep = |from: &DeploymentId, uid| heard.keep(from, gone(uid), Duration::ZERO);
        assert!((0..KEPT_MAX).all(|uid| keep(&many, uid as u128 + 1)));
        assert!(!keep(&many, 1 << 100));
        assert!(keep(&many, 1), "it is kept already");
        assert!(keep(&few, 1));
        heard.forget(&many, &gone(1));
        assert!(keep(&many, 1 << 100));
        assert_eq!(heard.all().len(), KEPT_MAX + 1);
    }

    #[test]
    fn what_others_work_at_is_looked_at_now_and_then() {
        let (heard, from) = (Heard::default(), "a.test@eu".parse().unwrap());
        heard.keep(&from, gone(1), Duration::ZERO);
        let period = Duration::from_secs(30);
        let is_due =
            |seconds| heard.is_look_due(&from, &gone(1), Duration::from_secs(seconds), period);
        assert_eq!([10, 30, 31, 60].map(is_due), [false, true, false, true]);
        assert!(!heard.is_look_due(&from, &gone(2), Duration::from_secs(99), period));
    }
}
