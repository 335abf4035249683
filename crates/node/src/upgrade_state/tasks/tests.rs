//! Tasks one by one, and laws over random sequences of notices.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost_types::Value;
use prost_types::value::Kind;

use super::*;

fn deployment(data: &str) -> Deployment {
    Deployment { db_data_version: data.into(), ..Deployment::default() }
}

fn register(tag: &str, shards: i64, target: &str) -> GetOrRegisterDataUpdateTaskRequest {
    GetOrRegisterDataUpdateTaskRequest {
        name: String::new(),
        tag: tag.into(),
        shards_count: shards,
        db_data_target_version: target.into(),
    }
}

fn notice(tag: &str, shard: i64, done: bool, target: &str) -> UpdateDataTaskUpdateRequest {
    UpdateDataTaskUpdateRequest {
        tag: tag.into(),
        shard,
        done,
        db_data_target_version: target.into(),
        ..UpdateDataTaskUpdateRequest::default()
    }
}

fn progress(text: &str) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(text.into())) };
    Struct { fields: BTreeMap::from([("at".to_owned(), value)]).into_iter().collect() }
}

#[test]
fn a_worker_that_comes_back_finds_how_far_it_was() {
    let mut deployment = deployment("v1");
    let request = register("fill", 3, "v1.1");
    get_or_register(&mut deployment, &request).unwrap();
    let told = UpdateDataTaskUpdateRequest {
        progress_status: Some(progress("k")),
        ..notice("fill", 1, false, "v1.1")
    };
    update(&mut deployment, &told).unwrap();
    update(&mut deployment, &notice("fill", 2, true, "v1.1")).unwrap();
    let status = get_or_register(&mut deployment, &request).unwrap();
    assert_eq!(status.ready_shards, [2]);
    assert_eq!(status.progress_bar, [Struct::default(), progress("k"), Struct::default()]);
    let other = UpgradeError::OtherShardCount { registered: 3, told: 4 };
    assert_eq!(get_or_register(&mut deployment, &register("fill", 4, "v1.1")), Err(other));
}

#[test]
fn late_notices_take_nothing_back() {
    let mut deployment = deployment("v1");
    get_or_register(&mut deployment, &register("fill", 2, "v1.1")).unwrap();
    update(&mut deployment, &notice("fill", 1, true, "v1.1")).unwrap();
    let before = deployment.clone();
    let late = UpdateDataTaskUpdateRequest {
        progress_status: Some(progress("k")),
        ..notice("fill", 1, false, "v1.1")
    };
    update(&mut deployment, &late).unwrap();
    assert_eq!(deployment, before);
}

#[test]
fn the_version_of_the_data_waits_for_all_tasks_up_to_it() {
    let mut deployment = deployment("v1");
    for (tag, target) in [("a", "v1.1"), ("b", "v1.1"), ("c", "v1.2")] {
        get_or_register(&mut deployment, &register(tag, 1, target)).unwrap();
    }
    update(&mut deployment, &notice("c", 0, true, "v1.2")).unwrap();
    update(&mut deployment, &notice("a", 0, true, "v1.1")).unwrap();
    assert_eq!(deployment.db_data_version, "v1");
    update(&mut deployment, &notice("b", 0, true, "v1.1")).unwrap();
    assert_eq!(deployment.db_data_version, "v1.2");
    assert_eq!(deployment.data_update_statuses, []);
    // The last notice once more, and a worker that only now comes to the task.
    update(&mut deployment, &notice("b", 0, true, "v1.1")).unwrap();
    let status = get_or_register(&mut deployment, &register("late", 2, "v1.1")).unwrap();
    assert_eq!(status.ready_shards, [0, 1]);
    assert_eq!(deployment.data_update_statuses, []);
}

#[test]
fn a_lower_version_is_reached_before_a_higher_one_is() {
    let mut deployment = deployment("v1");
    get_or_register(&mut deployment, &register("a", 1, "v1.9")).unwrap();
    get_or_register(&mut deployment, &register("b", 1, "v1.10")).unwrap();
    update(&mut deployment, &notice("a", 0, true, "v1.9")).unwrap();
    assert_eq!(deployment.db_data_version, "v1.9");
    assert_eq!(deployment.data_update_statuses.len(), 1);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut deployment = deployment("v1");
    get_or_register(&mut deployment, &register("fill", 2, "v1.1")).unwrap();
    let before = deployment.clone();
    let field = |error: UpgradeError| error.field().unwrap();
    let mut registered =
        |request| get_or_register(&mut deployment, &request).map_err(field).unwrap_err();
    assert_eq!(registered(register("", 2, "v1.1")), "tag");
    assert_eq!(registered(register(&"t".repeat(129), 2, "v1.1")), "tag");
    assert_eq!(registered(register("t", 0, "v1.1")), "shards_count");
    assert_eq!(registered(register("t", i64::MAX, "v1.1")), "shards_count");
    assert_eq!(registered(register("t", 2, "")), "db_data_target_version");
    let unknown = update(&mut deployment, &notice("other", 0, true, "v1.1")).unwrap_err();
    assert_eq!(unknown.to_string(), "no data update task \"other\" is registered for v1.1");
    for shard in [-1, 2, i64::MAX] {
        let error = update(&mut deployment, &notice("fill", shard, true, "v1.1")).unwrap_err();
        assert_eq!(error.field(), Some("shard"));
    }
    assert_eq!(deployment, before);
}

#[test]
fn tasks_are_bounded() {
    let mut deployment = deployment("v1");
    for at in 0..TASKS_MAX {
        get_or_register(&mut deployment, &register(&format!("t{at}"), 1, "v2")).unwrap();
    }
    let refused = get_or_register(&mut deployment, &register("more", 1, "v2"));
    assert_eq!(refused, Err(UpgradeError::TooManyTasks { max: TASKS_MAX }));
}

proptest! {
    #[test]
    fn data_versions_never_fall_and_are_reached_by_nothing_but_finished_tasks(
        notices in proptest::collection::vec((0..3_usize, 0..4_i64, any::<bool>()), 0..60),
    ) {
        const TASKS: [(&str, i64, &str); 3] = [("a", 3, "v2"), ("b", 2, "v2"), ("c", 3, "v10")];
        let mut deployment = deployment("v1");
        for (tag, shards, target) in TASKS {
            get_or_register(&mut deployment, &register(tag, shards, target)).unwrap();
        }
        let mut done: [std::collections::BTreeSet<i64>; 3] = Default::default();
        for (task, shard, finished) in notices {
            let (tag, shards, target) = TASKS[task];
            let request = notice(tag, shard, finished, target);
            let answer = update(&mut deployment, &request);
            if shard < shards {
                prop_assert_eq!(answer, Ok(()));
                if finished {
                    done[task].insert(shard);
                }
            }
            let complete = |at: usize| done[at].len() as i64 == TASKS[at].1;
            let expected = match (complete(0) && complete(1), complete(2)) {
                (true, true) => "v10",
                (true, false) => "v2",
                (false, _) => "v1",
            };
            prop_assert_eq!(&deployment.db_data_version, expected);
            for status in &deployment.data_update_statuses {
                let at = TASKS.iter().position(|(tag, ..)| *tag == status.task_tag).unwrap();
                let ready: Vec<i64> = done[at].iter().copied().collect();
                prop_assert_eq!(&status.ready_shards, &ready);
            }
        }
    }
}
