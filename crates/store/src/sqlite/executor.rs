//! The executor of a backend that has one writer: a thread with a queue, or the same queue drained by its callers.
//!
//! Knows nothing of SQLite. A [`Worker`] is given groups of jobs, in the order in which they were submitted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

/// Who runs the writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// A thread of its own; callers wait without blocking. For production.
    #[default]
    Thread,
    /// Whoever submits runs what is queued, in its own task, blocking it. For the simulator: no thread, no timing.
    Inline,
}

/// How much a group may hold; a single job may exceed the weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    pub(crate) jobs_max: usize,
    pub(crate) weight_max: usize,
    /// Jobs that wait before submitting has to wait as well.
    pub(crate) queue_max: usize,
}

/// What does the work.
pub(crate) trait Worker: Send + Sized + 'static {
    type Job: Send;

    /// What `job` counts towards [`GroupLimits::weight_max`].
    fn weight(job: &Self::Job) -> usize;

    /// Does all of `group`, and answers each job.
    fn run(&mut self, group: Vec<Self::Job>);

    /// Does a little of what can wait, and tells whether there is more. Called after every group, and while there are no
    /// jobs for as long as there is more.
    fn rest(&mut self) -> bool {
        false
    }

    /// The last call.
    fn finish(self);
}

/// Nothing is accepted any more.
#[derive(Debug)]
pub(crate) struct Closed;

/// The way to a worker.
pub(crate) struct Queue<W: Worker>(Kind<W>);

enum Kind<W: Worker> {
    Thread { sender: mpsc::Sender<Message<W::Job>>, ended: watch::Receiver<()> },
    Inline(Mutex<Inline<W>>),
}

enum Message<J> {
    Job(J),
    Close,
}

struct Inline<W: Worker> {
    waiting: VecDeque<W::Job>,
    /// Absent after closing.
    worker: Option<W>,
    limits: GroupLimits,
}

impl<W: Worker> Queue<W> {
    /// Hands `worker` to an executor.
    pub(crate) fn start(
        executor: Executor,
        worker: W,
        limits: GroupLimits,
    ) -> std::io::Result<Self> {
        match executor {
            Executor::Thread => Self::start_thread(worker, limits),
            Executor::Inline => {
                let inline = Inline { waiting: VecDeque::new(), worker: Some(worker), limits };
                Ok(Self(Kind::Inline(Mutex::new(inline))))
            }
        }
    }

    fn start_thread(worker: W, limits: GroupLimits) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(limits.queue_max.max(1));
        let (end, ended) = watch::channel(());
        // The thread ends by itself when every sender is gone, so its handle is not kept.
        std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            run_thread(worker, receiver, limits);
            drop(end);
        })?;
        Ok(Self(Kind::Thread { sender, ended }))
    }

    /// Accepts `job`; waits while the queue is full.
    pub(crate) async fn submit(&self, job: W::Job) -> Result<(), Closed> {
        match &self.0 {
            Kind::Thread { sender, .. } => sender.send(Message::Job(job)).await.map_err(|_| Closed),
            Kind::Inline(inline) => {
                lock(inline).push(job)?;
                // Others that are ready submit as well, so that groups form here as they do with a thread.
                tokio::task::yield_now().await;
                lock(inline).drain();
                Ok(())
            }
        }
    }

    /// Finishes what was accepted, and the worker; later jobs are refused. Completes when all is done.
    pub(crate) async fn close(&self) {
        match &self.0 {
            Kind::Thread { sender, ended } => {
                // An error means that the thread has ended, which is what is wanted.
                let _ = sender.send(Message::Close).await;
                // Nothing is ever sent: this completes, with an error, when the thread drops its end.
                let _ = ended.clone().changed().await;
            }
            Kind::Inline(inline) => {
                let mut queue = lock(inline);
                queue.drain();
                if let Some(worker) = queue.worker.take() {
                    worker.finish();
                }
            }
        }
    }
}

impl<W: Worker> fmt::Debug for Queue<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Thread { .. } => f.write_str("Queue::Thread"),
            Kind::Inline(_) => f.write_str("Queue::Inline"),
        }
    }
}

fn lock<W: Worker>(inline: &Mutex<Inline<W>>) -> MutexGuard<'_, Inline<W>> {
    inline.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: Worker> Inline<W> {
    fn push(&mut self, job: W::Job) -> Result<(), Closed> {
        if self.worker.is_none() {
            return Err(Closed);
        }
        self.waiting.push_back(job);
        Ok(())
    }

    fn drain(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        while let Some(first) = self.waiting.pop_front() {
            let group = gather::<W>(first, self.limits, || self.waiting.pop_front());
            worker.run(group);
            worker.rest();
        }
    }
}

/// A group that starts with `first` and takes what is ready, up to the limits.
fn gather<W: Worker>(
    first: W::Job,
    limits: GroupLimits,
    mut next: impl FnMut() -> Option<W::Job>,
) -> Vec<W::Job> {
    let mut weight = W::weight(&first);
    let mut group = vec![first];
    while group.len() < limits.jobs_max && weight < limits.weight_max {
        let Some(job) = next() else { break };
        weight += W::weight(&job);
        group.push(job);
    }
    group
}

fn run_thread<W: Worker>(
    mut worker: W,
    mut receiver: mpsc::Receiver<Message<W::Job>>,
    limits: GroupLimits,
) {
    let mut is_busy = worker.rest();
    while let Some(message) = next(&mut worker, &mut receiver, is_busy) {
        let Message::Job(first) = message else {
            receiver.close();
            continue;
        };
        let mut is_closing = false;
        let group = gather::<W>(first, limits, || match receiver.try_recv() {
            Ok(Message::Job(job)) => Some(job),
            Ok(Message::Close) => {
                is_closing = true;
                None
            }
            Err(_) => None,
        });
        let expected = (group.len() + receiver.len()).min(limits.jobs_max);
        worker.run(group);
        if is_closing {
            receiver.close();
        }
        is_busy = worker.rest();
        wait_for_others(&receiver, expected);
    }
    worker.finish();
}

/// How often the processor is given to others before the next group begins. Each costs less than a microsecond when
/// nobody wants it.
const YIELDS_MAX: usize = 100;

/// Lets those who were just answered ask again, so that they are in the next group and not in the one after it.
///
/// `expected`: how many jobs there were before, which is how many callers there are. Without this, callers fall into two
/// halves that take turns, and each flush serves only one of them. Measured with 64: 40 % more creates a second.
fn wait_for_others<J>(receiver: &mpsc::Receiver<Message<J>>, expected: usize) {
    let mut yields = 0;
    while receiver.len() < expected && yields < YIELDS_MAX {
        std::thread::yield_now();
        yields += 1;
    }
}

/// The next message; until there is one the worker does what can wait, if it `is_busy` with that.
fn next<W: Worker>(
    worker: &mut W,
    receiver: &mut mpsc::Receiver<Message<W::Job>>,
    mut is_busy: bool,
) -> Option<Message<W::Job>> {
    while is_busy {
        match receiver.try_recv() {
            Ok(message) => return Some(message),
            Err(mpsc::error::TryRecvError::Disconnected) => return None,
            Err(mpsc::error::TryRecvError::Empty) => is_busy = worker.rest(),
        }
    }
    receiver.blocking_recv()
}
