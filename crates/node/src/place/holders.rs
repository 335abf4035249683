//! Which types hold policies for what is below them, as one type sees them.

use std::sync::Arc;

use bowline_schema::model::{Registry, ResourceType, Service};

use crate::policy::PolicyField;

/// The policy holders that resources of `ty` can be below, as `(kind, type)`: those of its own service first, then those
/// that its version imports, in the imported version. One entry for each kind and version.
pub fn holders_of(registry: &Registry, ty: &ResourceType) -> Vec<(Arc<str>, Arc<ResourceType>)> {
    let own = registry.service(&ty.service).and_then(|service| version_of(service, &ty.version));
    let Some(own) = own else { return Vec::new() };
    let imported = own.imports.iter().filter_map(|(name, version)| {
        let service = registry.service(name)?;
        version_of(service, version).or_else(|| service.versions.last())
    });
    let types = std::iter::once(own).chain(imported).flat_map(|version| &version.types);
    let holders = types.filter(|ty| ty.policy_holder && PolicyField::of(&ty.message).is_some());
    holders.map(|ty| (Arc::from(ty.kind.as_str()), ty.clone())).collect()
}

fn version_of<'s>(
    service: &'s Service,
    version: &str,
) -> Option<&'s Arc<bowline_schema::model::ServiceVersion>> {
    service.versions.iter().find(|found| found.version == version)
}
