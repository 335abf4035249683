//! Each mistake, planted: the checker finds it, and finds what it leads to.

use expect_test::expect;

use bowline_model::{
    Goal, LISTED, Mistake, REASON, S1, S2, S3, World, explore, find, for_mistake, recovery,
};

const NAMES: [(&str, &str); 5] =
    [(S1, "S1"), (S2, "S2"), (S3, "S3"), (LISTED, "listed"), (REASON, "reason")];

/// What does not hold with the mistake, and the steps of a shortest trace to each. Without it, all holds in the same world.
fn broken_by(mistake: Mistake) -> String {
    let world = for_mistake(mistake);
    let sound = explore(World { mistake: None, ..world }, 1);
    assert!(sound.violations.is_empty(), "without the mistake: {:?}", sound.violations);
    let found = NAMES.iter().filter_map(|(property, name)| {
        let steps = find(world, property)?.steps;
        Some(format!("{name} {steps}"))
    });
    found.collect::<Vec<_>>().join(", ")
}

#[test]
fn no_fence() {
    expect!["S1 9, S2 13, S3 9, listed 9"].assert_eq(&broken_by(Mistake::NoFence));
}

#[test]
fn a_withdrawal_that_drops_the_source() {
    expect!["S1 9, S3 10, listed 8"].assert_eq(&broken_by(Mistake::WithdrawalDropsSource));
}

#[test]
fn an_answer_that_it_holds_none_without_a_fence() {
    expect!["S1 9, S3 9, listed 8"].assert_eq(&broken_by(Mistake::HoldsNoneUnfenced));
}

#[test]
fn an_inbound_row_compared_by_value() {
    expect!["S1 14, S2 15, S3 14, listed 14"].assert_eq(&broken_by(Mistake::ComparedByValue));
}

#[test]
fn the_own_deployment_as_a_source() {
    expect!["S1 4, S2 9"].assert_eq(&broken_by(Mistake::OwnDeploymentListed));
}

#[test]
fn a_stricter_behaviour_taken_for_nothing_new() {
    expect!["S2 11, S3 11"].assert_eq(&broken_by(Mistake::StricterIsNothingNew));
}

#[test]
fn a_source_cleared_without_a_new_epoch() {
    expect!["S1 9, S3 9, listed 8"].assert_eq(&broken_by(Mistake::ClearingKeepsEpoch));
}

#[test]
fn a_row_version_that_returns() {
    expect!["S1 12, S3 12, listed 12"].assert_eq(&broken_by(Mistake::RowVersionReturns));
}

#[test]
fn a_deletion_told_by_name() {
    expect!["reason 19"].assert_eq(&broken_by(Mistake::EventMatchedByName));
}

#[test]
fn a_read_only_grant_while_an_attempt_is_open() {
    expect!["S1 10, S2 13, S3 10, listed 10"]
        .assert_eq(&broken_by(Mistake::ReadOnlyWhileAttemptOpen));
}

#[test]
fn a_read_only_grant_to_a_leaving_source() {
    expect!["S1 10, S3 10, listed 9"].assert_eq(&broken_by(Mistake::ReadOnlyWhileLeaving));
}

#[test]
fn a_read_only_grant_from_an_old_picture() {
    expect!["S1 14, S2 15, S3 14, listed 14"]
        .assert_eq(&broken_by(Mistake::ReadOnlyFromOldPicture));
}

#[test]
fn a_grant_during_an_attempt_that_is_not_counted() {
    expect!["S1 10, S2 13, S3 10, listed 10"].assert_eq(&broken_by(Mistake::GrantNotCounted));
}

#[test]
fn a_grant_that_leaves_the_leaving_mark() {
    expect!["S1 10, S3 10, listed 9"].assert_eq(&broken_by(Mistake::GrantKeepsLeavingMark));
}

#[test]
fn an_attempt_without_a_new_epoch() {
    expect!["S1 9, S2 13, S3 9, listed 9"].assert_eq(&broken_by(Mistake::AttemptKeepsEpoch));
}

#[test]
fn an_expiry_that_drops_the_source() {
    expect!["S1 7, S3 7, listed 6"].assert_eq(&broken_by(Mistake::ExpiryDropsSource));
}

#[test]
fn a_fence_dropped_under_a_save() {
    expect!["S1 10, S2 14, S3 10, listed 10"].assert_eq(&broken_by(Mistake::FenceDroppedEarly));
}

#[test]
fn an_answer_from_before_the_question() {
    expect!["S1 11, S2 15, S3 11, listed 11"].assert_eq(&broken_by(Mistake::AnswerFromOldView));
}

#[test]
fn a_grant_used_by_another_save() {
    expect!["S1 12, S2 13, S3 12, listed 12"].assert_eq(&broken_by(Mistake::GrantOutlivesSave));
}

/// Where fences are dropped, an old fence at the very epoch that is asked at now lets a save through that it should stop.
#[test]
fn an_epoch_that_restarts_is_not_safe() {
    expect!["S1 18, S2 24, S3 18, listed 18"].assert_eq(&broken_by(Mistake::EpochRestarts));
}

/// Where fences stay, a source that was fenced once may never refer to the target again.
#[test]
fn an_epoch_that_restarts_fences_for_ever() {
    let sound = World { fences_dropped: false, ..World::SMALL };
    let restarts = World { mistake: Some(Mistake::EpochRestarts), ..sound };
    assert_eq!(recovery(sound, Goal::SaveLands).stuck, None);
    assert!(recovery(restarts, Goal::SaveLands).stuck.is_some());
}

#[test]
fn a_trace_says_what_happened_and_what_is_there() {
    let found = find(for_mistake(Mistake::ExpiryDropsSource), LISTED).expect("it is found");
    expect![[r#"
        the deployment of a reference is listed as a source
          1. the target is made
             owner: uid 1 active
             A: R1 -
          2. A begins to save R1 with BLOCK
             owner: uid 1 active
             A: R1 -; save 1 of R1 to BLOCK, asks
             under way: A asks for a grant
          3. arrives: A asks for a grant
             owner: uid 1 active; epoch 1, source A, blockade of A at 1
             A: R1 -; save 1 of R1 to BLOCK, asks
             under way: A asks for a grant, A is granted uid 1 at 1 for save 1
          4. a blockade of A expires
             owner: uid 1 active; epoch 1
             A: R1 -; save 1 of R1 to BLOCK, asks
             under way: A asks for a grant, A is granted uid 1 at 1 for save 1
          5. arrives: A is granted uid 1 at 1 for save 1
             owner: uid 1 active; epoch 1
             A: R1 -; save 1 of R1 to BLOCK, granted uid 1 at 1
             under way: A asks for a grant
          6. A commits save 1
             owner: uid 1 active; epoch 1
             A: R1 BLOCK uid 1
             under way: A asks for a grant (nobody waits), A confirms
    "#]]
    .assert_eq(&format!("{}\n{}", found.property, found.trace));
}
