//! A policy as our own messages have it, `goten.types.MultiRegionPolicy`. Where it is in resources of other types is the
//! business of `field`.

use std::sync::Arc;

use bowline_wire::goten::types::MultiRegionPolicy;
use bowline_wire::goten::types::multi_region_policy::CriteriaForDisabledSync;

use super::{Criterion, Policy};

impl From<&MultiRegionPolicy> for Policy {
    fn from(message: &MultiRegionPolicy) -> Self {
        let enabled = message.enabled_regions.iter().map(String::as_str);
        let criterion = |one: &CriteriaForDisabledSync| Criterion {
            kind: one.resource_type_name.as_str().into(),
            source: one.source_region.as_str().into(),
            destination: one.dest_region.as_str().into(),
        };
        Self {
            disabled_sync: message.criteria_for_disabled_sync.iter().map(criterion).collect(),
            ..Self::new(&message.default_control_region, enabled)
        }
    }
}

impl From<&Policy> for MultiRegionPolicy {
    fn from(policy: &Policy) -> Self {
        let criterion = |one: &Criterion| CriteriaForDisabledSync {
            resource_type_name: one.kind.to_string(),
            source_region: one.source.to_string(),
            dest_region: one.destination.to_string(),
        };
        let text = |text: &Arc<str>| text.to_string();
        Self {
            enabled_regions: policy.enabled_regions.iter().map(text).collect(),
            default_control_region: policy.control_region.to_string(),
            criteria_for_disabled_sync: policy.disabled_sync.iter().map(criterion).collect(),
        }
    }
}
