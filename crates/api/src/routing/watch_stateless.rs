//! STATELESS watches over several regions: every region's changes on one stream, current when all of them are.
//!
//! - Up to the first current mark of a region its changes are passed on as they come. From then on they come in whole
//!   runs: what one region has said up to a mark. So a mark is given as soon as every region is at one of its own.
//! - A region that breaks off goes on from its last mark, and until then nothing is marked current. Nothing of it is
//!   dropped. A region that was away when the watch began is not waited for until it is heard of: the answer's header says
//!   that it is missing.
//! - When a region must start over, so must the client, and with it all other regions: only the client knows which
//!   resources came from where. That waits until all regions are there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bowline_base::Status;
use bowline_node::Scope;
use bowline_node::peers::headers::UNREACHABLE;
use bytes::Bytes;

use super::forward::Outgoing;
use super::hop::SentAs;
use super::list::{nobody, with_commas};
use super::sources::{Heard, Sources};
use super::token::ResumeOf;
use super::watch::Wanted;
use crate::engine::Engine;
use crate::engine::select::Selection;
use crate::watch::{Marks, OpenWatch, WatchShape, chunk_size, closing, shape_of};

/// Most bytes of a run that are kept until its mark; a longer one is passed on as it comes.
const RUN_BYTES_MAX: usize = 4 << 20;

/// See the module's header.
pub(crate) struct Merged {
    engine: Arc<Engine>,
    out: Outgoing,
    scope: Option<Scope>,
    shape: WatchShape,
    sources: Sources,
    /// One for each source.
    parts: Vec<Part>,
    /// Sources that start over, and wait for the others to do so too.
    resetting: BTreeSet<usize>,
    queue: VecDeque<Bytes>,
    is_over: bool,
    _open: OpenWatch,
}

/// How far one region is.
#[derive(Default)]
struct Part {
    is_current: bool,
    /// The client was told that it is missing, so nobody waits for it.
    is_optional: bool,
    /// It began without a token, and the client has some of its snapshot.
    is_half_told: bool,
    /// Messages since the last mark, each with its changes.
    run: Vec<Vec<Bytes>>,
    run_bytes: usize,
}

/// Opens a watch over `regions`, each from its token. `is_reset`: the client is told to drop all it has.
///
/// # Errors
/// What is wrong with the request; `UNAVAILABLE` if no region can be reached.
pub(crate) async fn open(
    engine: &Arc<Engine>,
    wanted: Wanted<'_>,
    regions: BTreeMap<Arc<str>, String>,
    is_reset: bool,
) -> Result<Merged, Status> {
    let Wanted { out, route, request, scope } = &wanted;
    // What is wrong with the request is said by this region, before any other is asked.
    Selection::of_collection(&route.resource.ty, request, &engine.limits)?;
    chunk_size(request, engine.limits.watch_chunk_max)?;
    let shape = shape_of(route)?;
    let open = engine.watches.open(&out.context)?;
    let (period, closing) = (engine.limits.watch_progress_period, engine.watches.closing());
    let opener = engine.opener(&wanted, SentAs::Local);
    let n_regions = regions.len();
    let (sources, away) = Sources::open(regions, opener, &engine.seams, period, closing).await?;
    if away.len() == n_regions {
        return Err(nobody(&away, &BTreeSet::new()));
    }
    if !away.is_empty() {
        let missing = away.keys().cloned().collect();
        out.context.answer_headers.set(UNREACHABLE, with_commas(&missing));
    }
    let part = |at| Part { is_optional: away.contains_key(sources.region(at)), ..Part::default() };
    let mut merged = Merged {
        engine: engine.clone(),
        out: (*out).clone(),
        scope: scope.clone(),
        parts: (0..sources.len()).map(part).collect(),
        shape,
        sources,
        resetting: BTreeSet::new(),
        queue: VecDeque::new(),
        is_over: false,
        _open: open,
    };
    if is_reset {
        merged.push_reset();
    }
    Ok(merged)
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
            Heard::Message { at, message } => self.take(at, &message)?,
            Heard::Lost { at, status } => self.lose(at, &status),
            Heard::Refused(status) => return Err(status),
            Heard::Closed => return Err(closing()),
            Heard::Tick => self.tick().await,
        }
        self.reset_if_possible();
        Ok(())
    }

    fn take(&mut self, at: usize, message: &Bytes) -> Result<(), Status> {
        let received = self.shape.read(message).ok_or_else(not_understood)?;
        if received.is_hard_reset {
            self.start_over(at);
            return Ok(());
        }
        let part = &mut self.parts[at];
        // From its first word on it is waited for, so that its snapshot is never applied in halves.
        part.is_optional = false;
        part.run_bytes += received.changes.iter().map(Bytes::len).sum::<usize>();
        part.run.push(received.changes);
        if received.is_current {
            if !received.resume_token.is_empty() {
                self.sources.set_token(at, received.resume_token);
            }
            let part = &mut self.parts[at];
            (part.is_current, part.is_half_told) = (true, false);
            self.pass_on(at);
        } else if !part.is_current || part.run_bytes > RUN_BYTES_MAX {
            part.is_current = false;
            part.is_half_told |= self.sources.token(at).is_empty();
            self.pass_on(at);
        }
        Ok(())
    }

    /// Passes on what the region has said, and marks the end if every region is at a mark.
    fn pass_on(&mut self, at: usize) {
        let run = std::mem::take(&mut self.parts[at].run);
        self.parts[at].run_bytes = 0;
        let marks = self.marks();
        let n_messages = run.len();
        for (index, changes) in run.into_iter().enumerate() {
            let is_last = index + 1 == n_messages;
            let marks = if is_last { marks.clone() } else { Marks::default() };
            if !changes.is_empty() || marks != Marks::default() {
                self.queue.push_back(self.shape.pass_on(&changes, &marks));
            }
        }
    }

    fn marks(&self) -> Marks {
        let is_current = self.parts.iter().all(|part| part.is_current || part.is_optional);
        if !is_current {
            return Marks::default();
        }
        let token = |at| (self.sources.region(at).clone(), self.sources.token(at).to_owned());
        let tokens = (0..self.parts.len()).map(token).filter(|(_, token)| !token.is_empty());
        let resume_token = ResumeOf(tokens.collect()).encode();
        Marks { is_current: true, resume_token, ..Marks::default() }
    }

    fn lose(&mut self, at: usize, status: &Status) {
        let region = self.sources.region(at);
        tracing::info!(%region, %status, "a watch goes on without a region for now");
        let part = &mut self.parts[at];
        part.is_current = false;
        (part.run, part.run_bytes) = (Vec::new(), 0);
        if part.is_half_told {
            // The next snapshot would not tell what of the first one is gone meanwhile.
            self.start_over(at);
        }
    }

    /// Lets a region wait for the others before it starts over.
    fn start_over(&mut self, at: usize) {
        self.sources.set_token(at, String::new());
        self.sources.hold(at, true);
        self.parts[at].is_current = false;
        self.resetting.insert(at);
    }

    /// Starts over with all regions, once all are there that the client has something of.
    fn reset_if_possible(&mut self) {
        let is_there = |at: usize| self.parts[at].is_optional || self.sources.is_open(at);
        if self.resetting.is_empty() || !(0..self.parts.len()).all(is_there) {
            return;
        }
        let resetting = std::mem::take(&mut self.resetting);
        for at in 0..self.parts.len() {
            let is_optional = self.parts[at].is_optional;
            self.parts[at] = Part { is_optional, ..Part::default() };
            if resetting.contains(&at) {
                self.sources.hold(at, false);
            } else {
                self.sources.restart(at);
            }
        }
        self.push_reset();
    }

    fn push_reset(&mut self) {
        let marks = Marks { is_hard_reset: true, ..Marks::default() };
        self.queue.push_back(self.shape.message(&[], &marks));
    }

    /// Looks for regions that joined, and gives a sign of life where no region's own is passed on.
    async fn tick(&mut self) {
        for region in self.engine.regions_now(&self.out, self.scope.as_ref()).await {
            if !self.sources.knows(&region) {
                self.sources.add(region);
                self.parts.push(Part { is_optional: true, ..Part::default() });
            }
        }
        if self.marks() == Marks::default() {
            self.queue.push_back(self.shape.message(&[], &Marks::default()));
        }
    }
}

fn not_understood() -> Status {
    tracing::error!("a message of another region's watch does not decode");
    Status::new(bowline_base::Reason::Internal, "another region's watch was not understood")
}
