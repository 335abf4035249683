//! The stream of deletions: from the start, from a token, after a cut, for whom.

use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_graph::deletion;
use bowline_node::DeploymentId;
use bowline_store::{Backend, Batch, RowId, Write};
use bowline_wire::bowline::mixin::v1 as wire;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;

use super::world::{BASE, OUTER, USERS, World};
use crate::handler::{Context, Reply};

struct Stream(BoxStream<'static, Result<Bytes, Status>>);

impl Stream {
    fn open(world: &World, caller: &str, token: &str) -> Result<Self, Status> {
        let context = Context {
            caller: Some(DeploymentId::new(caller, "")),
            callee: Some(DeploymentId::new(BASE, "")),
            ..Context::default()
        };
        let request = wire::WatchDeletionsRequest { resume_token: token.to_owned() };
        match world.engine.watch_deletions(&request, &context)? {
            Reply::Stream(stream) => Ok(Self(stream)),
            Reply::Unary(_) => panic!("a stream was expected"),
        }
    }

    async fn next(&mut self) -> wire::WatchDeletionsResponse {
        let next = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await;
        let message = next.expect("in time").expect("goes on").expect("no error");
        wire::WatchDeletionsResponse::decode(message).unwrap()
    }

    /// Uids until the stream says that it is current, and the token of then.
    async fn all(&mut self) -> (Vec<u8>, String) {
        let mut uids = Vec::new();
        loop {
            let message = self.next().await;
            uids.extend(message.deletions.iter().map(|deletion| deletion.uid[15]));
            if message.is_current {
                return (uids, message.resume_token);
            }
        }
    }
}

/// A deletion as a verdict would write it; the controller finds that its name is of nothing, and leaves it alone.
async fn put(world: &World, uid: u8) {
    let uid = RowId(u128::from(uid));
    let deletion = wire::Deletion { uid: uid.0.to_be_bytes().to_vec(), ..Default::default() };
    let row = deletion::row(&deletion, 1);
    let writes = vec![Write::put(deletion::key("base.test/Node", uid), row)];
    let batch = Batch { conditions: Vec::new(), writes };
    world.stores[BASE].inner.commit(batch).await.unwrap();
}

async fn remove(world: &World, uid: u8) {
    let key = deletion::key("base.test/Node", RowId(u128::from(uid)));
    let batch = Batch { conditions: Vec::new(), writes: vec![Write::Remove { key }] };
    world.stores[BASE].inner.commit(batch).await.unwrap();
}

#[tokio::test]
async fn what_is_unfinished_comes_first_then_what_follows() {
    let world = World::new();
    put(&world, 1).await;
    put(&world, 2).await;
    remove(&world, 1).await;
    let mut stream = Stream::open(&world, USERS, "").unwrap();
    assert_eq!(stream.all().await.0, [2]);
    put(&world, 3).await;
    assert_eq!(stream.all().await.0, [3]);
}

#[tokio::test]
async fn a_stream_that_was_cut_goes_on_where_it_was_and_loses_nothing() {
    let world = World::new();
    put(&world, 1).await;
    let (uids, mut token) = Stream::open(&world, USERS, "").unwrap().all().await;
    assert_eq!(uids, [1]);
    for uid in 2..40 {
        put(&world, uid).await;
        // Finished before anybody heard of it: told all the same.
        remove(&world, uid).await;
        let (uids, next) = Stream::open(&world, USERS, &token).unwrap().all().await;
        assert_eq!(uids, [uid]);
        token = next;
    }
}

#[tokio::test]
async fn from_a_token_of_nowhere_all_that_is_unfinished_comes() {
    let world = World::new();
    put(&world, 1).await;
    for token in ["nonsense", &"x".repeat(100_000)] {
        assert_eq!(Stream::open(&world, USERS, token).unwrap().all().await.0, [1]);
    }
    let (_, token) = Stream::open(&world, USERS, "").unwrap().all().await;
    // A restore: all positions of before are too old.
    let position = bowline_store::Position { era: 7, sequence: 1_000 };
    world.stores[BASE].inner.start_at(position).await.unwrap();
    assert_eq!(Stream::open(&world, USERS, &token).unwrap().all().await.0, [1]);
}

#[tokio::test]
async fn many_come_in_messages_of_bounded_size() {
    let world = World::new();
    let put = |uid: u32| {
        let uid = RowId(u128::from(uid) + 1);
        let deletion = wire::Deletion { uid: uid.0.to_be_bytes().to_vec(), ..Default::default() };
        Write::put(deletion::key("base.test/Node", uid), deletion::row(&deletion, 1))
    };
    let batch = Batch { conditions: Vec::new(), writes: (0..1_000).map(put).collect() };
    world.stores[BASE].inner.commit(batch).await.unwrap();
    let mut stream = Stream::open(&world, USERS, "").unwrap();
    let mut count = 0;
    while count < 1_000 {
        let message = stream.next().await;
        assert!(message.deletions.len() <= 256);
        count += message.deletions.len();
    }
    assert_eq!(count, 1_000);
}

#[tokio::test]
async fn only_those_who_import_the_service_are_told_and_the_stream_ends_with_the_engine() {
    let world = World::new();
    assert!(Stream::open(&world, OUTER, "").is_ok());
    assert!(Stream::open(&world, BASE, "").is_ok());
    let refused = Stream::open(&world, "stranger.test", "").err().unwrap();
    assert_eq!(refused.reason, Reason::CallerRefused);
    let nobody = Context::default();
    let request = wire::WatchDeletionsRequest::default();
    let refused = world.engine.watch_deletions(&request, &nobody).err().unwrap();
    assert_eq!(refused.reason, Reason::CallerNotIdentified);
    let mut stream = Stream::open(&world, USERS, "").unwrap();
    stream.all().await;
    world.engine.close().await;
    let end = tokio::time::timeout(Duration::from_secs(20), stream.0.next()).await;
    assert!(end.expect("in time").is_none());
}
