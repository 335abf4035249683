//! The hub: one reader of a deployment's change log, which hands each change to the watches that can care.
//!
//! Watches are indexed by table and by the fixed beginning of the names they look at, so that a change costs in
//! proportion to the watches that see it, not to all that are open. Each watch has a bounded queue; when it overflows,
//! the queue is dropped and the watch re-reads the log at its own pace. Nobody waits for a slow watch.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bowline_base::Seams;
use bowline_resource::document::Document;
use bowline_schema::model::ResourceType;
use bowline_store::{Backend, Change, Changes, Position, Row, Table};
use tokio::sync::Notify;

use crate::engine::shape::document_of;

/// Changes read from the log at once.
const READ_CHANGES: usize = 1_024;
/// Points of (time, position) that are remembered for `starting_time`: one a second, so about an hour.
const TIME_MARKS_MAX: usize = 4_096;

/// A change with its documents, decoded at most once for all watches that look at it.
pub(crate) struct SharedChange {
    pub(crate) change: Arc<Change>,
    before: OnceLock<Option<Arc<Document>>>,
    after: OnceLock<Option<Arc<Document>>>,
}

impl SharedChange {
    pub(crate) fn new(change: Arc<Change>) -> Arc<Self> {
        Arc::new(Self { change, before: OnceLock::new(), after: OnceLock::new() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.change.key.name
    }

    pub(crate) fn before(&self, ty: &Arc<ResourceType>) -> Option<&Arc<Document>> {
        self.before.get_or_init(|| self.decode(ty, self.change.before.as_ref())).as_ref()
    }

    pub(crate) fn after(&self, ty: &Arc<ResourceType>) -> Option<&Arc<Document>> {
        self.after.get_or_init(|| self.decode(ty, self.change.after.as_ref())).as_ref()
    }

    fn decode(&self, ty: &Arc<ResourceType>, row: Option<&Row>) -> Option<Arc<Document>> {
        let row = row?;
        match document_of(ty, row) {
            Ok(document) => Some(Arc::new(document)),
            Err(error) => {
                tracing::error!(name = self.name(), %error, "changed resource does not decode");
                None
            }
        }
    }
}

/// What one commit changed, as far as one watch can care.
pub(crate) struct Delivery {
    pub(crate) position: Position,
    pub(crate) changes: Vec<Arc<SharedChange>>,
}

/// A watch's place at the hub.
pub(crate) struct Subscription {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    deliveries: VecDeque<Delivery>,
    n_changes: usize,
    overflowed: bool,
}

/// What a watch finds in its queue.
pub(crate) enum Taken {
    Delivery(Delivery),
    /// Nothing; all changes up to here have been handed over.
    Nothing(Position),
    /// The queue overflowed and is empty again; what was lost is in the log up to here.
    Lagged(Position),
}

#[derive(Default)]
struct Index {
    tables: HashMap<Table, HashMap<Box<str>, Vec<Weak<Subscription>>>>,
    /// All changes up to here are in the queues of those who care.
    position: Position,
    marks: VecDeque<(jiff::Timestamp, Position)>,
}

/// See the module's header.
pub(crate) struct Hub {
    backend: Arc<dyn Backend>,
    queue_max: usize,
    index: Mutex<Index>,
}

impl Hub {
    pub(crate) fn start(backend: Arc<dyn Backend>, seams: &Seams, queue_max: usize) -> Arc<Self> {
        let position = *backend.head().borrow();
        let marks = VecDeque::from([(seams.clock.now(), position)]);
        let index = Index { tables: HashMap::new(), position, marks };
        let hub = Arc::new(Self { backend, queue_max, index: Mutex::new(index) });
        let reader = read_log(Arc::downgrade(&hub), seams.clone());
        seams.tasks.spawn("watch hub", Box::pin(reader));
        hub
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Joins with an empty queue: changes after the returned position will be queued.
    ///
    /// `prefix` is empty, ends with a slash, or is a whole name; other prefixes would never be found.
    pub(crate) fn subscribe(&self, table: &Table, prefix: &str) -> (Arc<Subscription>, Position) {
        let subscription = Arc::new(Subscription { queue: Mutex::default(), wake: Notify::new() });
        let mut index = self.lock();
        let prefixes = index.tables.entry(table.clone()).or_default();
        let watches = prefixes.entry(prefix.into()).or_default();
        watches.push(Arc::downgrade(&subscription));
        (subscription, index.position)
    }

    /// Forgets a watch that is over, so that watches which come and go leave nothing behind.
    pub(crate) fn unsubscribe(&self, table: &Table, prefix: &str, gone: &Arc<Subscription>) {
        let mut index = self.lock();
        let Some(prefixes) = index.tables.get_mut(table) else { return };
        let Some(watches) = prefixes.get_mut(prefix) else { return };
        watches.retain(|watch| watch.as_ptr() != Arc::as_ptr(gone));
        if watches.is_empty() {
            prefixes.remove(prefix);
        }
        if prefixes.is_empty() {
            index.tables.remove(table);
        }
    }

    /// The newest position that is known to be not after `time`; `None` if `time` is before all that is known.
    pub(crate) fn position_at(&self, time: jiff::Timestamp) -> Option<Position> {
        let index = self.lock();
        index.marks.iter().rev().find(|(at, _)| *at <= time).map(|(_, position)| *position)
    }

    /// Takes the next delivery of `subscription`, or says how far everything has been handed over.
    pub(crate) fn take(&self, subscription: &Subscription) -> Taken {
        // Both locks, in the order that `dispatch` takes them: no commit is half handed over meanwhile.
        let index = self.lock();
        let position = index.position;
        let mut queue = subscription.lock();
        if queue.overflowed {
            queue.overflowed = false;
            return Taken::Lagged(position);
        }
        let Some(delivery) = queue.deliveries.pop_front() else { return Taken::Nothing(position) };
        queue.n_changes -= delivery.changes.len();
        Taken::Delivery(delivery)
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn position(&self) -> Position {
        self.lock().position
    }

    /// Hands out the changes of whole commits and moves on to `next`.
    fn dispatch(&self, changes: Vec<Arc<Change>>, next: Position, now: jiff::Timestamp) {
        let mut woken: Vec<Arc<Subscription>> = Vec::new();
        let mut index = self.lock();
        for change in changes {
            let Some(prefixes) = index.tables.get(&change.key.table) else { continue };
            let shared = SharedChange::new(change);
            for_each_prefix(shared.name(), |prefix| {
                let watches = prefixes.get(prefix).into_iter().flatten();
                for watch in watches.filter_map(Weak::upgrade) {
                    watch.push(&shared, self.queue_max);
                    woken.push(watch);
                }
            });
        }
        index.position = next;
        index.mark(now, next);
        drop(index);
        for watch in woken {
            watch.wake.notify_one();
        }
    }
}

impl Index {
    fn mark(&mut self, now: jiff::Timestamp, position: Position) {
        let is_due = self.marks.back().is_none_or(|(at, _)| now.duration_since(*at).as_secs() >= 1);
        if is_due {
            self.marks.push_back((now, position));
            if self.marks.len() > TIME_MARKS_MAX {
                self.marks.pop_front();
            }
        }
    }
}

impl Subscription {
    /// Completes when something was queued since the last call.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, change: &Arc<SharedChange>, queue_max: usize) {
        let mut queue = self.lock();
        if queue.overflowed {
            return;
        }
        if queue.n_changes >= queue_max {
            *queue = Queue { overflowed: true, ..Queue::default() };
            return;
        }
        queue.n_changes += 1;
        let position = change.change.position;
        match queue.deliveries.back_mut() {
            Some(last) if last.position == position => last.changes.push(change.clone()),
            _ => queue.deliveries.push_back(Delivery { position, changes: vec![change.clone()] }),
        }
    }
}

/// Calls `visit` with every prefix under which a watch that cares for `name` may be indexed.
fn for_each_prefix(name: &str, mut visit: impl FnMut(&str)) {
    visit("");
    for (at, _) in name.match_indices('/') {
        visit(&name[..=at]);
    }
    visit(name);
}

/// Reads the log as it grows, until the hub is gone or the store is closed.
async fn read_log(hub: Weak<Hub>, seams: Seams) {
    let Some(mut head) = hub.upgrade().map(|hub| hub.backend.head()) else { return };
    loop {
        let Some(strong) = hub.upgrade() else { return };
        match strong.backend.changes(strong.position(), READ_CHANGES).await {
            Ok(Changes::Page { changes, next, at_head }) => {
                strong.dispatch(changes, next, seams.clock.now());
                drop(strong);
                if at_head && head.changed().await.is_err() {
                    return;
                }
            }
            Ok(Changes::TooOld { oldest }) => {
                tracing::error!(?oldest, "the watch hub fell out of the change log");
                strong.fall_back(oldest);
            }
            Err(bowline_store::StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(error = %bowline_base::chain(&error), "read change log");
                drop(strong);
                seams.clock.sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

impl Hub {
    /// Tells every watch to re-read the log: the hub lost its own place in it.
    fn fall_back(&self, oldest: Position) {
        let mut index = self.lock();
        index.position = oldest;
        for watch in index.tables.values().flat_map(|p| p.values()).flatten() {
            if let Some(watch) = watch.upgrade() {
                *watch.lock() = Queue { overflowed: true, ..Queue::default() };
                watch.wake.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_under_all_its_parents_and_itself() {
        let mut seen = Vec::new();
        for_each_prefix("projects/p/devices/d", |p| seen.push(p.to_owned()));
        let all = ["", "projects/", "projects/p/", "projects/p/devices/", "projects/p/devices/d"];
        assert_eq!(seen, all);
    }

    #[tokio::test]
    async fn a_watch_that_is_over_leaves_nothing_behind() {
        let backend: Arc<dyn Backend> = Arc::new(bowline_store::Memory::new());
        let hub = Hub::start(backend, &Seams::real(), 10);
        let table = Table { namespace: "v1".into(), kind: "Device".into() };
        let (one, _) = hub.subscribe(&table, "projects/p/");
        let (two, _) = hub.subscribe(&table, "projects/p/");
        hub.unsubscribe(&table, "projects/p/", &one);
        assert_eq!(hub.lock().tables[&table]["projects/p/"].len(), 1);
        hub.unsubscribe(&table, "projects/p/", &two);
        assert!(hub.lock().tables.is_empty());
    }
}
