//! The transitions one by one, and laws over random sequences of them.

use proptest::prelude::*;

use super::*;

fn deployment() -> Deployment {
    Deployment {
        name: "services/a.b/deployments/r".into(),
        current_version: "v1".into(),
        db_data_version: "v1.0".into(),
        db_location_tag: "disk".into(),
        ..Deployment::default()
    }
}

fn announcement(api: &str, shards: i64) -> SetAvailableUpgradeRequest {
    SetAvailableUpgradeRequest {
        target_api_version: api.into(),
        total_shards_count: shards,
        ..SetAvailableUpgradeRequest::default()
    }
}

fn notice(shards: Range<i64>, ready: bool, total: i64) -> NotifyShardsUpgradeReadinessRequest {
    NotifyShardsUpgradeReadinessRequest {
        shards_from: shards.start,
        shards_to: shards.end,
        ready,
        total_shards_count: total,
        ..NotifyShardsUpgradeReadinessRequest::default()
    }
}

fn upgrading(shards: i64) -> Deployment {
    let mut deployment = deployment();
    set_available(&mut deployment, &announcement("v2", shards)).unwrap();
    begin(&mut deployment).unwrap();
    deployment
}

fn state(deployment: &Deployment) -> &UpgradeState {
    deployment.upgrade_state.as_ref().unwrap()
}

#[test]
fn what_an_announcement_does_not_say_stays() {
    let mut deployment = deployment();
    set_available(&mut deployment, &announcement("v2", 4)).unwrap();
    let available = deployment.available_upgrade.clone().unwrap();
    assert_eq!(available.db_data_version, "v1.0");
    assert_eq!(available.db_location_tag, "disk");
    assert_eq!((available.api_version.as_str(), available.total_shards_count), ("v2", 4));
    set_available(&mut deployment, &announcement("", 0)).unwrap();
    assert_eq!(deployment.available_upgrade, None);
}

#[test]
fn an_announcement_must_change_something_and_fit_its_limits() {
    let mut deployment = deployment();
    let refused = |deployment: &mut Deployment, request: &SetAvailableUpgradeRequest| {
        let before = deployment.clone();
        let error = set_available(deployment, request).unwrap_err();
        assert_eq!(*deployment, before);
        error
    };
    assert_eq!(refused(&mut deployment, &announcement("v1", 4)), UpgradeError::NothingNew);
    for shards in [0, -1, SHARDS_MAX + 1, i64::MAX] {
        let error = refused(&mut deployment, &announcement("v2", shards));
        assert_eq!(error.field(), Some("total_shards_count"));
    }
    let request = SetAvailableUpgradeRequest {
        target_db_data_version: "1.4".into(),
        ..announcement("v2", 4)
    };
    assert_eq!(refused(&mut deployment, &request).field(), Some("target_db_data_version"));
    let request = SetAvailableUpgradeRequest {
        target_db_location_tag: "x".repeat(65),
        ..announcement("v2", 4)
    };
    assert_eq!(refused(&mut deployment, &request).field(), Some("target_db_location_tag"));
}

#[test]
fn an_upgrade_begins_with_every_shard_pending() {
    let deployment = upgrading(3);
    let state = state(&deployment);
    assert_eq!(state.stage(), Stage::InitialSyncing);
    assert_eq!(state.pending_shards, [0, 1, 2]);
    assert_eq!(state.ready_shards, [0; 0]);
    assert_eq!(state.target_version, "v2");
    assert_eq!(state.db_data_target_version, "v1.0");
    assert_eq!(deployment.current_version, "v1");
}

#[test]
fn nothing_begins_that_is_not_available_or_is_under_way() {
    assert_eq!(begin(&mut deployment()), Err(UpgradeError::NothingAvailable));
    let mut deployment = upgrading(3);
    let before = deployment.clone();
    let under_way = Err(UpgradeError::UnderWay { stage: "INITIAL_SYNCING" });
    assert_eq!(begin(&mut deployment), under_way);
    assert_eq!(set_available(&mut deployment, &announcement("v3", 3)), under_way);
    assert_eq!(set_available(&mut deployment, &announcement("", 0)), under_way);
    // The announcement that it began with may be repeated: every node makes it when it boots.
    assert_eq!(set_available(&mut deployment, &announcement("v2", 3)), Ok(()));
    assert_eq!(deployment, before);
}

#[test]
fn shards_go_to_ready_and_back() {
    let mut deployment = upgrading(5);
    notify_shards(&mut deployment, &notice(1..4, true, 5)).unwrap();
    assert_eq!(state(&deployment).ready_shards, [1, 2, 3]);
    assert_eq!(state(&deployment).pending_shards, [0, 4]);
    notify_shards(&mut deployment, &notice(2..5, false, 5)).unwrap();
    assert_eq!(state(&deployment).ready_shards, [1]);
    assert_eq!(state(&deployment).pending_shards, [0, 2, 3, 4]);
    notify_shards(&mut deployment, &notice(0..5, true, 5)).unwrap();
    assert_eq!(state(&deployment).stage(), Stage::InitialSyncing);
}

#[test]
fn notices_that_do_not_fit_are_refused() {
    let mut idle = deployment();
    assert_eq!(notify_shards(&mut idle, &notice(0..1, true, 5)), Err(UpgradeError::NotUnderWay));
    let mut deployment = upgrading(5);
    let before = deployment.clone();
    let other = UpgradeError::OtherShardCount { registered: 5, told: 6 };
    assert_eq!(notify_shards(&mut deployment, &notice(0..1, true, 6)), Err(other));
    for (from, to, field) in [
        (2, 2, "shards_from"),
        (3, 2, "shards_from"),
        (-1, 2, "shards_from"),
        (0, 6, "shards_to"),
        (0, i64::MAX, "shards_to"),
    ] {
        let error = notify_shards(&mut deployment, &notice(from..to, true, 5)).unwrap_err();
        assert_eq!(error.field(), Some(field));
    }
    assert_eq!(deployment, before);
}

#[test]
fn no_shard_falls_back_while_the_deployment_changes_over() {
    let mut deployment = upgrading(2);
    notify_shards(&mut deployment, &notice(0..2, true, 2)).unwrap();
    deployment.upgrade_state.as_mut().unwrap().set_stage(Stage::Switching);
    let before = deployment.clone();
    let refused = Err(UpgradeError::UnderWay { stage: "SWITCHING" });
    assert_eq!(notify_shards(&mut deployment, &notice(0..1, false, 2)), refused);
    assert_eq!(notify_shards(&mut deployment, &notice(0..1, true, 2)), Ok(()));
    assert_eq!(deployment, before);
}

/// Any of the calls, with values that are often wrong.
#[derive(Clone, Debug)]
enum Call {
    Announce(SetAvailableUpgradeRequest),
    Begin,
    Notify(NotifyShardsUpgradeReadinessRequest),
}

fn call() -> impl Strategy<Value = Call> {
    let text = || prop_oneof![Just(""), Just("v1"), Just("v2"), Just("v1.0"), Just("x")];
    prop_oneof![
        (text(), text(), text(), -1..6_i64).prop_map(|(api, data, location, shards)| {
            Call::Announce(SetAvailableUpgradeRequest {
                target_db_data_version: data.into(),
                target_db_location_tag: location.into(),
                ..announcement(api, shards)
            })
        }),
        Just(Call::Begin),
        (-1..6_i64, -1..7_i64, any::<bool>(), 1..6_i64)
            .prop_map(|(from, to, ready, total)| Call::Notify(notice(from..to, ready, total))),
    ]
}

fn apply(deployment: &mut Deployment, call: &Call) -> Result<(), UpgradeError> {
    match call {
        Call::Announce(request) => set_available(deployment, request),
        Call::Begin => begin(deployment),
        Call::Notify(request) => notify_shards(deployment, request),
    }
}

proptest! {
    #[test]
    fn every_shard_is_pending_or_ready_and_what_is_refused_changes_nothing(
        calls in proptest::collection::vec(call(), 0..40),
    ) {
        let mut deployment = deployment();
        for call in calls {
            let before = deployment.clone();
            match apply(&mut deployment, &call) {
                Err(_) => prop_assert_eq!(&deployment, &before),
                // A repeated call changes nothing more; a begin cannot be repeated.
                Ok(()) if !matches!(call, Call::Begin) => {
                    let once = deployment.clone();
                    prop_assert_eq!(apply(&mut deployment, &call), Ok(()));
                    prop_assert_eq!(&deployment, &once);
                }
                Ok(()) => {}
            }
            prop_assert_eq!(&deployment.current_version, "v1");
            let Some(state) = &deployment.upgrade_state else { continue };
            let total = deployment.available_upgrade.as_ref().map(|a| a.total_shards_count);
            let mut all: Vec<i64> =
                state.ready_shards.iter().chain(&state.pending_shards).copied().collect();
            prop_assert!(state.ready_shards.is_sorted() && state.pending_shards.is_sorted());
            all.sort_unstable();
            prop_assert_eq!(all, (0..total.unwrap_or_default()).collect::<Vec<_>>());
        }
    }
}
