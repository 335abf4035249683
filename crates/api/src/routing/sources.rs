//! The streams that a merged watch listens to: one for each region, opened again whenever it breaks off.
//!
//! Not here: what the messages mean. Sources are polled in turns, so that a busy region does not keep others waiting.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bowline_base::{Code, Reason, Seams, Status};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all, poll_fn};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

pub(crate) type Messages = BoxStream<'static, Result<Bytes, Status>>;
/// Opens the stream of a region from a resume token; the empty one is the beginning.
pub(crate) type Opener =
    Arc<dyn Fn(Arc<str>, String) -> BoxFuture<'static, Result<Messages, Status>> + Send + Sync>;

/// The wait after the first failure in a row, and the longest one, before jitter.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A source that says nothing for so many progress periods is taken for broken.
const SILENT_PERIODS: u32 = 3;

/// One region's stream.
struct Source {
    region: Arc<str>,
    /// Where it goes on from when it is opened again.
    token: String,
    state: State,
    n_failures: u32,
    /// Keeps what it has to say back.
    is_held: bool,
}

enum State {
    Opening(BoxFuture<'static, Result<Messages, Status>>),
    Open { messages: Messages, silence: BoxFuture<'static, ()> },
    Waiting(BoxFuture<'static, ()>),
}

/// What was heard; `at` is the place of the source.
pub(crate) enum Heard {
    Message {
        at: usize,
        message: Bytes,
    },
    /// The stream broke off; it is opened again.
    Lost {
        at: usize,
        status: Status,
    },
    /// A source will never give anything: the request itself is wrong.
    Refused(Status),
    /// A progress period is over.
    Tick,
    /// The node closes.
    Closed,
}

/// See the module's header.
pub(crate) struct Sources {
    list: Vec<Source>,
    /// Who is polled first next time.
    turn: usize,
    opener: Opener,
    seams: Seams,
    period: Duration,
    tick: BoxFuture<'static, ()>,
    closed: BoxFuture<'static, ()>,
}

impl Sources {
    /// Opens the streams of `regions` side by side; gives the failures of those that are away, which are tried again.
    ///
    /// # Errors
    /// What a region answers that is not away.
    pub(crate) async fn open(
        regions: BTreeMap<Arc<str>, String>,
        opener: Opener,
        seams: &Seams,
        period: Duration,
        closing: CancellationToken,
    ) -> Result<(Self, BTreeMap<Arc<str>, Status>), Status> {
        let mut sources = Self {
            list: Vec::new(),
            turn: 0,
            opener,
            seams: seams.clone(),
            period,
            tick: seams.clock.sleep(period),
            closed: Box::pin(closing.cancelled_owned()),
        };
        // Collected first, so that nothing of the iterator lives on across the wait.
        let opening: Vec<BoxFuture<'static, _>> = regions
            .into_iter()
            .map(|(region, token)| {
                let opened = (sources.opener)(region.clone(), token.clone());
                opened.map(|opened| (region, token, opened)).boxed()
            })
            .collect();
        let mut away = BTreeMap::new();
        for (region, token, opened) in join_all(opening).await {
            let mut source = Source::new(region.clone(), token, State::Waiting(never()));
            match opened {
                Ok(messages) => source.state = sources.opened(messages),
                Err(status) if is_final(&status) => return Err(status),
                Err(status) => {
                    source.state = sources.wait(&mut source.n_failures);
                    away.insert(region, status);
                }
            }
            sources.list.push(source);
        }
        Ok((sources, away))
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn region(&self, at: usize) -> &Arc<str> {
        &self.list[at].region
    }

    pub(crate) fn knows(&self, region: &str) -> bool {
        self.list.iter().any(|source| &*source.region == region)
    }

    /// Adds one more region, from its beginning.
    pub(crate) fn add(&mut self, region: Arc<str>) {
        let opening = (self.opener)(region.clone(), String::new());
        self.list.push(Source::new(region, String::new(), State::Opening(opening)));
    }

    /// Where the source would go on from.
    pub(crate) fn token(&self, at: usize) -> &str {
        &self.list[at].token
    }

    pub(crate) fn set_token(&mut self, at: usize, token: String) {
        self.list[at].token = token;
    }

    pub(crate) fn is_open(&self, at: usize) -> bool {
        matches!(self.list[at].state, State::Open { .. })
    }

    /// Keeps back what the source says from now on, or no more. It is opened again all the same.
    pub(crate) fn hold(&mut self, at: usize, is_held: bool) {
        self.list[at].is_held = is_held;
    }

    /// Starts the source over from its beginning.
    pub(crate) fn restart(&mut self, at: usize) {
        let region = self.list[at].region.clone();
        let opening = (self.opener)(region.clone(), String::new());
        self.list[at] = Source::new(region, String::new(), State::Opening(opening));
    }

    /// What is heard next of any source.
    pub(crate) async fn next(&mut self) -> Heard {
        poll_fn(|task| self.poll(task)).await
    }

    fn poll(&mut self, task: &mut Task<'_>) -> Poll<Heard> {
        if self.closed.poll_unpin(task).is_ready() {
            return Poll::Ready(Heard::Closed);
        }
        let n = self.list.len();
        for step in 0..n {
            let at = (self.turn + step) % n;
            if let Poll::Ready(heard) = self.poll_source(at, task) {
                self.turn = (at + 1) % n;
                return Poll::Ready(heard);
            }
        }
        if self.tick.poll_unpin(task).is_ready() {
            self.tick = self.seams.clock.sleep(self.period);
            return Poll::Ready(Heard::Tick);
        }
        Poll::Pending
    }

    fn poll_source(&mut self, at: usize, task: &mut Task<'_>) -> Poll<Heard> {
        loop {
            let source = &mut self.list[at];
            let failed = match &mut source.state {
                State::Waiting(wait) => {
                    futures::ready!(wait.poll_unpin(task));
                    let opening = (self.opener)(source.region.clone(), source.token.clone());
                    source.state = State::Opening(opening);
                    continue;
                }
                State::Opening(opening) => match futures::ready!(opening.poll_unpin(task)) {
                    Ok(messages) => {
                        let state = self.opened(messages);
                        self.list[at].state = state;
                        continue;
                    }
                    Err(status) => status,
                },
                State::Open { .. } if source.is_held => return Poll::Pending,
                State::Open { messages, silence } => {
                    match Pin::new(messages).poll_next_unpin(task) {
                        Poll::Ready(Some(Ok(message))) => {
                            *silence = self.seams.clock.sleep(self.period * SILENT_PERIODS);
                            source.n_failures = 0;
                            return Poll::Ready(Heard::Message { at, message });
                        }
                        Poll::Ready(Some(Err(status))) => status,
                        Poll::Ready(None) => broken("its stream ended"),
                        Poll::Pending => {
                            futures::ready!(silence.poll_unpin(task));
                            broken("nothing was heard of it")
                        }
                    }
                }
            };
            if is_final(&failed) {
                return Poll::Ready(Heard::Refused(failed));
            }
            let mut n_failures = self.list[at].n_failures;
            let state = self.wait(&mut n_failures);
            (self.list[at].state, self.list[at].n_failures) = (state, n_failures);
            return Poll::Ready(Heard::Lost { at, status: failed });
        }
    }

    fn opened(&self, messages: Messages) -> State {
        let silence = self.seams.clock.sleep(self.period * SILENT_PERIODS);
        State::Open { messages, silence }
    }

    /// A wait that grows with the failures in a row, never in step with that of others.
    fn wait(&self, n_failures: &mut u32) -> State {
        let whole = FIRST_WAIT.saturating_mul(1 << (*n_failures).min(8)).min(LONGEST_WAIT);
        *n_failures += 1;
        let mut byte = [0u8; 1];
        self.seams.random.fill(&mut byte);
        let jitter = (whole / 2).mul_f64(f64::from(byte[0]) / f64::from(u8::MAX));
        State::Waiting(self.seams.clock.sleep(whole / 2 + jitter))
    }
}

impl Source {
    fn new(region: Arc<str>, token: String, state: State) -> Self {
        Self { region, token, state, n_failures: 0, is_held: false }
    }
}

fn never() -> BoxFuture<'static, ()> {
    Box::pin(futures::future::pending())
}

fn broken(why: &str) -> Status {
    Status::new(Reason::Unavailable, format!("a region of a watch broke off: {why}"))
}

/// Whether trying again would be answered the same way.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::Unimplemented
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
    )
}
