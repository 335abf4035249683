//! Connections that are kept: a few that all single reads share, and those that snapshots have for themselves.
//!
//! Written here and not taken from a pool library, since connections are made through the seams and hold prepared
//! statements, and since a snapshot is given back when it is dropped, without anybody waiting.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connect::{Connector, Purpose, Session};
use crate::failure::Failure;

/// Connections for statements that stand alone; many are under way on each.
pub(crate) struct Shared {
    connector: Arc<Connector>,
    slots: Vec<tokio::sync::Mutex<Option<Arc<Session>>>>,
    next: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(connector: Arc<Connector>, connections: usize) -> Self {
        let slots = (0..connections.max(1)).map(|_| tokio::sync::Mutex::default()).collect();
        Self { connector, slots, next: AtomicUsize::new(0) }
    }

    /// Runs `work`; if the connection breaks, once more on a new one.
    pub(crate) async fn run<T, F>(&self, work: impl Fn(Arc<Session>) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let since = self.connector.now();
        let slot = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        let mut is_second = false;
        loop {
            let session = self.session(slot, since).await?;
            let answer =
                self.connector.within(self.connector.flight_limit(since), work(session.clone()));
            match answer.await {
                Err(failure) if failure.is_lost() => {
                    self.forget(slot, &session).await;
                    if is_second {
                        return Err(failure);
                    }
                    is_second = true;
                }
                answer => return answer,
            }
        }
    }

    async fn session(
        &self,
        slot: usize,
        since: std::time::Duration,
    ) -> Result<Arc<Session>, Failure> {
        let mut kept = self.slots[slot].lock().await;
        if let Some(session) = kept.as_ref().filter(|session| !session.is_closed()) {
            return Ok(session.clone());
        }
        let session = Arc::new(self.connector.connect(Purpose::Read, since).await?);
        *kept = Some(session.clone());
        Ok(session)
    }

    async fn forget(&self, slot: usize, broken: &Arc<Session>) {
        let mut kept = self.slots[slot].lock().await;
        if kept.as_ref().is_some_and(|session| Arc::ptr_eq(session, broken)) {
            *kept = None;
        }
    }

    pub(crate) async fn close(&self) {
        for slot in &self.slots {
            *slot.lock().await = None;
        }
    }
}

/// Connections that one user has at a time.
pub(crate) struct Leases {
    connector: Arc<Connector>,
    idle: Arc<Mutex<Vec<Session>>>,
    permits: Arc<Semaphore>,
}

/// A connection for one user; given back by [`Lease::give_back`], closed if it is dropped otherwise.
pub(crate) struct Lease {
    session: Option<Session>,
    idle: Arc<Mutex<Vec<Session>>>,
    _permit: OwnedSemaphorePermit,
}

impl Leases {
    pub(crate) fn new(connector: Arc<Connector>, connections: usize) -> Self {
        let permits = Arc::new(Semaphore::new(connections.max(1)));
        Self { connector, idle: Arc::default(), permits }
    }

    /// A connection; waits while all are in use. `fresh`: not one that was in use before.
    pub(crate) async fn take(
        &self,
        fresh: bool,
        since: std::time::Duration,
    ) -> Result<Lease, Failure> {
        let closed = || Failure::Store(bowline_store::StoreError::Closed);
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| closed())?;
        let kept = self.idle().pop().filter(|session| !fresh && !session.is_closed());
        let session = match kept {
            Some(session) => session,
            None => self.connector.connect(Purpose::Snapshot, since).await?,
        };
        Ok(Lease { session: Some(session), idle: self.idle.clone(), _permit: permit })
    }

    pub(crate) fn close(&self) {
        self.permits.close();
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub(crate) fn session(&self) -> &Session {
        self.session.as_ref().expect("a lease has its session until it is given back")
    }

    /// For the next user. Nothing may be open on it.
    pub(crate) fn give_back(mut self) {
        if let Some(session) = self.session.take().filter(|session| !session.is_closed()) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
    }
}
