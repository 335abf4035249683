//! Which deployments of a plan run in this process. Pure.

use std::sync::Arc;

use bowline_node::DeploymentId;

use super::FleetError;
use crate::config::Plan;

/// What of a fleet runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    Region(Arc<str>),
    Deployment(DeploymentId),
}

impl Part {
    fn has(&self, id: &DeploymentId) -> bool {
        match self {
            Self::All => true,
            Self::Region(region) => id.region == *region,
            Self::Deployment(only) => id == only,
        }
    }

    /// The deployments that run here, region by region, in the order of the plan.
    pub(super) fn of(&self, plan: &Plan) -> Vec<(Arc<str>, Vec<DeploymentId>)> {
        let of_region = |region: &Arc<str>| {
            let ids = plan.of_region(region).into_iter();
            (region.clone(), ids.filter(|id| self.has(id)).collect::<Vec<_>>())
        };
        plan.regions.iter().map(of_region).filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// Whoever names something that is not planned gets to know what there is.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), FleetError> {
        let (service, region) = match self {
            Self::All => return Ok(()),
            Self::Region(region) => (None, region),
            Self::Deployment(id) if plan.deployments.contains_key(id) => return Ok(()),
            Self::Deployment(id) => (Some(&id.service), &id.region),
        };
        let list = |names: &[Arc<str>]| names.join(", ");
        let problem = match service {
            Some(service) if !plan.services.contains(service) => {
                let known = list(&plan.services);
                format!("there is no service \"{service}\"; the services are {known}")
            }
            _ if !plan.regions.contains(region) => {
                format!("there is no region \"{region}\"; the regions are {}", list(&plan.regions))
            }
            Some(service) => {
                let there: Vec<Arc<str>> = plan.regions_of(service).cloned().collect();
                format!("{service} is not in {region}, only in {}", list(&there))
            }
            None => return Ok(()),
        };
        Err(FleetError::NoDeployment { problem })
    }
}
