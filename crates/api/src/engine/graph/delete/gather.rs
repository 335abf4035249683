//! What a deletion is decided on: the resource, all that goes with it in the same commit, and what refers to them.
//!
//! What goes along is followed as far as [`TOGETHER_MAX`]; beyond, and by rules that are not for the same commit, it is only
//! seen that there is something. No snapshot is held while anybody is asked who owns what; the commit's conditions tell
//! whether what was read at different moments fits together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bowline_base::Status;
use bowline_graph::index::{self, Rule};
use bowline_graph::plan_delete::{
    COUNTED_MAX, Doomed, Facts, NAMED_MAX, Referrer, TOGETHER_MAX, Unset,
};
use bowline_graph::reference::PARENT;
use bowline_graph::{Held, Inbound, TargetName};
use bowline_store::{Condition, Hit, IndexCursor, Key, Position, Row, RowId, Snapshot, Version};

use super::{Asking, Wish, fresh_epoch, inbound_key};
use crate::engine::graph::damaged;
use crate::engine::ownership::Guard;
use crate::engine::shape::{Shape, aside_of};
use crate::engine::{Engine, errors};

/// Entries of the index that are read of those that block: one more than are counted.
const BLOCKERS_READ: usize = COUNTED_MAX as usize + 1;
/// Rules that a deletion follows in its own commit.
const TOGETHER: &[Rule] = &[Rule::CascadeSync, Rule::UnsetSync];
const FORCED: &[Rule] = &[Rule::Block, Rule::CascadeSync, Rule::UnsetSync];
/// Rows that are in memory at once, of those that are only looked at.
const PAGE: usize = 128;

/// The facts, and what their commit needs besides.
pub(super) struct Gathered {
    pub(super) facts: Facts,
    position: Position,
    /// That all of it is owned here.
    pub(super) conditions: Vec<Condition>,
    pub(super) guards: Vec<Option<Guard>>,
    /// What the doomed refer to, each.
    pub(super) held: Vec<(RowId, Vec<Held>)>,
}

/// What was found so far.
struct Found {
    /// Keys of all that goes.
    doomed: BTreeSet<Key>,
    /// What loses references, with the targets that it loses.
    unsets: BTreeMap<Key, (Row, Vec<TargetName>)>,
    /// What goes too, and is yet to be looked at.
    next: Vec<(Arc<Shape>, Identified)>,
}

/// A row without its document.
pub(super) struct Identified {
    pub(super) key: Key,
    pub(super) version: Version,
    pub(super) uid: RowId,
    pub(super) held: Vec<Held>,
    /// All of it, of types with asynchronous deletion: it may be kept.
    pub(super) whole: Option<Row>,
}

impl Identified {
    pub(super) fn of_row(shape: &Shape, key: Key, row: &Row) -> Self {
        Self::of(shape, key, row, aside_of(row).references)
    }

    /// `held` is what the row holds.
    fn of(shape: &Shape, key: Key, row: &Row, held: Vec<Held>) -> Self {
        let whole = shape.ty.async_deletion.then(|| row.clone());
        Self { key, version: row.version, uid: row.id, held, whole }
    }
}

/// Something that refers to one of the doomed.
struct Seen {
    referrer: Referrer,
    /// It is being deleted already.
    is_marked: bool,
    /// Without what is in it, if that does not matter.
    row: Row,
    /// What the row holds.
    held: Vec<Held>,
}

impl Found {
    fn has_room(&self) -> bool {
        self.doomed.len() + self.unsets.len() < TOGETHER_MAX
    }
}

impl Gathered {
    /// What is known of a resource by its row alone.
    pub(super) fn alone(facts: Facts, position: Position) -> Self {
        let (conditions, guards, held) = (Vec::new(), Vec::new(), Vec::new());
        Self { facts, position, conditions, guards, held }
    }

    /// Takes a resource in, and binds the commit to what `guard` says about it.
    pub(super) async fn doom(
        &mut self,
        engine: &Engine,
        wish: &Wish<'_>,
        (shape, mut row): (&Shape, Identified),
        guard: Option<Guard>,
    ) -> Result<(), Status> {
        self.held.push((row.uid, std::mem::take(&mut row.held)));
        let fresh = fresh_epoch(guard.as_ref(), self.position);
        self.facts.doomed.push(engine.doomed(wish.deployment, shape, row, fresh).await?);
        self.require(engine, guard);
        Ok(())
    }

    fn require(&mut self, engine: &Engine, guard: Option<Guard>) {
        let condition = engine.ownership_conditions(guard.as_ref());
        if let Some(condition) = condition.filter(|new| !self.conditions.contains(new)) {
            self.conditions.push(condition);
            self.guards.push(guard);
        }
    }
}

impl Engine {
    /// Completes what is known of the one that is to go, and of all that goes with it.
    pub(super) async fn gather(
        &self,
        wish: &Wish<'_>,
        gathered: &mut Gathered,
        asking: &Asking,
    ) -> Result<(), Status> {
        if !wish.shape.has_shadows() {
            return Ok(());
        }
        let doomed = gathered.facts.doomed.iter().map(|doomed| doomed.key.clone()).collect();
        let mut found = Found { doomed, unsets: BTreeMap::new(), next: Vec::new() };
        let mut from = 0;
        while from < gathered.facts.doomed.len() {
            let to = gathered.facts.doomed.len();
            self.read_level(wish, gathered, &mut found, from..to, asking).await?;
            for next in std::mem::take(&mut found.next) {
                self.take_along(wish, gathered, &mut found, next).await?;
            }
            from = to;
        }
        let mut snapshot = snapshot_of(wish).await?;
        for at in 0..gathered.facts.doomed.len() {
            look_for_later(wish, &mut gathered.facts, at, &found, snapshot.as_mut()).await?;
            name_blockers(&mut gathered.facts, at, &found, snapshot.as_mut()).await?;
        }
        drop(snapshot);
        self.prepare_unsets(wish, gathered, found.unsets).await
    }

    /// Reads what refers to some of the doomed.
    async fn read_level(
        &self,
        wish: &Wish<'_>,
        gathered: &mut Gathered,
        found: &mut Found,
        level: std::ops::Range<usize>,
        asking: &Asking,
    ) -> Result<(), Status> {
        let mut snapshot = snapshot_of(wish).await?;
        for at in level {
            read_inbound(&mut gathered.facts.doomed[at], asking, snapshot.as_mut()).await?;
            let facts = &mut gathered.facts;
            // With force, those that block may go too, so that more than their keys is needed.
            let rules = if wish.force { FORCED } else { TOGETHER };
            for seen in read_referrers(wish, facts, at, rules, snapshot.as_mut()).await? {
                sort(wish, &mut facts.doomed[at], found, seen);
            }
            if !wish.force {
                count_blockers(facts, at, snapshot.as_mut()).await?;
            }
        }
        Ok(())
    }

    /// Dooms what goes too, unless it is not owned here: that is left to what comes afterwards.
    async fn take_along(
        &self,
        wish: &Wish<'_>,
        gathered: &mut Gathered,
        found: &mut Found,
        (shape, row): (Arc<Shape>, Identified),
    ) -> Result<(), Status> {
        match self.guard_of(wish.deployment, &shape, &row.key.name, None).await {
            Ok(guard) => gathered.doom(self, wish, (&shape, row), guard).await,
            Err(status) => {
                tracing::debug!(%status, name = %row.key.name, "is left for later");
                found.doomed.remove(&row.key);
                Ok(())
            }
        }
    }

    async fn prepare_unsets(
        &self,
        wish: &Wish<'_>,
        gathered: &mut Gathered,
        unsets: BTreeMap<Key, (Row, Vec<TargetName>)>,
    ) -> Result<(), Status> {
        for (key, (row, targets)) in unsets {
            let Some(shape) = wish.deployment.shapes.get(&key.table) else { continue };
            // What is not owned here is left to what comes afterwards.
            let guard = self.guard_of(wish.deployment, shape, &key.name, None).await;
            let Ok(guard) = guard else { continue };
            gathered.require(self, guard);
            let unset = self.prepare_unset(wish.deployment, shape, &row, &targets)?;
            let write = unset.prepared.put(key.clone());
            gathered.facts.unsets.push(Unset { key, version: row.version, write });
        }
        Ok(())
    }
}

async fn snapshot_of(wish: &Wish<'_>) -> Result<Box<dyn Snapshot>, Status> {
    wish.deployment.backend.snapshot().await.map_err(|error| errors::store(&error))
}

/// What becomes of something that refers to one of the doomed: it goes too, loses its reference, or stands in the way.
fn sort(wish: &Wish<'_>, target: &mut Doomed, found: &mut Found, seen: Seen) {
    let Seen { referrer, is_marked, row, held } = seen;
    let (key, rule) = (referrer.key.clone(), referrer.rule);
    let goes = goes(wish, &referrer);
    target.referrers.push(referrer);
    let has_room = found.unsets.contains_key(&key) || found.has_room();
    if found.doomed.contains(&key) || !has_room {
        return;
    }
    // What is being deleted is not deleted twice; until it is gone it refers to what it refers to.
    if goes && !is_marked {
        let Some(shape) = wish.deployment.shapes.get(&key.table) else { return };
        found.unsets.remove(&key);
        found.doomed.insert(key.clone());
        found.next.push((shape.clone(), Identified::of(shape, key, &row, held)));
    } else if rule == Rule::UnsetSync {
        let unset = found.unsets.entry(key).or_insert((row, Vec::new()));
        unset.1.extend(target.names.iter().cloned());
    }
}

/// Whether what refers in this way goes in the same commit.
fn goes(wish: &Wish<'_>, referrer: &Referrer) -> bool {
    let is_child = || referrer.paths.iter().any(|path| path == PARENT);
    match referrer.rule {
        Rule::CascadeSync => true,
        Rule::Block => wish.force && is_child(),
        _ => false,
    }
}

async fn read_inbound(
    doomed: &mut Doomed,
    asking: &Asking,
    snapshot: &mut dyn Snapshot,
) -> Result<(), Status> {
    let key = inbound_key(&doomed.key, doomed.uid);
    let rows = snapshot.batch_get(&[key]).await.map_err(|error| errors::store(&error))?;
    if let Some(row) = rows.into_iter().flatten().next() {
        let inbound = Inbound::of_row(&row).map_err(|error| damaged(&error))?;
        doomed.inbound = Some((row.version, inbound));
    }
    doomed.answers = asking.get(&doomed.uid).cloned();
    Ok(())
}

/// What refers to one of the doomed by rules that matter for its commit.
async fn read_referrers(
    wish: &Wish<'_>,
    facts: &mut Facts,
    at: usize,
    rules: &[Rule],
    snapshot: &mut dyn Snapshot,
) -> Result<Vec<Seen>, Status> {
    let mut all = Vec::new();
    for rule in rules {
        let limit = if *rule == Rule::Block { BLOCKERS_READ } else { TOGETHER_MAX };
        let seen = read_by(wish, facts, at, *rule, limit, snapshot).await?;
        let is_cut = seen.len() == limit;
        let doomed = &mut facts.doomed[at];
        match rule {
            Rule::Block => doomed.has_more_blockers = is_cut,
            _ => doomed.has_more |= is_cut,
        }
        all.extend(seen);
    }
    Ok(all)
}

/// Counts what blocks one of the doomed, by keys alone.
async fn count_blockers(
    facts: &mut Facts,
    at: usize,
    snapshot: &mut dyn Snapshot,
) -> Result<(), Status> {
    let mut keys = BTreeSet::new();
    for range in facts.doomed[at].ranges_of(&facts.spaces, Rule::Block) {
        let found = snapshot.index_keys(&range, BLOCKERS_READ).await;
        keys.extend(found.map_err(|error| errors::store(&error))?);
    }
    let target = &mut facts.doomed[at];
    target.has_more_blockers = keys.len() >= BLOCKERS_READ;
    let counted = |key| Referrer { key, paths: Vec::new(), rule: Rule::Block };
    target.referrers.extend(keys.into_iter().take(BLOCKERS_READ).map(counted));
    Ok(())
}

/// Reads the first of those that were only counted and stay, so that they can be named.
async fn name_blockers(
    facts: &mut Facts,
    at: usize,
    found: &Found,
    snapshot: &mut dyn Snapshot,
) -> Result<(), Status> {
    let Doomed { uid, referrers, .. } = &mut facts.doomed[at];
    let is_unnamed = |r: &&mut Referrer| r.rule == Rule::Block && r.paths.is_empty();
    let stays = |r: &&mut Referrer| !found.doomed.contains(&r.key);
    let mut unnamed: Vec<_> =
        referrers.iter_mut().filter(is_unnamed).filter(stays).take(NAMED_MAX).collect();
    let keys: Vec<_> = unnamed.iter().map(|referrer| referrer.key.clone()).collect();
    let rows = snapshot.batch_get(&keys).await.map_err(|error| errors::store(&error))?;
    for (referrer, row) in unnamed.iter_mut().zip(rows) {
        let held = row.map(|row| aside_of(&row).references).unwrap_or_default();
        referrer.paths = paths(*uid, Rule::Block, &held);
    }
    Ok(())
}

/// Whether anything refers to one of the doomed by a rule that is for afterwards, and does not go anyway.
async fn look_for_later(
    wish: &Wish<'_>,
    facts: &mut Facts,
    at: usize,
    found: &Found,
    snapshot: &mut dyn Snapshot,
) -> Result<(), Status> {
    for rule in [Rule::CascadeAsync, Rule::UnsetAsync] {
        // One more than may go is enough to find one that does not.
        let limit = found.doomed.len() + 1;
        let seen = read_by(wish, facts, at, rule, limit, snapshot).await?;
        // Those that go are listed, for they may have to stay for a while.
        let (go, stay): (Vec<_>, Vec<_>) =
            seen.into_iter().partition(|seen| found.doomed.contains(&seen.referrer.key));
        let doomed = &mut facts.doomed[at];
        doomed.has_more |= !stay.is_empty();
        doomed.referrers.extend(go.into_iter().map(|seen| seen.referrer));
    }
    Ok(())
}

async fn read_by(
    wish: &Wish<'_>,
    facts: &Facts,
    at: usize,
    rule: Rule,
    limit: usize,
    snapshot: &mut dyn Snapshot,
) -> Result<Vec<Seen>, Status> {
    let target = &facts.doomed[at];
    let mut all = Vec::new();
    for range in target.ranges_of(&facts.spaces, rule) {
        let mut after: Option<IndexCursor> = None;
        while all.len() < limit {
            let page = PAGE.min(limit - all.len());
            let hits = snapshot.scan_index(&range, after.as_ref(), page, false).await;
            let hits = hits.map_err(|error| errors::store(&error))?;
            let is_end = hits.len() < page;
            after = hits.last().map(IndexCursor::at);
            all.extend(hits.into_iter().map(|hit| seen(wish, target, rule, hit)));
            if is_end {
                break;
            }
        }
    }
    Ok(all)
}

fn seen(wish: &Wish<'_>, target: &Doomed, rule: Rule, hit: Hit) -> Seen {
    let Hit { key, row, .. } = hit;
    let held = aside_of(&row).references;
    let referrer = Referrer { key, paths: paths(target.uid, rule, &held), rule };
    let is_async = |shape: &Arc<Shape>| shape.ty.async_deletion;
    let is_kept = || wish.deployment.shapes.get(&referrer.key.table).is_some_and(is_async);
    let is_needed = rule == Rule::UnsetSync || (goes(wish, &referrer) && is_kept());
    let is_marked = index::is_marked(&row);
    let row = match is_needed {
        true => row,
        false => Row { id: row.id, ..Row::new(row.version, "") },
    };
    Seen { referrer, is_marked, row, held }
}

/// Fields by which one that holds these references refers to the resource with this uid.
fn paths(uid: RowId, rule: Rule, held: &[Held]) -> Vec<String> {
    let is_it = |held: &&Held| held.uid == uid && Rule::of(held.behaviour, held.is_sync) == rule;
    held.iter().filter(is_it).map(|held| held.path.clone()).collect()
}
