//! What a multi-region policy says: where things may be, who owns them, who has copies. Pure.

use std::sync::Arc;

/// `goten.types.MultiRegionPolicy` of a policy holder, or of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Where resources may be owned and read; sorted, none twice.
    pub enabled_regions: Vec<Arc<str>>,
    /// Owns what has no region in its name.
    pub control_region: Arc<str>,
    pub disabled_sync: Vec<Criterion>,
}

/// A reading region must not have data of a source region; an empty part matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criterion {
    /// `domain/Type`.
    pub kind: Arc<str>,
    pub source: Arc<str>,
    pub destination: Arc<str>,
}
