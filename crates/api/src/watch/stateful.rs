//! STATEFUL watches: a live page, in order, with the place of each row.
//!
//! When something in its scope changed, the page is read again and compared; what differs is sent as one change set.
//! Changes that arrive meanwhile are taken together. Cost: one page read per change set, memory for one page.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bytes::Bytes;

use super::feed::{Feed, Step};
use super::hub::{Delivery, SharedChange};
use super::message::{Event, Marks, WatchShape};
use super::open;
use super::registry::OpenWatch;
use super::stateless::closing;
use crate::engine::page::{Page, PageQuery, PageRow};
use crate::engine::request::Request;
use crate::engine::select::Selection;
use crate::engine::{Engine, Route};
use crate::handler::Context;
use crate::routing::hop::Hop;
use crate::routing::merge::Part;

/// See the module's header.
pub(super) struct Stateful {
    engine: Arc<Engine>,
    route: Arc<Route>,
    selection: Selection,
    query: PageQuery,
    shape: WatchShape,
    feed: Feed,
    chunk: usize,
    /// What the client holds; `None` before the first page.
    shown: Option<Page>,
    tokens: (String, String),
    /// It is for another deployment, which merges it: whole parts of a page instead of what differs.
    is_part: bool,
    out: VecDeque<Bytes>,
    is_over: bool,
    _open: OpenWatch,
}

impl Stateful {
    pub(super) fn open(
        engine: &Arc<Engine>,
        route: &Arc<Route>,
        request: &Request<'_>,
        context: &Context,
    ) -> Result<Self, Status> {
        let limits = &engine.limits;
        let selection = Selection::of_collection(&route.resource.ty, request, limits)?;
        let query = query(engine, route, request)?;
        let head = *route.deployment.backend.head().borrow();
        Ok(Self {
            feed: open::feed(engine, route, &selection, head),
            chunk: open::chunk_size(request, limits.watch_chunk_max)?,
            shape: open::shape_of(route)?,
            _open: engine.watches.open(context)?,
            engine: engine.clone(),
            route: route.clone(),
            selection,
            query,
            shown: None,
            tokens: (String::new(), String::new()),
            is_part: Hop::of(context) == Hop::Part,
            out: VecDeque::new(),
            is_over: false,
        })
    }

    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if let Some(message) = self.out.pop_front() {
                return Some(Ok(message));
            }
            if self.is_over {
                return None;
            }
            if let Err(status) = self.step().await {
                self.is_over = true;
                return Some(Err(status));
            }
        }
    }

    async fn step(&mut self) -> Result<(), Status> {
        if self.shown.is_none() {
            return self.read_again().await;
        }
        let mut step = Some(self.feed.next(self.engine.limits.watch_progress_period).await?);
        let mut is_affected = false;
        while let Some(now) = step {
            match now {
                Step::Commit(delivery) => is_affected |= self.is_affected(&delivery),
                Step::Idle => {
                    // A sign of life, so that a client can tell a quiet stream from a dead one.
                    let marks = Marks { is_current: true, ..Marks::default() };
                    let sign = self.shape.message(&[], &marks);
                    self.out.push_back(if self.is_part { Bytes::new() } else { sign });
                    break;
                }
                Step::TooOld => is_affected = true,
                Step::Closed => return Err(closing()),
            }
            if matches!(self.feed.cursor(), position if is_affected && self.is_behind(position)) {
                break;
            }
            step = self.feed.ready().await?;
        }
        if is_affected { self.read_again().await } else { Ok(()) }
    }

    /// Whether the shown page is older than `position`, so that reading it again is worth while now.
    fn is_behind(&self, position: bowline_store::Position) -> bool {
        self.shown.as_ref().is_none_or(|page| page.position < position)
    }

    fn is_affected(&self, delivery: &Delivery) -> bool {
        delivery.changes.iter().any(|change| self.concerns(change))
    }

    /// Whether the resource is or was in the list; where on it, the next reading tells.
    fn concerns(&self, change: &Arc<SharedChange>) -> bool {
        if !self.selection.scope.contains(change.name()) {
            return false;
        }
        let ty = &self.selection.ty;
        self.selection.filter.is_everything()
            || change.before(ty).is_some_and(|d| self.selection.matches(d))
            || change.after(ty).is_some_and(|d| self.selection.matches(d))
    }

    async fn read_again(&mut self) -> Result<(), Status> {
        let page = self.engine.read_page(&self.route, &self.selection, &self.query).await?;
        self.feed.restart_at(page.position);
        let before = self.shown.as_ref().map_or(&[][..], |shown| &shown.rows);
        let events = difference(before, &page.rows);
        let tokens = self.query.tokens(&page);
        let is_first = self.shown.is_none();
        self.shown = Some(page);
        let page_tokens = (tokens != self.tokens).then(|| tokens.clone());
        self.tokens = tokens;
        if events.is_empty() && page_tokens.is_none() && !is_first {
            return Ok(());
        }
        if self.is_part {
            self.push_part();
            return Ok(());
        }
        let marks = Marks { is_current: true, page_tokens, ..Marks::default() };
        self.shape.queue(&events, self.chunk, &marks, &mut self.out);
        Ok(())
    }
}

impl Stateful {
    fn push_part(&mut self) {
        let Some(page) = &self.shown else { return };
        let (rows, has_more) = (page.rows.clone(), page.has_more);
        let mut part = Part { rows, has_more, ..Part::default() };
        part.shorten(self.engine.limits.page_bytes_max, self.query.is_backward());
        self.out.push_back(part.encode());
    }
}

/// Which page a STATEFUL watch shows.
///
/// # Errors
/// `INVALID_FIELD` for what such a watch does not have, and what is wrong with order, size or token.
pub(crate) fn query(
    engine: &Engine,
    route: &Route,
    request: &Request<'_>,
) -> Result<PageQuery, Status> {
    let fields = &request.fields.watch;
    if !request.text(&fields.resume_token).is_empty()
        || request.submessage(&fields.starting_time).is_some()
    {
        let why = "a STATEFUL watch cannot be resumed; it always begins with its page";
        return Err(Status::bad_field(Reason::InvalidField, "resume_token", why));
    }
    let max = engine.limits.watch_page_max;
    let mut query = engine.page_query(route, request, max)?;
    if request.number(&request.fields.page_size) == 0 {
        query.size = max;
    }
    Ok(query)
}

/// What turns the page `old` into `new`.
///
/// A client takes out every removed and every moved row (by their old places), then puts in the added and moved ones in
/// the order of this list, each at its new place. Rows that are not mentioned keep their order among themselves.
pub(crate) fn difference(old: &[PageRow], new: &[PageRow]) -> Vec<Event> {
    let old_places: HashMap<&str, usize> =
        old.iter().enumerate().map(|(place, row)| (&*row.name, place)).collect();
    let new_places: HashMap<&str, usize> =
        new.iter().enumerate().map(|(place, row)| (&*row.name, place)).collect();
    let gone = old.iter().enumerate().rev();
    let gone = gone.filter(|(_, row)| !new_places.contains_key(&*row.name));
    let mut events: Vec<Event> = gone
        .map(|(place, row)| Event::Removed { name: row.name.to_string(), index: index(place) })
        .collect();
    let old_ranks = ranks(old, &new_places);
    let new_ranks = ranks(new, &old_places);
    for (place, row) in new.iter().enumerate() {
        let Some(&old_place) = old_places.get(&*row.name) else {
            events.push(Event::Added { body: row.body.clone(), index: index(place) });
            continue;
        };
        let is_moved = old_ranks[&*row.name] != new_ranks[&*row.name];
        if is_moved || old[old_place].body != row.body {
            events.push(Event::Modified {
                name: row.name.to_string(),
                body: row.body.clone(),
                previous: index(old_place),
                index: index(place),
            });
        }
    }
    events
}

/// Places of the rows that both pages have, counted among themselves.
fn ranks<'a>(rows: &'a [PageRow], others: &HashMap<&str, usize>) -> HashMap<&'a str, usize> {
    let common = rows.iter().filter(|row| others.contains_key(&*row.name));
    common.enumerate().map(|(rank, row)| (&*row.name, rank)).collect()
}

fn index(place: usize) -> Option<i64> {
    i64::try_from(place).ok()
}

#[cfg(test)]
mod tests;
