//! What happens: environments against meta deployments that are there, away, and back.

use std::time::Duration;

use bowline_base::{Reason, Seams, Status};
use bowline_wire::goten::meta::v1 as wire;
use tokio::time::timeout;

use super::super::{
    Beginning, Environment, EnvironmentParts, Event, FilePictureStore, MemoryPictureStore,
    Patience, PictureStore, Progress, Serving,
};
use super::*;
use crate::mirror::testing::World;
use crate::picture::Picture;

const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing of this is waited for where all goes well.
const LITTLE: Patience = Patience {
    imports: Duration::from_millis(300),
    silent_regions: Duration::from_millis(200),
    look: Duration::from_millis(20),
};

struct Start<'a> {
    world: &'a Arc<World>,
    regions: &'a [&'a str],
    store: Arc<dyn PictureStore>,
    patience: Patience,
}

impl<'a> Start<'a> {
    fn of(world: &'a Arc<World>, regions: &'a [&'a str]) -> Self {
        let store = Arc::new(MemoryPictureStore::default());
        Self { world, regions, store, patience: Patience::default() }
    }

    async fn start(&self, registrations: &[Registration]) -> Environment {
        let beginning = Beginning::load(bootstrap(self.regions), self.store.clone()).await;
        let parts = EnvironmentParts {
            me: registrations[0].deployment.clone(),
            registrations: registrations.to_vec(),
            registry: registry(),
            peers: Arc::new(self.world.clone()),
            seams: Seams::real(),
            patience: self.patience,
        };
        Environment::start(beginning, parts).unwrap()
    }
}

async fn ready(environment: &Environment) {
    let ready = timeout(PATIENCE, environment.ready()).await;
    ready
        .unwrap_or_else(|_| panic!("never ready: {}", environment.progress().borrow().clone()))
        .unwrap();
}

async fn until_picture(environment: &Environment, done: impl Fn(&Picture) -> bool) {
    let mut picture = environment.picture();
    let wait = picture.wait_for(|picture| done(picture));
    assert!(timeout(PATIENCE, wait).await.is_ok());
}

async fn until_progress(environment: &Environment, done: impl Fn(&Progress) -> bool) -> String {
    let mut progress = environment.progress();
    let wait = timeout(PATIENCE, progress.wait_for(|progress| done(progress))).await;
    wait.expect("in time").unwrap().to_string()
}

fn things(imports: &[&str]) -> Registration {
    registration("things.test@eu", service(&["eu"], imports))
}

#[tokio::test]
async fn a_first_start_registers_everything_and_has_the_picture() {
    let world = World::new(&["eu", "us"]);
    let bootstrap = bootstrap(&["eu", "us"]);
    let both = [meta_registration(&bootstrap, "eu"), things(&[])];
    let environment = Start::of(&world, &["eu", "us"]).start(&both).await;
    ready(&environment).await;
    for region in ["regions/eu", "regions/us"] {
        assert!(world.get::<wire::Region>(region).is_some());
    }
    let service = world.get::<wire::Service>("services/things.test").unwrap();
    assert_eq!(service.all_versions, ["v1", "v1alpha2"]);
    assert!(world.get::<wire::Resource>("services/things.test/resources/Thing").is_some());
    let deployment = world.get::<wire::Deployment>("services/things.test/deployments/eu").unwrap();
    assert_eq!(deployment.current_version, "v1", "the newest");
    let picture = environment.picture().borrow().clone();
    assert_eq!(*picture.services["things.test"], both[1].service);
    assert_eq!(*picture.deployments[&things_id()], both[1].info);
    assert_eq!(environment.progress().borrow().to_string(), "ready");
    assert!(environment.health().iter().all(|(_, sources)| sources.len() == 2));
}

#[tokio::test]
async fn changes_reach_pictures_and_events() {
    let world = World::new(&["eu"]);
    let environment = Start::of(&world, &["eu"]).start(&[things(&[])]).await;
    ready(&environment).await;
    let mut events = environment.events();
    assert!(matches!(events.next().await.unwrap()[..], [Event::Sync(_)]));
    let stranger = DeploymentId::new("other.test", "eu");
    let info = DeploymentInfo { generation: 2, ..DeploymentInfo::default() };
    assert_eq!(
        environment.admits(&stranger, 1, &things_id()).unwrap_err().reason,
        Reason::CallerRefused
    );
    world.put("eu", super::super::convert::deployment(&stranger, &info));
    let told = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    assert_eq!(told, [Event::DeploymentSet { deployment: stranger.clone(), info: Arc::new(info) }]);
    assert_eq!(environment.admits(&stranger, 2, &things_id()), Ok(()));
    assert_eq!(
        environment.admits(&stranger, 1, &things_id()).unwrap_err().reason,
        Reason::CallerRefused
    );
    world.remove::<wire::Deployment>("eu", "services/other.test/deployments/eu");
    let told = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    assert_eq!(told, [Event::DeploymentRemoved { deployment: stranger }]);
}

#[tokio::test]
async fn a_restart_works_while_meta_is_away_and_changes_flow_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/picture");
    let world = World::new(&["eu", "us"]);
    let mut start = Start::of(&world, &["eu", "us"]);
    start.store = Arc::new(FilePictureStore::new(&path, Seams::real()));
    let environment = start.start(&[things(&[])]).await;
    ready(&environment).await;
    let picture = environment.picture().borrow().clone();
    drop(environment);
    world.cut("eu");
    world.cut("us");
    let environment = start.start(&[things(&[])]).await;
    ready(&environment).await;
    // The same, but an old one for all that is known.
    assert!(picture.is_whole);
    let old = Picture { is_whole: false, ..(*picture).clone() };
    assert_eq!(**environment.picture().borrow(), old);
    let stranger = DeploymentId::new("other.test", "eu");
    world.put("eu", super::super::convert::deployment(&stranger, &DeploymentInfo::default()));
    world.heal("eu");
    // A second is what is promised.
    let mut now = environment.picture();
    let heard = now.wait_for(|picture| picture.deployments.contains_key(&stranger));
    assert!(timeout(Duration::from_secs(1), heard).await.is_ok());
    // Somebody else's silence takes nothing away.
    assert!(environment.picture().borrow().deployments.contains_key(&things_id()));
}

#[tokio::test]
async fn without_meta_a_deployment_starts_only_as_it_was_registered() {
    let world = World::new(&["eu"]);
    let start = Start::of(&world, &["eu"]);
    let environment = start.start(&[things(&[])]).await;
    ready(&environment).await;
    drop(environment);
    world.cut("eu");
    let mut moved = things(&[]);
    moved.info.public_address = "elsewhere:1".into();
    let environment = start.start(&[moved]).await;
    let waits = until_progress(&environment, |progress| {
        progress.waits.values().any(|waits| waits.contains("cut off"))
    });
    let waits = waits.await;
    assert!(waits.starts_with("things.test@eu waits for meta.goten.com@eu: "), "{waits}");
    assert!(!environment.progress().borrow().is_ready);
    world.heal("eu");
    ready(&environment).await;
    let stored = world.get::<wire::Deployment>("services/things.test/deployments/eu").unwrap();
    assert_eq!(stored.public_domain, "elsewhere:1");
}

#[tokio::test]
async fn a_damaged_picture_counts_for_nothing() {
    let world = World::new(&["eu"]);
    let mut start = Start::of(&world, &["eu"]);
    let store = Arc::new(MemoryPictureStore::default());
    store.save(b"bowline-picture-1 00\n{}".to_vec()).await.unwrap();
    start.store = store.clone();
    let environment = start.start(&[things(&[])]).await;
    ready(&environment).await;
    let kept = store.load().await.unwrap().unwrap();
    assert!(super::super::saved::Saved::decode(&kept).is_ok());
}

#[tokio::test]
async fn a_service_waits_for_what_it_imports() {
    let world = World::new(&["eu"]);
    let above = Start::of(&world, &["eu"]).start(&[things(&["iam.test"])]).await;
    let waits = until_progress(&above, |progress| {
        progress.waits.values().any(|waits| waits.contains("not deployed"))
    });
    assert_eq!(
        waits.await,
        "things.test@eu waits for things.test imports iam.test, which is not deployed in eu"
    );
    let iam = registration("iam.test@eu", service(&["eu"], &[]));
    let below = Start::of(&world, &["eu"]).start(&[iam]).await;
    ready(&below).await;
    ready(&above).await;
}

#[tokio::test]
async fn what_never_comes_is_refused_in_the_end() {
    let world = World::new(&["eu"]);
    let mut start = Start::of(&world, &["eu"]);
    start.patience = LITTLE;
    let environment = start.start(&[things(&["iam.test"])]).await;
    let refused = timeout(PATIENCE, environment.ready()).await.unwrap().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "FAILED_PRECONDITION (REGISTRATION_REFUSED): things.test imports iam.test, which is not deployed in eu"
    );
    assert!(world.get::<wire::Service>("services/things.test").is_none());
}

#[tokio::test]
async fn what_another_attempt_can_mend_is_tried_again_and_nothing_else() {
    let passing =
        [Reason::ResourceExists, Reason::Conflict, Reason::Unavailable, Reason::CallerRefused];
    let world = World::new(&["eu"]);
    world.refuse(passing.map(|reason| Status::new(reason, "this time")));
    let environment = Start::of(&world, &["eu"]).start(&[things(&[])]).await;
    ready(&environment).await;
    for reason in [Reason::InvalidName, Reason::RegistrationRefused] {
        let world = World::new(&["eu"]);
        world.refuse([Status::new(reason, "never")]);
        let environment = Start::of(&world, &["eu"]).start(&[things(&[])]).await;
        let refused = timeout(PATIENCE, environment.ready()).await.unwrap().unwrap_err();
        assert_eq!(refused.reason, reason);
        assert_eq!(environment.progress().borrow().to_string(), "refused: never");
    }
}

#[tokio::test]
async fn what_cannot_pass_is_refused_at_once() {
    let world = World::new(&["eu"]);
    let environment = Start::of(&world, &["eu"]).start(&[things(&["things.test"])]).await;
    let refused = timeout(PATIENCE, environment.ready()).await.unwrap().unwrap_err();
    assert_eq!(refused.reason, Reason::RegistrationRefused);
    assert!(refused.message.contains("cycle"), "{refused}");
}

#[tokio::test]
async fn a_deployment_that_was_declared_gone_stops_serving() {
    let world = World::new(&["eu"]);
    let start = Start::of(&world, &["eu"]);
    let environment = start.start(&[things(&[])]).await;
    ready(&environment).await;
    assert_eq!(environment.serving().borrow().clone(), Serving::Yes);
    let mut gone = world.get::<wire::Deployment>("services/things.test/deployments/eu").unwrap();
    gone.generation = 2;
    world.put("eu", gone);
    let mut serving = environment.serving();
    let wait = serving.wait_for(|serving| *serving != Serving::Yes);
    let serving = timeout(PATIENCE, wait).await.unwrap().unwrap().clone();
    assert_eq!(
        serving.to_string(),
        "things.test@eu was declared gone: its generation is 1, registered is 2"
    );
    assert_eq!(serving.check().unwrap_err().reason, Reason::Unavailable);
    drop(environment);
    // It is told so when it comes back, whether it kept a picture or not.
    let environment = Start::of(&world, &["eu"]).start(&[things(&[])]).await;
    let refused = timeout(PATIENCE, environment.ready()).await.unwrap().unwrap_err();
    assert_eq!(refused.reason, Reason::RegistrationRefused);
    let environment = start.start(&[things(&[])]).await;
    let mut serving = environment.serving();
    let wait = serving.wait_for(|serving| *serving != Serving::Yes);
    assert!(timeout(PATIENCE, wait).await.is_ok());
}

#[tokio::test]
async fn a_silent_region_holds_up_a_first_start_for_a_while_the_control_region_for_ever() {
    let world = World::new(&["eu", "us"]);
    let mut start = Start::of(&world, &["eu", "us"]);
    start.patience = LITTLE;
    world.cut("us");
    let environment = start.start(&[things(&[])]).await;
    ready(&environment).await;
    drop(environment);
    let world = World::new(&["eu", "us"]);
    world.cut("eu");
    let mut start = Start::of(&world, &["eu", "us"]);
    start.patience = LITTLE;
    let us = registration("things.test@us", service(&["eu", "us"], &[]));
    let environment = start.start(&[us]).await;
    until_progress(&environment, |progress| {
        progress.waits.values().any(|waits| waits.contains("meta.goten.com@eu: "))
    })
    .await;
    let patient = timeout(LITTLE.silent_regions * 3, environment.ready()).await;
    assert!(patient.is_err(), "nothing can be registered without the control region");
    world.heal("eu");
    ready(&environment).await;
}

#[tokio::test]
async fn nothing_is_registered_before_the_control_region_was_heard() {
    let world = World::new(&["eu", "us"]);
    // It answers, and what it has is not known yet.
    world.break_snapshots_after("eu", Some(0));
    let mut start = Start::of(&world, &["eu", "us"]);
    start.patience = LITTLE;
    let environment = start.start(&[things(&[])]).await;
    let patient = timeout(LITTLE.silent_regions * 3, environment.ready()).await;
    assert!(patient.is_err());
    assert!(world.get::<wire::Service>("services/things.test").is_none());
    world.break_snapshots_after("eu", None);
    ready(&environment).await;
}

#[tokio::test]
async fn deployments_of_one_service_register_at_the_same_time() {
    let regions = ["eu", "us", "ap"];
    let world = World::new(&regions);
    let mut environments = Vec::new();
    for region in regions {
        let bootstrap = bootstrap(&regions);
        let iam = registration(&format!("iam.test@{region}"), service(&regions, &[]));
        let things =
            registration(&format!("things.test@{region}"), service(&regions, &["iam.test"]));
        let all = [things, iam, meta_registration(&bootstrap, region)];
        environments.push(Start::of(&world, &regions).start(&all).await);
    }
    for environment in &environments {
        ready(environment).await;
    }
    for environment in &environments {
        until_picture(environment, |picture| {
            picture.deployments.len() == 9 && picture.services["things.test"].resources.len() == 1
        })
        .await;
    }
}

#[tokio::test]
async fn a_dropped_environment_ends_its_work() {
    let world = World::new(&["eu"]);
    let environment = Start::of(&world, &["eu"]).start(&[things(&[])]).await;
    ready(&environment).await;
    let shared = Arc::downgrade(&environment.shared);
    drop(environment);
    let gone = async {
        while shared.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, gone).await.is_ok(), "something still holds it");
}
