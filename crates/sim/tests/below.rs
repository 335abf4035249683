//! Named scenarios of what is below a project that is deleted, and cannot go with it because something elsewhere blocks.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bowline_base::Reason;
use bowline_node::{Holder, Part, Place, ownership};
use bowline_sim::fleet::Fleet;
use bowline_sim::fleet::client::{Client, Wish};
use bowline_sim::network::Meddling;
use bowline_sim::services::Kind;
use support::{REGIONS, client, done, references, to, wish};

const PLAN: &str = "projects/p/plans/n";
const SENSOR: &str = "projects/p/regions/east/sensors/s";
const SECOND: Duration = Duration::from_secs(1);
/// Holds a sensor of `projects/p` with `BLOCK`, which therefore stays when the project is deleted.
const HOLDER: &str = "projects/q/regions/north/jobs/k";

/// Projects are kept in east.
const NORTH_SENSOR: &str = "projects/p/regions/north/sensors/s";

async fn held_up(fleet: &Arc<Fleet>, sensor: &str) {
    let west = client(fleet, "west");
    let other = Wish { policy: support::policy("north", &REGIONS), ..wish("q") };
    west.create(Kind::Project, "projects/q", &other).await.unwrap();
    west.create(Kind::Sensor, sensor, &wish("s")).await.unwrap();
    west.create(Kind::Job, HOLDER, &to("k", &[("sensor", sensor)])).await.unwrap();
    fleet.world.sleep(SECOND * 10).await;
    west.delete(Kind::Project, "projects/p", &wish("d")).await.unwrap();
    fleet.world.sleep(SECOND * 60).await;
    assert!(fleet.judge.present(Kind::Sensor).contains_key(sensor));
}

#[test]
fn what_is_below_a_deleted_project_stays_in_reach_until_it_is_gone() {
    references(|fleet| async move {
        held_up(&fleet, SENSOR).await;
        for region in REGIONS {
            let at = client(&fleet, region);
            let value = at.get(Kind::Sensor, SENSOR).await.unwrap();
            assert!(value.is_some(), "read from {region}");
            let listed = at.list(Kind::Sensor, "projects/p/regions/-", 10).await.unwrap();
            assert_eq!(listed.items.into_keys().collect::<Vec<_>>(), [SENSOR], "{region}");
            at.update(Kind::Sensor, SENSOR, &wish(&format!("{region} was here"))).await.unwrap();
            for (kind, new) in [
                (Kind::Plan, "projects/p/plans/new".to_owned()),
                (Kind::Sensor, format!("projects/p/regions/{region}/sensors/new")),
            ] {
                let refused = at.create(kind, &new, &wish("n")).await.unwrap_err();
                assert_eq!(refused.reason, Reason::ReferenceRefused, "{refused}");
            }
            let blocked = at.delete(Kind::Sensor, SENSOR, &wish("d")).await.unwrap_err();
            assert_eq!(blocked.reason, Reason::DeletionBlocked, "{blocked}");
            // Neither can its policy change, nor somebody else take the name, whatever policy comes with it.
            let again = Wish { policy: support::policy(region, &[region]), ..wish("again") };
            let gone = at.update(Kind::Project, "projects/p", &again).await.unwrap_err();
            assert_eq!(gone.reason, Reason::ResourceNotFound, "{gone}");
            let taken = at.create(Kind::Project, "projects/p", &again).await.unwrap_err();
            assert_eq!(taken.reason, Reason::DeletionPending, "{taken}");
        }
        client(&fleet, "west")
            .update(Kind::Job, HOLDER, &to("2", &[("sensor", "")]))
            .await
            .unwrap();
        done(&fleet).await;
        assert!(fleet.judge.present(Kind::Sensor).is_empty());
        // The name is free, and a namesake is another one in every respect.
        let east = client(&fleet, "east");
        let again = Wish { policy: support::policy("east", &["east", "north"]), ..wish("again") };
        east.create(Kind::Project, "projects/p", &again).await.unwrap();
        for region in REGIONS {
            let plan = format!("projects/p/plans/{region}");
            client(&fleet, region).create(Kind::Plan, &plan, &wish(region)).await.unwrap();
        }
    });
}

#[test]
fn what_is_below_a_deleted_project_stays_in_reach_while_its_keeper_is_away() {
    references(|fleet| async move {
        held_up(&fleet, NORTH_SENSOR).await;
        let west = client(&fleet, "west");
        assert!(west.get(Kind::Sensor, NORTH_SENSOR).await.unwrap().is_some());
        fleet.network.part("east", "west");
        fleet.network.part("east", "north");
        for n in 0..10 {
            let value = format!("{n}");
            west.update(Kind::Sensor, NORTH_SENSOR, &wish(&value)).await.unwrap();
            assert_eq!(west.get(Kind::Sensor, NORTH_SENSOR).await.unwrap(), Some(value));
            fleet.world.sleep(SECOND * 20).await;
        }
        fleet.network.heal();
        fleet.world.sleep(SECOND * 60).await;
        west.update(Kind::Job, HOLDER, &to("2", &[("sensor", "")])).await.unwrap();
        done(&fleet).await;
        assert!(fleet.judge.present(Kind::Sensor).is_empty());
    });
}

#[test]
fn what_began_before_a_region_gave_its_part_up_does_not_commit_when_it_has_it_back() {
    references(|fleet| async move {
        let at = Client { deadline: SECOND * 25, ..client(&fleet, "west") };
        let to = |region| Wish { policy: support::policy(region, &REGIONS), ..wish(region) };
        for region in ["north", "west"] {
            at.update(Kind::Project, "projects/p", &to(region)).await.unwrap();
        }
        fleet.world.sleep(SECOND).await;
        // West begins to make a plan while the policy lets it, and would commit it while its row lets it again.
        fleet.network.meddle("EstablishReferences", Meddling::Late(SECOND * 5));
        let made = wish("1");
        let making = at.create(Kind::Plan, PLAN, &made);
        let changing = async {
            fleet.world.sleep(SECOND).await;
            at.update(Kind::Project, "projects/p", &to("north")).await.unwrap();
            let given_up = epoch(&fleet, "west").unwrap();
            let back = to("west");
            let abandoned = at.update(Kind::Project, "projects/p", &back);
            let crash = async {
                let is_back = |fleet: &Fleet| epoch(fleet, "west").is_some_and(|at| at > given_up);
                support::until(&fleet, "west has it back", SECOND * 2, is_back).await;
                fleet.crash("east");
            };
            let (answer, ()) = futures::future::join(abandoned, crash).await;
            assert_eq!(answer.unwrap_err().reason, Reason::Unavailable);
            fleet.start("east");
        };
        let (made, ()) = futures::future::join(making, changing).await;
        assert_eq!(made.unwrap_err().reason, Reason::NotOwned);
        // So the change that was abandoned can be settled.
        at.update(Kind::Project, "projects/p", &to("north")).await.unwrap();
        at.create(Kind::Plan, PLAN, &wish("2")).await.unwrap();
    });
}

#[test]
fn what_began_below_a_former_project_does_not_end_where_its_namesake_lets_nothing_be() {
    references(|fleet| async move {
        let at = Client { deadline: SECOND * 25, ..client(&fleet, "west") };
        fleet.network.meddle("EstablishReferences", Meddling::Late(SECOND * 5));
        let made = wish("1");
        let making = at.create(Kind::Sensor, NORTH_SENSOR, &made);
        let replacing = async {
            fleet.world.sleep(SECOND).await;
            at.delete(Kind::Project, "projects/p", &wish("d")).await.unwrap();
            let anew = Wish { policy: support::policy("west", &["east", "west"]), ..wish("anew") };
            at.create(Kind::Project, "projects/p", &anew).await.unwrap();
        };
        let (made, ()) = futures::future::join(making, replacing).await;
        assert_eq!(made.unwrap_err().reason, Reason::RegionNotAllowed);
        assert!(fleet.judge.present(Kind::Sensor).is_empty());
    });
}

/// The epoch at which the row of a region's `devices` says who owns what has no region below `projects/p`.
fn epoch(fleet: &Fleet, region: &str) -> Option<u64> {
    let holder = Holder { kind: "iam.sim.test/Project".into(), name: "projects/p".into() };
    let key = ownership::key(&Place { holder: Some(holder), part: Part::Control });
    let name = format!("devices.sim.test@{region}");
    let mut disks = fleet.disks().filter(|disk| disk.name() == name);
    disks.find_map(|disk| disk.row(&key)).map(|row| row.version)
}
