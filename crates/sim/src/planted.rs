//! Faults that are planted on purpose, between real deployments and the world, so that it is known that the judge sees them.
//!
//! Production code has no switches for them: a fault changes what a deployment's disk or line does to what passes through.
//! `graph` has those of references: what disks do to batches, and what lines do to what deployments tell each other;
//! `marks` those of what is being deleted and kept for a while.

mod graph;
mod marks;

use std::fmt;
use std::str::FromStr;

use bowline_node::Call;
use bowline_node::peers::headers;
use bowline_store::{Batch, Condition, Key, Row, Table, Write};

pub(crate) use graph::{Memory, StreamSoFar, tells};

/// Declares the faults with their names.
macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident = $name:literal,)*) => {
        /// A planted fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$fault,)*];

            /// As it is given on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => $name,)*
                }
            }
        }
    };
}

faults! {
    /// Commits of resources do not depend on ownership rows.
    OwnershipIgnored = "ownership-ignored",
    /// A region that gives up a place says that it did, and writes no row.
    ReleaseUnkept = "release-unkept",
    /// Requests with an id are carried out as often as they arrive.
    RequestIdsForgotten = "request-ids-forgotten",
    /// The mark that a call was forwarded is lost, so that it may be forwarded again.
    ForwardedForgotten = "forwarded-forgotten",
    /// A disk says of one write in fifty that it has written, and has not.
    WritesLost = "writes-lost",
    /// Lists do not name the regions that could not be reached.
    ListsSilent = "lists-silent",
    /// A commit that is lost because somebody else has changed a resource is made all the same, without reading it again.
    LostUnread = "lost-unread",

    /// Saves do not require that no fence is above what they were granted.
    FencesIgnored = "fences-ignored",
    /// Saves do not require that what they refer to in their own deployment is still there.
    TargetsUnchecked = "targets-unchecked",
    /// Creates do not require that no unfinished deletion keeps the name.
    NamesFreeTooSoon = "names-free-too-soon",
    /// Grants do not require that their target is still there.
    GrantsUnchecked = "grants-unchecked",
    /// A grant says an epoch that is far above the one that it was given at.
    GrantsTooHigh = "grants-too-high",
    /// A source is told what it was granted for this name the first time, whatever it is granted now.
    GrantsStale = "grants-stale",
    /// One in five inbound parts loses a source on its way to the disk.
    SourcesForgotten = "sources-forgotten",
    /// Sources answer questions and keep no fences.
    FencesUnwritten = "fences-unwritten",
    /// Fences are written without the condition that nothing blocks.
    FencesUnconditional = "fences-unconditional",
    /// Owners are told that nothing blocks, whatever the source says.
    BlockersHidden = "blockers-hidden",
    /// Deletions do not require that no local reference is left.
    VerdictDespiteReferrers = "verdict-despite-referrers",
    /// Deletions do not require that nobody was granted anything since they asked.
    VerdictDespiteGrants = "verdict-despite-grants",
    /// Deletions of what nobody else refers to do not require that this is still so.
    VerdictDespiteInbound = "verdict-despite-inbound",
    /// Epochs begin anew whenever an inbound part is written.
    EpochsRestart = "epochs-restart",
    /// Deletions by rule do not require that the resource is still as it was when the rule was looked at.
    ReasonsForgotten = "reasons-forgotten",
    /// What was told of a deletion is told again, of the resource that has the name now.
    NamesakesTold = "namesakes-told",
    /// One in three unsets is written without what it unsets.
    UnsetsUnkept = "unsets-unkept",
    /// Deletions are finished, and their names stay taken.
    NamesNeverFree = "names-never-free",
    /// With a blockade goes the source that it was for.
    ConfirmDropsSource = "confirm-drops-source",
    /// Owners are told that a source holds nothing any more, whatever it says.
    ReferencesHidden = "references-hidden",
    /// Inbound parts are written over whatever is there by then.
    InboundOverwritten = "inbound-overwritten",
    /// Controllers' work is done and never taken off the list.
    TasksNeverEnd = "tasks-never-end",
    /// A stream of deletions that goes on where it was leaves out the next one.
    ResumedTooLate = "resumed-too-late",
    /// Streams of deletions leave out what is unfinished when they begin.
    BeginningsUntold = "beginnings-untold",
    /// Those who are asked what they hold are told the name in one API version only.
    NamesToldOnce = "names-told-once",

    /// What is marked is purged whatever finalizers are in its row.
    PurgeDespiteFinalizers = "purge-despite-finalizers",
    /// Deletions that mark what they delete are written without the mark.
    MarksUnwritten = "marks-unwritten",
    /// What is marked says that it may be referred to, as if its mark were no verdict.
    MarksAdmit = "marks-admit",
}

impl Fault {
    /// What the disk makes of a batch; `read` gives the rows that are there, `strikes` draws from the seed.
    pub(crate) fn spoil_batch(
        self,
        batch: &mut Batch,
        read: &dyn Fn(&Key) -> Option<Row>,
        strikes: &dyn Fn(f64) -> bool,
    ) {
        match self {
            Self::OwnershipIgnored if batch.writes.iter().any(|w| writes_to(w, "~ownership")) => {}
            Self::OwnershipIgnored => batch.conditions.retain(|c| !is_on(c, "~ownership")),
            Self::ReleaseUnkept => batch.writes.retain(|w| !writes_to(w, "~ownership")),
            Self::RequestIdsForgotten => {
                batch.conditions.retain(|c| !is_on(c, "~request"));
                batch.writes.retain(|w| !writes_to(w, "~request"));
            }
            Self::LostUnread => write_unread(batch, read),
            Self::MarksUnwritten => batch.writes.retain(|write| !marks::is_mark(write)),
            Self::MarksAdmit => batch.writes.iter_mut().for_each(marks::admit),
            _ => self.spoil_batch_of_graph(batch, read, strikes),
        }
    }

    /// What the disk makes of rows that are read from `keys`.
    pub(crate) fn spoil_rows(self, keys: &[Key], rows: &mut [Option<Row>]) {
        if self == Self::PurgeDespiteFinalizers {
            marks::hide_finalizers(keys, rows);
        }
    }

    /// What the line makes of a call.
    pub(crate) fn spoil_call(self, call: &mut Call) {
        match self {
            Self::ForwardedForgotten => call.headers.retain(|(name, _)| name != headers::FORWARDED),
            Self::NamesToldOnce => graph::tell_one_name(call),
            _ => {}
        }
    }
}

/// Takes resources for being at the versions at which they are.
fn write_unread(batch: &mut Batch, read: &dyn Fn(&Key) -> Option<Row>) {
    for condition in &mut batch.conditions {
        let Condition::RowAt { key, version } = condition else { continue };
        let Some(there) = read(key).filter(|_| graph::is_resource(&key.table)) else { continue };
        *version = there.version;
        for write in &mut batch.writes {
            match write {
                Write::Put { key: written, row, .. } if written == key => {
                    row.version = row.version.max(there.version + 1);
                }
                _ => {}
            }
        }
    }
}

fn key_of(condition: &Condition) -> Option<&Key> {
    match condition {
        Condition::RowAt { key, .. }
        | Condition::RowAbsent { key }
        | Condition::FieldIs { key, .. }
        | Condition::FieldAtMost { key, .. }
        | Condition::NotRemovedSince { key, .. } => Some(key),
        Condition::NoRowInRange { .. } => None,
    }
}

fn is_on(condition: &Condition, kind: &str) -> bool {
    key_of(condition).is_some_and(|key| &*key.table.kind == kind)
}

fn table_of(write: &Write) -> Option<&Table> {
    match write {
        Write::Put { key, .. } | Write::Remove { key } | Write::Reindex { key, .. } => {
            Some(&key.table)
        }
        Write::Swap { .. } | Write::Drop { .. } => None,
    }
}

fn writes_to(write: &Write, kind: &str) -> bool {
    table_of(write).is_some_and(|table| &*table.kind == kind)
}

/// A text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such fault; there are {}", names().join(", "))]
pub struct UnknownFault;

fn names() -> Vec<&'static str> {
    Fault::ALL.iter().map(|fault| fault.name()).collect()
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        Self::ALL.iter().copied().find(|fault| fault.name() == text).ok_or(UnknownFault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
