//! Which resource an action is about: what its method's routing options say, or its field `name`. Pure.

use bowline_schema::model::Method;
use prost_reflect::{DynamicMessage, Value};

/// The option `goten.annotations.multi_region_routing` of methods.
const ROUTING_OPTION: &str = "goten.annotations.multi_region_routing";
/// Most messages inside each other that a field path goes through.
const DEPTH_MAX: usize = 16;

/// What an action's request says of where it is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// In this region.
    Region(String),
    /// Where the first of these that is a name of a resource, or of the parent of some, is owned. May be empty.
    Names(Vec<String>),
}

/// Reads the method's routing options, and the fields that they name; without options the field `name` counts.
pub(crate) fn said(method: &Method, message: &DynamicMessage) -> Said {
    let Some(options) = options(method) else {
        return Said::Names(text_at(message, "name").into_iter().collect());
    };
    let flag = |name: &str| options.get_field_by_name(name).and_then(|value| value.as_bool());
    if flag("skip_code_gen_based_routing") == Some(true) {
        return Said::Names(Vec::new());
    }
    let found = |option: &str| {
        let paths = options.get_field_by_name(option).map(|paths| texts(&paths));
        let paths = paths.unwrap_or_default();
        paths.iter().filter_map(|path| text_at(message, path)).collect::<Vec<_>>()
    };
    if let Some(region) = found("region_id_field_paths").into_iter().next() {
        return Said::Region(region);
    }
    Said::Names([found("resource_field_paths"), found("scope_field_paths")].concat())
}

fn options(method: &Method) -> Option<DynamicMessage> {
    let extension = method.descriptor.parent_pool().get_extension_by_name(ROUTING_OPTION)?;
    let options = method.descriptor.options();
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message().cloned()
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
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
