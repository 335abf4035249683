//! Which address a deployment is called at. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::id::DeploymentId;
use crate::picture::Picture;

/// Where `from` reaches `to`: the private address within a region and local network that both are in, else the public.
pub(super) fn of<'a>(
    picture: &'a Picture,
    from: &DeploymentId,
    to: &DeploymentId,
) -> Option<&'a Arc<str>> {
    let callee = picture.deployments.get(to)?;
    let network = &callee.local_network;
    let caller = picture.deployments.get(from);
    let is_near = from.region == to.region
        && !network.is_empty()
        && caller.is_some_and(|caller| caller.local_network == *network);
    let private = Some(&callee.private_address).filter(|address| is_near && !address.is_empty());
    private.or_else(|| Some(&callee.public_address).filter(|address| !address.is_empty()))
}

/// All addresses of a picture.
pub(super) fn all(picture: &Picture) -> BTreeSet<&Arc<str>> {
    picture
        .deployments
        .values()
        .flat_map(|info| [&info.public_address, &info.private_address])
        .filter(|address| !address.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::DeploymentInfo;

    #[test]
    fn the_private_address_is_for_neighbours() {
        let info = |public: &str, private: &str, network: &str| {
            Arc::new(DeploymentInfo {
                public_address: public.into(),
                private_address: private.into(),
                local_network: network.into(),
                ..DeploymentInfo::default()
            })
        };
        let id = |text: &str| text.parse::<DeploymentId>().unwrap();
        let mut picture = Picture::default();
        for (name, info) in [
            ("near@eu", info("near:1", "10.0.0.1:1", "lan")),
            ("here@eu", info("here:1", "10.0.0.2:1", "lan")),
            ("elsewhere@eu", info("elsewhere:1", "10.0.0.2:1", "other")),
            ("apart@eu", info("apart:1", "10.0.0.2:1", "")),
            ("far@us", info("far:1", "10.0.0.1:1", "lan")),
            ("nowhere@eu", info("", "", "")),
        ] {
            picture.deployments.insert(id(name), info);
        }
        let of = |from, to| of(&picture, &id(from), &id(to)).map(|address| &**address);
        assert_eq!(of("here@eu", "near@eu"), Some("10.0.0.1:1"));
        assert_eq!(of("elsewhere@eu", "near@eu"), Some("near:1"));
        assert_eq!(of("far@us", "near@eu"), Some("near:1"));
        assert_eq!(of("stranger@eu", "near@eu"), Some("near:1"));
        assert_eq!(of("apart@eu", "apart@eu"), Some("apart:1"), "no network is no common one");
        assert_eq!(of("here@eu", "nowhere@eu"), None);
        assert_eq!(of("here@eu", "stranger@eu"), None);
        assert_eq!(all(&picture).len(), 7);
    }
}
