//! Which services of a registry an engine serves: others are only known, for what they say about names.

use std::collections::HashMap;
use std::sync::Arc;

use bowline_schema::model::Registry;
use bowline_store::Backend;

/// The part of a registry whose services have a store here. Everything in it is shared with the whole.
pub(super) fn served(
    registry: &Arc<Registry>,
    backends: &HashMap<String, Arc<dyn Backend>>,
) -> Arc<Registry> {
    if registry.services.iter().all(|service| backends.contains_key(&service.name)) {
        return registry.clone();
    }
    let services = registry.services.iter().filter(|s| backends.contains_key(&s.name));
    let methods = registry.methods.iter().filter(|(_, m)| backends.contains_key(&m.service));
    let types = registry.types.iter().filter(|(_, versions)| {
        versions.first().is_some_and(|first| backends.contains_key(&first.service))
    });
    Arc::new(Registry {
        services: services.cloned().collect(),
        methods: methods.map(|(path, method)| (path.clone(), method.clone())).collect(),
        types: types.map(|(kind, versions)| (kind.clone(), versions.clone())).collect(),
    })
}
