//! Which services may refer to which: what registry and picture say about imports, and what a resource says itself.

use bowline_base::{Reason, Status};
use bowline_node::DeploymentId;
use bowline_resource::metadata::Meta;
use bowline_schema::model::ResourceType;

use crate::engine::Engine;

impl Engine {
    /// Whether resources of the caller's service may refer to those of `service`, one of this engine's: it is the same
    /// service, or one that imports it in a version that is served here.
    ///
    /// # Errors
    /// `UNAVAILABLE` if the caller's service is not known, and not known not to exist either.
    pub(crate) fn may_refer(&self, caller: &DeploymentId, service: &str) -> Result<bool, Status> {
        if *caller.service == *service {
            return Ok(true);
        }
        let Some(own) = self.registry.service(service) else { return Ok(false) };
        let is_served = |version: &str| own.age(version).is_some();
        if let Some(known) = self.registry.service(&caller.service) {
            let mut imported = known.versions.iter().filter_map(|known| known.imports.get(service));
            if imported.any(|version| is_served(version)) {
                return Ok(true);
            }
        }
        let Some(routing) = &self.routing else { return Ok(false) };
        let picture = routing.picture.borrow();
        let Some(info) = picture.services.get(&caller.service) else {
            return if picture.is_whole { Ok(false) } else { Err(not_known(caller)) };
        };
        let mut imported = info.imported_versions.iter();
        Ok(imported.any(|((_, imported), version)| **imported == *service && is_served(version)))
    }

    /// Whether the caller's service may know the deletions of `service` and what refers to its resources: it is the same
    /// service, or imports it in any version.
    pub(crate) fn is_party_to(&self, caller: &DeploymentId, service: &str) -> bool {
        if *caller.service == *service {
            return true;
        }
        let here = self.registry.service(&caller.service);
        let mut versions = here.iter().flat_map(|known| &known.versions);
        if versions.any(|version| version.imports.contains_key(service)) {
            return true;
        }
        let Some(routing) = &self.routing else { return false };
        let picture = routing.picture.borrow();
        picture.services.get(&caller.service).is_some_and(|info| info.imports.contains(service))
    }
}

fn not_known(caller: &DeploymentId) -> Status {
    let message = format!("{} is not known here yet; retry", caller.service);
    Status::new(Reason::Unavailable, message)
}

/// Whether a resource allows references from resources of `service`.
///
/// The owning service alone is what the server writes where nobody said anything, so it is no restriction.
pub(super) fn allows(meta: &Meta, ty: &ResourceType, service: &str) -> bool {
    let allowed = meta.services.as_ref().map_or(&[][..], |services| &services.allowed_services);
    let is_default = allowed.iter().all(|allowed| *allowed == ty.service);
    service == ty.service || is_default || allowed.iter().any(|allowed| allowed == service)
}
