//! Named scenarios of owners and requests: what was thought of, one by one. What was not thought of, `seeds` finds.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use bowline_base::Reason;
use bowline_sim::fleet::client::{Client, Wish};
use bowline_sim::services::Kind;
use bowline_sim::{DiskFaults, NetworkFaults};
use support::{REGIONS, client, policy, scenario, settled, wish};

#[test]
fn a_quiet_fleet_writes_from_anywhere() {
    scenario(|fleet| async move {
        let project = Wish { policy: policy("north", &REGIONS), ..wish("1") };
        client(&fleet, "west").create(Kind::Project, "projects/p", &project).await.unwrap();
        for (n, region) in REGIONS.iter().enumerate() {
            let name = format!("projects/p/regions/{region}/sensors/s");
            let at = client(&fleet, REGIONS[(n + 1) % 3]);
            at.create(Kind::Sensor, &name, &wish(region)).await.unwrap();
            let plan = format!("projects/p/plans/{region}");
            at.create(Kind::Plan, &plan, &wish(region)).await.unwrap();
        }
        for region in REGIONS {
            let at = client(&fleet, region);
            let listed = at.list(Kind::Sensor, "projects/p/regions/-", 2).await.unwrap();
            assert_eq!(listed.items.len(), 3, "{listed:?}");
            assert_eq!(at.list(Kind::Plan, "projects/p", 2).await.unwrap().items.len(), 3);
            let name = "projects/p/regions/north/sensors/s";
            assert_eq!(at.get(Kind::Sensor, name).await.unwrap().as_deref(), Some("north"));
        }
        fleet.judge.check_disks(fleet.disks());
        assert_eq!(fleet.judge.commits(), 7);
    });
}

const PLAN: &str = "projects/p/plans/x";

#[test]
fn the_asking_region_is_cut_off_while_its_write_is_under_way() {
    scenario(|fleet| async move {
        settled(&fleet).await;
        let (at, cutting) = (client(&fleet, "north"), fleet.clone());
        let cut = async move {
            // The request gets there, its answer does not come back.
            cutting.world.sleep(Duration::from_micros(50)).await;
            cutting.network.cut("west", "north");
        };
        let made = wish("1");
        let (answer, ()) = futures::future::join(at.create(Kind::Plan, PLAN, &made), cut).await;
        let status = answer.unwrap_err();
        assert_eq!(status.reason, Reason::Unavailable);
        assert_eq!(status.metadata.get("region").map(String::as_str), Some("west"));
        // West goes on with what is its own, and has the write.
        assert_eq!(
            client(&fleet, "west").get(Kind::Plan, PLAN).await.unwrap().as_deref(),
            Some("1")
        );
        // North goes on with what is its own, too.
        let own = "projects/p/regions/north/sensors/s";
        client(&fleet, "north").create(Kind::Sensor, own, &wish("2")).await.unwrap();
        fleet.network.heal();
        assert_eq!(at.get(Kind::Plan, PLAN).await.unwrap().as_deref(), Some("1"));
    });
}

#[test]
fn the_owner_dies_after_the_commit_and_before_the_answer() {
    scenario(|fleet| async move {
        settled(&fleet).await;
        let (at, killing) = (client(&fleet, "north"), fleet.clone());
        let kill = async move {
            while killing.judge.present(Kind::Plan).is_empty() {
                killing.world.sleep(Duration::from_micros(10)).await;
            }
            killing.crash("west");
        };
        let made = Wish { request_id: "once".into(), ..wish("1") };
        // A slow disk, so that there is a time between commit and answer.
        fleet.set_disk_faults(DiskFaults {
            latency_max: Duration::from_millis(50),
            ..DiskFaults::default()
        });
        let (answer, ()) = futures::future::join(at.create(Kind::Plan, PLAN, &made), kill).await;
        assert_eq!(answer.unwrap_err().reason, Reason::Unavailable);
        fleet.start("west");
        // The same request again has the answer that was lost, and is not carried out again.
        assert_eq!(at.create(Kind::Plan, PLAN, &made).await.unwrap(), "1");
        assert_eq!(fleet.judge.commits(), 2);
    });
}

#[test]
fn a_forwarded_create_with_an_id_arrives_twice() {
    scenario(|fleet| async move {
        settled(&fleet).await;
        fleet.network.set_faults(NetworkFaults { doubled: 1.0, ..NetworkFaults::QUIET });
        let made = Wish { request_id: "once".into(), ..wish("1") };
        let at = client(&fleet, "north");
        assert_eq!(at.create(Kind::Plan, PLAN, &made).await.unwrap(), "1");
        fleet.world.sleep(Duration::from_secs(5)).await;
        // The second one came after the first, or beside it, or before it: one commit.
        assert_eq!(fleet.judge.commits(), 2);
        assert_eq!(at.create(Kind::Plan, PLAN, &made).await.unwrap(), "1");
    });
}

#[test]
fn a_former_owner_that_stood_still_wakes_after_the_policy_changed() {
    scenario(|fleet| async move {
        settled(&fleet).await;
        // West begins a write of its own, and its disk is slow to commit it.
        fleet.set_disk_faults(DiskFaults {
            latency_max: Duration::from_secs(2),
            ..DiskFaults::default()
        });
        let writing = client(&fleet, "west");
        let moved = Wish { policy: policy("north", &REGIONS), ..wish("moved") };
        let moving = fleet.clone();
        let change = async move {
            moving.world.sleep(Duration::from_millis(100)).await;
            moving.pause("west");
            let patient = Client { deadline: Duration::from_secs(25), ..client(&moving, "east") };
            let (answer, ()) =
                futures::future::join(patient.update(Kind::Project, "projects/p", &moved), async {
                    moving.world.sleep(Duration::from_secs(3)).await;
                    moving.resume("west");
                })
                .await;
            answer
        };
        let made = wish("late");
        let late = writing.create(Kind::Plan, PLAN, &made);
        let (late, changed) = futures::future::join(late, change).await;
        fleet.set_disk_faults(DiskFaults::default());
        fleet.world.sleep(Duration::from_secs(30)).await;
        // Whoever came first won; the judge has seen that never both owned it.
        let owner = if changed.is_ok() { "north" } else { "west" };
        if late.is_ok() {
            assert_eq!(owner, "west", "{changed:?}");
        }
        fleet.judge.check_disks(fleet.disks());
    });
}

#[test]
fn a_region_that_knows_of_no_others_writes_nothing_of_theirs() {
    scenario(|fleet| async move {
        settled(&fleet).await;
        let blind = fleet.clone();
        let restart = async move { blind.restart_blind("north", Duration::from_secs(5)).await };
        let at = client(&fleet, "north");
        let asked = async {
            at.fleet.world.sleep(Duration::from_secs(1)).await;
            at.create(Kind::Plan, PLAN, &wish("1")).await
        };
        let ((), answer) = futures::future::join(restart, asked).await;
        // It may not write it, and sends it to who may, although it has not heard of that deployment yet.
        answer.unwrap();
        let plan = at.get(Kind::Plan, PLAN).await.unwrap();
        assert_eq!(plan.as_deref(), Some("1"));
    });
}

#[test]
fn a_policy_moves_nothing_before_all_who_follow_it_are_known() {
    scenario(|fleet| async move {
        settled(&fleet).await;
        let blind = fleet.clone();
        let restart = async move { blind.restart_blind("east", Duration::from_secs(5)).await };
        let moved = Wish { policy: policy("north", &REGIONS), ..wish("moved") };
        let at = client(&fleet, "east");
        let asked = async {
            at.fleet.world.sleep(Duration::from_secs(1)).await;
            at.update(Kind::Project, "projects/p", &moved).await
        };
        let ((), answer) = futures::future::join(restart, asked).await;
        let refused = answer.unwrap_err();
        assert_eq!(refused.reason, Reason::Unavailable);
        assert!(refused.message.contains("not all meta deployments"), "{refused}");
        // Told of the others, it asks them.
        fleet.world.sleep(Duration::from_secs(1)).await;
        at.update(Kind::Project, "projects/p", &moved).await.unwrap();
    });
}
