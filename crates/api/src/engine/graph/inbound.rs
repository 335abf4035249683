//! Changes of inbound parts of shadows. All changes of one row that come at the same time are one commit, so that many saves
//! which name the same foreign resource do not disturb each other.
//!
//! What a change comes to is decided in `graph::grant`; here is when it is committed, and under which conditions. A row has
//! a queue as long as somebody waits for it, worked off by a task of its own: nobody holds a lock while something is read
//! or written, and a caller who goes away leaves nothing half done.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_graph::grant::{Answer, Change, Moment};
use bowline_graph::inbound::{self, Inbound};
use bowline_graph::{TargetName, plan_save};
use bowline_node::DeploymentId;
use bowline_store::incarnation::TurnError;
use bowline_store::{Batch, CommitError, Condition, Key, Row, RowId, Write};
use futures::channel::oneshot;

use super::damaged;
use crate::engine::ownership::Guard;
use crate::engine::shape::Shape;
use crate::engine::{Deployment, Engine, errors, shape_key_of};

/// Changes that wait for one row; more is refused.
const WAITING_MAX: usize = 8_192;
/// Changes of one row that become one commit.
const TOGETHER_MAX: usize = 512;
/// For so long after a deletion's attempt nothing is granted: the deletion is about to know whether it can commit.
const COURTESY: Duration = Duration::from_secs(2);

/// The queues of one deployment.
#[derive(Debug, Default)]
pub(crate) struct InboundRows {
    /// By row; one that is there has a task that works it off.
    queues: Mutex<HashMap<Key, VecDeque<Waiting>>>,
    /// Rows that a deletion of this process has attempted, and until when (monotonic time) that holds off others.
    attempts: Mutex<HashMap<Key, Duration>>,
}

/// A change that somebody waits for.
#[derive(Debug)]
struct Waiting {
    change: Change,
    /// The resource, as the stored version has it. Counts only where there is no row yet, which would know better.
    target: TargetName,
    answer: oneshot::Sender<Result<Answer, Status>>,
}

/// The inbound row of one resource.
#[derive(Clone)]
struct Place {
    deployment: Arc<Deployment>,
    key: Key,
    uid: RowId,
}

/// A deletion is under way in this process: as long as it lives, and for [`COURTESY`], nothing is granted and no source asked to leave.
#[must_use = "dropping it lets others go on"]
pub(crate) struct Attempting {
    deployment: Arc<Deployment>,
    key: Key,
    until: Duration,
}

impl Drop for Attempting {
    fn drop(&mut self) {
        let mut attempts = self.deployment.inbound.attempts();
        // A later one goes on holding off others.
        if attempts.get(&self.key) == Some(&self.until) {
            attempts.remove(&self.key);
        }
    }
}

/// The task that works off a queue. However it ends, nobody is left to wait for it.
struct Worker {
    place: Place,
    /// It took the queue away itself; one that is there now is another's.
    is_done: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.is_done {
            self.place.deployment.inbound.queues().remove(&self.place.key);
        }
    }
}

impl InboundRows {
    fn queues(&self) -> MutexGuard<'_, HashMap<Key, VecDeque<Waiting>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<Key, Duration>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a change into its queue; whether nobody works that off yet.
    fn enqueue(&self, key: &Key, waiting: Waiting) -> Result<bool, Status> {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(key) else {
            queues.insert(key.clone(), VecDeque::from([waiting]));
            return Ok(true);
        };
        if queue.len() >= WAITING_MAX {
            let message = format!("more than {WAITING_MAX} requests wait for {}", waiting.target);
            return Err(Status::new(Reason::TooManyRequests, message));
        }
        queue.push_back(waiting);
        Ok(false)
    }

    /// The next changes of a row, leaving out those that nobody waits for any more. Without any the queue is gone.
    fn dequeue(&self, key: &Key) -> Vec<Waiting> {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(key) else { return Vec::new() };
        queue.retain(|waiting| !waiting.answer.is_canceled());
        let count = queue.len().min(TOGETHER_MAX);
        let next: Vec<_> = queue.drain(..count).collect();
        if next.is_empty() {
            queues.remove(key);
        }
        next
    }

    /// How many rows are being changed.
    #[cfg(test)]
    pub(crate) fn queue_count(&self) -> usize {
        self.queues().len()
    }
}

impl Engine {
    /// Changes the inbound part of the resource `uid` of `deployment`, and answers once that is durable.
    ///
    /// `target` is the resource as the stored version has it; grants are made only while it is active with this uid.
    /// Cost: one commit, shared with all that change the same row at the same time; none if nothing changes.
    ///
    /// # Errors
    /// `NOT_OWNED` if it is not owned here; `CONFLICT` if others win all the time, or for [`Change::Leave`] while a deletion
    /// is being decided; `TOO_MANY_REQUESTS`; the store's.
    pub(crate) async fn change_inbound(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        target: &TargetName,
        uid: RowId,
        change: Change,
    ) -> Result<Answer, Status> {
        let key = inbound::key(&target.kind, uid);
        let is_held_off = || !self.held_off(deployment, &target.kind, uid).is_zero();
        if matches!(change, Change::Leave { .. }) && is_held_off() {
            // It would raise the epoch at which that deletion asks.
            let message = format!("the deletion of \"{}\" is being decided", target.name);
            return Err(Status::new(Reason::Conflict, message));
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { change, target: target.clone(), answer };
        if deployment.inbound.enqueue(&key, waiting)? {
            let place = Place { deployment: deployment.clone(), key, uid };
            let work = self.clone().work_off(Worker { place, is_done: false });
            self.seams.tasks.spawn("inbound", Box::pin(work));
        }
        let gone = |_| Status::new(Reason::Unavailable, "the server is stopping");
        answered.await.map_err(gone)?
    }

    /// Begins the deletion of a resource: raises its epoch, if there is an inbound row ([`Answer::Unlisted`] if there is
    /// none), and holds off grants and leaves as long as the second part of the answer lives, for 2 s at most.
    ///
    /// # Errors
    /// As [`Engine::change_inbound`].
    pub(crate) async fn attempt_deletion(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        target: &TargetName,
        uid: RowId,
    ) -> Result<(Answer, Attempting), Status> {
        let key = inbound::key(&target.kind, uid);
        let until = self.seams.clock.monotonic() + COURTESY;
        deployment.inbound.attempts().insert(key.clone(), until);
        let attempting = Attempting { deployment: deployment.clone(), key, until };
        let answer = self.change_inbound(deployment, target, uid, Change::Attempt).await?;
        Ok((answer, attempting))
    }

    /// How long a deletion of the resource that is under way in this process holds off others.
    pub(crate) fn held_off(&self, deployment: &Deployment, kind: &str, uid: RowId) -> Duration {
        let key = inbound::key(kind, uid);
        let until = deployment.inbound.attempts().get(&key).copied().unwrap_or_default();
        until.saturating_sub(self.seams.clock.monotonic())
    }

    async fn work_off(self: Arc<Self>, mut worker: Worker) {
        loop {
            let place = &worker.place;
            let waiting = place.deployment.inbound.dequeue(&place.key);
            if waiting.is_empty() {
                worker.is_done = true;
                return;
            }
            self.carry_out(place, waiting).await;
        }
    }

    /// Makes all changes, in one commit if possible, and answers those who wait.
    async fn carry_out(self: &Arc<Self>, place: &Place, mut waiting: Vec<Waiting>) {
        for _ in 0..self.limits.write_attempts_max {
            match self.try_all(place, &waiting).await {
                Ok(Tried::Answered(answers)) => {
                    for (waiting, answer) in waiting.into_iter().zip(answers) {
                        waiting.tell(Ok(answer));
                    }
                    return;
                }
                Ok(Tried::Again) => {}
                Ok(Tried::Gone(targets)) => {
                    let is_gone = |waiting: &Waiting| {
                        waiting.change.needs_target() && targets.contains(&waiting.target)
                    };
                    let (gone, left) = waiting.into_iter().partition(is_gone);
                    let gone: Vec<Waiting> = gone;
                    gone.into_iter().for_each(|waiting| waiting.tell(Ok(Answer::Gone)));
                    waiting = left;
                }
                Err(status) => {
                    waiting.into_iter().for_each(|waiting| waiting.tell(Err(status.clone())));
                    return;
                }
            }
            if waiting.is_empty() {
                return;
            }
        }
        let message = "the references to this resource are changed by many at once; retry";
        let status = Status::new(Reason::Conflict, message);
        waiting.into_iter().for_each(|waiting| waiting.tell(Err(status.clone())));
    }

    async fn try_all(
        self: &Arc<Self>,
        place: &Place,
        waiting: &[Waiting],
    ) -> Result<Tried, Status> {
        let deployment = &place.deployment;
        let turn = deployment.begin().await?;
        let read = deployment.backend.get(&place.key).await;
        let (row, position) = read.map_err(|error| errors::store(&error))?;
        let before = read_row(row.as_ref())?;
        let Some(target) = target_of(before.as_ref(), waiting) else {
            // Nothing happens to a row that is not there, except that a grant makes it.
            return Ok(Tried::Answered(waiting.iter().map(|_| Answer::Unlisted).collect()));
        };
        let shape = self.shape_of(&target)?;
        let guard = self.guard_of(deployment, shape, &target.name, None).await?;
        let moment = Moment {
            ownership: guard.as_ref().map_or(0, Guard::epoch),
            era: position.era,
            sequence: position.sequence,
            millis: self.seams.clock.now().as_millisecond(),
        };
        let me = self.me(&deployment.service);
        let (after, answers) = apply_all(before.clone(), &target, &me, &moment, waiting);
        let Some(after) = after.filter(|after| before.as_ref() != Some(after)) else {
            return Ok(Tried::Answered(answers));
        };
        let written = Written { place, row: row.as_ref(), sequence: position.sequence };
        let (mut batch, targets) = written.batch(&after, waiting);
        batch.conditions.extend(self.ownership_conditions(guard.as_ref()));
        match turn.commit(batch).await {
            Ok(position) => {
                deployment.note_commit(position);
                Ok(Tried::Answered(answers))
            }
            Err(TurnError::Commit(CommitError::ConditionFailed { condition })) => {
                self.refresh_of(deployment, guard.as_ref()).await?;
                // The row comes first, then the targets.
                let gone = condition.checked_sub(1).and_then(|at| targets.get(at));
                Ok(gone.map_or(Tried::Again, |gone| Tried::Gone([gone.clone()].into())))
            }
            Err(TurnError::Lost) => Ok(Tried::Again),
            Err(TurnError::Commit(error)) => Err(errors::commit(&error)),
        }
    }

    /// What is known of the type that a target is of.
    ///
    /// # Errors
    /// `INTERNAL`: asked only for what is stored here.
    pub(crate) fn shape_of(&self, target: &TargetName) -> Result<&Arc<Shape>, Status> {
        let shape = self.shapes.get(&shape_key_of(&target.kind, &target.version));
        shape.ok_or_else(|| {
            Status::new(Reason::Internal, format!("the type of {target} is not known here"))
        })
    }
}

/// What came of an attempt to make changes.
enum Tried {
    /// In the order of those who wait.
    Answered(Vec<Answer>),
    /// Somebody else was faster.
    Again,
    /// These are not active any more: nothing is granted on them.
    Gone(BTreeSet<TargetName>),
}

impl Waiting {
    fn tell(self, answer: Result<Answer, Status>) {
        // Who does not wait any more learns nothing; a grant that nobody knows of expires.
        let _ = self.answer.send(answer);
    }
}

/// Where changes are about to be written.
struct Written<'a> {
    place: &'a Place,
    row: Option<&'a Row>,
    /// At which that was read.
    sequence: u64,
}

impl Written<'_> {
    /// The batch, and the targets that its conditions after the first are about.
    fn batch(&self, after: &Inbound, waiting: &[Waiting]) -> (Batch, Vec<TargetName>) {
        let key = self.place.key.clone();
        let (unchanged, version) = match self.row {
            Some(row) => {
                (Condition::RowAt { key: key.clone(), version: row.version }, row.version + 1)
            }
            // The row is removed with the resource, whose uid never returns.
            None => (Condition::RowAbsent { key: key.clone() }, self.sequence + 1),
        };
        let granted = waiting.iter().filter(|waiting| waiting.change.needs_target());
        let targets: BTreeSet<_> = granted.map(|waiting| waiting.target.clone()).collect();
        let targets: Vec<_> = targets.into_iter().collect();
        let mut conditions = vec![unchanged];
        conditions
            .extend(targets.iter().map(|target| plan_save::is_active(target, self.place.uid)));
        (Batch { conditions, writes: vec![Write::put(key, after.row(version))] }, targets)
    }
}

fn read_row(row: Option<&Row>) -> Result<Option<Inbound>, Status> {
    row.map(Inbound::of_row).transpose().map_err(|error| damaged(&error))
}

/// Which resource the row is about: it says so itself, or whoever makes it does.
fn target_of(row: Option<&Inbound>, waiting: &[Waiting]) -> Option<TargetName> {
    let maker = || waiting.iter().find(|waiting| waiting.change.needs_target());
    row.map(|row| row.target.clone()).or_else(|| maker().map(|waiting| waiting.target.clone()))
}

fn apply_all(
    mut state: Option<Inbound>,
    target: &TargetName,
    me: &DeploymentId,
    moment: &Moment,
    waiting: &[Waiting],
) -> (Option<Inbound>, Vec<Answer>) {
    let changes = waiting.iter().map(|waiting| &waiting.change);
    let answers = changes.map(|change| change.apply(&mut state, target, me, moment)).collect();
    (state, answers)
}
