//! A stream of what rows tell: first what is there, then what the change log brings; from a token, only what follows. What
//! it tells is a [`Tale`]: deletions ([`super::deletions`]), shadows ([`super::shadow_watch`]).
//!
//! Messages are bounded, nothing is kept between them, and the stream ends with the engine. What commits while the
//! rows are read is told once more by the log.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::{Seams, Status};
use bowline_control::{Heard, Listener};
use bowline_resource::page::ResumeToken;
use bowline_store::{Change, Changes, NameRange, NamedRow, Position, Snapshot, Table};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::watch;

use crate::engine::{Deployment, errors};

/// A stream on which nothing happens says so this often.
pub(super) const PROGRESS_PERIOD: Duration = Duration::from_secs(5);
/// Changes of the log that are read at once.
const CHANGES_MAX: usize = 512;
/// After a commit, so that the next are read together with it.
const GATHER: Duration = Duration::from_millis(10);

/// What a stream tells of.
#[async_trait]
pub(super) trait Tale: Send + Sync + 'static {
    type Item: Send;

    /// Rows that are read at once, and items of a message.
    const TOGETHER_MAX: usize;

    /// The tables whose rows come first, in this order.
    fn tables(&self, deployment: &Deployment) -> VecDeque<Table>;

    /// What some rows of one of these tables tell.
    async fn of_rows(
        &self,
        table: &Table,
        rows: Vec<NamedRow>,
        snapshot: &mut dyn Snapshot,
    ) -> Result<Vec<Self::Item>, Status>;

    /// What changes of the log tell: whole commits, in their order.
    async fn of_changes(
        &self,
        deployment: &Deployment,
        changes: &[Arc<Change>],
    ) -> Result<Vec<Self::Item>, Status>;

    fn message(&self, items: Vec<Self::Item>, mark: Mark) -> Bytes;
}

/// What a message says beside its items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Empty: this is no place to go on from.
    pub(super) resume_token: String,
    pub(super) is_current: bool,
    /// What was told before does not count any more.
    pub(super) is_reset: bool,
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// With all that is there.
    Rows,
    /// The same, for somebody who has to forget what he was told.
    Again,
    After(Position),
}

/// What a stream does next.
#[derive(Debug)]
enum Phase {
    /// Reads the rows of these tables, the first from this name on; then the log after `since`.
    Rows { tables: VecDeque<Table>, from: String, since: Option<Position> },
    /// Reads the log after this position.
    Log { after: Position, is_current: bool },
    /// Says no more.
    Over,
}

/// See the module's header.
pub(super) struct Telling<T> {
    deployment: Weak<Deployment>,
    seams: Seams,
    bell: Listener,
    head: watch::Receiver<Position>,
    /// What tokens are bound to.
    query: u64,
    tale: T,
    phase: Phase,
    /// Messages that are ready.
    out: VecDeque<Bytes>,
    /// When the last message was made, in monotonic time.
    told: Duration,
}

enum Waited {
    Commit,
    Nothing,
}

impl<T: Tale> Telling<T> {
    pub(super) fn new(
        deployment: &Arc<Deployment>,
        seams: Seams,
        tale: T,
        query: u64,
        beginning: Beginning,
    ) -> Self {
        let phase = match beginning {
            Beginning::Rows | Beginning::Again => all(&tale, deployment),
            Beginning::After(after) => Phase::Log { after, is_current: false },
        };
        let is_reset = beginning == Beginning::Again;
        let reset =
            is_reset.then(|| tale.message(Vec::new(), Mark { is_reset, ..Mark::default() }));
        let told = seams.clock.monotonic();
        Self {
            deployment: Arc::downgrade(deployment),
            seams,
            told,
            bell: deployment.bell(),
            head: deployment.backend.head(),
            query,
            tale,
            phase,
            out: reset.into_iter().collect(),
        }
    }

    pub(super) fn stream(self) -> BoxStream<'static, Result<Bytes, Status>> {
        let next = |mut telling: Self| async move {
            let message = telling.next().await?;
            if message.is_err() {
                telling.phase = Phase::Over;
            }
            telling.told = telling.seams.clock.monotonic();
            Some((message, telling))
        };
        futures::stream::unfold(self, next).boxed()
    }

    /// The next message; `None` when the engine closes.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            let deployment = self.deployment.upgrade().filter(|_| !self.bell.is_closed())?;
            if let Some(message) = self.out.pop_front() {
                return Some(Ok(message));
            }
            let step = match &self.phase {
                Phase::Over => return None,
                Phase::Rows { .. } => self.read_rows(&deployment).await,
                Phase::Log { after, .. } => self.read_log(&deployment, *after).await,
            };
            drop(deployment);
            if let Err(status) = step {
                return Some(Err(status));
            }
            if let (true, Phase::Log { is_current: true, after }) =
                (self.out.is_empty(), &self.phase)
            {
                let after = *after;
                match self.wait().await? {
                    Waited::Commit => {}
                    Waited::Nothing => self.tell_place(Vec::new(), after, true),
                }
            }
        }
    }

    /// One page of what is there.
    async fn read_rows(&mut self, deployment: &Deployment) -> Result<(), Status> {
        let Phase::Rows { tables, from, since } = &mut self.phase else { return Ok(()) };
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        // What commits while the rows are read is told by the log, after the first of these views.
        let since = *since.get_or_insert_with(|| snapshot.position());
        let Some(table) = tables.front().cloned() else {
            self.phase = Phase::Log { after: since, is_current: false };
            return Ok(());
        };
        let range = NameRange { from: from.clone(), ..NameRange::all(table.clone()) };
        let rows = snapshot.scan(&range, T::TOGETHER_MAX, false).await;
        let rows = rows.map_err(|error| errors::store(&error))?;
        match rows.last() {
            Some((name, _)) if rows.len() == T::TOGETHER_MAX => *from = format!("{name}\0"),
            _ => {
                tables.pop_front();
                from.clear();
            }
        }
        let items = self.tale.of_rows(&table, rows, snapshot.as_mut()).await?;
        if !items.is_empty() {
            self.tell(items, Mark::default());
        }
        Ok(())
    }

    /// One page of the log; says that it is current when it has come to the end.
    async fn read_log(&mut self, deployment: &Deployment, after: Position) -> Result<(), Status> {
        self.head.borrow_and_update();
        let page = deployment.backend.changes(after, CHANGES_MAX).await;
        let (changes, next, at_head) = match page.map_err(|error| errors::store(&error))? {
            Changes::TooOld { .. } => {
                self.phase = all(&self.tale, deployment);
                self.tell(Vec::new(), Mark { is_reset: true, ..Mark::default() });
                return Ok(());
            }
            Changes::Page { changes, next, at_head } => (changes, next, at_head),
        };
        let was_current = matches!(self.phase, Phase::Log { is_current: true, .. });
        let items = self.tale.of_changes(deployment, &changes).await?;
        self.phase = Phase::Log { after: next, is_current: at_head };
        if !items.is_empty() || (at_head && !was_current) {
            self.tell_place(items, next, at_head);
        }
        Ok(())
    }

    /// Tells items, and where the log was then.
    fn tell_place(&mut self, items: Vec<T::Item>, at: Position, is_current: bool) {
        let token = ResumeToken { query: self.query, era: at.era, sequence: at.sequence };
        self.tell(items, Mark { resume_token: token.encode(), is_current, is_reset: false });
    }

    /// Makes messages of bounded size; the last one has the mark.
    fn tell(&mut self, items: Vec<T::Item>, mark: Mark) {
        let mut items = items.into_iter().peekable();
        loop {
            let some: Vec<_> = items.by_ref().take(T::TOGETHER_MAX).collect();
            if items.peek().is_none() {
                self.out.push_back(self.tale.message(some, mark));
                return;
            }
            self.out.push_back(self.tale.message(some, Mark::default()));
        }
    }

    /// Waits for a commit; `None` when the engine closes.
    async fn wait(&mut self) -> Option<Waited> {
        // Commits that bring nothing of the tale are no news: the listener is told that it is still told everything.
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

fn all<T: Tale>(tale: &T, deployment: &Deployment) -> Phase {
    Phase::Rows { tables: tale.tables(deployment), from: String::new(), since: None }
}
