//! Connections that are kept: a few that all single reads share, and those that snapshots have for themselves.
//!
//! Written here and not taken from a pool library, since connections are made through the seams and hold prepared
//! statements, and since a snapshot is given back when it is dropped, without anybody waiting.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_store::StoreError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::connect::{Connector, Purpose, Session};
use crate::failure::Failure;

/// Connections for statements that stand alone; many are under way on each.
pub(crate) struct Shared {
    connector: Arc<Connector>,
    slots: Vec<Arc<Slot>>,
    next: AtomicUsize,
}

/// One of them, or the attempt to make it. The attempt is a task of its own, so that it goes on when those who wait for
/// it give up.
#[derive(Default)]
struct Slot {
    state: Mutex<SlotState>,
    /// An attempt has ended.
    ended: Notify,
}

#[derive(Default)]
struct SlotState {
    session: Option<Arc<Session>>,
    /// Why the last attempt failed.
    failure: Option<Arc<Failure>>,
    is_connecting: bool,
    is_closed: bool,
}

impl Shared {
    pub(crate) fn new(connector: Arc<Connector>, connections: usize) -> Self {
        let slots = (0..connections.max(1)).map(|_| Arc::default()).collect();
        Self { connector, slots, next: AtomicUsize::new(0) }
    }

    /// Runs `work`; if the connection breaks, once more on a new one.
    pub(crate) async fn run<T, F>(&self, work: impl Fn(Arc<Session>) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let since = self.connector.now();
        let slot = &self.slots[self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len()];
        let mut is_second = false;
        loop {
            let left = self.connector.left(since);
            let session = self.connector.within(left, self.session(slot)).await?;
            let limit = self.connector.flight_limit(since);
            match self.connector.within(limit, work(session.clone())).await {
                Err(failure) if failure.is_lost() => {
                    slot.forget(&session);
                    if is_second {
                        return Err(failure);
                    }
                    is_second = true;
                }
                answer => return answer,
            }
        }
    }

    async fn session(&self, slot: &Arc<Slot>) -> Result<Arc<Session>, Failure> {
        loop {
            let mut ended = std::pin::pin!(slot.ended.notified());
            // From here on no end is missed.
            ended.as_mut().enable();
            if let Some(session) = slot.ready()? {
                return Ok(session);
            }
            self.connect(slot);
            ended.await;
            if let Some(failure) = slot.lock().failure.clone() {
                return Err(Failure::NoConnection(failure));
            }
        }
    }

    /// Starts an attempt unless one is under way.
    fn connect(&self, slot: &Arc<Slot>) {
        if std::mem::replace(&mut slot.lock().is_connecting, true) {
            return;
        }
        let (slot, connector) = (slot.clone(), self.connector.clone());
        let attempt = async move {
            let made = connector.connect(Purpose::Read, connector.now()).await;
            let mut state = slot.lock();
            state.is_connecting = false;
            match made {
                Ok(session) if !state.is_closed => {
                    state.session = Some(Arc::new(session));
                    state.failure = None;
                }
                Ok(_) => {}
                Err(failure) => state.failure = Some(Arc::new(failure)),
            }
            drop(state);
            slot.ended.notify_waiters();
        };
        self.connector.seams().tasks.spawn("postgres connect", Box::pin(attempt));
    }

    pub(crate) fn close(&self) {
        for slot in &self.slots {
            let mut state = slot.lock();
            state.is_closed = true;
            state.session = None;
            drop(state);
            slot.ended.notify_waiters();
        }
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> Result<Option<Arc<Session>>, Failure> {
        let state = self.lock();
        if state.is_closed {
            return Err(StoreError::Closed.into());
        }
        Ok(state.session.clone().filter(|session| !session.is_closed()))
    }

    fn forget(&self, broken: &Arc<Session>) {
        let mut state = self.lock();
        if state.session.as_ref().is_some_and(|session| Arc::ptr_eq(session, broken)) {
            state.session = None;
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
        let closed = || Failure::Store(StoreError::Closed);
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
