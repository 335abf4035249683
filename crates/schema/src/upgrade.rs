//! How types and names of one API version are called in the next: what `upgrades/<from>-<to>.yaml` says, resolved.
//!
//! `file` reads such a file, `build` puts it beside the types of the two versions, checks it, and completes it with what needs no
//! saying. Names are converted by `bowline_resource::convert`; how documents change is not here yet. The format is described in
//! `docs/upgrades.md`.

pub(crate) mod build;
pub(crate) mod file;
mod names;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{ResourceType, Service};
use crate::pattern::Pattern;

/// How two neighbouring versions of a service correspond, the older first. Read in both directions.
#[derive(Debug)]
pub struct Upgrade {
    pub older: String,
    pub newer: String,
    /// The types that both versions have, by their order in the older one. No type is in two of them.
    pub types: Vec<Arc<TypeRule>>,
    /// Kinds of the older version whose resources have no name in the newer.
    pub removed: Vec<String>,
    /// Kinds of the newer version whose resources have no name in the older.
    pub added: Vec<String>,
    /// Those of `removed` that nothing was said about: the author may have forgotten them.
    pub unsaid: Vec<String>,
    /// The file that says so; `None` if there is none, and everything goes by itself.
    pub declared_in: Option<String>,
}

/// A type in two versions.
#[derive(Debug)]
pub struct TypeRule {
    pub older: Arc<ResourceType>,
    pub newer: Arc<ResourceType>,
    /// In the order in which they are tried; a name that none of them takes has no counterpart.
    pub names: Vec<NameRule>,
    /// Patterns of the older type whose names have no counterpart, as declared there.
    pub removed: Vec<String>,
    /// The same of the newer type.
    pub added: Vec<String>,
}

/// Names of one form in two versions.
///
/// Each side is a pattern of its type, or a special case of one: an id may be split in parts, a variable may have a fixed text.
/// Variables are called the same on both sides, whatever the types call them; one that is on one side only is in `context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRule {
    pub older: Pattern,
    pub newer: Pattern,
    /// Variables that the name on the other side does not say.
    pub context: BTreeMap<String, ContextValue>,
}

/// Something that a name does not say and that is known when its resource is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContextValue {
    /// The region that owns what has the name without the variable: the control region of its policy holder.
    ControlRegion,
}

impl Upgrade {
    /// The rule of a kind of the older version.
    pub fn of_older(&self, kind: &str) -> Option<&Arc<TypeRule>> {
        self.types.iter().find(|rule| rule.older.kind == kind)
    }

    /// The rule of a kind of the newer version.
    pub fn of_newer(&self, kind: &str) -> Option<&Arc<TypeRule>> {
        self.types.iter().find(|rule| rule.newer.kind == kind)
    }
}

impl NameRule {
    /// Names that are the same in both versions.
    pub fn same(pattern: &Pattern) -> NameRule {
        NameRule { older: pattern.clone(), newer: pattern.clone(), context: BTreeMap::new() }
    }

    /// Whether names are the same in both versions.
    pub fn is_same(&self) -> bool {
        self.older.segments == self.newer.segments
    }
}

impl ContextValue {
    /// As an upgrade file spells it.
    pub fn text(self) -> &'static str {
        match self {
            ContextValue::ControlRegion => "control_region",
        }
    }
}

impl Service {
    /// The age of a version, 0 the oldest; `None` if the service has no such version.
    pub fn age(&self, version: &str) -> Option<usize> {
        self.versions.iter().position(|found| found.version == version)
    }
}
