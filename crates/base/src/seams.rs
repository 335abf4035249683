//! The seams: wall clock, monotonic time, randomness and tasks, so that a simulator can run the real code.
//!
//! Code takes a [`Seams`]; [`Seams::real`] is what a process uses. Only this file may touch the real ones.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A boxed future that can move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Time. Wall time is for people and timestamps; only monotonic time decides anything.
pub trait Clock: Send + Sync {
    /// Wall time, for `create_time` and the like.
    fn now(&self) -> jiff::Timestamp;
    /// Time since some fixed point of this process; never goes back.
    fn monotonic(&self) -> Duration;
    /// Completes after `duration` of monotonic time.
    fn sleep(&self, duration: Duration) -> BoxFuture<()>;
}

/// Randomness for ids and jitter.
pub trait Random: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

/// Starting work beside the current task.
pub trait Tasks: Send + Sync {
    /// Runs `task` to its end; dropping nothing ends it early. `name` is for tracing.
    fn spawn(&self, name: &'static str, task: BoxFuture<()>);
    /// Runs `work`, which may block, where it disturbs no other task, and completes after it.
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()>;
}

/// The seams bundled, cheap to clone.
#[derive(Clone)]
pub struct Seams {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub tasks: Arc<dyn Tasks>,
}

impl Seams {
    /// The real clock, the operating system's randomness, and tokio's tasks.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(RealClock::start()),
            random: Arc::new(OsRandom),
            tasks: Arc::new(TokioTasks),
        }
    }

    /// A new id that never returns: a UUID of version 7.
    pub fn new_uid(&self) -> uuid::Uuid {
        let mut random = [0u8; 10];
        self.random.fill(&mut random);
        let millis = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// Runs blocking `work` and gives its result; `None` if the work panicked.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = futures::channel::oneshot::channel();
        let run = Box::new(move || {
            // The receiver is gone when the caller gave up; its answer interests nobody then.
            let _ = sender.send(work());
        });
        self.tasks.run_blocking(run).await;
        receiver.await.ok()
    }
}

impl std::fmt::Debug for Seams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seams")
    }
}

struct RealClock {
    start: std::time::Instant,
}

impl RealClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

struct OsRandom;

impl Random for OsRandom {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

struct TokioTasks;

impl Tasks for TokioTasks {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn spawn(&self, name: &'static str, task: BoxFuture<()>) {
        // The join handle is not kept: a task ends by itself when what it serves is gone.
        drop(tokio::spawn(async move {
            let _ = name;
            task.await;
        }));
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()> {
        let handle = tokio::task::spawn_blocking(work);
        Box::pin(async move {
            // A panic of the work shows as the missing answer in `Seams::blocking`.
            let _ = handle.await;
        })
    }
}
