//! What one process sees of a world: its clock, its randomness, its tasks.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::Seams;
use bowline_base::seams::{BoxFuture, Clock, Random, Tasks};

use crate::timer::Sleep;
use crate::world::{ProcessId, World};

/// Wall time at the start of every world: 2030-01-01T00:00:00Z.
const WALL_START_SECONDS: i64 = 1_893_456_000;

struct Process {
    world: World,
    id: ProcessId,
}

pub(crate) fn of(world: &World, id: ProcessId) -> Seams {
    let process = Arc::new(Process { world: world.clone(), id });
    Seams { clock: process.clone(), random: process.clone(), tasks: process }
}

impl Clock for Process {
    fn now(&self) -> jiff::Timestamp {
        let start = jiff::Timestamp::from_second(WALL_START_SECONDS).unwrap_or_default();
        let passed = i64::try_from(self.world.now().as_nanos()).unwrap_or(i64::MAX);
        let passed = jiff::SignedDuration::from_nanos(passed);
        let skew = jiff::SignedDuration::from_millis(self.world.skew_millis(self.id));
        start.saturating_add(passed).and_then(|at| at.saturating_add(skew)).unwrap_or(start)
    }

    fn monotonic(&self) -> Duration {
        self.world.now().saturating_sub(self.world.started_at(self.id))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        let at = self.world.now().saturating_add(duration);
        Box::pin(Sleep::until(&self.world, at))
    }
}

impl Random for Process {
    fn fill(&self, bytes: &mut [u8]) {
        self.world.random(|random| random.fill(bytes));
    }
}

impl Tasks for Process {
    fn spawn(&self, name: &'static str, task: BoxFuture<()>) {
        self.world.spawn(self.id, name, task);
    }

    /// Inline: there are no threads in a world.
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()> {
        Box::pin(async move { work() })
    }
}
