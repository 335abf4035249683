//! STATELESS watches: a snapshot in chunks, then the newest state of each resource that changed.
//!
//! The snapshot is read page by page, each page at its own point in time, so that no view of the database is held while
//! a slow client reads. The changes since the first page are then sent on top, and only the cut after them is marked
//! current; up to there a client applies nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_resource::page::ResumeToken;
use bowline_store::Position;
use bytes::Bytes;

use super::feed::{Feed, Step};
use super::hub::Delivery;
use super::message::{Event, Marks, WatchShape};
use super::registry::OpenWatch;
use super::select::effect;
use crate::engine::page::PageQuery;
use crate::engine::select::Selection;
use crate::engine::{Engine, Route};
use crate::routing::token::ResumeOf;

/// Rows read at once for a snapshot.
const SNAPSHOT_ROWS: usize = 256;

/// See the module's header.
pub(super) struct Stateless {
    pub(super) engine: Arc<Engine>,
    pub(super) route: Arc<Route>,
    pub(super) selection: Selection,
    pub(super) shape: WatchShape,
    pub(super) feed: Feed,
    pub(super) chunk: usize,
    pub(super) query_hash: u64,
    /// Of which its tokens say that they are.
    pub(super) region: Option<Arc<str>>,
    pub(super) phase: Phase,
    pub(super) out: VecDeque<Bytes>,
    pub(super) _open: OpenWatch,
}

/// Where in its life a watch is.
pub(super) enum Phase {
    /// Reading the snapshot; `after` is the last name that was read.
    Snapshot {
        after: Option<String>,
    },
    /// Sending the changes since the snapshot began, up to `until` at least.
    CatchUp {
        until: Position,
    },
    Live,
    Ended,
}

impl Stateless {
    /// The next message; `None` when the stream is over.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if let Some(message) = self.out.pop_front() {
                return Some(Ok(message));
            }
            let result = match &self.phase {
                Phase::Ended => return None,
                Phase::Snapshot { after } => self.read_snapshot(after.clone()).await,
                Phase::CatchUp { until } => self.catch_up(*until).await,
                Phase::Live => self.live().await,
            };
            if let Err(status) = result {
                self.phase = Phase::Ended;
                return Some(Err(status));
            }
        }
    }

    /// Tells the client to drop everything, and starts over with a snapshot.
    pub(super) fn hard_reset(&mut self) {
        let marks = Marks { is_hard_reset: true, ..Marks::default() };
        self.out.push_back(self.shape.message(&[], &marks));
        self.phase = Phase::Snapshot { after: None };
    }

    async fn read_snapshot(&mut self, after: Option<String>) -> Result<(), Status> {
        let is_first = after.is_none();
        let query = PageQuery::by_name(after.as_deref(), SNAPSHOT_ROWS);
        let page = self.engine.read_page(&self.route, &self.selection, &query).await?;
        if is_first {
            self.feed.restart_at(page.position);
        }
        self.phase = match page.rows.last() {
            Some(last) if page.has_more => Phase::Snapshot { after: Some(last.name.to_string()) },
            _ => Phase::CatchUp { until: page.position },
        };
        let current = page.rows.into_iter().map(|row| Event::Current { body: row.body });
        let events: Vec<Event> = current.collect();
        self.shape.queue(&events, self.chunk, &Marks::default(), &mut self.out);
        Ok(())
    }

    /// Sends some of the changes since the snapshot began; the first cut after all of its pages is current.
    async fn catch_up(&mut self, until: Position) -> Result<(), Status> {
        let mut events = Vec::new();
        while events.len() < self.chunk {
            let step = match self.feed.ready().await? {
                Some(step) => step,
                None if self.feed.cursor() >= until => {
                    self.phase = Phase::Live;
                    self.push_current(&events);
                    return Ok(());
                }
                // The hub is a moment behind the store that the snapshot was read from.
                None => self.feed.next(self.engine.limits.watch_progress_period).await?,
            };
            match step {
                Step::Commit(delivery) => self.collect(&delivery, &mut events),
                Step::Idle => {}
                Step::TooOld => {
                    self.hard_reset();
                    return Ok(());
                }
                Step::Closed => return Err(closing()),
            }
        }
        self.shape.queue(&events, self.chunk, &Marks::default(), &mut self.out);
        Ok(())
    }

    async fn live(&mut self) -> Result<(), Status> {
        let mut events = Vec::new();
        let mut step = Some(self.feed.next(self.engine.limits.watch_progress_period).await?);
        // What is ready already goes into the same message: one message for many small commits.
        while let Some(now) = step {
            match now {
                Step::Commit(delivery) => self.collect(&delivery, &mut events),
                Step::Idle => break,
                Step::TooOld => {
                    self.hard_reset();
                    return Ok(());
                }
                Step::Closed => return Err(closing()),
            }
            if events.len() >= self.chunk {
                break;
            }
            step = self.feed.ready().await?;
        }
        self.push_current(&events);
        Ok(())
    }

    fn collect(&self, delivery: &Delivery, events: &mut Vec<Event>) {
        for change in &delivery.changes {
            events.extend(effect(&self.selection, change).into_event());
        }
    }

    /// Queues `events` and marks the cut after them as current, with a token to resume from.
    fn push_current(&mut self, events: &[Event]) {
        let position = self.feed.cursor();
        let token =
            ResumeToken { era: position.era, sequence: position.sequence, query: self.query_hash };
        let token = token.encode();
        let resume_token = match &self.region {
            Some(region) => ResumeOf::one(region, token).encode(),
            None => token,
        };
        let marks = Marks { is_current: true, resume_token, ..Marks::default() };
        self.shape.queue(events, self.chunk, &marks, &mut self.out);
    }
}

/// The end of a stream because the node stops: clients come back with their token.
pub(crate) fn closing() -> Status {
    Status::new(Reason::Unavailable, "the server is stopping; resume the watch with its last token")
}
