//! Named scenarios of what is below a project that is deleted, and cannot go with it because something elsewhere blocks.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bowline_base::Reason;
use bowline_sim::fleet::Fleet;
use bowline_sim::fleet::client::Wish;
use bowline_sim::services::Kind;
use support::{client, done, references, to, wish};

const SENSOR: &str = "projects/p/regions/east/sensors/s";
const SECOND: Duration = Duration::from_secs(1);
/// Holds a sensor of `projects/p` with `BLOCK`, which therefore stays when the project is deleted.
const HOLDER: &str = "projects/q/regions/north/jobs/k";

/// Projects are kept in east.
const NORTH_SENSOR: &str = "projects/p/regions/north/sensors/s";

async fn held_up(fleet: &Arc<Fleet>, sensor: &str) {
    let west = client(fleet, "west");
    let other = Wish { policy: support::policy("north", &support::REGIONS), ..wish("q") };
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
        for region in support::REGIONS {
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
        for region in support::REGIONS {
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
