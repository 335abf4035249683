//! Laws of grants: whatever happens in whatever order.

use proptest::prelude::*;

use super::*;

const AT: Moment = Moment { ownership: 1, era: 2, sequence: 10, millis: 1_000 };

fn target() -> TargetName {
    TargetName::new("iam.test/Project", "v1", "projects/p")
}

fn me() -> DeploymentId {
    DeploymentId::new("iam.test", "eu")
}

fn deployment(number: u8) -> DeploymentId {
    match number {
        0 => me(),
        number => DeploymentId::new("devices.test", format!("r{number}")),
    }
}

fn grant(by: u8, blockade: u8) -> Change {
    Change::Grant { by: deployment(by), fence: None, blockade: [blockade; 16] }
}

/// The answers to changes one after the other, and what is left.
fn run(changes: &[Change]) -> (Vec<String>, Option<Inbound>) {
    let mut state = None;
    let answers = changes.iter().map(|change| change.apply(&mut state, &target(), &me(), &AT));
    (answers.map(|answer| answer.to_string()).collect(), state)
}

fn trace(changes: &[Change]) -> String {
    let (answers, state) = run(changes);
    let state = state.map_or_else(|| "no row".to_owned(), |state| state.to_string());
    format!("{}\n{state}", answers.join("\n"))
}

#[test]
fn only_the_first_grant_of_a_source_is_written() {
    expect_test::expect![[r#"
        granted 1.2.11 with a blockade
        granted 1.2.11
        granted 1.2.11 with a blockade
        iam.test/Project projects/p (v1) at 1.2.11, 2 grants
          source devices.test@r1
          source devices.test@r2
          blockade of devices.test@r1 at 1.2.11
          blockade of devices.test@r2 at 1.2.11"#]]
    .assert_eq(&trace(&[grant(1, 1), grant(1, 2), grant(2, 3)]));
}

#[test]
fn the_same_request_once_more_says_that_there_is_a_blockade() {
    expect_test::expect![[r#"
        granted 1.2.11 with a blockade
        granted 1.2.11 with a blockade
        iam.test/Project projects/p (v1) at 1.2.11, 1 grants
          source devices.test@r1
          blockade of devices.test@r1 at 1.2.11"#]]
    .assert_eq(&trace(&[grant(1, 1), grant(1, 1)]));
}

#[test]
fn a_grant_after_an_attempt_is_written_so_that_the_verdict_fails() {
    expect_test::expect![[r#"
        granted 1.2.11 with a blockade
        attempted at 1.2.12
        granted 1.2.12 with a blockade
        granted 1.2.12
        iam.test/Project projects/p (v1) at 1.2.12, 3 grants
          source devices.test@r1
          blockade of devices.test@r1 at 1.2.11
          blockade of devices.test@r1 at 1.2.12"#]]
    .assert_eq(&trace(&[grant(1, 1), Change::Attempt, grant(1, 2), grant(1, 3)]));
}

#[test]
fn a_source_that_was_granted_again_is_not_cleared() {
    let mut state = None;
    let mut apply = |change: Change| change.apply(&mut state, &target(), &me(), &AT);
    apply(grant(1, 1));
    let Answer::Leaving(epoch) = apply(Change::Leave { source: deployment(1) }) else { panic!() };
    apply(grant(1, 2));
    assert_eq!(apply(Change::Clear { source: deployment(1), epoch }), Answer::Overtaken);
    // Marked anew it is at another epoch, so the old answer still does nothing.
    let again = apply(Change::Leave { source: deployment(1) });
    assert_eq!(apply(Change::Clear { source: deployment(1), epoch }), Answer::Overtaken);
    let Answer::Leaving(again) = again else { panic!("{again}") };
    assert!(again > epoch);
    assert_eq!(apply(Change::Clear { source: deployment(1), epoch: again }), Answer::Done);
    let state = state.unwrap();
    assert_eq!((state.sources.len(), state.blockades.len()), (0, 0));
}

#[test]
fn the_answer_that_something_is_held_drops_only_blockades_below_it() {
    let mut state = None;
    let mut apply = |change: Change| change.apply(&mut state, &target(), &me(), &AT);
    apply(grant(1, 1));
    apply(grant(2, 2));
    let Answer::Leaving(epoch) = apply(Change::Leave { source: deployment(1) }) else { panic!() };
    assert_eq!(apply(Change::Stay { source: deployment(1), epoch }), Answer::Done);
    let state = state.unwrap();
    assert!(state.source(&deployment(1)).is_some_and(|source| source.leaving.is_none()));
    assert_eq!(state.blockades.len(), 1);
    assert_eq!(state.blockades[0].deployment, deployment(2));
}

#[test]
fn a_late_request_after_a_withdrawal_only_puts_a_blockade_again() {
    let withdraw = Change::Withdraw { by: deployment(1), blockade: [1; 16] };
    let (_, state) = run(&[grant(1, 1), withdraw.clone(), Change::Attempt, grant(1, 1)]);
    let state = state.unwrap();
    assert_eq!(state.expired(AT.millis + BLOCKADE_MILLIS), [deployment(1)].into());
    assert_eq!(state.expired(AT.millis + BLOCKADE_MILLIS - 1), [].into());
    assert!(state.has_unexpired(AT.millis) && !state.has_unexpired(AT.millis + BLOCKADE_MILLIS));
    let (_, state) = run(&[grant(1, 1), withdraw]);
    assert!(state.unwrap().blockades.is_empty());
}

#[test]
fn a_blockade_is_dropped_by_its_own_deployment_only() {
    let others = [
        Change::Withdraw { by: deployment(2), blockade: [1; 16] },
        Change::Confirm { by: deployment(2), blockade: [1; 16] },
    ];
    for change in others {
        let (_, state) = run(&[grant(1, 1), grant(2, 2), change]);
        assert!(state.unwrap().blockades.iter().any(|blockade| blockade.id == [1; 16]));
    }
}

#[test]
fn a_fence_is_passed_by_the_grant_that_names_it() {
    let fence = Epoch { ownership: 1, era: 2, number: 90 };
    let fenced = |by| Change::Grant { by: deployment(by), fence: Some(fence), blockade: [by; 16] };
    expect_test::expect![[r#"
        granted 1.2.11 with a blockade
        granted 1.2.91 with a blockade
        granted 1.2.91 with a blockade
        granted 1.2.91
        iam.test/Project projects/p (v1) at 1.2.91, 3 grants
          source devices.test@r1
          source devices.test@r2
          blockade of devices.test@r1 at 1.2.11
          blockade of devices.test@r1 at 1.2.91
          blockade of devices.test@r2 at 1.2.91"#]]
    .assert_eq(&trace(&[grant(1, 7), fenced(1), fenced(2), grant(2, 8)]));
}

#[test]
fn a_row_does_not_grow_without_end() {
    let mut state = None;
    for number in 0..2 * BLOCKADES_MAX as u128 {
        Change::Attempt.apply(&mut state, &target(), &me(), &AT);
        let blockade = number.to_be_bytes();
        let change = Change::Grant { by: deployment(1), fence: None, blockade };
        let answer = change.apply(&mut state, &target(), &me(), &AT);
        let Answer::Granted(granted) = answer else { panic!("{answer}") };
        assert_eq!(granted.has_blockade, number < BLOCKADES_MAX as u128);
    }
    assert_eq!(state.unwrap().blockades.len(), BLOCKADES_MAX);
}

#[test]
fn after_the_verdict_those_remain_that_hold_something() {
    let leave = Change::Leave { source: deployment(2) };
    let (_, state) = run(&[grant(1, 1), grant(2, 2), grant(3, 3), leave, Change::Attempt]);
    let state = state.unwrap().verdict(&[deployment(1), deployment(9)].into());
    expect_test::expect![[r#"
        iam.test/Project projects/p (v1) at 1.2.13, 5 grants, deleting
          source devices.test@r2
          source devices.test@r3"#]]
    .assert_eq(&state.to_string());
    let mut state = Some(state);
    let mut apply = |change: Change| change.apply(&mut state, &target(), &me(), &AT);
    assert_eq!(apply(grant(1, 4)), Answer::Deleting);
    assert_eq!(apply(grant(2, 4)), Answer::Deleting);
    assert_eq!(apply(Change::Attempt), Answer::Deleting);
    assert_eq!(apply(Change::Release { source: deployment(2) }), Answer::Done);
    assert_eq!(state.unwrap().sources.len(), 1);
}

fn any_epoch() -> impl Strategy<Value = Epoch> {
    (0_u64..3, 0_u64..4, 0_u64..40).prop_map(|(ownership, era, number)| Epoch {
        ownership,
        era,
        number,
    })
}

fn any_change() -> impl Strategy<Value = Change> {
    let source = || (0_u8..4).prop_map(deployment);
    let blockade = || (0_u8..4).prop_map(|byte| [byte; 16]);
    prop_oneof![
        (source(), prop::option::weighted(0.2, any_epoch()), blockade())
            .prop_map(|(by, fence, blockade)| Change::Grant { by, fence, blockade }),
        (source(), blockade()).prop_map(|(by, blockade)| Change::Confirm { by, blockade }),
        (source(), blockade()).prop_map(|(by, blockade)| Change::Withdraw { by, blockade }),
        Just(Change::Attempt),
        source().prop_map(|source| Change::Leave { source }),
        // Epoch 0 stands for the one that the source is leaving at; see `aimed`.
        (source(), any::<bool>(), any_epoch()).prop_map(|(source, aims, epoch)| {
            let epoch = if aims { Epoch::default() } else { epoch };
            Change::Clear { source, epoch }
        }),
        (source(), any::<bool>(), any_epoch()).prop_map(|(source, aims, epoch)| {
            let epoch = if aims { Epoch::default() } else { epoch };
            Change::Stay { source, epoch }
        }),
        source().prop_map(|source| Change::Release { source }),
    ]
}

fn any_moment() -> impl Strategy<Value = Moment> {
    (1_u64..3, 1_u64..4, 0_u64..40, 0_i64..9)
        .prop_map(|(ownership, era, sequence, millis)| Moment { ownership, era, sequence, millis })
}

/// The same change about the epoch that the source is really leaving at.
fn aimed(change: Change, state: Option<&Inbound>) -> Change {
    let leaving = |source: &DeploymentId, epoch: Epoch| {
        let known = state.and_then(|state| state.source(source)).and_then(|s| s.leaving);
        if epoch == Epoch::default() { known.unwrap_or(epoch) } else { epoch }
    };
    match change {
        Change::Clear { source, epoch } => {
            let epoch = leaving(&source, epoch);
            Change::Clear { source, epoch }
        }
        Change::Stay { source, epoch } => {
            let epoch = leaving(&source, epoch);
            Change::Stay { source, epoch }
        }
        change => change,
    }
}

/// What one change may have done, and nothing else.
fn check(
    change: &Change,
    before: Option<&Inbound>,
    after: &Inbound,
    answer: &Answer,
) -> Result<(), TestCaseError> {
    let was_epoch = before.map(|before| before.epoch).unwrap_or_default();
    let was_grants = before.map_or(0, |before| before.grants);
    prop_assert!(after.epoch >= was_epoch);
    prop_assert!(after.source(&me()).is_none());
    prop_assert!(after.sources.is_sorted_by(|a, b| a.deployment < b.deployment));
    let is_written = before != Some(after);
    let is_raised = after.epoch > was_epoch;
    let counts = match change {
        Change::Grant { .. } => is_written,
        Change::Attempt => *answer != Answer::Deleting,
        Change::Leave { .. } => is_raised,
        _ => false,
    };
    prop_assert_eq!(after.grants, was_grants + u64::from(counts));
    prop_assert!(counts || !is_raised, "a new epoch without a count");
    let gone: Vec<_> = before
        .iter()
        .flat_map(|before| &before.sources)
        .filter(|source| after.source(&source.deployment).is_none())
        .collect();
    match change {
        Change::Clear { source, epoch } => prop_assert!(
            gone.iter().all(|gone| gone.deployment == *source && gone.leaving == Some(*epoch))
        ),
        Change::Release { .. } => prop_assert!(gone.is_empty() || after.is_deleting),
        _ => prop_assert!(gone.is_empty(), "{change:?} removed a source"),
    }
    if let Answer::Granted(granted) = answer {
        let Change::Grant { by, fence, .. } = change else { panic!("{answer}") };
        prop_assert_eq!(granted.epoch, after.epoch);
        prop_assert!(fence.is_none_or(|fence| granted.epoch >= fence));
        prop_assert!(after.source(by).is_some_and(|source| source.leaving.is_none()));
        prop_assert!(!after.attempt && !after.is_deleting);
        if !is_written {
            let before = before.unwrap();
            prop_assert!(before.source(by).is_some_and(|source| source.leaving.is_none()));
            prop_assert!(!before.attempt);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold(
        steps in prop::collection::vec((any_change(), any_moment(), prop::bool::weighted(0.03)), 1..40),
    ) {
        let mut state: Option<Inbound> = None;
        let mut marks: Vec<(DeploymentId, Epoch)> = Vec::new();
        for (change, moment, is_verdict) in steps {
            if is_verdict {
                state = state.map(|state| state.verdict(&BTreeSet::new()));
            }
            let change = aimed(change, state.as_ref());
            let before = state.clone();
            let answer = change.apply(&mut state, &target(), &me(), &moment);
            let Some(after) = &state else {
                prop_assert!(before.is_none() && answer == Answer::Unlisted);
                continue;
            };
            check(&change, before.as_ref(), after, &answer)?;
            if let (Change::Leave { source }, Answer::Leaving(epoch)) = (&change, &answer)
                && before.as_ref().is_none_or(|before| before.epoch < after.epoch)
            {
                let mark = (source.clone(), *epoch);
                prop_assert!(!marks.contains(&mark), "a mark returned");
                marks.push(mark);
            }
        }
    }
}
