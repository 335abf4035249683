//! Fields of meta's resources that follow from their names: filled in before every save, so that nobody needs to send them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_api::engine::{Hook, Save};
use bowline_base::{Reason, Status};
use bowline_wire::meta::kind;
use prost_reflect::Value;

pub(super) fn hooks() -> BTreeMap<String, Vec<Arc<dyn Hook>>> {
    let one = |hook: fn(&mut Save<'_>) -> Result<(), Status>| vec![Arc::new(hook) as Arc<dyn Hook>];
    BTreeMap::from([
        (kind::RESOURCE.to_owned(), one(resource)),
        (kind::DEPLOYMENT.to_owned(), one(deployment)),
    ])
}

/// `services/a.b/resources/C` is `a.b/C`.
fn resource(save: &mut Save<'_>) -> Result<(), Status> {
    let parts = save.name.strip_prefix("services/").and_then(|n| n.split_once("/resources/"));
    if let Some((service, id)) = parts {
        save.resource.set_field_by_name("fqn", Value::String(format!("{service}/{id}")));
    }
    Ok(())
}

/// A deployment is called after its region.
fn deployment(save: &mut Save<'_>) -> Result<(), Status> {
    let Some((_, id)) = save.name.rsplit_once('/') else { return Ok(()) };
    let region = format!("regions/{id}");
    let said = save.resource.get_field_by_name("region");
    let said = said.as_ref().and_then(|value| value.as_str()).unwrap_or_default();
    if !said.is_empty() && said != region {
        let problem = format!("is {said}, but a deployment is called after its region: {region}");
        return Err(Status::bad_field(Reason::ValidationFailed, "deployment.region", problem));
    }
    save.resource.set_field_by_name("region", Value::String(region));
    Ok(())
}
