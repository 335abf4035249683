//! Virtual time, and the tasks of simulated processes, run one at a time in an order that the seed decides.
//!
//! The executor is our own, and small: which of the tasks that can go on goes on next is drawn from the seed among the
//! *set* of them, so the order in which they were woken decides nothing. That keeps a run the same where libraries wake in
//! an order of their own (shards of `tokio::sync::watch`, hash maps), and explores interleavings that a queue never
//! has. When no task can go on, time jumps to the next timer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bowline_base::Seams;
use bowline_base::seams::BoxFuture;
use fastrand::Rng;

use crate::seams;
use crate::timer::{Sleep, Timers};
use crate::trace::Trace;

/// What each poll takes of virtual time, so that nothing runs for ever in no time.
const POLL_TAKES: Duration = Duration::from_micros(1);
/// Polls after which a run is taken for an endless loop.
const STEPS_MAX: u64 = 50_000_000;

/// A process of a world; its tasks end when it crashes. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(u64);

impl ProcessId {
    /// The world itself, that of clients and of what plans the faults: never crashes.
    pub const OUTSIDE: Self = Self(0);
}

type TaskId = u64;

/// A handle to a world; cheap to clone.
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    timers: Mutex<Timers>,
    random: Mutex<Rng>,
    trace: Mutex<Trace>,
    ready: Arc<Mutex<BTreeSet<TaskId>>>,
    failure: Mutex<Option<String>>,
}

#[derive(Default)]
struct State {
    now: Duration,
    next_task: TaskId,
    next_process: u64,
    /// `None` while a task is being polled.
    tasks: BTreeMap<TaskId, Task>,
    processes: BTreeMap<ProcessId, Process>,
}

struct Task {
    process: ProcessId,
    future: Option<BoxFuture<()>>,
    waker: Waker,
}

struct Process {
    name: String,
    started_at: Duration,
    skew_millis: i64,
    is_paused: bool,
}

struct TaskWaker {
    id: TaskId,
    ready: Arc<Mutex<BTreeSet<TaskId>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.ready).insert(self.id);
    }
}

/// Why a run did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Nothing can go on, yet what was waited for is not done.
    #[error("the world stands still after {steps} steps at {now:?}")]
    Stalled { steps: u64, now: Duration },
    #[error("the world goes on and on: {steps} steps at {now:?}")]
    Endless { steps: u64, now: Duration },
    /// What must hold does not: see [`World::fail`].
    #[error("{0}")]
    Failed(String),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world without processes, at time zero.
    pub fn new(seed: u64) -> Self {
        let outside = Process::new("outside", Duration::ZERO);
        let state = State {
            processes: BTreeMap::from([(ProcessId::OUTSIDE, outside)]),
            next_process: 1,
            ..State::default()
        };
        let shared = Shared {
            state: Mutex::new(state),
            timers: Mutex::default(),
            random: Mutex::new(Rng::with_seed(seed)),
            trace: Mutex::default(),
            ready: Arc::default(),
            failure: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Time since the world began.
    pub fn now(&self) -> Duration {
        self.state().now
    }

    /// Completes after `duration`.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        Sleep::until(self, self.now().saturating_add(duration))
    }

    /// Draws from the seed. `draw` must not call the world.
    pub fn random<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut lock(&self.shared.random))
    }

    /// True once in `1 / probability` calls.
    pub fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && self.random(|random| random.f64() < probability)
    }

    /// Evenly between the two.
    pub fn between(&self, from: Duration, to: Duration) -> Duration {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let (from, to) = (micros(from), micros(to));
        Duration::from_micros(self.random(|random| random.u64(from..=to.max(from))))
    }

    /// Adds a line to the trace.
    pub fn note(&self, text: impl Into<String>) {
        let now = self.now();
        lock(&self.shared.trace).event(now, text.into());
    }

    /// What happened until now; `read` must not call the world.
    pub fn trace<T>(&self, read: impl FnOnce(&Trace) -> T) -> T {
        read(&lock(&self.shared.trace))
    }

    /// Begins a process. Its monotonic clock starts now.
    pub fn start_process(&self, name: impl Into<String>) -> ProcessId {
        let mut state = self.state();
        let id = ProcessId(state.next_process);
        state.next_process += 1;
        let process = Process::new(name, state.now);
        state.processes.insert(id, process);
        id
    }

    /// What code that runs in `process` takes time, randomness and tasks from.
    pub fn seams(&self, process: ProcessId) -> Seams {
        seams::of(self, process)
    }

    /// Ends a process at once: no task of it is polled again.
    pub fn crash(&self, process: ProcessId) {
        let mut state = self.state();
        state.processes.remove(&process);
        let gone: Vec<TaskId> =
            state.tasks.iter().filter(|(_, t)| t.process == process).map(|(id, _)| *id).collect();
        let gone: Vec<Task> = gone.iter().filter_map(|id| state.tasks.remove(id)).collect();
        drop(state);
        // What they hold is dropped without any lock: it may wake others, or end timers.
        drop(gone);
    }

    /// Whether the process was started and has not crashed.
    pub fn is_alive(&self, process: ProcessId) -> bool {
        self.state().processes.contains_key(&process)
    }

    /// Stops a process from going on until it is resumed; time passes meanwhile.
    pub fn pause(&self, process: ProcessId) {
        self.set_paused(process, true);
    }

    pub fn resume(&self, process: ProcessId) {
        self.set_paused(process, false);
    }

    fn set_paused(&self, process: ProcessId, is_paused: bool) {
        if let Some(process) = self.state().processes.get_mut(&process) {
            process.is_paused = is_paused;
        }
    }

    /// Makes the wall clock of a process jump; its monotonic clock does not.
    pub fn jump_clock(&self, process: ProcessId, millis: i64) {
        if let Some(process) = self.state().processes.get_mut(&process) {
            process.skew_millis = process.skew_millis.saturating_add(millis);
        }
    }

    /// Sets how wrong the wall clock of a process is.
    pub fn set_clock(&self, process: ProcessId, skew_millis: i64) {
        if let Some(process) = self.state().processes.get_mut(&process) {
            process.skew_millis = skew_millis;
        }
    }

    /// What the process is called in traces; empty when it is gone.
    pub fn process_name(&self, process: ProcessId) -> String {
        self.state().processes.get(&process).map(|p| p.name.clone()).unwrap_or_default()
    }

    pub(crate) fn skew_millis(&self, process: ProcessId) -> i64 {
        self.state().processes.get(&process).map_or(0, |process| process.skew_millis)
    }

    pub(crate) fn started_at(&self, process: ProcessId) -> Duration {
        self.state().processes.get(&process).map_or(Duration::ZERO, |process| process.started_at)
    }

    pub(crate) fn with_timers<T>(&self, change: impl FnOnce(&mut Timers) -> T) -> T {
        change(&mut lock(&self.shared.timers))
    }

    /// Runs `task` in a process until it ends or the process crashes. In a process that is gone it never runs.
    pub fn spawn(&self, process: ProcessId, _name: &'static str, task: BoxFuture<()>) {
        let mut state = self.state();
        if !state.processes.contains_key(&process) {
            drop(state);
            drop(task);
            return;
        }
        let id = state.next_task;
        state.next_task += 1;
        let waker = Waker::from(Arc::new(TaskWaker { id, ready: self.shared.ready.clone() }));
        state.tasks.insert(id, Task { process, future: Some(task), waker });
        drop(state);
        lock(&self.shared.ready).insert(id);
    }

    /// Says that something does not hold that must: the run ends with this step. The first one counts.
    pub fn fail(&self, violation: impl Into<String>) {
        let violation = violation.into();
        self.note(format!("VIOLATION: {violation}"));
        lock(&self.shared.failure).get_or_insert(violation);
    }

    /// Runs the world until `main`, which is outside of all processes, is done.
    ///
    /// # Errors
    /// Nothing can go on any more, [`STEPS_MAX`] is passed, or somebody called [`World::fail`].
    pub fn run<T: Send + 'static>(
        &self,
        main: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Ended> {
        let result = Arc::new(Mutex::new(None));
        let own = result.clone();
        let task = async move {
            let value = main.await;
            *lock(&own) = Some(value);
        };
        self.spawn(ProcessId::OUTSIDE, "main", Box::pin(task));
        loop {
            let goes_on = self.step();
            if let Some(violation) = lock(&self.shared.failure).clone() {
                return Err(Ended::Failed(violation));
            }
            if let Some(value) = lock(&result).take() {
                return Ok(value);
            }
            let (steps, now) = (self.trace(Trace::steps), self.now());
            if !goes_on {
                return Err(Ended::Stalled { steps, now });
            }
            if steps >= STEPS_MAX {
                return Err(Ended::Endless { steps, now });
            }
        }
    }

    /// Ends all processes and drops all tasks, so that nothing keeps the world alive.
    pub fn end(&self) {
        let tasks = std::mem::take(&mut self.state().tasks);
        drop(tasks);
        lock(&self.shared.ready).clear();
    }

    /// Polls one task, or moves time to the next timer; false if there is nothing to do.
    fn step(&self) -> bool {
        match self.choose() {
            Some((id, future, waker)) => {
                self.poll(id, future, &waker);
                true
            }
            None => self.advance(),
        }
    }

    /// Takes one of the tasks that can go on.
    fn choose(&self) -> Option<(TaskId, BoxFuture<()>, Waker)> {
        let mut state = self.state();
        let mut ready = lock(&self.shared.ready);
        ready.retain(|id| state.tasks.contains_key(id));
        let may_run: Vec<TaskId> = ready.iter().copied().filter(|id| state.may_run(*id)).collect();
        if may_run.is_empty() {
            return None;
        }
        let chosen = may_run[lock(&self.shared.random).usize(..may_run.len())];
        ready.remove(&chosen);
        drop(ready);
        state.now += POLL_TAKES;
        let now = state.now;
        lock(&self.shared.trace).step(now, chosen);
        let task = state.tasks.get_mut(&chosen)?;
        let future = task.future.take()?;
        Some((chosen, future, task.waker.clone()))
    }

    fn poll(&self, id: TaskId, mut future: BoxFuture<()>, waker: &Waker) {
        let polled = future.as_mut().poll(&mut Context::from_waker(waker));
        let mut state = self.state();
        match polled {
            Poll::Pending => {
                if let Some(task) = state.tasks.get_mut(&id) {
                    task.future = Some(future);
                    return;
                }
            }
            Poll::Ready(()) => drop(state.tasks.remove(&id)),
        }
        drop(state);
        // Outside the lock, as in `crash`.
        drop(future);
    }

    fn advance(&self) -> bool {
        let Some(at) = self.with_timers(|timers| timers.next_at()) else { return false };
        let mut state = self.state();
        state.now = state.now.max(at);
        let now = state.now;
        drop(state);
        let due = self.with_timers(|timers| timers.take_due(now));
        due.into_iter().for_each(Waker::wake);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl State {
    fn may_run(&self, id: TaskId) -> bool {
        let process = self.tasks.get(&id).and_then(|task| self.processes.get(&task.process));
        process.is_some_and(|process| !process.is_paused)
    }
}

impl Process {
    fn new(name: impl Into<String>, started_at: Duration) -> Self {
        Self { name: name.into(), started_at, skew_millis: 0, is_paused: false }
    }
}

#[cfg(test)]
mod tests;
