//! Tests of the life of a controller, under a clock that goes only when it is told to.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bowline_base::{Clock, Reason, Tasks};
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use tokio::sync::oneshot;

use super::*;
use crate::bell::Bell;

/// Time by hand: sleepers wake when the hand has passed them.
#[derive(Default)]
struct Hand {
    state: Mutex<Time>,
}

#[derive(Default)]
struct Time {
    now: Duration,
    sleepers: Vec<(Duration, oneshot::Sender<()>)>,
}

impl Hand {
    fn lock(&self) -> MutexGuard<'_, Time> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.now += by;
        let now = state.now;
        for (_, sleeper) in state.sleepers.extract_if(.., |(until, _)| *until <= now) {
            let _ = sleeper.send(());
        }
    }
}

impl Clock for Hand {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        self.lock().now
    }

    fn sleep(&self, duration: Duration) -> bowline_base::seams::BoxFuture<()> {
        let (wake, woken) = oneshot::channel();
        let mut state = self.lock();
        let until = state.now + duration;
        state.sleepers.push((until, wake));
        Box::pin(async move {
            let _ = woken.await;
        })
    }
}

struct NoTasks;

impl Tasks for NoTasks {
    fn spawn(&self, _: &'static str, _: bowline_base::seams::BoxFuture<()>) {}

    fn run_blocking(&self, _: Box<dyn FnOnce() + Send>) -> bowline_base::seams::BoxFuture<()> {
        Box::pin(async {})
    }
}

/// Letters as queues, digits as items: `a1`.
#[derive(Default)]
struct Letters {
    items: Mutex<BTreeSet<String>>,
    /// Queues that never answer, fail, or panic.
    mute: Mutex<BTreeSet<char>>,
    broken: Mutex<BTreeSet<char>>,
    mad: Mutex<BTreeSet<char>>,
    looks: AtomicUsize,
}

#[async_trait]
impl Controller for Letters {
    type Work = String;

    fn name(&self) -> &'static str {
        "letters"
    }

    async fn find(
        &self,
        shards: Shards,
        offer: &mut (dyn FnMut(Item<String>) + Send),
    ) -> Result<(), Trouble> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        for name in self.items.lock().unwrap().iter().filter(|name| shards.hold(name.as_bytes())) {
            let (queue, id) = (name[..1].into(), name.as_str().into());
            offer(Item { queue, id, since_millis: 1, is_urgent: false, work: name.clone() });
        }
        Ok(())
    }

    async fn work(&self, queue: &Arc<str>, items: Vec<Item<String>>) -> Result<Worked, Trouble> {
        let letter = queue.chars().next().unwrap();
        assert!(!self.mad.lock().unwrap().contains(&letter), "mad");
        if self.mute.lock().unwrap().contains(&letter) {
            futures::future::pending::<()>().await;
        }
        if self.broken.lock().unwrap().contains(&letter) {
            return Err(Status::new(Reason::Unavailable, "broken").into());
        }
        let mut left = self.items.lock().unwrap();
        left.retain(|name| !items.iter().any(|item| item.work == *name));
        Ok(Worked::new())
    }
}

struct World {
    controller: Arc<Letters>,
    hand: Arc<Hand>,
    bell: Bell,
    board: Arc<Board>,
    shards: watch::Sender<Shards>,
    pool: LocalPool,
    ended: Arc<AtomicUsize>,
}

impl World {
    fn new(shards: Shards) -> Self {
        let (hand, bell) = (Arc::new(Hand::default()), Bell::default());
        let seams = Seams { clock: hand.clone(), tasks: Arc::new(NoTasks), ..Seams::real() };
        let (board, shards) = (Arc::new(Board::default()), watch::Sender::new(shards));
        let controller = Arc::new(Letters::default());
        let parts =
            Parts { seams, bell: bell.listen(), shards: shards.subscribe(), board: board.clone() };
        let (pool, ended) = (LocalPool::new(), Arc::new(AtomicUsize::new(0)));
        let (life, at_end) = (run(controller.clone(), parts), ended.clone());
        let task = async move {
            life.await;
            at_end.fetch_add(1, Ordering::SeqCst);
        };
        pool.spawner().spawn_local(task).unwrap();
        Self { controller, hand, bell, board, shards, pool, ended }
    }

    fn put(&self, items: &[&str]) {
        self.controller.items.lock().unwrap().extend(items.iter().map(|item| (*item).to_owned()));
    }

    /// Lets time pass in small steps.
    fn pass(&mut self, time: Duration) {
        const STEP: Duration = Duration::from_millis(5);
        for _ in 0..time.as_millis() / STEP.as_millis() {
            self.pool.run_until_stalled();
            self.hand.advance(STEP);
        }
        self.pool.run_until_stalled();
    }

    fn left(&self) -> Vec<String> {
        self.controller.items.lock().unwrap().iter().cloned().collect()
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::SeqCst) > 0
    }
}

const MOMENT: Duration = Duration::from_millis(50);

#[test]
fn a_ring_is_answered_in_a_moment_and_work_without_one_within_the_idle_period() {
    let mut world = World::new(Shards::ALL);
    world.pass(MOMENT);
    world.put(&["a1", "b1"]);
    world.pass(MOMENT);
    assert_eq!(world.left(), ["a1", "b1"]);
    world.bell.ring();
    world.pass(MOMENT);
    assert!(world.left().is_empty());
    world.put(&["c1"]);
    world.pass(IDLE_PERIOD);
    assert!(world.left().is_empty());
}

#[test]
fn an_idle_controller_looks_seldom() {
    let mut world = World::new(Shards::ALL);
    world.pass(IDLE_PERIOD * 4);
    let looks = world.controller.looks.load(Ordering::SeqCst);
    assert!((4..=9).contains(&looks), "{looks}");
}

#[test]
fn queues_that_never_answer_fail_or_panic_do_not_stop_the_others() {
    let mut world = World::new(Shards::ALL);
    world.controller.mute.lock().unwrap().insert('m');
    world.controller.broken.lock().unwrap().insert('f');
    world.controller.mad.lock().unwrap().insert('p');
    for round in 0..20 {
        world.put(&["m1", "f1", "p1", &format!("a{round}"), &format!("b{round}")]);
        world.bell.ring();
        world.pass(MOMENT);
        assert_eq!(world.left(), ["f1", "m1", "p1"], "round {round}");
    }
    let status = world.board.read().iter().map(|s| format!("{s}\n")).collect::<String>();
    assert!(status.contains("letters f 0..1024: 1 pending, failed"), "{status}");
    assert!(status.contains("UNAVAILABLE (UNAVAILABLE): broken"), "{status}");
    assert!(status.contains("the work panicked"), "{status}");
    // A queue that is well again goes on by itself, without a ring; one that is mute is given up and tried again.
    world.controller.broken.lock().unwrap().clear();
    world.controller.mad.lock().unwrap().clear();
    world.controller.mute.lock().unwrap().clear();
    world.pass(WORK_MAX + IDLE_PERIOD);
    assert!(world.left().is_empty());
}

#[test]
fn failures_are_tried_again_less_and_less_often() {
    let mut world = World::new(Shards::ALL);
    world.controller.broken.lock().unwrap().insert('f');
    world.put(&["f1"]);
    world.pass(Duration::from_secs(300));
    let failures = world.board.read()[0].failures;
    assert!((10..=40).contains(&failures), "{failures}");
}

#[test]
fn a_change_of_shards_is_followed_at_once() {
    let mut world = World::new(Shards::NONE);
    world.put(&["a1", "a2", "a3", "a4"]);
    world.bell.ring();
    world.pass(MOMENT);
    assert_eq!(world.left().len(), 4);
    let low = Shards::part(0, 2);
    world.shards.send_replace(low);
    world.pass(MOMENT);
    assert!(world.left().iter().all(|item| !low.hold(item.as_bytes())));
    world.shards.send_replace(Shards::part(1, 2));
    world.pass(MOMENT);
    assert!(world.left().is_empty());
}

#[test]
fn it_ends_with_its_bell_or_its_lease() {
    let mut world = World::new(Shards::ALL);
    world.pass(MOMENT);
    assert!(!world.is_over());
    world.bell.close();
    world.pass(MOMENT);
    assert!(world.is_over());
    let mut world = World::new(Shards::ALL);
    world.pass(MOMENT);
    world.shards = watch::Sender::new(Shards::ALL);
    world.pass(MOMENT);
    assert!(world.is_over());
}
