//! `watch`: how soon watches learn of writes that come at a steady rate, against a bare server that only passes them on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use prost::Message;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::Streaming;

use crate::bare;
use crate::client::Client;
use crate::error::Error;
use crate::item::{self, Maker, PROJECT, WatchResponse};
use crate::load::{Schedule, histogram, open, quantile_ms, record};
use crate::options::Options;
use crate::process::Server;
use crate::report::Figure;
use crate::stage::Stage;

const RATE: f64 = 1_000.0;
const WARM_UP: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(12);
const WATCHES: usize = 10;
/// How long after the last write its events may come.
const PATIENCE: Duration = Duration::from_secs(20);
const GOAL_MS: f64 = 10.0;

/// A way to write and to watch.
struct Side {
    server: Server,
    client: Client,
    write: &'static str,
    watch: &'static str,
    /// The message that writes item number `n`.
    message: Arc<dyn Fn(u64) -> Bytes + Send + Sync>,
}

/// Three latencies over all events, and one over all writes.
struct Latencies {
    sent_to_event: Histogram<u64>,
    ack_to_event: Histogram<u64>,
    sent_to_ack: Histogram<u64>,
}

pub(crate) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    let schedule = Schedule { rate: RATE, warm_up: WARM_UP, time: options.time(TIME) };
    let ours = measure(bowline(stage).await?, schedule).await?;
    let bare = measure(bare_server(stage).await?, schedule).await?;
    Ok(figures(&ours, &bare))
}

async fn bowline(stage: &Stage) -> Result<Side, Error> {
    let server = stage.bowline("watch").await?;
    let client = Client::connect(server.url(), 2).await?;
    let maker = Maker::fit(&client).await?;
    let message = Arc::new(move |n| maker.create_request(PROJECT, n));
    Ok(Side { server, client, write: item::CREATE, watch: item::WATCH, message })
}

async fn bare_server(stage: &Stage) -> Result<Side, Error> {
    let server = stage.bare(&[]).await?;
    let client = Client::connect(server.url(), 2).await?;
    let maker = Maker::unfitted();
    let message =
        Arc::new(move |n| WatchResponse::of(&maker.item(PROJECT, n)).encode_to_vec().into());
    Ok(Side { server, client, write: bare::PUBLISH, watch: bare::SUBSCRIBE, message })
}

/// When each write was sent and acknowledged, in nanoseconds since `origin`.
struct Timeline {
    origin: Instant,
    sent: Vec<AtomicU64>,
    acked: Vec<AtomicU64>,
}

impl Timeline {
    fn new(writes: usize) -> Self {
        let zeros = || (0..writes).map(|_| AtomicU64::new(0)).collect();
        Self { origin: Instant::now(), sent: zeros(), acked: zeros() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

async fn measure(side: Side, schedule: Schedule) -> Result<Latencies, Error> {
    let writes = schedule.calls() as usize;
    let timeline = Arc::new(Timeline::new(writes));
    let numbers: HashMap<String, usize> =
        (0..writes).map(|n| (item::name(PROJECT, n as u64), n)).collect();
    let numbers = Arc::new(numbers);
    // Watches have a connection of their own, as watching programs do.
    let watching = Client::connect(side.server.url(), 1).await?;
    let mut watches = JoinSet::new();
    for _ in 0..WATCHES {
        let request = item::stateless_watch(PROJECT);
        let messages =
            watching.stream(0, side.watch, request).await.map_err(Error::call(side.watch))?;
        let (current, is_current) = oneshot::channel();
        let watch =
            Watch { path: side.watch, messages, numbers: numbers.clone(), seen: Vec::new() };
        watches.spawn(watch.follow(timeline.clone(), current));
        if within("the snapshot of a watch", is_current).await?.is_err() {
            return Err(why_ended(&mut watches).await);
        }
    }
    write(&side, schedule, &timeline).await?;
    let mut latencies = Latencies::of_writes(&timeline, schedule);
    while let Some(joined) = within("the last event of a watch", watches.join_next()).await? {
        let seen = joined.expect("a watch does not panic and is not cancelled")?;
        latencies.add(&timeline, schedule, &seen);
    }
    drop(watching);
    side.server.stop().await?;
    Ok(latencies)
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, Error> {
    let late = |_| Error::TooLate { what: what.to_owned(), within: PATIENCE };
    tokio::time::timeout(PATIENCE, future).await.map_err(late)
}

/// What the watch that ended says itself.
async fn why_ended(watches: &mut JoinSet<Result<Vec<(usize, u64)>, Error>>) -> Error {
    match watches.join_next().await {
        Some(Ok(Err(error))) => error,
        _ => ended_early(),
    }
}

fn ended_early() -> Error {
    Error::Wrong("a watch ended".to_owned())
}

async fn write(side: &Side, schedule: Schedule, timeline: &Arc<Timeline>) -> Result<(), Error> {
    let (client, path, message) = (side.client.clone(), side.write, side.message.clone());
    let timeline = timeline.clone();
    let outcome = open(schedule, move |n| {
        let (client, timeline, request) = (client.clone(), timeline.clone(), message(n));
        async move {
            let n = n as usize;
            timeline.sent[n].store(timeline.now(), Ordering::Relaxed);
            client.unary(n, path, request).await.map_err(Error::call(path))?;
            timeline.acked[n].store(timeline.now(), Ordering::Relaxed);
            Ok(())
        }
    });
    outcome.await.map(drop)
}

/// One stream, and when it told of which write.
struct Watch {
    path: &'static str,
    messages: Streaming<Bytes>,
    numbers: Arc<HashMap<String, usize>>,
    seen: Vec<(usize, u64)>,
}

impl Watch {
    /// Reads until every write was seen; says `current` once the snapshot is over.
    async fn follow(
        mut self,
        timeline: Arc<Timeline>,
        current: oneshot::Sender<()>,
    ) -> Result<Vec<(usize, u64)>, Error> {
        let mut current = Some(current);
        while self.seen.len() < timeline.sent.len() {
            let message = self.messages.message().await.map_err(Error::call(self.path))?;
            let at = timeline.now();
            let message = WatchResponse::decode(message.ok_or_else(ended_early)?)
                .map_err(|source| Error::Answer { path: self.path, source })?;
            self.note(&message, at)?;
            if message.is_current
                && let Some(current) = current.take()
            {
                // Whoever waited has given up; then so does the bench.
                let _ = current.send(());
            }
        }
        Ok(self.seen)
    }

    fn note(&mut self, message: &WatchResponse, at: u64) -> Result<(), Error> {
        if message.is_hard_reset || message.is_soft_reset {
            return Err(Error::Wrong("a watch was reset".to_owned()));
        }
        for name in message.names() {
            let name = name.map_err(|source| Error::Answer { path: self.path, source })?;
            // Other items are there from fitting their size.
            if let Some(n) = self.numbers.get(&name) {
                self.seen.push((*n, at));
            }
        }
        Ok(())
    }
}

impl Latencies {
    fn of_writes(timeline: &Timeline, schedule: Schedule) -> Self {
        let mut sent_to_ack = histogram();
        for n in schedule.warm_up_calls() as usize..timeline.sent.len() {
            record(
                &mut sent_to_ack,
                since(&timeline.sent[n], timeline.acked[n].load(Ordering::Relaxed)),
            );
        }
        Self { sent_to_event: histogram(), ack_to_event: histogram(), sent_to_ack }
    }

    fn add(&mut self, timeline: &Timeline, schedule: Schedule, seen: &[(usize, u64)]) {
        for &(n, at) in seen.iter().filter(|(n, _)| *n as u64 >= schedule.warm_up_calls()) {
            record(&mut self.sent_to_event, since(&timeline.sent[n], at));
            record(&mut self.ack_to_event, since(&timeline.acked[n], at));
        }
    }
}

/// Zero if the event was there first, which happens with acknowledgements.
fn since(moment: &AtomicU64, at: u64) -> Duration {
    Duration::from_nanos(at.saturating_sub(moment.load(Ordering::Relaxed)))
}

fn figures(ours: &Latencies, bare: &Latencies) -> Vec<Figure> {
    let load = format!("{RATE} creates/s, {WATCHES} watches");
    let pair = |metric, of: &dyn Fn(&Latencies) -> f64| {
        Figure::lower(metric, of(ours), "ms").limit(of(bare)).note(&load)
    };
    let bound = "sent before the commit, so commit to client takes less";
    vec![
        pair("watch sent to event p50", &|l| quantile_ms(&l.sent_to_event, 0.5)),
        pair("watch sent to event p99", &|l| quantile_ms(&l.sent_to_event, 0.99))
            .goal(GOAL_MS)
            .note(bound),
        pair("watch sent to event max", &|l| l.sent_to_event.max() as f64 / 1e6),
        pair("watch ack to event p50", &|l| quantile_ms(&l.ack_to_event, 0.5)),
        pair("watch ack to event p99", &|l| quantile_ms(&l.ack_to_event, 0.99)).goal(GOAL_MS),
        pair("watch write sent to ack p99", &|l| quantile_ms(&l.sent_to_ack, 0.99)),
    ]
}
