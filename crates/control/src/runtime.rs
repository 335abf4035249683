//! The life of a controller: look for work, work it off queue by queue, wait until there is a reason to look again.
//!
//! Reasons are: the bell of the deployment, a queue that came to its end, a range that changed, time. A queue's work is
//! bounded in items and time, and what fails or panics in it concerns this queue alone.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::{Seams, Status};
use bowline_store::ring::Shards;
use futures::future::{BoxFuture, Either, select};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use crate::agenda::{Agenda, Fate, Item, Turned};
use crate::bell::{Heard, Listener};
use crate::status::{Board, Report};

/// Longest wait while something is pending, before jitter: other processes leave work without ringing here.
const PENDING_PERIOD: Duration = Duration::from_secs(2);
/// Longest wait otherwise, before jitter.
const IDLE_PERIOD: Duration = Duration::from_secs(30);
/// After a ring, so that what many saves leave at once is found at once.
const GATHER: Duration = Duration::from_millis(10);
/// Shortest wait between two looks that nobody rang for.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause after a look that took long.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Longest work at one batch; then it is given up, as if the process had died there.
const WORK_MAX: Duration = Duration::from_secs(120);

/// Why a controller could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// What it serves is no more; it ends.
    Over,
    /// It tries again later.
    Failed(Status),
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

/// What became of a batch: by id; items that are not named are done.
pub type Worked = BTreeMap<Arc<str>, Fate>;

/// Finds work, and does it. Everything it does has to bear being done twice, late, or by two processes at once.
#[async_trait]
pub trait Controller: Send + Sync + 'static {
    type Work: Send + 'static;

    /// `owned_pending`; for logs and status.
    fn name(&self) -> &'static str;

    /// Offers all that there is to do in `shards`, read in pages.
    ///
    /// # Errors
    /// The pass is given up; what was offered before counts.
    async fn find(
        &self,
        shards: Shards,
        offer: &mut (dyn FnMut(Item<Self::Work>) + Send),
    ) -> Result<(), Trouble>;

    /// Works at a batch of one queue.
    ///
    /// # Errors
    /// The whole queue waits, longer each time: what stands in the way concerns all of it.
    async fn work(&self, queue: &Arc<str>, items: Vec<Item<Self::Work>>)
    -> Result<Worked, Trouble>;
}

/// What a controller runs on.
pub struct Parts {
    pub seams: Seams,
    pub bell: Listener,
    /// This process's part of the ring, [`crate::lease::follow`].
    pub shards: watch::Receiver<Shards>,
    pub board: Arc<Board>,
}

type Ended = (Arc<str>, Vec<Arc<str>>, Result<Worked, Trouble>);

struct Running<C: Controller> {
    controller: Arc<C>,
    name: Arc<str>,
    parts: Parts,
    agenda: Agenda<C::Work>,
    at_work: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// What the last look took.
    took: Duration,
}

/// Runs a controller until its bell closes, its lease ends, or it says that it is over.
pub async fn run<C: Controller>(controller: Arc<C>, parts: Parts) {
    let name = controller.name().into();
    let (agenda, at_work) = (Agenda::default(), FuturesUnordered::new());
    let took = Duration::ZERO;
    let mut running = Running { controller, name, parts, agenda, at_work, took };
    // `Err` is the way out.
    while running.round().await.is_ok() {}
}

/// The controller is over.
struct Over;

impl<C: Controller> Running<C> {
    async fn round(&mut self) -> Result<(), Over> {
        let shards = *self.parts.shards.borrow_and_update();
        let wait = if shards.is_empty() { IDLE_PERIOD } else { self.pass(shards).await? };
        let report = Report {
            controller: self.name.clone(),
            shards,
            run_millis: self.parts.seams.clock.now().as_millisecond(),
            queues: self.agenda.status(&self.name, shards),
        };
        self.parts.board.tell(&self.name, report);
        self.wait(wait).await
    }

    /// Looks for work and begins what is due; the time until the next look.
    async fn pass(&mut self, shards: Shards) -> Result<Duration, Over> {
        let now = self.parts.seams.clock.monotonic();
        let agenda = &mut self.agenda;
        agenda.begin();
        let mut offer = |item| agenda.offer(item, now);
        let found = AssertUnwindSafe(self.controller.find(shards, &mut offer)).catch_unwind().await;
        let period = match found {
            Ok(Ok(())) => {
                self.agenda.end();
                if self.agenda.has_pending() { PENDING_PERIOD } else { IDLE_PERIOD }
            }
            Ok(Err(Trouble::Over)) => return Err(Over),
            Ok(Err(Trouble::Failed(status))) => {
                tracing::warn!(controller = %self.name, error = %status, "look for work");
                PENDING_PERIOD
            }
            Err(_) => {
                tracing::error!(controller = %self.name, "looking for work panicked");
                PENDING_PERIOD
            }
        };
        self.took = self.parts.seams.clock.monotonic().saturating_sub(now);
        for (queue, items) in self.agenda.take(now) {
            self.start(queue, items);
        }
        let due = self.agenda.due().map(|due| due.saturating_sub(now).max(PAUSE_MIN));
        Ok(due.unwrap_or(period).min(self.jittered(period)))
    }

    fn start(&self, queue: Arc<str>, items: Vec<Item<C::Work>>) {
        let (controller, seams) = (self.controller.clone(), self.parts.seams.clone());
        let ids: Vec<_> = items.iter().map(|item| item.id.clone()).collect();
        self.at_work.push(Box::pin(async move {
            let work = AssertUnwindSafe(controller.work(&queue, items)).catch_unwind();
            let timer = seams.clock.sleep(WORK_MAX);
            let failed = |why: &str| {
                let status = Status::new(bowline_base::Reason::Internal, why);
                Err(Trouble::Failed(status))
            };
            let worked = match select(Box::pin(work), timer).await {
                Either::Left((Ok(worked), _)) => worked,
                Either::Left((Err(_), _)) => failed("the work panicked"),
                Either::Right(_) => failed("the work did not come to an end in time"),
            };
            (queue, ids, worked)
        }));
    }

    /// Waits for a reason to look again.
    async fn wait(&mut self, longest: Duration) -> Result<(), Over> {
        let timer = self.parts.seams.clock.sleep(longest);
        let ended = {
            let at_work = &mut self.at_work;
            let next = async move {
                match at_work.next().await {
                    Some(ended) => ended,
                    None => futures::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ended = next => Some(ended),
                heard = self.parts.bell.heard() => match heard {
                    Heard::Closed => return Err(Over),
                    Heard::Ring => None,
                },
                changed = self.parts.shards.changed() => {
                    changed.map_err(|_| Over)?;
                    None
                }
                () = timer => return Ok(()),
            }
        };
        let pause = match ended {
            Some(ended) => {
                self.finish_all(ended)?;
                self.took
            }
            None => self.took.max(GATHER),
        };
        // Where there is much to look at, looking is no more than half of what is done.
        if pause > Duration::ZERO {
            self.parts.seams.clock.sleep(pause.min(LOOK_PAUSE_MAX)).await;
        }
        Ok(())
    }

    /// Takes note of a batch that came to its end, and of all others that have meanwhile.
    fn finish_all(&mut self, ended: Ended) -> Result<(), Over> {
        let mut ended = Some(ended);
        while let Some((queue, ids, worked)) = ended {
            self.finish(&queue, &ids, worked)?;
            ended = self.at_work.next().now_or_never().flatten();
        }
        Ok(())
    }

    fn finish(
        &mut self,
        queue: &Arc<str>,
        ids: &[Arc<str>],
        worked: Result<Worked, Trouble>,
    ) -> Result<(), Over> {
        let (now, jitter) = (self.parts.seams.clock.monotonic(), self.jitter());
        match worked {
            Ok(fates) => {
                if self.agenda.finish(queue, ids, fates, now, jitter) == Turned::Good {
                    tracing::info!(controller = %self.name, %queue, "goes on");
                }
                Ok(())
            }
            Err(Trouble::Over) => Err(Over),
            Err(Trouble::Failed(status)) => {
                let text = status.to_string();
                if self.agenda.fail(queue, text.clone(), now, jitter) == Turned::Bad {
                    tracing::warn!(controller = %self.name, %queue, error = text, "waits to try again");
                }
                Ok(())
            }
        }
    }

    fn jitter(&self) -> u8 {
        let mut byte = [0_u8; 1];
        self.parts.seams.random.fill(&mut byte);
        byte[0]
    }

    /// Between half and the whole.
    fn jittered(&self, whole: Duration) -> Duration {
        whole / 2 + (whole / 2).mul_f64(f64::from(self.jitter()) / f64::from(u8::MAX))
    }
}

#[cfg(test)]
mod tests;
