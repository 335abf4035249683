//! What the types of the simulated world refer to, said a second time: by hand and without the schema, so that the judge
//! can read documents without the code that it judges.

use std::collections::BTreeSet;

use bowline_graph::Behaviour;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use crate::services::Kind;

/// How a field holds names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    One,
    Many,
    /// `items`, each with this field.
    Items(&'static str),
}

/// A field with references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// As it is called in the type.
    pub name: &'static str,
    /// As references are told: without indexes.
    pub path: &'static str,
    pub target: Kind,
    pub behaviour: Behaviour,
    pub is_sync: bool,
    form: Form,
}

/// A reference as a document says it: path, target, behaviour, whether it is for the deleting commit.
pub type Said = (String, Kind, String, Behaviour, bool);

const fn one(name: &'static str, target: Kind, behaviour: Behaviour, is_sync: bool) -> Field {
    Field { name, path: name, target, behaviour, is_sync, form: Form::One }
}

const SENSOR: [Field; 8] = [
    one("blocked", Kind::Sensor, Behaviour::Block, true),
    one("cascade", Kind::Sensor, Behaviour::Cascade, false),
    Field { form: Form::Many, ..one("unset", Kind::Sensor, Behaviour::Unset, false) },
    one("cascade_now", Kind::Sensor, Behaviour::Cascade, true),
    one("unset_now", Kind::Sensor, Behaviour::Unset, true),
    one("model", Kind::Model, Behaviour::Block, true),
    one("plan", Kind::Plan, Behaviour::Cascade, false),
    one("unit", Kind::Unit, Behaviour::Cascade, true),
];
const PLAN: [Field; 4] = [
    one("model", Kind::Model, Behaviour::Unset, true),
    one("sensor", Kind::Sensor, Behaviour::Block, true),
    one("next", Kind::Plan, Behaviour::Cascade, true),
    one("unit", Kind::Unit, Behaviour::Unset, true),
];
const MODEL: [Field; 2] = [
    one("base", Kind::Model, Behaviour::Cascade, false),
    one("near", Kind::Model, Behaviour::Unset, true),
];
const JOB: [Field; 8] = [
    one("sensor", Kind::Sensor, Behaviour::Block, false),
    one("cascade", Kind::Sensor, Behaviour::Cascade, false),
    Field {
        path: "items.sensor",
        form: Form::Items("sensor"),
        ..one("items", Kind::Sensor, Behaviour::Unset, false)
    },
    one("plan", Kind::Plan, Behaviour::Unset, false),
    one("model", Kind::Model, Behaviour::Block, false),
    one("after", Kind::Job, Behaviour::Cascade, true),
    one("unit", Kind::Unit, Behaviour::Cascade, false),
    one("needs", Kind::Unit, Behaviour::Block, false),
];
const UNIT: [Field; 4] = [
    one("peer", Kind::Unit, Behaviour::Block, true),
    Field { form: Form::Many, ..one("near", Kind::Unit, Behaviour::Unset, false) },
    one("model", Kind::Model, Behaviour::Block, true),
    one("base", Kind::Model, Behaviour::Cascade, true),
];

const PROBE: [Field; 8] = [
    one("blocked", Kind::Probe, Behaviour::Block, true),
    one("cascade", Kind::Probe, Behaviour::Cascade, false),
    Field { form: Form::Many, ..one("unset", Kind::Probe, Behaviour::Unset, false) },
    one("cascade_now", Kind::Probe, Behaviour::Cascade, true),
    one("unset_now", Kind::Probe, Behaviour::Unset, true),
    one("model", Kind::NewModel, Behaviour::Block, true),
    one("plan", Kind::NewPlan, Behaviour::Cascade, false),
    one("unit", Kind::NewUnit, Behaviour::Cascade, true),
];
const NEW_PLAN: [Field; 4] = [
    one("model", Kind::NewModel, Behaviour::Unset, true),
    one("probe", Kind::Probe, Behaviour::Block, true),
    one("next", Kind::NewPlan, Behaviour::Cascade, true),
    one("unit", Kind::NewUnit, Behaviour::Unset, true),
];
const NEW_MODEL: [Field; 2] = [
    one("base", Kind::NewModel, Behaviour::Cascade, false),
    one("near", Kind::NewModel, Behaviour::Unset, true),
];
const NEW_JOB: [Field; 8] = [
    one("probe", Kind::Probe, Behaviour::Block, false),
    one("cascade", Kind::Probe, Behaviour::Cascade, false),
    Field {
        path: "items.probe",
        form: Form::Items("probe"),
        ..one("items", Kind::Probe, Behaviour::Unset, false)
    },
    one("plan", Kind::NewPlan, Behaviour::Unset, false),
    one("model", Kind::NewModel, Behaviour::Block, false),
    one("after", Kind::NewJob, Behaviour::Cascade, true),
    one("unit", Kind::NewUnit, Behaviour::Cascade, false),
    one("needs", Kind::NewUnit, Behaviour::Block, false),
];
const NEW_UNIT: [Field; 4] = [
    one("peer", Kind::NewUnit, Behaviour::Block, true),
    Field { form: Form::Many, ..one("near", Kind::NewUnit, Behaviour::Unset, false) },
    one("model", Kind::NewModel, Behaviour::Block, true),
    one("base", Kind::NewModel, Behaviour::Cascade, true),
];

/// The fields of a kind that hold references.
pub fn fields(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::Project => &[],
        Kind::Sensor => &SENSOR,
        Kind::Plan => &PLAN,
        Kind::Model => &MODEL,
        Kind::Job => &JOB,
        Kind::Probe => &PROBE,
        Kind::NewPlan => &NEW_PLAN,
        Kind::NewModel => &NEW_MODEL,
        Kind::NewJob => &NEW_JOB,
        Kind::Unit => &UNIT,
        Kind::NewUnit => &NEW_UNIT,
    }
}

/// The parent that a name has, and that is a reference: the project of what is below one.
pub fn parent(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('/').collect();
    (parts.len() > 2).then(|| parts[..2].join("/"))
}

/// All references that a document says, its parent among them. Sorted, none twice.
pub fn said(kind: Kind, name: &str, document: &DynamicMessage) -> BTreeSet<Said> {
    let of_field = |field: &'static Field| {
        let names = field.read(document).into_iter();
        names
            .map(|name| (field.path.to_owned(), field.target, name, field.behaviour, field.is_sync))
    };
    let parent = parent(name)
        .map(|parent| (String::new(), Kind::Project, parent, Behaviour::Cascade, false));
    fields(kind).iter().flat_map(of_field).chain(parent).collect()
}

impl Field {
    /// Whether it can hold more than one name.
    pub fn is_list(&self) -> bool {
        self.form != Form::One
    }

    /// The names that a document has there.
    pub fn read(&self, document: &DynamicMessage) -> Vec<String> {
        let Some(value) = document.get_field_by_name(self.name) else { return Vec::new() };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names: Vec<String> = match self.form {
            Form::One => vec![text(&value)],
            Form::Many => value.as_list().unwrap_or_default().iter().map(text).collect(),
            Form::Items(field) => {
                let items = value.as_list().unwrap_or_default().iter();
                let items = items.filter_map(|item| item.as_message()?.get_field_by_name(field));
                items.map(|name| text(&name)).collect()
            }
        };
        names.into_iter().filter(|name| !name.is_empty()).collect()
    }

    /// Replaces what a document has there.
    pub fn write(&self, document: &mut DynamicMessage, names: &[String]) {
        let text = |name: &String| Value::String(name.clone());
        let value = match self.form {
            Form::One => names.first().map_or_else(|| Value::String(String::new()), text),
            Form::Many => Value::List(names.iter().map(text).collect()),
            Form::Items(field) => {
                let items = document.descriptor().get_field_by_name(self.name);
                let kind = items.map(|items| items.kind());
                let item = kind.as_ref().and_then(|kind| kind.as_message()).cloned();
                let items = names.iter().filter_map(|name| {
                    let mut item = DynamicMessage::new(item.clone()?);
                    item.set_field_by_name(field, text(name));
                    Some(Value::Message(item))
                });
                Value::List(items.collect())
            }
        };
        document.set_field_by_name(self.name, value);
    }
}

#[cfg(test)]
mod tests {
    use bowline_graph::References;
    use bowline_resource::document::Document;

    use super::*;
    use crate::services::registry;

    /// What is said here is what the schema says: the judge is independent, not of another opinion.
    #[test]
    fn both_readings_of_a_document_are_the_same() {
        let registry = registry();
        for kind in Kind::ALL {
            let types = &registry.types[&kind.full()];
            let ty = types.iter().find(|ty| ty.version == kind.version()).unwrap();
            let name = &kind.name("projects/p", "east", "x");
            let mut document = kind.resource(&registry, name, "v");
            for field in fields(kind) {
                let target = field.target.name("projects/q", "west", "t");
                field.write(&mut document, std::slice::from_ref(&target));
                assert_eq!(field.read(&document), [target]);
            }
            let said = said(kind, name, &document);
            let read = References::of_type(&registry, ty);
            let read = read.of_document(&Document::new(ty.clone(), document));
            let read: BTreeSet<Said> = read
                .into_iter()
                .map(|entry| {
                    let target = Kind::of(&entry.target.version, &entry.target.kind).unwrap();
                    let name = entry.target.name.to_string();
                    (entry.path, target, name, entry.behaviour, entry.is_sync)
                })
                .collect();
            assert_eq!(said, read, "{kind:?}");
            assert_eq!(said.is_empty(), matches!(kind, Kind::Project));
        }
    }
}
