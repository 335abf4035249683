//! Faults that are planted on purpose, between real deployments and the world, so that it is known that the judge sees them.
//!
//! Production code has no switches for them: a fault changes what a deployment's disk or line does to what passes through.

use std::fmt;
use std::str::FromStr;

use bowline_node::Call;
use bowline_node::peers::headers;
use bowline_store::{Batch, Condition, Table, Write};

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Commits of resources do not depend on ownership rows.
    OwnershipIgnored,
    /// A region that gives up a place says that it did, and writes no row.
    ReleaseUnkept,
    /// Requests with an id are carried out as often as they arrive.
    RequestIdsForgotten,
    /// The mark that a call was forwarded is lost, so that it may be forwarded again.
    ForwardedForgotten,
    /// A disk says of one write in fifty that it has written, and has not.
    WritesLost,
    /// Lists do not name the regions that could not be reached.
    ListsSilent,
}

impl Fault {
    pub const ALL: [Self; 6] = [
        Self::OwnershipIgnored,
        Self::ReleaseUnkept,
        Self::RequestIdsForgotten,
        Self::ForwardedForgotten,
        Self::WritesLost,
        Self::ListsSilent,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::OwnershipIgnored => "ownership-ignored",
            Self::ReleaseUnkept => "release-unkept",
            Self::RequestIdsForgotten => "request-ids-forgotten",
            Self::ForwardedForgotten => "forwarded-forgotten",
            Self::WritesLost => "writes-lost",
            Self::ListsSilent => "lists-silent",
        }
    }

    /// What the disk makes of a batch.
    pub(crate) fn spoil_batch(self, batch: &mut Batch) {
        match self {
            Self::OwnershipIgnored if batch.writes.iter().any(|w| writes_to(w, "~ownership")) => {}
            Self::OwnershipIgnored => batch.conditions.retain(|c| !is_on(c, "~ownership")),
            Self::ReleaseUnkept => batch.writes.retain(|w| !writes_to(w, "~ownership")),
            Self::RequestIdsForgotten => {
                batch.conditions.retain(|c| !is_on(c, "~request"));
                batch.writes.retain(|w| !writes_to(w, "~request"));
            }
            Self::ForwardedForgotten | Self::WritesLost | Self::ListsSilent => {}
        }
    }

    /// What the line makes of a call.
    pub(crate) fn spoil_call(self, call: &mut Call) {
        if self == Self::ForwardedForgotten {
            call.headers.retain(|(name, _)| name != headers::FORWARDED);
        }
    }
}

fn is_on(condition: &Condition, kind: &str) -> bool {
    match condition {
        Condition::RowAt { key, .. }
        | Condition::RowAbsent { key }
        | Condition::FieldIs { key, .. }
        | Condition::FieldAtMost { key, .. }
        | Condition::NotRemovedSince { key, .. } => &*key.table.kind == kind,
        Condition::NoRowInRange { .. } => false,
    }
}

fn writes_to(write: &Write, kind: &str) -> bool {
    let of = |table: &Table| &*table.kind == kind;
    match write {
        Write::Put { key, .. } | Write::Remove { key } | Write::Reindex { key, .. } => {
            of(&key.table)
        }
        Write::Swap { .. } | Write::Drop { .. } => false,
    }
}

/// A text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such fault; there are {}", Fault::ALL.map(Fault::name).join(", "))]
pub struct UnknownFault;

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        Self::ALL.into_iter().find(|fault| fault.name() == text).ok_or(UnknownFault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
