//! Named scenarios of two API versions whose names an upgrade file connects: references to one resource come by both names,
//! and resources of the same name are stored beside each other. What holds within one version is in the other programs.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bowline_base::Reason;
use bowline_sim::fleet::Fleet;
use bowline_sim::services::Kind;
use futures::future::join;
use support::{client, done, references, to, wish};

const SENSOR: &str = "projects/p/regions/east/sensors/s";
/// What the sensor is called in the newer version.
const PROBE: &str = "projects/p/regions/east/probes/s";
const JOB: &str = "projects/p/regions/north/jobs/j";

async fn sensor(fleet: &Arc<Fleet>) {
    client(fleet, "east").create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
}

#[test]
fn what_is_referred_to_by_the_name_of_another_version_cannot_go() {
    references(|fleet| async move {
        sensor(&fleet).await;
        let (north, east) = (client(&fleet, "north"), client(&fleet, "east"));
        north.create(Kind::NewJob, JOB, &to("1", &[("probe", PROBE)])).await.unwrap();
        let refused = east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap_err();
        assert_eq!(refused.reason, Reason::DeletionBlocked, "{refused}");
        assert!(format!("{refused:?}").contains(JOB), "{refused:?}");
        north.update(Kind::NewJob, JOB, &to("2", &[("probe", "")])).await.unwrap();
        east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
    });
}

#[test]
fn a_deletion_reaches_those_who_refer_by_the_name_of_another_version() {
    references(|fleet| async move {
        sensor(&fleet).await;
        let north = client(&fleet, "north");
        let other = "projects/p/regions/west/jobs/o";
        north.create(Kind::NewJob, JOB, &to("1", &[("cascade", PROBE)])).await.unwrap();
        north.create(Kind::NewJob, other, &to("2", &[("items", PROBE)])).await.unwrap();
        client(&fleet, "east").delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
        done(&fleet).await;
        let left = fleet.judge.present(Kind::NewJob);
        assert_eq!(left.keys().collect::<Vec<_>>(), [other]);
        let held = fleet.judge.refers_to(Kind::NewJob, other);
        assert_eq!(held, [(String::new(), "projects/p".to_owned())]);
    });
}

#[test]
fn the_names_of_what_is_being_deleted_are_taken_in_all_versions() {
    references(|fleet| async move {
        sensor(&fleet).await;
        let east = client(&fleet, "east");
        client(&fleet, "north")
            .create(Kind::Job, JOB, &to("1", &[("cascade", SENSOR)]))
            .await
            .unwrap();
        east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
        // What refers to it may not hear of it for now.
        fleet.crash("north");
        for (kind, name) in [(Kind::Sensor, SENSOR), (Kind::Probe, PROBE)] {
            match east.create(kind, name, &wish("new")).await {
                Err(refused) => assert_eq!(refused.reason, Reason::DeletionPending, "{refused}"),
                Ok(_) => assert!(fleet.judge.unfinished().is_empty(), "{name} was free too soon"),
            }
        }
        fleet.start("north");
    });
}

#[test]
fn what_refers_to_a_namesake_in_another_version_neither_blocks_nor_keeps_the_name_taken() {
    references(|fleet| async move {
        sensor(&fleet).await;
        let (north, east) = (client(&fleet, "north"), client(&fleet, "east"));
        east.create(Kind::Probe, PROBE, &wish("p")).await.unwrap();
        north.create(Kind::Job, JOB, &to("1", &[("sensor", SENSOR)])).await.unwrap();
        north.create(Kind::NewJob, JOB, &to("2", &[("items", PROBE)])).await.unwrap();
        east.delete(Kind::Probe, PROBE, &wish("d")).await.unwrap();
        done(&fleet).await;
        east.create(Kind::Probe, PROBE, &wish("again")).await.unwrap();
        let refused = east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap_err();
        assert_eq!(refused.reason, Reason::DeletionBlocked, "{refused}");
    });
}

#[test]
fn a_deletion_is_finished_where_versions_have_nothing_to_do_with_each_other() {
    references(|fleet| async move {
        let (north, east) = (client(&fleet, "north"), client(&fleet, "east"));
        let first = "projects/p/regions/east/jobs/first";
        east.create(Kind::Job, first, &wish("1")).await.unwrap();
        north.create(Kind::Job, JOB, &to("2", &[("after", first)])).await.unwrap();
        east.delete(Kind::Job, first, &wish("d")).await.unwrap();
        done(&fleet).await;
        assert!(fleet.judge.present(Kind::Job).is_empty());
    });
}

#[test]
fn a_referrer_by_the_name_of_another_version_is_made_while_its_target_is_deleted() {
    references(|fleet| async move {
        sensor(&fleet).await;
        let (north, east) = (client(&fleet, "north"), client(&fleet, "east"));
        let later = fleet.world.between(Duration::ZERO, Duration::from_millis(20));
        let made = to("1", &[("probe", PROBE)]);
        let delete = async {
            fleet.world.sleep(later).await;
            east.delete(Kind::Sensor, SENSOR, &wish("d")).await
        };
        let (created, deleted) = join(north.create(Kind::NewJob, JOB, &made), delete).await;
        assert!(created.is_err() != deleted.is_err(), "{created:?} {deleted:?}");
    });
}
