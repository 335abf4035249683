//! STATEFUL watches over several regions: a live page, merged of the live parts of all regions.
//!
//! Each region watches its own part of the page and sends it whole when it changed; the page is merged anew and what
//! differs is told. A region that breaks off stays on the page as it was last seen, and nothing is current meanwhile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bowline_base::Status;
use bowline_node::Scope;
use bowline_node::peers::headers::UNREACHABLE;
use bytes::Bytes;
use prost_reflect::{DynamicMessage, Value};

use super::forward::Outgoing;
use super::hop::SentAs;
use super::list::{nobody, with_commas};
use super::merge::{Part, merge};
use super::sources::{Heard, Sources};
use super::token::PageOf;
use super::watch::Wanted;
use crate::engine::Engine;
use crate::engine::page::{Page, PageQuery};
use crate::engine::request::Request;
use crate::engine::select::Selection;
use crate::watch::{
    Marks, OpenWatch, WatchShape, chunk_size, closing, difference, shape_of, stateful_query,
};

/// See the module's header.
pub(crate) struct Merged {
    engine: Arc<Engine>,
    out: Outgoing,
    scope: Option<Scope>,
    query: PageQuery,
    shape: WatchShape,
    chunk: usize,
    sources: Sources,
    /// One for each source.
    parts: Vec<Live>,
    /// What the client holds; `None` before the first page.
    shown: Option<Page>,
    tokens: (String, String),
    was_current: bool,
    queue: VecDeque<Bytes>,
    is_over: bool,
    _open: OpenWatch,
}

#[derive(Default)]
struct Live {
    /// As it was last seen.
    part: Option<Part>,
    is_current: bool,
    /// The client was told that it is missing, so nobody waits for it.
    is_optional: bool,
}

/// Opens a live page over `regions`.
///
/// # Errors
/// What is wrong with the request; `UNAVAILABLE` if no region can be reached.
pub(crate) async fn open(
    engine: &Arc<Engine>,
    wanted: Wanted<'_>,
    regions: BTreeSet<Arc<str>>,
) -> Result<Merged, Status> {
    let Wanted { out, route, request, scope } = wanted;
    Selection::of_collection(&route.resource.ty, &request, &engine.limits)?;
    let query = stateful_query(engine, route, &request)?;
    let chunk = chunk_size(&request, engine.limits.watch_chunk_max)?;
    let shape = shape_of(route)?;
    let open = engine.watches.open(&out.context)?;
    let known = PageOf::decode(&request.text(&request.fields.page_token));
    let message = plain_token(&request, known.token);
    let request = Request::new(&route.binding, message);
    let wanted = Wanted { out, route, request, scope };
    let opener = engine.opener(&wanted, SentAs::Part);
    let n_regions = regions.len();
    let regions: BTreeMap<_, _> = regions.into_iter().map(|r| (r, String::new())).collect();
    let (period, closing) = (engine.limits.watch_progress_period, engine.watches.closing());
    let (sources, away) = Sources::open(regions, opener, &engine.seams, period, closing).await?;
    if away.len() == n_regions {
        return Err(nobody(&away, &BTreeSet::new()));
    }
    if !away.is_empty() {
        let missing = away.keys().cloned().collect();
        out.context.answer_headers.set(UNREACHABLE, with_commas(&missing));
    }
    let live = |at| Live { is_optional: away.contains_key(sources.region(at)), ..Live::default() };
    Ok(Merged {
        engine: engine.clone(),
        out: out.clone(),
        scope: wanted.scope,
        query,
        shape,
        chunk,
        parts: (0..sources.len()).map(live).collect(),
        sources,
        shown: None,
        tokens: (String::new(), String::new()),
        was_current: false,
        queue: VecDeque::new(),
        is_over: false,
        _open: open,
    })
}

fn plain_token(request: &Request<'_>, token: String) -> DynamicMessage {
    let mut message = request.message.clone();
    if let Some(field) = &request.fields.page_token {
        message.set_field(field, Value::String(token));
    }
    message
}

impl Merged {
    /// The next message; `None` when the stream is over.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if let Some(message) = self.queue.pop_front() {
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
        match self.sources.next().await {
            Heard::Message { at, message } => {
                if let Some(part) = Part::decode_live(message, self.query.size)? {
                    let live = &mut self.parts[at];
                    live.part = Some(part);
                    (live.is_current, live.is_optional) = (true, false);
                    self.show();
                }
            }
            Heard::Lost { at, status } => {
                let region = self.sources.region(at);
                tracing::info!(%region, %status, "a watch goes on without a region for now");
                (self.parts[at].is_current, self.was_current) = (false, false);
            }
            Heard::Refused(status) => return Err(status),
            Heard::Closed => return Err(closing()),
            Heard::Tick => self.tick().await,
        }
        Ok(())
    }

    fn is_current(&self) -> bool {
        self.parts.iter().all(|live| live.is_current || live.is_optional)
    }

    /// Merges the page anew and tells what differs. The first page waits for every region that is there.
    fn show(&mut self) {
        let is_current = self.is_current();
        if self.shown.is_none() && !is_current {
            return;
        }
        let parts = self.parts.iter().filter_map(|live| live.part.as_ref());
        let merged = merge(&self.query, parts, self.engine.limits.page_bytes_max);
        let page = Page::merged(merged.rows, merged.has_more);
        let before = self.shown.as_ref().map_or(&[][..], |shown| &shown.rows);
        let events = difference(before, &page.rows);
        let tokens = self.query.tokens(&page);
        let is_first = self.shown.is_none();
        self.shown = Some(page);
        let page_tokens = (tokens != self.tokens).then(|| tokens.clone());
        self.tokens = tokens;
        let is_told = is_current == self.was_current;
        if events.is_empty() && page_tokens.is_none() && !is_first && is_told {
            return;
        }
        self.was_current = is_current;
        let marks = Marks { is_current, page_tokens, ..Marks::default() };
        self.shape.queue(&events, self.chunk, &marks, &mut self.queue);
    }

    /// Looks for regions that joined, and gives a sign of life.
    async fn tick(&mut self) {
        for region in self.engine.regions_now(&self.out, self.scope.as_ref()).await {
            if !self.sources.knows(&region) {
                self.sources.add(region);
                self.parts.push(Live { is_optional: true, ..Live::default() });
            }
        }
        if self.shown.is_some() {
            let marks = Marks { is_current: self.is_current(), ..Marks::default() };
            self.queue.push_back(self.shape.message(&[], &marks));
        }
    }
}
