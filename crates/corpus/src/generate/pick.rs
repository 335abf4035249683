//! Which fields of a resource a test may change, and which it may filter by.

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};

use super::values::join;
use super::{Plan, values};

/// How deep fields are looked for.
const DEPTH: usize = 3;

/// A field of a resource, by the fields that lead to it.
#[derive(Clone, Debug)]
pub struct Place {
    pub fields: Vec<FieldDescriptor>,
    /// `spec.model`
    pub path: String,
}

impl Place {
    pub fn read(&self, resource: &DynamicMessage) -> Option<Value> {
        let (last, above) = self.fields.split_last()?;
        let mut message = resource.clone();
        for field in above {
            let value = message.take_field(field)?;
            message = value.as_message()?.clone();
        }
        Some(message.get_field(last).into_owned())
    }

    /// Gives the field another value; `false` if there is none.
    pub fn change(&self, resource: &mut DynamicMessage) -> bool {
        let Some((last, above)) = self.fields.split_last() else { return false };
        let mut message = resource;
        for field in above {
            match message.get_field_mut(field) {
                Value::Message(inner) => message = inner,
                _ => return false,
            }
        }
        let value = message.get_field(last).into_owned();
        let Some(value) = values::changed(last, &value) else { return false };
        message.set_field(last, value);
        true
    }
}

/// Fields that a client may change after creation, the plainest first.
pub fn mutable(plan: &Plan<'_>, resource: &DynamicMessage) -> Vec<Place> {
    let fits = |field: &FieldDescriptor, path: &str| {
        let changeable = |value: &Value| values::changed(field, value).is_some();
        !plan.is_immutable(path)
            && !plan.is_input_only(path)
            && is_plain(field)
            && changeable(&Value::default_value_for_field(field))
    };
    let mut places = places(plan, resource, &fits);
    places.sort_by_key(|place| (place.fields.len(), rank(place)));
    places
}

/// String fields with a value, that a list can be filtered by.
pub fn filterable(plan: &Plan<'_>, resource: &DynamicMessage) -> Vec<Place> {
    let fits = |field: &FieldDescriptor, path: &str| {
        !plan.is_input_only(path)
            && !field.is_list()
            && !field.is_map()
            && field.kind() == Kind::String
    };
    let mut places = places(plan, resource, &fits);
    places.retain(|place| {
        place.read(resource).and_then(|v| v.as_str().map(|s| !s.is_empty())).unwrap_or(false)
    });
    places.sort_by_key(|place| place.fields.len());
    places
}

fn places(
    plan: &Plan<'_>,
    resource: &DynamicMessage,
    fits: &dyn Fn(&FieldDescriptor, &str) -> bool,
) -> Vec<Place> {
    let mut found = Vec::new();
    visit(plan, &resource.descriptor(), Some(resource), &[], fits, &mut found);
    found
}

/// Depth is at most [`DEPTH`]. Cases of oneofs that are not set are left alone: setting one clears another.
fn visit(
    plan: &Plan<'_>,
    descriptor: &MessageDescriptor,
    message: Option<&DynamicMessage>,
    above: &[FieldDescriptor],
    fits: &dyn Fn(&FieldDescriptor, &str) -> bool,
    found: &mut Vec<Place>,
) {
    let prefix = above.iter().fold(String::new(), |path, field| join(&path, field.name()));
    for field in descriptor.fields() {
        let path = join(&prefix, field.name());
        let is_case = field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic());
        let is_set = message.is_some_and(|message| message.has_field(&field));
        if (is_case && !is_set)
            || plan.is_managed(&path)
            || plan.is_output_only(&path)
            || plan.reference(&path).is_some()
        {
            continue;
        }
        let fields: Vec<_> = above.iter().cloned().chain([field.clone()]).collect();
        let kind = field.kind();
        match (&kind, message) {
            (Kind::Message(inner), Some(message))
                if !is_plain(&field) && !field.is_list() && !field.is_map() =>
            {
                let value = message.get_field(&field).into_owned();
                if is_set && fields.len() < DEPTH && !plan.is_immutable(&path) {
                    visit(plan, inner, value.as_message(), &fields, fits, found);
                }
            }
            _ if fits(&field, &path) => found.push(Place { fields, path }),
            _ => {}
        }
    }
}

/// Singular scalars, times and wrapped scalars, maps of strings, lists of strings.
fn is_plain(field: &FieldDescriptor) -> bool {
    let kind = field.kind();
    if field.is_map() {
        let Some(entry) = kind.as_message() else { return false };
        return entry.map_entry_key_field().kind() == Kind::String
            && entry.map_entry_value_field().kind() == Kind::String;
    }
    let well_known =
        |message: &MessageDescriptor| message.full_name().starts_with("google.protobuf.");
    if field.is_list() { kind == Kind::String } else { kind.as_message().is_none_or(well_known) }
}

/// Text for people first, then other strings, numbers, maps, lists.
fn rank(place: &Place) -> usize {
    let Some(field) = place.fields.last() else { return usize::MAX };
    match field.name() {
        "display_name" | "description" | "title" => 0,
        _ if field.is_list() => 4,
        _ if field.is_map() => 3,
        _ if field.kind() == Kind::String => 1,
        _ => 2,
    }
}
