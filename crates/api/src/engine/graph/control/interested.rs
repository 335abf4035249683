//! Whose deletions concern whom: a service hears of those of the services whose types its own types can refer to, and of
//! its own in other regions. Pure.

use std::collections::BTreeSet;

use bowline_node::{DeploymentId, Picture};
use bowline_schema::model::Registry;

/// Deployments whose deletions can concern `me`, whose types refer to types of the services `referred`.
///
/// `picture` says where these are; `None`: there are no regions, and all of the registry is here.
pub(super) fn peers(
    me: &DeploymentId,
    referred: &BTreeSet<String>,
    registry: &Registry,
    picture: Option<&Picture>,
) -> BTreeSet<DeploymentId> {
    let is_meant = |id: &DeploymentId| id != me && referred.contains(&*id.service);
    match picture {
        Some(picture) => picture.deployments.keys().filter(|id| is_meant(id)).cloned().collect(),
        None => {
            let all = registry.services.iter().map(|service| me.of(&service.name));
            all.filter(is_meant).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn id(text: &str) -> DeploymentId {
        text.parse().unwrap()
    }

    #[test]
    fn a_deployment_hears_of_what_it_can_refer_to_and_of_its_own_service_elsewhere() {
        let all = ["a.test@eu", "a.test@us", "b.test@eu", "b.test@us", "c.test@eu"].map(id);
        let deployments = all.map(|id| (id, Arc::default())).into();
        let picture = Picture { deployments, ..Picture::default() };
        let referred = ["a.test", "b.test"].map(str::to_owned).into();
        let found = peers(&id("a.test@eu"), &referred, &Registry::default(), Some(&picture));
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["a.test@us", "b.test@eu", "b.test@us"]);
    }
}
