//! The network: calls between deployments that are late, lost, doubled, out of order, or cut off.
//!
//! It stands at the level of [`Peers`]: one call is a request and its answer, or a stream of answers. A message that does
//! not arrive shows as `UNAVAILABLE` after a while, as it does over a real connection; whether the call was carried out,
//! the caller does not learn. `stream` has what goes on while a stream is open.

mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::Status;
use bowline_node::{Answer, Call, DeploymentId, Peers, peers};
use bowline_store::RowId;
use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;

use crate::planted::{Fault, Memory};
use crate::world::{ProcessId, World};

/// How the network misbehaves. Probabilities are per message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkFaults {
    /// Shortest and longest way of a message.
    pub latency: (Duration, Duration),
    /// A message takes ten times as long as the longest way.
    pub straggles: f64,
    pub lost: f64,
    /// The request arrives twice, the second time up to a second later.
    pub doubled: f64,
    /// A stream breaks with a message.
    pub breaks: f64,
    /// Longest time until somebody notices that nothing arrives any more.
    pub notice_max: Duration,
}

impl NetworkFaults {
    /// A good network.
    pub const QUIET: Self = Self {
        latency: (Duration::from_micros(100), Duration::from_millis(2)),
        straggles: 0.0,
        lost: 0.0,
        doubled: 0.0,
        breaks: 0.0,
        notice_max: Duration::from_secs(2),
    };
}

/// What happens to one call that a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meddling {
    /// The request does not arrive.
    LoseRequest,
    /// The call is carried out, and nobody hears of it.
    LoseAnswer,
    /// The request takes this much longer.
    Late(Duration),
    /// The same request arrives once more, this much later.
    Again(Duration),
}

/// What answers calls in a process.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// Answers `call`, which `from` sent to its deployment `to` in this process.
    ///
    /// # Errors
    /// What the caller reads.
    async fn deliver(
        &self,
        from: DeploymentId,
        to: DeploymentId,
        call: Call,
    ) -> Result<Answer, Status>;
}

/// What passes a process's calls on: [`Peers`] of one process.
pub struct Line {
    network: Network,
    host: String,
    proof: Proof,
}

/// Makes the proof of who calls: `(from, to)` to the value of the header `bowline-caller`.
pub type Proof = Arc<dyn Fn(&DeploymentId, &DeploymentId) -> String + Send + Sync>;

/// All lines between all hosts; cheap to clone. A *host* is a place in the network, whatever process runs there.
#[derive(Clone)]
pub struct Network {
    world: World,
    state: Arc<Mutex<State>>,
}

struct State {
    faults: NetworkFaults,
    /// `(from, to)`: nothing gets through in this direction.
    cut: BTreeSet<(String, String)>,
    places: BTreeMap<DeploymentId, Place>,
    calls: u64,
    /// Of requests that were forwarded, by their ids: method, and the hosts that they came to.
    forwarded: BTreeMap<String, BTreeSet<(Arc<str>, String)>>,
    planted: Option<Fault>,
    /// For the next call of each method, by the last part of its path.
    meddling: Vec<(String, Meddling)>,
    /// Calls until now, by the last part of their paths.
    counts: BTreeMap<String, u64>,
    memory: Memory,
    lookup: Option<Lookup>,
}

/// Which resource has a name now, by version, kind and name: for planted faults.
pub(crate) type Lookup = Arc<dyn Fn(&str, &str, &str) -> Option<RowId> + Send + Sync>;

#[derive(Clone)]
struct Place {
    host: String,
    process: ProcessId,
    door: Arc<dyn Deliver>,
}

/// One call on its way.
#[derive(Clone)]
struct Trip {
    network: Network,
    number: u64,
    host: String,
    from: DeploymentId,
    to: DeploymentId,
    call: Call,
    meddling: Option<Meddling>,
}

impl State {
    /// The number of a call, and what is to happen to it.
    fn begin(&mut self, call: &Call) -> (u64, Option<Meddling>) {
        self.calls += 1;
        let method = call.path.rsplit('/').next().unwrap_or_default();
        *self.counts.entry(method.to_owned()).or_default() += 1;
        let found = self.meddling.iter().position(|(meant, _)| meant == method);
        (self.calls, found.map(|at| self.meddling.remove(at).1))
    }
}

impl Network {
    pub fn new(world: &World) -> Self {
        Self::planted(world, None)
    }

    /// A network with something wrong.
    pub fn planted(world: &World, planted: Option<Fault>) -> Self {
        let state = State {
            faults: NetworkFaults::QUIET,
            cut: BTreeSet::new(),
            places: BTreeMap::new(),
            calls: 0,
            forwarded: BTreeMap::new(),
            planted,
            meddling: Vec::new(),
            counts: BTreeMap::new(),
            memory: Memory::default(),
            lookup: None,
        };
        Self { world: world.clone(), state: Arc::new(Mutex::new(state)) }
    }

    pub fn set_faults(&self, faults: NetworkFaults) {
        self.state().faults = faults;
    }

    /// Nothing gets from `from` to `to` until [`Network::heal`].
    pub fn cut(&self, from: &str, to: &str) {
        self.world.note(format!("network: {from} to {to} is cut"));
        self.state().cut.insert((from.to_owned(), to.to_owned()));
    }

    /// Cuts both directions.
    pub fn part(&self, a: &str, b: &str) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Ends all cuts.
    pub fn heal(&self) {
        self.world.note("network: healed");
        self.state().cut.clear();
    }

    /// Does something to the next call of a method, `EstablishReferences`.
    pub fn meddle(&self, method: &str, meddling: Meddling) {
        self.state().meddling.push((method.to_owned(), meddling));
    }

    /// How often a method was called.
    pub fn calls(&self, method: &str) -> u64 {
        self.state().counts.get(method).copied().unwrap_or_default()
    }

    /// Lets planted faults know which resource has a name; taken back by [`Network::forget_all`].
    pub(crate) fn look_up(&self, lookup: Lookup) {
        self.state().lookup = Some(lookup);
    }

    /// What is wrong on purpose.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.state().planted
    }

    /// From now on calls to `to` arrive in `process` on `host`, through `door`.
    pub fn listen(&self, to: DeploymentId, host: &str, process: ProcessId, door: Arc<dyn Deliver>) {
        self.state().places.insert(to, Place { host: host.to_owned(), process, door });
    }

    /// Nobody listens any more; lets go of all doors.
    pub fn forget_all(&self) {
        let mut state = self.state();
        let gone = (std::mem::take(&mut state.places), state.lookup.take());
        drop(state);
        drop(gone);
    }

    /// The way out of `host`.
    pub fn line(&self, host: &str, proof: Proof) -> Arc<Line> {
        Arc::new(Line { network: self.clone(), host: host.to_owned(), proof })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> NetworkFaults {
        self.state().faults
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        self.state().cut.contains(&(from.to_owned(), to.to_owned()))
    }

    /// Carries one message; false if it does not arrive, after the time in which somebody notices.
    async fn carry(&self, from: &str, to: &str) -> bool {
        let faults = self.faults();
        let mut way = self.world.between(faults.latency.0, faults.latency.1);
        if self.world.chance(faults.straggles) {
            way = faults.latency.1 * 10;
        }
        let is_local = from == to;
        let is_lost = !is_local && self.world.chance(faults.lost);
        self.world.sleep(way).await;
        let arrives = is_local || !(is_lost || self.is_cut(from, to));
        if !arrives {
            let unnoticed = self.world.between(Duration::ZERO, faults.notice_max);
            self.world.sleep(unnoticed).await;
        }
        arrives
    }
}

#[async_trait]
impl Peers for Line {
    async fn call(
        &self,
        from: &DeploymentId,
        to: &DeploymentId,
        call: Call,
    ) -> Result<Answer, Status> {
        let (number, meddling) = self.network.state().begin(&call);
        let world = self.network.world.clone();
        let proof = (self.proof)(from, to);
        let mut call = call.with_header(peers::headers::CALLER, proof);
        self.check_hops(&call, to);
        if let Some(fault) = self.network.fault() {
            fault.spoil_call(&mut call);
        }
        let deadline = call.deadline.filter(|_| !call.streams);
        let trip = Trip {
            network: self.network.clone(),
            number,
            host: self.host.clone(),
            from: from.clone(),
            to: to.clone(),
            call,
            meddling,
        };
        trip.note("sent");
        let (sender, receiver) = oneshot::channel();
        trip.clone().start(sender);
        let answer =
            receiver.map(|answer| answer.unwrap_or_else(|_| Err(trip.unreachable("lost"))));
        let Some(deadline) = deadline else { return answer.await };
        let timer = Box::pin(world.sleep(deadline));
        match futures::future::select(Box::pin(answer), timer).await {
            futures::future::Either::Left((answer, _)) => answer,
            futures::future::Either::Right(_) => Err(trip.unreachable("nothing was heard in time")),
        }
    }
}

impl Line {
    /// A forwarded request is never forwarded again, whatever its mark says.
    fn check_hops(&self, call: &Call, to: &DeploymentId) {
        let is_forwarded = call.header(peers::headers::FORWARDED).is_some();
        let Some(id) = call.header(peers::headers::REQUEST_ID).filter(|_| is_forwarded) else {
            return;
        };
        let mut state = self.network.state();
        let there = state.places.get(to).map(|place| place.host.clone()).unwrap_or_default();
        let hosts = state.forwarded.entry(id.to_owned()).or_default();
        let came_here = hosts.contains(&(call.path.clone(), self.host.clone()));
        hosts.insert((call.path.clone(), there));
        drop(state);
        if came_here {
            let host = &self.host;
            self.network.world.fail(format!("request {id} was forwarded to {host} and on to {to}"));
        }
    }
}

type Answered = Result<Answer, Status>;

impl Trip {
    fn note(&self, what: &str) {
        let Self { number, from, to, call, host, .. } = self;
        let method = call.path.rsplit('/').next().unwrap_or_default();
        self.network.world.note(format!("call {number} {host}: {from} to {to} {method}: {what}"));
    }

    fn unreachable(&self, why: &str) -> Status {
        peers::unreachable(&self.to, why)
    }

    fn place(&self) -> Option<Place> {
        self.network.state().places.get(&self.to).cloned()
    }

    /// The call is under way from here on, whether or not the caller waits.
    fn start(self, sender: oneshot::Sender<Answered>) {
        let world = self.network.world.clone();
        let is_doubled = self.network.world.chance(self.network.faults().doubled);
        let later = match self.meddling {
            Some(Meddling::Again(later)) => Some(later),
            _ if is_doubled => Some(world.between(Duration::ZERO, Duration::from_secs(1))),
            _ => None,
        };
        if let Some(later) = later.filter(|_| !self.call.streams) {
            let again = Self { meddling: None, ..self.clone() };
            let twice = async move {
                again.network.world.sleep(later).await;
                again.note("arrives once more");
                drop(again.there_and_back().await);
            };
            world.spawn(ProcessId::OUTSIDE, "doubled call", Box::pin(twice));
        }
        let once = async move {
            let answer = self.there_and_back().await;
            self.note(if answer.is_ok() { "answered" } else { "failed" });
            // The caller may have given up.
            let _ = sender.send(answer);
        };
        world.spawn(ProcessId::OUTSIDE, "call", Box::pin(once));
    }

    async fn there_and_back(&self) -> Answered {
        if let Some(Meddling::Late(late)) = self.meddling {
            self.network.world.sleep(late).await;
        }
        let Some(place) = self.place() else { return Err(self.unreachable("nobody is there")) };
        let is_lost = self.meddling == Some(Meddling::LoseRequest);
        if is_lost || !self.network.carry(&self.host, &place.host).await {
            return Err(self.unreachable("the request was lost"));
        }
        let Some(place) = self.place() else { return Err(self.unreachable("nobody is there")) };
        let answer = self.serve(&place).await;
        let is_lost = self.meddling == Some(Meddling::LoseAnswer);
        if is_lost || !self.network.carry(&place.host, &self.host).await {
            return Err(self.unreachable("the answer was lost"));
        }
        match answer.unwrap_or_else(|| Err(self.unreachable("the process ended"))) {
            Ok(Answer::Stream(messages)) => Ok(stream::carry(self, &place, messages)),
            Ok(Answer::Unary { message, headers }) => {
                Ok(Answer::Unary { message: self.spoil_answer(message), headers })
            }
            answer => answer,
        }
    }

    /// What a planted fault makes of the answer.
    fn spoil_answer(&self, answer: Bytes) -> Bytes {
        let mut state = self.network.state();
        match state.planted {
            Some(fault) => {
                fault.spoil_answer(&mut state.memory, &self.call.path, &self.call.message, answer)
            }
            None => answer,
        }
    }

    /// Runs the call in its process; `None` if that ends meanwhile.
    async fn serve(&self, place: &Place) -> Option<Answered> {
        let (sender, receiver) = oneshot::channel();
        let (door, from, to, call) =
            (place.door.clone(), self.from.clone(), self.to.clone(), self.call.clone());
        let work = async move {
            let _ = sender.send(door.deliver(from, to, call).await);
        };
        self.network.world.spawn(place.process, "served call", Box::pin(work));
        receiver.await.ok()
    }
}
