//! The protocol without a mistake: nothing that must hold is violated in any state of these worlds, and what must be
//! possible is. Larger worlds are explored by the example.

use bowline_model::{Goal, POSSIBLE, World, explore, named, recovery};

const THREADS: usize = 2;

/// What must be possible and is not, and what must hold and does not.
fn amiss(name: &str) -> Vec<String> {
    let world = named(name).expect("a named world");
    let report = explore(world, THREADS);
    assert!(report.states > 1_000, "{name}: {} states", report.states);
    let absent = POSSIBLE.iter().filter(|p| !report.possible.contains_key(*p));
    let violated = report.violations.iter().map(|f| format!("{}\n{}", f.property, f.trace));
    absent.map(|p| format!("does not happen: {p}")).chain(violated).collect()
}

#[test]
fn it_holds_in_the_smallest_world() {
    assert_eq!(amiss("small"), [""; 0]);
}

#[test]
fn it_holds_at_one_source_through_any_history() {
    assert_eq!(amiss("one-source"), [""; 0]);
}

#[test]
fn it_holds_with_two_saves_at_once() {
    assert_eq!(amiss("two-saves"), [""; 0]);
}

#[test]
fn it_holds_with_two_sources() {
    assert_eq!(amiss("two-sources"), [""; 0]);
}

#[test]
fn it_holds_when_answers_are_read_and_committed_in_two_steps() {
    assert_eq!(amiss("slow-answers"), [""; 0]);
}

#[test]
fn it_holds_when_the_target_gets_another_owner() {
    assert_eq!(amiss("new-owner"), [""; 0]);
}

#[test]
fn it_holds_without_grants_that_write_nothing() {
    assert_eq!(amiss("writing-grants"), ["does not happen: a grant writes nothing"]);
}

#[test]
fn it_holds_where_no_two_states_are_taken_for_one() {
    let anew = [
        "a target made anew is referred to",
        "a target made anew is referred to where its namesake was fenced",
    ];
    assert_eq!(
        amiss("unreduced"),
        anew.map(|p| format!("does not happen: {p}")),
        "one target only"
    );
}

#[test]
fn a_save_can_land_whatever_has_happened() {
    let world =
        World { raises: None, creations: None, questions: 1, clearing: true, ..World::SMALL };
    for world in [world, World { fences_dropped: false, ..world }] {
        let found = recovery(world, Goal::SaveLands);
        assert!(found.concerned > 100, "{found:?}");
        assert_eq!(found.stuck, None);
    }
}

#[test]
fn a_name_can_become_free_whatever_has_happened() {
    let world =
        World { raises: None, creations: None, questions: 1, clearing: true, ..World::SMALL };
    let found = recovery(World { local: true, ..world }, Goal::NameIsFree);
    assert!(found.concerned > 100, "{found:?}");
    assert_eq!(found.stuck, None);
}
