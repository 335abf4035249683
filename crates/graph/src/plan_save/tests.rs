//! Plans of saves, printed; and laws that hold for all of them.

use std::collections::BTreeSet;

use expect_test::expect;
use proptest::prelude::*;

use super::*;

fn target(name: &str) -> TargetName {
    TargetName::new("iam.test/Project", "v1", name)
}

fn entry(path: &str, name: &str, behaviour: Behaviour) -> Entry {
    Entry { path: path.to_owned(), target: target(name), behaviour, is_sync: false }
}

fn held(path: &str, name: &str, behaviour: Behaviour) -> Held {
    Held::of(&entry(path, name, behaviour), RowId(1), Some("eu".into()))
}

fn own() -> TargetName {
    TargetName::new("devices.test/Device", "v1", "projects/p/devices/d")
}

fn saved(own: &TargetName) -> Saved<'_> {
    Saved { own, uid: RowId(77), task_id: [3; 16], now_millis: 9 }
}

fn grant(blockade: Option<[u8; 16]>) -> Footing {
    let epoch = Epoch { ownership: 1, era: 2, number: 3 };
    let owner = DeploymentId::new("iam.test", "eu");
    Footing::Granted(Grant { owner, epoch, uid: RowId(5), blockade })
}

#[test]
fn a_local_reference_is_a_condition_and_a_granted_one_a_fence_and_a_confirmation() {
    let held = [held("kept", "projects/kept", Behaviour::Block)];
    let entries = [
        entry("", "projects/kept", Behaviour::Cascade),
        entry("far", "projects/far", Behaviour::Block),
        entry("near", "projects/near", Behaviour::Unset),
        entry("other", "projects/far", Behaviour::Unset),
    ];
    let footings = BTreeMap::from([
        (target("projects/far"), grant(Some([8; 16]))),
        (target("projects/near"), Footing::Local { uid: RowId(4) }),
    ]);
    let plan = plan(&saved(&own()), diff(&held, &entries), &footings).unwrap();
    expect![[r#"
        holds parent: Cascade iam.test/Project projects/kept (v1) in eu
        holds far: Block iam.test/Project projects/far (v1) in eu
        holds near: Unset iam.test/Project projects/near (v1)
        holds other: Unset iam.test/Project projects/far (v1) in eu
        lets go of iam.test/Project projects/kept (v1)
        requires no fence above 1.2.3 at iam.test/Project|v1|projects/far
        requires active projects/near
        leaves to confirm projects/far at iam.test@eu
    "#]]
    .assert_eq(&plan.to_string());
    let task = plan.task_write();
    assert!(matches!(task, Some(Write::Put { key, .. }) if key.table == task::table()));
}

#[test]
fn a_grant_without_a_blockade_leaves_nothing_to_do() {
    let entries = [entry("far", "projects/far", Behaviour::Block)];
    let footings = BTreeMap::from([(target("projects/far"), grant(None))]);
    let plan = plan(&saved(&own()), diff(&[], &entries), &footings).unwrap();
    assert_eq!((plan.task_write(), plan.conditions.len()), (None, 1));
}

#[test]
fn a_resource_that_refers_to_itself_requires_nothing() {
    let own = own();
    let itself = Entry { target: own.clone(), ..entry("peer", "", Behaviour::Block) };
    let diff = diff(&[], &[itself]);
    assert!(diff.wanted(&own).is_empty());
    let plan = plan(&saved(&own), diff, &BTreeMap::new()).unwrap();
    assert_eq!(plan.references[0].uid, RowId(77));
    assert!(plan.conditions.is_empty());
}

#[test]
fn a_stricter_behaviour_is_new_and_a_looser_one_or_another_path_is_not() {
    let before = [held("a", "projects/p", Behaviour::Cascade)];
    let new = |behaviour| diff(&before, &[entry("b", "projects/p", behaviour)]).new.len();
    assert_eq!((new(Behaviour::Block), new(Behaviour::Cascade), new(Behaviour::Unset)), (1, 0, 0));
}

#[test]
fn what_nobody_looked_up_is_a_mistake() {
    let diff = diff(&[], &[entry("a", "projects/p", Behaviour::Block)]);
    let target = target("projects/p");
    assert_eq!(plan(&saved(&own()), diff, &BTreeMap::new()), Err(Unfounded { target }));
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let behaviour =
        prop_oneof![Just(Behaviour::Block), Just(Behaviour::Cascade), Just(Behaviour::Unset)];
    ("[ab]", "[xyz]", behaviour, any::<bool>()).prop_map(|(path, name, behaviour, is_sync)| Entry {
        is_sync,
        ..entry(&path, &name, behaviour)
    })
}

fn sorted(entries: Vec<Entry>) -> Vec<Entry> {
    BTreeSet::from_iter(entries).into_iter().collect()
}

proptest! {
    #[test]
    fn the_plan_holds_exactly_what_the_document_says_and_every_new_tie_has_its_condition(
        before in prop::collection::vec(any_entry(), 0..5),
        after in prop::collection::vec(any_entry(), 0..5),
        local in prop::collection::btree_set("[xyz]", 0..3),
    ) {
        let before: Vec<_> =
            sorted(before).iter().map(|entry| Held::of(entry, RowId(1), None)).collect();
        let after = sorted(after);
        let own = own();
        let diff = diff(&before, &after);
        let wanted = diff.wanted(&own);
        let footing = |target: &TargetName| match local.contains(&*target.name) {
            true => Footing::Local { uid: RowId(2) },
            false => grant(Some([1; 16])),
        };
        let footings = wanted.keys().map(|target| (target.clone(), footing(target)));
        let footings: BTreeMap<_, _> = footings.collect();
        let plan = plan(&saved(&own), diff, &footings).unwrap();

        let holds: Vec<_> = plan.references.iter().map(Held::entry).collect();
        prop_assert_eq!(&holds, &after);

        // The rule said anew: a target needs a condition iff some entry is stricter than all that was held of it.
        for name in ["x", "y", "z"] {
            let target = target(name);
            let held = before.iter().filter(|held| held.target == target).map(|held| held.behaviour).min();
            let says = after.iter().filter(|entry| entry.target == target).map(|entry| entry.behaviour).min();
            let needs = says.is_some_and(|says| held.is_none_or(|held| says < held));
            let is_local = local.contains(name);
            let condition = match is_local {
                true => is_active(&target, RowId(2)),
                false => fence::condition(&target, Epoch { ownership: 1, era: 2, number: 3 }),
            };
            prop_assert_eq!(plan.conditions.contains(&condition), needs);
            let confirmations = plan.task.iter().flat_map(|task| &task.confirmations);
            let confirms = confirmations.filter(|c| c.name == name).count();
            prop_assert_eq!(confirms, usize::from(needs && !is_local));
        }
        prop_assert_eq!(plan.conditions.len(), wanted.len());
    }
}

#[test]
fn what_is_not_held_any_more_or_less_strictly_is_let_go_of() {
    let held = [
        held("gone", "projects/gone", Behaviour::Cascade),
        held("looser", "projects/looser", Behaviour::Block),
        held("moved", "projects/moved", Behaviour::Block),
        held("same", "projects/same", Behaviour::Block),
        held("twice", "projects/same", Behaviour::Unset),
    ];
    let entries = [
        entry("elsewhere", "projects/moved", Behaviour::Block),
        entry("same", "projects/same", Behaviour::Block),
        entry("unset", "projects/looser", Behaviour::Unset),
    ];
    let plan = plan(&saved(&own()), diff(&held, &entries), &BTreeMap::new()).unwrap();
    expect![[r#"
        holds elsewhere: Block iam.test/Project projects/moved (v1) in eu
        holds same: Block iam.test/Project projects/same (v1) in eu
        holds unset: Unset iam.test/Project projects/looser (v1) in eu
        lets go of iam.test/Project projects/gone (v1)
        lets go of iam.test/Project projects/looser (v1)
    "#]]
    .assert_eq(&plan.to_string());
}

#[test]
fn what_is_being_deleted_may_lose_references_and_gains_none() {
    let before = [
        held("a", "projects/kept", Behaviour::Cascade),
        held("b", "projects/lost", Behaviour::Block),
    ];
    let kept = entry("a", "projects/kept", Behaviour::Cascade);
    let left = |said: &[Entry], entries: &[Entry]| remaining(&before, said, entries);
    assert_eq!(left(&[], std::slice::from_ref(&kept)), Ok(vec![before[0].clone()]));
    // The schema has become stricter since, and the field has another name.
    let stricter = [entry("c", "projects/kept", Behaviour::Block)];
    let moved = Held { path: "c".to_owned(), ..before[0].clone() };
    assert_eq!(left(&stricter, &stricter), Ok(vec![moved]));
    // A client makes it stricter.
    assert_eq!(left(std::slice::from_ref(&kept), &stricter), Err(stricter.to_vec()));
    let looser = entry("c", "projects/kept", Behaviour::Unset);
    let by_another_field =
        Held { path: "c".to_owned(), behaviour: Behaviour::Unset, ..before[0].clone() };
    assert_eq!(left(&[], &[looser]), Ok(vec![by_another_field]));
    let new = entry("a", "projects/new", Behaviour::Unset);
    assert_eq!(left(&[], &[kept, new.clone()]), Err(vec![new]));
}
