//! The judge: sees every commit at the moment it happens, and every answer that a client gets, and knows what must hold.
//!
//! It works out for itself where a name belongs, from the committed policies alone, and shares no code with what it judges.
//! What it checks after every step:
//! - one writer (S4): a name is in the store of one region only; whoever commits a write is the owner by its row or, without
//!   one, by the committed policy, and no other region is; in an epoch of a place only one region writes;
//! - epochs of ownership rows only grow;
//! - nothing acknowledged is lost (S6): an answer tells of a commit that happened, a read of a state that was there
//!   between question and answer, a list leaves out nothing silently;
//! - a request with an id is carried out once, and never told that it was in its own way.
//!
//! `answers` has what is checked of answers, `graph` what is checked of references.

mod answers;
mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_graph::index;
use bowline_node::DeploymentId;
use bowline_store::{Batch, Key, Row, RowId, Table, Write, layout};
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage};

pub use answers::{Asked, Listed};
pub use graph::{Counts, Wanted};

use crate::disk::{Disk, Witness};
use crate::fleet::client::Wish;
use crate::services::{Kind, registry};
use crate::world::{ProcessId, World};
use graph::Graph;

/// What a project's policy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub enabled: BTreeSet<String>,
    pub control: String,
}

/// A state that a resource had from a moment on.
#[derive(Clone, Debug)]
struct State {
    since: Duration,
    region: String,
    /// `None`: it was not there.
    value: Option<String>,
    /// Its deletion had committed.
    is_marked: bool,
}

/// See the module's header.
pub struct Judge {
    world: World,
    known: Mutex<Known>,
    graph: Mutex<Graph>,
    disks: Mutex<Vec<Arc<Disk>>>,
}

#[derive(Default)]
struct Known {
    /// Of each service, the region of its own policy.
    service_control: BTreeMap<String, String>,
    policies: BTreeMap<String, Policy>,
    /// When the policy of a project, or a row of it, changed last.
    moved: BTreeMap<String, Duration>,
    histories: BTreeMap<(Kind, String), Vec<State>>,
    /// In which regions' stores a resource is.
    places: BTreeMap<(Kind, String), BTreeSet<String>>,
    /// Of service, row and epoch.
    writers: BTreeMap<(String, String, u64), String>,
    /// Of deployment and row.
    epochs: BTreeMap<(String, String), u64>,
    commits: u64,
}

/// What a commit made of a resource.
struct Written<'a> {
    kind: Kind,
    name: &'a str,
    /// `None`: it is removed.
    document: Option<DynamicMessage>,
    is_marked: bool,
}

/// Where a name belongs, by the name alone.
struct Spot {
    /// Of the ownership row.
    row: String,
    project: Option<String>,
    region: Option<String>,
}

impl Judge {
    /// `service_control`: which region owns what is under no project, by service.
    pub fn new(world: &World, service_control: BTreeMap<String, String>) -> Arc<Self> {
        let known = Known { service_control, ..Known::default() };
        Arc::new(Self {
            world: world.clone(),
            known: Mutex::new(known),
            graph: Mutex::default(),
            disks: Mutex::default(),
        })
    }

    /// Judges what is on these disks from now on; empty: lets go of them.
    pub fn watch(&self, disks: Vec<Arc<Disk>>) {
        let before = std::mem::replace(
            &mut *self.disks.lock().unwrap_or_else(PoisonError::into_inner),
            disks,
        );
        drop(before);
    }

    /// The committed policy of a project.
    pub fn policy(&self, project: &str) -> Option<Policy> {
        self.known().policies.get(project).cloned()
    }

    /// Resources that are there now, with their values.
    pub fn present(&self, kind: Kind) -> BTreeMap<String, String> {
        let known = self.known();
        let of_kind = known.histories.iter().filter(|((k, _), _)| *k == kind);
        let there = of_kind.filter_map(|((_, name), history)| {
            Some((name.clone(), history.last()?.value.clone()?))
        });
        there.collect()
    }

    /// Commits that changed a resource until now.
    pub fn commits(&self) -> u64 {
        self.known().commits
    }

    /// A client asks for a write.
    pub fn wants(&self, wish: &Wish) {
        self.graph().wants(wish);
    }

    /// What is being deleted and kept by finalizers, with these.
    pub fn held_by_finalizers(&self) -> Vec<(Kind, String, Vec<String>)> {
        self.graph().held_by_finalizers()
    }

    /// Whether the resource is being deleted, and still there.
    pub fn is_marked(&self, kind: Kind, name: &str) -> bool {
        let graph = self.graph();
        graph.uid(kind, name).is_some_and(|uid| graph.is_marked(uid))
    }

    /// A client asks for a deletion.
    pub fn deleting(&self, asked: &Asked) {
        self.graph().asks_to_delete(asked.kind, &asked.name, asked.since);
    }

    /// Which resource has this name now, wherever.
    pub fn uid(&self, version: &str, kind: &str, name: &str) -> Option<RowId> {
        self.graph().uid(Kind::of(version, kind)?, name)
    }

    /// Deployments that may refer to a resource, as its owner has noted them; and how many blockades it has.
    pub fn sources(&self, kind: Kind, name: &str) -> (Vec<String>, usize) {
        let graph = self.graph();
        let inbound = graph.uid(kind, name).and_then(|uid| graph.inbound_of(uid));
        inbound.map_or_else(Default::default, |inbound| {
            let sources = inbound.sources.iter().map(|source| source.deployment.to_string());
            (sources.collect(), inbound.blockades.len())
        })
    }

    /// The names that a resource refers to, by path; nothing if it is not there.
    pub fn refers_to(&self, kind: Kind, name: &str) -> Vec<(String, String)> {
        let graph = self.graph();
        let held = graph.uid(kind, name).map(|uid| graph.held_by(uid)).unwrap_or_default();
        held.iter().map(|held| (held.path.clone(), held.target.name.to_string())).collect()
    }

    /// What is left of work that should be done in the end.
    pub fn unfinished(&self) -> Vec<String> {
        self.graph().unfinished()
    }

    /// What was come across until now.
    pub fn counts(&self) -> Counts {
        self.graph().counts
    }

    /// That the disks have exactly what was committed: nothing came or went unseen.
    pub fn check_disks<'a>(&self, disks: impl Iterator<Item = &'a Arc<Disk>>) {
        let mut found: BTreeMap<(Kind, String), BTreeSet<String>> = BTreeMap::new();
        for disk in disks {
            for (table, (name, _)) in disk.rows(|table| kind_of(table).is_some()) {
                let Some(kind) = kind_of(&table) else { continue };
                found.entry((kind, name.to_string())).or_default().insert(region_of(disk));
            }
        }
        let mut known = self.known().places.clone();
        known.retain(|_, regions| !regions.is_empty());
        if known != found {
            self.world.fail(format!("the stores have {found:?}, but committed was {known:?}"));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blame(&self, found: Result<(), String>) {
        if let Err(violation) = found {
            self.world.fail(violation);
        }
    }
}

impl Witness for Judge {
    fn committed(&self, disk: &Disk, _process: ProcessId, batch: &Batch) {
        for write in &batch.writes {
            let (key, row) = match write {
                Write::Put { key, row, .. } => (key, Some(row)),
                Write::Remove { key } => (key, None),
                _ => continue,
            };
            if &*key.table.kind == "~ownership" {
                let judged = self.known().row(disk, key, row, self.world.now());
                self.world.note(format!("{}: row {} says {}", disk.name(), key.name, said(row)));
                self.blame(judged);
            }
            let Some(kind) = kind_of(&key.table) else { continue };
            let now = self.world.now();
            let document = row.map(|row| decode(kind, row));
            let told = document.as_ref().map_or_else(|| "removed".to_owned(), |d| text(d, "value"));
            self.world.note(format!("{}: {} is {told}", disk.name(), key.name));
            let disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let is_marked = row.is_some_and(index::is_marked);
            let written = Written { kind, name: &key.name, document, is_marked };
            let judged = self.known().write(&disks, disk, written, now);
            self.blame(judged);
        }
        let (notes, judged) = self.graph().commit(disk.name(), &batch.writes, self.world.now());
        for note in notes {
            self.world.note(format!("{}: {note}", disk.name()));
        }
        self.blame(judged);
    }
}

impl Known {
    /// An ownership row was written.
    fn row(
        &mut self,
        disk: &Disk,
        key: &Key,
        row: Option<&Row>,
        now: Duration,
    ) -> Result<(), String> {
        let project = key.name.split('|').next().unwrap_or_default();
        self.moved.insert(project.to_owned(), now);
        let (deployment, name) = (disk.name().to_owned(), key.name.to_string());
        let Some((_, epoch)) = row.and_then(claim) else {
            return Err(format!(
                "{deployment}: the ownership row {name} was removed or says nothing"
            ));
        };
        match self.epochs.insert((deployment.clone(), name.clone()), epoch) {
            Some(before) if before >= epoch => {
                Err(format!("{deployment}: the epoch of {name} went from {before} to {epoch}"))
            }
            _ => Ok(()),
        }
    }

    /// A resource was written or removed.
    fn write(
        &mut self,
        disks: &[Arc<Disk>],
        disk: &Disk,
        written: Written<'_>,
        now: Duration,
    ) -> Result<(), String> {
        let Written { kind, name, document, is_marked } = written;
        self.commits += 1;
        let region = region_of(disk);
        let judged = self.one_writer(disks, disk, kind, name, &region);
        let value = document.as_ref().map(|document| text(document, "value"));
        if let (Kind::Project, Some(document)) = (kind, &document) {
            let policy = policy(document);
            let before = self.policies.insert(name.to_owned(), policy.clone());
            if before.is_some_and(|before| before != policy) {
                self.moved.insert(name.to_owned(), now);
            }
        }
        let at = (kind, name.to_owned());
        let regions = self.places.entry(at.clone()).or_default();
        match &value {
            Some(_) => drop(regions.insert(region.clone())),
            None => drop(regions.remove(&region)),
        }
        let in_two = regions.len() > 1;
        let found_in = format!("{regions:?}");
        self.histories.entry(at).or_default().push(State { since: now, region, value, is_marked });
        judged?;
        match in_two {
            true => Err(format!("S4: {name} is in the stores of {found_in}")),
            false => Ok(()),
        }
    }

    /// That the writer holds itself for the owner, and nobody else does.
    fn one_writer(
        &mut self,
        disks: &[Arc<Disk>],
        disk: &Disk,
        kind: Kind,
        name: &str,
        region: &str,
    ) -> Result<(), String> {
        let spot = spot(name);
        let by_policy = self.owner(kind, name, &spot)?;
        let claim = claim_on(disk, &spot);
        if !thinks_it_owns(claim.as_ref(), by_policy.as_deref(), region) {
            return Err(format!(
                "S4: {region} writes {name}; its row says {claim:?}, the policy {by_policy:?}"
            ));
        }
        for other in disks.iter().filter(|other| *service_of(other) == *kind.service()) {
            let theirs = claim_on(other, &spot);
            let other = region_of(other);
            if other != region && thinks_it_owns(theirs.as_ref(), by_policy.as_deref(), &other) {
                return Err(format!(
                    "S4: {region} writes {name} with its row {claim:?}, and {other} would too with {theirs:?}"
                ));
            }
        }
        let epoch = claim.map_or(1, |(_, epoch)| epoch);
        let writers = (kind.service().to_owned(), spot.row.clone(), epoch);
        let writer = self.writers.entry(writers).or_insert_with(|| region.to_owned());
        match writer == region {
            true => Ok(()),
            false => {
                Err(format!("S4: {region} writes {name} in epoch {epoch}, in which {writer} wrote"))
            }
        }
    }

    /// The owner by the policies that are committed; `None`: nobody may write there.
    fn owner(&self, kind: Kind, name: &str, spot: &Spot) -> Result<Option<String>, String> {
        let Some(project) = &spot.project else {
            return Ok(self.service_control.get(kind.service()).cloned());
        };
        let policy = self.policies.get(project);
        let policy = policy.ok_or_else(|| format!("S4: {name} is under no project"))?;
        Ok(match &spot.region {
            None => Some(policy.control.clone()),
            Some(region) => policy.enabled.contains(region).then(|| region.clone()),
        })
    }
}

/// A row goes before a policy: a change of policy begins with rows, and may be abandoned after that.
fn thinks_it_owns(claim: Option<&(String, u64)>, by_policy: Option<&str>, region: &str) -> bool {
    claim.map_or(by_policy, |(owner, _)| Some(owner.as_str())) == Some(region)
}

fn claim_on(disk: &Disk, spot: &Spot) -> Option<(String, u64)> {
    let key = Key { table: layout::common("~ownership"), name: spot.row.as_str().into() };
    disk.row(&key).as_ref().and_then(claim)
}

/// What lies in a table of resources: deletions that are not finished, and what is internal, are in no API version.
fn kind_of(table: &Table) -> Option<Kind> {
    Kind::of(&table.namespace, &table.kind)
}

fn service_of(disk: &Disk) -> String {
    disk.name().split('@').next().unwrap_or_default().to_owned()
}

fn region_of(disk: &Disk) -> String {
    let id: Option<DeploymentId> = disk.name().parse().ok();
    id.map(|id| id.region.to_string()).unwrap_or_default()
}

fn spot(name: &str) -> Spot {
    let parts: Vec<&str> = name.split('/').collect();
    let project = (parts.len() > 2).then(|| parts[..2].join("/"));
    let region = (parts.len() > 4).then(|| parts[3].to_owned());
    let holder = project.clone().unwrap_or_default();
    let row = match &region {
        Some(region) => format!("{holder}|region/{region}"),
        None => format!("{holder}|control"),
    };
    Spot { row, project, region }
}

fn claim(row: &Row) -> Option<(String, u64)> {
    let owner = row.extract.field("owner")?;
    let owner = String::from_utf8(owner.as_bytes().to_vec()).ok()?;
    Some((owner, row.extract.field("epoch")?.as_number()?))
}

fn said(row: Option<&Row>) -> String {
    match row.and_then(claim) {
        Some((owner, epoch)) => format!("{owner:?} at epoch {epoch}"),
        None => "nothing".to_owned(),
    }
}

fn decode(kind: Kind, row: &Row) -> DynamicMessage {
    let descriptor: MessageDescriptor = kind.resource(&registry(), "", "").descriptor();
    DynamicMessage::decode(descriptor.clone(), row.body.as_ref())
        .unwrap_or_else(|_| DynamicMessage::new(descriptor))
}

/// What a row would say if nothing held it.
pub(crate) fn without_finalizers(kind: Kind, row: &Row) -> DynamicMessage {
    let mut document = decode(kind, row);
    let metadata = document.get_field_by_name_mut("metadata");
    if let Some(metadata) = metadata.and_then(prost_reflect::Value::as_message_mut) {
        metadata.clear_field_by_name("finalizers");
    }
    document
}

/// Which write a row is from.
pub(crate) fn value_of(kind: Kind, row: &Row) -> String {
    text(&decode(kind, row), "value")
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn policy(project: &DynamicMessage) -> Policy {
    let Some(field) = project.get_field_by_name("multi_region_policy") else {
        return Policy::default();
    };
    let Some(message) = field.as_message() else { return Policy::default() };
    let enabled = message.get_field_by_name("enabled_regions");
    let enabled = enabled.as_ref().and_then(|value| value.as_list()).unwrap_or_default();
    let enabled = enabled.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect();
    Policy { enabled, control: text(message, "default_control_region") }
}
