//! Tests of incarnations: who is taken for dead, what that does to commits, and how far the mark goes.

use std::sync::atomic::{AtomicU64, Ordering};

use bowline_base::{Clock, Seams};

use super::*;
use crate::memory::Memory;

/// A clock that goes only when it is told to.
struct Hand {
    seconds: AtomicU64,
    real: Seams,
}

impl Clock for Hand {
    fn now(&self) -> jiff::Timestamp {
        self.real.clock.now()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> bowline_base::seams::BoxFuture<()> {
        self.real.clock.sleep(duration)
    }
}

struct World {
    backend: Arc<dyn Backend>,
    clock: Arc<Hand>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(Hand { seconds: AtomicU64::new(0), real: Seams::real() });
        Self { backend: Arc::new(Memory::new()), clock }
    }

    fn process(&self) -> Arc<Incarnation> {
        let seams = Seams { clock: self.clock.clone(), ..Seams::real() };
        Incarnation::new(self.backend.clone(), seams, Keeps::default())
    }

    async fn rows(&self) -> usize {
        processes(self.backend.snapshot().await.unwrap().as_mut()).await.unwrap().len()
    }

    async fn low_water(&self) -> Position {
        low_water(self.backend.snapshot().await.unwrap().as_mut()).await.unwrap()
    }

    async fn row(&self, name: &str) -> Option<Row> {
        self.backend.get(&device(name)).await.unwrap().0
    }

    /// Lets `process` look on while all others stand still, until it has taken them for dead.
    async fn outlive(&self, process: &Arc<Incarnation>) {
        for _ in 0..=GONE_AFTER.as_secs() / PERIOD.as_secs() {
            process.tick().await.unwrap();
            self.clock.seconds.fetch_add(PERIOD.as_secs(), Ordering::SeqCst);
        }
        process.tick().await.unwrap();
    }
}

fn device(name: &str) -> Key {
    Key { table: Table { namespace: "v1".into(), kind: "Device".into() }, name: name.into() }
}

fn puts(names: &[&str]) -> Batch {
    let put = |name: &&str| Write::put(device(name), Row::new(1, "x"));
    Batch { conditions: Vec::new(), writes: names.iter().map(put).collect() }
}

#[tokio::test]
async fn a_process_registers_with_its_first_save_and_goes_with_its_close() {
    let world = World::new();
    let process = world.process();
    assert_eq!(world.rows().await, 0);
    process.begin().await.unwrap().commit(puts(&["a"])).await.unwrap();
    assert_eq!(world.rows().await, 1);
    process.close().await;
    assert_eq!(world.rows().await, 0);
    let refused = process.begin().await;
    assert!(matches!(refused, Err(CommitError::Store(StoreError::Closed))));
    process.tick().await.unwrap();
    assert_eq!(world.rows().await, 0);
}

#[tokio::test]
async fn what_a_process_sends_after_it_was_taken_for_dead_is_not_written_at_all() {
    let world = World::new();
    let (stalled, other) = (world.process(), world.process());
    let turn = stalled.begin().await.unwrap();
    world.outlive(&other).await;
    assert_eq!(world.rows().await, 1);
    let late = turn.commit(puts(&["a", "b"])).await;
    assert!(matches!(late, Err(TurnError::Lost)), "{late:?}");
    assert_eq!((world.row("a").await, world.row("b").await), (None, None));
    // It comes back under a new name, and begins anew.
    stalled.begin().await.unwrap().commit(puts(&["a", "b"])).await.unwrap();
    assert!(world.row("a").await.is_some() && world.row("b").await.is_some());
    assert_eq!(world.rows().await, 2);
}

#[tokio::test]
async fn a_save_that_began_before_the_process_was_given_up_cannot_use_its_new_name() {
    let world = World::new();
    let (stalled, other) = (world.process(), world.process());
    let old = stalled.begin().await.unwrap();
    world.outlive(&other).await;
    let lost = stalled.begin().await.unwrap().commit(puts(&["x"])).await;
    assert!(matches!(lost, Err(TurnError::Lost)));
    let new = stalled.begin().await.unwrap();
    assert!(matches!(old.commit(puts(&["a"])).await, Err(TurnError::Lost)));
    new.commit(puts(&["b"])).await.unwrap();
    assert_eq!(world.row("a").await, None);
}

#[tokio::test]
async fn processes_that_move_outlive_each_other() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    for _ in 0..40 {
        one.tick().await.unwrap();
        two.tick().await.unwrap();
        world.clock.seconds.fetch_add(PERIOD.as_secs(), Ordering::SeqCst);
    }
    assert_eq!(world.rows().await, 2);
}

#[tokio::test]
async fn an_observer_that_slept_itself_takes_nobody_for_dead() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    one.tick().await.unwrap();
    two.tick().await.unwrap();
    world.clock.seconds.fetch_add(10 * GONE_AFTER.as_secs(), Ordering::SeqCst);
    two.tick().await.unwrap();
    assert_eq!(world.rows().await, 2);
}

#[tokio::test]
async fn a_process_alone_and_idle_commits_nothing() {
    let world = World::new();
    let process = world.process();
    process.begin().await.unwrap().commit(puts(&["a"])).await.unwrap();
    process.tick().await.unwrap();
    let before = *world.backend.head().borrow();
    for _ in 0..5 {
        process.tick().await.unwrap();
    }
    assert_eq!(*world.backend.head().borrow(), before);
}

#[tokio::test]
async fn renewing_does_not_disturb_saves() {
    let world = World::new();
    let process = world.process();
    let turn = process.begin().await.unwrap();
    process.begin().await.unwrap().commit(puts(&["a"])).await.unwrap();
    process.tick().await.unwrap();
    turn.commit(puts(&["b"])).await.unwrap();
}

#[tokio::test]
async fn the_mark_waits_for_the_oldest_save_of_all_processes() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    let oldest = one.begin().await.unwrap();
    let began = oldest.began();
    for name in ["a", "b", "c"] {
        two.begin().await.unwrap().commit(puts(&[name])).await.unwrap();
    }
    one.tick().await.unwrap();
    two.tick().await.unwrap();
    assert!(world.low_water().await <= began);
    drop(oldest);
    one.tick().await.unwrap();
    two.tick().await.unwrap();
    assert!(world.low_water().await > began);
}

#[tokio::test]
async fn the_mark_never_goes_back() {
    let world = World::new();
    let process = world.process();
    let mut last = Position::default();
    for round in 0..10 {
        let turn = process.begin().await.unwrap();
        process.tick().await.unwrap();
        let mark = world.low_water().await;
        assert!(mark >= last && mark <= turn.began());
        last = mark;
        turn.commit(puts(&[&round.to_string()])).await.unwrap();
    }
}

#[tokio::test]
async fn an_abandoned_commit_holds_the_mark_until_it_cannot_come_any_more() {
    let world = World::new();
    let process = world.process();
    let mut turn = process.begin().await.unwrap();
    let (began, key) = (turn.began(), turn.key.clone());
    // As if the caller had gone away while the batch was on its way.
    turn.is_sent = true;
    drop(turn);
    process.begin().await.unwrap().commit(puts(&["a"])).await.unwrap();
    process.tick().await.unwrap();
    assert!(world.low_water().await <= began);
    world.clock.seconds.fetch_add(ABANDONED_MAX.as_secs(), Ordering::SeqCst);
    process.tick().await.unwrap();
    assert!(world.low_water().await > began);
    assert_eq!(world.backend.get(&key).await.unwrap().0, None);
    assert_eq!(world.rows().await, 1);
}
