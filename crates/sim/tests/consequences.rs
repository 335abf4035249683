//! Named scenarios of what follows a deletion: cascades, cleared fields, and names that stay taken until all is done.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use bowline_base::Reason;
use bowline_sim::Meddling;
use bowline_sim::services::Kind;
use support::{client, done, references, to, until, wish};

const SENSOR: &str = "projects/p/regions/east/sensors/s";
const JOB: &str = "projects/p/regions/north/jobs/j";
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn referrers_elsewhere_are_deleted_or_cleared() {
    references(|fleet| async move {
        let west = client(&fleet, "west");
        west.create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        west.create(Kind::Job, JOB, &to("1", &[("cascade", SENSOR)])).await.unwrap();
        let cleared = "projects/p/regions/west/jobs/u";
        west.create(Kind::Job, cleared, &to("2", &[("items", SENSOR)])).await.unwrap();
        west.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
        done(&fleet).await;
        assert_eq!(fleet.judge.present(Kind::Job).into_keys().collect::<Vec<_>>(), [cleared]);
        assert_eq!(fleet.judge.refers_to(Kind::Job, cleared).len(), 1);
        let counts = fleet.judge.counts();
        assert_eq!((counts.cascaded, counts.unset), (1, 1));
    });
}

#[test]
fn what_is_in_the_same_deployment_goes_with_the_deleting_commit() {
    references(|fleet| async move {
        let east = client(&fleet, "east");
        let names = ["a", "b", "c"].map(|id| format!("projects/p/regions/east/sensors/{id}"));
        east.create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        let mut before = SENSOR.to_owned();
        for name in &names {
            east.create(Kind::Sensor, name, &to(name, &[("cascade_now", &before)])).await.unwrap();
            before.clone_from(name);
        }
        let cleared = "projects/p/regions/east/sensors/u";
        east.create(Kind::Sensor, cleared, &to("u", &[("unset_now", &names[2])])).await.unwrap();
        east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
        assert_eq!(fleet.judge.present(Kind::Sensor).into_keys().collect::<Vec<_>>(), [cleared]);
        assert_eq!(fleet.judge.counts().pending, 0);
    });
}

#[test]
fn a_cycle_of_cascades_ends() {
    references(|fleet| async move {
        let west = client(&fleet, "west");
        let names = support::REGIONS.map(|region| format!("projects/p/regions/{region}/sensors/c"));
        for name in &names {
            west.create(Kind::Sensor, name, &wish(name)).await.unwrap();
        }
        for n in 0..3 {
            let next = to(&format!("{n}"), &[("cascade", &names[(n + 1) % 3])]);
            west.update(Kind::Sensor, &names[n], &next).await.unwrap();
        }
        west.delete(Kind::Sensor, &names[0], &wish("d")).await.unwrap();
        done(&fleet).await;
        assert!(fleet.judge.present(Kind::Sensor).is_empty());
    });
}

#[test]
fn a_project_goes_with_all_that_is_below_it() {
    references(|fleet| async move {
        let west = client(&fleet, "west");
        for region in support::REGIONS {
            let sensor = format!("projects/p/regions/{region}/sensors/s");
            let job = format!("projects/p/regions/{region}/jobs/j");
            west.create(Kind::Sensor, &sensor, &wish(&sensor)).await.unwrap();
            // Blocks the sensor, and is itself below the project.
            west.create(Kind::Job, &job, &to(&job, &[("sensor", &sensor)])).await.unwrap();
        }
        west.create(Kind::Plan, "projects/p/plans/x", &wish("x")).await.unwrap();
        west.delete(Kind::Project, "projects/p", &wish("d")).await.unwrap();
        let again = support::policy("west", &support::REGIONS);
        let again = bowline_sim::fleet::client::Wish { policy: again, ..wish("again") };
        let early = west.create(Kind::Project, "projects/p", &again).await;
        if let Err(refused) = early {
            assert_eq!(refused.reason, Reason::DeletionPending, "{refused}");
        }
        done(&fleet).await;
        for kind in [Kind::Sensor, Kind::Job, Kind::Plan] {
            assert!(fleet.judge.present(kind).is_empty(), "{kind:?}");
        }
        let _ = west.create(Kind::Project, "projects/p", &again).await;
        assert!(fleet.judge.present(Kind::Project).contains_key("projects/p"));
    });
}

#[test]
fn many_referrers_in_several_regions_are_worked_off_in_pieces() {
    references(|fleet| async move {
        let west = client(&fleet, "west");
        west.create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        for n in 0..300 {
            let region = support::REGIONS[n % 2];
            let name = format!("projects/p/regions/{region}/jobs/j{n}");
            let made = to(&format!("{n}"), &[("cascade", SENSOR)]);
            client(&fleet, region).create(Kind::Job, &name, &made).await.unwrap();
        }
        west.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
        // A crash in the midst of it costs only time.
        until(&fleet, "some are gone", SECOND * 60, |f| f.judge.present(Kind::Job).len() < 300)
            .await;
        fleet.crash("north");
        fleet.world.sleep(SECOND).await;
        fleet.start("north");
        done(&fleet).await;
        assert!(fleet.judge.present(Kind::Job).is_empty());
    });
}

#[test]
fn a_region_that_was_cut_off_follows_when_it_is_back() {
    references(|fleet| async move {
        let (east, north) = (client(&fleet, "east"), client(&fleet, "north"));
        east.create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        north.create(Kind::Job, JOB, &to("1", &[("cascade", SENSOR)])).await.unwrap();
        fleet.world.sleep(SECOND * 10).await;
        let cut = async {
            until(&fleet, "the deletion has committed", SECOND * 5, |fleet| {
                !fleet.judge.present(Kind::Sensor).contains_key(SENSOR)
            })
            .await;
            fleet.network.part("east", "north");
        };
        let removal = wish("d");
        let (deleted, ()) =
            futures::future::join(east.delete(Kind::Sensor, SENSOR, &removal), cut).await;
        deleted.unwrap();
        fleet.world.sleep(SECOND * 900).await;
        if fleet.judge.present(Kind::Job).contains_key(JOB) {
            // The name is taken as long as somebody may still know the old one.
            let refused = east.create(Kind::Sensor, SENSOR, &wish("new")).await.unwrap_err();
            assert_eq!(refused.reason, Reason::DeletionPending, "{refused}");
        }
        fleet.network.heal();
        done(&fleet).await;
        assert!(fleet.judge.present(Kind::Job).is_empty());
        east.create(Kind::Sensor, SENSOR, &wish("new")).await.unwrap();
    });
}

#[test]
fn a_namesake_is_not_taken_for_what_was_deleted() {
    references(|fleet| async move {
        let (east, north) = (client(&fleet, "east"), client(&fleet, "north"));
        for n in 0..3 {
            let value = format!("{n}");
            east.create(Kind::Sensor, SENSOR, &wish(&format!("s{n}"))).await.unwrap();
            north.create(Kind::Job, JOB, &to(&value, &[("cascade", SENSOR)])).await.unwrap();
            east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
            done(&fleet).await;
        }
        east.create(Kind::Sensor, SENSOR, &wish("last")).await.unwrap();
        north.create(Kind::Job, JOB, &to("last", &[("cascade", SENSOR)])).await.unwrap();
        // Whoever begins anew hears of what is unfinished, and goes on from where it was.
        for region in support::REGIONS {
            fleet.start(region);
            fleet.world.sleep(SECOND * 20).await;
        }
        assert!(fleet.judge.present(Kind::Job).contains_key(JOB));
    });
}

#[test]
fn questions_and_confirmations_of_a_former_resource_do_nothing_to_its_namesake() {
    references(|fleet| async move {
        let (east, north) = (client(&fleet, "east"), client(&fleet, "north"));
        for method in ["ConfirmBlockades", "EstablishReferences", "CheckIfResourceIsBlocked"] {
            fleet.network.meddle(method, Meddling::Again(SECOND * 30));
        }
        east.create(Kind::Sensor, SENSOR, &wish("old")).await.unwrap();
        north.create(Kind::Job, JOB, &to("1", &[("items", SENSOR)])).await.unwrap();
        east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
        done(&fleet).await;
        east.create(Kind::Sensor, SENSOR, &wish("new")).await.unwrap();
        north.update(Kind::Job, JOB, &to("2", &[("sensor", SENSOR)])).await.unwrap();
        fleet.world.sleep(SECOND * 60).await;
        let refused = east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap_err();
        assert_eq!(refused.reason, Reason::DeletionBlocked, "{refused}");
    });
}

#[test]
fn what_is_to_go_and_is_blocked_goes_when_it_is_not_blocked_any_more() {
    references(|fleet| async move {
        let west = client(&fleet, "west");
        let held_up = "projects/p/regions/north/sensors/h";
        west.create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        west.create(Kind::Sensor, held_up, &to("h", &[("cascade", SENSOR)])).await.unwrap();
        west.create(Kind::Job, JOB, &to("1", &[("sensor", held_up)])).await.unwrap();
        west.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
        fleet.world.sleep(SECOND * 120).await;
        assert!(fleet.judge.present(Kind::Sensor).contains_key(held_up));
        // What is deleting is held up by nothing that is deleting itself, and can be referred to no more.
        let refused =
            west.update(Kind::Job, JOB, &to("2", &[("items", SENSOR)])).await.unwrap_err();
        assert!(
            matches!(refused.reason, Reason::ReferenceRefused | Reason::ReferenceNotFound),
            "{refused}"
        );
        west.delete(Kind::Job, JOB, &wish("d")).await.unwrap();
        done(&fleet).await;
        assert!(fleet.judge.present(Kind::Sensor).is_empty());
    });
}

#[test]
fn a_referrer_of_what_is_deleting_can_be_deleted_and_is_not_missed() {
    references(|fleet| async move {
        let (east, north) = (client(&fleet, "east"), client(&fleet, "north"));
        east.create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        north.create(Kind::Job, JOB, &to("1", &[("cascade", SENSOR)])).await.unwrap();
        fleet.world.sleep(SECOND * 10).await;
        let (one, two) = (wish("d1"), wish("d2"));
        let (deleted, _) = futures::future::join(
            east.delete(Kind::Sensor, SENSOR, &one),
            north.delete(Kind::Job, JOB, &two),
        )
        .await;
        deleted.unwrap();
        done(&fleet).await;
        assert!(fleet.judge.present(Kind::Job).is_empty());
    });
}

#[test]
fn a_place_changes_hands_only_when_its_deletions_are_finished() {
    references(|fleet| async move {
        let plan = "projects/p/plans/x";
        let west = client(&fleet, "west");
        west.create(Kind::Plan, plan, &wish("x")).await.unwrap();
        west.create(Kind::Job, JOB, &to("1", &[("plan", plan)])).await.unwrap();
        fleet.world.sleep(SECOND * 10).await;
        let cut = async {
            until(&fleet, "the deletion has committed", SECOND * 5, |fleet| {
                fleet.judge.present(Kind::Plan).is_empty()
            })
            .await;
            fleet.network.part("west", "north");
        };
        let removal = wish("d");
        let (deleted, ()) =
            futures::future::join(west.delete(Kind::Plan, plan, &removal), cut).await;
        deleted.unwrap();
        // East would make the name anew while west still waits for what refers to the old one.
        let policy = support::policy("east", &support::REGIONS);
        let moved = bowline_sim::fleet::client::Wish { policy, ..wish("moved") };
        let east = client(&fleet, "east");
        if fleet.judge.refers_to(Kind::Job, JOB).len() > 1 {
            let refused = east.update(Kind::Project, "projects/p", &moved).await.unwrap_err();
            assert!(
                matches!(refused.reason, Reason::RegionNotAllowed | Reason::Unavailable),
                "{refused}"
            );
        }
        fleet.network.heal();
        done(&fleet).await;
        east.update(Kind::Project, "projects/p", &moved).await.unwrap();
        east.create(Kind::Plan, plan, &wish("new")).await.unwrap();
    });
}

/// What blocks a cascade for minutes is taken out of its way by `free`.
fn freed<R>(
    blocker: (Kind, &'static str, &'static str),
    free: impl Fn(bowline_sim::fleet::client::Client) -> R + Copy + Send + Sync + 'static,
) where
    R: Future<Output = ()> + Send,
{
    references(move |fleet| async move {
        let (kind, name, field) = blocker;
        let west = client(&fleet, "west");
        let held_up = "projects/p/regions/north/sensors/h";
        west.create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        west.create(Kind::Sensor, held_up, &to("h", &[("cascade", SENSOR)])).await.unwrap();
        west.create(kind, name, &to("b", &[(field, held_up)])).await.unwrap();
        west.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
        fleet.world.sleep(SECOND * 200).await;
        assert!(fleet.judge.present(Kind::Sensor).contains_key(held_up));
        free(west).await;
        until(&fleet, "what was held up goes", SECOND, |fleet| {
            !fleet.judge.present(Kind::Sensor).contains_key(held_up)
        })
        .await;
        until(&fleet, "its deletion is finished", SECOND * 2, |fleet| {
            fleet.judge.unfinished().is_empty()
        })
        .await;
    });
}

const BLOCKERS: [&str; 2] =
    ["projects/p/regions/north/sensors/b", "projects/p/regions/west/sensors/b"];

#[test]
fn a_blocker_of_the_same_deployment_that_is_freed_wakes_what_waits() {
    freed((Kind::Sensor, BLOCKERS[0], "blocked"), |west| async move {
        west.update(Kind::Sensor, BLOCKERS[0], &to("free", &[("blocked", "")])).await.unwrap();
    });
}

#[test]
fn a_blocker_of_another_service_that_is_deleted_wakes_what_waits() {
    freed((Kind::Job, JOB, "sensor"), |west| async move {
        west.delete(Kind::Job, JOB, &wish("d")).await.unwrap();
    });
}

#[test]
fn a_blocker_in_another_region_that_is_pointed_elsewhere_wakes_what_waits() {
    freed((Kind::Sensor, BLOCKERS[1], "blocked"), |west| async move {
        let other = to("free", &[("blocked", BLOCKERS[1])]);
        west.update(Kind::Sensor, BLOCKERS[1], &other).await.unwrap();
        west.update(Kind::Sensor, BLOCKERS[1], &to("freer", &[("blocked", "")])).await.unwrap();
    });
}

#[test]
fn what_waits_is_woken_when_it_is_deleted_by_somebody_else() {
    freed((Kind::Job, JOB, "sensor"), |west| async move {
        // Clears the field and takes away what is held up at the same moment.
        west.update(Kind::Job, JOB, &to("free", &[("sensor", "")])).await.unwrap();
        let held_up = "projects/p/regions/north/sensors/h";
        let deleted = west.delete(Kind::Sensor, held_up, &wish("d")).await;
        if let Err(status) = deleted {
            assert_eq!(status.reason, Reason::ResourceNotFound, "{status}");
        }
    });
}

#[test]
fn a_source_that_let_go_is_asked_after_a_while_and_not_when_the_target_is_deleted() {
    references(|fleet| async move {
        let (east, north) = (client(&fleet, "east"), client(&fleet, "north"));
        east.create(Kind::Sensor, SENSOR, &wish("s")).await.unwrap();
        for round in ["1", "2", "3"] {
            north.create(Kind::Job, JOB, &to(round, &[("sensor", SENSOR)])).await.unwrap();
            north.delete(Kind::Job, JOB, &wish("d")).await.unwrap();
            fleet.world.sleep(SECOND * 20).await;
        }
        let asked = || fleet.network.calls("CheckIfResourceHasDeletionSubscriber");
        let before = asked();
        // About the sensor, and about the project that the job was in.
        until(&fleet, "the source is asked", SECOND * 150, |_| asked() >= before + 2).await;
        fleet.world.sleep(SECOND * 300).await;
        assert_eq!(asked(), before + 2);
        let blocked = || fleet.network.calls("CheckIfResourceIsBlocked");
        let before = blocked();
        east.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap();
        assert_eq!(blocked(), before, "nobody is left to be asked");
    });
}
