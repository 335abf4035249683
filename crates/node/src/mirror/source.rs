//! The life of one source's watch: open, take messages, and when it ends wait and open it again, forever.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::BoxStream;

use super::follow::{Follow, Step};
use super::{MirrorParts, Shared, SourceState};
use crate::backoff::Backoff;
use crate::id::DeploymentId;
use crate::peers::{Answer, Call, headers};

/// Longest wait for the first message of a watch.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// Longest silence: a source tells at least every five seconds that it is there.
const SILENCE_MAX: Duration = Duration::from_secs(20);

pub(super) struct Source<T> {
    id: DeploymentId,
    parts: Arc<MirrorParts<T>>,
    shared: Arc<Shared<T>>,
    follow: Follow<T>,
    backoff: Backoff,
}

impl<T: PartialEq + Send + Sync + 'static> Source<T> {
    pub(super) fn new(
        id: DeploymentId,
        parts: Arc<MirrorParts<T>>,
        shared: Arc<Shared<T>>,
    ) -> Self {
        Self { id, parts, shared, follow: Follow::new(), backoff: Backoff::default() }
    }

    pub(super) async fn run(mut self) {
        loop {
            let status = self.watch().await;
            if matches!(status.reason, Reason::InvalidResumeToken) {
                self.follow.start_over();
            }
            let wait = self.backoff.next(&self.parts.seams);
            self.note_end(status);
            self.parts.seams.clock.sleep(wait).await;
        }
    }

    /// One stream from its beginning to its end, and why it ended.
    async fn watch(&mut self) -> Status {
        self.follow.open();
        let mut stream = match self.open().await {
            Ok(stream) => stream,
            Err(status) => return status,
        };
        let mut patience = OPEN_MAX;
        loop {
            let message = match self.within(patience, stream.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(status))) | Err(status) => return status,
                Ok(None) => return Status::new(Reason::Unavailable, "the watch was ended"),
            };
            if let Err(status) = self.take(&message) {
                return status;
            }
            patience = SILENCE_MAX;
        }
    }

    async fn open(&self) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        let parts = &self.parts;
        let request = parts.method.request(self.follow.token(), &parts.fields);
        let call = Call::stream(parts.method.path(), request)
            .within(Some(OPEN_MAX))
            .with_header(headers::LOCAL, "1");
        match self.within(OPEN_MAX, parts.peers.call(&parts.me, &self.id, call)).await?? {
            Answer::Stream(stream) => Ok(stream),
            Answer::Unary { .. } => {
                Err(Status::new(Reason::Internal, "one answer came instead of a stream"))
            }
        }
    }

    fn take(&mut self, message: &Bytes) -> Result<(), Status> {
        let message = self.parts.method.message(message).map_err(|error| {
            let error = bowline_base::chain(&error);
            tracing::error!(source = %self.id, %error, "a message of a watch could not be read");
            Status::new(Reason::Internal, "a message of the watch could not be read")
        })?;
        let mut unread = 0;
        let step = self.follow.take(message, &self.parts.decode, self.shared.entries_max, |one| {
            unread += 1;
            tracing::error!(source = %self.id, name = %one.name, error = %one.error, "a resource could not be read; it stays as it was");
        });
        if unread > 0 {
            self.shared.health(&self.id, |health| health.unreadable += unread);
        }
        match step {
            Step::More => Ok(()),
            Step::Apply(cut) => {
                self.backoff.reset();
                self.shared.change(|state| {
                    // The source may have been dropped a moment ago; then it has no say any more.
                    let Some(health) = state.health.get_mut(&self.id) else { return false };
                    let is_news = health.state != SourceState::Current;
                    health.state = SourceState::Current;
                    health.is_complete = true;
                    state.entries.apply(&self.id, cut, self.shared.entries_max) || is_news
                });
                Ok(())
            }
            Step::Check(size) => self.check(size),
        }
    }

    /// Compares how many resources the source told of with how many are known; a difference means starting over.
    fn check(&mut self, size: u64) -> Result<(), Status> {
        let state = self.shared.lock();
        let known = state.entries.count(&self.id) as u64;
        let is_comparable = !state.entries.is_truncated()
            && state.health.get(&self.id).is_some_and(|health| health.unreadable == 0);
        drop(state);
        if known == size || !is_comparable {
            return Ok(());
        }
        self.follow.start_over();
        tracing::warn!(source = %self.id, size, known, "the sizes of a source and its mirror differ; starting over");
        Err(Status::new(Reason::Unavailable, "the sizes of source and mirror differ"))
    }

    fn note_end(&self, status: Status) {
        let now = self.parts.seams.clock.monotonic();
        self.shared.health(&self.id, |health| {
            let since = match &health.state {
                SourceState::Unreachable { since, .. } => *since,
                SourceState::Starting | SourceState::Current => {
                    tracing::debug!(source = %self.id, %status, "a watch ended");
                    now
                }
            };
            health.state = SourceState::Unreachable { since, status };
        });
    }

    async fn within<R>(&self, limit: Duration, work: impl Future<Output = R>) -> Result<R, Status> {
        let work = std::pin::pin!(work);
        match select(work, self.parts.seams.clock.sleep(limit)).await {
            Either::Left((result, _)) => Ok(result),
            Either::Right(_) => Err(Status::new(Reason::Unavailable, "the deployment is silent")
                .with_metadata("region", &*self.id.region)
                .with_metadata("service", &*self.id.service)),
        }
    }
}
