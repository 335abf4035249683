//! Ownership rows: what they say, and what is kept of them.

use bowline_store::{Batch, CommitError, memory::Memory};

use super::*;
use crate::place::Holder;

fn place(part: Part) -> Place {
    let holder = Holder { kind: "iam.test/Project".into(), name: "projects/p".into() };
    Place { holder: Some(holder), part }
}

fn claim(owner: &str, epoch: u64) -> Claim {
    Claim { owner: owner.into(), epoch }
}

async fn commit(
    backend: &Arc<dyn Backend>,
    conditions: Vec<Condition>,
    writes: Vec<Write>,
) -> bool {
    match backend.commit(Batch { conditions, writes }).await {
        Ok(_) => true,
        Err(CommitError::ConditionFailed { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

fn world() -> (Arc<dyn Backend>, Arc<Ownership>) {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    (backend.clone(), Ownership::new(backend))
}

#[tokio::test]
async fn rows_are_there_after_a_restart() {
    let (backend, _) = world();
    let control = place(Part::Control);
    let north = place(Part::Region("north".into()));
    let writes = vec![put(&control, &claim("south", 3)), put(&north, &claim("", 2))];
    assert!(commit(&backend, vec![], writes).await);
    let rows = Ownership::new(backend);
    rows.load().await.unwrap();
    assert_eq!(rows.claim(&control), Some(claim("south", 3)));
    assert_eq!(rows.claim(&north), Some(claim("", 2)));
    assert_eq!(rows.claim(&place(Part::Region("south".into()))), None);
}

#[tokio::test]
async fn more_rows_than_a_page_are_all_read() {
    let (backend, rows) = world();
    let part = |n: usize| place(Part::Region(format!("r{n}").into()));
    let writes = (0..PAGE + 7).map(|n| put(&part(n), &claim("x", 2))).collect();
    assert!(commit(&backend, vec![], writes).await);
    rows.load().await.unwrap();
    assert!((0..PAGE + 7).all(|n| rows.claim(&part(n)).is_some()));
}

#[tokio::test]
async fn who_lost_the_place_cannot_commit() {
    let (backend, rows) = world();
    let control = place(Part::Control);
    let seen = rows.claim(&control);
    assert!(commit(&backend, vec![unchanged(&control, seen.as_ref())], vec![]).await);
    assert!(commit(&backend, vec![], vec![put(&control, &claim("south", 2))]).await);
    assert!(!commit(&backend, vec![unchanged(&control, seen.as_ref())], vec![]).await);
    let seen = rows.refresh(&control).await.unwrap();
    assert!(commit(&backend, vec![unchanged(&control, seen.as_ref())], vec![]).await);
}

#[tokio::test]
async fn who_lost_the_place_and_got_it_back_cannot_commit_what_began_before() {
    let (backend, rows) = world();
    let control = place(Part::Control);
    for (epoch, owner) in [(2, "north"), (3, "south"), (4, "north")] {
        let seen = rows.refresh(&control).await.unwrap();
        let first = (epoch == 2).then(|| unchanged(&control, seen.as_ref()));
        assert!(
            commit(
                &backend,
                first.into_iter().collect(),
                vec![put(&control, &claim(owner, epoch))]
            )
            .await
        );
    }
    let began = unchanged(&control, Some(&claim("north", 2)));
    assert!(!commit(&backend, vec![began], vec![]).await);
    let now = unchanged(&control, Some(&claim("north", 4)));
    assert!(commit(&backend, vec![now], vec![]).await);
}

#[test]
fn an_older_claim_never_replaces_a_newer_one() {
    let (_, rows) = world();
    let control = place(Part::Control);
    rows.note(&control, claim("south", 3));
    rows.note(&control, claim("north", 2));
    assert_eq!(rows.claim(&control), Some(claim("south", 3)));
}

#[test]
fn places_have_rows_of_their_own() {
    let none = Place { holder: None, part: Part::Control };
    let names = [none.clone(), Place { part: Part::Region("a".into()), ..none }]
        .into_iter()
        .chain([place(Part::Control), place(Part::Region("control".into()))])
        .map(|place| key(&place).name.to_string());
    expect_test::expect![[r#"
        [
            "|control",
            "|region/a",
            "projects/p|control",
            "projects/p|region/control",
        ]
    "#]]
    .assert_debug_eq(&names.collect::<Vec<_>>());
}
