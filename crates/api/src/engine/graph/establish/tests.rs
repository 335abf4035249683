//! What comes of answers to `EstablishReferences`: grants, refusals, answers that make no sense.

use establish_references_response::{Granted, Refused};
use expect_test::expect;

use super::*;

fn target(name: &str) -> TargetName {
    TargetName::new("iam.test/Project", "v1", name)
}

fn message(names: &[&str]) -> Message {
    let wanted = names.iter().map(|name| ((target(name), Behaviour::Block, None), [7; 16]));
    Message { owner: DeploymentId::new("iam.test", "eu"), wanted: wanted.collect() }
}

fn granted(uid: &[u8], has_blockade: bool) -> Granted {
    let epoch = Epoch { ownership: 1, era: 2, number: 3 };
    Granted { epoch: Some(epoch.into()), uid: uid.to_vec(), has_blockade }
}

fn refused(index: u32, why: Refusal) -> Refused {
    let message = "the service is not imported".to_owned();
    Refused { index, why: why.into(), message, retry_millis: 20, region: String::new() }
}

fn after(answer: EstablishReferencesResponse) -> Answers {
    let mut answers = Answers::default();
    answers.take(message(&["projects/p", "projects/q"]), answer);
    answers
}

#[test]
fn a_grant_is_kept_with_its_blockade_if_it_has_one() {
    let granted = vec![granted(&[0; 16], true), granted(&[1; 16], false)];
    let answers = after(EstablishReferencesResponse { granted, refused: Vec::new() });
    let blockades: Vec<_> = answers.granted.iter().map(|(_, grant)| grant.blockade).collect();
    assert_eq!(blockades, [Some([7; 16]), None]);
    assert!(answers.failure.is_none());
}

#[test]
fn refusals_are_final_or_worth_another_round() {
    let refused = vec![
        refused(0, Refusal::DeletionInProgress),
        refused(1, Refusal::NotOwned),
        refused(0, Refusal::NotFound),
        refused(1, Refusal::NotAllowed),
    ];
    let answers = after(EstablishReferencesResponse { granted: Vec::new(), refused });
    assert_eq!(answers.wait, Some(Duration::from_millis(20)));
    assert_eq!(answers.moved, [target("projects/q")]);
    let refused = Why::Refused("the service is not imported".to_owned());
    let problems = [(target("projects/p"), Why::NotFound), (target("projects/q"), refused)];
    assert_eq!(answers.problems, problems);
}

#[test]
fn an_answer_that_does_not_fit_is_no_grant() {
    let short = vec![granted(&[0; 16], true)];
    let bad_uid = vec![granted(&[0; 16], true), granted(&[0; 3], true)];
    let answers = [
        EstablishReferencesResponse { granted: short.clone(), refused: Vec::new() },
        EstablishReferencesResponse { granted: bad_uid, refused: Vec::new() },
        EstablishReferencesResponse {
            granted: Vec::new(),
            refused: vec![refused(9, Refusal::NotFound)],
        },
        EstablishReferencesResponse {
            granted: short,
            refused: vec![refused(0, Refusal::NotFound)],
        },
        EstablishReferencesResponse::default(),
    ];
    for answer in answers {
        let failure = after(answer.clone()).failure;
        assert_eq!(failure.map(|status| status.reason), Some(Reason::Internal), "{answer:?}");
    }
}

#[test]
fn blockades_are_given_back_by_deployment_and_only_where_there_are_any() {
    let grant = |owner: &str, blockade| {
        let epoch = Epoch { ownership: 1, era: 2, number: 3 };
        Footing::Granted(Grant { owner: owner.parse().unwrap(), epoch, uid: RowId(5), blockade })
    };
    let footings = BTreeMap::from([
        (target("a"), grant("iam.test@eu", Some([1; 16]))),
        (target("b"), grant("iam.test@eu", Some([2; 16]))),
        (target("c"), grant("iam.test@us", None)),
        (target("d"), Footing::Local { uid: RowId(1) }),
    ]);
    let requests = withdrawals(&footings);
    let lines =
        requests.iter().map(|(owner, request)| format!("{owner}: {}", request.blockades.len()));
    expect!["iam.test@eu: 2"].assert_eq(&lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn silence_is_passed_on_and_a_deployment_that_does_not_take_the_question_refuses() {
    let owner = DeploymentId::new("iam.test", "eu");
    let told = |reason| no_answer(&owner, Status::new(reason, "so")).reason;
    assert_eq!(told(Reason::Unavailable), Reason::Unavailable);
    assert_eq!(told(Reason::MethodNotFound), Reason::ReferenceRefused);
    assert_eq!(told(Reason::CallerRefused), Reason::ReferenceRefused);
}
