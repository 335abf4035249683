//! How much of what a run has come across.

use std::fmt;
use std::ops::AddAssign;

/// What a run has come across: a judge that sees nothing of a kind has judged nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// References that began, to targets of the same deployment and of others.
    pub local: u64,
    pub foreign: u64,
    /// Of these, by names of another version than the target is stored in.
    pub translated: u64,
    /// Resources that were made while another one has the name that is theirs in another version.
    pub namesakes: u64,
    /// Deletions that were done at once, and such that left something to wait for.
    pub at_once: u64,
    pub pending: u64,
    /// Resources that their deletion has marked, and that were kept for a while.
    pub marked: u64,
    /// Consequences: resources deleted and fields cleared by rule.
    pub cascaded: u64,
    pub unset: u64,
    pub fences: u64,
    /// Times that the inbound part of a shadow was written.
    pub inbound: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.local += other.local;
        self.foreign += other.foreign;
        self.translated += other.translated;
        self.namesakes += other.namesakes;
        self.at_once += other.at_once;
        self.pending += other.pending;
        self.marked += other.marked;
        self.cascaded += other.cascaded;
        self.unset += other.unset;
        self.fences += other.fences;
        self.inbound += other.inbound;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { local, foreign, translated, namesakes, at_once, pending, .. } = self;
        let Self { marked, cascaded, unset, fences, inbound, .. } = self;
        write!(
            f,
            "{local} local and {foreign} foreign references began, {translated} by names of "
        )?;
        write!(f, "another version; {namesakes} resources were made beside a namesake; ")?;
        write!(f, "{at_once} deletions were done at once, {pending} left something to wait for, ")?;
        write!(f, "{marked} of which marked what they deleted; ")?;
        write!(f, "{cascaded} resources and {unset} fields went by rule; ")?;
        write!(f, "{fences} fences, {inbound} changes of inbound parts")
    }
}
