//! Which resource an action is about: what its method's routing options say, or its field `name`. Pure.

use bowline_schema::model::Method;
use prost_reflect::{DynamicMessage, Value};

/// The option `goten.annotations.multi_region_routing` of methods.
const ROUTING_OPTION: &str = "goten.annotations.multi_region_routing";
/// Most messages inside each other that a field path goes through.
const DEPTH_MAX: usize = 16;

/// Texts in `message` that may name the resource that the action is about, in the order in which they count.
pub(crate) fn names(method: &Method, message: &DynamicMessage) -> Vec<String> {
    let mut paths = resource_paths(method);
    if paths.is_empty() {
        paths.push("name".to_owned());
    }
    paths.iter().filter_map(|path| text_at(message, path)).filter(|text| !text.is_empty()).collect()
}

/// `resource_field_paths` and `scope_field_paths` of the method's options; empty if it has none.
fn resource_paths(method: &Method) -> Vec<String> {
    let options = method.descriptor.options();
    let Some(extension) = method.descriptor.parent_pool().get_extension_by_name(ROUTING_OPTION)
    else {
        return Vec::new();
    };
    if !options.has_extension(&extension) {
        return Vec::new();
    }
    let value = options.get_extension(&extension);
    let Some(spec) = value.as_message() else { return Vec::new() };
    ["resource_field_paths", "scope_field_paths"]
        .iter()
        .filter_map(|field| spec.get_field_by_name(field))
        .flat_map(|paths| texts(&paths))
        .collect()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_list().unwrap_or_default();
    list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn text_at(message: &DynamicMessage, path: &str) -> Option<String> {
    let mut value = Value::Message(message.clone());
    for field in path.split('.').take(DEPTH_MAX) {
        value = value.as_message()?.get_field_by_name(field)?.into_owned();
    }
    value.as_str().map(str::to_owned)
}
