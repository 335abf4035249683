//! Mirrors against meta deployments that tell the truth, break off, forget, and come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_base::Seams;
use bowline_wire::goten::meta::v1::Region;
use bowline_wire::meta::kind;
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::timeout;

use super::entries::Entries;
use super::follow::{Cut, Follow, Step};
use super::method::Message;
use super::testing::{Current, Removed, RowChange, WatchResponse, World, meta, registry};
use super::*;
use crate::picture::DeploymentInfo;

const PATIENCE: Duration = Duration::from_secs(10);

struct Fixture {
    world: Arc<World>,
    picture: watch::Sender<Arc<Picture>>,
    mirror: Mirror<String>,
}

fn picture(regions: &[&str]) -> Arc<Picture> {
    let deployment = |region: &&str| (meta(region), Arc::new(DeploymentInfo::default()));
    Arc::new(Picture {
        deployments: regions.iter().map(deployment).collect(),
        ..Picture::default()
    })
}

fn region(id: &str, title: &str) -> Region {
    Region { name: format!("regions/{id}"), title: title.to_owned(), ..Region::default() }
}

fn decode_title() -> Decode<String> {
    Arc::new(|_, bytes| {
        let title = Region::decode(bytes)?.title;
        if title == "unreadable" { Err("as its title says".into()) } else { Ok(title) }
    })
}

impl Fixture {
    fn start(world: &Arc<World>, regions: &[&str], entries_max: usize) -> Self {
        let picture = watch::Sender::new(picture(regions));
        let mirror = Mirror::start(MirrorParts {
            me: meta("eu"),
            method: WatchMethod::of(&registry(), kind::REGION).unwrap(),
            fields: vec!["title".to_owned()],
            picture: picture.subscribe(),
            peers: Arc::new(world.clone()),
            seams: Seams::real(),
            entries_max,
            decode: decode_title(),
        });
        Self { world: world.clone(), picture, mirror }
    }

    /// `a=one b=two`
    fn told(&self) -> String {
        let all = self.mirror.all();
        let one = |(name, title): (&Arc<str>, &Arc<String>)| {
            format!("{}={title}", name.strip_prefix("regions/").unwrap())
        };
        all.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let mut changes = self.mirror.changes();
        let wait = changes.wait_for(|_| done(self));
        assert!(
            timeout(PATIENCE, wait).await.is_ok(),
            "never {what}: {} {:?}",
            self.told(),
            self.mirror
        );
    }

    async fn until_told(&self, expected: &str) {
        self.until(expected, |fixture| fixture.told() == expected).await;
    }

    /// Waits for something that is no change of entries.
    async fn until_health(&self, done: impl Fn(&[SourceHealth]) -> bool) {
        let look = async {
            while !done(&self.mirror.health()) {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(PATIENCE, look).await.is_ok(), "{:?}", self.mirror);
    }
}

fn is_unreachable(health: &SourceHealth) -> bool {
    matches!(health.state, SourceState::Unreachable { .. })
}

#[tokio::test]
async fn all_sources_are_told_together_and_changes_follow() {
    let world = World::new(&["eu", "us"]);
    for id in ["a", "b", "c", "d", "e"] {
        world.put("eu", region(id, id));
    }
    world.put("us", region("x", "far"));
    let fixture = Fixture::start(&world, &["eu", "us"], 100);
    timeout(PATIENCE, fixture.mirror.complete()).await.unwrap();
    assert_eq!(fixture.told(), "a=a b=b c=c d=d e=e x=far");
    assert_eq!(*fixture.mirror.get("regions/x").unwrap(), "far");
    assert_eq!(fixture.mirror.source_of("regions/x"), Some(meta("us")));
    assert_eq!(fixture.mirror.get("regions/none"), None);
    world.put("us", region("x", "near"));
    world.remove::<Region>("eu", "regions/c");
    fixture.until_told("a=a b=b d=d e=e x=near").await;
}

#[tokio::test]
async fn absent_is_not_unreachable() {
    let world = World::new(&["eu", "us"]);
    world.put("eu", region("a", "1"));
    world.put("us", region("b", "1"));
    let fixture = Fixture::start(&world, &["eu", "us"], 100);
    fixture.until_told("a=1 b=1").await;
    world.cut("us");
    fixture.until_health(|health| is_unreachable(&health[1])).await;
    world.put("eu", region("a", "2"));
    fixture.until_told("a=2 b=1").await;
    assert!(fixture.mirror.is_complete(), "it was heard once");
    // What happened meanwhile is told by the token alone, without another snapshot.
    world.remove::<Region>("us", "regions/b");
    world.put("us", region("c", "1"));
    world.heal("us");
    fixture.until_told("a=2 c=1").await;
    fixture.until_health(|health| health[1].state == SourceState::Current).await;
}

#[tokio::test]
async fn a_reset_replaces_entries_only_once_the_new_snapshot_is_whole() {
    let world = World::new(&["eu"]);
    for id in ["a", "b", "c", "d"] {
        world.put("eu", region(id, "1"));
    }
    let fixture = Fixture::start(&world, &["eu"], 100);
    fixture.until_told("a=1 b=1 c=1 d=1").await;
    world.cut("eu");
    world.remove::<Region>("eu", "regions/d");
    world.put("eu", region("a", "2"));
    world.forget_log("eu");
    // The reset and a part of the snapshot arrive, never its end.
    world.break_snapshots_after("eu", Some(2));
    let opened = world.watches_opened("eu");
    world.heal("eu");
    fixture.until_health(|_| world.watches_opened("eu") > opened + 2).await;
    assert_eq!(fixture.told(), "a=1 b=1 c=1 d=1");
    world.break_snapshots_after("eu", None);
    fixture.until_told("a=2 b=1 c=1").await;
}

#[tokio::test]
async fn a_source_that_left_the_picture_is_dropped_and_a_new_one_joins() {
    let world = World::new(&["eu", "us", "ap"]);
    for (at, id) in [("eu", "a"), ("us", "b"), ("ap", "c")] {
        world.put(at, region(id, "1"));
    }
    let fixture = Fixture::start(&world, &["eu", "us"], 100);
    fixture.until_told("a=1 b=1").await;
    fixture.picture.send_replace(picture(&["eu", "ap"]));
    fixture.until_told("a=1 c=1").await;
    // Nothing is heard of it any more, either.
    world.put("us", region("b", "2"));
    world.put("eu", region("a", "2"));
    fixture.until_told("a=2 c=1").await;
    assert_eq!(fixture.mirror.health().len(), 2);
}

#[tokio::test]
async fn it_is_complete_when_every_source_was_heard_and_not_before() {
    let world = World::new(&["eu", "us"]);
    world.cut("us");
    let fixture = Fixture::start(&world, &[], 100);
    assert!(!fixture.mirror.is_complete(), "without a source nothing was heard");
    fixture.picture.send_replace(picture(&["eu", "us"]));
    fixture.until_health(|health| health.first().is_some_and(|eu| eu.is_complete)).await;
    assert!(!fixture.mirror.is_complete());
    world.heal("us");
    timeout(PATIENCE, fixture.mirror.complete()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_stays_as_it_was() {
    let world = World::new(&["eu"]);
    world.put("eu", region("a", "1"));
    world.put("eu", region("b", "1"));
    let fixture = Fixture::start(&world, &["eu"], 100);
    fixture.until_told("a=1 b=1").await;
    world.put("eu", region("a", "unreadable"));
    world.put("eu", region("b", "2"));
    fixture.until_told("a=1 b=2").await;
    // Nor does a new snapshot take it away.
    world.cut("eu");
    world.remove::<Region>("eu", "regions/b");
    world.forget_log("eu");
    world.heal("eu");
    fixture.until_told("a=1").await;
    assert!(fixture.mirror.health()[0].unreadable > 0);
}

#[tokio::test]
async fn beyond_its_limit_a_mirror_keeps_nothing_more_and_says_so() {
    let world = World::new(&["eu"]);
    for id in ["a", "b", "c", "d", "e"] {
        world.put("eu", region(id, "1"));
    }
    let fixture = Fixture::start(&world, &["eu"], 3);
    fixture.until_told("a=1 b=1 c=1").await;
    world.put("eu", region("a", "2"));
    fixture.until_told("a=2 b=1 c=1").await;
    world.put("eu", region("f", "1"));
    fixture.until("truncated", |fixture| fixture.mirror.is_truncated()).await;
}

#[tokio::test]
async fn a_dropped_mirror_ends_its_watches() {
    let world = World::new(&["eu"]);
    let fixture = Fixture::start(&world, &["eu"], 100);
    timeout(PATIENCE, fixture.mirror.complete()).await.unwrap();
    let Fixture { world, picture, mirror } = fixture;
    let shared = Arc::downgrade(&mirror.shared);
    drop(mirror);
    let gone = async {
        while shared.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, gone).await.is_ok(), "something still holds it");
    drop((world, picture));
}

fn method() -> WatchMethod {
    WatchMethod::of(&registry(), kind::REGION).unwrap()
}

#[test]
fn kinds_that_cannot_be_watched_are_named() {
    let registry = registry();
    let error = WatchMethod::of(&registry, "meta.goten.com/Ghost").unwrap_err();
    assert_eq!(error.to_string(), "no loaded service has the kind meta.goten.com/Ghost");
    for kind in [kind::REGION, kind::SERVICE, kind::RESOURCE, kind::DEPLOYMENT] {
        let method = WatchMethod::of(&registry, kind).unwrap();
        assert_eq!((method.kind(), method.service()), (kind, "meta.goten.com"));
    }
}

fn sent(response: &WatchResponse) -> Message {
    method().message(&response.encode_to_vec().into()).unwrap()
}

fn current(id: &str, title: &str) -> RowChange {
    let body = Bytes::from(region(id, title).encode_to_vec());
    RowChange { current: Some(Current { body }), ..RowChange::default() }
}

fn removed(id: &str) -> RowChange {
    let name = format!("regions/{id}");
    RowChange { removed: Some(Removed { name }), ..RowChange::default() }
}

fn take(follow: &mut Follow<String>, response: &WatchResponse) -> Step<String> {
    follow.take(sent(response), &decode_title(), 100, |_| {})
}

#[test]
fn nothing_counts_before_it_is_current_and_a_soft_reset_forgets_it() {
    let mut follow = Follow::new();
    follow.open();
    let changes = vec![current("a", "1"), current("b", "1")];
    assert_eq!(
        take(&mut follow, &WatchResponse { changes, snapshot_size: -1, ..Default::default() }),
        Step::More
    );
    let reset = WatchResponse { is_soft_reset: true, snapshot_size: -1, ..Default::default() };
    assert_eq!(take(&mut follow, &reset), Step::More);
    let end = WatchResponse {
        changes: vec![current("c", "1"), removed("d")],
        is_current: true,
        resume_token: "7".to_owned(),
        snapshot_size: -1,
        ..Default::default()
    };
    let Step::Apply(cut) = take(&mut follow, &end) else { panic!("a cut is complete") };
    assert!(cut.replaces);
    let names: Vec<_> =
        cut.changes.iter().map(|(name, title)| (&**name, title.as_deref())).collect();
    assert_eq!(names, [("regions/c", Some("1")), ("regions/d", None)]);
    assert_eq!(follow.token(), "7");
    // Whoever resumes adds; whoever starts over replaces.
    follow.open();
    let Step::Apply(cut) = take(&mut follow, &end) else { panic!("a cut is complete") };
    assert!(!cut.replaces);
    follow.start_over();
    let Step::Apply(cut) = take(&mut follow, &end) else { panic!("a cut is complete") };
    assert!(cut.replaces);
}

#[test]
fn a_size_is_a_check_and_a_negative_one_is_not() {
    let mut follow = Follow::new();
    let size = |snapshot_size| WatchResponse { snapshot_size, ..Default::default() };
    assert_eq!(take(&mut follow, &size(3)), Step::Check(3));
    assert_eq!(take(&mut follow, &size(-1)), Step::More);
}

#[test]
fn of_two_sources_the_one_that_spoke_last_counts() {
    let mut entries = Entries::default();
    let cut = |replaces, changes: &[(&str, Option<u8>)]| Cut {
        replaces,
        changes: changes.iter().map(|(name, value)| (Arc::from(*name), *value)).collect(),
        unread: [].into(),
    };
    let (eu, us) = (meta("eu"), meta("us"));
    assert!(entries.apply(&eu, cut(true, &[("a", Some(1))]), 100));
    assert!(entries.apply(&us, cut(true, &[("a", Some(2))]), 100));
    assert_eq!(entries.get("a").as_deref(), Some(&2));
    // Saying the same again is not news, nor does it make anybody the last speaker.
    assert!(!entries.apply(&eu, cut(true, &[("a", Some(1))]), 100));
    assert_eq!(entries.get("a").as_deref(), Some(&2));
    assert!(entries.apply(&us, cut(false, &[("a", None)]), 100));
    assert_eq!(entries.get("a").as_deref(), Some(&1));
    assert!(entries.drop_source(&eu));
    assert_eq!(entries.get("a"), None);
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = method_once().message(&bytes.into());
    }

    /// Whatever a source tells, in whatever cuts, what is known of it equals what it has.
    #[test]
    fn cuts_add_up_to_what_the_source_has(
        cuts in proptest::collection::vec(
            (proptest::bool::weighted(0.2), proptest::collection::btree_map(0u8..6, proptest::option::of(0u8..3), 0..5)),
            0..12,
        ),
    ) {
        let mut entries = Entries::default();
        let mut model: BTreeMap<String, u8> = BTreeMap::new();
        let other = meta("us");
        let fixed = Cut { replaces: true, changes: [(Arc::from("other"), Some(9))].into(), unread: [].into() };
        entries.apply(&other, fixed, 100);
        for (replaces, changes) in cuts {
            let before = model.clone();
            if replaces {
                model.clear();
            }
            for (key, value) in &changes {
                match value {
                    Some(value) => model.insert(key.to_string(), *value),
                    None => model.remove(&key.to_string()),
                };
            }
            let changes = changes.iter().map(|(key, value)| (key.to_string().into(), *value)).collect();
            let is_changed = entries.apply(&meta("eu"), Cut { replaces, changes, unread: [].into() }, 100);
            proptest::prop_assert!(is_changed || before == model, "a change is told");
            let mut known: BTreeMap<String, u8> = entries.all().into_iter().map(|(name, value)| (name.to_string(), *value)).collect();
            proptest::prop_assert_eq!(known.remove("other"), Some(9));
            proptest::prop_assert_eq!(&known, &model);
        }
    }
}

fn method_once() -> &'static WatchMethod {
    static METHOD: std::sync::LazyLock<WatchMethod> = std::sync::LazyLock::new(method);
    &METHOD
}
