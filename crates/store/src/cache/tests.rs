//! The law of the cache under real concurrency: the versions that one reader sees of a key never go back, and what was
//! acknowledged is seen. And that the law is checked: a cache that takes what it should refuse is caught.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use bowline_base::Seams;
use proptest::prelude::*;

use super::*;
use crate::contract::Write;
use crate::memory::Memory;

fn table() -> Table {
    Table { namespace: "v1".into(), kind: "Device".into() }
}

fn key(n: usize) -> Key {
    Key { table: table(), name: format!("k{n}").into() }
}

fn put(n: usize, version: u64) -> Batch {
    Batch { conditions: vec![], writes: vec![Write::put(key(n), row(version))] }
}

/// One step of a history in which reads of the backend take as long as they like.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A reader looks up a key; after a miss it reads the backend at once.
    Read { key: usize },
    /// The oldest read that is under way offers its row to the cache.
    Keep,
    /// A commit of a key is announced, or of a swap: [`MOVED`].
    Announce { key: usize },
    /// The oldest announced commit becomes visible in the backend.
    Show,
    /// The oldest visible commit is told to the cache.
    Settle,
    /// The oldest announced commit fails.
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..3_usize;
    let step = prop_oneof![
        4 => key().prop_map(|key| Step::Read { key }),
        3 => Just(Step::Keep),
        2 => (0..=MOVED).prop_map(|key| Step::Announce { key }),
        2 => Just(Step::Show),
        2 => Just(Step::Settle),
        1 => Just(Step::Fail),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A backend as small as can be, around a cache, with everything that is under way.
#[derive(Default)]
struct World {
    rows: [u64; 3],
    reads: Vec<(usize, MissTicket, u64)>,
    announced: Vec<(usize, u64)>,
    shown: Vec<(usize, u64)>,
    versions: u64,
    /// The fault: rows are kept whatever has happened since they were asked for.
    keeps_anything: bool,
}

fn row(version: u64) -> Row {
    Row::new(version, bytes::Bytes::new())
}

/// What one step of the history commits: the key gets the version, or all rows get others if there is none.
fn changed((n, version): (usize, u64)) -> [Changed; 1] {
    match n {
        MOVED => [Changed::Namespace(table().namespace)],
        n => [Changed::Row { key: key(n), after: Some(row(version)) }],
    }
}

/// In place of a key: the namespace is swapped, and every row is another one.
const MOVED: usize = 3;

impl World {
    /// Whether the step kept the law: a hit is what the backend has.
    fn step(&mut self, shards: &Shards, step: Step) -> bool {
        match step {
            Step::Read { key: n } => return self.read(shards, n),
            Step::Keep if !self.reads.is_empty() => {
                let (n, ticket, version) = self.reads.remove(0);
                let key = key(n);
                let place = shards.place_of(&key);
                let mut shard = shards.shard(place.hash);
                let fresh = match shard.look_up(place) {
                    Lookup::Miss(fresh) if self.keeps_anything => fresh,
                    _ => ticket,
                };
                shard.insert(fresh, place.hash, &key, Some(row(version)));
            }
            // The one writer shows a commit before it announces the next.
            Step::Announce { key } if self.announced.is_empty() && self.shown.is_empty() => {
                self.versions += 1;
                self.announced.push((key, self.versions));
                shards.before_visible(&changed((key, self.versions)));
            }
            Step::Show if !self.announced.is_empty() => {
                let (n, version) = self.announced.remove(0);
                match n {
                    MOVED => self.rows = [version; 3],
                    n => self.rows[n] = version,
                }
                self.shown.push((n, version));
            }
            Step::Settle if !self.shown.is_empty() => {
                shards.after_visible(&changed(self.shown.remove(0)), true);
            }
            Step::Fail if !self.announced.is_empty() => {
                shards.after_visible(&changed(self.announced.remove(0)), false);
            }
            _ => {}
        }
        true
    }

    fn read(&mut self, shards: &Shards, n: usize) -> bool {
        let key = key(n);
        let place = shards.place_of(&key);
        let lookup = shards.shard(place.hash).look_up(place);
        match lookup {
            Lookup::Hit(row) => row.is_some_and(|row| row.version == self.rows[n]),
            Lookup::Miss(ticket) => {
                self.reads.push((n, ticket, self.rows[n]));
                true
            }
        }
    }
}

proptest! {
    #[test]
    fn a_hit_is_always_what_the_backend_has(steps in steps()) {
        let (shards, mut world) = (Shards::new(CacheOptions::default()), World::default());
        for step in steps {
            prop_assert!(world.step(&shards, step), "a stale hit at {step:?}");
        }
    }
}

#[test]
fn a_cache_that_keeps_what_was_read_before_a_change_is_caught() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let outcome = runner.run(&steps(), |steps| {
        let shards = Shards::new(CacheOptions::default());
        let mut world = World { keeps_anything: true, ..World::default() };
        for step in steps {
            prop_assert!(world.step(&shards, step));
        }
        Ok(())
    });
    assert!(outcome.is_err(), "the planted fault was not found");
}

const KEYS: usize = 4;
const VERSIONS: u64 = 300;

/// Reads until all versions are written; an error if a version is below one seen or acknowledged before.
async fn read_forward(
    store: Arc<Cached<Memory>>,
    acknowledged: Arc<[AtomicUsize; KEYS]>,
) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    while seen.get(&0) != Some(&VERSIONS) {
        for n in 0..KEYS {
            let floor = acknowledged[n].load(Ordering::Acquire) as u64;
            let version = match store.cached(&table(), &key(n).name) {
                Some(row) => row.version,
                None => {
                    let (row, _) = store.get(&key(n)).await.map_err(|error| error.to_string())?;
                    row.map_or(0, |row| row.version)
                }
            };
            let before = seen.insert(n, version).unwrap_or(0).max(floor);
            if version < before {
                return Err(format!("key {n}: version {version} after {before}"));
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_reader_goes_back_while_others_write() {
    let store = Arc::new(Cached::new(Memory::new(), CacheOptions::default()));
    let acknowledged = Arc::new(<[AtomicUsize; KEYS]>::default());
    let tasks = Seams::real().tasks;
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let reading = read_forward(store.clone(), acknowledged.clone());
            tasks.spawn("reader", Box::pin(async move { drop(sender.send(reading.await)) }));
            receiver
        })
        .collect();
    for version in 1..=VERSIONS {
        for n in (0..KEYS).rev() {
            store.commit(put(n, version)).await.unwrap();
            acknowledged[n].store(version as usize, Ordering::Release);
        }
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_hit_asks_no_backend_and_tells_the_position_of_now() {
    let store = Cached::new(Memory::new(), CacheOptions::default());
    store.commit(put(0, 1)).await.unwrap();
    assert_eq!(store.cached(&table(), "k0"), None, "what nobody asked for is not kept");
    store.get(&key(0)).await.unwrap();
    let now = store.commit(put(1, 2)).await.unwrap();
    assert_eq!(store.get(&key(0)).await.unwrap(), (Some(row(1)), now));
    assert_eq!(store.cached(&table(), "k0"), Some(row(1)));
}

#[tokio::test]
async fn absence_is_remembered_until_the_row_comes() {
    let store = Cached::new(Memory::new(), CacheOptions::default());
    assert_eq!(store.get(&key(0)).await.unwrap().0, None);
    assert_eq!(store.get(&key(0)).await.unwrap().0, None);
    store.commit(put(0, 1)).await.unwrap();
    assert_eq!(store.get(&key(0)).await.unwrap().0, Some(row(1)));
}

#[tokio::test]
async fn a_swap_leaves_nothing_cached_of_what_was_before() {
    let store = Cached::new(Memory::new(), CacheOptions::default());
    let other = Key { table: Table { namespace: "v2".into(), ..table() }, ..key(0) };
    store.commit(put(0, 1)).await.unwrap();
    let there = Batch { conditions: vec![], writes: vec![Write::put(other.clone(), row(2))] };
    store.commit(there).await.unwrap();
    for key in [&key(0), &other] {
        store.get(key).await.unwrap();
    }
    let swap = Write::Swap { a: "v1".into(), b: "v2".into() };
    store.commit(Batch { conditions: vec![], writes: vec![swap] }).await.unwrap();
    assert_eq!(store.cached(&table(), "k0"), None);
    assert_eq!(store.get(&key(0)).await.unwrap().0, Some(row(2)));
    assert_eq!(store.get(&other).await.unwrap().0, Some(row(1)));
    let drop = Write::Drop { namespace: "v1".into() };
    store.commit(Batch { conditions: vec![], writes: vec![drop] }).await.unwrap();
    assert_eq!(store.get(&key(0)).await.unwrap().0, None);
}
