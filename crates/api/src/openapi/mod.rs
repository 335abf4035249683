//! OpenAPI 3.1 documents from descriptors: what REST serves of one service version.
//!
//! Pure: a registry goes in, a JSON value comes out, the same one each time. `paths` has the operations, `template`
//! the paths and their variables, `schemas` the messages, `options` reads annotations and comments.

mod errors;
mod hints;
mod options;
mod parameters;
mod paths;
mod schemas;
mod template;

use bowline_schema::model::{Method, Registry, ServiceVersion};
use serde_json::{Map, Value, json};

use options::Comments;
use schemas::Schemas;

/// The document of `version` of `service`, with the methods that `served` accepts; `None` if there is no such version.
///
/// Cost: linear in the descriptors that the methods reach. It is made once and kept by who serves it.
pub fn document(
    registry: &Registry,
    service: &str,
    version: &str,
    served: &dyn Fn(&Method) -> bool,
) -> Option<Value> {
    let version = registry.service(service)?.versions.iter().find(|v| v.version == version)?;
    let comments = Comments::default();
    let mut schemas = Schemas::new(&version.package, &comments);
    let paths = paths::paths(version, served, &mut schemas);
    let tags = tags(version, served, &comments);
    errors::add(&mut schemas);
    let mut document = Map::new();
    document.insert("openapi".to_owned(), json!("3.1.0"));
    document.insert("info".to_owned(), info(version));
    document.insert("servers".to_owned(), json!([{"url": "/"}]));
    document.insert("tags".to_owned(), tags);
    document.insert("paths".to_owned(), Value::Object(paths));
    let components = json!({"schemas": schemas.finish(), "responses": errors::responses()});
    document.insert("components".to_owned(), components);
    Some(Value::Object(document))
}

fn info(version: &ServiceVersion) -> Value {
    let kinds: Vec<_> = version.types.iter().map(|t| format!("`{}`", t.kind)).collect();
    let description = match kinds.is_empty() {
        true => format!("Package `{}`.", version.package),
        false => format!("Package `{}`. Resources: {}.", version.package, kinds.join(", ")),
    };
    json!({"title": version.service, "version": version.version, "description": description})
}

/// One tag for each gRPC service that has a served method, in the order of the methods.
fn tags(version: &ServiceVersion, served: &dyn Fn(&Method) -> bool, comments: &Comments) -> Value {
    let mut seen: Vec<String> = Vec::new();
    let mut tags = Vec::new();
    for method in version.methods.iter().filter(|method| served(method)) {
        let service = method.descriptor.parent_service();
        if seen.iter().any(|name| name == service.name()) {
            continue;
        }
        seen.push(service.name().to_owned());
        let mut tag = json!({"name": service.name()});
        if let Some(text) = comments.of(&service.parent_file(), service.path()) {
            tag["description"] = json!(text);
        }
        tags.push(tag);
    }
    Value::Array(tags)
}

#[cfg(test)]
mod tests;
