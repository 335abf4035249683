//! What is decided: plans, pictures, and what is kept of them.

use bowline_wire::goten::meta::v1 as wire;
use expect_test::{Expect, expect};

use super::super::assemble::{Complete, Known, assemble};
use super::super::convert;
use super::super::plan::{Stored, Write, plan};
use super::super::saved::{Saved, SavedError};
use super::*;
use crate::picture::Picture;
use crate::policy::Criterion;

const REGIONS: [&str; 2] = ["eu", "us"];

/// What is stored once `registration` was written.
fn stored(registration: &Registration) -> Stored {
    let name = &registration.deployment.service;
    let resource = |(id, info): (&Arc<str>, &ResourceInfo)| {
        let resource = convert::resource(name, id, info);
        (resource.name.clone(), resource)
    };
    Stored {
        regions: REGIONS.map(convert::region_name).into(),
        service: Some(convert::service(name, &registration.service)),
        resources: registration.service.resources.iter().map(resource).collect(),
        deployment: Some(convert::deployment(&registration.deployment, &registration.info)),
    }
}

fn things() -> Registration {
    registration("things.test@eu", service(&REGIONS, &["iam.test"]))
}

fn check(registration: &Registration, stored: &Stored, expected: Expect) {
    match plan(registration, REGIONS, stored) {
        Ok(plan) => expected.assert_eq(&plan.to_string()),
        Err(gone) => expected.assert_eq(&format!("{gone:?}")),
    }
}

#[test]
fn a_first_registration_creates_everything() {
    check(
        &things(),
        &Stored::default(),
        expect![[r#"
        create regions/eu
        create regions/us
        create services/things.test
        create services/things.test/resources/Thing
        create services/things.test/deployments/eu
    "#]],
    );
}

#[test]
fn a_registration_that_holds_writes_nothing() {
    check(&things(), &stored(&things()), expect![""]);
    assert!(plan(&things(), REGIONS, &stored(&things())).unwrap().is_empty());
}

#[test]
fn what_changed_is_updated_and_nothing_else() {
    let mut next = things();
    next.service.versions = texts(&["v2", "v1"]);
    next.service.resources.get_mut("Thing").unwrap().versions = texts(&["v2", "v1"]);
    next.service.resources.insert("Part".into(), ResourceInfo::default());
    next.info.public_address = "elsewhere:1".into();
    check(
        &next,
        &stored(&things()),
        expect![[r#"
        update services/things.test: all_versions
        create services/things.test/resources/Part
        update services/things.test/resources/Thing: versions, versioned_infos
        update services/things.test/deployments/eu: public_domain
    "#]],
    );
}

#[test]
fn an_older_configuration_changes_nothing_of_a_service() {
    let mut newer = things();
    newer.service.generation = 3;
    newer.info.config_generation = 3;
    let mut older = things();
    older.service.generation = 2;
    older.service.versions = texts(&["v1"]);
    older.info.config_generation = 2;
    older.info.public_address = "elsewhere:1".into();
    check(
        &older,
        &stored(&newer),
        expect![[r#"
        keep the service of the newer configuration 3
    "#]],
    );
    // The same generation, and a higher one, do.
    older.service.generation = 3;
    older.info.config_generation = 3;
    check(
        &older,
        &stored(&newer),
        expect![[r#"
        update services/things.test: all_versions
        update services/things.test/deployments/eu: public_domain
    "#]],
    );
}

#[test]
fn what_belongs_to_upgrades_and_operators_is_never_touched() {
    let mut now = stored(&things());
    let deployment = now.deployment.as_mut().unwrap();
    deployment.current_version = "v1alpha2".to_owned();
    deployment.is_disabled = true;
    deployment.available_upgrade = Some(wire::deployment::AvailableUpgrade::default());
    deployment.upgrade_state = Some(wire::deployment::UpgradeState::default());
    deployment.data_update_statuses = vec![wire::deployment::DbUpdateTaskStatus::default()];
    deployment.automatic_version_switch = true;
    now.service.as_mut().unwrap().automatic_version_switch = true;
    check(&things(), &now, expect![""]);
    let mut moved = things();
    moved.info.public_address = "elsewhere:1".into();
    let plan = plan(&moved, REGIONS, &now).unwrap();
    let Some(Write::Update(written, mask)) = plan.deployment else { panic!("an update") };
    assert_eq!(mask, ["public_domain"]);
    let before = now.deployment.unwrap();
    assert_eq!(written, wire::Deployment { public_domain: "elsewhere:1".to_owned(), ..before });
}

#[test]
fn a_policy_is_the_operators_until_a_newer_configuration_says_otherwise() {
    let mut now = stored(&things());
    let policy = now.service.as_mut().unwrap().multi_region_policy.as_mut().unwrap();
    policy.default_control_region = "us".to_owned();
    policy.enabled_regions = vec!["ap".to_owned(), "eu".to_owned(), "us".to_owned()];
    check(&things(), &now, expect![""]);
    // A region that the configuration added is added to what the operators say.
    let mut wider = things();
    wider.service.policy = Policy::new("eu", ["eu", "us", "sa"]);
    let service = plan(&wider, REGIONS, &now).unwrap().service;
    let Some(Write::Update(written, _)) = service else { panic!("an update") };
    let policy = written.multi_region_policy.unwrap();
    assert_eq!(policy.enabled_regions, ["ap", "eu", "sa", "us"]);
    assert_eq!(policy.default_control_region, "us");
    wider.service.generation = 1;
    let service = plan(&wider, REGIONS, &now).unwrap().service;
    let Some(Write::Update(written, _)) = service else { panic!("an update") };
    assert_eq!(written.multi_region_policy.unwrap().enabled_regions, ["eu", "sa", "us"]);
}

#[test]
fn a_deployment_that_was_declared_gone_is_not_registered() {
    let mut now = stored(&things());
    now.deployment.as_mut().unwrap().generation = 2;
    check(&things(), &now, expect!["DeclaredGone { registered: 2, ours: 1 }"]);
    // One that joins anew raises it.
    let mut anew = things();
    anew.info.generation = 3;
    check(
        &anew,
        &now,
        expect![[r#"
        update services/things.test/deployments/eu: generation
    "#]],
    );
}

#[test]
fn what_is_registered_is_read_back_as_it_was() {
    let mut all = things();
    all.service.uses = texts(&["other.test"]);
    all.service.policy.disabled_sync = vec![Criterion {
        kind: "things.test/Thing".into(),
        source: "eu".into(),
        destination: "us".into(),
    }];
    all.info.private_address = "10.0.0.1:1".into();
    all.info.local_network = "lan".into();
    all.info.is_disabled = true;
    let stored = stored(&all);
    let mut service = convert::service_info(&stored.service.unwrap());
    for resource in stored.resources.values() {
        let (_, id) = convert::resource_of(&resource.name).unwrap();
        service.resources.insert(id, convert::resource_info(resource));
    }
    assert_eq!(service, all.service);
    assert_eq!(convert::deployment_info(&stored.deployment.unwrap()), all.info);
    assert_eq!(convert::deployment_of("services/things.test/deployments/eu"), Some(all.deployment));
    assert_eq!(convert::service_of("services/things.test/deployments/eu"), None);
}

#[test]
fn display_names_are_lower_camel() {
    let name = |service: &str| convert::service(service, &ServiceInfo::default()).display_name;
    assert_eq!(name("devices.example.com"), "devices");
    assert_eq!(name("device-plans.example.com"), "devicePlans");
    assert_eq!(name("-"), "");
}

#[test]
fn the_meta_service_describes_itself() {
    let service = bootstrap(&REGIONS).service;
    let ids: Vec<&str> = service.resources.keys().map(|id| &**id).collect();
    assert_eq!(ids, ["Deployment", "Region", "Resource", "Service"]);
    assert_eq!(*service.versions, [Arc::from("v1")]);
    assert_eq!(service.policy, Policy::new("eu", REGIONS));
    assert_eq!(&*service.resources["Deployment"].plural, "Deployments");
}

fn picture() -> Picture {
    let mut picture = bootstrap(&REGIONS).picture();
    let Registration { deployment, service, info } = things();
    picture.services.insert(deployment.service.clone(), Arc::new(service));
    picture.deployments.insert(deployment, Arc::new(info));
    picture
}

#[test]
fn a_kept_picture_is_read_back_as_it_was() {
    let mut picture = picture();
    let things = Arc::make_mut(picture.services.get_mut("things.test").unwrap());
    things.policy.disabled_sync = vec![Criterion { kind: "a/B".into(), ..Criterion::default() }];
    let saved = Saved { picture, registered: [(super::things_id(), "digest".to_owned())].into() };
    assert_eq!(Saved::decode(&saved.encode()).unwrap(), saved);
}

proptest::proptest! {
    #[test]
    fn damage_is_noticed(at: proptest::sample::Index, flip in 1u8..) {
        let saved = Saved { picture: picture(), ..Saved::default() };
        let mut bytes = saved.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        proptest::prop_assert!(Saved::decode(&bytes).is_err(), "byte {at}");
    }

    #[test]
    fn a_torn_file_is_noticed(end: proptest::sample::Index) {
        let bytes = Saved { picture: picture(), ..Saved::default() }.encode();
        proptest::prop_assert!(Saved::decode(&bytes[..end.index(bytes.len())]).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Saved::decode(&bytes);
    }
}

#[test]
fn a_picture_of_another_release_counts_for_nothing() {
    let error = Saved::decode(b"bowline-picture-9 00\n{}").unwrap_err();
    assert!(matches!(error, SavedError::Format));
}

#[test]
fn any_change_of_a_registration_changes_its_digest() {
    let digest = things().digest();
    assert_eq!(digest, things().digest());
    let changes: [fn(&mut Registration); 6] = [
        |one| one.info.public_address = "elsewhere:1".into(),
        |one| one.info.generation += 1,
        |one| one.service.generation += 1,
        |one| one.service.uses = texts(&["other.test"]),
        |one| one.service.policy = Policy::new("us", REGIONS),
        |one| one.service.resources.get_mut("Thing").unwrap().versions = texts(&["v2"]),
    ];
    for change in changes {
        let mut changed = things();
        change(&mut changed);
        assert_ne!(digest, changed.digest());
    }
}

#[test]
fn a_meta_deployment_is_reached_where_the_configuration_says() {
    let id = DeploymentId::new(META, "us");
    let registered = DeploymentInfo {
        public_address: "stale:1".into(),
        generation: 7,
        ..DeploymentInfo::default()
    };
    let heard =
        Known { deployments: [(id.clone(), Arc::new(registered))].into(), ..Known::default() };
    let bootstrap = bootstrap(&REGIONS);
    let picture = assemble(&bootstrap, &Known::default(), &heard, false, &Picture::default());
    assert_eq!(&*picture.deployments[&id].public_address, "meta.us:1");
    assert_eq!(picture.deployments[&id].generation, 7);
}

#[test]
fn what_was_known_before_stays_until_somebody_speaks_about_it() {
    let bootstrap = bootstrap(&REGIONS);
    let mut before = Known::of(&picture());
    let silent = Known::default();
    before.forget(&silent, Complete::default());
    let now = assemble(&bootstrap, &before, &silent, false, &Picture::default());
    assert_eq!(now, picture());
    // Spoken about, and then removed: gone, although not everything was heard.
    let heard = Known {
        deployments: [(super::things_id(), Arc::new(DeploymentInfo::default()))].into(),
        ..Known::default()
    };
    before.forget(&heard, Complete::default());
    let now = assemble(&bootstrap, &before, &silent, false, &Picture::default());
    assert!(!now.deployments.contains_key(&super::things_id()));
    assert!(now.services.contains_key("things.test"));
    // Everything was heard, and it was not among it.
    before.forget(&silent, Complete { services: true, ..Complete::default() });
    let now = assemble(&bootstrap, &before, &silent, false, &Picture::default());
    assert!(!now.services.contains_key("things.test"));
}

#[test]
fn what_stays_as_it_was_is_shared_with_the_picture_before() {
    let bootstrap = bootstrap(&REGIONS);
    let known = Known::of(&picture());
    let first = assemble(&bootstrap, &Known::default(), &known, false, &Picture::default());
    let second = assemble(&bootstrap, &Known::default(), &known, false, &first);
    assert_eq!(first, second);
    assert!(Arc::ptr_eq(&first.services["things.test"], &second.services["things.test"]));
    let id = super::things_id();
    assert!(Arc::ptr_eq(&first.deployments[&id], &second.deployments[&id]));
}
