//! `owned_deleting`: brings the deletions that have committed here to their end. Local referrers are worked off, every
//! source is asked until it says that it holds nothing, and when nothing is left to wait for, the name is free.
//!
//! What is to be done for a deletion is read from its rows each time ([`steps`]); there is no state beside them.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::Status;
use bowline_control::{Controller, Fate, Item, Trouble, Worked};
use bowline_graph::grant::{Answer, Change};
use bowline_graph::{Epoch, Held, Inbound, TargetName, deletion, inbound, index};
use bowline_node::DeploymentId;
use bowline_store::ring::Shards;
use bowline_store::{
    Condition, Key, NameRange, NamedRow, Range, Row, StoreError, Version, Write, layout,
};
use bowline_wire::bowline::mixin::v1 as wire;
use futures::StreamExt;

use super::commit::Piece;
use super::consequence::Gone;
use super::pending::question;
use super::{Here, PAGE};
use crate::engine::graph::damaged;
use crate::engine::graph::kept::{finalizers, is_referred_to, kept_row, row_keys};
use crate::engine::shape::aside_of;
use crate::engine::{Deployment, Engine, errors};

/// Inbound parts that are changed at the same time.
const CHANGES_MAX: usize = 32;
/// The queue of purges.
const PURGES: &str = "purges";
/// The queue of what people and programs have to let go.
const FINALIZERS: &str = "finalizers";

/// See the module's header.
pub(super) struct Deleting(pub(super) Here);

/// A deletion as its rows tell it.
#[derive(Clone)]
pub(super) struct Deletion {
    key: Key,
    version: Version,
    gone: Gone,
    /// As the stored version has it.
    target: TargetName,
    /// Where its row would be, and its row, if it is kept until the purge.
    row_keys: Vec<Key>,
    row: Option<KeptRow>,
    /// Where the inbound part is, its version, and the epoch of the verdict; it may be missing.
    inbound_key: Key,
    inbound: Option<(Version, Epoch)>,
    names: Vec<wire::VersionedName>,
}

/// See [`Deletion::row`].
#[derive(Clone)]
struct KeptRow {
    key: Key,
    version: Version,
    /// What it refers to.
    held: Vec<Held>,
}

/// What is to be done next for a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Work off the referrers that are here.
    Local,
    /// Ask a source whether it still holds anything.
    Ask(DeploymentId),
    /// Wait until its own row lets it go, as this says.
    Held(String),
    /// Nothing is left to wait for.
    Purge,
}

/// One step of one deletion.
pub(super) struct Work {
    step: Step,
    deletion: Arc<Deletion>,
}

/// Local referrers, sources and finalisers go on side by side; only then comes the end.
fn steps(
    inbound: Option<&Inbound>,
    is_referred_to_here: bool,
    is_held: Option<String>,
) -> Vec<Step> {
    let sources = inbound.into_iter().flat_map(|inbound| &inbound.sources);
    let asks = sources.map(|source| Step::Ask(source.deployment.clone()));
    let local = is_referred_to_here.then_some(Step::Local);
    let held = is_held.map(Step::Held);
    let mut steps: Vec<_> = local.into_iter().chain(asks).chain(held).collect();
    if steps.is_empty() {
        steps.push(Step::Purge);
    }
    steps
}

#[async_trait]
impl Controller for Deleting {
    type Work = Work;

    fn name(&self) -> &'static str {
        "owned_deleting"
    }

    async fn find(
        &self,
        shards: Shards,
        offer: &mut (dyn FnMut(Item<Work>) + Send),
    ) -> Result<(), Trouble> {
        let (_engine, deployment) = self.0.get()?;
        // Types are many, and those of which something is being deleted few.
        let tables = async { deployment.backend.snapshot().await?.tables().await };
        let tables = tables.await.map_err(|error| errors::store(&error))?;
        for table in tables.into_iter().filter(|table| &*table.namespace == deletion::NAMESPACE) {
            let mut range = NameRange::all(table);
            loop {
                let found = page(&deployment, &range, shards).await?;
                found.items.into_iter().for_each(&mut *offer);
                match found.next {
                    Some(next) => range.from = next,
                    None => break,
                }
            }
        }
        Ok(())
    }

    async fn work(&self, _queue: &Arc<str>, items: Vec<Item<Work>>) -> Result<Worked, Trouble> {
        let (engine, deployment) = self.0.get()?;
        let (mut purges, mut asks, mut worked) = (Vec::new(), Vec::new(), Worked::new());
        for Item { id, work: Work { step, deletion }, .. } in items {
            match step {
                Step::Local => {
                    let fate = engine.follow_deletion(&deployment, &deletion.gone).await?;
                    worked.insert(id, fate);
                }
                Step::Ask(source) => asks.push((id, source, deletion)),
                Step::Held(why) => {
                    worked.insert(id, Fate::Waits(why));
                }
                Step::Purge => purges.push((id, deletion)),
            }
        }
        worked.extend(engine.ask_remaining(&self.0.me, &deployment, asks).await?);
        worked.extend(engine.purge_deletions(&deployment, purges).await?);
        Ok(worked)
    }
}

/// What one page of deletions has to be done.
struct Found {
    items: Vec<Item<Work>>,
    /// Where the next page begins.
    next: Option<String>,
}

async fn page(deployment: &Deployment, range: &NameRange, shards: Shards) -> Result<Found, Status> {
    let store = |error: StoreError| errors::store(&error);
    let mut snapshot = deployment.backend.snapshot().await.map_err(store)?;
    let rows = snapshot.scan(range, PAGE, false).await.map_err(store)?;
    let next = rows.last().filter(|_| rows.len() == PAGE).map(|(name, _)| format!("{name}\0"));
    let ours = rows.into_iter().filter(|(name, _)| shards.hold(name.as_bytes()));
    let ours: Vec<_> = ours.filter_map(|row| read(deployment, &range.table.kind, row)).collect();
    let keys = |deletion: &Deletion| {
        [vec![deletion.inbound_key.clone()], deletion.row_keys.clone()].concat()
    };
    let keys: Vec<_> = ours.iter().flat_map(keys).collect();
    let mut rows = snapshot.batch_get(&keys).await.map_err(store)?.into_iter();
    let mut items = Vec::new();
    for mut deletion in ours {
        let inbound = rows.next().flatten();
        let kept: Vec<_> = rows.by_ref().take(deletion.row_keys.len()).collect();
        let is_held = deletion.keep(deployment, kept);
        let is_urgent = deployment.waits.take_urgent(deletion.gone.uid);
        let is_referred_to =
            is_referred_to(deployment, &deletion.gone.names, deletion.gone.uid, snapshot.as_mut());
        let is_referred_to = is_referred_to.await.map_err(store)?;
        let found = items_of(deletion, inbound.as_ref(), is_referred_to, is_held)?.into_iter();
        items.extend(found.map(|item| Item { is_urgent, ..item }));
    }
    Ok(Found { items, next })
}

fn read(deployment: &Deployment, kind: &Arc<str>, (name, row): NamedRow) -> Option<Deletion> {
    let wire = match deletion::of_row(&row) {
        Ok(deletion) => deletion,
        Err(error) => {
            tracing::error!(kind = %kind, %name, error = %bowline_base::chain(&error), "stored deletion");
            return None;
        }
    };
    let gone = Gone::of(&wire)?;
    let is_stored = |name: &&TargetName| {
        name.kind == *kind
            && deployment.shapes.contains_key(&layout::resources(&name.version, &name.kind))
    };
    let target = gone.names.iter().find(is_stored).or_else(|| gone.names.first())?.clone();
    Some(Deletion {
        key: Key { table: deletion::table(kind), name },
        version: row.version,
        inbound_key: inbound::key(kind, gone.uid),
        inbound: None,
        row_keys: row_keys(deployment, &gone.names),
        row: None,
        target,
        gone,
        names: wire.names,
    })
}

fn items_of(
    mut deletion: Deletion,
    row: Option<&Row>,
    is_referred_to: bool,
    is_held: Option<String>,
) -> Result<Vec<Item<Work>>, Status> {
    let inbound = row.map(Inbound::of_row).transpose().map_err(|error| damaged(&error))?;
    deletion.inbound = row.zip(inbound.as_ref()).map(|(row, inbound)| (row.version, inbound.epoch));
    let id: Arc<str> = format!("{} {}", deletion.target.kind, deletion.target.name).into();
    let deletion = Arc::new(deletion);
    let item = |step: Step| Item {
        queue: match &step {
            // A type that is broken does not stop the others.
            Step::Local => format!("referrers of {}", deletion.target.kind).into(),
            Step::Ask(source) => source.to_string().into(),
            Step::Held(_) => FINALIZERS.into(),
            Step::Purge => PURGES.into(),
        },
        id: id.clone(),
        since_millis: deletion.gone.millis,
        is_urgent: false,
        work: Work { step, deletion: deletion.clone() },
    };
    Ok(steps(inbound.as_ref(), is_referred_to, is_held).into_iter().map(item).collect())
}

impl Engine {
    /// Asks one source about all of these, and takes it off those of which it holds nothing.
    async fn ask_remaining(
        self: &Arc<Self>,
        me: &DeploymentId,
        deployment: &Arc<Deployment>,
        asks: Vec<(Arc<str>, DeploymentId, Arc<Deletion>)>,
    ) -> Result<Worked, Status> {
        let Some(to) = asks.first().map(|(_, source, _)| source.clone()) else {
            return Ok(Worked::new());
        };
        let questions = asks.iter().map(|(_, _, deletion)| {
            let epoch = deletion.inbound.map(|(_, epoch)| epoch).unwrap_or_default();
            question(deletion.gone.uid, epoch, self.in_every_version(deletion.names.clone()))
        });
        let holdings = self.ask_holdings(me, &to, questions.collect()).await?;
        let settled =
            asks.into_iter().zip(holdings).map(|((id, source, deletion), holding)| async move {
                (id, self.settle_source(deployment, source, &deletion, holding).await)
            });
        let settled = futures::stream::iter(settled).buffer_unordered(CHANGES_MAX);
        Ok(settled.collect().await)
    }

    /// What a source's answer comes to.
    async fn settle_source(
        self: &Arc<Self>,
        deployment: &Arc<Deployment>,
        source: DeploymentId,
        deletion: &Deletion,
        holding: wire::check_response::Holding,
    ) -> Fate {
        if holding.version_mismatch {
            let why = "its versions are not those in which the resource was named";
            return Fate::Waits(format!("{source} cannot say: {why}"));
        }
        if holding.holds_any || !holding.is_fenced {
            deployment.waits.wait(deletion.gone.uid, []);
            let first =
                holding.referrers.first().map(|referrer| &*referrer.name).unwrap_or_default();
            return Fate::Waits(format!("{source} holds {} references: {first}", holding.count));
        }
        let release = Change::Release { source };
        let uid = deletion.gone.uid;
        match self.change_inbound(deployment, &deletion.target, uid, release).await {
            Ok(Answer::Active) => {
                tracing::error!(target = %deletion.target, "is being deleted and active");
                Fate::Waits("its rows contradict each other".to_owned())
            }
            // What is left is found by the next look.
            Ok(_) => Fate::Again,
            Err(status) => Fate::Waits(status.message),
        }
    }

    /// Removes what was kept of deletions that have nothing left to wait for: their names are free.
    async fn purge_deletions(
        &self,
        deployment: &Arc<Deployment>,
        purges: Vec<(Arc<str>, Arc<Deletion>)>,
    ) -> Result<Worked, Status> {
        let (mut pieces, mut ids, mut worked) = (Vec::new(), Vec::new(), Worked::new());
        for (id, deletion) in purges {
            deployment.waits.finished(deletion.gone.uid);
            match self.purge(deployment, &deletion).await {
                Ok(piece) => {
                    pieces.push(piece);
                    ids.push((id, deletion));
                }
                Err(status) => {
                    worked.insert(id, Fate::Waits(status.message));
                }
            }
        }
        let lost: BTreeSet<_> =
            self.commit_pieces(deployment, &pieces).await?.into_iter().collect();
        for (at, (id, deletion)) in ids.into_iter().enumerate() {
            if lost.contains(&at) {
                worked.insert(id, Fate::Waits("was changed at the same time".to_owned()));
            } else if let Some(KeptRow { held, .. }) = &deletion.row {
                deployment.removed(deletion.gone.uid, held);
            }
        }
        Ok(worked)
    }

    /// What purges one of them.
    async fn purge(&self, deployment: &Deployment, deletion: &Deletion) -> Result<Piece, Status> {
        let (shape, name) = (self.shape_of(&deletion.target)?, &deletion.target.name);
        let guard = self.guard_of(deployment, shape, name, None).await?;
        let mut piece = Piece { guard, ..deletion.purge(deployment) };
        if let Some((condition, write)) = self.leave_behind(deployment, shape, name).await? {
            piece.conditions.push(condition);
            piece.writes.push(write);
        }
        Ok(piece)
    }
}

impl Deletion {
    /// Takes note of its row among `rows`, which were read from its `row_keys`; what it has to be kept for by what is in it.
    fn keep(&mut self, deployment: &Deployment, rows: Vec<Option<Row>>) -> Option<String> {
        let (key, row) = kept_row(&self.row_keys, rows, self.gone.uid)?;
        let shape = deployment.shapes.get(&key.table)?;
        let finalizers = finalizers(shape, &key.name, &row);
        let (version, held) = (row.version, aside_of(&row).references);
        self.row = Some(KeptRow { key, version, held });
        match finalizers {
            Ok(names) if names.is_empty() => None,
            Ok(names) => {
                Some(format!("waits for its finalizers to be removed: {}", names.join(", ")))
            }
            Err(status) => Some(status.message),
        }
    }

    /// All rows of it, on the condition that no source is left, nothing here refers to it, and its own row, if it is kept,
    /// is the one in which no finaliser was.
    fn purge(&self, deployment: &Deployment) -> Piece {
        let (key, version) = (self.key.clone(), self.version);
        let mut conditions = vec![Condition::RowAt { key: key.clone(), version }];
        let mut writes = vec![Write::Remove { key }];
        let inbound = self.inbound_key.clone();
        match self.inbound {
            // At the version in which there was no source.
            Some((version, _)) => {
                conditions.push(Condition::RowAt { key: inbound.clone(), version });
                writes.push(Write::Remove { key: inbound });
            }
            None => conditions.push(Condition::RowAbsent { key: inbound }),
        }
        if let Some(KeptRow { key, version, .. }) = &self.row {
            conditions.push(Condition::RowAt { key: key.clone(), version: *version });
            writes.push(Write::Remove { key: key.clone() });
        }
        for space in deployment.namespaces() {
            let gone = &self.gone;
            let ranges = gone.names.iter().map(|name| index::range_to(&space, name, gone.uid));
            let none = |range| Condition::NoRowInRange { range: Range::Index(range) };
            conditions.extend(ranges.map(none));
        }
        let alias = |name: &TargetName| {
            let table = layout::aliases(&name.version, &name.kind);
            Write::Remove { key: Key { table, name: name.name.clone() } }
        };
        writes.extend(self.gone.names.iter().map(alias));
        Piece { conditions, writes, guard: None }
    }
}

#[cfg(test)]
mod tests {
    use bowline_graph::inbound::Source;

    use super::*;

    #[test]
    fn a_deletion_ends_when_neither_sources_nor_local_referrers_nor_finalizers_are_left() {
        let target = TargetName::new("iam.test/Project", "v1", "projects/p");
        let eu: DeploymentId = "a.test@eu".parse().unwrap();
        let none = Inbound::new(target, Epoch::default());
        let source = Source { deployment: eu.clone(), leaving: None };
        let some = Inbound { sources: vec![source], ..none.clone() };
        let unheld = |inbound, is_referred_to| steps(inbound, is_referred_to, None);
        assert_eq!(unheld(None, false), [Step::Purge]);
        assert_eq!(unheld(Some(&none), false), [Step::Purge]);
        assert_eq!(unheld(Some(&none), true), [Step::Local]);
        assert_eq!(unheld(Some(&some), false), [Step::Ask(eu.clone())]);
        assert_eq!(unheld(Some(&some), true), [Step::Local, Step::Ask(eu.clone())]);
        let why = || "a finalizer".to_owned();
        assert_eq!(steps(None, false, Some(why())), [Step::Held(why())]);
        assert_eq!(steps(Some(&some), false, Some(why())), [Step::Ask(eu), Step::Held(why())]);
    }
}
