//! `WatchImportedServiceDeletions`: what was deleted here, for those who may refer to it. First all that is not finished,
//! then what follows in the change log; from a token, only what follows.
//!
//! What is told twice does no harm, and a deletion may have finished when it is told. Messages are bounded; the stream
//! ends with the engine.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_base::{Reason, Seams, Status};
use bowline_control::{Heard, Listener};
use bowline_graph::deletion;
use bowline_node::DeploymentId;
use bowline_resource::page::{ResumeToken, query_hash};
use bowline_store::{Change, Changes, NameRange, Position, Row};
use bowline_wire::bowline::mixin::v1 as wire;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use tokio::sync::watch;

use crate::engine::{Deployment, Engine, errors};
use crate::handler::{Context, Reply};

/// A stream on which nothing happens says so this often.
pub(super) const PROGRESS_PERIOD: Duration = Duration::from_secs(5);
/// Most deletions in one message.
const DELETIONS_MAX: usize = 256;
/// Changes of the log that are read at once.
const CHANGES_MAX: usize = 512;
/// After a commit, so that the next are read together with it.
const GATHER: Duration = Duration::from_millis(10);

impl Engine {
    /// The stream; see the module's header.
    ///
    /// # Errors
    /// `CALLER_REFUSED` unless the caller's service is this one or imports it.
    pub(in crate::engine) fn watch_deletions(
        &self,
        request: &wire::WatchDeletionsRequest,
        context: &Context,
    ) -> Result<Reply, Status> {
        let (deployment, caller) = self.asked(context)?;
        let me = self.me(&deployment.service);
        if !self.is_party_to(caller, &me.service) {
            let message = format!("{caller} does not import {}", me.service);
            return Err(Status::new(Reason::CallerRefused, message));
        }
        let telling = Telling::new(deployment, &me, self.seams.clone(), &request.resume_token);
        Ok(Reply::Stream(telling.stream()))
    }
}

/// What a stream does next.
#[derive(Debug)]
enum Phase {
    /// Reads the rows of these kinds, the first from this name on; then the log after `since`.
    Rows { kinds: VecDeque<Arc<str>>, from: String, since: Option<Position> },
    /// Reads the log after this position.
    Log { after: Position, is_current: bool },
    /// Says no more.
    Over,
}

struct Telling {
    deployment: Weak<Deployment>,
    seams: Seams,
    bell: Listener,
    head: watch::Receiver<Position>,
    /// Of which deployment tokens are.
    query: u64,
    phase: Phase,
    /// When the last message was made, in monotonic time.
    told: Duration,
}

impl Telling {
    fn new(deployment: &Arc<Deployment>, me: &DeploymentId, seams: Seams, token: &str) -> Self {
        let query = query_hash(&["deletions", &me.service, &me.region]);
        // One that is damaged is as good as none.
        let phase = match ResumeToken::decode(token, query) {
            Ok(ResumeToken { era, sequence, .. }) => {
                Phase::Log { after: Position { era, sequence }, is_current: false }
            }
            Err(_) => all(deployment),
        };
        let told = seams.clock.monotonic();
        Self {
            deployment: Arc::downgrade(deployment),
            seams,
            told,
            bell: deployment.bell(),
            head: deployment.backend.head(),
            query,
            phase,
        }
    }

    fn stream(self) -> BoxStream<'static, Result<Bytes, Status>> {
        let next = |mut telling: Self| async move {
            let message = telling.next().await?;
            if message.is_err() {
                telling.phase = Phase::Over;
            }
            telling.told = telling.seams.clock.monotonic();
            Some((message.map(|message| message.encode_to_vec().into()), telling))
        };
        futures::stream::unfold(self, next).boxed()
    }

    /// The next message; `None` when the engine closes.
    async fn next(&mut self) -> Option<Result<wire::WatchDeletionsResponse, Status>> {
        loop {
            let deployment = self.deployment.upgrade().filter(|_| !self.bell.is_closed())?;
            let step = match &self.phase {
                Phase::Over => return None,
                Phase::Rows { .. } => self.read_rows(&deployment).await,
                Phase::Log { after, .. } => self.read_log(&deployment, *after).await,
            };
            drop(deployment);
            match step {
                Ok(Some(message)) => return Some(Ok(message)),
                Ok(None) => {}
                Err(status) => return Some(Err(status)),
            }
            if let Phase::Log { is_current: true, after } = self.phase {
                match self.wait().await? {
                    Waited::Commit => {}
                    Waited::Nothing => return Some(Ok(self.message(Vec::new(), after, true))),
                }
            }
        }
    }

    /// One page of what is not finished.
    async fn read_rows(
        &mut self,
        deployment: &Deployment,
    ) -> Result<Option<wire::WatchDeletionsResponse>, Status> {
        let Phase::Rows { kinds, from, since } = &mut self.phase else { return Ok(None) };
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        // What commits while the rows are read is told by the log, after the first of these views.
        let since = *since.get_or_insert_with(|| snapshot.position());
        let Some(kind) = kinds.front() else {
            self.phase = Phase::Log { after: since, is_current: false };
            return Ok(None);
        };
        let range = NameRange { from: from.clone(), ..NameRange::all(deletion::table(kind)) };
        let rows = snapshot.scan(&range, DELETIONS_MAX, false).await;
        let rows = rows.map_err(|error| errors::store(&error))?;
        match rows.last() {
            Some((name, _)) if rows.len() == DELETIONS_MAX => *from = format!("{name}\0"),
            _ => {
                kinds.pop_front();
                from.clear();
            }
        }
        let deletions: Vec<_> = rows.iter().filter_map(|(_, row)| read(row)).collect();
        let message = wire::WatchDeletionsResponse { deletions, ..Default::default() };
        Ok((!message.deletions.is_empty()).then_some(message))
    }

    /// One page of the log; says that it is current when it has come to the end.
    async fn read_log(
        &mut self,
        deployment: &Deployment,
        after: Position,
    ) -> Result<Option<wire::WatchDeletionsResponse>, Status> {
        self.head.borrow_and_update();
        let page = deployment.backend.changes(after, CHANGES_MAX).await;
        let (changes, next, at_head) = match page.map_err(|error| errors::store(&error))? {
            Changes::TooOld { .. } => {
                self.phase = all(deployment);
                return Ok(None);
            }
            Changes::Page { changes, next, at_head } => (changes, next, at_head),
        };
        let was_current = matches!(self.phase, Phase::Log { is_current: true, .. });
        self.phase = Phase::Log { after: next, is_current: at_head };
        let deletions: Vec<_> = changes.iter().filter_map(|change| told(change)).collect();
        if deletions.is_empty() && (was_current || !at_head) {
            return Ok(None);
        }
        Ok(Some(self.message(deletions, next, at_head)))
    }

    fn message(
        &self,
        deletions: Vec<wire::Deletion>,
        at: Position,
        is_current: bool,
    ) -> wire::WatchDeletionsResponse {
        let token = ResumeToken { query: self.query, era: at.era, sequence: at.sequence };
        wire::WatchDeletionsResponse { deletions, resume_token: token.encode(), is_current }
    }

    /// Waits for a commit; `None` when the engine closes.
    async fn wait(&mut self) -> Option<Waited> {
        // Commits that bring no deletion are no news: the listener is told that it is still told everything.
        let since = self.seams.clock.monotonic().saturating_sub(self.told);
        let left = PROGRESS_PERIOD.saturating_sub(since);
        if left.is_zero() {
            return Some(Waited::Nothing);
        }
        let timer = self.seams.clock.sleep(left);
        let (bell, head) = (&mut self.bell, &mut self.head);
        let closed = async { while bell.heard().await == Heard::Ring {} };
        let waited = tokio::select! {
            biased;
            () = closed => return None,
            changed = head.changed() => {
                changed.ok()?;
                Waited::Commit
            }
            () = timer => Waited::Nothing,
        };
        if matches!(waited, Waited::Commit) {
            self.seams.clock.sleep(GATHER).await;
        }
        Some(waited)
    }
}

enum Waited {
    Commit,
    Nothing,
}

fn all(deployment: &Deployment) -> Phase {
    let kinds = deployment.kinds().into_iter().collect();
    Phase::Rows { kinds, from: String::new(), since: None }
}

/// The deletion that a change of the log brought.
fn told(change: &Change) -> Option<wire::Deletion> {
    let is_deletion = &*change.key.table.namespace == deletion::NAMESPACE;
    change.after.as_ref().filter(|_| is_deletion).and_then(read)
}

fn read(row: &Row) -> Option<wire::Deletion> {
    deletion::of_row(row)
        .inspect_err(
            |error| tracing::error!(error = %bowline_base::chain(error), "stored deletion"),
        )
        .ok()
}
