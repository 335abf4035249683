//! What answers bind.

use super::*;
use crate::aside::Held;

const READ: Position = Position { era: 2, sequence: 40 };

fn names() -> Vec<TargetName> {
    vec![
        TargetName::new("iam.test/Project", "v1", "projects/p"),
        TargetName::new("iam.test/Project", "v2", "projects/p"),
    ]
}

fn epoch(number: u64) -> Epoch {
    Epoch { ownership: 1, era: 2, number }
}

fn question() -> Question {
    let versions = ["v1", "v2", "v3"].map(Arc::from).into();
    Question { uid: RowId(7), epoch: epoch(9), names: names(), versions }
}

fn fence_row(at: u64) -> Row {
    let fence = Fence { epoch: epoch(at), written: Position { era: 2, sequence: 3 } };
    let (_, Write::Put { row, .. }) = fence.put(&names()[0], None) else { panic!() };
    row
}

fn reply(about: About, facts: Facts) -> String {
    question().reply(about, facts, &["v1".into(), "v3".into()], READ).to_string()
}

fn nothing() -> Facts {
    Facts { fences: vec![None, None], ..Facts::default() }
}

#[test]
fn what_holds_nothing_denies_everything_and_fences() {
    let expected = expect_test::expect![[r#"
        holds nothing, fenced
          if nothing in a range of v1
          if nothing in a range of v1
          if nothing in a range of v3
          if nothing in a range of v3
          if no iam.test/Project|v1|projects/p
          if no iam.test/Project|v2|projects/p
          fence iam.test/Project|v1|projects/p at 1.2.9
          fence iam.test/Project|v2|projects/p at 1.2.9"#]];
    expected.assert_eq(&reply(About::Blockers, nothing()));
    expected.assert_eq(&reply(About::Referrers, nothing()));
}

#[test]
fn what_is_blocked_is_not_fenced() {
    let facts = Facts { is_blocked: true, holds_any: true, count: 3, ..nothing() };
    expect_test::expect!["blocked, holds some"].assert_eq(&reply(About::Blockers, facts));
}

#[test]
fn who_still_refers_is_fenced_without_conditions_on_what_it_holds() {
    let facts = Facts { is_blocked: true, holds_any: true, count: 3, ..nothing() };
    expect_test::expect![[r#"
        blocked, holds some, fenced
          if no iam.test/Project|v1|projects/p
          if no iam.test/Project|v2|projects/p
          fence iam.test/Project|v1|projects/p at 1.2.9
          fence iam.test/Project|v2|projects/p at 1.2.9"#]]
    .assert_eq(&reply(About::Referrers, facts));
}

#[test]
fn what_holds_something_that_does_not_block_denies_only_what_blocks() {
    let facts = Facts { holds_any: true, ..nothing() };
    let whole = question().reply(About::Blockers, nothing(), &["v1".into()], READ);
    let blocking = question().reply(About::Blockers, facts, &["v1".into()], READ);
    let Condition::NoRowInRange { range: Range::Index(whole) } = &whole.conditions[0] else {
        panic!()
    };
    let Condition::NoRowInRange { range: Range::Index(blocking) } = &blocking.conditions[0] else {
        panic!()
    };
    assert_eq!(*whole, index::range_to(&"v1".into(), &names()[0], RowId(7)));
    let by = index::range_by(&"v1".into(), &names()[0], RowId(7), Rule::Block);
    assert_eq!(*blocking, by);
}

#[test]
fn a_fence_is_raised_and_never_lowered() {
    let facts = |first, second| Facts { fences: vec![first, second], ..nothing() };
    // The same question once more, and a late one.
    let is_high = facts(Some(fence_row(9)), Some(fence_row(12)));
    expect_test::expect!["holds nothing, fenced"].assert_eq(&reply(About::Blockers, is_high));
    expect_test::expect![[r#"
        holds nothing, fenced
          if nothing in a range of v1
          if nothing in a range of v1
          if nothing in a range of v3
          if nothing in a range of v3
          if iam.test/Project|v1|projects/p at 4
          fence iam.test/Project|v1|projects/p at 1.2.9"#]]
    .assert_eq(&reply(About::Blockers, facts(Some(fence_row(8)), Some(fence_row(12)))));
}

#[test]
fn the_first_by_kind_and_name_are_named_and_all_are_counted_once() {
    let key = |kind: &str, name: &str| Key {
        table: bowline_store::layout::resources("v1", kind),
        name: name.into(),
    };
    let held = |path: &str, behaviour| Held {
        path: path.to_owned(),
        target: names()[0].clone(),
        behaviour,
        is_sync: false,
        uid: RowId(7),
        region: None,
    };
    let references =
        vec![held("a", Behaviour::Block), held("b", Behaviour::Unset), held("c", Behaviour::Block)];
    let row = Row { aside: Aside { references, ..Aside::default() }.encode(), ..Row::default() };
    let mut tally = Tally::default();
    for number in (0..30).rev() {
        let kind = if number % 2 == 0 { "d.test/Device" } else { "d.test/Alarm" };
        let key = key(kind, &format!("x/{number:02}"));
        tally.note(&key, &row, About::Blockers, &names());
        tally.note(&key, &row, About::Blockers, &names());
    }
    assert_eq!(tally.count(), 30);
    let named = tally.into_referrers();
    let named: Vec<_> = named.iter().map(|r| format!("{} {} {}", r.kind, r.name, r.path)).collect();
    assert_eq!(named.len(), NAMED_MAX);
    assert_eq!(named[..3], ["d.test/Alarm x/01 a", "d.test/Alarm x/01 c", "d.test/Alarm x/03 a"]);
}

#[test]
fn counting_ends() {
    let mut tally = Tally::default();
    let table = bowline_store::layout::resources("v1", "d.test/Device");
    for number in 0..2 * COUNT_MAX {
        let key = Key { table: table.clone(), name: format!("x/{number}").into() };
        tally.note(&key, &Row::default(), About::Referrers, &names());
    }
    assert_eq!((tally.count(), tally.is_full()), (COUNT_MAX, true));
}
