//! Named scenarios of what is deleted asynchronously: marked, and there until nothing refers to it and no finalizer holds it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use bowline_base::Reason;
use bowline_sim::fleet::Fleet;
use bowline_sim::fleet::client::Wish;
use bowline_sim::services::Kind;
use futures::future::join;
use support::{client, done, references, to, until, wish};

const UNIT: &str = "projects/p/regions/east/units/u";
const JOB: &str = "projects/p/regions/north/jobs/j";
const MODEL: &str = "models/m";
const SECOND: Duration = Duration::from_secs(1);

/// A write with this value, which leaves these finalizers.
fn held(value: &str, finalizers: &[&str]) -> Wish {
    let finalizers = finalizers.iter().map(|name| (*name).to_owned()).collect();
    Wish { finalizers: Some(finalizers), ..wish(value) }
}

fn is_there(fleet: &Fleet, kind: Kind, name: &str) -> bool {
    fleet.judge.present(kind).contains_key(name)
}

#[test]
fn what_is_marked_is_seen_everywhere_and_referred_to_by_nothing_new() {
    references(|fleet| async move {
        let west = client(&fleet, "west");
        west.create(Kind::Unit, UNIT, &held("u", &["a.test/drain", "b"])).await.unwrap();
        west.create(Kind::Job, JOB, &to("j", &[("unit", UNIT)])).await.unwrap();
        west.delete(Kind::Unit, UNIT, &wish("d")).await.unwrap();
        fleet.world.sleep(SECOND * 60).await;
        assert!(fleet.judge.is_marked(Kind::Unit, UNIT) && !is_there(&fleet, Kind::Job, JOB));
        for region in support::REGIONS {
            let at = client(&fleet, region);
            assert!(at.get(Kind::Unit, UNIT).await.unwrap().is_some(), "read from {region}");
            let job = format!("projects/p/regions/{region}/jobs/k");
            for field in ["unit", "needs"] {
                let refused = at.create(Kind::Job, &job, &to("k", &[(field, UNIT)])).await;
                assert_eq!(refused.unwrap_err().reason, Reason::ReferenceRefused, "{region}");
            }
            let taken = at.create(Kind::Unit, UNIT, &wish("again")).await.unwrap_err();
            assert_eq!(taken.reason, Reason::DeletionPending, "{taken}");
            at.delete(Kind::Unit, UNIT, &wish("once more")).await.unwrap();
        }
        west.update(Kind::Unit, UNIT, &held("1", &["b"])).await.unwrap();
        fleet.world.sleep(SECOND * 60).await;
        assert!(fleet.judge.is_marked(Kind::Unit, UNIT));
        west.update(Kind::Unit, UNIT, &held("2", &[])).await.unwrap();
        done(&fleet).await;
        assert!(!is_there(&fleet, Kind::Unit, UNIT));
        west.create(Kind::Unit, UNIT, &wish("again")).await.unwrap();
    });
}

#[test]
fn what_is_marked_blocks_what_it_refers_to_and_refers_to_it_no_more_strictly_than_before() {
    references(|fleet| async move {
        let west = client(&fleet, "west");
        west.create(Kind::Model, MODEL, &wish("m")).await.unwrap();
        let near = "projects/p/regions/north/units/n";
        west.create(Kind::Unit, near, &wish("n")).await.unwrap();
        let unit = Wish { finalizers: Some(vec!["a".to_owned()]), ..to("u", &[("near", near)]) };
        west.create(Kind::Unit, UNIT, &unit).await.unwrap();
        west.update(Kind::Unit, UNIT, &to("1", &[("model", MODEL)])).await.unwrap();
        west.delete(Kind::Unit, UNIT, &wish("d")).await.unwrap();
        let blocked = west.delete(Kind::Model, MODEL, &wish("d")).await.unwrap_err();
        assert_eq!(blocked.reason, Reason::DeletionBlocked, "{blocked}");
        let stricter = west.update(Kind::Unit, UNIT, &to("2", &[("peer", near)])).await;
        assert_eq!(stricter.unwrap_err().reason, Reason::ReferenceRefused);
        west.delete(Kind::Unit, near, &wish("d")).await.unwrap();
        west.update(Kind::Unit, UNIT, &held("3", &[])).await.unwrap();
        done(&fleet).await;
        assert!(!is_there(&fleet, Kind::Unit, UNIT) && !is_there(&fleet, Kind::Unit, near));
        west.delete(Kind::Model, MODEL, &wish("d")).await.unwrap();
    });
}

#[test]
fn a_project_waits_for_those_who_hold_what_is_below_it() {
    references(|fleet| async move {
        let units = support::REGIONS.map(|region| format!("projects/p/regions/{region}/units/u"));
        let west = client(&fleet, "west");
        for unit in &units {
            west.create(Kind::Unit, unit, &held(unit, &["a"])).await.unwrap();
        }
        west.delete(Kind::Project, "projects/p", &wish("d")).await.unwrap();
        let are_marked =
            |fleet: &Fleet| units.iter().all(|unit| fleet.judge.is_marked(Kind::Unit, unit));
        until(&fleet, "all are marked", SECOND * 60, are_marked).await;
        for (n, unit) in units.iter().enumerate() {
            let taken = west.create(Kind::Project, "projects/p", &wish("again")).await;
            assert_eq!(taken.unwrap_err().reason, Reason::DeletionPending);
            assert!(west.get(Kind::Unit, unit).await.unwrap().is_some());
            west.update(Kind::Unit, unit, &held(&format!("{n}"), &[])).await.unwrap();
            until(&fleet, "it is gone", SECOND * 60, |fleet| !is_there(fleet, Kind::Unit, unit))
                .await;
        }
        done(&fleet).await;
        support::settled(&fleet).await;
    });
}

#[test]
fn the_owner_dies_between_the_last_finalizer_and_the_end() {
    references(|fleet| async move {
        let west = client(&fleet, "west");
        west.create(Kind::Unit, UNIT, &held("u", &["a"])).await.unwrap();
        west.create(Kind::Job, JOB, &to("j", &[("unit", UNIT)])).await.unwrap();
        west.delete(Kind::Unit, UNIT, &wish("d")).await.unwrap();
        let removal = held("1", &[]);
        let dying = async {
            let is_let_go = |fleet: &Fleet| {
                fleet.judge.is_marked(Kind::Unit, UNIT)
                    && fleet.judge.held_by_finalizers().is_empty()
            };
            until(&fleet, "it is let go", SECOND * 60, is_let_go).await;
            fleet.crash("east");
        };
        // Whether the answer came before that is all the same.
        let _ = join(west.update(Kind::Unit, UNIT, &removal), dying).await;
        fleet.world.sleep(SECOND * 20).await;
        fleet.start("east");
        done(&fleet).await;
        assert!(!is_there(&fleet, Kind::Unit, UNIT) && !is_there(&fleet, Kind::Job, JOB));
    });
}
