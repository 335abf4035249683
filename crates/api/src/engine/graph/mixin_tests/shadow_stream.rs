//! `WatchResourceShadows`: all shadows, then each as it changes.

use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_graph::{Behaviour, TargetName, deletion};
use bowline_node::DeploymentId;
use bowline_store::{Backend, Batch, Key, Position, RowId, Write, layout};
use bowline_wire::bowline::mixin::v1::watch_resource_shadows_response::change::Change;
use bowline_wire::bowline::mixin::v1::{
    Deletion, WatchResourceShadowsRequest, WatchResourceShadowsResponse, method,
};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;

use super::world::{DEVICES, STRANGER, World, devices, held, project};
use crate::handler::{Context, Reply};

const DEVICE: &str = "devices.test/Device";

struct Stream(BoxStream<'static, Result<Bytes, Status>>);

impl Stream {
    async fn open(world: &World, caller: &str, kind: &str, token: &str) -> Result<Self, Status> {
        let context = Context {
            caller: Some(DeploymentId::new(caller, "")),
            callee: Some(devices()),
            ..Context::default()
        };
        let request = WatchResourceShadowsRequest {
            kind: kind.to_owned(),
            version: String::new(),
            resume_token: token.to_owned(),
        };
        let path = method::WATCH_RESOURCE_SHADOWS;
        let message = request.encode_to_vec().into();
        match world.engine.answer_mixin(path, message, &context).await? {
            Reply::Stream(stream) => Ok(Self(stream)),
            Reply::Unary(_) => panic!("a stream was expected"),
        }
    }

    /// What is told until it is current, and the token of then.
    async fn all(&mut self) -> (Vec<String>, String) {
        let mut told = Vec::new();
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await;
            let message = next.expect("in time").expect("goes on").expect("no error");
            let message = WatchResourceShadowsResponse::decode(message).unwrap();
            told.extend(message.is_hard_reset.then(|| "reset".to_owned()));
            told.extend(message.changes.into_iter().map(|change| shown(&change.change.unwrap())));
            if message.is_current && !told.is_empty() {
                return (told, message.resume_token);
            }
        }
    }
}

fn shown(change: &Change) -> String {
    match change {
        Change::Current(shadow) => {
            let references: Vec<_> =
                shadow.references.iter().map(|r| &*r.target.as_ref().unwrap().name).collect();
            format!("{} {} {}", shadow.name, shadow.lifecycle, references.join(" "))
        }
        Change::Removed(removed) => format!("{} is no more", removed.name),
    }
}

fn device(name: &str) -> Key {
    Key { table: layout::resources("v1", DEVICE), name: format!("devices/{name}").into() }
}

/// As the verdict of a deletion leaves a resource.
async fn delete(world: &World, name: &str, uid: u128) {
    commit(world, vec![Write::Remove { key: device(name) }, put_deletion(name, uid)]).await;
}

fn put_deletion(name: &str, uid: u128) -> Write {
    let names = vec![(&TargetName::new(DEVICE, "v1", format!("devices/{name}"))).into()];
    let deletion = Deletion { uid: uid.to_be_bytes().to_vec(), names, ..Deletion::default() };
    Write::put(deletion::key(DEVICE, RowId(uid)), deletion::row(&deletion, 1))
}

async fn commit(world: &World, writes: Vec<Write>) {
    world.devices.commit(Batch { conditions: Vec::new(), writes }).await.unwrap();
}

#[tokio::test]
async fn shadows_come_as_they_are_and_then_as_they_change() {
    let world = World::new();
    world.devices.write(world.device("a", 1, vec![])).await;
    let holds = vec![held(&project("p"), 7, Behaviour::Block)];
    world.devices.write(world.device("b", 2, holds)).await;
    let mut stream = Stream::open(&world, DEVICES, "", "").await.unwrap();
    let (told, _) = stream.all().await;
    assert_eq!(
        told,
        ["resourceShadows/devices/a ACTIVE ", "resourceShadows/devices/b ACTIVE projects/p"]
    );
    let holds = vec![held(&project("q"), 8, Behaviour::Cascade)];
    world.devices.write(world.device("a", 1, holds)).await;
    assert_eq!(stream.all().await.0, ["resourceShadows/devices/a ACTIVE projects/q"]);
    world.devices.write(Write::Remove { key: device("a") }).await;
    assert_eq!(stream.all().await.0, ["resourceShadows/devices/a is no more"]);
}

#[tokio::test]
async fn what_is_deleted_is_shown_as_deleting_until_its_deletion_is_finished() {
    let world = World::new();
    // Something refers to it, so that the controller does not finish it at once.
    let holds = vec![held(&TargetName::new(DEVICE, "v1", "devices/a"), 1, Behaviour::Block)];
    world.devices.write(world.device("a", 1, vec![])).await;
    world.devices.write(world.device("b", 2, holds)).await;
    let (_, token) = Stream::open(&world, DEVICES, DEVICE, "").await.unwrap().all().await;
    delete(&world, "a", 1).await;
    let mut late = Stream::open(&world, DEVICES, DEVICE, &token).await.unwrap();
    assert_eq!(late.all().await.0, ["resourceShadows/devices/a DELETING "]);
    let mut first = Stream::open(&world, DEVICES, DEVICE, "").await.unwrap();
    let (told, token) = first.all().await;
    assert_eq!(told[1], "resourceShadows/devices/a DELETING ");
    world.devices.write(Write::Remove { key: device("b") }).await;
    world.devices.write(Write::Remove { key: deletion::key(DEVICE, RowId(1)) }).await;
    let (mut told, mut next) =
        Stream::open(&world, DEVICES, DEVICE, &token).await.unwrap().all().await;
    while told.len() < 2 {
        let (more, token) = Stream::open(&world, DEVICES, DEVICE, &next).await.unwrap().all().await;
        told.extend(more);
        next = token;
    }
    assert_eq!(
        told,
        ["resourceShadows/devices/b is no more", "resourceShadows/devices/a is no more"]
    );
}

#[tokio::test]
async fn what_is_marked_is_shown_once_with_what_it_refers_to_until_it_is_gone() {
    let world = World::new();
    let holds = || vec![held(&project("p"), 7, Behaviour::Block)];
    world.devices.write(world.device("a", 1, holds())).await;
    let open = async |token: &str| Stream::open(&world, DEVICES, DEVICE, token).await.unwrap();
    let (_, token) = open("").await.all().await;
    commit(&world, vec![world.marked_device("a", 1, holds()), put_deletion("a", 1)]).await;
    let marked = "resourceShadows/devices/a DELETING projects/p";
    assert_eq!(open("").await.all().await.0, [marked]);
    let (told, token) = open(&token).await.all().await;
    assert_eq!(told, [marked]);
    // What is told late is told as it was.
    world.devices.write(world.marked_device("a", 1, vec![])).await;
    let key = deletion::key(DEVICE, RowId(1));
    commit(&world, vec![Write::Remove { key: device("a") }, Write::Remove { key }]).await;
    let told = open(&token).await.all().await.0;
    let lets_go = "resourceShadows/devices/a DELETING ";
    assert_eq!(told, [lets_go, "resourceShadows/devices/a is no more"]);
}

#[tokio::test]
async fn a_token_goes_on_where_it_was_and_one_of_another_database_begins_anew() {
    let world = World::new();
    world.devices.write(world.device("a", 1, vec![])).await;
    let open = async |kind: &str, token: &str| Stream::open(&world, DEVICES, kind, token).await;
    let (_, token) = open(DEVICE, "").await.unwrap().all().await;
    world.devices.write(world.device("b", 2, vec![])).await;
    assert_eq!(
        open(DEVICE, &token).await.unwrap().all().await.0,
        ["resourceShadows/devices/b ACTIVE "]
    );
    let refused = open("", &token).await.err().unwrap();
    assert_eq!(refused.reason, Reason::InvalidResumeToken);
    world.devices.start_at(Position { era: 7, sequence: 1_000 }).await.unwrap();
    let (told, _) = open(DEVICE, &token).await.unwrap().all().await;
    assert_eq!(
        told,
        ["reset", "resourceShadows/devices/a ACTIVE ", "resourceShadows/devices/b ACTIVE "]
    );
}

#[tokio::test]
async fn many_shadows_come_in_messages_of_bounded_size() {
    let world = World::new();
    for uid in 1..=300_u128 {
        world.devices.write(world.device(&format!("d{uid:03}"), uid, vec![])).await;
    }
    let mut stream = Stream::open(&world, DEVICES, DEVICE, "").await.unwrap();
    let mut count = 0;
    while count < 300 {
        let message = stream.0.next().await.unwrap().unwrap();
        let message = WatchResourceShadowsResponse::decode(message).unwrap();
        assert!(message.changes.len() <= 64);
        count += message.changes.len();
    }
    assert_eq!(count, 300);
}

#[tokio::test]
async fn only_deployments_of_the_same_service_watch_and_only_what_has_shadows() {
    let world = World::new();
    let refused = Stream::open(&world, STRANGER, DEVICE, "").await.err().unwrap();
    assert_eq!(refused.reason, Reason::CallerRefused);
    let refused = Stream::open(&world, DEVICES, "devices.test/Nothing", "").await.err().unwrap();
    assert_eq!(refused.reason, Reason::InvalidField);
}
