//! What a multi-region policy says: where things may be, who owns them, who has copies. Pure.
//!
//! A policy is read from the resource that holds it ([`PolicyField`]). Whose policy counts for a name is the business of
//! `place` and `owners`.

use std::sync::Arc;

use bowline_schema::model::SyncType;

use crate::place::Part;

mod field;
mod message;

#[cfg(test)]
mod tests;

pub use field::PolicyField;

/// In `metadata.syncing.regions`: every region of the service.
pub const EVERYWHERE: &str = "*";

/// `goten.types.MultiRegionPolicy` of a policy holder, or of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Policy {
    /// Where resources may be owned and read; sorted, none twice.
    pub enabled_regions: Vec<Arc<str>>,
    /// Owns what has no region in its name.
    pub control_region: Arc<str>,
    pub disabled_sync: Vec<Criterion>,
}

/// A reading region must not have data of a source region; an empty part matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Criterion {
    /// `domain/Type`.
    pub kind: Arc<str>,
    pub source: Arc<str>,
    pub destination: Arc<str>,
}

/// Why a policy is none that can be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("no region is enabled")]
    NoRegion,
    #[error("an enabled region is empty")]
    EmptyRegion,
    #[error("the control region is empty")]
    NoControl,
    #[error("the control region \"{control}\" is not one of the enabled regions ({enabled})")]
    ControlNotEnabled { control: String, enabled: String },
}

impl Policy {
    /// A policy without exceptions; `enabled` in any order.
    pub fn new<'a>(control: &str, enabled: impl IntoIterator<Item = &'a str>) -> Self {
        let mut enabled_regions: Vec<Arc<str>> = enabled.into_iter().map(Arc::from).collect();
        enabled_regions.sort();
        enabled_regions.dedup();
        Self { enabled_regions, control_region: control.into(), disabled_sync: Vec::new() }
    }

    /// Whether nothing at all is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it can be followed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), PolicyError> {
        if self.enabled_regions.is_empty() {
            return Err(PolicyError::NoRegion);
        }
        if self.enabled_regions.iter().any(|region| region.is_empty()) {
            return Err(PolicyError::EmptyRegion);
        }
        if self.control_region.is_empty() {
            return Err(PolicyError::NoControl);
        }
        if !self.is_enabled(&self.control_region) {
            return Err(PolicyError::ControlNotEnabled {
                control: self.control_region.to_string(),
                enabled: self.enabled_regions.join(", "),
            });
        }
        Ok(())
    }

    /// Whether resources may be in `region`, and be made there.
    pub fn is_enabled(&self, region: &str) -> bool {
        self.enabled_regions.iter().any(|enabled| &**enabled == region)
    }

    /// The region that owns what is in `part`, as long as no ownership row says otherwise.
    ///
    /// For names with a region it is that region, whether it is enabled or not.
    pub fn owning_region<'a>(&'a self, part: &'a Part) -> &'a Arc<str> {
        match part {
            Part::Control => &self.control_region,
            Part::Region(region) => region,
        }
    }

    /// Whether a rule forbids that `reader` has resources of `kind` that `owner` owns.
    pub fn forbids(&self, kind: &str, owner: &str, reader: &str) -> bool {
        let matches = |rule: &str, fact: &str| rule.is_empty() || rule == fact;
        self.disabled_sync.iter().any(|rule| {
            matches(&rule.kind, kind)
                && matches(&rule.source, owner)
                && matches(&rule.destination, reader)
        })
    }

    /// The regions with copies of resources of `kind` that `owner` owns: sorted, the owner always among them, or
    /// [`EVERYWHERE`] alone. `is_subject`: this is the policy of a holder above them, not the service's own.
    pub fn synced_regions(
        &self,
        sync: SyncType,
        kind: &str,
        owner: &Arc<str>,
        is_subject: bool,
    ) -> Vec<Arc<str>> {
        let enabled = self.enabled_regions.iter().cloned();
        let mut regions: Vec<Arc<str>> = match (sync, is_subject) {
            (SyncType::Never, _) => Vec::new(),
            (SyncType::AlwaysGlobally, _) | (_, false) => return vec![EVERYWHERE.into()],
            (SyncType::AlwaysInScope, true) => enabled.collect(),
            (SyncType::Default, true) => {
                enabled.filter(|reader| !self.forbids(kind, owner, reader)).collect()
            }
        };
        regions.push(owner.clone());
        regions.sort();
        regions.dedup();
        regions
    }
}
