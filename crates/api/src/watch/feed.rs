//! A watch's own place in the change log: caught up from the store, then fed by the hub, and back when it lags.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Seams, Status};
use bowline_store::{Change, Changes, Position, Table};
use tokio_util::sync::CancellationToken;

use super::hub::{Delivery, Hub, SharedChange, Subscription, Taken};
use crate::engine::errors;

/// Changes read from the log at once while catching up.
const CATCH_UP_CHANGES: usize = 512;

/// What comes next for a watch.
pub(crate) enum Step {
    /// One commit, as far as this watch can care.
    Commit(Delivery),
    /// Nothing for a while; everything up to the cursor was seen.
    Idle,
    /// The log no longer reaches back to where this watch is: start over.
    TooOld,
    /// The node is closing.
    Closed,
}

/// See the module's header.
pub(crate) struct Feed {
    hub: Arc<Hub>,
    subscription: Arc<Subscription>,
    table: Table,
    /// Under which the hub knows the subscription.
    prefix: Box<str>,
    /// Which names this watch can care for, beyond the prefix that the hub checks.
    wanted: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// Everything up to here was returned or is irrelevant.
    cursor: Position,
    /// Later changes come from the hub, earlier ones from the log.
    joined: Position,
    backlog: VecDeque<Delivery>,
    seams: Seams,
    closing: CancellationToken,
}

impl Feed {
    /// Follows `table` after `from`.
    pub(crate) fn open(
        hub: &Arc<Hub>,
        table: &Table,
        prefix: &str,
        wanted: Box<dyn Fn(&str) -> bool + Send + Sync>,
        from: Position,
        seams: &Seams,
        closing: CancellationToken,
    ) -> Self {
        let (subscription, joined) = hub.subscribe(table, prefix);
        Self {
            hub: hub.clone(),
            subscription,
            table: table.clone(),
            prefix: prefix.into(),
            wanted,
            cursor: from,
            joined,
            backlog: VecDeque::new(),
            seams: seams.clone(),
            closing,
        }
    }

    /// Goes back (or forward) to `position`.
    pub(crate) fn restart_at(&mut self, position: Position) {
        self.cursor = position;
        self.backlog.clear();
        self.joined = self.joined.max(position);
    }

    pub(crate) fn cursor(&self) -> Position {
        self.cursor
    }

    /// The next commit, or [`Step::Idle`] after `patience`.
    ///
    /// # Errors
    /// The store failed; the watch ends with this status.
    pub(crate) async fn next(&mut self, patience: Duration) -> Result<Step, Status> {
        let mut timer = self.seams.clock.sleep(patience);
        loop {
            match self.ready().await? {
                Some(step) => return Ok(step),
                None => tokio::select! {
                    biased;
                    () = self.subscription.woken() => {}
                    () = self.closing.cancelled() => return Ok(Step::Closed),
                    () = &mut timer => return Ok(Step::Idle),
                },
            }
        }
    }

    /// A step that needs no waiting for new commits.
    pub(crate) async fn ready(&mut self) -> Result<Option<Step>, Status> {
        loop {
            if self.closing.is_cancelled() {
                return Ok(Some(Step::Closed));
            }
            if let Some(delivery) = self.backlog.pop_front() {
                self.cursor = self.cursor.max(delivery.position);
                if delivery.changes.is_empty() {
                    continue;
                }
                return Ok(Some(Step::Commit(delivery)));
            }
            if self.cursor < self.joined {
                if !self.read_log().await? {
                    return Ok(Some(Step::TooOld));
                }
                continue;
            }
            match self.hub.take(&self.subscription) {
                Taken::Lagged(position) => self.joined = position,
                Taken::Nothing(position) => {
                    self.cursor = self.cursor.max(position);
                    return Ok(None);
                }
                Taken::Delivery(delivery) if delivery.position <= self.cursor => {}
                Taken::Delivery(mut delivery) => {
                    self.cursor = delivery.position;
                    delivery.changes.retain(|c| (self.wanted)(c.name()));
                    if !delivery.changes.is_empty() {
                        return Ok(Some(Step::Commit(delivery)));
                    }
                }
            }
        }
    }

    /// Reads one page of the log into the backlog; `false` if the log no longer reaches back that far.
    async fn read_log(&mut self) -> Result<bool, Status> {
        let page = self.hub.backend().changes(self.cursor, CATCH_UP_CHANGES).await;
        let (changes, next) = match page.map_err(|error| errors::store(&error))? {
            Changes::TooOld { .. } => return Ok(false),
            Changes::Page { changes, next, at_head } => {
                (changes, if at_head { self.joined } else { next.min(self.joined) })
            }
        };
        for change in changes {
            if change.position <= self.joined && self.cares_for(&change) {
                self.push(change);
            }
        }
        // With an empty backlog the cursor moves at once; otherwise each delivery moves it.
        let rest = Delivery { position: next, changes: Vec::new() };
        self.backlog.push_back(rest);
        Ok(true)
    }

    fn cares_for(&self, change: &Change) -> bool {
        change.key.table == self.table && (self.wanted)(&change.key.name)
    }

    fn push(&mut self, change: Arc<Change>) {
        let position = change.position;
        let shared = SharedChange::new(change);
        match self.backlog.back_mut() {
            Some(last) if last.position == position => last.changes.push(shared),
            _ => self.backlog.push_back(Delivery { position, changes: vec![shared] }),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.hub.unsubscribe(&self.table, &self.prefix, &self.subscription);
    }
}
