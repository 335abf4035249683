//! What deletions come to, case by case.

use expect_test::{Expect, expect};

use bowline_store::{Condition, Row, layout};

use super::*;
use crate::deletion;
use crate::inbound::Source;

const DEVICES: &str = "devices.test@eu";

fn name(text: &str) -> TargetName {
    TargetName::new("iam.test/Project", "v1", text)
}

fn epoch(number: u64) -> Epoch {
    Epoch { ownership: 1, era: 0, number }
}

fn key_of(name: &TargetName) -> Key {
    Key { table: layout::resources(&name.version, &name.kind), name: name.name.clone() }
}

fn doomed(text: &str) -> Doomed {
    let name = name(text);
    Doomed {
        key: key_of(&name),
        version: 7,
        uid: RowId(u128::from(text.len() as u64)),
        names: vec![name.clone()],
        name,
        inbound: None,
        fresh: epoch(40),
        referrers: Vec::new(),
        has_more_blockers: false,
        has_more: false,
        answers: None,
        mark: None,
        policy: Vec::new(),
        left_behind: None,
    }
}

fn refers(text: &str, rule: Rule) -> Referrer {
    Referrer { key: key_of(&name(text)), paths: vec!["spec.project".to_owned()], rule }
}

fn facts(doomed: Vec<Doomed>) -> Facts {
    let trace = Trace { root_cause: "r".to_owned(), actor: "a".to_owned(), delete_millis: 5 };
    let spaces = vec!["v1".into()];
    Facts { doomed, unsets: Vec::new(), spaces, sequence: 30, trace }
}

fn device() -> DeploymentId {
    DEVICES.parse().unwrap()
}

/// Asked about at epoch 9 after 3 grants, `devices.test@eu` being a source.
fn asked(text: &str, holding: wire::check_response::Holding) -> Doomed {
    let mut inbound = Inbound::new(name(text), epoch(9));
    (inbound.grants, inbound.attempt) = (3, true);
    inbound.sources = vec![Source { deployment: device(), leaving: None }];
    let holdings = BTreeMap::from([(device(), holding)]);
    let answers = Answers { epoch: epoch(9), grants: 3, holdings };
    Doomed { inbound: Some((4, inbound)), answers: Some(answers), ..doomed(text) }
}

fn holds(is_blocked: bool, holds_any: bool) -> wire::check_response::Holding {
    let referrer = wire::Referrer {
        kind: "devices.test/Device".to_owned(),
        name: "devices/d".to_owned(),
        path: "project".to_owned(),
        ..wire::Referrer::default()
    };
    let (referrers, count) = (vec![referrer; usize::from(is_blocked)], 2 * u32::from(is_blocked));
    wire::check_response::Holding {
        is_blocked,
        holds_any,
        is_fenced: !is_blocked,
        count,
        referrers,
        version_mismatch: false,
    }
}

fn check(facts: &Facts, expected: Expect) {
    expected.assert_eq(&plan(facts).to_string());
}

#[test]
fn what_nobody_ever_referred_to_is_gone_at_once() {
    check(
        &facts(vec![doomed("p")]),
        expect![[r#"
            delete and purge p
              if v1 iam.test/Project p is at 7
              if no ~ ~inbound/iam.test/Project 00000000000000000000000000000001
              if nothing in v1 refers
              remove v1 iam.test/Project p"#]],
    );
}

#[test]
fn types_without_shadows_go_without_a_question() {
    let bare = Doomed { names: Vec::new(), ..doomed("p") };
    check(
        &facts(vec![bare]),
        expect![[r#"
            delete and purge p
              if v1 iam.test/Project p is at 7
              remove v1 iam.test/Project p"#]],
    );
}

#[test]
fn what_refers_here_by_other_rules_keeps_the_name_taken() {
    let cascade = vec![refers("child", Rule::CascadeAsync)];
    check(
        &facts(vec![Doomed { referrers: cascade, ..doomed("p") }]),
        expect![[r#"
            delete p
              if v1 iam.test/Project p is at 7
              if no ~ ~inbound/iam.test/Project 00000000000000000000000000000001
              if nothing in v1 blocks
              if no ~alias/v1 iam.test/Project p
              remove v1 iam.test/Project p
              put ~ ~inbound/iam.test/Project 00000000000000000000000000000001 at 31
              put deletions iam.test/Project 00000000000000000000000000000001 at 31
              put ~alias/v1 iam.test/Project p at 31
              p waits for this deployment"#]],
    );
}

#[test]
fn a_blocker_here_is_named() {
    let blocks = vec![refers("b", Rule::Block), refers("a", Rule::Block)];
    check(
        &facts(vec![Doomed { referrers: blocks, ..doomed("p") }]),
        expect![[r#"
            blocked
              here: 2
              iam.test/Project a (spec.project) refers to p
              iam.test/Project b (spec.project) refers to p"#]],
    );
}

#[test]
fn more_blockers_than_were_read_are_more_than_a_thousand() {
    let blocks = vec![refers("b", Rule::Block)];
    let facts = facts(vec![Doomed { referrers: blocks, has_more_blockers: true, ..doomed("p") }]);
    let Plan::Blocked(blocked) = plan(&facts) else { panic!("blocked") };
    assert_eq!(counted(blocked.total()), "more than 1000");
    assert_eq!(counted(COUNTED_MAX), "1000");
}

#[test]
fn what_goes_in_the_same_commit_does_not_block() {
    let child = Doomed { referrers: vec![refers("p", Rule::Block)], ..doomed("child") };
    let referrers = vec![refers("child", Rule::Block), refers("p", Rule::Block)];
    check(
        &facts(vec![Doomed { referrers, ..doomed("p") }, child]),
        expect![[r#"
            delete and purge p child
              if v1 iam.test/Project p is at 7
              if no ~ ~inbound/iam.test/Project 00000000000000000000000000000001
              if nothing in v1 refers
              if v1 iam.test/Project child is at 7
              if no ~ ~inbound/iam.test/Project 00000000000000000000000000000005
              if nothing in v1 refers
              remove v1 iam.test/Project p
              remove v1 iam.test/Project child"#]],
    );
}

#[test]
fn a_blocker_of_what_goes_along_blocks_all_of_it() {
    let child = Doomed { referrers: vec![refers("x", Rule::Block)], ..doomed("child") };
    let root = Doomed { referrers: vec![refers("child", Rule::CascadeSync)], ..doomed("p") };
    check(
        &facts(vec![root, child]),
        expect![[r#"
            blocked
              here: 1
              iam.test/Project x (spec.project) refers to child"#]],
    );
}

#[test]
fn what_is_unset_is_not_waited_for() {
    let root = Doomed { referrers: vec![refers("u", Rule::UnsetSync)], ..doomed("p") };
    let mut facts = facts(vec![root]);
    facts.unsets = {
        let key = key_of(&name("u"));
        vec![Unset { key: key.clone(), version: 2, write: Write::put(key, Row::new(3, "")) }]
    };
    check(
        &facts,
        expect![[r#"
            delete and purge p
              if v1 iam.test/Project p is at 7
              if no ~ ~inbound/iam.test/Project 00000000000000000000000000000001
              if nothing in v1 refers
              if v1 iam.test/Project u is at 2
              remove v1 iam.test/Project p
              put v1 iam.test/Project u at 3"#]],
    );
}

#[test]
fn sources_are_asked_first() {
    let unasked = Doomed { answers: None, ..asked("p", holds(false, false)) };
    check(
        &facts(vec![unasked]),
        expect![[r#"
            ask
              about 0: devices.test@eu"#]],
    );
}

#[test]
fn a_grant_after_the_attempt_means_to_ask_again() {
    let mut doomed = asked("p", holds(false, false));
    doomed.inbound.as_mut().unwrap().1.grants += 1;
    assert!(matches!(plan(&facts(vec![doomed])), Plan::NeedsAttempt(_)));
    let mut doomed = asked("p", holds(false, false));
    doomed.inbound.as_mut().unwrap().1.epoch = epoch(10);
    assert!(matches!(plan(&facts(vec![doomed])), Plan::NeedsAttempt(_)));
}

#[test]
fn a_source_that_did_not_answer_is_asked_again() {
    let mut doomed = asked("p", holds(false, false));
    doomed.answers.as_mut().unwrap().holdings.clear();
    assert!(matches!(plan(&facts(vec![doomed])), Plan::NeedsAttempt(_)));
}

#[test]
fn sources_that_hold_nothing_are_done_with() {
    check(
        &facts(vec![asked("p", holds(false, false))]),
        expect![[r#"
            delete and purge p
              if v1 iam.test/Project p is at 7
              if ~ ~inbound/iam.test/Project 00000000000000000000000000000001 is at 4
              if nothing in v1 refers
              remove v1 iam.test/Project p
              remove ~ ~inbound/iam.test/Project 00000000000000000000000000000001"#]],
    );
}

#[test]
fn sources_that_hold_something_are_waited_for() {
    check(
        &facts(vec![asked("p", holds(false, true))]),
        expect![[r#"
            delete p
              if v1 iam.test/Project p is at 7
              if ~ ~inbound/iam.test/Project 00000000000000000000000000000001 is at 4
              if nothing in v1 blocks
              if no ~alias/v1 iam.test/Project p
              remove v1 iam.test/Project p
              put ~ ~inbound/iam.test/Project 00000000000000000000000000000001 at 5
              put deletions iam.test/Project 00000000000000000000000000000001 at 31
              put ~alias/v1 iam.test/Project p at 31
              p waits for devices.test@eu"#]],
    );
}

#[test]
fn blockers_here_and_elsewhere_are_told_together() {
    let mut doomed = asked("p", holds(true, true));
    doomed.referrers = vec![refers("x", Rule::Block)];
    check(
        &facts(vec![doomed]),
        expect![[r#"
            blocked
              here: 1
              devices.test@eu: 2
              devices.test/Device devices/d (project) refers to p
              iam.test/Project x (spec.project) refers to p"#]],
    );
}

#[test]
fn all_versions_are_looked_through_by_every_name() {
    let mut doomed = doomed("p");
    doomed.names.push(TargetName::new("iam.test/Project", "v2", "orgs/o"));
    let spaces = ["v1".into(), "v2".into()];
    let ranges = doomed.ranges(&spaces);
    let spaces: Vec<_> = ranges.iter().map(|range| &*range.index.namespace).collect();
    assert_eq!(spaces, ["v1", "v1", "v2", "v2"]);
    assert_ne!(ranges[0].from, ranges[1].from);
}

proptest::proptest! {
    /// Whatever refers to whom: a verdict's commit leaves no blocker unseen, and nothing is purged that is waited for.
    #[test]
    fn a_verdict_requires_that_nothing_blocks(
        rules in proptest::collection::vec((0_usize..4, 0_u8..5, 0_usize..6), 0..8),
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut all: Vec<_> = names[..4].iter().map(|name| doomed(name)).collect();
        let by_number = [
            Rule::Block, Rule::CascadeSync, Rule::UnsetSync, Rule::CascadeAsync, Rule::UnsetAsync,
        ];
        for (target, rule, from) in &rules {
            all[*target].referrers.push(refers(names[*from], by_number[usize::from(*rule)]));
        }
        let stays = |(_, rule, from): &&(usize, u8, usize)| *rule == 0 && *from >= 4;
        let is_blocked = rules.iter().any(|rule| stays(&rule));
        match plan(&facts(all)) {
            Plan::Blocked(blocked) => {
                proptest::prop_assert_eq!(blocked.total() as usize, rules.iter().filter(stays).count());
            }
            Plan::Verdict(verdict) => {
                proptest::prop_assert!(!is_blocked);
                let ranges = verdict.conditions.iter().filter(|c| matches!(c, Condition::NoRowInRange { .. }));
                proptest::prop_assert_eq!(ranges.count(), 4);
                let outside = rules.iter().any(|(_, _, from)| *from >= 4);
                proptest::prop_assert_eq!(verdict.purges, !outside);
                proptest::prop_assert_eq!(verdict.waits_for.is_empty(), verdict.purges);
            }
            other => proptest::prop_assert!(false, "{other}"),
        }
    }
}

/// Of a type with asynchronous deletion.
fn held(text: &str, finalizers: &[&str]) -> Doomed {
    let plain = doomed(text);
    let write = Write::put(plain.key.clone(), Row::new(8, "marked"));
    let finalizers = finalizers.iter().map(|text| (*text).to_owned()).collect();
    Doomed { mark: Some(Mark { finalizers, write }), ..plain }
}

#[test]
fn what_is_held_is_marked_and_keeps_its_name() {
    check(
        &facts(vec![held("p", &["a", "b"])]),
        expect![[r#"
        delete p
          if v1 iam.test/Project p is at 7
          if no ~ ~inbound/iam.test/Project 00000000000000000000000000000001
          if nothing in v1 refers
          if no ~alias/v1 iam.test/Project p
          put v1 iam.test/Project p at 8
          put ~ ~inbound/iam.test/Project 00000000000000000000000000000001 at 31
          put deletions iam.test/Project 00000000000000000000000000000001 at 31
          put ~alias/v1 iam.test/Project p at 31
          p waits for finalizer a, finalizer b"#]],
    );
}

#[test]
fn what_could_be_held_and_is_not_is_gone_at_once() {
    let itself = vec![refers("p", Rule::Block)];
    let waiting = Doomed { referrers: itself, ..held("p", &[]) };
    assert_eq!(
        plan(&facts(vec![waiting])).to_string(),
        plan(&facts(vec![doomed("p")])).to_string()
    );
}

#[test]
fn what_waits_for_others_is_marked_too() {
    let waiting = Doomed { has_more: true, ..held("p", &[]) };
    let Plan::Verdict(verdict) = plan(&facts(vec![waiting])) else { panic!("a verdict") };
    assert_eq!(verdict.row_of(&doomed("p").key).map(|row| row.version), Some(8));
    let asked = Doomed { mark: held("p", &[]).mark, ..asked("p", holds(false, true)) };
    let Plan::Verdict(verdict) = plan(&facts(vec![asked])) else { panic!("a verdict") };
    assert_eq!(verdict.row_of(&doomed("p").key).map(|row| row.version), Some(8));
}

#[test]
fn what_stays_still_refers_and_makes_others_stay() {
    // The child is held, so it still refers to the parent, so that stays, and what that refers to waits for it.
    let referrers = |text, rule| vec![refers(text, rule)];
    let rack = Doomed { referrers: referrers("p", Rule::CascadeSync), ..doomed("rack") };
    let parent = Doomed { referrers: referrers("child", Rule::CascadeAsync), ..held("p", &[]) };
    let child = held("child", &["a"]);
    check(
        &facts(vec![rack, parent, child]),
        expect![[r#"
        delete rack p child
          if v1 iam.test/Project rack is at 7
          if no ~ ~inbound/iam.test/Project 00000000000000000000000000000004
          if nothing in v1 blocks
          if no ~alias/v1 iam.test/Project rack
          if v1 iam.test/Project p is at 7
          if no ~ ~inbound/iam.test/Project 00000000000000000000000000000001
          if nothing in v1 blocks
          if no ~alias/v1 iam.test/Project p
          if v1 iam.test/Project child is at 7
          if no ~ ~inbound/iam.test/Project 00000000000000000000000000000005
          if nothing in v1 refers
          if no ~alias/v1 iam.test/Project child
          remove v1 iam.test/Project rack
          put ~ ~inbound/iam.test/Project 00000000000000000000000000000004 at 31
          put deletions iam.test/Project 00000000000000000000000000000004 at 31
          put ~alias/v1 iam.test/Project rack at 31
          put v1 iam.test/Project p at 8
          put ~ ~inbound/iam.test/Project 00000000000000000000000000000001 at 31
          put deletions iam.test/Project 00000000000000000000000000000001 at 31
          put ~alias/v1 iam.test/Project p at 31
          put v1 iam.test/Project child at 8
          put ~ ~inbound/iam.test/Project 00000000000000000000000000000005 at 31
          put deletions iam.test/Project 00000000000000000000000000000005 at 31
          put ~alias/v1 iam.test/Project child at 31
          rack waits for this deployment
          p waits for this deployment
          child waits for finalizer a"#]],
    );
}

#[test]
fn what_stays_blocks() {
    let parent = Doomed {
        referrers: vec![refers("child", Rule::CascadeSync), refers("child", Rule::Block)],
        ..doomed("p")
    };
    let goes = held("child", &[]);
    let Plan::Verdict(_) = plan(&facts(vec![parent.clone(), goes])) else { panic!("a verdict") };
    check(
        &facts(vec![parent, held("child", &["a"])]),
        expect![[r#"
        blocked
          here: 1
          iam.test/Project child (spec.project) refers to p"#]],
    );
}

#[test]
fn what_is_left_behind_for_namesakes_is_written_when_the_name_is_free() {
    let key = key_of(&name("left"));
    let left =
        || (Condition::RowAbsent { key: key.clone() }, Write::put(key.clone(), Row::new(1, "")));
    let writes = |doomed: Doomed| {
        let doomed = Doomed { left_behind: Some(left()), ..doomed };
        let Plan::Verdict(verdict) = plan(&facts(vec![doomed])) else { panic!("a verdict") };
        verdict.row_of(&key).is_some()
    };
    assert!(writes(doomed("p")) && writes(held("p", &[])));
    assert!(!writes(held("p", &["a"])));
}

/// A policy holder: its deletion keeps its policy, and a row is left for a namesake.
fn holder(text: &str) -> Doomed {
    let key = Key { table: layout::common("~ownership"), name: format!("{text}|control").into() };
    let left = (Condition::RowAbsent { key: key.clone() }, Write::put(key, Row::new(2, "")));
    Doomed { policy: b"policy".to_vec(), left_behind: Some(left), ..doomed(text) }
}

#[test]
fn a_holder_that_is_gone_at_once_leaves_something_for_a_namesake() {
    check(
        &facts(vec![holder("p")]),
        expect![[r#"
        delete and purge p
          if v1 iam.test/Project p is at 7
          if no ~ ~inbound/iam.test/Project 00000000000000000000000000000001
          if nothing in v1 refers
          if no ~ ~ownership p|control
          remove v1 iam.test/Project p
          put ~ ~ownership p|control at 2"#]],
    );
}

#[test]
fn a_holder_whose_name_stays_taken_keeps_its_policy_and_leaves_nothing_yet() {
    let cascade = vec![refers("child", Rule::CascadeAsync)];
    let facts = facts(vec![Doomed { referrers: cascade, ..holder("p") }]);
    check(
        &facts,
        expect![[r#"
        delete p
          if v1 iam.test/Project p is at 7
          if no ~ ~inbound/iam.test/Project 00000000000000000000000000000001
          if nothing in v1 blocks
          if no ~alias/v1 iam.test/Project p
          remove v1 iam.test/Project p
          put ~ ~inbound/iam.test/Project 00000000000000000000000000000001 at 31
          put deletions iam.test/Project 00000000000000000000000000000001 at 31
          put ~alias/v1 iam.test/Project p at 31
          p waits for this deployment"#]],
    );
    let Plan::Verdict(verdict) = plan(&facts) else { panic!("nothing blocks") };
    let kept = verdict.writes.iter().find_map(|write| match write {
        Write::Put { key, row, .. } if &*key.table.namespace == deletion::NAMESPACE => {
            Some(deletion::of_row(row).unwrap().policy)
        }
        _ => None,
    });
    assert_eq!(kept, Some(b"policy".to_vec()));
}
