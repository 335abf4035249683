//! `owned_deleting`: brings the deletions that have committed here to their end. Local referrers are worked off, every
//! source is asked until it says that it holds nothing, and when nothing is left to wait for, the name is free.
//!
//! What is to be done for a deletion is read from its rows each time ([`steps`]); there is no state beside them.

use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::Status;
use bowline_control::{Controller, Fate, Item, Trouble, Worked};
use bowline_graph::grant::{Answer, Change};
use bowline_graph::{Epoch, Inbound, TargetName, deletion, inbound, index};
use bowline_node::DeploymentId;
use bowline_store::ring::Shards;
use bowline_store::{
    Condition, Key, NameRange, NamedRow, Range, Row, Snapshot, StoreError, Version, Write, layout,
};
use bowline_wire::bowline::mixin::v1 as wire;
use futures::StreamExt;

use super::commit::Piece;
use super::consequence::Gone;
use super::pending::question;
use super::{Here, PAGE};
use crate::engine::graph::damaged;
use crate::engine::{Deployment, Engine, errors};

/// Inbound parts that are changed at the same time.
const CHANGES_MAX: usize = 32;
/// The queue of purges.
const PURGES: &str = "purges";

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
    /// Where the inbound part is, its version, and the epoch of the verdict; it may be missing.
    inbound_key: Key,
    inbound: Option<(Version, Epoch)>,
    names: Vec<wire::VersionedName>,
}

/// What is to be done next for a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Work off the referrers that are here.
    Local,
    /// Ask a source whether it still holds anything.
    Ask(DeploymentId),
    /// Nothing is left to wait for.
    Purge,
}

/// One step of one deletion.
pub(super) struct Work {
    step: Step,
    deletion: Arc<Deletion>,
}

/// Local referrers and sources go on side by side; only then comes the end.
fn steps(inbound: Option<&Inbound>, is_referred_to_here: bool) -> Vec<Step> {
    let sources = inbound.into_iter().flat_map(|inbound| &inbound.sources);
    let asks = sources.map(|source| Step::Ask(source.deployment.clone()));
    let mut steps: Vec<_> =
        is_referred_to_here.then_some(Step::Local).into_iter().chain(asks).collect();
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
    let keys: Vec<_> = ours.iter().map(|deletion| deletion.inbound_key.clone()).collect();
    let inbound = snapshot.batch_get(&keys).await.map_err(store)?;
    let mut items = Vec::new();
    for (deletion, row) in ours.into_iter().zip(inbound) {
        let is_referred_to = is_referred_to(deployment, &deletion.gone, snapshot.as_mut()).await;
        let is_urgent = deployment.waits.take_urgent(deletion.gone.uid);
        let is_referred_to = is_referred_to.map_err(store)?;
        let found = items_of(deletion, row.as_ref(), is_referred_to)?.into_iter();
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
        target,
        gone,
        names: wire.names,
    })
}

/// Whether anything here refers to any of its names, whatever uid it means: the condition of the purge is the same.
async fn is_referred_to(
    deployment: &Deployment,
    gone: &Gone,
    snapshot: &mut dyn Snapshot,
) -> Result<bool, StoreError> {
    for space in deployment.namespaces() {
        for name in &gone.names {
            let range = index::range(&space, name);
            if !snapshot.scan_index(&range, None, 1, false).await?.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn items_of(
    mut deletion: Deletion,
    row: Option<&Row>,
    is_referred_to: bool,
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
            Step::Purge => PURGES.into(),
        },
        id: id.clone(),
        since_millis: deletion.gone.millis,
        is_urgent: false,
        work: Work { step, deletion: deletion.clone() },
    };
    Ok(steps(inbound.as_ref(), is_referred_to).into_iter().map(item).collect())
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
            question(deletion.gone.uid, epoch, deletion.names.clone())
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
            let shape = self.shape_of(&deletion.target)?;
            match self.guard_of(deployment, shape, &deletion.target.name, None).await {
                Ok(guard) => {
                    let piece = deletion.purge(deployment);
                    pieces.push(Piece { guard, ..piece });
                    ids.push(id);
                }
                Err(status) => {
                    worked.insert(id, Fate::Waits(status.message));
                }
            }
        }
        for lost in self.commit_pieces(deployment, &pieces).await? {
            worked
                .insert(ids[lost].clone(), Fate::Waits("was changed at the same time".to_owned()));
        }
        Ok(worked)
    }
}

impl Deletion {
    /// All rows of it, on the condition that no source is left and nothing here refers to it.
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
        for space in deployment.namespaces() {
            let ranges = self.gone.names.iter().map(|name| index::range(&space, name));
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
    fn a_deletion_ends_when_neither_sources_nor_local_referrers_are_left() {
        let target = TargetName::new("iam.test/Project", "v1", "projects/p");
        let eu: DeploymentId = "a.test@eu".parse().unwrap();
        let none = Inbound::new(target, Epoch::default());
        let source = Source { deployment: eu.clone(), leaving: None };
        let some = Inbound { sources: vec![source], ..none.clone() };
        assert_eq!(steps(None, false), [Step::Purge]);
        assert_eq!(steps(Some(&none), false), [Step::Purge]);
        assert_eq!(steps(Some(&none), true), [Step::Local]);
        assert_eq!(steps(Some(&some), false), [Step::Ask(eu.clone())]);
        assert_eq!(steps(Some(&some), true), [Step::Local, Step::Ask(eu)]);
    }
}
