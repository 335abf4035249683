//! The store: takes batches to the writers, and reads to whoever has the answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bowline_base::Seams;
use bowline_store::{
    Backend, Batch, Changes, CommitError, Key, Position, Row, Snapshot, StoreError, Write, batch,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::connect::{Connector, Purpose};
use crate::failure::{Failure, OpenError};
use crate::feed::Feed;
use crate::group::Outcome;
use crate::migrate::{MIGRATIONS, Migration, migrate};
use crate::net::LogLimits;
use crate::numbers::Numbers;
use crate::options::PostgresOptions;
use crate::pool::{Leases, Shared};
use crate::schema::Schema;
use crate::writer::Writer;
use crate::{read, snapshot, upkeep};

/// A store in one schema of a PostgreSQL database, which other processes may have open too.
///
/// Dropping it lets the writers finish what was accepted; [`Backend::close`] waits for that.
pub struct Postgres {
    schema: Arc<Schema>,
    leases: Leases,
    /// Absent after closing.
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    /// Ends when the last writer does.
    writers: watch::Receiver<()>,
    stop: watch::Sender<bool>,
}

/// A batch and who waits for it.
struct Job {
    batch: Batch,
    weight: usize,
    reply: oneshot::Sender<Outcome>,
}

impl Postgres {
    /// Opens the schema that `options` name, or makes it; brings an older one up to date while its processes go on.
    ///
    /// Cost: a few round trips. Must run within tokio, by which the driver makes its connections.
    ///
    /// # Errors
    /// [`OpenError::NewerFormat`] if a newer program has changed the schema so that this one cannot take part;
    /// [`OpenError::NotAStore`] if the schema holds something else.
    pub async fn open(options: PostgresOptions, seams: Seams) -> Result<Self, OpenError> {
        Self::open_with(options, seams, MIGRATIONS).await
    }

    pub(crate) async fn open_with(
        options: PostgresOptions,
        seams: Seams,
        migrations: &[Migration],
    ) -> Result<Self, OpenError> {
        let connector = Arc::new(Connector::new(&options, seams.clone())?);
        let failed = |failure: Failure| OpenError::Store {
            schema: options.schema.clone(),
            source: failure.into_store_error(),
        };
        let session = connector.connect(Purpose::Commit, connector.now()).await.map_err(failed)?;
        migrate(&connector, &session, &options.schema, migrations).await?;
        let numbers = Arc::<Numbers>::default();
        numbers.load(&session).await.map_err(failed)?;
        let position = read::position(&session).await.map_err(failed)?;
        let schema = Arc::new(Schema {
            reads: Shared::new(connector.clone(), options.reads_max),
            numbers,
            feed: Feed::new(position, options.tail_limits()),
            limits: LogLimits {
                changes_max: options.log_changes_max,
                bytes_max: options.log_bytes_max,
            },
            format: migrations.last().map_or(0, |last| last.format),
            channel: options.notify.then(|| options.schema.clone()),
            poll_interval: options.poll_interval,
            readable: options.readable,
            upkeep: Notify::new(),
            is_closed: AtomicBool::new(false),
            connector: connector.clone(),
        });
        let (stop, stopped) = watch::channel(false);
        let spawn = |name, task| seams.tasks.spawn(name, task);
        spawn("postgres follow", Box::pin(schema.clone().follow(stopped.clone())));
        spawn("postgres listen", Box::pin(schema.clone().listen(stopped.clone())));
        spawn("postgres upkeep", Box::pin(upkeep::run(schema.clone(), stopped)));
        let (queue, writers) = start_writers(&schema, &options);
        let leases = Leases::new(connector, options.snapshots_max);
        Ok(Self { schema, leases, queue: Mutex::new(Some(queue)), writers, stop })
    }

    fn queue(&self) -> Option<mpsc::Sender<Job>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn start_writers(
    schema: &Arc<Schema>,
    options: &PostgresOptions,
) -> (mpsc::Sender<Job>, watch::Receiver<()>) {
    let (sender, receiver) = mpsc::channel(options.queue_batches_max.max(1));
    let (end, ended) = watch::channel(());
    let intake = Intake {
        receiver,
        held: None,
        jobs_max: options.group_batches_max.max(1),
        weight_max: options.group_bytes_max.max(1),
    };
    let (intake, end) = (Arc::new(tokio::sync::Mutex::new(intake)), Arc::new(end));
    for _ in 0..options.writers.max(1) {
        let (intake, end, mut writer) = (intake.clone(), end.clone(), Writer::new(schema.clone()));
        let work = async move {
            while let Some(jobs) = next_group(&intake).await {
                let (batches, replies): (Vec<_>, Vec<_>) =
                    jobs.into_iter().map(|job| (job.batch, job.reply)).unzip();
                let outcomes = writer.run(batches).await;
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    // Whoever dropped the future does not want to know.
                    let _ = reply.send(outcome);
                }
            }
            writer.end().await;
            drop(end);
        };
        schema.connector.seams().tasks.spawn("postgres writer", Box::pin(work));
    }
    (sender, ended)
}

/// The end of the queue, which the writers take turns at.
struct Intake {
    receiver: mpsc::Receiver<Job>,
    /// Taken from the queue, and not fit for the group that was being gathered.
    held: Option<Job>,
    jobs_max: usize,
    weight_max: usize,
}

/// What is waiting, up to the limits, but at least one; `None` when nothing more will come.
async fn next_group(intake: &tokio::sync::Mutex<Intake>) -> Option<Vec<Job>> {
    let mut intake = intake.lock().await;
    let first = match intake.held.take() {
        Some(job) => job,
        None => intake.receiver.recv().await?,
    };
    let (mut weight, mut jobs) = (first.weight, vec![first]);
    while jobs.len() < intake.jobs_max && weight < intake.weight_max && !moves(&jobs[0].batch) {
        let Ok(job) = intake.receiver.try_recv() else { break };
        if moves(&job.batch) {
            intake.held = Some(job);
            break;
        }
        weight += job.weight;
        jobs.push(job);
    }
    Some(jobs)
}

/// Whether it changes what namespaces mean; such a batch is a group of its own.
fn moves(batch: &Batch) -> bool {
    batch.writes.iter().any(|write| matches!(write, Write::Swap { .. } | Write::Drop { .. }))
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres")
            .field("schema", &self.schema.connector.schema)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Postgres {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.schema.check_open()?;
        let Schema { connector, numbers, .. } = &*self.schema;
        let opened = snapshot::open(&self.leases, numbers, connector.seams(), connector.now());
        let view = opened.await.map_err(Failure::into_store_error)?;
        Ok(Box::new(view))
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.schema.check_open()?;
        let numbers = &self.schema.numbers;
        let get = |session: Arc<crate::connect::Session>| async move {
            read::get(&session, numbers, key).await
        };
        self.schema.reads.run(get).await.map_err(Failure::into_store_error)
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        batch::check(&batch)?;
        let weight = batch::weight(&batch);
        let (reply, outcome) = oneshot::channel();
        let queue = self.queue().ok_or(StoreError::Closed)?;
        let job = Job { batch, weight, reply };
        queue.send(job).await.map_err(|_| StoreError::Closed)?;
        drop(queue);
        let lost = || StoreError::Unavailable("the writer ended without an answer".into());
        outcome.await.unwrap_or_else(|_| Err(lost().into()))
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        self.schema.check_open()?;
        match self.schema.feed.page(after, limit) {
            Some(page) => Ok(page),
            None => self.schema.read_log(after, limit).await,
        }
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        self.schema.check_open()?;
        let is_kept =
            i64::try_from(position.era).is_ok() && i64::try_from(position.sequence).is_ok();
        if !is_kept {
            return Err(CommitError::Malformed("the position is above what can be counted to"));
        }
        let mut is_before = false;
        let begun = self.schema.begin_era(|present| {
            is_before = position < present;
            Ok((!is_before).then_some(position))
        });
        begun.await.map_err(Failure::into_store_error)?;
        if is_before {
            return Err(CommitError::Malformed("the position is before the present one"));
        }
        self.schema.feed.restart(position);
        Ok(())
    }

    fn wants_readable(&self) -> bool {
        self.schema.readable
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.schema.feed.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.schema.is_closed.store(true, Ordering::Release);
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Nothing is ever sent: this completes, with an error, when the last writer has dropped its end.
        let _ = self.writers.clone().changed().await;
        self.stop.send_replace(true);
        self.leases.close();
        self.schema.reads.close();
        Ok(())
    }
}
