//! A stream of answers on its way: in order, each message late, broken by loss, cuts, and the end of its process.

use std::time::Duration;

use bowline_base::Status;
use bowline_node::Answer;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use super::{Place, Trip};
use crate::planted::{StreamSoFar, tells};
use crate::world::ProcessId;

type Item = Result<Bytes, Status>;

/// Messages that are under way at once.
const WINDOW: usize = 16;
/// How often the two ends make sure that the other is there.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// Hands the messages of a stream that `place` sends to the caller of `trip`.
pub(super) fn carry(trip: &Trip, place: &Place, messages: BoxStream<'static, Item>) -> Answer {
    let (there, sent) = mpsc::channel(WINDOW);
    let (arriving, arrived) = mpsc::channel(WINDOW);
    let world = &trip.network.world;
    world.spawn(place.process, "stream", Box::pin(pump(messages, there)));
    let relay = relay(trip.clone(), place.clone(), sent, arriving);
    world.spawn(ProcessId::OUTSIDE, "stream on its way", Box::pin(relay));
    let items = futures::stream::unfold(arrived, |mut arrived| async move {
        Some((arrived.recv().await?, arrived))
    });
    Answer::Stream(items.boxed())
}

/// Runs in the process that answers, until it ends, or nobody listens.
async fn pump(mut messages: BoxStream<'static, Item>, there: mpsc::Sender<Item>) {
    loop {
        let item = {
            let gone = std::pin::pin!(there.closed());
            match select(messages.next(), gone).await {
                Either::Left((Some(item), _)) => item,
                Either::Left((None, _)) | Either::Right(_) => return,
            }
        };
        if there.send(item).await.is_err() {
            return;
        }
    }
}

/// Runs in the network. Dropping its ends tells both sides.
async fn relay(
    trip: Trip,
    place: Place,
    mut sent: mpsc::Receiver<Item>,
    arriving: mpsc::Sender<Item>,
) {
    let mut so_far = (false, false);
    loop {
        let world = &trip.network.world;
        let item = {
            let timer = Box::pin(world.sleep(KEEPALIVE));
            let gone = Box::pin(arriving.closed());
            let next = Box::pin(sent.recv());
            match select(next, select(timer, gone)).await {
                Either::Left((item, _)) => Some(item),
                Either::Right((Either::Left(_), _)) => None,
                Either::Right((Either::Right(_), _)) => return,
            }
        };
        let breaks = item.is_some() && world.chance(trip.network.faults().breaks);
        let arrives = trip.network.carry(&place.host, &trip.host).await;
        match item {
            _ if breaks || !arrives => {
                trip.note("the stream breaks");
                let _ = arriving.send(Err(trip.unreachable("the stream broke"))).await;
                return;
            }
            Some(Some(item)) => {
                let item = item.map(|message| spoil(&trip, &mut so_far, message));
                if arriving.send(item).await.is_err() {
                    return;
                }
            }
            Some(None) if trip.network.world.is_alive(place.process) => return,
            Some(None) => {
                let _ = arriving.send(Err(trip.unreachable("the process ended"))).await;
                return;
            }
            None => {}
        }
    }
}

/// What a planted fault makes of a message; `so_far`: whether a deletion was told, and whether all were.
fn spoil(trip: &Trip, so_far: &mut (bool, bool), message: Bytes) -> Bytes {
    let (path, request) = (&*trip.call.path, &trip.call.message);
    let (fault, lookup, mut memory) = {
        let mut state = trip.network.state();
        let Some(fault) = state.planted else { return message };
        (fault, state.lookup.clone(), std::mem::take(&mut state.memory))
    };
    let tells = tells(path, &message);
    let stream = StreamSoFar { path, request, told: so_far.0, current: so_far.1 };
    let lookup = |version: &str, kind: &str, name: &str| {
        lookup.as_ref().and_then(|find| find(version, kind, name))
    };
    let strikes = |probability| trip.network.world.chance(probability);
    let message = fault.spoil_message(&mut memory, &stream, message, &lookup, &strikes);
    trip.network.state().memory = memory;
    *so_far = (so_far.0 || tells.0, so_far.1 || tells.1);
    message
}
