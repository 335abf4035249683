//! Tests of the agenda: what is due, what waits, what is forgotten.

use super::*;

const NOW: Duration = Duration::from_secs(100);

fn item(queue: &str, id: &str) -> Item<()> {
    Item { queue: queue.into(), id: id.into(), since_millis: 7, is_urgent: false, work: () }
}

fn pass(agenda: &mut Agenda<()>, items: &[(&str, &str)], now: Duration) -> Vec<String> {
    agenda.begin();
    items.iter().for_each(|(queue, id)| agenda.offer(item(queue, id), now));
    agenda.end();
    let taken = agenda.take(now);
    let text = |(queue, items): &(Arc<str>, Vec<Item<()>>)| {
        let ids: Vec<_> = items.iter().map(|item| &*item.id).collect();
        format!("{queue}: {}", ids.join(" "))
    };
    taken.iter().map(text).collect()
}

fn finish(agenda: &mut Agenda<()>, queue: &str, ids: &[&str], fates: &[(&str, Fate)]) -> Turned {
    let ids: Vec<Arc<str>> = ids.iter().map(|id| (*id).into()).collect();
    let fates = fates.iter().map(|(id, fate)| ((*id).into(), fate.clone())).collect();
    agenda.finish(&queue.into(), &ids, fates, NOW, 255)
}

#[test]
fn a_queue_that_fails_waits_and_the_others_go_on() {
    let mut agenda = Agenda::default();
    let all = [("a", "1"), ("b", "1")];
    assert_eq!(pass(&mut agenda, &all, NOW), ["a: 1", "b: 1"]);
    assert_eq!(agenda.fail(&"a".into(), "no answer".to_owned(), NOW, 255), Turned::Bad);
    assert_eq!(finish(&mut agenda, "b", &["1"], &[("1", Fate::Again)]), Turned::Nothing);
    assert_eq!(pass(&mut agenda, &all, NOW), ["b: 1"]);
    assert_eq!(agenda.due(), Some(NOW + Duration::from_millis(100)));
    expect_test::expect![[r#"
        c a 0..1024: 1 pending, failed 1 times: no answer
        c b 0..1024: 1 pending"#]]
    .assert_eq(&shown(&agenda));
    let later = NOW + Duration::from_secs(1);
    assert_eq!(pass(&mut agenda, &all, later), ["a: 1"]);
    assert_eq!(agenda.fail(&"a".into(), "no answer".to_owned(), later, 255), Turned::Nothing);
    let later = NOW + Duration::from_secs(2);
    assert_eq!(pass(&mut agenda, &all, later), ["a: 1"]);
    assert_eq!(finish(&mut agenda, "a", &["1"], &[]), Turned::Good);
}

#[test]
fn what_waits_in_a_queue_does_not_hold_up_what_comes_after_it() {
    let mut agenda = Agenda::default();
    assert_eq!(pass(&mut agenda, &[("a", "1")], NOW), ["a: 1"]);
    finish(&mut agenda, "a", &["1"], &[("1", Fate::Waits("blocked by x".to_owned()))]);
    assert_eq!(pass(&mut agenda, &[("a", "1"), ("a", "2")], NOW), ["a: 2"]);
    expect_test::expect!["c a 0..1024: 2 pending, waits: blocked by x"].assert_eq(&shown(&agenda));
    finish(&mut agenda, "a", &["2"], &[]);
    let later = NOW + Duration::from_millis(100);
    assert_eq!(pass(&mut agenda, &[("a", "1")], later), ["a: 1"]);
}

#[test]
fn what_is_done_and_found_again_is_not_done_all_the_time() {
    let mut agenda = Agenda::default();
    assert_eq!(pass(&mut agenda, &[("a", "1")], NOW), ["a: 1"]);
    finish(&mut agenda, "a", &["1"], &[]);
    assert!(pass(&mut agenda, &[("a", "1")], NOW).is_empty());
    assert_eq!(agenda.due(), Some(NOW + Duration::from_millis(100)));
}

#[test]
fn what_is_urgent_is_tried_at_once_however_often_it_came_to_nothing() {
    let mut agenda = Agenda::default();
    let waits = || [("1", Fate::Waits("blocked by x".to_owned()))];
    let mut now = NOW;
    for _ in 0..20 {
        assert_eq!(pass(&mut agenda, &[("a", "1")], now), ["a: 1"]);
        finish_at(&mut agenda, now, &waits());
        now = agenda.due().unwrap();
    }
    assert_eq!(pass(&mut agenda, &[("a", "1")], now), ["a: 1"]);
    finish_at(&mut agenda, now, &waits());
    assert_eq!(agenda.due(), Some(now + crate::retry::LONGEST));
    agenda.begin();
    agenda.offer(Item { is_urgent: true, ..item("a", "1") }, now);
    agenda.end();
    assert_eq!(agenda.take(now).len(), 1);
    // What becomes urgent while it is worked at is tried again soon: that attempt may have looked too early.
    agenda.begin();
    agenda.offer(Item { is_urgent: true, ..item("a", "1") }, now);
    agenda.end();
    finish_at(&mut agenda, now, &waits());
    assert_eq!(pass(&mut agenda, &[("a", "1")], now), Vec::<String>::new());
    assert_eq!(agenda.due(), Some(now + Duration::from_millis(100)));
}

fn finish_at(agenda: &mut Agenda<()>, now: Duration, fates: &[(&str, Fate)]) {
    let fates = fates.iter().map(|(id, fate)| ((*id).into(), fate.clone())).collect();
    agenda.finish(&"a".into(), &["1".into()], fates, now, 255);
}

#[test]
fn what_is_no_more_is_forgotten() {
    let mut agenda = Agenda::default();
    pass(&mut agenda, &[("a", "1"), ("a", "2")], NOW);
    finish(&mut agenda, "a", &["1", "2"], &[("2", Fate::Waits("w".to_owned()))]);
    pass(&mut agenda, &[], NOW);
    assert!(!agenda.has_pending());
    assert_eq!(shown(&agenda), "");
    assert_eq!(pass(&mut agenda, &[("a", "2")], NOW), ["a: 2"]);
}

#[test]
fn a_batch_is_bounded_and_the_rest_is_due_at_once() {
    let mut agenda = Agenda::default();
    agenda.begin();
    let ids: Vec<String> = (0..BATCH_MAX + 9).map(|id| format!("{id:05}")).collect();
    ids.iter().for_each(|id| agenda.offer(item("a", id), NOW));
    agenda.end();
    let (queue, taken) = agenda.take(NOW).remove(0);
    assert_eq!(taken.len(), BATCH_MAX);
    let taken: Vec<_> = taken.into_iter().map(|item| item.id).collect();
    agenda.finish(&queue, &taken, BTreeMap::new(), NOW, 0);
    assert!(agenda.due().unwrap() <= NOW);
}

#[test]
fn no_more_queues_are_at_work_than_may_be() {
    let mut agenda = Agenda::default();
    let names: Vec<String> = (0..QUEUES_AT_WORK_MAX + 5).map(|n| format!("{n:03}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(pass(&mut agenda, &all, NOW).len(), QUEUES_AT_WORK_MAX);
    assert_eq!(pass(&mut agenda, &all, NOW).len(), 0);
    finish(&mut agenda, "003", &["1"], &[]);
    assert_eq!(pass(&mut agenda, &all, NOW), ["064: 1"]);
}

fn shown(agenda: &Agenda<()>) -> String {
    let status = agenda.status(&"c".into(), Shards::ALL);
    status.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
