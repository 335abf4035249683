//! The services beside the user's: reflection (v1 and v1alpha) and health.

use std::collections::BTreeSet;

use bowline_schema::model::Registry;
use bowline_wire::bowline::server;
use tonic::service::Routes;
use tonic_health::ServingStatus;

/// Builds reflection and health for what `registry` serves.
///
/// # Errors
/// The descriptors cannot be put into one set.
pub(crate) async fn side_services(
    registry: &Registry,
) -> Result<Routes, tonic_reflection::server::Error> {
    // Only encoded sets keep custom options, which clients want to read. Files that services share are taken once.
    let pools = registry.services.iter().filter_map(|service| service.versions.first());
    let sets: Vec<Vec<u8>> = pools.map(|version| version.pool.encode_to_vec()).collect();
    let builder = || {
        let own = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(server::v1::DESCRIPTORS);
        sets.iter().fold(own, |builder, set| builder.register_encoded_file_descriptor_set(set))
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in service_names(registry) {
        reporter.set_service_status(service, ServingStatus::Serving).await;
    }
    let mut routes = Routes::new(health);
    routes = routes.add_service(builder().build_v1()?);
    routes = routes.add_service(builder().build_v1alpha()?);
    Ok(routes)
}

fn service_names(registry: &Registry) -> BTreeSet<String> {
    let services =
        registry.methods.values().map(|m| m.descriptor.parent_service().full_name().to_owned());
    services.collect()
}
