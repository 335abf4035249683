//! Named scenarios of deletions: fences, verdicts, and those who save or delete at the same time. Saving is in `saving`,
//! what follows a deletion in `consequences`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bowline_base::Reason;
use bowline_sim::fleet::Fleet;
use bowline_sim::services::Kind;
use bowline_sim::{DiskFaults, Meddling};
use futures::future::join;
use support::{client, references, to, until, wish};

const SENSOR: &str = "projects/p/regions/east/sensors/s";
const OTHER: &str = "projects/p/regions/east/sensors/o";
const JOB: &str = "projects/p/regions/north/jobs/j";
const SECOND: Duration = Duration::from_secs(1);

async fn sensors(fleet: &Arc<Fleet>) {
    let east = client(fleet, "east");
    east.create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
    east.create(Kind::Sensor, OTHER, &wish("o")).await.unwrap();
}

#[test]
fn a_blocked_deletion_says_by_what_and_changes_nothing() {
    references(|fleet| async move {
        sensors(&fleet).await;
        client(&fleet, "west")
            .create(Kind::Job, JOB, &to("1", &[("sensor", SENSOR)]))
            .await
            .unwrap();
        client(&fleet, "west")
            .update(Kind::Sensor, OTHER, &to("2", &[("blocked", SENSOR)]))
            .await
            .unwrap();
        let refused =
            client(&fleet, "west").delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap_err();
        assert_eq!(refused.reason, Reason::DeletionBlocked, "{refused}");
        let told = format!("{refused:?}");
        assert!(told.contains(JOB) && told.contains(OTHER), "{told}");
        let there = client(&fleet, "north").get(Kind::Sensor, SENSOR).await.unwrap();
        assert_eq!(there.as_deref(), Some("s"));
    });
}

#[test]
fn a_source_that_cannot_be_asked_is_named_and_nothing_is_assumed() {
    references(|fleet| async move {
        sensors(&fleet).await;
        client(&fleet, "north")
            .create(Kind::Job, JOB, &to("1", &[("items", SENSOR)]))
            .await
            .unwrap();
        fleet.network.part("east", "north");
        let refused =
            client(&fleet, "east").delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Unavailable, "{refused}");
        assert!(format!("{refused:?}").contains("north"), "{refused:?}");
        fleet.network.heal();
        client(&fleet, "east").delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
    });
}

#[test]
fn all_sources_are_asked_at_the_same_time_and_once() {
    references(|fleet| async move {
        sensors(&fleet).await;
        for region in support::REGIONS {
            let job = format!("projects/p/regions/{region}/jobs/j");
            let made = to(region, &[("items", SENSOR)]);
            client(&fleet, region).create(Kind::Job, &job, &made).await.unwrap();
        }
        fleet.world.sleep(SECOND * 20).await;
        let before = fleet.network.calls("CheckIfResourceIsBlocked");
        client(&fleet, "east").delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
        assert_eq!(fleet.network.calls("CheckIfResourceIsBlocked") - before, 3);
    });
}

#[test]
fn the_owner_dies_between_fence_and_verdict() {
    references(|fleet| async move {
        sensors(&fleet).await;
        let north = client(&fleet, "north");
        north.create(Kind::Job, JOB, &to("1", &[("items", SENSOR)])).await.unwrap();
        let fences = fleet.judge.counts().fences;
        let crash = async {
            until(&fleet, "a fence is written", SECOND * 5, |f| f.judge.counts().fences > fences)
                .await;
            fleet.crash("east");
        };
        let east = client(&fleet, "east");
        let removal = wish("d");
        let (_, ()) = join(east.delete(Kind::Sensor, SENSOR, &removal), crash).await;
        fleet.start("east");
        fleet.world.sleep(SECOND).await;
        if fleet.judge.present(Kind::Sensor).contains_key(SENSOR) {
            // The attempt needs no undoing: what was fenced is granted anew.
            north.update(Kind::Job, JOB, &to("2", &[("sensor", SENSOR)])).await.unwrap();
            let blocked = east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap_err();
            assert_eq!(blocked.reason, Reason::DeletionBlocked);
        }
    });
}

#[test]
fn two_deletions_of_one_resource_race() {
    references(|fleet| async move {
        sensors(&fleet).await;
        client(&fleet, "north")
            .create(Kind::Job, JOB, &to("1", &[("items", SENSOR)]))
            .await
            .unwrap();
        let (east, west) = (client(&fleet, "east"), client(&fleet, "west"));
        let (one, two) = (wish("d1"), wish("d2"));
        let (one, two) =
            join(east.delete(Kind::Sensor, SENSOR, &one), west.delete(Kind::Sensor, SENSOR, &two))
                .await;
        assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
        for refused in [one, two].into_iter().filter_map(Result::err) {
            assert_eq!(refused.reason, Reason::ResourceNotFound, "{refused}");
        }
    });
}

/// Creates `name`, which refers to the sensor, while the sensor is deleted.
fn race(kind: Kind, name: &'static str, field: &'static str) {
    references(move |fleet| async move {
        sensors(&fleet).await;
        fleet.set_disk_faults(DiskFaults {
            latency_max: Duration::from_millis(5),
            ..DiskFaults::default()
        });
        let (here, there) = (client(&fleet, "north"), client(&fleet, "east"));
        let later = fleet.world.between(Duration::ZERO, Duration::from_millis(30));
        let delete = async {
            fleet.world.sleep(later).await;
            there.delete(Kind::Sensor, SENSOR, &wish("d")).await
        };
        let made = to("1", &[(field, SENSOR)]);
        let (created, deleted) = join(here.create(kind, name, &made), delete).await;
        assert!(created.is_err() || deleted.is_err(), "both: {created:?} {deleted:?}");
        assert!(created.is_ok() || deleted.is_ok(), "neither: {created:?} {deleted:?}");
        fleet.set_disk_faults(DiskFaults::default());
    });
}

#[test]
fn a_referrer_of_the_same_deployment_is_made_while_its_target_is_deleted() {
    race(Kind::Sensor, "projects/p/regions/east/sensors/new", "blocked");
}

#[test]
fn a_referrer_of_another_deployment_is_made_while_its_target_is_deleted() {
    // Of another service and another region: either of them makes it another deployment.
    race(Kind::Job, "projects/p/regions/north/jobs/new", "sensor");
}

#[test]
fn a_child_of_every_type_is_made_while_its_parent_is_deleted() {
    for (kind, name) in [
        (Kind::Sensor, "projects/q/regions/north/sensors/s"),
        (Kind::Plan, "projects/q/plans/x"),
        (Kind::Job, "projects/q/regions/north/jobs/j"),
    ] {
        references(move |fleet| async move {
            let east = client(&fleet, "east");
            let project = bowline_sim::fleet::client::Wish {
                policy: support::policy("north", &support::REGIONS),
                ..wish("q")
            };
            east.create(Kind::Project, "projects/q", &project).await.unwrap();
            fleet.world.sleep(SECOND * 5).await;
            let later = fleet.world.between(Duration::ZERO, Duration::from_millis(15));
            let delete = async {
                fleet.world.sleep(later).await;
                east.delete(Kind::Project, "projects/q", &wish("d")).await
            };
            let north = client(&fleet, "north");
            let made = wish("1");
            let (_, deleted) = join(north.create(kind, name, &made), delete).await;
            // The child goes with its parent if it was made first: `references` waits until all is done.
            deleted.unwrap();
            support::done(&fleet).await;
            assert!(fleet.judge.present(kind).is_empty(), "{kind:?}");
        });
    }
}

#[test]
fn a_referrer_is_moved_to_another_target_during_the_check() {
    references(|fleet| async move {
        sensors(&fleet).await;
        let north = client(&fleet, "north");
        north.create(Kind::Job, JOB, &to("1", &[("sensor", OTHER)])).await.unwrap();
        let east = client(&fleet, "east");
        let (moved, one, two) = (to("2", &[("sensor", SENSOR)]), wish("d1"), wish("d2"));
        let deletions =
            join(east.delete(Kind::Sensor, SENSOR, &one), east.delete(Kind::Sensor, OTHER, &two));
        let (moved, (new, old)) = join(north.update(Kind::Job, JOB, &moved), deletions).await;
        assert!(moved.is_err() || new.is_err(), "{moved:?} {new:?}");
        assert!(moved.is_ok() || old.is_err(), "{moved:?} {old:?}");
    });
}

#[test]
fn a_stricter_behaviour_is_added_while_the_check_is_under_way() {
    references(|fleet| async move {
        sensors(&fleet).await;
        let north = client(&fleet, "north");
        north.create(Kind::Job, JOB, &to("1", &[("items", SENSOR)])).await.unwrap();
        fleet.world.sleep(SECOND * 10).await;
        let (stricter, removal) = (to("2", &[("sensor", SENSOR)]), wish("d"));
        let later = fleet.world.between(Duration::ZERO, Duration::from_millis(5));
        let update = async {
            fleet.world.sleep(later).await;
            north.update(Kind::Job, JOB, &stricter).await
        };
        let east = client(&fleet, "east");
        let (updated, deleted) = join(update, east.delete(Kind::Sensor, SENSOR, &removal)).await;
        assert!(updated.is_err() || deleted.is_err(), "{updated:?} {deleted:?}");
    });
}

#[test]
fn a_source_is_cleared_while_a_confirmation_arrives() {
    references(|fleet| async move {
        sensors(&fleet).await;
        let north = client(&fleet, "north");
        // The confirmation comes when the blockade has expired and its source is being asked.
        fleet.network.meddle("ConfirmBlockades", Meddling::Late(SECOND * 301));
        north.create(Kind::Job, JOB, &to("1", &[("sensor", SENSOR)])).await.unwrap();
        let later = fleet.world.between(SECOND * 295, SECOND * 310);
        fleet.world.sleep(later).await;
        let updated = north.update(Kind::Job, JOB, &to("2", &[("items", SENSOR)])).await;
        updated.unwrap();
        let refused = client(&fleet, "east").delete(Kind::Sensor, SENSOR, &wish("d")).await;
        assert_eq!(refused.unwrap_err().reason, Reason::DeletionBlocked);
    });
}

#[test]
fn clocks_that_jump_by_an_hour_change_no_verdict() {
    references(|fleet| async move {
        sensors(&fleet).await;
        let (north, east) = (client(&fleet, "north"), client(&fleet, "east"));
        for (n, millis) in [3_600_000, -7_200_000, 3_600_000].into_iter().enumerate() {
            fleet.jump_clock("east", millis);
            fleet.jump_clock("north", -millis);
            let value = format!("{n}");
            let job = format!("{JOB}{n}");
            north.create(Kind::Job, &job, &to(&value, &[("sensor", SENSOR)])).await.unwrap();
            let refused = east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap_err();
            assert_eq!(refused.reason, Reason::DeletionBlocked);
            north.delete(Kind::Job, &job, &wish("e")).await.unwrap();
        }
        east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
    });
}

#[test]
fn resources_that_block_each_other_are_reported_and_can_be_let_go() {
    references(|fleet| async move {
        sensors(&fleet).await;
        let east = client(&fleet, "east");
        let far = "projects/p/regions/north/sensors/far";
        east.create(Kind::Sensor, far, &to("1", &[("blocked", SENSOR)])).await.unwrap();
        east.update(Kind::Sensor, SENSOR, &to("2", &[("blocked", far)])).await.unwrap();
        for name in [SENSOR, far] {
            let refused = east.delete(Kind::Sensor, name, &wish("d")).await.unwrap_err();
            assert_eq!(refused.reason, Reason::DeletionBlocked, "{refused}");
        }
        east.update(Kind::Sensor, SENSOR, &to("3", &[("blocked", "")])).await.unwrap();
        east.delete(Kind::Sensor, far, &wish("d")).await.unwrap();
        east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
    });
}

#[test]
fn a_name_is_free_at_once_where_nothing_referred_to_it() {
    references(|fleet| async move {
        sensors(&fleet).await;
        let west = client(&fleet, "west");
        for n in 0..5 {
            west.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
            west.create(Kind::Sensor, SENSOR, &wish(&format!("{n}"))).await.unwrap();
        }
    });
}
