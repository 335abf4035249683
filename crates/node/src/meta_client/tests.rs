//! The client against answers that are told beforehand: what it asks, and what it makes of the answers.

use std::collections::VecDeque;
use std::sync::Mutex;

use bowline_wire::goten::meta::v1::Region;
use bowline_wire::goten::types::Meta;

use super::*;
use crate::peers::Answer;

/// Gives its answers one after another, and remembers what was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Vec<u8>, Status>>>,
    asked: Mutex<Vec<(DeploymentId, Call)>>,
}

#[async_trait::async_trait]
impl Peers for Script {
    async fn call(
        &self,
        _from: &DeploymentId,
        to: &DeploymentId,
        call: Call,
    ) -> Result<Answer, Status> {
        self.asked.lock().unwrap().push((to.clone(), call));
        let answer = self.answers.lock().unwrap().pop_front().expect("no more calls are expected");
        answer.map(|bytes| Answer::Unary { message: bytes.into(), headers: Vec::new() })
    }
}

fn client(answers: impl IntoIterator<Item = Result<Vec<u8>, Status>>) -> (MetaClient, Arc<Script>) {
    let script = Script { answers: Mutex::new(answers.into_iter().collect()), ..Script::default() };
    let script = Arc::new(script);
    let me = DeploymentId::new("iam.test", "eu-west");
    (MetaClient::new(script.clone(), me, Duration::from_secs(3)), script)
}

fn region(name: &str) -> Region {
    Region { name: name.to_owned(), ..Region::default() }
}

fn page(names: &[&str], token: &str, unreachable: &[&str]) -> Result<Vec<u8>, Status> {
    let listed = Listed {
        resources: names.iter().map(|name| region(name)).collect(),
        next_page_token: token.to_owned(),
        unreachable: unreachable.iter().map(|region| (*region).to_owned()).collect(),
    };
    Ok(listed.encode_to_vec())
}

fn asked<M: Message + Default>(script: &Script, at: usize) -> M {
    let asked = script.asked.lock().unwrap();
    M::decode(asked[at].1.message.clone()).unwrap()
}

#[tokio::test]
async fn the_meta_deployment_of_the_own_region_is_asked_within_the_deadline() {
    let (client, script) = client([Ok(region("regions/a").encode_to_vec()), page(&[], "", &[])]);
    assert_eq!(client.get("regions/a").await, Ok(Some(region("regions/a"))));
    assert_eq!(client.in_region("us-east").list::<Region>("").await, Ok(vec![]));
    let asked = script.asked.lock().unwrap();
    assert_eq!(asked[0].0.to_string(), "meta.goten.com@eu-west");
    assert_eq!(&*asked[0].1.path, "/goten.meta.v1.RegionService/GetRegion");
    assert_eq!(asked[0].1.deadline, Some(Duration::from_secs(3)));
    assert_eq!(asked[1].0.to_string(), "meta.goten.com@us-east");
}

#[tokio::test]
async fn what_is_not_there_is_none_and_other_failures_stay() {
    let gone = Status::new(Reason::ResourceNotFound, "no such region");
    let away = Status::new(Reason::Unavailable, "nobody there");
    let (client, _) = client([Err(gone), Err(away.clone())]);
    assert_eq!(client.get::<Region>("regions/a").await, Ok(None));
    assert_eq!(client.get::<Region>("regions/a").await, Err(away));
}

#[tokio::test]
async fn a_list_is_of_all_pages_by_name() {
    let (client, script) =
        client([page(&["regions/c", "regions/a"], "t", &[]), page(&["regions/b"], "", &[])]);
    let listed: Vec<Region> = client.list("").await.unwrap();
    let names: Vec<&str> = listed.iter().map(|region| region.name.as_str()).collect();
    assert_eq!(names, ["regions/a", "regions/b", "regions/c"]);
    assert_eq!(asked::<List>(&script, 0).page_token, "");
    assert_eq!(asked::<List>(&script, 1).page_token, "t");
}

#[tokio::test]
async fn a_list_that_lacks_a_region_is_no_list() {
    let (client, _) = client([page(&["regions/a"], "", &["us-east"])]);
    let status = client.list::<Region>("").await.unwrap_err();
    assert_eq!(status.reason, Reason::Unavailable);
    assert_eq!(status.metadata["region"], "us-east");
    assert_eq!(status.metadata["service"], "meta.goten.com");
}

#[tokio::test]
async fn an_update_is_of_the_resource_that_was_read() {
    let answer = || Ok(region("regions/a").encode_to_vec());
    let (client, script) = client([answer(), answer()]);
    let metadata = Meta { resource_version: "7".to_owned(), ..Meta::default() };
    let read = Region { metadata: Some(metadata), ..region("regions/a") };
    client.update(read, &["title"]).await.unwrap();
    client.update(region("regions/a"), &[]).await.unwrap();
    let first: Update<Region> = asked(&script, 0);
    assert_eq!(first.etag, "7");
    assert_eq!(first.update_mask.unwrap().paths, ["title"]);
    let second: Update<Region> = asked(&script, 1);
    assert_eq!((second.etag.as_str(), second.update_mask), ("", None));
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_no_panic() {
    let (client, _) = client([Ok(vec![0xff; 7])]);
    let status = client.get::<Region>("regions/a").await.unwrap_err();
    assert_eq!(status.reason, Reason::Internal);
}
