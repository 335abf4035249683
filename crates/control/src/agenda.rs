//! What is to be done next: queues of items, each with its own backoff. Pure; `runtime` acts on it.
//!
//! A pass offers every item that there is. The agenda keeps a bounded batch of what is due for each queue that is not at
//! work, and remembers of the others only when they are due. What a pass did not show is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_store::ring::Shards;

use crate::retry::Retry;
use crate::status::Status;

/// Most items in one batch.
pub const BATCH_MAX: usize = 256;
/// Most queues at work at once.
pub const QUEUES_AT_WORK_MAX: usize = 64;
/// Most items of one queue of which it is remembered when they are due; the others are due at any time.
const REMEMBERED_MAX: usize = 65_536;
/// Longest text of an error that is kept, in bytes.
const ERROR_BYTES_MAX: usize = 1_024;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<W> {
    /// Which queue: a peer or a kind of work. What is in one stops together.
    pub queue: Arc<str>,
    /// Unique in its queue; the same work has the same id each time that it is found.
    pub id: Arc<str>,
    /// When it came up, in milliseconds since 1970; 0 if nobody knows.
    pub since_millis: i64,
    /// What it waited for may be there: it is tried now, however often that came to nothing.
    pub is_urgent: bool,
    pub work: W,
}

/// What became of an item that was worked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// There is nothing left of it.
    Done,
    /// A part was done; go on at once.
    Again,
    /// It waits for something, which is no failure of the queue; try again later.
    Waits(String),
}

/// See the module's header.
#[derive(Debug)]
pub struct Agenda<W> {
    queues: BTreeMap<Arc<str>, Queue<W>>,
    pass: u64,
}

#[derive(Debug)]
struct Queue<W> {
    /// What is due, of this pass.
    batch: Vec<Item<W>>,
    /// Of the last pass.
    pending: usize,
    oldest_millis: Option<i64>,
    /// More is due than the batch holds.
    has_more: bool,
    is_at_work: bool,
    retry: Retry,
    last_error: Option<Arc<str>>,
    failures: u64,
    items: BTreeMap<Arc<str>, Remembered>,
    pass: u64,
}

#[derive(Debug, Default)]
struct Remembered {
    retry: Retry,
    waits_for: Option<Arc<str>>,
    /// It became urgent while it was worked at.
    is_urgent: bool,
    pass: u64,
}

/// What a queue's work has come to, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// It failed, and before it did not, or for another reason.
    Bad,
    /// It went on after it had failed.
    Good,
    Nothing,
}

impl<W> Default for Agenda<W> {
    fn default() -> Self {
        Self { queues: BTreeMap::new(), pass: 0 }
    }
}

impl<W> Queue<W> {
    fn new() -> Self {
        Self {
            batch: Vec::new(),
            pending: 0,
            oldest_millis: None,
            has_more: false,
            is_at_work: false,
            retry: Retry::default(),
            last_error: None,
            failures: 0,
            items: BTreeMap::new(),
            pass: 0,
        }
    }

    fn begin(&mut self, pass: u64) {
        if self.pass != pass {
            self.pass = pass;
            self.batch.clear();
            (self.pending, self.oldest_millis, self.has_more) = (0, None, false);
        }
    }

    fn offer(&mut self, item: Item<W>, now: Duration, pass: u64) {
        self.pending += 1;
        let oldest = self.oldest_millis.unwrap_or(item.since_millis);
        self.oldest_millis = Some(oldest.min(item.since_millis));
        if item.is_urgent {
            self.hurry(&item.id);
        }
        let remembered = self.items.get_mut(&item.id);
        let is_due = remembered.is_none_or(|remembered| {
            remembered.pass = pass;
            remembered.retry.is_due(now)
        });
        if self.is_at_work || !is_due {
            return;
        }
        match self.batch.len() < BATCH_MAX {
            true => self.batch.push(item),
            false => self.has_more = true,
        }
    }

    /// What an item waited for may be there: earlier attempts count no more, and neither does one that is under way.
    fn hurry(&mut self, id: &Arc<str>) {
        if self.is_at_work && self.items.len() < REMEMBERED_MAX {
            self.items.entry(id.clone()).or_default().is_urgent = true;
        }
        if let Some(remembered) = self.items.get_mut(id) {
            remembered.retry = Retry::default();
        }
    }

    /// When something of it is due, as of the last pass; `None` if nothing is, or it is at work.
    fn due(&self) -> Option<Duration> {
        if self.is_at_work || self.pending == 0 {
            return None;
        }
        if !self.batch.is_empty() || self.has_more {
            return Some(self.retry.due);
        }
        let items = self.items.values().map(|remembered| remembered.retry.due);
        Some(items.min().unwrap_or_default().max(self.retry.due))
    }

    fn is_idle(&self) -> bool {
        !self.is_at_work && self.pending == 0 && self.failures == 0
    }

    fn settle(&mut self, id: &Arc<str>, fate: Fate, now: Duration, jitter: u8, pass: u64) {
        let waits_for = match fate {
            Fate::Again => {
                self.items.remove(id);
                return;
            }
            // What is found again although it was done must not be done again all the time.
            Fate::Done => None,
            Fate::Waits(why) => Some(cut(why)),
        };
        if self.items.len() >= REMEMBERED_MAX && !self.items.contains_key(id) {
            return;
        }
        let remembered = self.items.entry(id.clone()).or_default();
        let before = if remembered.is_urgent { Retry::default() } else { remembered.retry };
        let retry = before.after(now, jitter);
        *remembered = Remembered { retry, waits_for, is_urgent: false, pass };
    }
}

impl<W> Agenda<W> {
    /// Begins a pass: all that there is will be offered.
    pub fn begin(&mut self) {
        self.pass += 1;
        for queue in self.queues.values_mut() {
            queue.begin(self.pass);
        }
    }

    pub fn offer(&mut self, item: Item<W>, now: Duration) {
        let queue = self.queues.entry(item.queue.clone()).or_insert_with(Queue::new);
        queue.begin(self.pass);
        queue.offer(item, now, self.pass);
    }

    /// Ends a pass that has offered everything; forgets what was not offered.
    pub fn end(&mut self) {
        let pass = self.pass;
        self.queues.retain(|_, queue| {
            if !queue.is_at_work {
                queue.items.retain(|_, remembered| remembered.pass == pass);
            }
            if queue.pending == 0 && !queue.is_at_work {
                // Nothing is left to fail with.
                queue.last_error = None;
                queue.retry = Retry::default();
            }
            !queue.is_idle()
        });
    }

    /// Takes the batches that are due, for as many queues as may be at work at once.
    pub fn take(&mut self, now: Duration) -> Vec<(Arc<str>, Vec<Item<W>>)> {
        let at_work = self.queues.values().filter(|queue| queue.is_at_work).count();
        let is_due = |queue: &Queue<W>| {
            !queue.is_at_work && !queue.batch.is_empty() && queue.retry.is_due(now)
        };
        let due = self.queues.iter_mut().filter(|(_, queue)| is_due(queue));
        let free = QUEUES_AT_WORK_MAX.saturating_sub(at_work);
        let take = |(name, queue): (&Arc<str>, &mut Queue<W>)| {
            queue.is_at_work = true;
            (name.clone(), std::mem::take(&mut queue.batch))
        };
        due.take(free).map(take).collect()
    }

    /// A batch came to its end: what became of its items (`ids`); those that `fates` lacks are done.
    pub fn finish(
        &mut self,
        queue: &Arc<str>,
        ids: &[Arc<str>],
        fates: BTreeMap<Arc<str>, Fate>,
        now: Duration,
        jitter: u8,
    ) -> Turned {
        let pass = self.pass;
        let Some(state) = self.queues.get_mut(queue) else { return Turned::Nothing };
        state.is_at_work = false;
        state.retry = Retry::default();
        let mut fates = fates;
        for id in ids {
            let fate = fates.remove(id).unwrap_or(Fate::Done);
            state.settle(id, fate, now, jitter, pass);
        }
        match state.last_error.take() {
            Some(_) => Turned::Good,
            None => Turned::Nothing,
        }
    }

    /// A batch failed as a whole: the queue waits.
    pub fn fail(&mut self, queue: &Arc<str>, error: String, now: Duration, jitter: u8) -> Turned {
        let Some(state) = self.queues.get_mut(queue) else { return Turned::Nothing };
        state.is_at_work = false;
        state.retry = state.retry.after(now, jitter);
        state.failures = state.failures.saturating_add(1);
        let error = cut(error);
        let is_new = state.last_error.as_ref() != Some(&error);
        state.last_error = Some(error);
        if is_new { Turned::Bad } else { Turned::Nothing }
    }

    /// When the next pass would find something that is due, as far as the last one knew.
    pub fn due(&self) -> Option<Duration> {
        self.queues.values().filter_map(Queue::due).min()
    }

    /// Whether anything is to be done, now or later.
    pub fn has_pending(&self) -> bool {
        self.queues.values().any(|queue| queue.pending > 0 || queue.is_at_work)
    }

    pub fn status(&self, controller: &Arc<str>, shards: Shards) -> Vec<Status> {
        let status = |(name, queue): (&Arc<str>, &Queue<W>)| Status {
            controller: controller.clone(),
            queue: name.clone(),
            shards,
            pending: queue.pending,
            oldest_millis: queue.oldest_millis.filter(|millis| *millis > 0),
            last_error: queue.last_error.clone(),
            failures: queue.failures,
            waits_for: queue.items.values().find_map(|remembered| remembered.waits_for.clone()),
            next_try: queue.due(),
        };
        self.queues.iter().map(status).collect()
    }
}

fn cut(mut text: String) -> Arc<str> {
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text.into()
}

#[cfg(test)]
mod tests;
