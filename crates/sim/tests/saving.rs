//! Named scenarios of saving with references: what can go wrong between a grant, the commit that rests on it, and its
//! confirmation. Deletions are in `deleting`, what follows them in `consequences`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use bowline_base::Reason;
use bowline_sim::fleet::client::Client;
use bowline_sim::services::Kind;
use bowline_sim::{DiskFaults, Meddling};
use futures::future::join;
use support::{client, references, to, until, wish};

/// In the region east.
const SENSOR: &str = "projects/p/regions/east/sensors/s";
/// In the region north, of another service.
const JOB: &str = "projects/p/regions/north/jobs/j";
const MODEL: &str = "models/m";
const SECOND: Duration = Duration::from_secs(1);

fn slow() -> DiskFaults {
    DiskFaults { latency_max: Duration::from_millis(200), ..DiskFaults::default() }
}

#[test]
fn what_is_not_there_cannot_be_referred_to() {
    references(|fleet| async move {
        let at = client(&fleet, "west");
        let near = "projects/p/regions/north/jobs/none";
        for (field, name) in [("sensor", SENSOR), ("model", "models/none"), ("after", near)] {
            let refused = at.create(Kind::Job, JOB, &to("1", &[(field, name)])).await.unwrap_err();
            assert_eq!(refused.reason, Reason::ReferenceNotFound, "{refused}");
        }
        let orphan = "projects/none/regions/north/jobs/j";
        at.create(Kind::Job, orphan, &wish("2")).await.unwrap_err();
        assert!(fleet.judge.present(Kind::Job).is_empty());
    });
}

#[test]
fn references_of_every_sort_are_made_and_re_pointed_and_dropped() {
    references(|fleet| async move {
        let at = client(&fleet, "west");
        let other = "projects/p/regions/west/sensors/o";
        at.create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        at.create(Kind::Sensor, other, &to("o", &[("blocked", SENSOR)])).await.unwrap();
        at.create(Kind::Job, JOB, &to("1", &[("sensor", SENSOR), ("items", SENSOR)]))
            .await
            .unwrap();
        let (sources, _) = fleet.judge.sources(Kind::Sensor, SENSOR);
        assert_eq!(sources, ["apps.sim.test@north", "devices.sim.test@west"]);
        at.update(Kind::Job, JOB, &to("2", &[("sensor", other), ("items", "")])).await.unwrap();
        let now = fleet.judge.refers_to(Kind::Job, JOB);
        assert_eq!(now, [(String::new(), "projects/p".into()), ("sensor".into(), other.into())]);
        at.update(Kind::Job, JOB, &to("3", &[("sensor", "")])).await.unwrap();
        assert_eq!(fleet.judge.refers_to(Kind::Job, JOB).len(), 1);
    });
}

#[test]
fn the_source_dies_between_grant_and_commit() {
    references(|fleet| async move {
        client(&fleet, "east").create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        fleet.set_disk_faults(slow());
        let at = client(&fleet, "north");
        let made = to("1", &[("sensor", SENSOR)]);
        let crash = async {
            let granted = |fleet: &bowline_sim::fleet::Fleet| {
                !fleet.judge.sources(Kind::Sensor, SENSOR).0.is_empty()
            };
            until(&fleet, "the reference is granted", SECOND * 5, granted).await;
            fleet.crash("north");
        };
        let (answer, ()) = join(at.create(Kind::Job, JOB, &made), crash).await;
        answer.unwrap_err();
        fleet.set_disk_faults(DiskFaults::default());
        fleet.start("north");
        // Whatever the crash has left, the sensor can be deleted.
        let delete =
            || async { client(&fleet, "east").delete(Kind::Sensor, SENSOR, &wish("d")).await };
        fleet.world.sleep(SECOND * 60).await;
        if fleet.judge.present(Kind::Job).is_empty() {
            delete().await.unwrap();
        } else {
            assert_eq!(delete().await.unwrap_err().reason, Reason::DeletionBlocked);
        }
    });
}

#[test]
fn the_source_dies_after_the_commit_and_before_the_confirmation() {
    references(|fleet| async move {
        client(&fleet, "east").create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        let at = client(&fleet, "north");
        let crash = async {
            until(&fleet, "the job is there", SECOND * 5, |fleet| {
                !fleet.judge.present(Kind::Job).is_empty()
            })
            .await;
            fleet.crash("north");
        };
        let made = to("1", &[("sensor", SENSOR)]);
        let (_, ()) = join(at.create(Kind::Job, JOB, &made), crash).await;
        fleet.world.sleep(SECOND * 20).await;
        fleet.start("north");
        let refused = client(&fleet, "east").delete(Kind::Sensor, SENSOR, &wish("d")).await;
        assert_eq!(refused.unwrap_err().reason, Reason::DeletionBlocked);
    });
}

#[test]
fn the_answer_to_a_grant_is_lost() {
    references(|fleet| async move {
        client(&fleet, "east").create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        fleet.network.meddle("EstablishReferences", Meddling::Late(Duration::ZERO));
        fleet.network.meddle("EstablishReferences", Meddling::LoseAnswer);
        let at = client(&fleet, "north");
        // The first one is for the project.
        let _ = at.create(Kind::Job, JOB, &to("1", &[("sensor", SENSOR)])).await;
        fleet.network.meddle("EstablishReferences", Meddling::LoseAnswer);
        let _ = at.update(Kind::Job, JOB, &to("2", &[("items", SENSOR)])).await;
        // Nothing of it stands in the way for ever: `references` waits for that.
    });
}

#[test]
fn a_request_arrives_again_after_its_withdrawal() {
    references(|fleet| async move {
        client(&fleet, "east").create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        let at = client(&fleet, "north");
        for _ in 0..3 {
            fleet.network.meddle("EstablishReferences", Meddling::Again(SECOND * 60));
        }
        // The model is not there, so what was granted for the others is withdrawn.
        let made = to("1", &[("sensor", SENSOR), ("model", MODEL)]);
        at.create(Kind::Job, JOB, &made).await.unwrap_err();
        fleet.world.sleep(SECOND * 90).await;
        client(&fleet, "east").delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
    });
}

#[test]
fn a_hundred_saves_that_are_given_up_leave_nothing_behind() {
    references(|fleet| async move {
        client(&fleet, "east").create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        let at = client(&fleet, "north");
        for n in 0..100 {
            let made = to(&format!("{n}"), &[("sensor", SENSOR), ("model", MODEL)]);
            at.create(Kind::Job, JOB, &made).await.unwrap_err();
        }
        fleet.world.sleep(SECOND * 10).await;
        let (sources, blockades) = fleet.judge.sources(Kind::Sensor, SENSOR);
        assert!(sources.len() <= 1 && blockades <= 1, "{sources:?}, {blockades} blockades");
        client(&fleet, "east").delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
    });
}

#[test]
fn a_writer_that_was_only_slow_commits_nothing_after_its_target_is_gone() {
    references(|fleet| async move {
        client(&fleet, "east").create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        let at = client(&fleet, "north");
        let delete = async {
            until(&fleet, "the reference is granted", SECOND * 5, |fleet| {
                !fleet.judge.sources(Kind::Sensor, SENSOR).0.is_empty()
            })
            .await;
            fleet.pause("north");
            // Longer than a blockade lasts, and the clock of the owner jumps by an hour in between.
            fleet.world.sleep(SECOND * 400).await;
            fleet.jump_clock("east", 3_600_000);
            let deadline = SECOND * 25;
            let east = Client { deadline, ..client(&fleet, "east") };
            // The source stands still, so nobody knows.
            let unknown = east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap_err();
            assert_eq!(unknown.reason, Reason::Unavailable, "{unknown}");
            fleet.resume("north");
            east.delete(Kind::Sensor, SENSOR, &wish("d")).await
        };
        let made = to("1", &[("sensor", SENSOR)]);
        let (_, deleted) = join(at.create(Kind::Job, JOB, &made), delete).await;
        let is_there = fleet.judge.present(Kind::Job).contains_key(JOB);
        assert_eq!(deleted.is_ok(), !is_there, "{deleted:?}");
    });
}

#[test]
fn a_save_that_is_held_up_for_long_is_fenced_and_asks_again() {
    references(|fleet| async move {
        let other = "projects/p/regions/north/jobs/other";
        client(&fleet, "east").create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        // North is a source by another job, which holds nothing by the time of the deletion.
        let at = client(&fleet, "north");
        at.create(Kind::Job, other, &to("1", &[("sensor", SENSOR)])).await.unwrap();
        at.update(Kind::Job, other, &to("2", &[("sensor", "")])).await.unwrap();
        fleet.set_disk_faults(slow());
        let made = to("3", &[("sensor", SENSOR)]);
        let east = client(&fleet, "east");
        let removal = wish("d");
        let (created, deleted) =
            join(at.create(Kind::Job, JOB, &made), east.delete(Kind::Sensor, SENSOR, &removal))
                .await;
        assert!(created.is_err() || deleted.is_err(), "{created:?} {deleted:?}");
        fleet.set_disk_faults(DiskFaults::default());
    });
}
