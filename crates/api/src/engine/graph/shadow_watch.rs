//! `WatchResourceShadows`: the shadows of a deployment's resources, then each as it changes.
//!
//! What is told comes from the change log: references and lifecycle of every resource, commit by commit. The inbound part is
//! not in the log; a shadow brings it as it is when it is told, and a change of that part alone tells nothing. Whoever
//! needs it newest asks for the shadow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::{Reason, Status};
use bowline_graph::{TargetName, deletion, plan_save};
use bowline_resource::page::{ResumeToken, query_hash};
use bowline_store::{Change, Key, NamedRow, Position, Row, RowId, Snapshot, Table, layout};
use bowline_wire::bowline::mixin::v1::watch_resource_shadows_response::{
    Change as Told, Removed, change,
};
use bowline_wire::bowline::mixin::v1::{
    Deletion, ResourceShadow, WatchResourceShadowsRequest, WatchResourceShadowsResponse,
};
use bytes::Bytes;
use prost::Message;

use super::deletions::read;
use super::shadows::{COLLECTION, is_deleting, mark_deleting, shadows};
use super::telling::{Beginning, Mark, Tale, Telling};
use crate::engine::shape::document_of;
use crate::engine::{Deployment, Engine, errors};
use crate::handler::{Context, Reply};

impl Engine {
    /// Answers `WatchResourceShadows`: of a kind, in one version or all, or of all kinds that have shadows.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` unless a deployment asks, `CALLER_REFUSED` unless it is one of the same service;
    /// `INVALID_FIELD` for a kind that has no shadows here; `INVALID_RESUME_TOKEN`.
    pub(in crate::engine) fn watch_resource_shadows(
        &self,
        request: &WatchResourceShadowsRequest,
        context: &Context,
    ) -> Result<Reply, Status> {
        let deployment = self.asked_by_own(context)?;
        let me = self.me(&deployment.service);
        let WatchResourceShadowsRequest { kind, version, resume_token } = request;
        let tables = tables(deployment, kind, version);
        if tables.is_empty() {
            return Err(super::wire::bad("kind", "has no shadows here"));
        }
        let query = query_hash(&["watch shadows", &me.service, &me.region, kind, version]);
        let beginning = beginning(deployment, resume_token, query)?;
        let tale = Shadows { tables };
        let telling = Telling::new(deployment, self.seams.clone(), tale, query, beginning);
        Ok(Reply::Stream(telling.stream()))
    }
}

/// The tables of the resources that are meant.
fn tables(deployment: &Deployment, kind: &str, version: &str) -> BTreeSet<Table> {
    let shapes = deployment.shapes.values().filter(|shape| shape.has_shadows());
    let meant = shapes.map(|shape| &shape.table).filter(|table| {
        (kind.is_empty() || *table.kind == *kind)
            && (version.is_empty() || *table.namespace == *version)
    });
    meant.cloned().collect()
}

/// A token of another era or from beyond the end was made by a database that this one is not: it is too old for the log.
fn beginning(deployment: &Deployment, token: &str, query: u64) -> Result<Beginning, Status> {
    if token.is_empty() {
        return Ok(Beginning::Rows);
    }
    let token = ResumeToken::decode(token, query).map_err(|error| {
        Status::bad_field(Reason::InvalidResumeToken, "resume_token", error.to_string())
    })?;
    let position = Position { era: token.era, sequence: token.sequence };
    let head = *deployment.backend.head().borrow();
    let is_ours = position.era == head.era && position <= head;
    Ok(if is_ours { Beginning::After(position) } else { Beginning::Again })
}

/// The shadows of the resources in some tables.
struct Shadows {
    tables: BTreeSet<Table>,
}

impl Shadows {
    /// What a deletion is of, as the stored version has it; `None`: of nothing that is meant.
    fn target(&self, deletion: &Deletion) -> Option<TargetName> {
        let mut names = deletion.names.iter().filter(|name| !name.name.is_empty());
        let is_meant = |name: &&_| self.tables.contains(&table(name));
        names.find(is_meant).map(TargetName::from)
    }

    /// The shadow of what is being deleted and whose own row is gone, so that it refers to nothing.
    fn deleting(&self, row: &Row) -> Option<Shown> {
        let deletion = read(row)?;
        let target = self.target(&deletion)?;
        let row = Row { id: uid_of(&deletion)?, ..Row::new(row.version, "") };
        Some(Shown { target, row, deletion: Some(deletion) })
    }

    /// Of a change: the row whose shadow it brings, or what is no more.
    fn of_change(
        &self,
        deployment: &Deployment,
        change: &Change,
        deletions: &Deletions,
    ) -> Option<News> {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        if &*change.key.table.namespace == deletion::NAMESPACE {
            return match after {
                Some(after) if deletions.is_kept(change, after) => None,
                Some(after) => self.deleting(after).map(Box::new).map(News::Shadow),
                None => {
                    let deletion = read(before?)?;
                    Some(News::Removed(self.target(&deletion)?, uid_of(&deletion)?))
                }
            };
        }
        if !self.tables.contains(&change.key.table) {
            return None;
        }
        let Key { table, name } = &change.key;
        let target = TargetName::new(table.kind.clone(), table.namespace.clone(), name.clone());
        match after {
            Some(after) => {
                let deletion = deletions.marked(change, after);
                let deletion = deletion.or_else(|| marked(deployment, table, after));
                let shown = Shown { target, row: after.clone(), deletion };
                Some(News::Shadow(Box::new(shown)))
            }
            // It goes on as one that is being deleted, or its deletion is finished in this commit.
            None if deletions.tell_end_of(before?.id) => None,
            None => Some(News::Removed(target, before?.id)),
        }
    }
}

/// What some changes say of deletions. Uids never return.
#[derive(Default)]
struct Deletions {
    /// Of resources whose deletion commits, or is finished.
    told: BTreeSet<RowId>,
    /// What commits, where.
    verdicts: BTreeMap<(Position, RowId), Deletion>,
    /// Resources that are there after a commit.
    there: BTreeSet<(Position, RowId)>,
}

impl Deletions {
    fn of(changes: &[Arc<Change>]) -> Self {
        let mut deletions = Self::default();
        for change in changes {
            let (before, after) = (change.before.as_ref(), change.after.as_ref());
            if &*change.key.table.namespace != deletion::NAMESPACE {
                deletions.there.extend(after.map(|after| (change.position, after.id)));
                continue;
            }
            let Some(deletion) = after.or(before).and_then(read) else { continue };
            let Some(uid) = uid_of(&deletion) else { continue };
            deletions.told.insert(uid);
            if after.is_some() {
                deletions.verdicts.insert((change.position, uid), deletion);
            }
        }
        deletions
    }

    /// Whether the resource of the deletion in a row that a change puts is kept, and so shown by its own row.
    fn is_kept(&self, change: &Change, row: &Row) -> bool {
        let uid = read(row).and_then(|deletion| uid_of(&deletion));
        uid.is_some_and(|uid| self.there.contains(&(change.position, uid)))
    }

    /// The deletion by whose verdict a row is put with its mark.
    fn marked(&self, change: &Change, row: &Row) -> Option<Deletion> {
        self.verdicts.get(&(change.position, row.id)).cloned()
    }

    fn tell_end_of(&self, uid: RowId) -> bool {
        self.told.contains(&uid)
    }
}

/// What the row of a resource says of its deletion, if that has committed before. Rows of the log have no extracts.
fn marked(deployment: &Deployment, table: &Table, row: &Row) -> Option<Deletion> {
    let shape = deployment.shapes.get(table).filter(|shape| shape.ty.async_deletion)?;
    let meta = document_of(&shape.ty, row).ok()?.meta();
    let time = meta.delete_time.filter(|_| meta.is_deleting())?;
    let delete_millis = time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000;
    Some(Deletion { delete_millis, ..Deletion::default() })
}

/// What a change brings.
enum News {
    Shadow(Box<Shown>),
    Removed(TargetName, RowId),
}

/// A row that is to be shown.
struct Shown {
    target: TargetName,
    row: Row,
    /// Its deletion has committed.
    deletion: Option<Deletion>,
}

#[async_trait]
impl Tale for Shadows {
    type Item = Told;

    const TOGETHER_MAX: usize = 64;

    fn tables(&self, _: &Deployment) -> VecDeque<Table> {
        let kinds: BTreeSet<_> = self.tables.iter().map(|table| &table.kind).collect();
        let deletions = kinds.into_iter().map(|kind| deletion::table(kind));
        self.tables.iter().cloned().chain(deletions).collect()
    }

    async fn of_rows(
        &self,
        table: &Table,
        rows: Vec<NamedRow>,
        snapshot: &mut dyn Snapshot,
    ) -> Result<Vec<Told>, Status> {
        let rows = if &*table.namespace == deletion::NAMESPACE {
            let gone = rows.iter().filter_map(|(_, row)| self.deleting(row)).collect();
            without_kept(gone, snapshot).await?
        } else {
            let target = |name| TargetName::new(table.kind.clone(), table.namespace.clone(), name);
            let shown = |(name, row)| Shown { target: target(name), row, deletion: None };
            rows.into_iter().map(shown).collect()
        };
        let all = show(snapshot, rows).await?;
        Ok(all.into_iter().map(|shadow| told(change::Change::Current(shadow))).collect())
    }

    async fn of_changes(
        &self,
        deployment: &Deployment,
        changes: &[Arc<Change>],
    ) -> Result<Vec<Told>, Status> {
        let deletions = Deletions::of(changes);
        let of_change = |change: &Arc<Change>| self.of_change(deployment, change, &deletions);
        let news: Vec<_> = changes.iter().filter_map(of_change).collect();
        if news.is_empty() {
            return Ok(Vec::new());
        }
        let (mut changes, mut rows) = (Vec::with_capacity(news.len()), Vec::new());
        for news in news {
            match news {
                News::Shadow(shown) => {
                    rows.push(*shown);
                    changes.push(None);
                }
                News::Removed(target, uid) => changes.push(Some(removed(&target, uid))),
            }
        }
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let mut shown = show(snapshot.as_mut(), rows).await?.into_iter();
        let each = changes
            .into_iter()
            .filter_map(|change| change.or_else(|| shown.next().map(change::Change::Current)));
        Ok(each.map(told).collect())
    }

    fn message(&self, changes: Vec<Told>, mark: Mark) -> Bytes {
        let Mark { resume_token, is_current, is_reset } = mark;
        let message = WatchResourceShadowsResponse {
            changes,
            resume_token,
            is_current,
            is_hard_reset: is_reset,
        };
        message.encode_to_vec().into()
    }
}

/// Those whose own rows are gone: the others are shown with their rows.
async fn without_kept(rows: Vec<Shown>, snapshot: &mut dyn Snapshot) -> Result<Vec<Shown>, Status> {
    let keys: Vec<_> = rows.iter().map(|shown| plan_save::key(&shown.target)).collect();
    let kept = snapshot.batch_get(&keys).await.map_err(|error| errors::store(&error))?;
    let both = rows.into_iter().zip(kept);
    let is_gone = |(shown, kept): &(Shown, Option<Row>)| {
        kept.as_ref().is_none_or(|kept| kept.id != shown.row.id)
    };
    Ok(both.filter(is_gone).map(|(shown, _)| shown).collect())
}

/// The shadows of these, with what is known of their inbound parts by now.
async fn show(
    snapshot: &mut dyn Snapshot,
    rows: Vec<Shown>,
) -> Result<Vec<ResourceShadow>, Status> {
    let mut deletions = Vec::with_capacity(rows.len());
    let split = rows.into_iter().map(|Shown { target, row, deletion }| {
        deletions.push(deletion);
        (target, row)
    });
    let split = split.collect();
    let mut all = shadows(snapshot, split).await?;
    // It may be finished by now; what is told is the moment in which it committed.
    for (shadow, deletion) in all.iter_mut().zip(deletions) {
        if let Some(deletion) = deletion.filter(|_| !is_deleting(shadow)) {
            mark_deleting(shadow, deletion);
        }
    }
    Ok(all)
}

fn removed(target: &TargetName, uid: RowId) -> change::Change {
    change::Change::Removed(Removed {
        name: format!("{COLLECTION}{}", target.name),
        kind: target.kind.to_string(),
        version: target.version.to_string(),
        uid: uid.0.to_be_bytes().to_vec(),
    })
}

fn told(change: change::Change) -> Told {
    Told { change: Some(change) }
}

fn table(name: &bowline_wire::bowline::mixin::v1::VersionedName) -> Table {
    layout::resources(&name.version, &name.kind)
}

fn uid_of(deletion: &Deletion) -> Option<RowId> {
    super::wire::uid(&deletion.uid, "uid").ok()
}
