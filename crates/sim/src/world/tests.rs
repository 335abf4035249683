//! The world itself: equal seeds, equal events.

use super::*;

fn noise(seed: u64) -> (u64, Duration) {
    let world = World::new(seed);
    let own = world.clone();
    let ended = world.run(async move {
        let process = own.start_process("p");
        let seams = own.seams(process);
        for n in 0..20u64 {
            let (world, seams) = (own.clone(), seams.clone());
            let work = async move {
                let mut bytes = [0u8; 1];
                seams.random.fill(&mut bytes);
                seams.clock.sleep(Duration::from_millis(bytes[0].into())).await;
                world.note(format!("{n} woke"));
            };
            own.spawn(process, "sleeper", Box::pin(work));
        }
        own.sleep(Duration::from_secs(1)).await;
        own.now()
    });
    (world.trace(Trace::hash), ended.unwrap())
}

#[test]
fn a_seed_tells_a_whole_run() {
    let runs: BTreeSet<_> = (0..5).map(|_| noise(7)).collect();
    assert_eq!(runs.len(), 1);
    assert_ne!(noise(7).0, noise(8).0);
}

#[test]
fn tasks_that_can_go_on_are_taken_in_any_order() {
    let orders: BTreeSet<Vec<u32>> = (0..50).map(order_of_three).collect();
    assert_eq!(orders.len(), 6, "all orders of three tasks");
}

fn order_of_three(seed: u64) -> Vec<u32> {
    let world = World::new(seed);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (own, seen) = (world.clone(), order.clone());
    let main = async move {
        for n in 0..3 {
            let seen = seen.clone();
            let task = async move { lock(&seen).push(n) };
            own.spawn(ProcessId::OUTSIDE, "one", Box::pin(task));
        }
        own.sleep(Duration::from_secs(1)).await;
    };
    world.run(main).unwrap();
    lock(&order).clone()
}

#[test]
fn a_crashed_process_never_goes_on_and_a_paused_one_does_later() {
    let world = World::new(1);
    let own = world.clone();
    let told = world.run(async move {
        let (crashed, paused) = (own.start_process("crashed"), own.start_process("paused"));
        let told = Arc::new(Mutex::new(Vec::new()));
        for process in [crashed, paused] {
            let (told, world) = (told.clone(), own.clone());
            let work = async move {
                world.sleep(Duration::from_secs(1)).await;
                lock(&told).push((process, world.now().as_secs()));
            };
            own.spawn(process, "work", Box::pin(work));
        }
        own.sleep(Duration::from_millis(1)).await;
        own.crash(crashed);
        own.pause(paused);
        own.sleep(Duration::from_secs(5)).await;
        assert!(lock(&told).is_empty());
        own.resume(paused);
        own.sleep(Duration::from_secs(1)).await;
        let told = lock(&told).clone();
        assert!(!own.is_alive(crashed));
        (told, paused)
    });
    let (told, paused) = told.unwrap();
    assert_eq!(told, [(paused, 5)]);
}

#[test]
fn a_world_in_which_nothing_can_happen_any_more_says_so() {
    let world = World::new(1);
    let stalled = world.run(std::future::pending::<()>()).unwrap_err();
    assert_eq!(stalled.to_string(), "the world stands still after 1 steps at 1µs");
}
