//! Planted faults of the graph: conditions that disks drop, rows that they change, answers and events that lines change.

use std::collections::BTreeMap;

use bowline_graph::inbound::{EPOCH, GRANTS};
use bowline_graph::{Epoch, Inbound, index};
use bowline_node::Call;
use bowline_store::{Batch, Condition, Key, Row, RowId, Table, Write};
use bowline_wire::bowline::mixin::v1 as wire;
use bowline_wire::bowline::mixin::v1::method;
use bytes::Bytes;
use prost::Message;

use super::{Fault, is_on, key_of, table_of, writes_to};
use crate::services::Kind;

/// How often faults strike that would be seen at once if they always did.
const SOMETIMES: f64 = 0.2;
/// How often an old deletion is told again.
const AGAIN: f64 = 0.3;

/// What lines remember for faults that tell old things.
#[derive(Default)]
pub(crate) struct Memory {
    /// The first grant of each name.
    grants: BTreeMap<String, wire::establish_references_response::Granted>,
    /// Deletions that were told, by kind and name.
    deletions: BTreeMap<String, wire::Deletion>,
}

pub(super) fn is_inbound(table: &Table) -> bool {
    table.kind.starts_with("~inbound/")
}

pub(super) fn is_resource(table: &Table) -> bool {
    Kind::of(&table.namespace, &table.kind).is_some()
}

fn puts_resource(batch: &Batch) -> bool {
    let is_put = |write: &Write| matches!(write, Write::Put { key, .. } if is_resource(&key.table));
    batch.writes.iter().any(is_put)
}

fn removes_resource(batch: &Batch) -> bool {
    let is_removal =
        |write: &Write| matches!(write, Write::Remove { key } if is_resource(&key.table));
    batch.writes.iter().any(is_removal)
}

fn writes_inbound(batch: &Batch) -> bool {
    batch.writes.iter().any(|write| table_of(write).is_some_and(is_inbound))
}

fn is_range(condition: &Condition) -> bool {
    matches!(condition, Condition::NoRowInRange { .. })
}

fn is_activity(condition: &Condition) -> bool {
    matches!(condition, Condition::FieldIs { field, .. } if &**field == index::ACTIVE)
}

fn is_on_inbound(condition: &Condition) -> bool {
    key_of(condition).is_some_and(|key| is_inbound(&key.table))
}

impl Fault {
    pub(super) fn spoil_batch_of_graph(
        self,
        batch: &mut Batch,
        read: &dyn Fn(&Key) -> Option<Row>,
        strikes: &dyn Fn(f64) -> bool,
    ) {
        match self {
            Self::FencesIgnored => batch
                .conditions
                .retain(|c| !(is_on(c, "~fence") && matches!(c, Condition::FieldAtMost { .. }))),
            Self::TargetsUnchecked if puts_resource(batch) => {
                batch.conditions.retain(|c| !is_activity(c));
            }
            Self::NamesFreeTooSoon => batch.conditions.retain(|c| {
                !key_of(c).is_some_and(|key| key.table.namespace.starts_with("~alias/"))
            }),
            Self::GrantsUnchecked if writes_inbound(batch) => {
                batch.conditions.retain(|c| !is_activity(c));
            }
            Self::FencesUnwritten => batch.writes.retain(|w| !writes_to(w, "~fence")),
            Self::FencesUnconditional if batch.writes.iter().any(|w| writes_to(w, "~fence")) => {
                batch.conditions.retain(|c| !is_range(c));
            }
            Self::VerdictDespiteReferrers if removes_resource(batch) => {
                batch.conditions.retain(|c| !is_range(c));
            }
            Self::VerdictDespiteGrants if removes_resource(batch) => batch.conditions.retain(|c| {
                let of_grants = |c: &Condition| match c {
                    Condition::FieldIs { field, .. } => matches!(&**field, EPOCH | GRANTS),
                    Condition::RowAt { .. } => true,
                    _ => false,
                };
                !(is_on_inbound(c) && of_grants(c))
            }),
            Self::VerdictDespiteInbound if removes_resource(batch) => batch
                .conditions
                .retain(|c| !(is_on_inbound(c) && matches!(c, Condition::RowAbsent { .. }))),
            Self::ReasonsForgotten if removes_resource(batch) => batch.conditions.retain(|c| {
                let is_of_resource = key_of(c).is_some_and(|key| is_resource(&key.table));
                !(is_of_resource && matches!(c, Condition::RowAt { .. }))
            }),
            Self::NamesNeverFree => {
                let frees = |w: &Write| matches!(w, Write::Remove { key } if key.table.namespace.starts_with("~alias/"));
                batch.writes.retain(|w| !frees(w));
            }
            Self::InboundOverwritten if writes_inbound(batch) => {
                batch.conditions.retain(|c| !is_on_inbound(c));
            }
            Self::TasksNeverEnd => {
                let ends = |w: &Write| matches!(w, Write::Remove { .. }) && writes_to(w, "~task");
                batch.writes.retain(|w| !ends(w));
            }
            Self::UnsetsUnkept if puts_resource(batch) => unkeep_unsets(batch, read, strikes),
            Self::SourcesForgotten | Self::EpochsRestart | Self::ConfirmDropsSource => {
                for write in &mut batch.writes {
                    self.spoil_inbound(write, read, strikes);
                }
            }
            _ => {}
        }
    }

    fn spoil_inbound(
        self,
        write: &mut Write,
        read: &dyn Fn(&Key) -> Option<Row>,
        strikes: &dyn Fn(f64) -> bool,
    ) {
        let Write::Put { key, row, .. } = write else { return };
        if !is_inbound(&key.table) {
            return;
        }
        let Ok(mut inbound) = Inbound::of_row(row) else { return };
        let before = read(key).and_then(|row| Inbound::of_row(&row).ok());
        match self {
            Self::SourcesForgotten if strikes(SOMETIMES) => drop(inbound.sources.pop()),
            Self::EpochsRestart => inbound.epoch.number = 1,
            Self::ConfirmDropsSource => {
                let was = before.map(|before| before.blockades).unwrap_or_default();
                let dropped = was.iter().filter(|blockade| !inbound.blockades.contains(blockade));
                for blockade in dropped {
                    inbound.sources.retain(|source| source.deployment != blockade.deployment);
                }
            }
            _ => {}
        }
        *row = inbound.row(row.version);
    }

    /// What the line makes of an answer.
    pub(crate) fn spoil_answer(
        self,
        memory: &mut Memory,
        path: &str,
        request: &Bytes,
        answer: Bytes,
    ) -> Bytes {
        let spoilt = match (self, path) {
            (Self::GrantsTooHigh | Self::GrantsStale, method::ESTABLISH_REFERENCES) => {
                self.spoil_grants(memory, request, &answer)
            }
            (Self::BlockersHidden, method::CHECK_IF_RESOURCE_IS_BLOCKED)
            | (Self::ReferencesHidden, method::CHECK_IF_RESOURCE_HAS_DELETION_SUBSCRIBER) => {
                hide(&answer)
            }
            _ => None,
        };
        spoilt.unwrap_or(answer)
    }

    fn spoil_grants(self, memory: &mut Memory, request: &Bytes, answer: &Bytes) -> Option<Bytes> {
        let asked = wire::EstablishReferencesRequest::decode(request.clone()).ok()?;
        let mut answer = wire::EstablishReferencesResponse::decode(answer.clone()).ok()?;
        for (wanted, granted) in asked.wanted.iter().zip(&mut answer.granted) {
            if self == Self::GrantsTooHigh {
                let epoch = Epoch::from(granted.epoch?);
                granted.epoch = Some(Epoch { number: epoch.number + 1_000_000, ..epoch }.into());
                continue;
            }
            let target = wanted.target.as_ref()?;
            let first = memory.grants.entry(format!("{} {}", target.kind, target.name));
            *granted = first.or_insert_with(|| granted.clone()).clone();
        }
        Some(answer.encode_to_vec().into())
    }

    /// What the line makes of a message of a stream.
    pub(crate) fn spoil_message(
        self,
        memory: &mut Memory,
        stream: &StreamSoFar<'_>,
        message: Bytes,
        lookup: &dyn Fn(&str, &str, &str) -> Option<RowId>,
        strikes: &dyn Fn(f64) -> bool,
    ) -> Bytes {
        if stream.path != method::WATCH_IMPORTED_SERVICE_DELETIONS {
            return message;
        }
        let Ok(mut told) = wire::WatchDeletionsResponse::decode(message.clone()) else {
            return message;
        };
        let request = wire::WatchDeletionsRequest::decode(stream.request.clone());
        let resumes = request.is_ok_and(|request| !request.resume_token.is_empty());
        match self {
            Self::ResumedTooLate if resumes && !stream.told && !told.deletions.is_empty() => {
                told.deletions.remove(0);
            }
            Self::BeginningsUntold if !resumes && !stream.current => told.deletions.clear(),
            Self::NamesakesTold => tell_again(memory, &mut told, lookup, strikes),
            _ => return message,
        }
        told.encode_to_vec().into()
    }
}

/// Leaves out the names of what is asked about in all versions but one; that the others are there is still said.
pub(super) fn tell_one_name(call: &mut Call) {
    let is_question =
        [method::CHECK_IF_RESOURCE_IS_BLOCKED, method::CHECK_IF_RESOURCE_HAS_DELETION_SUBSCRIBER]
            .contains(&&*call.path);
    let Ok(mut asked) = wire::CheckRequest::decode(call.message.clone()) else { return };
    if !is_question {
        return;
    }
    for question in &mut asked.questions {
        let names = question.names.iter_mut().filter(|name| !name.name.is_empty());
        names.skip(1).for_each(|name| name.name.clear());
    }
    call.message = asked.encode_to_vec().into();
}

/// What a stream has told until now.
pub(crate) struct StreamSoFar<'a> {
    pub(crate) path: &'a str,
    pub(crate) request: &'a Bytes,
    /// It has told a deletion.
    pub(crate) told: bool,
    /// It has said that it had told all.
    pub(crate) current: bool,
}

/// Whether a message tells a deletion, and whether it says that all were told.
pub(crate) fn tells(path: &str, message: &Bytes) -> (bool, bool) {
    if path != method::WATCH_IMPORTED_SERVICE_DELETIONS {
        return (false, false);
    }
    let told = wire::WatchDeletionsResponse::decode(message.clone()).unwrap_or_default();
    (!told.deletions.is_empty(), told.is_current)
}

fn hide(answer: &Bytes) -> Option<Bytes> {
    let mut answer = wire::CheckResponse::decode(answer.clone()).ok()?;
    for holding in &mut answer.holdings {
        let is_fenced = true;
        *holding = wire::check_response::Holding { is_fenced, ..Default::default() };
    }
    Some(answer.encode_to_vec().into())
}

/// Adds deletions that were told before, as if they were of whatever has the name now.
fn tell_again(
    memory: &mut Memory,
    told: &mut wire::WatchDeletionsResponse,
    lookup: &dyn Fn(&str, &str, &str) -> Option<RowId>,
    strikes: &dyn Fn(f64) -> bool,
) {
    let mut again = Vec::new();
    for old in memory.deletions.values() {
        let namesake =
            old.names.first().and_then(|name| lookup(&name.version, &name.kind, &name.name));
        if let Some(uid) = namesake.filter(|_| strikes(AGAIN)) {
            let uid = uid.0.to_be_bytes().to_vec();
            again.push(wire::Deletion { uid, ..old.clone() });
        }
    }
    for deletion in &told.deletions {
        if let Some(name) = deletion.names.first() {
            let at = format!("{} {}", name.kind, name.name);
            memory.deletions.insert(at, deletion.clone());
        }
    }
    told.deletions.extend(again);
}

/// Keeps what a save by rule has cleared in the part beside the document.
fn unkeep_unsets(
    batch: &mut Batch,
    read: &dyn Fn(&Key) -> Option<Row>,
    strikes: &dyn Fn(f64) -> bool,
) {
    for write in &mut batch.writes {
        let Write::Put { key, row, .. } = write else { continue };
        let Some(kind) = Kind::of(&key.table.namespace, &key.table.kind) else { continue };
        let Some(before) = read(key) else { continue };
        let value = |row: &Row| crate::judge::value_of(kind, row);
        let is_by_rule = value(&before) == value(row) && before.aside != row.aside;
        if is_by_rule && strikes(SOMETIMES) {
            row.aside = before.aside.clone();
            row.extract = before.extract.clone();
        }
    }
}
